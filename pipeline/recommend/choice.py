"""The choice among a dataset's fine-tuned models: the lowest mean error within the limits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.command import duration, percent
from pipeline.core.errors import PipelineError, near_matches
from pipeline.recommend.limits import Constraint, effects
from pipeline.results import Results, read_answers, read_results
from pipeline.statistics.answer import (
    all_others,
    best_row,
    gain_sentence,
    more_likely_best,
    name_list,
    only_model,
    points_more,
    quickest,
    quickest_of_equals,
    same_error,
    sentence_of_test,
    some_others,
    warnings_about,
)
from pipeline.statistics.comparison import DECIMALS
from pipeline.statistics.doubts import split_doubts
from pipeline.statistics.fit_times import (
    AT_MOST,
    CPU_SECONDS,
    ESTIMATED_ON,
    ESTIMATED_SECONDS,
    SECONDS_AT_LEAST,
    at_asked_times,
    times_elsewhere,
)
from pipeline.statistics.rates import (
    RUN,
    order_sentence,
    rate_to_take,
    rates_of,
    take_sentence,
    with_own_rates,
    without_single_rates,
)
from pipeline.statistics.validation_images import ImageNoise, image_noise
from pipeline.study.params import Cell

CELL = ["dataset", "model", "recipe", "seed"]
LEAST_SHOWN = 0.00005  # of an error rate, by the two decimals of a percentage


def cells_of(runs: pd.DataFrame) -> list[Cell]:
    """The cells of these rows of runs.csv."""
    rows = runs[CELL].itertuples(index=False)
    return [
        Cell(str(dataset), str(model), str(recipe), int(seed))
        for dataset, model, recipe, seed in rows
    ]


@dataclass(frozen=True)
class Choice:
    """`rows` are one recipe's models: the recommended one, then those within the limits, then the
    others, each by mean error. Column `within` says whether a model keeps the limits, `unjudged`
    which of them cannot be judged.

    `errors` [models, seeds] and `images` are in the same order; `images` is None where the models
    cannot be paired image by image. `best` is the answer without limits, of whatever recipe.
    `excluded` says what each limit excludes, `excludes_none` has the options of the others.
    `rates` are the rows of rates.csv where models are compared at their own rates, else none.
    """

    rows: pd.DataFrame
    errors: np.ndarray
    images: ImageNoise | None
    best: pd.Series
    excluded: list[str]
    rates: pd.DataFrame
    excludes_none: Sequence[str] = ()

    @property
    def recipes(self) -> list[str]:
        """What is run for the models of `rows`: all rates, or the one recipe."""
        return self.rates["rate"].unique().tolist() or [str(self.rows["recipe"].iloc[0])]

    def to_take(self, model: str) -> str:
        """The recipe to fit a model with."""
        first = self.rows.iloc[0]
        return rate_to_take(self.rates, str(first["dataset"]), str(first["recipe"]), model)

    @property
    def within(self) -> pd.DataFrame:
        """The models that keep the limits, the recommended one first."""
        return self.rows[self.rows["within"]]

    @property
    def n_tied(self) -> int:
        """How many models within the limits may be the best of all."""
        return int(self.within["tied"].sum())


def choose(
    board: pd.DataFrame,
    runs: pd.DataFrame,
    limits: Sequence[Constraint],
    rates: pd.DataFrame | None = None,
) -> Choice:
    """Choose from the leaderboard's ranked rows of one dataset, with bounds, and its runs.

    `runs` has the columns of runs.csv and of valid_wrong.csv, and those at models' own rates.
    """
    board = board.reset_index(drop=True)
    if board["n_valid"].isna().any():
        raise PipelineError(
            f"{board['dataset'].iloc[0]}: its records hold no number of validation images, so "
            "nothing can be said about how sure an order is: run `dvc repro`"
        )
    excluded, excludes_none = effects(limits, board)
    within = pd.Series(True, index=board.index)
    for limit in limits:
        within &= limit.keeps(board)
    if not within.any():
        together = "" if len(excluded) == 1 else "no model keeps all limits together: "
        raise PipelineError(f"{board['dataset'].iloc[0]}: {together}{'; '.join(excluded)}")
    board = board.assign(within=within, unjudged=_unjudged(board, limits))
    first = best_row(board[within])
    rows = board[board["recipe"] == first["recipe"]]
    rows = rows.assign(tied=rows["tied"].fillna(False).astype(bool), later=rows.index != first.name)
    by = ["later", "within", "error_rate_mean", "model"]
    rows = rows.sort_values(by, ascending=[True, False, True, True], kind="stable")
    runs = runs[(runs["recipe"] == first["recipe"]) & (runs["status"] == "ok")]
    errors = runs.pivot(index="model", columns="seed", values="error_rate").loc[rows["model"]]
    return Choice(
        rows=rows.reset_index(drop=True),
        errors=errors.to_numpy(dtype=float),
        images=image_noise(runs, errors.index),
        best=best_row(board),
        excluded=excluded,
        rates=rates_of(rates, str(first["dataset"]), str(first["recipe"])),
        excludes_none=excludes_none,
    )


def _unjudged(board: pd.DataFrame, limits: Sequence[Constraint]) -> pd.Series:
    """Per row, the options that nothing known of the model can judge: `--max-fit-time`, or ""."""
    found = pd.Series("", index=board.index)
    for limit in limits:
        more = found.where(found == "", found + ", ") + limit.option
        found = found.where(~limit.unknown(board), more)
    return found


def reason(choice: Choice) -> str:
    """Why the first model is recommended, and what speaks for another, in sentences."""
    first = choice.rows.iloc[0]
    sentences = [_place(choice, first), *_unknown_limits(choice, first), *_cheaper(choice, first)]
    return " ".join(sentences)


def _place(choice: Choice, first: pd.Series) -> str:
    rows, best = choice.rows, choice.best
    alike = same_error(first, choice.within)
    also = f", as {name_list(alike)} {'has' if len(alike) == 1 else 'have'}" if alike else ""
    less = float(first["error_rate_mean"] - best["error_rate_mean"])
    best_name = best["model"]
    best_name += "" if best["recipe"] == first["recipe"] else f" with {best['recipe']}"
    if less >= 10**-DECIMALS:
        points = f"{100 * less:.2f}" if less >= LEAST_SHOWN else "less than 0.01"
        n, which = len(choice.within), "within the limits"
        which = "that no limit excludes" if first["unjudged"] else which
        lowest = f"It has the lowest mean error of the {n} {which}{also}"
        return (
            f"{lowest if n > 1 else f'It is the only one {which}'}; "
            f"{best_name}, which the limits exclude, has {percent(best['error_rate_mean'])} "
            f"({points} points less)."
        )
    if len(rows) == 1:
        return only_model(first["recipe"])
    others, tied = len(rows) - 1, int(rows["tied"].sum()) - 1
    if tied == 0:
        return f"It has the lowest error and is clearly better than {all_others(others)}."
    excluded = same_error(first, rows[~rows["within"]])
    if best["recipe"] != first["recipe"]:
        excluded.append(best_name)
    if excluded:
        have = "has" if len(excluded) == 1 else "have"
        also += f" ({name_list(excluded)}, which the limits exclude, {have} the same)"
    which = some_others(tied, others)
    return f"It has the lowest mean error{also}, and cannot be told apart from {which}."


def _unknown_limits(choice: Choice, first: pd.Series) -> list[str]:
    """That nothing shows whether the first keeps the limits, and the best model that does."""
    if not first["unjudged"]:
        return []
    by_runs = ESTIMATED_SECONDS not in first.index
    shown = by_runs and "time" in first["unjudged"]
    time = f" ({fit_time(first)}{_computed(first)})" if shown else ""
    text = f"Whether it keeps {first['unjudged']} is not known{time}"
    judged = choice.within[choice.within["unjudged"] == ""]
    if judged.empty:
        return [f"{text}; that is known of no model."]
    known = best_row(judged)
    took = f", {fit_time(known)}" if by_runs else ""
    return [
        f"{text}; the best that is known to is {known['model']}, "
        f"error {percent(known['error_rate_mean'])}{took}."
    ]


def _computed(row: pd.Series) -> str:
    """What a fit on one thread computed, whatever ran beside it: about its time alone, or more,
    if that shared its core. With the least that its steady part takes alone.
    """
    seconds, least = row.get(CPU_SECONDS), row.get(SECONDS_AT_LEAST)
    if pd.isna(seconds):
        return ""
    alone = "" if pd.isna(least) else f"; alone at least {duration(least)} steady"
    return f"; a fit computes for {duration(seconds)} on its one thread{alone}"


def _cheaper(choice: Choice, first: pd.Series) -> list[str]:
    """The quickest of the models that may be the best, as far as times are known."""
    tied = at_asked_times(choice.within[choice.within["tied"]])
    found = quickest(tied, AT_MOST)
    if len(tied) < 2 or found is None:
        return []
    unknown = tied["steady_fit_seconds_median"].isna().any()
    known = ", as far as times are known" if unknown else ""
    if found["model"] == first["model"]:
        if pd.isna(found["steady_fit_seconds_median"]):
            return []
        where = f" on {first[ESTIMATED_ON]}, by estimate" if ESTIMATED_ON in first.index else ""
        return [f"It is also the quickest to fine-tune of those{where}{known}."]
    comma = "," if unknown else ""
    return [f"The quickest that may be the best{known}{comma} is {_with_error(found, first)}."]


def _with_error(row: pd.Series, first: pd.Series) -> str:
    time = fit_time(row)
    if ESTIMATED_ON in row.index:
        time = f"about {duration(row[ESTIMATED_SECONDS])} on {row[ESTIMATED_ON]}, by estimate"
    comma = "," if ", " in time else ""
    return (
        f"{row['model']}: {time}{comma} for an error of {percent(row['error_rate_mean'])} "
        f"({points_more(row, first)})"
    )


def fit_time(row: pd.Series) -> str:
    """`steady fit time 30.0 s`, `... at most 41.0 s, measured while ...`, or unknown."""
    if pd.notna(row["steady_fit_seconds_median"]):
        return f"steady fit time {duration(row['steady_fit_seconds_median'])}"
    if pd.notna(row[AT_MOST]):
        why = "measured while others used the device" if row["n_shared"] else "as no run's counts"
        return f"steady fit time at most {duration(row[AT_MOST])}, {why}"
    return "steady fit time unknown"


def certainty(choice: Choice) -> str:
    """How sure the answer is, in a sentence or two."""
    first, n = choice.rows.iloc[0], len(choice.rows)
    interval = f"{percent(first['error_rate_low'])} to {percent(first['error_rate_high'])}"
    among = "" if len(choice.within) == n else f" among all {n} models, limits or not"
    more = more_likely_best(first, choice.within)
    higher = "" if more is None else f", less than that of {more['model']} ({more['p_best']:.2f})"
    best = f"P(best) is {first['p_best']:.2f}{higher}{among}; its" if n > 1 else "Its"
    text = (
        f"{best} error lies in {interval} (95 %, {first['interval_covers']}, "
        f"{first['n']} seed{'' if first['n'] == 1 else 's'})."
    )
    return " ".join([text, *warnings_about(first)])


def in_words(choice: Choice, board: pd.DataFrame, runs: pd.DataFrame, top: int) -> dict[str, Any]:
    """The choice, why, and how sure it is; `runs` are the dataset's."""
    first = str(choice.rows["model"].iloc[0])
    return {
        "recipe": str(choice.rows["recipe"].iloc[0]),
        "take_recipe": choice.to_take(first),
        "models": models_as_json(choice, top),
        "fit_on": times_elsewhere(choice.within.head(top)),
        "quickest": quickest_of_equals(*map(at_asked_times, (choice.rows, choice.within))),
        "reason": reason(choice),
        "certainty": certainty(choice),
        "test": sentence_of_test(runs, choice.to_take(first), first),
        "baseline": gain_sentence(choice.rows, first, choice.within),
        "race": None,
        "rates": rates_sentence(choice, board),
    }


