"""`imagenet.csv`, the table that stage `merge` writes and others read: columns and types.

One row per weights x image size x benchmark file. Text is never missing ("" stands for no tag),
numbers may be.
"""

from dataclasses import fields
from pathlib import Path

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.timm_results.tables import OTHER_SETS, Setup

SET_COLUMNS = [f"{prefix}_{top}" for prefix in OTHER_SETS for top in ("top1", "top5")]
TIMM, OWN = "timm", "own"  # who measured a speed
SETUP_COLUMNS = ["benchmark_file", "measured_by", *(field.name for field in fields(Setup))]
SPEED_COLUMNS = [
    *["batch_size", "samples_per_second", "step_ms", "gmacs", "macts", "speed_params_m"],
    *["peak_memory_gib", "peak_rss_gib", "joules_per_image"],  # of own benchmarks alone
]
COLUMNS = [
    *["model", "arch", "tag", "family", "pretraining", "img_size", "top1", "top5"],
    *SET_COLUMNS,
    *["params_m", "crop_pct", "interpolation"],
    *SETUP_COLUMNS,
    *SPEED_COLUMNS,
    "commit",
]
TEXT_COLUMNS = [
    *["model", "arch", "tag", "family", "pretraining", "interpolation", "commit"],
    *SETUP_COLUMNS,
]


def read_imagenet(path: Path) -> pd.DataFrame:
    """`imagenet.csv` as `merge` wrote it: text is never NaN ("" for no tag), numbers may be."""
    try:
        header = pd.read_csv(path, nrows=0).columns
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); run `dvc repro merge`") from None
    if missing := [name for name in COLUMNS if name not in header]:
        raise PipelineError(f"{path}: no column {missing[0]}; run `dvc repro merge`")
    numbers = [name for name in COLUMNS if name not in TEXT_COLUMNS]
    table = pd.read_csv(
        path,
        dtype=dict.fromkeys(TEXT_COLUMNS, "str") | dict.fromkeys(numbers, "float64"),
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )
    return table.astype({"img_size": "int64", "batch_size": "Int64"})
