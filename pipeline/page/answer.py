"""The answer in words: per dataset the best model, what it costs, and how sure that is.

The surprising fact is mostly that it is not sure: with two or three seeds and some hundred images
several models may be the best, and the sentences here say so instead of naming a winner.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.tables.comparison import IMAGES


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
    sentences = [*told_apart(best, rivals), *single_runs(best), *against_chance(best)]
    if (others := ranked["recipe"].nunique()) > 1:
        sentences.append(f"Best over {others} recipes; the comparison is within {best['recipe']}.")
    return Answer(dataset, best["model"], best["recipe"], _facts(best), sentences)


def told_apart(best: pd.Series, rivals: pd.DataFrame) -> list[str]:
    """Whether runs and images tell the best from the others of its recipe, and what is cheaper."""
    if rivals.empty:
        return ["It is the only model that finished, so there is nothing to compare it with."]
    if pd.isna(best["p_best"]):
        return ["The number of validation images is unknown, so is how sure its place is."]
    tied = rivals[rivals["tied"].fillna(False).astype(bool)]
    sure = f"P(best) is {best['p_best']:.2f}"
    if tied.empty:
        return [f"It is told apart from all {len(rivals)} others: {sure}."]
    if len(tied) == len(rivals):
        which = "the other one" if len(rivals) == 1 else f"any of the {len(rivals)} others"
    else:
        which = f"{len(tied)} of the {len(rivals)} others"
    closest = rivals.sort_values("error_rate_mean", kind="stable").iloc[0]
    sentences = [f"It cannot be told apart from {which}: {sure}, the next is {closest['model']}."]
    quicker = tied[tied["fit_seconds_median"] < best["fit_seconds_median"]]
    if len(quicker):
        first = quicker.sort_values("fit_seconds_median", kind="stable").iloc[0]
        sentences.append(
            f"The quickest of those that may be the best is {first['model']}, "
            f"{duration(first['fit_seconds_median'])} for an error of "
            f"{percent(first['error_rate_mean'])}."
        )
    return sentences


def single_runs(best: pd.Series) -> list[str]:
    """A warning where no model was run twice."""
    if best["interval_covers"] != IMAGES:
        return []
    return [
        "No model was run twice, so nothing shows how runs vary, and all this is less sure than "
        "it looks: run more seeds."
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


def fit_time(row: Any) -> str:
    """The median time, and where not every run's time counts, of how many it is and why."""
    time = duration(row.fit_seconds_median)
    if row.n_not_timed > 0:
        time += f" ({row.n_timed} of {row.n} runs; {row.not_timed})"
    return time


def memory(row: Any) -> str:
    """The most that a run took: `3.12 GiB of GPU memory, 2.60 GiB of host memory`, or ""."""
    sizes = ((row.peak_memory_gib_max, "GPU"), (row.peak_rss_gib_max, "host"))
    return ", ".join(f"{size:.2f} GiB of {where} memory" for size, where in sizes if pd.notna(size))


def _facts(best: pd.Series) -> list[tuple[str, str]]:
    error = percent(best["error_rate_mean"])
    if not pd.isna(best["error_rate_low"]):
        error += f" [{_points(best['error_rate_low'])}, {_points(best['error_rate_high'])}]"
    if not pd.isna(best["fbeta2_mean"]):
        error += f" (F2 {best['fbeta2_mean']:.3f})"
    return [
        ("error", error),
        ("seeds", str(best["n"])),
        ("chance error", percent(best["chance_error_rate"])),
        ("fit time", fit_time(best)),
        ("memory", memory(best) or "–"),
        ("device", "–" if pd.isna(best["device"]) else best["device"]),
    ]


def _points(fraction: float) -> str:
    return f"{100 * fraction:.2f}".replace("-", "−")
