"""What a recipe changes: paired by model and seed, with intervals between models."""

from pathlib import Path

import pandas as pd
import pytest
from scipy import stats
from study_fakes import CPU, LITE, write_failure, write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.plot import __main__ as plot

MODELS = [*LITE, "resnet18.a1_in1k"]
CHANGES = (0.010, 0.014, 0.021, -0.030)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """`crop` adds a fixed error to every run of a model and takes twice its time."""
    write_study(tmp_path, models=MODELS, recipes=["squish", "crop"])
    write_imagenet(tmp_path / "imagenet.csv", MODELS)
    for model, change in zip(MODELS, CHANGES, strict=True):
        for seed in range(2):
            for recipe, error, fit in (("squish", 0.1, 10.0), ("crop", 0.1 + change, 20.0)):
                cost = {"fit_seconds": fit}
                error += 0.02 * seed
                write_run(tmp_path / "runs", model, seed, error, recipe=recipe, cost=cost)
    return tmp_path


def effects(folder: Path) -> pd.DataFrame:
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(folder / name for name in names))
    return pd.read_csv(folder / "results/recipes.csv").set_index("family")


def test_a_familys_effect_is_the_mean_over_its_models_with_a_t_interval(study: Path):
    table = effects(study)
    assert table.index.tolist() == ["all", "efficientnet", "resnet"]
    row = table.loc["efficientnet"]
    expected = stats.ttest_1samp(CHANGES[:3], 0).confidence_interval(0.95)
    assert row["error_difference"] == pytest.approx(0.015)
    assert row["error_difference_low"] == pytest.approx(expected.low)
    assert row["error_difference_high"] == pytest.approx(expected.high)
    assert (row["recipe"], row["against"]) == ("crop", "squish")
    assert (row["n_models"], row["n_pairs"]) == (3, 6)
    assert table.loc["all", "error_difference"] == pytest.approx(sum(CHANGES) / 4)


def test_one_model_has_an_effect_and_no_interval(study: Path):
    row = effects(study).loc["resnet"]
    assert row["error_difference"] == pytest.approx(-0.03)
    assert pd.isna(row["error_difference_low"])


def test_a_seed_that_failed_under_one_recipe_is_left_out_of_both(study: Path):
    write_failure(study / "runs", LITE[0], 1, "out of memory", recipe="crop")
    row = effects(study).loc["efficientnet"]
    assert row["n_pairs"] == 5
    assert row["error_difference"] == pytest.approx(0.015)


def test_a_recipe_without_a_pair_has_no_row(study: Path):
    write_study(study, models=MODELS, recipes=["squish", "draft", "crop"])
    table = effects(study)
    assert table["recipe"].tolist() == ["crop"] * 3
    assert table.index.tolist() == ["all", "efficientnet", "resnet"]


def test_times_are_ratios_on_one_device(study: Path):
    assert effects(study)["steady_fit_time_ratio"].tolist() == pytest.approx([2, 2, 2])
    other = {**CPU, "name": "Another CPU"}
    write_run(study / "runs", MODELS[3], 0, 0.07, recipe="crop", device=other)
    write_run(study / "runs", MODELS[3], 1, 0.09, recipe="crop", device=other)
    table = effects(study)
    assert pd.isna(table.loc["resnet", "steady_fit_time_ratio"])
    assert table.loc["all", "steady_fit_time_ratio"] == pytest.approx(2)


def test_one_recipe_has_no_effects_and_no_figure(study: Path):
    write_study(study, recipes=["squish"])
    assert effects(study).empty
    plot.main(*(study / name for name in ("params.yaml", "imagenet.csv", "results", "figures")))
    assert not (study / "figures/recipes.svg").exists()


def test_two_recipes_have_a_figure(study: Path):
    effects(study)
    plot.main(*(study / name for name in ("params.yaml", "imagenet.csv", "results", "figures")))
    assert (study / "figures/recipes.svg").stat().st_size > 1000
