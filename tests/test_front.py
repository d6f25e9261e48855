"""The front of error and cost, and the probability to be on it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from study_fakes import LITE, write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.statistics.comparison import compare
from pipeline.statistics.fit_times import front_of_three, front_of_two, fronts


def brute(values: np.ndarray) -> list[bool]:
    """Who is not dominated, of values [n, k], by comparing every pair."""
    dominates = (values[:, None] <= values).all(axis=-1) & (values[:, None] < values).any(axis=-1)
    return (~dominates.any(axis=0)).tolist()


def test_fronts_are_those_of_comparing_every_pair():
    rng = np.random.default_rng(0)
    for _ in range(20):
        values = rng.random((15, 3))
        values[:, 1:] = values[:, 1:].round(1)
        two = front_of_two(values[None, :, 0], values[None, :, 1])[0]
        three = front_of_three(values[None, :, 0], values[None, :, 1], values[:, 2])[0]
        assert two.tolist() == brute(values[:, :2])
        assert three.tolist() == brute(values)


@pytest.fixture
def board(tmp_path: Path) -> pd.DataFrame:
    """lite0 quick, lite1 good, lite2 as slow as lite1 and far worse, but small."""
    write_study(tmp_path, seeds=[0, 1, 2])
    write_imagenet(tmp_path / "imagenet.csv")
    rows = ((0.30, 10.0, 4.0), (0.06, 90.0, 3.0), (0.50, 95.0, 1.0))
    for model, (error, fit, memory) in zip(LITE, rows, strict=True):
        for seed in range(3):
            cost = {"fit_seconds": fit + seed / 10, "peak_memory_reserved_gib": memory}
            write_run(tmp_path / "runs", model, seed, error + seed / 1000, cost=cost)
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(tmp_path / name for name in names))
    return pd.read_csv(tmp_path / "results/leaderboard.csv").set_index("model").loc[LITE]


def test_a_model_that_is_slower_and_worse_is_not_on_the_front(board: pd.DataFrame):
    assert board["on_front"].tolist() == [True, True, False]
    assert board["p_front"].tolist() == pytest.approx([1, 1, 0], abs=0.01)


def test_small_memory_is_a_place_on_the_front_that_counts_memory(board: pd.DataFrame):
    assert board["p_front_memory"].tolist() == pytest.approx([1, 1, 1], abs=0.01)


def test_a_model_behind_by_a_hair_may_be_on_the_front(tmp_path: Path):
    write_study(tmp_path, models=LITE[:2])
    write_imagenet(tmp_path / "imagenet.csv", LITE[:2])
    for model, error, fit in zip(LITE, (0.060, 0.061), (20.0, 40.0), strict=False):
        for seed in range(2):
            cost = {"fit_seconds": fit, "peak_memory_reserved_gib": None}
            write_run(tmp_path / "runs", model, seed, error + seed / 1000, cost=cost)
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(tmp_path / name for name in names))
    board = pd.read_csv(tmp_path / "results/leaderboard.csv").set_index("model")
    assert board["on_front"].to_dict() == {LITE[0]: True, LITE[1]: False}
    assert board.loc[LITE[0], "p_front"] == 1
    assert 0.4 < board.loc[LITE[1], "p_front"] < 0.52
    assert board["p_front_memory"].isna().all()


def test_who_may_be_the_best_may_be_on_the_front() -> None:
    """The better, the quicker: but for the quickest, a model is on the front only if it is best."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        errors = 0.1 + 0.004 * rng.standard_normal((6, 1)) + 0.006 * rng.standard_normal((6, 3))
        found = compare(errors, 1500, None)
        seconds = 10.0 + found.mean.argsort().argsort()
        costs = {"steady_fit_seconds_median": seconds, "n_timed": 3, "peak_memory_gib_max": np.nan}
        timed = {"model": np.repeat(range(6), 3), "steady_fit_seconds": np.repeat(seconds, 3)}
        p_front = fronts(found, pd.DataFrame(costs), pd.DataFrame(timed))["p_front"]
        assert (p_front.to_numpy(dtype=float) >= found.p_best - 0.01).all()


def test_models_equal_in_both_are_on_the_front_together() -> None:
    errors, seconds = np.array([[0.2, 0.1, 0.1, 0.3]]), np.array([[10.0, 30.0, 30.0, 40.0]])
    assert front_of_two(errors, seconds)[0].tolist() == [True, True, True, False]
