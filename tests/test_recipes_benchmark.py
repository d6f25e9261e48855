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
    read_lines,
    run_config,
    tables,
)
from pipeline.finetune.recipe import recipe_of
from pipeline.records import pack_counts

LITE = "tf_efficientnet_lite0.in1k"


def row(arm: str, wrong: list[int], seed: int = 0) -> dict[str, object]:
    return {
        **{"arm": arm, "dataset": "textures_10", "image_size": 96, "model": LITE, "seed": seed},
        **{"reason": None, "error_rate": float(np.mean(wrong)), "fbeta2": None},
        **{"cpu_seconds": 1.0, "wrong": pack_counts(np.array(wrong))},
    }


def test_each_change_of_the_default_recipe_is_a_recipe_that_differs_from_it(tmp_path: Path) -> None:
    cell = Cell(DEFAULT, "digits", 48, LITE, 0, tmp_path)
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


def test_a_line_that_was_cut_off_is_run_again(tmp_path: Path) -> None:
    lines = tmp_path / "recipes.jsonl"
    line = pd.Series(row("probe", [1, 0])).to_json()
    lines.write_text(f"{line}\n{line[:40]}")
    assert list(read_lines(lines)) == [("probe", "textures_10", 96, LITE, 0)]
    assert read_lines(tmp_path / "none.jsonl") == {}
