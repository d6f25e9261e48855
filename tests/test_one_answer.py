"""Metrics, report and `recommend` name one model; limits change no number: random leaderboards."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.aggregate.__main__ import headline
from pipeline.aggregate.leaderboard import leaderboard
from pipeline.aggregate.runs_table import runs_table
from pipeline.core.errors import PipelineError
from pipeline.recommend.choice import Choice, certainty, choose, reason
from pipeline.recommend.limits import Limits
from pipeline.records import Cost, Data, Device, Metrics, Record, pack_counts
from pipeline.report.words import answer
from pipeline.statistics.answer import (
    all_others,
    best_row,
    few_images,
    more_likely_best,
    name_list,
    points_more,
    quickest,
    quickest_of_equals,
    same_error,
    sentence_of_test,
    some_others,
)
from pipeline.statistics.doubts import doubts_column
from pipeline.statistics.fit_times import AT_MOST
from pipeline.statistics.validation_images import answers_table
from pipeline.study.params import Cell, Study

IMAGES = 60
NUMBERS = ["error_rate_mean", "error_rate_low", "error_rate_high", "p_best", "tied", "gap_low"]
Runs = tuple[tuple[int, float | None, bool], ...]  # per seed: wrong answers, fit seconds, disturbed

sweeps = st.integers(1, 3).flatmap(
    lambda seeds: st.lists(
        st.lists(
            st.tuples(
                st.integers(0, 20), st.sampled_from([None, 5.0, 20.0, 40.0, 90.0]), st.booleans()
            ),
            min_size=seeds,
            max_size=seeds,
        ).map(tuple),
        min_size=1,
        max_size=5,
    ).map(tuple)
)
limits = st.builds(
    Limits,
    max_fit_time=st.sampled_from([None, "1s", "10s", "30s", "50s", "1h"]),
    min_throughput=st.sampled_from([None, 1.0, 30.0, 100.0, 1e4]),
    max_memory=st.sampled_from([None, "1GiB", "3GiB"]),
    smaller_and_faster_than_median=st.booleans(),
)


def record(cell: Cell, wrong: int, seconds: float | None, disturbed: bool) -> Record:
    answers = (np.arange(IMAGES) < wrong).astype(np.uint8)
    error = float(answers.mean())
    cost: dict[str, Any] = {"peak_rss_gib": 0.5 + wrong / 10}
    if seconds is not None:
        cost |= {"fit_seconds": seconds, "images_per_second": 1000 / seconds}
        cost |= {"start_up_seconds": 0.0, "steady_fit_seconds": seconds}
    return Record(
        **{name: getattr(cell, name) for name in ("dataset", "model", "recipe", "seed")},
        status="ok",
        metrics=Metrics(error_rate=error, accuracy=1 - error),
        cost=Cost(**cost),
        device=Device(kind="cpu", name="Some CPU", threads=1, shared=disturbed),
        not_for_speed="it waited for a core" if disturbed else None,
        data=Data(kind="single", n_train=90, n_valid=IMAGES, chance_error_rate=0.9),
        valid_wrong=pack_counts(answers),
    )


@lru_cache(maxsize=64)
def tables(sweep: tuple[Runs, ...], recipes: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Leaderboard and runs, the latter with which images each run erred on."""
    study = Study(
        path=Path("params.yaml"),
        timm_source="data/sample",
        datasets=("d",),
        models=tuple(f"m{number}" for number in range(len(sweep))),
        recipes=tuple(f"r{number}" for number in range(recipes)),
        seeds=tuple(range(len(sweep[0]))),
        image_size=64,
        weights="wheel",
        charts={},
        overhead_seconds=80,
    )
    records = {
        cell: record(cell, *sweep[int(cell.model[1:])][cell.seed])
        for cell in study.cells()
        if cell.recipe == "r0" or cell.model == "m0"
    }
    runs, answers = runs_table(study, records), answers_table(records)
    published = [
        "family",
        "pretraining",
        "licence",
        "imagenet_top1",
        "imagenet_img_size",
        "params_m",
    ]
    published += [
        f"{mode}_{name}"
        for mode in ("infer", "train")
        for name in ("samples_per_second", "img_size")
    ]
    known = pd.DataFrame({"model": study.models}).assign(**dict.fromkeys(published))
    board = leaderboard(study, runs, answers, known, {}, doubts_column({}, {}), runs.head(0))
    return board, runs.merge(answers, how="left", on=["dataset", "recipe", "model", "seed"])


def chosen(board: pd.DataFrame, runs: pd.DataFrame, asked: Limits) -> Choice | None:
    """None where no model keeps the limits."""
    ranked = board[board["n"] > 0]
    try:
        return choose(ranked, runs, asked.of_runs(ranked, 64))
    except PipelineError:
        return None


