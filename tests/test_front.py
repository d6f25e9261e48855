"""The front of error and cost, and the probability to be on it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from study_fakes import LITE, write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.records import Cost, Device, Record
from pipeline.results import KEY
from pipeline.statistics.comparison import compare
from pipeline.statistics.fit_times import (
    AT_LEAST,
    AT_MOST,
    CPU_SECONDS,
    ESTIMATED_FACTOR,
    ESTIMATED_ON,
    ESTIMATED_SECONDS,
    SECONDS_AT_LEAST,
    along_front,
    front_of_three,
    front_of_two,
    fronts,
    least_share_alone,
    main_devices,
    relative_noise,
    times_elsewhere,
    with_bounds,
    with_least_seconds,
)


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


def test_the_probability_of_being_quicker_is_that_of_lognormal_times() -> None:
    """The worse model is on the front if it is quicker; its time is known from fewer runs."""
    seconds = {"a": [100.0, 104.0, 96.0, 100.0], "b": [97.0, 101.0]}
    timed = pd.DataFrame(
        [{"model": m, "steady_fit_seconds": each} for m in seconds for each in seconds[m]]
    )
    squares = [(np.array(each) / np.mean(each) - 1) ** 2 for each in seconds.values()]
    noise = np.sqrt(np.concatenate(squares).sum() / (3 + 1))
    assert relative_noise(timed) == pytest.approx(noise)
    assert relative_noise(timed.drop_duplicates("model")) == 0
    errors = np.array([[0.10, 0.101, 0.099], [0.60, 0.601, 0.599]])
    medians = np.array([100.0, 99.0])
    costs = {"steady_fit_seconds_median": medians, "n_timed": [4, 2], "peak_memory_gib_max": np.nan}
    found = fronts(compare(errors, 5000, None), pd.DataFrame(costs), timed)
    se = noise * np.sqrt(1 / 4 + 1 / 2)
    quicker = stats.norm.cdf(np.log(100 / 99) / se)
    assert 0.55 < quicker < 0.75
    assert found["p_front"].tolist() == pytest.approx([1, quicker], abs=0.03)
    assert found["on_front"].tolist() == [True, True]


def test_a_model_without_a_time_is_on_no_front_and_on_no_ones_way() -> None:
    found = compare(np.array([[0.1, 0.11], [0.2, 0.21], [0.3, 0.31]]), 5000, None)
    costs = pd.DataFrame(
        {
            "steady_fit_seconds_median": [np.nan, 30.0, 20.0],
            "n_timed": [0, 2, 2],
            "peak_memory_gib_max": [1.0, 2.0, 3.0],
        }
    )
    timed = pd.DataFrame({"model": ["b", "c"], "steady_fit_seconds": [30.0, 20.0]})
    table = fronts(found, costs, timed)
    assert table["on_front"].tolist() == [pd.NA, True, True]
    assert table["p_front"].isna().tolist() == [True, False, False]
    assert table["p_front_memory"].tolist()[1:] == [1.0, 1.0]


def test_a_front_is_walked_from_less_to_more() -> None:
    less = np.array([5.0, 1.0, 3.0, np.nan, 2.0, 4.0])
    more = np.array([9.0, 1.0, 4.0, 99.0, np.nan, 4.0])
    assert along_front(less, more).tolist() == [1, 2, 0]


def test_the_main_device_has_most_runs_and_comes_first_by_name_of_equals() -> None:
    runs = {"dataset": list("aaabb"), "device": ["x", "y", "y", "q", "p"]}
    assert main_devices(pd.DataFrame(runs)).to_dict() == {"a": "y", "b": "p"}


def test_the_quickest_run_bounds_a_time_that_does_not_count() -> None:
    """By its whole fit where its start-up is not known."""
    rows = [
        ("d", "r", "a", 20.0, 25.0, 70.0),
        ("d", "r", "a", np.nan, 18.0, 60.0),
        ("d", "r", "b", 9.0, 12.0, 90.0),
    ]
    names = [*KEY, "steady_fit_seconds", "fit_seconds", "images_per_second"]
    board = pd.DataFrame(
        {"steady_fit_seconds_median": [np.nan, 9.0], "images_per_second_median": [np.nan, 90.0]},
        index=pd.MultiIndex.from_tuples([("d", "r", "a"), ("d", "r", "b")], names=KEY),
    )
    found = with_bounds(board, pd.DataFrame(rows, columns=names))
    assert found[AT_MOST].tolist() == pytest.approx([18.0, np.nan], nan_ok=True)
    assert found[AT_LEAST].tolist() == pytest.approx([70.0, np.nan], nan_ok=True)


def fit(cpu: float | None, whole: float | None, start_up: float, **device: object) -> Record:
    cost = Cost(fit_seconds=whole, cpu_seconds=cpu, start_up_seconds=start_up)
    told = Device(**{"kind": "cpu", "threads": 2, **device})
    return Record("ok", "d", "net", "r", 0, cost=cost, device=told)


def test_a_fit_alone_takes_half_of_what_each_of_its_threads_computed_at_the_least() -> None:
    assert least_share_alone(fit(60.0, 100.0, 10.0)) == pytest.approx(0.5 * 60 / 2 / 100)
    assert least_share_alone(fit(600.0, 100.0, 10.0)) == 1
    for nothing in (fit(None, 100.0, 1.0), fit(6.0, None, 1.0), fit(6.0, 9.0, 1.0, kind="cuda")):
        assert least_share_alone(nothing) is None
    board = pd.DataFrame([{"dataset": "d", "recipe": "r", "model": "net"}])
    runs = [fit(160.0, 100.0, 10.0), fit(120.0, 100.0, 10.0)]
    found = with_least_seconds(board, runs).iloc[0]
    assert found[SECONDS_AT_LEAST] == pytest.approx(30 - 10)  # the start-up was at full pace
    assert np.isnan(found[CPU_SECONDS])
    alone = [fit(16.0, 100.0, 90.0, threads=1), fit(12.0, 100.0, 90.0, threads=1)]
    found = with_least_seconds(board, alone).iloc[0]
    assert found[SECONDS_AT_LEAST] == 0
    assert found[CPU_SECONDS] == 12


def test_an_estimated_time_may_be_off_by_its_factor_either_way() -> None:
    rows = pd.DataFrame(
        {
            "model": ["a", "b"],
            ESTIMATED_SECONDS: [60.0, np.nan],
            ESTIMATED_FACTOR: [1.5, np.nan],
            ESTIMATED_ON: "H100",
        }
    )
    assert times_elsewhere(rows) == {
        "device": "H100",
        "models": {"a": {"seconds": 60.0, "least": 40.0, "most": 90.0}, "b": None},
    }
    assert times_elsewhere(rows.drop(columns=ESTIMATED_ON)) is None
