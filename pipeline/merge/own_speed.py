"""This machine's timings as tables in timm's format, under names in timm's grammar.

Reads the timings of the study's models, writes one CSV per mode and setup, `left_out.csv`
(timings in no table, with the reason) and `hardware.json` (the hardware of each table). The number
of CPU threads is part of the name (`cpu2`), because times with different numbers do not compare.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.benchmark.timings import ModelTimings, Timing, read_timings
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml, replacing_folder, write_json, write_table
from pipeline.timm_results.published_tables import short_name

LEFT_OUT = "left_out.csv"
LEFT_OUT_COLUMNS = ["file", "model", "img_size", "reason"]
PRECISIONS = {"fp32": "fp32", "fp16": "amp", "bf16": "amp_bf16"}  # ours -> timm's, with autocast
OWN_COLUMNS = [  # beside timm's
    "batch_size_asked",
    "peak_memory_allocated_gib",
    "peak_memory_reserved_gib",
    "peak_rss_gib",
    "joules_per_sample",
]


def write_own_speed(study: Path, benchmarks: Path, out: Path) -> None:
    """Fill the folder `out` from BENCHMARKS/MODEL.json of each model that STUDY has timed."""
    found = [read_timings(benchmarks / f"{model}.json") for model in models_of(study)]
    tables, hardware, left_out = own_speed(found)
    with replacing_folder(out) as folder:
        for name, table in tables.items():
            write_table(folder / name, table)
        write_table(folder / LEFT_OUT, left_out)
        write_json(folder / "hardware.json", hardware)


def models_of(study: Path) -> list[str]:
    """`benchmark.models` of the study."""
    params = read_yaml(study)
    try:
        models = params["benchmark"]["models"]
    except (TypeError, KeyError):
        raise PipelineError(f"{study}: no benchmark.models; [] times none") from None
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        raise PipelineError(f"{study}: benchmark.models is {models!r}: write a list of models")
    return models


def own_speed(
    found: Iterable[ModelTimings],
) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, Any]], pd.DataFrame]:
    """Tables by file name, the hardware of each, and what is in none.

    Weights of one architecture are one network: only the first is used.
    """
    rows: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
    hardware: dict[str, dict[str, Any]] = {}
    left_out = []
    for each in found:
        arch = each.model.partition(".")[0]
        for timing in each.timings:
            name = file_name(timing.mode, each)
            key = arch, timing.img_size
            if why := timing.failed or timing.not_for_speed:
                left_out.append([name, each.model, timing.img_size, why])
            elif key in rows.get(name, {}):
                why = f"timed already, as {arch}"
                left_out.append([name, each.model, timing.img_size, why])
            else:
                rows.setdefault(name, {})[key] = _row(arch, timing)
                machine = {"device": asdict(each.device), "versions": each.versions}
                hardware.setdefault(name, machine | {"started_at": each.started_at})
    tables = {name: pd.DataFrame(list(table.values())) for name, table in rows.items()}
    return tables, hardware, pd.DataFrame(left_out, columns=LEFT_OUT_COLUMNS)


def file_name(mode: str, found: ModelTimings) -> str:
    """timm's name of a file with this setup: benchmark-infer-amp-nhwc-pt2150-cu132-rtx4090.csv."""
    device = found.device
    torch = "".join(re.findall(r"\d+", found.versions["torch"] or "")[:3])
    if device.kind == "cpu":
        backend = f"cpu{device.threads}"
    else:
        backend = f"cu{device.cuda.replace('.', '')}" if device.cuda else "gpu"
    precision, name = PRECISIONS[device.precision or ""], short_name(device.name or "unknown")
    return f"benchmark-{mode}-{precision}-{found.layout}-pt{torch}-{backend}-{name}.csv"


def _row(arch: str, timing: Timing) -> dict[str, Any]:
    mode = timing.mode
    numbers = {
        "samples_per_sec": round(timing.samples_per_second or 0, 2),
        "step_time": round(timing.step_ms or 0, 3),
        "batch_size": timing.batch_size,
        "img_size": timing.img_size,
    }
    own = {name: getattr(timing, name) for name in OWN_COLUMNS}
    params = {"param_count": round(timing.params_m or 0, 2)}
    timms = {f"{mode}_{name}": value for name, value in numbers.items()}
    return {"model": arch} | timms | params | {f"{mode}_{name}": own[name] for name in own}
