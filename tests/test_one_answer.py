"""Metrics, report and `recommend` name one model; limits change no number: random leaderboards."""

import itertools
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from study_fakes import LITE, write_failure, write_imagenet, write_run, write_study

from pipeline.aggregate.__main__ import headline
from pipeline.aggregate.__main__ import main as aggregate
from pipeline.aggregate.leaderboard import leaderboard
from pipeline.aggregate.runs_table import runs_table
from pipeline.core.errors import PipelineError
from pipeline.recommend.choice import Choice, certainty, choose, reason, recommended_row
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


# What is chosen within limits, and the words for it


@dataclass(frozen=True)
class Named:
    """A limit that excludes some models by name and cannot judge others."""

    option: str
    excluded: frozenset[str]
    unjudged: frozenset[str] = frozenset()

    def keeps(self, rows: pd.DataFrame) -> pd.Series:
        return ~rows["model"].isin(self.excluded)

    def unknown(self, rows: pd.DataFrame) -> pd.Series:
        return rows["model"].isin(self.unjudged)

    def summary(self, rows: pd.DataFrame) -> str:
        return f"{self.option} excludes {(~self.keeps(rows)).sum()}"


def board_of(*rows: dict[str, Any], **of_all: Any) -> pd.DataFrame:
    """Rows of a leaderboard, `m0`, `m1` and so on where they have no name of their own."""
    usual = {
        **{"dataset": "d", "recipe": "r", "n": 2, "n_valid": 1000, "chance_error_rate": 0.9},
        **{"error_rate_low": 0.05, "error_rate_high": 0.155, "p_best": 0.4, "tied": True},
        **{"interval_covers": "seeds and images", "steady_fit_seconds_median": None},
        **{AT_MOST: None, "n_shared": 0, "gap_high": None, "gap_to_best": None},
    }
    made = [{**usual, "model": f"m{at}", **of_all, **row} for at, row in enumerate(rows)]
    return pd.DataFrame(made).astype({"tied": "boolean", AT_MOST: float})


def runs_of_board(board: pd.DataFrame, seeds: int = 2) -> pd.DataFrame:
    """Runs around each row's mean error, and one that failed."""
    runs = [
        {"recipe": row.recipe, "model": row.model, "seed": seed, "status": "ok"}
        | {"error_rate": row.error_rate_mean + (seed - (seeds - 1) / 2) / 1000, "valid_wrong": None}
        for row in board.itertuples()
        for seed in range(seeds)
    ]
    failed = {"recipe": board["recipe"].iloc[0], "model": board["model"].iloc[0], "seed": 9}
    return pd.DataFrame([*runs, failed | {"status": "failed", "error_rate": None}])


def test_a_choice_within_random_limits_is_that_of_pandas() -> None:
    rng = np.random.default_rng(0)
    excluding = set()
    for _ in range(30):
        names = [f"m{number}" for number in range(6)]
        board = board_of(
            *(
                {"model": name, "recipe": recipe, "error_rate_mean": error, "tied": tied}
                for (name, recipe), error, tied in zip(
                    itertools.product(names, ("q", "r")),
                    rng.permutation(np.linspace(0.05, 0.3, 12)),
                    rng.choice(np.array([True, False, None], dtype=object), 12),
                    strict=True,
                )
            )
        ).sample(frac=1, random_state=int(rng.integers(99)))
        some = [[n for n in names if rng.random() < share] for share in (0.3, 0.2, 0, 0.4, 0.5)]
        limits = [
            Named("--one", frozenset(some[0]), frozenset(some[3])),
            Named("--two", frozenset(some[1]), frozenset(some[4])),
            Named("--three", frozenset(some[2])),
        ]
        kept = board[~board["model"].isin(some[0] + some[1])]
        runs = runs_of_board(board, 3)
        if kept.empty:
            continue
        choice = choose(board, runs, limits)
        best = kept.sort_values("error_rate_mean").iloc[0]
        same = board[board["recipe"] == best["recipe"]]
        within, rest = (
            same[same["model"].isin(kept["model"])],
            same.drop(same.index[same["model"].isin(kept["model"])]),
        )
        order = [
            *within.sort_values("error_rate_mean")["model"],
            *rest.sort_values("error_rate_mean")["model"],
        ]
        assert choice.rows["model"].tolist() == order
        assert choice.within["model"].tolist() == order[: len(within)]
        assert choice.best["error_rate_mean"] == board["error_rate_mean"].min()
        wide = runs[(runs["recipe"] == best["recipe"]) & (runs["status"] == "ok")].pivot_table(
            index="model", columns="seed", values="error_rate"
        )
        assert choice.errors.tolist() == wide.loc[order].to_numpy().tolist()
        assert choice.images is None
        assert choice.n_tied == (within["tied"] == True).sum()  # noqa: E712 - may be null
        counts = [board["model"].isin(each).sum() for each in some[:3]]
        told = zip(("--one", "--two", "--three"), counts, strict=True)
        assert choice.excluded == [f"{name} excludes {n}" for name, n in told if n]
        told = zip(("--one", "--two", "--three"), counts, strict=True)
        assert choice.excludes_none == [name for name, n in told if not n]
        excluding.add(len(choice.excluded))
        assert choice.rows["unjudged"].tolist() == [
            ", ".join(o for o, at in (("--one", 3), ("--two", 4)) if name in some[at])
            for name in order
        ]
        assert choice.recipes == [best["recipe"]]
        assert choice.to_take(order[0]) == best["recipe"]
    assert excluding >= {0, 1, 2}


