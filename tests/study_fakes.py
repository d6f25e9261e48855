"""A small study on disk for tests: params.yaml, records that finetune could have written, and an
imagenet.csv in the merge stage's columns."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from matplotlib import rc_context

from pipeline.core.files import plain, write_json
from pipeline.figures.certificate import (
    FIT,
    PROBE,
    Certificate,
    Entrant,
    Rung,
    Step,
    who_left_when,
)
from pipeline.figures.look import LOOK, save
from pipeline.records import Record, pack_counts
from pipeline.timm_results.imagenet import COLUMNS

INFER, TRAIN = "benchmark-infer-amp-x.csv", "benchmark-train-amp-x.csv"
SLOWER = {"infer": 1, "train": 4}
LITE = [f"tf_efficientnet_lite{number}.in1k" for number in range(3)]
CPU = {"kind": "cpu", "name": "Some CPU", "threads": 2, "shared": False}


def write_study(folder: Path, **grid: list[Any]) -> Path:
    """params.yaml with a grid of one dataset, three models, one recipe and two seeds."""
    path = folder / "params.yaml"
    params = {
        "timm": {"source": "data/sample", "rev": "-"},
        "charts": {"infer": INFER, "train": TRAIN},
        "image_size": 64,
        "weights": "wheel",
        "grid": {
            "datasets": ["digits"],
            "models": LITE,
            "recipes": ["quickstart"],
            "seeds": [0, 1],
            **grid,
        },
        "score": {"overhead_seconds": 80},
    }
    path.write_text(yaml.safe_dump(params, sort_keys=False))
    return path


def write_run(
    runs: Path,
    model: str,
    seed: int,
    error_rate: float,
    dataset: str = "digits",
    recipe: str = "quickstart",
    **changes: Any,
) -> Path:
    """The record of a run that went well; `changes` replace whole fields of it."""
    path = runs / dataset / model / recipe / f"{seed}.json"
    fields: dict[str, Any] = {
        "status": "ok",
        "metrics": {
            "error_rate": error_rate,
            "accuracy": 1 - error_rate,
            "fbeta2": None,
            "valid_loss": 2 * error_rate,
            "train_loss": 3 * error_rate,
        },
        "history": [
            {
                "epoch": epoch,
                "train_loss": 6 * error_rate / (epoch + 1),
                "valid_loss": 4 * error_rate / (epoch + 1),
                "error_rate": 2 * error_rate / (epoch + 1),
                "seconds": 10.0,
            }
            for epoch in range(2)
        ],
        "cost": {
            "fit_seconds": 20.0 + seed,
            "seconds_per_epoch": 10.0,
            "images_per_second": 100.0,
            "peak_memory_reserved_gib": None,
            "peak_memory_allocated_gib": None,
            "peak_rss_gib": 0.9,
            "cpu_seconds": 40.0,
            "energy_wh": None,
        },
        "device": CPU,
        "versions": {"torch": "2.15.0", "timm": "1.0.31"},
        "weights": {"source": "wheel", "sha256": f"sha-of-{model}"},
        "data": {
            "fingerprint": f"print-of-{dataset}",
            "kind": "single",
            "n_train": 1437,
            "n_valid": 360,
            "n_test": 0,
            "n_classes": 10,
            "n_rejected": 0,
            "chance_error_rate": 0.9,
        },
        "config": {"image_size": 64, "recipe": {"name": recipe, "lr": 0.008}},
        "started_at": "2026-11-22T12:00:00+00:00",
        **changes,
    }
    if fields["status"] != "ok":
        fields["metrics"] = {}
    cost = fields["cost"]
    if isinstance(cost.get("fit_seconds"), int | float):  # no start-up, unless a test gives one
        steady = cost["fit_seconds"] - (cost.get("start_up_seconds") or 0.0)
        fields["cost"] = {"start_up_seconds": 0.0, "steady_fit_seconds": steady} | cost
    cell: dict[str, Any] = {"dataset": dataset, "model": model, "recipe": recipe, "seed": seed}
    write_json(path, plain(Record(status="ok", **cell)) | fields)  # as it may be, also wrong
    return path


def write_answers(
    runs: Path, model: str, seed: int, wrong: np.ndarray, labels: int = 1, **changes: Any
) -> Path:
    """The record of a run with so many wrong answers on each validation image, of `labels`."""
    data = {
        "fingerprint": "print",
        "kind": "single" if labels == 1 else "multi",
        "n_train": 1437,
        "n_valid": len(wrong),
        "n_classes": 10 if labels == 1 else labels,
        "chance_error_rate": 0.9,
    }
    changes = {"data": data, "valid_wrong": pack_counts(wrong), **changes}
    return write_run(runs, model, seed, float(wrong.mean()) / labels, **changes)


def write_failure(runs: Path, model: str, seed: int, reason: str, **changes: Any) -> Path:
    """The record of a run that ended for a reason of its own."""
    return write_run(runs, model, seed, 0.5, status="failed", reason=reason, cost={}, **changes)


def write_imagenet(
    path: Path, models: list[str] | None = None, licences: dict[str, str] | None = None
) -> Path:
    """imagenet.csv: every model at 224 and 288 pixels in one inference and one training file.

    Weights are apache-2.0 where `licences` says nothing of them.
    """
    rows = []
    for number, model in enumerate(models or LITE):
        for img_size in (224, 288):
            for mode, file in (("infer", INFER), ("train", TRAIN)):
                rows.append(
                    {
                        "model": model,
                        "arch": model.partition(".")[0],
                        "tag": model.partition(".")[2],
                        "family": "efficientnet",
                        "pretraining": "in1k",
                        "licence": (licences or {}).get(model, "apache-2.0"),
                        "img_size": img_size,
                        "top1": 75.0 + number + img_size / 1000,
                        "top5": 92.0 + number / 10,
                        "params_m": 4.65 + number,
                        "crop_pct": 0.875,
                        "interpolation": "bicubic",
                        "benchmark_file": file,
                        "measured_by": "timm",
                        "mode": mode,
                        "precision": "amp",
                        "layout": "nchw",
                        "torch": "1.13",
                        "backend": "cu117",
                        "device": "rtx3090",
                        "compile": "eager",
                        "batch_size": 256,
                        "samples_per_second": (4000.0 - 500 * number) / SLOWER[mode],
                        "step_ms": 64.0,
                        "gmacs": 0.4 + number / 10,
                        "macts": 6.7 + number,
                        "commit": "0123456789abcdef",
                    }
                )
    path.parent.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows, columns=COLUMNS).to_csv(path, index=False)
    return path


def write_race(results: Path, dataset: str = "digits") -> Certificate:
    """The certificate of a race of LITE on `dataset`, and its figure: lite0 left by its fits."""
    steps = [
        Step(LITE[2], PROBE, 0.10, 2.0, None, 3, None),
        Step(LITE[2], FIT, 0.061, 22.0, LITE[2], 3, 0.2),
        Step(LITE[0], FIT, 0.20, 42.0, LITE[2], 2, 0.03),
        Step(LITE[1], FIT, 0.06, 62.0, LITE[1], 2, 0.014),
    ]
    left = (62.0, "worse by its fits")
    told = Certificate(
        dataset=dataset,
        recipe="quickstart",
        confidence=0.95,
        regret=0.005,
        covers="seeds and images",
        recommended=LITE[1],
        error_rate=0.06,
        p_best=0.6,
        regret_at_most=0.014,
        may_be_best=[LITE[1], LITE[2]],
        n_candidates=3,
        n_never_run=0,
        seconds=62.0,
        grid_seconds=180.0,
        priced="other runs of the same model",
        prior="assumed, because no other dataset has fits of at least 4 of these models",
        stopped="no single further run is expected to be worth its time (no budget)",
        rungs=[Rung(PROBE, 0.2, 0.0, 0.5, 1)],
        models=[
            Entrant(LITE[0], 1, 0.20, 0.2, 0.0, *left),
            Entrant(LITE[1], 1, 0.06, 0.06, 0.6, None, None),
            Entrant(LITE[2], 1, 0.061, 0.061, 0.4, None, None),
        ],
        steps=steps,
        not_raced={"vit_x": "--max-memory 8GB", "vit_y": "--max-memory 8GB"},
    )
    write_json(results / "race" / f"{dataset}.json", plain(told))
    with rc_context(LOOK):
        save(who_left_when(told), results / "race", dataset)
    return told
