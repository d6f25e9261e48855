"""The small and fast: below the median in memory and time, as the 2022 study's tables were."""

from pathlib import Path

import pandas as pd
import pytest
from study_fakes import LITE, write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.statistics.fit_times import below_both
from pipeline.study2022.printed import printed_tables, published, read_sweep

MODELS = [*LITE, "resnet18.a1_in1k", "resnet34.a1_in1k"]
COSTS = ((10, 1.0), (20, 2.0), (30, 3.0), (40, 4.0), (5, 9.0))  # seconds and GiB; medians 20 and 3


@pytest.fixture
def study(tmp_path: Path) -> Path:
    write_study(tmp_path, models=MODELS)
    write_imagenet(tmp_path / "imagenet.csv", MODELS)
    for model, (fit, memory) in zip(MODELS, COSTS, strict=True):
        for seed in (0, 1):
            cost = {"fit_seconds": fit, "peak_memory_reserved_gib": memory, "peak_rss_gib": 5.0}
            write_run(tmp_path / "runs", model, seed, 0.3 - fit / 1000, cost=cost)
    return tmp_path


def small(folder: Path) -> pd.DataFrame:
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(folder / name for name in names))
    return pd.read_csv(folder / "results/small_and_fast.csv")


def test_a_model_must_be_below_both_medians(study: Path):
    table = small(study)
    assert table["model"].tolist() == [LITE[0]]
    assert table.loc[0, ["memory_of", "memory_gib_below", "steady_fit_seconds_below"]].tolist() == [
        *("GPU", 3.0, 20.0)
    ]


def test_they_are_placed_by_their_error(study: Path):
    changed = {LITE[1]: (25, 3.5), MODELS[3]: (12, 2.9), MODELS[4]: (40, 9.0)}
    for model, (fit, memory) in changed.items():
        for seed in (0, 1):
            cost = {"fit_seconds": fit, "peak_memory_reserved_gib": memory}
            write_run(study / "runs", model, seed, 0.1, cost=cost)
    table = small(study)
    assert table["model"].tolist() == [MODELS[3], LITE[0]]
    assert table["place"].tolist() == [1, 2]


def test_without_a_gpu_the_memory_is_the_process_s(study: Path):
    for number, model in enumerate(MODELS):
        for seed in (0, 1):
            cost = {"fit_seconds": 10.0 + number, "peak_rss_gib": 1.0 + number}
            write_run(study / "runs", model, seed, 0.2, cost=cost)
    table = small(study)
    assert set(table["memory_of"]) == {"process"}
    assert table["model"].tolist() == LITE[:2]


def test_a_study_without_a_finished_run_has_none(study: Path):
    for model in MODELS:
        for seed in (0, 1):
            write_run(study / "runs", model, seed, 0.2, status="failed", reason="x", cost={})
    assert small(study).empty


def test_medians_of_2022_select_14_of_the_15_models_that_the_study_printed(shared: Path):
    """It printed models below 2.7 GiB and 110 s (Pets) or 25 s (Planet), which are near medians."""
    runs = read_sweep(shared / "reference/sweep_2022.csv")
    tables = printed_tables(runs)
    groups = dict(list(published(runs).groupby("dataset")))
    assert set(groups) == {"pets", "planet"}
    for dataset, models in groups.items():
        bounds = models["GPU_mem"].median(), models["fit_time"].median()
        found = below_both(models, "GPU_mem", "fit_time", "error_rate", bounds)
        printed = set(tables[f"{dataset}_small_fast"]["model_name"])
        assert len(printed & set(found["model_name"].head(15))) == 14
