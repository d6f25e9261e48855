"""What a fit's first steps took beyond the pace of later ones is told apart, and ranks nothing."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastai.vision.all import Callback
from study_fakes import LITE, write_imagenet, write_run, write_study
from tiny_runs import CPU, fitted, run_on, same_bits, weights_of, write_squares

from pipeline.aggregate.__main__ import main as aggregate
from pipeline.estimates.estimate import (
    OtherCells,
    TimedRun,
    Work,
    measured_over_estimated,
    start_up_of,
)
from pipeline.finetune import training
from pipeline.finetune.callbacks import FIRST_STEPS, Epochs, FirstSteps
from pipeline.finetune.speed import Speed
from pipeline.hardware.telemetry import Watch
from pipeline.records import read_record, start_up_of_epochs
from pipeline.results import read_results, read_small_and_fast

TRAIN, FROZEN, VALIDATE = ("train", 0), ("train", 1), ("validate", None)


def told(**steps: list[tuple[int, float]]) -> float | None:
    kinds = {"frozen": FROZEN, "train": TRAIN, "validate": VALIDATE}
    return FirstSteps(
        seconds={kinds[name]: each for name, each in steps.items()}
    ).start_up_seconds()


def steady(n: int, seconds: float = 0.1, size: int = 32) -> list[tuple[int, float]]:
    return [(size, seconds)] * n


def test_the_first_steps_of_each_kind_are_held_against_its_later_ones() -> None:
    frozen = [(32, 3.0), *steady(20)]
    train = [(32, 1.0), (32, 0.5), *steady(20, 0.2)]
    assert told(frozen=frozen, train=train, validate=steady(9)) == pytest.approx(2.9 + 0.8 + 0.3)
    assert told(frozen=steady(20), train=steady(20), validate=steady(9)) == pytest.approx(0)


def test_a_host_that_runs_ahead_and_waits_at_some_steps_has_no_start_up() -> None:
    """31 steps of 1 ms, then a wait for all of them: 10 ms is the pace, not their median."""
    cycle = [*steady(31, 0.001), (32, 0.289)]
    slow_start = [(32, 0.5), *cycle[:-1], (32, 0.289 - 0.009)]
    assert told(train=slow_start + 9 * cycle, validate=steady(9)) == pytest.approx(0.467, abs=0.01)
    assert told(train=10 * cycle, validate=steady(9)) == 0


def test_the_first_batch_of_another_size_is_planned_anew() -> None:
    passes = [*steady(10), (7, 0.02)]
    first = [*steady(10), (7, 1.1)]
    assert told(train=steady(20), validate=[*first, *passes, *passes]) == pytest.approx(1.0)


def test_a_frozen_phase_of_few_steps_is_held_against_the_other_phase() -> None:
    assert told(frozen=[(32, 2.0), (32, 0.1)], train=steady(20), validate=steady(9)) == (
        pytest.approx(1.9)
    )


def test_too_few_steps_tell_nothing() -> None:
    few = 2 * FIRST_STEPS - 1
    assert told(train=steady(few), validate=steady(20)) is None
    assert told(train=steady(20), validate=steady(few)) is None


class SlowStart(Callback):
    """The first step of training and of validation takes a third of a second more."""

    def before_fit(self) -> None:
        self.seen: set[bool] = set()

    def after_pred(self) -> None:
        if self.training not in self.seen:
            self.seen.add(self.training)
            time.sleep(0.3)


def test_a_fit_is_its_start_up_and_the_rest_and_learns_the_same(tmp_path: Path) -> None:
    run = run_on(write_squares(tmp_path / "squares"), Speed(), epochs=2)
    learn = training.seeded_learner(run)
    learn.add_cb(SlowStart())
    cost = training.fit(learn, run.recipe, Epochs(), Watch(CPU)).cost
    assert cost["start_up_seconds"] + cost["steady_fit_seconds"] == pytest.approx(
        cost["fit_seconds"]
    )
    assert 0.6 <= cost["start_up_seconds"] < cost["fit_seconds"]
    assert same_bits(weights_of(learn), fitted(run)[1])


def epochs(*seconds: tuple[float, float]) -> list[dict[str, Any]]:
    """Rows of a history, of seconds of training and of validation."""
    return [{"train_seconds": train, "seconds": train + valid} for train, valid in seconds]


def test_an_older_record_is_told_by_the_first_epoch_of_each_phase() -> None:
    rows = epochs((5, 3), (2, 0.5), (1, 0.5), (1, 0.5), (1, 0.5))
    assert start_up_of_epochs(rows, frozen=1) == pytest.approx(4 + 1 + 2.5)
    whole = [{"seconds": row["seconds"]} for row in rows]
    assert start_up_of_epochs(whole, frozen=1) == pytest.approx(6.5 + 1)
    long = epochs((5, 1), (3, 1), (3, 1), (1, 1), (1, 1), (1, 1))
    assert start_up_of_epochs(long, frozen=3) == pytest.approx(2)


@pytest.mark.parametrize(
    ("rows", "frozen"),
    [
        (epochs((5, 3), (1, 1), (1, 1)), 1),
        ([], 0),
        ([{"seconds": "long"}] * 5, 0),
        ([{"seconds": float("nan")}] * 5, 0),
        ([{}] * 5, 0),
        (epochs(*[(1, 1)] * 5), "one"),
    ],
)
def test_few_or_odd_epochs_tell_nothing(rows: list[dict[str, Any]], frozen: Any) -> None:
    assert start_up_of_epochs(rows, frozen) is None


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """The first model starts slowly and is the quickest after that; of the last nothing is told."""
    write_study(tmp_path, seeds=[0, 1])
    write_imagenet(tmp_path / "imagenet.csv")
    costs = {
        LITE[0]: {"fit_seconds": 40.0, "start_up_seconds": 30.0},
        LITE[1]: {"fit_seconds": 20.0, "start_up_seconds": 1.0},
        LITE[2]: {"fit_seconds": 5.0, "start_up_seconds": None, "steady_fit_seconds": None},
    }
    for model, cost in costs.items():
        for seed in (0, 1):
            cost = {"peak_memory_reserved_gib": 1.0, **cost}
            write_run(tmp_path / "runs", model, seed, 0.06 + seed / 100, cost=cost)
    aggregate_study(tmp_path)
    return tmp_path


def aggregate_study(folder: Path) -> None:
    aggregate(
        params=folder / "params.yaml",
        runs=folder / "runs",
        imagenet=folder / "imagenet.csv",
        results=folder / "results",
        metrics=folder / "metrics",
    )


def test_models_rank_by_their_steady_time_and_start_up_has_its_column(study: Path) -> None:
    board = read_results(study / "results").board.set_index("model")
    assert board["steady_fit_seconds_median"].drop(LITE[2]).to_dict() == {LITE[0]: 10, LITE[1]: 19}
    assert board["start_up_seconds_median"].drop(LITE[2]).to_dict() == {LITE[0]: 30, LITE[1]: 1}
    assert board.loc[LITE[0], "on_front"]
    assert not board.loc[LITE[1], "on_front"]
    assert board.loc[LITE[0], "score_mean"] == pytest.approx(0.065 * (10 + 80))


def test_an_unknown_start_up_never_ranks_as_zero(study: Path) -> None:
    row = read_results(study / "results").board.set_index("model").loc[LITE[2]]
    times = ["steady_fit_seconds_median", "start_up_seconds_median", "score_mean", "p_front"]
    assert row[times].isna().all()
    assert row["not_timed"] == "too few steps to tell its start-up"
    assert LITE[2] not in set(read_small_and_fast(study / "results")["model"])


def run_of(images: float, seconds: float, start_up: float | None, model: str = "a") -> TimedRun:
    work = Work(f"of {images}", model, "r", 64, images)
    return TimedRun(work, 0, seconds, None, start_up)


def test_more_images_take_more_steady_time_and_start_up_once() -> None:
    few, many = run_of(1000, 20.0, 10.0), run_of(3000, 40.0, 10.0)
    ratios = measured_over_estimated(OtherCells([few, many]), [few, many])
    assert ratios == {few: pytest.approx(1), many: pytest.approx(1)}


def test_a_start_up_that_is_not_known_is_part_of_the_speed() -> None:
    few, many = run_of(1000, 10.0, None), run_of(3000, 30.0, None)
    assert start_up_of("a", [few, many]) == 0
    assert start_up_of("b", [few, run_of(1, 9.0, 4.0, "c"), run_of(1, 9.0, 6.0, "d")]) == 5
    assert start_up_of("b", []) == 0


def test_the_page_has_the_gpu_records_as_they_are_told_apart(root: Path, shared: Path) -> None:
    folder = shared / "gpu/records"
    if not folder.is_dir():
        pytest.skip(f"no records at {folder}")
    page = (root / "docs/performance.md").read_text("utf-8")
    orders = {}
    for model in ("resnet18.tv", "tf_eff", "convnext", "vit_small"):
        found = [read_record(path) for path in sorted(folder.glob(f"{model}*.json"))]
        assert [record.seed for record in found] == [0, 1, 2, 3]
        times = np.array(
            [[r.cost.fit_seconds, r.start_up_seconds, r.steady_fit_seconds] for r in found],
            dtype=float,
        )
        alone, packed = times[0], np.median(times[1:], axis=0)
        cells = " | ".join(f"{value:.2f}" for value in (*alone, *packed))
        name = found[0].model.partition(".")[0]
        assert f"| {name} | {cells} |" in page
        orders[name] = alone
    by_fit, by_steady = (sorted(orders, key=lambda each: orders[each][column]) for column in (0, 2))
    assert by_fit == [
        "resnet18",
        "vit_small_patch16_224",
        "convnext_tiny",
        "tf_efficientnet_lite0",
    ]
    assert by_steady == [
        "resnet18",
        "tf_efficientnet_lite0",
        "convnext_tiny",
        "vit_small_patch16_224",
    ]


def test_start_ups_of_cold_and_of_warm_runs_are_told_apart() -> None:
    cold, warm = run_of(1000, 20.0, 10.0), replace(run_of(2000, 20.5, 0.5), warm=True)
    assert (start_up_of("a", [cold, warm]), start_up_of("a", [cold, warm], warm=True)) == (10, 0.5)
    runs = [cold, run_of(3000, 40.0, 10.0), warm, replace(run_of(1000, 10.5, 0.5), warm=True)]
    assert measured_over_estimated(OtherCells(runs), runs) == dict.fromkeys(runs, pytest.approx(1))


def test_the_leaderboard_has_the_start_up_of_cold_runs_alone(study: Path) -> None:
    cost = {"fit_seconds": 10.5, "start_up_seconds": 0.5, "warm": True}
    write_run(study / "runs", LITE[0], 1, 0.07, cost=cost)
    write_run(study / "runs", LITE[1], 0, 0.06, cost=cost)
    write_run(study / "runs", LITE[1], 1, 0.07, cost=cost)
    aggregate_study(study)
    board = read_results(study / "results").board.set_index("model")
    assert board.loc[LITE[0], "start_up_seconds_median"] == 30
    assert board.loc[LITE[1]].isna()["start_up_seconds_median"]
    assert board.loc[[LITE[0], LITE[1]], "n_timed"].tolist() == [2, 2]
    assert board.loc[LITE[1], "steady_fit_seconds_median"] == 10
