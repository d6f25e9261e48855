"""How far repeated runs can be trusted, how likely each model is the best, and rank correlations.

The lowest of many means is low partly by luck. So the true errors of the models near the best are
taken as draws from one normal distribution, whose centre and width are unknown and drawn as well.
With each mean taken for itself, models with a P(best) of 0.42 are the best in 16 of 100 sweeps of
close models. All draws are from a fixed seed.

Rank correlations are over models: per dataset and recipe, an outcome (mean error, median steady
fit time) and a predictor. Intervals are 95 % percentiles over bootstrap samples of the models.
Spearman's rho, Kendall's tau-b, and `pairs_lower`, the share of the pairs of models that differ in
the predictor in which the one with more of it has the lower outcome (equal outcomes count half). A
predictor of few levels ties most models, so that rho and tau-b cannot reach 1; `pairs_lower` can.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.results import CORRELATIONS
from pipeline.timm_results.imagenet import ACCURACIES

CONFIDENCE = 0.95
DRAWS = 4000
WIDTHS = np.linspace(0, 3, 61)  # of the distribution, as multiples of the means' own spread


@dataclass(frozen=True)
class PooledNoise:
    """The standard deviation of a run around its model's mean, and its degrees of freedom."""

    sd: float
    freedom: int

    @property
    def width(self) -> float:
        """How many standard errors a 95 % t interval reaches to either side."""
        return float(stats.t.ppf((1 + CONFIDENCE) / 2, self.freedom))


def pooled_noise(values: pd.Series, group: pd.Series) -> PooledNoise | None:
    """The noise that all groups share; None if no group has two values that are not null."""
    values = values.dropna()
    groups = values.groupby(group)
    freedom = len(values) - groups.ngroups
    if freedom < 1:
        return None
    residuals = values - groups.transform("mean")
    return PooledNoise(float(np.sqrt((residuals**2).sum() / freedom)), freedom)


NORMAL = float(stats.norm.ppf((1 + CONFIDENCE) / 2))


