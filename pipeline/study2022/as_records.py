"""The 2022 study's runs as records in our own format, for the same tables as new runs.

One JSON per run, FOLDER/DATASET/MODEL/RECIPE/SEED.json. Unknown are the GPU (several, unnamed) and
the seed (SEED counts repeats, and `config.seed` is null). `config` holds the recipe from the
study's report and sweep files; the learning rate is inferred from the order of the rows (see
pipeline/study2022/printed.py).
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd
from rich.progress import track

from pipeline.core.errors import PipelineError
from pipeline.records import Cost, Data, Device, Metrics, Record, write_record
from pipeline.study.params import Cell
from pipeline.study2022.corrected import IMAGES
from pipeline.study2022.printed import IMAGE_SIZE, LEARNING_RATES

DATASETS = {"pets": "pets", "planet": "planet_sample"}  # ours, conf/dataset/*.yaml
DATA = {
    "pets": Data(kind="single", n_train=5912, n_valid=IMAGES["pets"], n_classes=37),
    "planet": Data(kind="multi", n_train=800, n_valid=IMAGES["planet"], n_classes=17),
}
RECIPES = {LEARNING_RATES[0]: "sweep2022", LEARNING_RATES[1]: "sweep2022_lr0.002"}
DEVICE = Device(kind="cuda", name="unknown GPUs of the 2022 study")
RECIPE = {
    "epochs": 5,
    "frozen_epochs": 1,
    "batch_size": 32,
    "pool": "concat",
    "resize": "squish",
    "precision": "fp16",
}
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.]*", re.ASCII)


def write_records(runs: pd.DataFrame, folder: Path, source: str) -> int:
    """Write a record per run and return their number; `source` is the origin of the CSV."""
    written: set[Path] = set()
    for row in track(runs.to_dict("records"), "writing records", transient=True):
        record = record_of(row, source)
        path = Cell.of(record).path(folder)
        for name in (record.dataset, record.model):
            if not _FILE_NAME.fullmatch(name):
                raise PipelineError(f"{source}: {name!r} cannot be the name of a folder")
        if path in written:
            raise PipelineError(f"{source}: two runs would be {path}")
        written.add(path)
        write_record(path, record)
    return len(written)


def record_of(row: dict[Any, Any], source: str) -> Record:
    """One run of `read_sweep` as a record."""
    known: dict[Any, Any] = {key: None if pd.isna(value) else value for key, value in row.items()}
    dataset, rate = str(known["dataset"]), known["learning_rate"]
    # a run that reported nothing has no pass of its own: count on from the first three
    seed = int(known["repeat"]) + (3 * (int(known["pass"]) - 1) if rate is None else 0)
    recipe = RECIPES[LEARNING_RATES[0] if rate is None else rate]
    return Record(
        status="ok" if known["finished"] else "failed",
        dataset=DATASETS.get(dataset, dataset),
        model=str(known["model"] or known["model_name"]),
        recipe=recipe,
        seed=seed,
        reason=None if known["finished"] else _reason(known),
        metrics=_metrics(known) if known["finished"] else Metrics(),
        cost=Cost(fit_seconds=known["fit_time"], peak_memory_reserved_gib=known["GPU_mem"]),
        device=DEVICE,
        data=DATA.get(dataset, Data()),
        config={
            "recipe": {"name": recipe, "lr": rate, **RECIPE},
            "image_size": IMAGE_SIZE,
            "seed": None,
            "split_seed": 42,
            "study2022": {
                "source": source,
                "model_name": known["model_name"],
                "pass": int(known["pass"]),
                "repeat": int(known["repeat"]),
                "inferred": ["recipe.lr"],
            },
        },
    )


def _metrics(known: dict[Any, Any]) -> Metrics:
    return Metrics(
        error_rate=known["error_rate"],
        accuracy=1 - known["error_rate"],
        valid_loss=known["valid_loss"],
        train_loss=known["train_loss"],
    )


def _reason(known: dict[Any, Any]) -> str:
    if known["train_loss"] is None:
        return "reported nothing in 2022; so its dataset, too, is only the file's default"
    if known["error_rate"] is None:
        return f"stopped early in 2022; its last training loss was {known['train_loss']:.3g}"
    return f"stopped early in 2022; its error rate was {known['error_rate']:.4f} by then"
