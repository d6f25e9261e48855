"""Data of unusual size or labels: a sound run or one clear line, never a meaningless number."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tiny_runs import OFF, RECIPE, SIZE, run_on

from pipeline.baseline.__main__ import probed
from pipeline.core.errors import PipelineError
from pipeline.dataset.prepared import open_prepared
from pipeline.finetune import attempts
from pipeline.finetune.__main__ import check_classes
from pipeline.finetune.recipe import fitted_to
from pipeline.finetune.speed import Speed

Labels = list[list[str]]
KNOWN = [f"tag{number}" for number in range(500)]
LP_FT: dict[str, Any] = {
    "features": "timm",
    "head": "linear",
    "head_start": "probe",
    "schedule": "one_cycle",
    "frozen_epochs": 0,
    "batch_norm": "eval",
    "weight_average": 0.5,
}


def write_set(folder: Path, kind: str, train: Labels, valid: Labels, classes: list[str]) -> Path:
    """A prepared dataset of noise, with these labels of each image of its parts."""
    labels = train + valid
    folder.mkdir(parents=True)
    noise = np.random.RandomState(0).randint(0, 256, size=(len(labels), 3, SIZE, SIZE))
    np.save(folder / f"squish-{SIZE}.npy", noise.astype(np.uint8))
    pd.DataFrame(
        {
            "file": [f"{row}.png" for row in range(len(labels))],
            "labels": ["|".join(each) for each in labels],
            "part": ["train"] * len(train) + ["valid"] * len(valid),
        }
    ).to_csv(folder / "index.csv", index=False)
    meta = {"name": "odd", "kind": kind, "classes": classes, "format": 1}
    meta |= {"fingerprint": "odd", "n_rejected": 0, "chance_error_rate": 0.5}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def ones(labels: str) -> Labels:
    return [[label] for label in labels]


SETS: dict[str, tuple[str, Labels, Labels, list[str]]] = {
    "two images": ("single", ones("ab"), ones("ab"), ["a", "b"]),
    "three images": ("single", ones("aab"), ones("a"), ["a", "b"]),
    "fewer than a batch": ("single", ones("ab" * 12), ones("ab" * 3), ["a", "b"]),
    "one more than a batch": ("single", ones("ab" * 8 + "a"), ones("ab"), ["a", "b"]),
    "one image of a class": ("single", ones("a" * 20 + "b"), ones("aaab"), ["a", "b"]),
    "all labels equal": ("single", ones("a" * 20), ones("aaaa"), ["a", "b"]),
    "a thousand classes": (
        "single",
        [[f"c{row}"] for row in range(1000)],
        [[f"c{row}"] for row in range(40)],
        [f"c{row}" for row in range(1000)],
    ),
    "several labels, two images": ("multi", [["a"], ["a", "b"]], [["b"]], ["a", "b"]),
    "several labels, fewer than a batch": ("multi", [["a"], ["a", "b"]] * 5, [["b"]], ["a", "b"]),
    "tags of which most are empty": (
        "multi",
        [[KNOWN[row % 200]] for row in range(30)],
        [[KNOWN[row % 200]] for row in range(6)],
        KNOWN,
    ),
    "all tags on all images": ("multi", [["a", "b"]] * 8, [["a", "b"]] * 3, ["a", "b"]),
}


@pytest.mark.parametrize(
    ("recipe", "speed"), [({}, OFF), (LP_FT, Speed())], ids=["as in 2022", "fast lp_ft"]
)
@pytest.mark.parametrize("name", SETS)
def test_an_odd_set_gives_finite_numbers(
    tmp_path: Path, name: str, speed: Speed, recipe: dict[str, Any]
) -> None:
    kind, train, valid, classes = SETS[name]
    run = run_on(write_set(tmp_path / "set", kind, train, valid, classes), speed, **recipe)
    run = replace(run, recipe=fitted_to(run.recipe, len(train)))
    fields = attempts.train(run, lambda row: None)
    assert fields["status"] == "ok", fields["reason"]
    assert all(math.isfinite(row["train_loss"]) for row in fields["history"])
    assert 0 <= fields["metrics"].error_rate <= 1


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_a_single_class_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    data = open_prepared(write_set(tmp_path / "set", kind, ones("aaaa"), ones("aa"), ["a"]))
    with pytest.raises(PipelineError, match="its only class is a: a model needs two classes"):
        check_classes(data)


def test_a_single_image_is_refused_in_one_line() -> None:
    with pytest.raises(PipelineError, match="1 training images: a fine-tune needs at least two"):
        fitted_to(RECIPE, 1)


@pytest.mark.parametrize("name", SETS)
def test_a_baseline_on_an_odd_set_is_finite(tmp_path: Path, name: str) -> None:
    kind, train, valid, classes = SETS[name]
    run = run_on(write_set(tmp_path / "set", kind, train, valid, classes))
    found = probed(run)
    assert 0 <= found["metrics"].error_rate <= 1
    assert math.isfinite(found["metrics"].valid_loss)
    assert math.isfinite(found["probe"]["l2"])