def rates_sentence(choice: Choice, board: pd.DataFrame) -> str | None:
    """What the choice of a rate changes, and which to take; None where recipes are no rates."""
    if choice.rates.empty:
        return None
    take = take_sentence(choice.rates, str(choice.rows["model"].iloc[0]))
    return " ".join(filter(None, [take, order_sentence(board, choice.rates)]))


def recommended(done: Results, answers: pd.DataFrame, dataset: str) -> Choice | None:
    """The choice among the dataset's models, without limits; None where no run has finished."""
    ranked = candidates(done, dataset)
    if ranked.empty:
        return None
    return choose(ranked, runs_of(done, answers, dataset), [], done.rates)


def candidates(done: Results, dataset: str) -> pd.DataFrame:
    """The leaderboard's ranked rows of the dataset that an answer is chosen from."""
    ranked = done.board[(done.board["dataset"] == dataset) & (done.board["n"] > 0)]
    return without_single_rates(ranked, done.rates)


def runs_of(done: Results, answers: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The dataset's runs with their answers, and those at models' own rates."""
    runs = done.runs[done.runs["dataset"] == dataset].merge(answers, how="left", on=RUN)
    return with_own_rates(runs, done.rates[done.rates["dataset"] == dataset])


def recommended_row(results: Path, dataset: str, model: str | None = None) -> pd.Series:
    """The leaderboard's row of the recommended model, or of `model` under its best recipe.

    Its `recipe` is one to fit with: where models are compared at their own rates, that rate.
    `ranked_as` is the recipe by which the leaderboard has the row, `made_of` are the fingerprints
    of the data that the dataset's runs had.
    """
    done = read_results(results)
    choice = recommended(done, read_answers(results), dataset)
    if choice is None:
        known = done.board.loc[done.board["n"] > 0, "dataset"]
        raise PipelineError(
            f"dataset {dataset!r}: {results}/leaderboard.csv has no finished run of it: `make run` "
            "first, if params.yaml has it (`python -m pipeline.own` writes a study of a dataset), "
            f"or {near_matches(dataset, set(known))}"
        )
    its = choice.rows
    if model is not None:
        ranked = candidates(done, dataset)
        its = ranked[ranked["model"] == model].sort_values("error_rate_mean", kind="stable")
        if its.empty:
            raise PipelineError(
                f"model {model!r}: no finished run on {dataset}: "
                f"{near_matches(model, ranked['model'])}"
            )
    row: pd.Series = its.iloc[0].copy()
    row["ranked_as"] = row["recipe"]
    row["recipe"] = rate_to_take(done.rates, dataset, str(row["recipe"]), str(row["model"]))
    made_of = done.runs.loc[done.runs["dataset"] == dataset, "data_fingerprint"]
    row["made_of"] = frozenset(made_of.dropna())
    return row


def models_as_json(choice: Choice, top: int) -> list[dict[str, Any]]:
    """The first rows as JSON values; the first is the recommended one."""
    numbers = {
        "error_rate": "error_rate_mean",
        "error_rate_low": "error_rate_low",
        "error_rate_high": "error_rate_high",
        "p_best": "p_best",
        "steady_fit_seconds": "steady_fit_seconds_median",
        "steady_fit_seconds_at_most": AT_MOST,
        "start_up_seconds": "start_up_seconds_median",
        "images_per_second": "images_per_second_median",
        "peak_memory_gib": "peak_memory_gib_max",
        "peak_rss_gib": "peak_rss_gib_max",
    }
    return [
        {
            "model": row["model"],
            "take_recipe": choice.to_take(str(row["model"])),
            "tied": bool(row["tied"]),
            "seeds": int(row["n"]),
            **{
                name: None if pd.isna(row[column]) else round(float(row[column]), 6)
                for name, column in numbers.items()
            },
            "fit_time": fit_time(row),
            "device": None if pd.isna(row["device"]) else row["device"],
            "doubts": split_doubts(row["doubts"]),
        }
        for _, row in choice.within.head(top).iterrows()
    ]