@settings(max_examples=8, deadline=None)
@given(sweeps, st.integers(1, 2))
def test_without_limits_metrics_report_and_recommendation_name_one_model(sweep, recipes):
    board, runs = tables(sweep, recipes)
    choice = chosen(board, runs, Limits())
    assert choice is not None
    first = choice.rows.iloc[0]
    metrics, told = headline("d", runs, board, None), answer("d", board)
    assert (first["model"], first["recipe"]) == (metrics["best_model"], metrics["recipe"])
    assert (first["model"], first["recipe"]) == (told.model, told.recipe)
    assert first["error_rate_low"] == metrics["error_rate_low"]
    assert first["p_best"] == metrics["p_best"]
    assert choice.n_tied == metrics["n_tied"]


@settings(max_examples=8, deadline=None)
@given(sweeps, st.integers(1, 2), limits)
def test_a_limit_changes_no_error_interval_or_probability(sweep, recipes, asked):
    board, runs = tables(sweep, recipes)
    choice = chosen(board, runs, asked)
    if choice is None:
        return
    key = ["recipe", "model"]
    before = board.set_index(key).loc[pd.MultiIndex.from_frame(choice.rows[key]), NUMBERS]
    pd.testing.assert_frame_equal(
        choice.rows[NUMBERS].astype(float), before.reset_index(drop=True).astype(float)
    )


@settings(max_examples=8, deadline=None)
@given(sweeps, limits)
def test_the_recommended_model_breaks_no_limit_that_is_known_of_it(sweep, asked):
    board, runs = tables(sweep, 1)
    choice = chosen(board, runs, asked)
    if choice is None:
        return
    first = choice.rows.iloc[0]
    for limit in asked.of_runs(choice.rows, 64):
        known = first.get(limit.column) if hasattr(limit, "column") else None
        if known is not None and pd.notna(known):
            assert known >= limit.bound if limit.is_minimum else known <= limit.bound
    lowest = choice.within["error_rate_mean"].min()
    assert first["error_rate_mean"] <= lowest + 1e-9


@settings(max_examples=8, deadline=None)
@given(sweeps, st.sampled_from(["1s", "10s", "30s"]), st.sampled_from(["50s", "1h"]))
def test_a_looser_limit_never_leaves_a_worse_model(sweep, tight, loose):
    board, runs = tables(sweep, 1)
    first, second = (chosen(board, runs, Limits(max_fit_time=each)) for each in (tight, loose))
    if first is None:
        return
    assert second is not None
    assert set(first.within["model"]) <= set(second.within["model"])
    errors = [each.rows["error_rate_mean"].iloc[0] for each in (first, second)]
    assert errors[1] <= errors[0] + 1e-9


@settings(max_examples=8, deadline=None)
@given(sweeps, limits)
def test_quickest_is_said_of_no_model_whose_time_is_unknown(sweep, asked):
    board, runs = tables(sweep, 1)
    choice = chosen(board, runs, asked)
    if choice is None:
        return
    text = reason(choice)
    first = choice.rows.iloc[0]
    if pd.isna(first["steady_fit_seconds_median"]):
        assert "also the quickest" not in text
    tied = choice.within[choice.within["tied"]]
    if "quickest" in text and tied["steady_fit_seconds_median"].isna().any():
        assert "as far as times are known" in text
    assert (
        first[AT_MOST] is None
        or pd.isna(first[AT_MOST])
        or pd.isna(first["steady_fit_seconds_median"])
    )


@settings(max_examples=8, deadline=None)
@given(sweeps, limits)
def test_the_same_tables_give_the_same_words(sweep, asked):
    board, runs = tables(sweep, 1)
    texts = []
    for rows in (runs, runs.sample(frac=1, random_state=1)):
        choice = chosen(board, rows, asked)
        texts.append(None if choice is None else (reason(choice), certainty(choice)))
    assert texts[0] == texts[1]


# What each answer is chosen by, on rows that are made


def rows_of(*rows: tuple[str, float, float | None], **more: Any) -> pd.DataFrame:
    """Rows of a leaderboard: model, mean error, steady fit time."""
    table = pd.DataFrame(rows, columns=["model", "error_rate_mean", "steady_fit_seconds_median"])
    return table.assign(**{"recipe": "r", **more})


def test_the_best_has_the_lowest_error_then_the_shortest_known_time_then_the_first_name() -> None:
    ranked = rows_of(("d", 0.2, 1.0), ("c", 0.1, None), ("b", 0.1, 9.0), ("a", 0.1 + 1e-14, 8.0))
    assert best_row(ranked)["model"] == "a"  # but for the last bits as good
    assert best_row(ranked[:3])["model"] == "b"
    assert best_row(ranked[:2])["model"] == "c"
    assert best_row(rows_of(("a", 0.1 + 1e-9, 1.0), ("b", 0.1, 2.0)))["model"] == "b"
    equal = rows_of(("z", 0.1, 8.0), ("y", 0.1, 8.0), ("x", 0.1, 8.0), recipe=["q", "q", "r"])
    assert best_row(equal)["model"] == "y"


