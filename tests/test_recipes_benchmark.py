"""The recipes' benchmark: what it compares is a recipe, and differences are paired."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.recipes import (
    DEFAULT,
    PARTS,
    Cell,
    paired_difference,
    prepare_once,
    read_lines,
    run_config,
    tables,
)
from pipeline.dataset.prepared import open_prepared
from pipeline.finetune.recipe import recipe_of
from pipeline.records import pack_counts

LITE = "tf_efficientnet_lite0.in1k"


def row(
    arm: str, wrong: list[int], seed: int = 0, fold: int | None = None, reason: str | None = None
) -> dict[str, object]:
    return {
        **{"arm": arm, "dataset": "textures_10", "image_size": 96, "model": LITE, "seed": seed},
        **{"fold": fold, "reason": reason, "error_rate": float(np.mean(wrong)), "fbeta2": None},
        **{"cpu_seconds": 1.0, "wrong": pack_counts(np.array(wrong))},
    }


def test_each_change_of_the_default_recipe_is_a_recipe_that_differs_from_it(tmp_path: Path) -> None:
    cell = Cell(DEFAULT, "digits", 48, LITE, 0, None, tmp_path)
    default = recipe_of(run_config(cell, DEFAULT).recipe)
    for name, parts in PARTS.items():
        whole = {**parts, "frozen_epochs": 1} if "schedule" in parts else parts
        assert recipe_of(run_config(cell, DEFAULT, **whole).recipe) != default, name


def test_differences_are_paired_by_image_and_a_probe_pairs_with_every_seed() -> None:
    rows = pd.DataFrame(
        [row("probe", [1, 1, 0, 0]), row(DEFAULT, [1, 0, 0, 0]), row(DEFAULT, [0, 0, 0, 0], seed=1)]
    )
    found = paired_difference(rows, DEFAULT, "probe")
    assert found is not None
    assert found[0] == pytest.approx(-37.5)
    assert found[1] <= found[0] <= found[2] <= 0
    assert paired_difference(rows, "quickstart", "probe") is None
    assert "-37.5 [" in tables(rows)


def test_the_same_answers_differ_by_nothing_whatever_the_images_are() -> None:
    rows = pd.DataFrame([row("probe", [1, 0] * 20), row(DEFAULT, [1, 0] * 20)])
    assert paired_difference(rows, DEFAULT, "probe") == (0.0, 0.0, 0.0)


def test_in_folds_each_image_counts_once_and_a_run_that_failed_in_one_fold_not_at_all() -> None:
    probe = [row("probe", [1, 1], fold=0), row("probe", [1], fold=1)]
    rows = [*probe, row(DEFAULT, [0, 1], fold=0), row(DEFAULT, [0], fold=1)]
    failed = [row(DEFAULT, [0, 0], 1, fold=0), row(DEFAULT, [0], 1, fold=1, reason="diverged")]
    found = paired_difference(pd.DataFrame([*rows, *failed]), DEFAULT, "probe")
    assert found is not None
    assert found[0] == pytest.approx(-200 / 3)
    assert "(n = 3 images)" in tables(pd.DataFrame(rows))


def test_the_folds_share_out_the_images_and_each_class(tmp_path: Path) -> None:
    parts = []
    for fold in range(5):
        data = tmp_path / f"digits-fold-{fold}"
        prepare_once(tmp_path / "none", Cell(DEFAULT, "digits", 16, LITE, 0, fold, data))
        parts.append(open_prepared(data).parts == "valid")
    judged = np.stack(parts)
    assert (judged.sum(axis=0) == 1).all()
    labels = open_prepared(tmp_path / "digits").labels
    for label in np.unique(labels):
        shares = judged[:, labels == label].mean(axis=1)
        assert abs(shares - 0.2).max() < 0.01


def test_a_line_that_was_cut_off_is_run_again(tmp_path: Path) -> None:
    lines = tmp_path / "recipes.jsonl"
    line = pd.Series(row("probe", [1, 0])).to_json()
    lines.write_text(f"{line}\n{line[:40]}")
    assert list(read_lines(lines)) == [("probe", "textures_10", 96, LITE, 0, None)]
    assert read_lines(tmp_path / "none.jsonl") == {}