def test_limits_that_no_model_keeps_are_told_with_all_that_exclude() -> None:
    board = board_of({"error_rate_mean": 0.1}, {"error_rate_mean": 0.2})
    one, two = Named("--one", frozenset({"m0"})), Named("--two", frozenset({"m1"}))
    both = r"^d: no model keeps all limits together: --one excludes 1; --two excludes 1$"
    with pytest.raises(PipelineError, match=both):
        choose(board, runs_of_board(board), [one, two, Named("--none", frozenset())])
    with pytest.raises(PipelineError, match=r"^d: --all excludes 2$"):
        choose(board, runs_of_board(board), [Named("--all", frozenset({"m0", "m1"}))])
    unknown = board.assign(n_valid=[1000, None])
    with pytest.raises(PipelineError, match="d: its records hold no number of validation images"):
        choose(unknown, runs_of_board(board), [])


TIED = "cannot be told apart from"


@pytest.mark.parametrize(
    ("rows", "excluded", "expected"),
    [
        ([(0.1, True)], "", "It is the only model that finished with r: nothing to compare with."),
        (
            [(0.1, True), (0.2, False), (0.3, False)],
            "",
            "It has the lowest error and is clearly better than all 2 others.",
        ),
        (
            [(0.1, True), (0.2, True), (0.3, False)],
            "",
            f"It has the lowest mean error, and {TIED} 1",
        ),
        (
            [(0.1, True), (0.1, True), (0.1, None)],
            "",
            f"It has the lowest mean error, as m1 and m2 have, and {TIED} 1 of the 2 others.",
        ),
        (
            [(0.1, True), (0.1, True), (0.2, True)],
            "m0",
            "It has the lowest mean error (m0, which the limits exclude, has the same), and "
            f"{TIED} any of the 2 others.",
        ),
        (
            [(0.1, True), (0.1, True), (0.1, True), (0.1, True)],
            "m0 m1",
            "It has the lowest mean error, as m3 has (m0 and m1, which the limits exclude, have "
            f"the same), and {TIED} any of the 3 others.",
        ),
        (
            [(0.1, True), (0.12, True), (0.12, True), (0.2, True)],
            "m0",
            "It has the lowest mean error of the 3 within the limits, as m2 has; m0, which the "
            "limits exclude, has 10.00 % (2.00 points less).",
        ),
        (
            [(0.1, True), (0.10004, True)],
            "m0",
            "It is the only one within the limits; m0, which the limits exclude, has 10.00 % (less "
            "than 0.01 points less).",
        ),
        (
            [(0.1, True), (0.10006, True), (0.1, False)],
            "m0 m2",
            "It is the only one within the limits; m0, which the limits exclude, has 10.00 % (0.01 "
            "points less).",
        ),
    ],
)
def test_why_a_model_is_recommended_is_told_by_its_errors_and_the_limits(
    rows: list[tuple[float, bool | None]], excluded: str, expected: str
) -> None:
    board = board_of(*({"error_rate_mean": error, "tied": tied} for error, tied in rows))
    limit = Named("--one", frozenset(excluded.split()))
    assert reason(choose(board, runs_of_board(board), [limit])).startswith(expected)


