"""What the commands of a sweep have to compute, on which device, and the runs that tell of it.

Reads the records in data/runs, conf/recipe and what is prepared in data/datasets. Nothing here
imports torch or starts CUDA: a dry run stays quick.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.core.yaml_files import read_yaml
from pipeline.records import Record, read_record
from pipeline.sweeping.engine import visible_gpus
from pipeline.tables.estimates import Work, images_of
from pipeline.tables.runs import device_label
from pipeline.trainer.hardware import cpu_name


def work_of(root: Path, words: dict[str, str], records: Sequence[Record]) -> Work | str:
    """What a fine-tune has to compute, or why that is not known."""
    dataset = words["dataset"]
    recipe = read_yaml(root / f"conf/recipe/{words['recipe']}.yaml")
    meta = root / "data/datasets" / dataset / "meta.json"
    if meta.is_file():
        data = json.loads(meta.read_text("utf-8"))
    else:
        data = next((each.data for each in records if each.dataset == dataset), {})
    if not data.get("n_train"):
        return f"{dataset} is not prepared yet (`dvc repro dataset@{dataset}`)"
    epochs = recipe["epochs"] + recipe["frozen_epochs"]
    images = images_of(data["n_train"], data.get("n_valid") or 0, epochs)
    return Work(dataset, words["model"], words["recipe"], int(words["image_size"]), images)


def readable_records(folder: Path) -> list[Record]:
    """Every record below the folder, of this study or an earlier one; damaged ones tell nothing."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        try:
            found.append(read_record(path))
        except (OSError, PipelineError):
            continue
    return found


def this_device(threads: int) -> tuple[str, bool]:
    """The label that records give the device, and whether it is CUDA's."""
    gpus = visible_gpus()
    if not gpus:
        cpu = {"kind": "cpu", "name": cpu_name(), "threads": threads}
        return device_label(cpu) or "this CPU", False
    import pynvml

    try:
        pynvml.nvmlInit()
        if gpus[0].isdigit():
            handle = pynvml.nvmlDeviceGetHandleByIndex(int(gpus[0]))
        else:
            handle = pynvml.nvmlDeviceGetHandleByUUID(gpus[0])
        return str(pynvml.nvmlDeviceGetName(handle)), True
    except pynvml.NVMLError:  # CUDA_VISIBLE_DEVICES names one that no driver tells of
        return "this GPU", True
