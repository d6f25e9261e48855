"""The answer in words: per dataset the best model, what it costs, and how sure that is.

The surprising fact is mostly that it is not sure: with two or three seeds the interval of a paired
difference is wide, and the sentences here say so instead of naming a winner.
"""

import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

Z = 1.96  # half a 95 % interval, in standard errors


@dataclass(frozen=True)
class Answer:
    """One dataset's answer; `model` is None where no run finished."""

    dataset: str
    model: str | None
    recipe: str
    facts: list[tuple[str, str]]
    sentences: list[str]


def answer(dataset: str, board: pd.DataFrame) -> Answer:
    """The answer of `board`, the dataset's rows of the leaderboard over all recipes."""
    ranked = board[board["n"] > 0].sort_values("error_rate_mean", kind="stable")
    if ranked.empty:
        return Answer(dataset, None, "", [], ["No run has finished: there is no answer yet."])
    best = ranked.iloc[0]
    rivals = ranked[ranked["recipe"] == best["recipe"]].iloc[1:]
    sentences = [told_apart(best, rivals), *sampling(best), *against_chance(best)]
    if (others := ranked["recipe"].nunique()) > 1:
        sentences.append(f"Best over {others} recipes; the comparison is within {best['recipe']}.")
    return Answer(dataset, best["model"], best["recipe"], _facts(best), sentences)


def told_apart(best: pd.Series, rivals: pd.DataFrame) -> str:
    """Whether the seeds at hand tell the best from the others of its recipe."""
    if rivals.empty:
        return "It is the only model that finished, so there is nothing to compare it with."
    paired = rivals[rivals["gap_low"].notna()]
    if paired.empty:
        return (
            "No other model shares two finished seeds with it, so nothing can be said about how "
            "sure its place is: run more seeds."
        )
    tied = rivals[~(rivals["gap_low"] > 0)]
    closest = paired.sort_values("gap_to_best", kind="stable").iloc[0]
    gap = (
        f"the closest, {closest['model']}, is {_points(closest['gap_to_best'])} points behind "
        f"[{_points(closest['gap_low'])}, {_points(closest['gap_high'])}]"
    )
    basis = f"95 % interval of the paired difference over {_seeds(paired['n_common'])}"
    if tied.empty:
        return f"It is told apart from all {len(rivals)} others: {gap} ({basis})."
    if len(tied) == len(rivals):
        which = "the other one" if len(rivals) == 1 else f"any of the {len(rivals)} others"
        return f"It cannot be told apart from {which} yet: {gap} ({basis})."
    return f"It cannot be told apart from {len(tied)} of the {len(rivals)} others: {gap} ({basis})."


def sampling(best: pd.Series) -> list[str]:
    """How far another validation set of this size could move the error, for single labels."""
    if best["data_kind"] != "single" or pd.isna(best["n_valid"]):
        return []
    error = best["error_rate_mean"]
    half = Z * math.sqrt(error * (1 - error) / best["n_valid"])
    return [
        f"All runs share {int(best['n_valid']):,} validation images; another such set could move "
        f"its error by about ± {_points(half)} points (95 %, binomial)."
    ]


def against_chance(best: pd.Series) -> list[str]:
    """A warning where the best model has learned nothing."""
    chance = best["chance_error_rate"]
    if pd.isna(chance) or best["error_rate_mean"] < chance:
        return []
    return ["It is no better than chance: the recipe is wrong, and the ranking means nothing."]


def percent(value: Any) -> str:
    """`4.77 %`, or a dash for null."""
    return "–" if pd.isna(value) else f"{100 * value:.2f} %"


def duration(seconds: Any) -> str:
    """`25.6 s`, `3 min 12 s` or `1 h 05 min`, or a dash for null."""
    if pd.isna(seconds):
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )


def _facts(best: pd.Series) -> list[tuple[str, str]]:
    error = percent(best["error_rate_mean"])
    if not pd.isna(best["error_rate_sd"]):
        error += f" ± {_points(best['error_rate_sd'])}"
    if not pd.isna(best["fbeta2_mean"]):
        error += f" (F2 {best['fbeta2_mean']:.3f})"
    time = duration(best["fit_seconds_median"])
    if best["n_shared"] > 0:
        time += f", {best['n_shared']} of {best['n_timed']} with others on the device"
    return [
        ("error", error),
        ("seeds", str(best["n"])),
        ("chance error", percent(best["chance_error_rate"])),
        ("fit time", time),
        ("device", "–" if pd.isna(best["device"]) else best["device"]),
    ]


def _points(fraction: float) -> str:
    return f"{100 * fraction:.2f}".replace("-", "−")


def _seeds(counts: pd.Series) -> str:
    low, high = int(counts.min()), int(counts.max())
    return f"{low} seeds" if low == high else f"{low} to {high} seeds"