def test_the_best_of_another_recipe_is_named_with_it() -> None:
    board = board_of(
        {"error_rate_mean": 0.1, "recipe": "q", "model": "a"},
        {"error_rate_mean": 0.1 + 1e-3, "model": "b"},
        {"error_rate_mean": 0.2, "model": "c"},
    )
    limit = Named("--one", frozenset({"a"}))
    told = reason(choose(board, runs_of_board(board), [limit]))
    assert told.startswith(
        "It has the lowest mean error of the 2 within the limits; a with q, which the limits "
        "exclude, has 10.00 % (0.10 points less)."
    )
    board.loc[1, "error_rate_mean"] = 0.1
    told = reason(choose(board, runs_of_board(board), [limit]))
    same = "It has the lowest mean error (a with q, which the limits exclude, has the same), and"
    assert told.startswith(same)


def test_a_limit_that_cannot_be_judged_names_the_best_that_keeps_it() -> None:
    def told(*rows: dict[str, Any], option: str = "--max-fit-time", **of_all: Any) -> str:
        board = board_of(*rows, **of_all)
        unjudged = frozenset(board["model"][board["steady_fit_seconds_median"].isna()])
        limit = Named(option, frozenset(), unjudged)
        return reason(choose(board, runs_of_board(board), [limit]))

    first = {"error_rate_mean": 0.1, AT_MOST: 41.0}
    known = {"error_rate_mean": 0.13, "steady_fit_seconds_median": 30.0, "tied": False}
    also = {"error_rate_mean": 0.14, "steady_fit_seconds_median": 5.0, "tied": False}
    best = "the best that is known to is m1, error 13.00 %, steady fit time 30.0 s."
    at_most = "steady fit time at most 41.0 s, as no run's counts"
    whether = "Whether it keeps --max-fit-time is not known"
    assert f" {whether} ({at_most}); {best}" in told(first, known, also)
    shared = "steady fit time at most 41.0 s, measured while others used the device"
    assert f"{whether} ({shared}); {best}" in told({**first, "n_shared": 1}, known, also)
    unknown = {"error_rate_mean": 0.1}
    assert f"{whether} (steady fit time unknown); {best}" in told(unknown, known)
    assert f"{whether} (steady fit time unknown); that is known of no model." in told(unknown)
    no_time = told(first, known, also, option="--max-memory")
    assert f"Whether it keeps --max-memory is not known; {best}" in no_time
    computed = {**first, "cpu_seconds": 25.0, "steady_fit_seconds_at_least": 12.5}
    more = "; a fit computes for 25.0 s on its one thread; alone at least 12.5 s steady"
    assert f"{whether} ({at_most}{more}); {best}" in told(computed, known, also)
    board = board_of({"error_rate_mean": 0.1}, {"error_rate_mean": 0.12}, {"error_rate_mean": 0.2})
    limits = [
        Named("--one", frozenset({"m0"})),
        Named("--max-memory", frozenset(), frozenset({"m1"})),
    ]
    assert reason(choose(board, runs_of_board(board), limits)).startswith(
        "It has the lowest mean error of the 2 that no limit excludes; m0, which"
    )


