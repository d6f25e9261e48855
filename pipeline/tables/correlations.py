"""What goes with a good or a quick fine-tune: rank correlations over models, with intervals.

Per dataset and recipe, Spearman's rho and Kendall's tau-b between an outcome (mean error, median
fit time) and a predictor (ImageNet accuracy, parameters, published speed). Intervals are 95 %
percentiles over bootstrap samples of the models, from a fixed seed. Where there are too few models
the numbers are null and `reason` says why.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from pipeline.tables.results import CORRELATIONS

OUTCOMES = ("error_rate_mean", "fit_seconds_median")
PREDICTORS = (
    "imagenet_top1",
    "params_m",
    "infer_samples_per_second",
    "train_samples_per_second",
)
LEAST_MODELS = 4  # for a coefficient
LEAST_MODELS_INTERVAL = 8  # for a bootstrap interval: below, samples repeat a handful of points
BOOTSTRAPS = 2000
NUMBERS = [name for name in CORRELATIONS if name.startswith(("spearman", "kendall"))]


def correlations(board: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, recipe, outcome and predictor."""
    rows = [
        {"dataset": dataset, "recipe": recipe, **row}
        for (dataset, recipe), part in board.groupby(["dataset", "recipe"], sort=False)
        for row in _rows(part)
    ]
    return pd.DataFrame(rows, columns=list(CORRELATIONS))


def _rows(board: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for outcome in OUTCOMES:
        for predictor in PREDICTORS:
            both = board[[outcome, predictor]].dropna().astype(float)
            yield {
                "outcome": outcome,
                "predictor": predictor,
                "n": len(both),
                **rank_correlation(both[predictor].to_numpy(), both[outcome].to_numpy()),
            }


def rank_correlation(x: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """Spearman and Kendall of float arrays [n] with their intervals; nulls and a `reason` if few.

    With w the number of times each model is drawn, both coefficients are sums over pairs of the
    signs of differences: a bootstrap of thousands of draws is three matrix products.
    """
    empty: dict[str, Any] = dict.fromkeys(NUMBERS)
    n = len(x)
    if n < LEAST_MODELS:
        return {**empty, "reason": f"n = {n}: at least {LEAST_MODELS} models are needed"}
    if len(set(x)) == 1 or len(set(y)) == 1:
        return {**empty, "reason": "all models have the same value"}
    signs = np.sign(x[:, None] - x[None, :]), np.sign(y[:, None] - y[None, :])
    spearman, kendall = _weighted(np.ones((1, n)), *signs)
    found = {**empty, "spearman": spearman[0], "kendall": kendall[0], "reason": None}
    if n < LEAST_MODELS_INTERVAL:
        few = f"n = {n}: an interval needs at least {LEAST_MODELS_INTERVAL} models"
        return {**found, "reason": few}
    draws = np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), size=BOOTSTRAPS)
    for name, values in zip(("spearman", "kendall"), _weighted(draws, *signs), strict=True):
        found[f"{name}_low"], found[f"{name}_high"] = np.nanquantile(values, [0.025, 0.975])
    return found


def _weighted(w: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Spearman and Kendall [draws] of models drawn w [draws, n] times, from signs [n, n]."""
    w, x, y = (each.astype("float32") for each in (w, x, y))  # whole numbers: exact, and fast
    with np.errstate(invalid="ignore", divide="ignore"):  # a draw of one model only: no value
        pairs = [
            np.einsum("bi,bi->b", w @ product, w, dtype=float) for product in (x * y, x * x, y * y)
        ]
        kendall = pairs[0] / np.sqrt(pairs[1] * pairs[2])
        # sum_j w_j sign(x_i - x_j) is the rank of i, centred and doubled
        ranks_x, ranks_y = (w @ x.T).astype(float), (w @ y.T).astype(float)
        variances = (w * ranks_x**2).sum(1) * (w * ranks_y**2).sum(1)
        spearman = (w * ranks_x * ranks_y).sum(1) / np.sqrt(variances)
    return spearman, kendall
