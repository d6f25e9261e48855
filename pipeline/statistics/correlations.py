"""What goes with a good or a quick fine-tune: rank correlations over models, with intervals.

Per dataset and recipe, an outcome (mean error, median fit time) beside a predictor: accuracy on
ImageNet and its variants, size, published speed, how much data the weights have seen, and the mean
error on another dataset. Intervals are 95 % percentiles over bootstrap samples of the models, from
a fixed seed. Where there are too few models the numbers are null and `reason` says why.

Three statistics: Spearman's rho, Kendall's tau-b, and `pairs_lower`, the share of the pairs of
models that differ in the predictor in which the one with more of it has the lower outcome (equal
outcomes count half). A predictor of few levels, such as `pretraining_scale`, ties most models, so
that rho and tau-b cannot reach 1; `pairs_lower` can.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from pipeline.results import CORRELATIONS
from pipeline.timm_results.imagenet import ACCURACIES

ERROR, TIME = "error_rate_mean", "fit_seconds_median"
SIZE_AND_SPEED = ("params_m", "infer_samples_per_second", "train_samples_per_second")
PREDICTORS = {
    ERROR: (*ACCURACIES, *SIZE_AND_SPEED, "pretraining_scale"),
    TIME: ("imagenet_top1", *SIZE_AND_SPEED),
}
ELSEWHERE = "error_rate_mean on "  # and the other dataset's name
LEAST_MODELS = 4  # for a coefficient
LEAST_MODELS_INTERVAL = 8  # for a bootstrap interval: below, samples repeat a handful of points
BOOTSTRAPS = 2000
STATISTICS = ("spearman", "kendall", "pairs_lower")
NUMBERS = [name for name in CORRELATIONS if name.startswith(STATISTICS)]


def correlations(board: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, recipe, outcome and predictor; of two datasets the first has the row."""
    more = [name for name in published.columns if name not in board.columns]
    board = board.merge(published[["model", *more]], on="model", validate="many_to_one")
    rows = [
        {"dataset": dataset, "recipe": recipe, **row}
        for (dataset, recipe), part in board.groupby(["dataset", "recipe"], sort=False)
        for row in (*_rows(part), *_between(board, str(dataset), str(recipe)))
    ]
    return pd.DataFrame(rows, columns=list(CORRELATIONS))


def _rows(part: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for outcome, predictors in PREDICTORS.items():
        for predictor in predictors:
            yield _row(outcome, predictor, part[outcome], part[predictor])


def _between(board: pd.DataFrame, dataset: str, recipe: str) -> Iterator[dict[str, Any]]:
    """The mean error beside that on every later dataset, over the models that both have."""
    names = list(board["dataset"].unique())
    errors = board[board["recipe"] == recipe].pivot(index="model", columns="dataset", values=ERROR)
    for other in names[names.index(dataset) + 1 :]:
        if other in errors:
            yield _row(ERROR, f"{ELSEWHERE}{other}", errors[dataset], errors[other])


def _row(outcome: str, predictor: str, y: pd.Series, x: pd.Series) -> dict[str, Any]:
    both = pd.DataFrame({"x": x, "y": y}).dropna().to_numpy(dtype=float)
    found = rank_correlation(both[:, 0], both[:, 1])
    return {"outcome": outcome, "predictor": predictor, "n": len(both), **found}


def rank_correlation(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The statistics of float arrays [n] with their intervals; nulls and a `reason` if few.

    With w the number of times each model is drawn, all of them are sums over pairs of the signs
    of differences: a bootstrap of thousands of draws is three matrix products.
    """
    empty: dict[str, Any] = dict.fromkeys(NUMBERS)
    n = len(x)
    if n < LEAST_MODELS:
        return {**empty, "reason": f"n = {n}: at least {LEAST_MODELS} models are needed"}
    if len(set(x)) == 1 or len(set(y)) == 1:
        return {**empty, "reason": "all models have the same value"}
    signs = np.sign(x[:, None] - x[None, :]), np.sign(y[:, None] - y[None, :])
    here = {name: values[0] for name, values in _weighted(np.ones((1, n)), *signs).items()}
    found = {**empty, **here, "reason": None}
    if n < LEAST_MODELS_INTERVAL:
        few = f"n = {n}: an interval needs at least {LEAST_MODELS_INTERVAL} models"
        return {**found, "reason": few}
    for name, values in _weighted(_draws(n), *signs).items():
        found[f"{name}_low"], found[f"{name}_high"] = np.nanquantile(values, [0.025, 0.975])
    return found


@cache
def _draws(n: int) -> np.ndarray:
    """How often each of n models is drawn [BOOTSTRAPS, n]; most rows of a table share it."""
    rng = np.random.default_rng(0)
    return rng.multinomial(n, np.full(n, 1 / n), size=BOOTSTRAPS).astype("float32")


def _weighted(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """STATISTICS [draws] of models drawn w [draws, n] times, from signs [n, n]."""
    w, x, y = (each.astype("float32") for each in (w, x, y))  # whole numbers: exact, and fast
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw of one model only: no value
        both, of_x, of_y = (
            np.einsum("bi,bi->b", w @ product, w, dtype=float) for product in (x * y, x * x, y * y)
        )
        # sum_j w_j sign(x_i - x_j) is the rank of i, centred and doubled
        ranks_x, ranks_y = (w @ x.T).astype(float), (w @ y.T).astype(float)
        variances = (w * ranks_x**2).sum(1) * (w * ranks_y**2).sum(1)
        return {
            "spearman": (w * ranks_x * ranks_y).sum(1) / np.sqrt(variances),
            "kendall": both / np.sqrt(of_x * of_y),
            "pairs_lower": (1 - both / of_x) / 2,
        }
