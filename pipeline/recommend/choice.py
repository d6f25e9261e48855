"""The choice among a dataset's fine-tuned models: the cheapest of those that may be the best.

Models are compared again among those within the limits: which are tied, and how likely each is the
best, depends on who takes part.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.core.text import duration, percent
from pipeline.recommend.limits import Excludes
from pipeline.statistics.comparison import IMAGES, compare
from pipeline.statistics.validation_images import ImageNoise, image_noise


@dataclass(frozen=True)
class Choice:
    """`rows` are one recipe's models within the limits, the recommended first, then by place.

    `errors` [models, seeds] and `images` are in the same order; `images` is None where the models
    cannot be paired image by image. `covers` is what the intervals cover.
    """

    rows: pd.DataFrame
    errors: np.ndarray
    images: ImageNoise | None
    covers: str
    excluded: list[str]

    @property
    def n_tied(self) -> int:
        return int(self.rows["tied"].sum())


def choose(board: pd.DataFrame, runs: pd.DataFrame, limits: Sequence[Excludes]) -> Choice:
    """Choose from the leaderboard's ranked rows of one dataset and its finished runs.

    `runs` has the columns of runs.csv and of valid_wrong.csv.
    """
    within, told = _within(board, limits)
    recipe = within["recipe"].iloc[int(within["error_rate_mean"].argmin())]
    within = within[within["recipe"] == recipe].set_index("model", drop=False)
    if within["n_valid"].isna().any():
        raise PipelineError(
            f"{board['dataset'].iloc[0]}: its records hold no number of validation images, so "
            "nothing can be said about how sure an order is: run `dvc repro`"
        )
    runs = runs[(runs["recipe"] == recipe) & (runs["status"] == "ok")]
    runs = runs[runs["model"].isin(within.index)]
    errors = runs.pivot(index="model", columns="seed", values="error_rate")
    images = image_noise(runs, errors.index)
    values = errors.to_numpy(dtype=float)
    found = compare(values, int(within["n_valid"].iloc[0]), images)
    rows = within.loc[errors.index].assign(tied=found.tied, p_best=found.p_best)
    rows = rows.assign(error_rate_low=found.low, error_rate_high=found.high, behind=~found.tied)
    rows["cost"] = rows["fit_seconds_median"].where(found.tied).fillna(np.inf)
    rows = rows.assign(row=range(len(rows)))
    rows = rows.sort_values(["behind", "cost", "error_rate_mean"], kind="stable")
    order = rows["row"].to_numpy()
    return Choice(
        rows=rows.reset_index(drop=True),
        errors=values[order],
        images=None if images is None else images.of(order),
        covers=found.covers,
        excluded=told,
    )


def _within(board: pd.DataFrame, limits: Sequence[Excludes]) -> tuple[pd.DataFrame, list[str]]:
    """The rows that keep every limit, and what each limit excludes."""
    kept = pd.Series(True, index=board.index)
    for limit in limits:
        kept &= limit.keeps(board)
    told = [limit.told(board) for limit in limits if not limit.keeps(board).all()]
    if not kept.any():
        together = "" if len(told) == 1 else "no model keeps all limits together: "
        raise PipelineError(f"{board['dataset'].iloc[0]}: {together}{'; '.join(told)}")
    return board[kept], told


def reason(choice: Choice) -> str:
    """Why the first model is recommended, in a sentence."""
    first, n = choice.rows.iloc[0], len(choice.rows)
    lowest = choice.rows.iloc[int(choice.rows["error_rate_mean"].argmin())]
    if n == 1:
        return "It is the only model left."
    if choice.n_tied == 1:
        return f"It has the lowest error and is told apart from all {n - 1} others."
    group = f"the {choice.n_tied} models that may be the best of {n}"
    if pd.isna(first["fit_seconds_median"]):
        why = f" ({first['not_timed']})" if pd.notna(first["not_timed"]) else ""
        return f"It is one of {group}; no fit time of them counts{why}."
    quick = f"It is the quickest to fine-tune ({duration(first['fit_seconds_median'])}) of {group}"
    if lowest["model"] == first["model"]:
        return f"{quick}, and has the lowest mean error."
    gap = 100 * (first["error_rate_mean"] - lowest["error_rate_mean"])
    return (
        f"{quick}; the lowest mean error, {percent(lowest['error_rate_mean'])} ({gap:.2f} points "
        f"less), is that of {lowest['model']}, which takes "
        f"{duration(lowest['fit_seconds_median'])}."
    )


def certainty(choice: Choice) -> str:
    """How sure the answer is, in a sentence or two."""
    first = choice.rows.iloc[0]
    interval = f"{percent(first['error_rate_low'])} to {percent(first['error_rate_high'])}"
    text = (
        f"P(best) is {first['p_best']:.2f}; its error lies in {interval} (95 %, "
        f"{choice.covers}, {first['n']} seed{'' if first['n'] == 1 else 's'})."
    )
    if choice.covers == IMAGES:
        text += (
            " No model was run twice, so nothing is known of how runs vary: less sure than this."
        )
    if not first["error_rate_mean"] < first["chance_error_rate"]:
        text += " It is no better than chance: the recipe is wrong, and the order means nothing."
    return text
