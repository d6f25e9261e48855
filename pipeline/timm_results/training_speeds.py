"""How many megapixels a second each model of the study trains, as benchmark files say.

Reads rows of imagenet.csv, timm's or this machine's own. An inference speed counts a third, because
training goes forward and back. Speeds in pixels, not images, compare at different image sizes.
"""

import pandas as pd

from pipeline.benchmarking.own_speed import short_name
from pipeline.tables.study import Study

TRAINING_PASSES = {"train": 1, "infer": 3}  # forward alone is a third of a step


def training_speeds(study: Study, rows: pd.DataFrame) -> dict[str, float]:
    """Megapixels per second by model, from one benchmark file's `rows`, at the nearest size."""
    rows = rows[rows["model"].isin(study.models) & (rows["samples_per_second"] > 0)]
    distance = (rows["img_size"] - study.image_size).abs()
    nearest = rows.assign(distance=distance).sort_values(["model", "distance", "img_size"])
    nearest = nearest.drop_duplicates("model")
    passes = nearest["mode"].map(TRAINING_PASSES).astype(float)
    speeds = nearest["samples_per_second"] * nearest["img_size"] ** 2 / 1e6 / passes
    return dict(zip(nearest["model"], speeds.astype(float), strict=True))


def rows_of_device(imagenet: pd.DataFrame, mode: str, device: str) -> pd.DataFrame:
    """The rows of the largest benchmark file for `mode` that was measured on `device`, if any.

    `device` is named as records label it: "AMD EPYC, 2 threads" is amd_epyc with the backend cpu2.
    """
    name, _, threads = device.partition(", ")
    rows = imagenet[(imagenet["mode"] == mode) & (imagenet["compile"] == "eager")]
    rows = rows[rows["device"] == short_name(name)]
    if threads:
        rows = rows[rows["backend"] == f"cpu{threads.partition(' ')[0]}"]
    if rows.empty:
        return rows
    return rows[rows["benchmark_file"] == rows["benchmark_file"].value_counts().index[0]]