@pytest.mark.parametrize(
    ("seconds", "at_most", "expected"),
    [
        ((30.0, 20.0, 25.0), (None, None, None), "b"),
        ((30.0, None, 25.0), (None, 24.0, None), "b"),  # quicker, however quick
        ((30.0, None, 25.0), (None, 25.0, None), "c"),  # may be as slow
        ((30.0, None, None), (None, 24.0, 23.0), None),  # one of two, but which
        ((30.0, None, None), (None, 24.0, 31.0), "b"),
        ((None, None, None), (9.0, 8.0, 7.0), None),
    ],
)
def test_the_quickest_is_named_only_if_it_is_known(
    seconds: tuple[float | None, ...], at_most: tuple[float | None, ...], expected: str | None
) -> None:
    tied = rows_of(*zip("abc", (0.1, 0.2, 0.3), seconds, strict=True), **{AT_MOST: at_most})
    found = quickest(tied, AT_MOST)
    assert (None if found is None else found["model"]) == expected


def test_a_quicker_equal_is_named_where_all_are_tied_and_timed() -> None:
    rows = rows_of(("a", 0.1, 30.0), ("b", 0.2, 20.0), ("c", 0.3, 10.0), tied=True)
    assert quickest_of_equals(rows, rows[:2]) == "b"
    assert quickest_of_equals(rows, rows) == "c"
    assert quickest_of_equals(rows, rows[:1]) is None  # the first itself
    for tied in ([True, True, False], [True, None, True]):
        assert quickest_of_equals(rows.assign(tied=tied), rows[:2]) is None
    unknown = rows_of(("a", 0.1, 30.0), ("b", 0.2, None), tied=True)
    assert quickest_of_equals(unknown, unknown) is None


def test_up_to_a_hundred_images_are_few() -> None:
    assert few_images(80, "single") == "80 validation images are few, one mistake is 1.2 points"
    assert few_images(100, "single") is not None
    assert few_images(101, "single") is None
    assert few_images(80, "multi") is None
    assert few_images(float("nan"), "single") is None


def test_models_of_the_same_error_are_named_without_the_best_itself() -> None:
    rivals = rows_of(("a", 0.1, 1), ("b", 0.1 + 1e-14, 1), ("c", 0.1 + 1e-9, 1), ("d", 0.1, 1))
    assert same_error(rivals.iloc[0], rivals) == ["b", "d"]
    assert same_error(rivals.iloc[0], rivals[:1]) == []


def test_a_model_is_more_likely_the_best_if_that_shows_in_two_decimals() -> None:
    rows = rows_of(("a", 0.1, 1), ("b", 0.2, 1), ("c", 0.3, 1), p_best=[0.42, 0.424, 0.156])
    assert more_likely_best(rows.iloc[0], rows) is None
    higher = rows.assign(p_best=[0.42, 0.43, 0.15])
    found = more_likely_best(higher.iloc[0], higher)
    assert found is not None
    assert found["model"] == "b"
    assert more_likely_best(higher.iloc[1], higher) is None
    assert more_likely_best(rows.iloc[0], rows.assign(p_best=None)) is None


def test_names_and_numbers_of_models_are_words() -> None:
    names = [name_list(list("abcde")[:n]) for n in range(1, 6)]
    assert names == ["a", "a and b", "a, b and c", "a, b and 2 others", "a, b and 3 others"]
    assert [all_others(n) for n in (1, 2)] == ["the other one", "all 2 others"]
    assert [some_others(*each) for each in ((1, 1), (1, 3), (3, 3))] == [
        "the other one",
        "1 of the 3 others",
        "any of the 3 others",
    ]


def test_points_more_are_at_most_what_the_gap_is_at_most_where_it_is_to_the_best() -> None:
    best = pd.Series({"error_rate_mean": 0.1, "gap_to_best": None})
    row = pd.Series({"error_rate_mean": 0.123, "gap_high": 0.04})
    assert points_more(row, best) == "2.30 points more, at most 4.00 at 95 %"
    below = pd.Series({"error_rate_mean": 0.1, "gap_high": -0.01})
    assert points_more(below, best) == "0.00 points more, at most 0.00 at 95 %"
    other = best.copy()
    other["gap_to_best"] = 0.01  # the gaps are to another one
    assert points_more(row, other) == "2.30 points more"
    assert points_more(row.drop("gap_high"), best) == "2.30 points more"


def test_the_error_on_the_test_part_is_the_mean_of_the_models_fits_that_have_one() -> None:
    runs = pd.DataFrame(
        {
            "recipe": ["r", "r", "r", "q", "r"],
            "model": ["a", "a", "a", "a", "b"],
            "test_error_rate": [0.10, 0.20, None, 0.9, 0.9],
            "n_test": [1234, 1234, None, 5, None],
        }
    )
    said = "On the test part, which chooses nothing, it errs on"
    assert sentence_of_test(runs, "r", "a") == f"{said} 15.00 % (n = 1,234, 2 fits)."
    assert sentence_of_test(runs, "r", "b") == f"{said} 90.00 % (1 fit)."
    assert sentence_of_test(runs, "q", "b") is None
