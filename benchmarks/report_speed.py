"""How long `aggregate`, `plot` and `report` take on 5,000 records with all of timm's tables.

Reads a folder of timm's CSVs, writes nothing that stays: the study is made in a temporary folder,
with two datasets, 833 published models and three seeds, 1,478 validation images in each record.
Whole commands are timed, start of Python included; CPU seconds hold where others are at work.

    python -m benchmarks.report_speed ../shared/timm-results

The target is under 60 s and 2 GiB for aggregate and report together on 2 cores. Measured: see
docs/statistics.md.
"""

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from pipeline import records
from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.merge.__main__ import merge
from pipeline.records import Data, Device, Metrics, Record, pack_counts, write_record

TARGET_SECONDS, TARGET_GIB = 60, 2
INFER = "benchmark-infer-amp-nchw-pt291-cu130-5090.csv"
TRAIN = "benchmark-train-amp-nhwc-pt112-cu113-rtx3090.csv"
DATASETS = {"pets": ("single", 1), "planet_sample": ("multi", 17)}  # kind, labels of an image
SEEDS, IMAGES, EPOCHS = 3, 1478, 5


@dataclass(frozen=True)
class Cost:
    seconds: float
    cpu_seconds: float
    peak_gib: float


def main(tables: Path, *, records: int = 5000) -> None:
    """Time aggregate, plot and report of RECORDS records and the CSVs in folder TABLES."""
    if not any(tables.glob("benchmark-*.csv")):
        raise PipelineError(f"{tables}: no benchmark-*.csv; give the folder of timm's results")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        imagenet, _ = merge(tables)
        imagenet.to_csv(work / "imagenet.csv", index=False)
        made = write_study(work, imagenet, records)
        paths = [str(work / each) for each in ("params.yaml", "runs", "imagenet.csv", "results")]
        params, runs, published, results = paths
        figures, html = str(work / "figures"), str(work / "report.html")
        costs = {
            "aggregate": _cost("aggregate", params, runs, published, results, str(work / "m")),
            "plot": _cost("plot", params, published, results, figures),
            "report": _cost("report", params, published, results, figures, html),
        }
        size = Path(html).stat().st_size / 1e6
    files = imagenet.loc[imagenet["benchmark_file"] != "", "benchmark_file"].nunique()
    print(
        f"{made:,} records, {len(imagenet):,} rows of {files} benchmark files, {os.cpu_count()} "
        f"cores, load {os.getloadavg()[0]:.1f}; the page has {size:.1f} MB"
    )
    for stage, cost in costs.items():
        print(
            f"{stage:10} {cost.seconds:6.1f} s  {cost.cpu_seconds:6.1f} CPU s  "
            f"{cost.peak_gib:5.2f} GiB"
        )
    both = [costs["aggregate"], costs["report"]]
    seconds, gib = sum(each.cpu_seconds for each in both), max(each.peak_gib for each in both)
    under = seconds < TARGET_SECONDS and gib < TARGET_GIB
    verdict = "under" if under else "OVER"
    print(f"aggregate and report: {seconds:.1f} CPU s, {gib:.2f} GiB: {verdict} the target")


def write_study(folder: Path, imagenet: pd.DataFrame, records: int) -> int:
    """params.yaml and about as many records; the number of records written."""
    count = round(records / len(DATASETS) / SEEDS)
    models = imagenet["model"].drop_duplicates().sample(count, random_state=0).tolist()
    params = {
        "timm": {"source": "-", "rev": "-"},
        "charts": {"infer": INFER, "train": TRAIN},
        "image_size": 224,
        "weights": "hub",
        "grid": {
            "datasets": list(DATASETS),
            "models": models,
            "recipes": ["fastai2022"],
            "seeds": list(range(SEEDS)),
        },
        "score": {"overhead_seconds": 80},
    }
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    rng = np.random.default_rng(0)
    quality = dict(zip(models, rng.normal(size=count), strict=True))
    for dataset, (kind, labels) in DATASETS.items():
        hard = rng.normal(size=IMAGES)
        for model in models:
            own = hard + 0.7 * rng.normal(size=IMAGES) - 0.4 * quality[model]
            for seed in range(SEEDS):
                place = folder / "runs" / dataset / model / "fastai2022" / f"{seed}.json"
                write_record(place, _record(rng, own, kind, labels, dataset, model, seed))
    return count * len(DATASETS) * SEEDS


def _record(
    rng: np.random.Generator,
    own: np.ndarray,
    kind: str,
    labels: int,
    dataset: str,
    model: str,
    seed: int,
) -> Record:
    """A plausible record: every fortieth run failed."""
    common: dict[str, Any] = {
        "dataset": dataset,
        "model": model,
        "recipe": "fastai2022",
        "seed": seed,
    }
    if rng.random() < 1 / 40:
        return Record(status="failed", reason="out of GPU memory at batch size 32", **common)
    latent = own[:, None] + rng.normal(size=(IMAGES, labels))
    wrong = (latent > 2.5).sum(axis=1)
    error, fit = float(wrong.mean()) / labels, float(rng.lognormal(4.5, 0.5))
    losses = {"valid_loss": 2 * error, "train_loss": 3 * error}
    epochs = [
        {"epoch": epoch, "error_rate": error, "seconds": fit / EPOCHS, **losses}
        for epoch in range(EPOCHS)
    ]
    return Record(
        status="ok",
        metrics=Metrics(error_rate=error, accuracy=1 - error, **losses),
        history=epochs,
        cost=records.Cost(
            fit_seconds=fit,
            seconds_per_epoch=fit / EPOCHS,
            images_per_second=30_000 / fit,
            peak_memory_reserved_gib=float(rng.lognormal(1, 0.4)),
            peak_rss_gib=3.0,
        ),
        device=Device(kind="cuda", name="Some GPU", threads=8, shared=False),
        versions={"torch": "2.15.0", "timm": "1.0.31"},
        weights={"source": "hub", "origin": f"timm/{model}", "sha256": model.encode().hex()},
        data=Data(
            fingerprint=dataset,
            kind=kind,
            n_train=5912,
            n_valid=IMAGES,
            n_classes=37 if kind == "single" else labels,
            chance_error_rate=0.97 if kind == "single" else 0.15,
        ),
        config={"image_size": 224, "recipe": {"name": "fastai2022", "lr": 0.008}},
        valid_wrong=pack_counts(wrong),
        **common,
    )


def _cost(stage: str, *arguments: str) -> Cost:
    """The wall and CPU time and the peak memory of one stage's command."""
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", f"pipeline.{stage}", *arguments], stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise PipelineError(f"{stage} ended with status {status}")
    return Cost(
        seconds=time.perf_counter() - began,
        cpu_seconds=used.ru_utime + used.ru_stime,
        peak_gib=used.ru_maxrss / 2**20,
    )


if __name__ == "__main__":
    run(main)