def test_the_quickest_that_may_be_the_best_is_named_as_far_as_times_are_known() -> None:
    def told(
        *seconds: float | None, tied: tuple[bool, ...] = (True, True, True), **more: Any
    ) -> str:
        rows = [
            {"error_rate_mean": 0.1 + at / 100, "steady_fit_seconds_median": each, "tied": tied[at]}
            for at, each in enumerate(seconds)
        ]
        board = board_of(*rows, **more)
        text = reason(choose(board, runs_of_board(board), []))
        return text[text.index(". ") + 2 :] if ". " in text else ""

    is_m1 = "m1: steady fit time 20.0 s for an error of 11.00 % (1.00 points more)."
    assert told(30.0, 20.0, 25.0) == f"The quickest that may be the best is {is_m1}"
    known = "The quickest that may be the best, as far as times are known, is"
    assert told(30.0, 20.0, None) == f"{known} {is_m1}"
    assert told(30.0, 40.0, 35.0) == "It is also the quickest to fine-tune of those."
    also = "It is also the quickest to fine-tune of those, as far as times are known."
    assert told(30.0, 40.0, None) == also
    assert told(None, None, None) == told(30.0, 20.0, 10.0, tied=(True, False, False)) == ""
    assert told(30.0, 20.0, 10.0, tied=(True, True, False)).endswith(is_m1)
    assert told(None, 20.0, 30.0, **{AT_MOST: 5.0}) == ""  # the first, but how quick is not known
    elsewhere = {"estimated_seconds": [9.0, 8.0, 7.0], "estimated_on": "rtx3090"}
    rows = board_of(*({"error_rate_mean": 0.1 + at / 100} for at in range(3))).assign(**elsewhere)
    text = reason(choose(rows, runs_of_board(rows), []))
    assert text.endswith(
        "is m2: about 7.0 s on rtx3090, by estimate, for an error of 12.00 % (2.00 points more)."
    )
    first = rows.assign(estimated_seconds=[5.0, 8.0, 7.0])
    text = reason(choose(first, runs_of_board(rows), []))
    assert text.endswith("the quickest to fine-tune of those on rtx3090, by estimate.")


def test_how_sure_an_answer_is_has_its_interval_seeds_and_a_likelier_model() -> None:
    def told(*rows: dict[str, Any], excluded: str = "", **of_all: Any) -> str:
        board = board_of(*rows, **of_all)
        limit = Named("--one", frozenset(excluded.split()))
        return certainty(choose(board, runs_of_board(board), [limit]))

    interval = "error lies in 5.00 % to 15.50 % (95 %, seeds and images, 2 seeds)."
    three = [{"error_rate_mean": 0.1 + at / 100} for at in range(3)]
    assert told(*three) == f"P(best) is 0.40; its {interval}"
    assert told(three[0]) == f"Its {interval}"
    among = " among all 3 models, limits or not"
    assert told(*three, excluded="m0") == f"P(best) is 0.40{among}; its {interval}"
    likelier = {**three[2], "p_best": 0.55}
    more = ", less than that of m2 (0.55)"
    assert told(*three[:2], likelier) == f"P(best) is 0.40{more}; its {interval}"
    assert (
        told(*three[:2], likelier, excluded="m1") == f"P(best) is 0.40{more}{among}; its {interval}"
    )
    one = told(*three, n=1, interval_covers="images")
    assert one == (
        "P(best) is 0.40; its error lies in 5.00 % to 15.50 % (95 %, images, 1 seed). No model was "
        "run twice with r, so nothing is known of how runs vary, and all this is less certain than "
        "it looks: run more seeds."
    )
    chance = " It is no better than chance: the recipe is wrong, and the order means nothing."
    assert told(*three, chance_error_rate=0.1).endswith(chance)
    assert not told(*three, chance_error_rate=0.101).endswith(chance)


def test_a_dataset_without_a_finished_run_is_not_named_as_one_that_has_some(tmp_path: Path) -> None:
    write_study(tmp_path, datasets=["digits", "digitz"])
    write_imagenet(tmp_path / "imagenet.csv")
    for model, error in zip(LITE[1:], (0.2, 0.05), strict=True):
        write_run(tmp_path / "runs", model, 0, error)
    write_failure(tmp_path / "runs", LITE[0], 0, "out of memory")
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate(*(tmp_path / name for name in names))
    for asked in ("digitz", "digit"):
        with pytest.raises(PipelineError, match=r"has no finished run of it.*mean digits") as told:
            recommended_row(tmp_path / "results", asked)
        assert "mean digitz" not in str(told.value)
    row = recommended_row(tmp_path / "results", "digits")
    assert (row["model"], row["recipe"], row["ranked_as"]) == (LITE[2], "quickstart", "quickstart")
    row = recommended_row(tmp_path / "results", "digits", LITE[1])
    assert (row["model"], row["error_rate_mean"]) == (LITE[1], 0.2)
    with pytest.raises(PipelineError, match=f"model '{LITE[0]}': no finished run on digits"):
        recommended_row(tmp_path / "results", "digits", LITE[0])