def wilson(mean: Any, size: Any, quantile: Any = NORMAL) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end of Wilson's interval of shares `mean` of `size` images each.

    It is as wide as the `quantile` of a normal or Student's t distribution says, by default for
    95 %. NaN where `size` is 0.
    """
    share, size = np.asarray(mean, dtype=float), np.asarray(size, dtype=float)
    size = np.where(size > 0, size, np.nan)
    middle = share + quantile**2 / (2 * size)
    half = quantile * np.sqrt(share * (1 - share) / size + (quantile / (2 * size)) ** 2)
    whole = 1 + quantile**2 / size
    low, high = (middle - half) / whole, (middle + half) / whole
    return np.minimum(low.clip(0, 1), share), np.maximum(high.clip(0, 1), share)  # despite rounding


def may_be_best(mean: np.ndarray, covariance: np.ndarray, freedom: float) -> np.ndarray:
    """Bool [n]: which means, lower being better, may belong to the lowest true mean.

    Hsu's multiple comparisons with the best: with 95 % confidence the truly best one is among
    them. `covariance` [n, n] is that of the means, estimated with `freedom` degrees of freedom.
    """
    errors = draw_errors(covariance, freedom)
    kept = np.zeros(len(mean), dtype=bool)
    for i in np.flatnonzero(near_best(mean, covariance, freedom)).tolist():
        kept[i] = not _surely_lower(mean, errors, covariance, i).any()
    return kept


def rank_intervals(
    mean: np.ndarray, covariance: np.ndarray, freedom: float
) -> tuple[np.ndarray, np.ndarray]:
    """Low and high end [n] of each model's rank (1 is lowest), each with 95 % confidence.

    The low end counts the models that are surely better, so it is 1 for those that `may_be_best`.
    """
    errors = draw_errors(covariance, freedom)
    models = range(len(mean))
    better = [_surely_lower(mean, errors, covariance, i).sum() for i in models]
    worse = [_surely_lower(-mean, -errors, covariance, i).sum() for i in models]
    return np.array(better) + 1, len(mean) - np.array(worse)


def _surely_lower(
    mean: np.ndarray, errors: np.ndarray, covariance: np.ndarray, i: int
) -> np.ndarray:
    """Bool [n - 1]: which other means are lower than mean i, with 95 % confidence for all at once.

    `errors` [draws, n] are those of `draw_errors`.
    """
    others = np.arange(len(mean)) != i
    se = se_of_differences(covariance, i)[others]
    largest = ((errors[:, [i]] - errors[:, others]) / se).max(axis=1, initial=0)
    margin = np.quantile(largest, CONFIDENCE) * se
    lower: np.ndarray = mean[i] - mean[others] > margin
    return lower


def near_best(mean: np.ndarray, covariance: np.ndarray, freedom: float) -> np.ndarray:
    """Bool [n]: which are near enough to the lowest for a closer look. Only saves time.

    The margins here, of each pair on its own with Bonferroni's correction, are the longest.
    """
    best = int(mean.argmin())
    level = (1 - CONFIDENCE) / 4 / max(len(mean) - 1, 1)  # / 4: the draws have noise too
    margin = stats.t.ppf(1 - level, freedom) * se_of_differences(covariance, best)
    near: np.ndarray = mean - mean[best] <= margin
    return near


def se_of_differences(covariance: np.ndarray, i: int) -> np.ndarray:
    """The standard errors [n] of the differences between mean i and each; 0 to itself."""
    variance = covariance[i, i] + np.diag(covariance) - 2 * covariance[i]
    se: np.ndarray = np.sqrt(variance.clip(min=0))
    return se


def draw_errors(covariance: np.ndarray, freedom: float) -> np.ndarray:
    """Draws of the means' errors [DRAWS, n], as multivariate t: the noise is estimated once, so a
    draw has one scale. The errors of the first means do not depend on those after them.
    """
    rng = np.random.default_rng(0)
    scale = np.sqrt(freedom / rng.chisquare(freedom, size=DRAWS))
    root = np.linalg.cholesky(covariance)
    errors: np.ndarray = (root @ rng.standard_normal((len(root), DRAWS)) * scale).T
    return errors


def draw_truths(mean: np.ndarray, covariance: np.ndarray, freedom: float) -> np.ndarray:
    """Draws [DRAWS, n] of the true values: near the best those of `likely_best`.

    Each of the others is drawn around its own mean: the distribution of all is not normal.
    """
    truths = mean + draw_errors(covariance, freedom)
    near = np.flatnonzero(near_best(mean, covariance, freedom))
    if len(near) > 1:
        truths[:, near] = _posterior_draws(mean[near], covariance[np.ix_(near, near)], freedom)
    return truths


def likely_best(mean: np.ndarray, covariance: np.ndarray, freedom: float) -> np.ndarray:
    """The probability [n] that each has the lowest truth.

    `covariance` [n, n] is that of the means, estimated with `freedom` degrees of freedom.
    """
    near = np.flatnonzero(near_best(mean, covariance, freedom))
    shares = np.zeros(len(mean))
    if len(near) == 1:
        shares[near] = 1
        return shares
    best = _posterior_draws(mean[near], covariance[np.ix_(near, near)], freedom).argmin(axis=1)
    shares[near] = np.bincount(best, minlength=len(near)) / DRAWS
    return shares


def _posterior_draws(mean: np.ndarray, covariance: np.ndarray, freedom: float) -> np.ndarray:
    """Draws [DRAWS, n] of the true values from their posterior, flat in centre and width.

    Along the covariance's principal axes errors are independent; only the truths' common centre,
    1 for every model, then points in a direction of its own.
    """
    rng = np.random.default_rng(0)
    variance, axes = np.linalg.eigh(covariance)
    along, ones = mean @ axes, axes.sum(axis=0)
    width = WIDTHS[:, None] * max(float(mean.std(ddof=1)), 1e-9)
    precision = 1 / (width**2 + variance)
    of_centre = 1 / (precision * ones**2).sum(axis=1)
    centre = (precision * ones * along).sum(axis=1) * of_centre
    misfit = (precision * (along - centre[:, None] * ones) ** 2).sum(axis=1)
    weight = 0.5 * (np.log(of_centre) + np.log(precision).sum(axis=1) - misfit)
    weight = np.exp(weight - weight.max())
    which = rng.choice(len(WIDTHS), size=DRAWS, p=weight / weight.sum())
    scale = np.sqrt(freedom / rng.chisquare(freedom, size=DRAWS))
    centres = centre[which] + np.sqrt(of_centre[which]) * rng.standard_normal(DRAWS)
    centres = centres[:, None] * ones
    kept = width[which] ** 2 * precision[which]  # the share of its own mean in a model's truth
    noise = np.sqrt(variance) * (scale * rng.standard_normal((len(mean), DRAWS))).T
    truths = (centres + kept * (along - centres) + np.sqrt(kept) * noise) @ axes.T
    # no width at all: the truths are equal, and any order of them is as likely
    equal = which == 0
    truths[equal] += 1e-9 * rng.standard_normal((int(equal.sum()), len(mean)))
    return truths


ERROR, TIME = "error_rate_mean", "steady_fit_seconds_median"
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
    """One row per dataset, recipe, outcome and predictor; of two datasets the first has it."""
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
    """The mean error with that on every later dataset, over the models that both have."""
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
