"""How far repeated runs can be trusted: pooled noise, the models that may be the best, ranks.

A few repeats of one model say little about its own spread (3 runs: the 95 % interval is 4.3
standard errors wide), but dozens of models with a few repeats each say well how much a run
varies. All draws are from a fixed seed.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

CONFIDENCE = 0.95
DRAWS = 4000


@dataclass(frozen=True)
class Noise:
    """The standard deviation of a run around its model's mean, and its degrees of freedom."""

    sd: float
    freedom: int

    @property
    def width(self) -> float:
        """How many standard errors a 95 % t interval reaches to either side."""
        return float(stats.t.ppf((1 + CONFIDENCE) / 2, self.freedom))


def pooled(values: pd.Series, group: pd.Series) -> Noise | None:
    """The noise that all groups share; None if no group has two values."""
    values = values.dropna()
    groups = values.groupby(group)
    freedom = len(values) - groups.ngroups
    if freedom < 1:
        return None
    residuals = values - groups.transform("mean")
    return Noise(float(np.sqrt((residuals**2).sum() / freedom)), freedom)


def may_be_best(mean: np.ndarray, covariance: np.ndarray, freedom: float) -> np.ndarray:
    """Bool [n]: which means, lower being better, cannot be told from the lowest true mean.

    Hsu's multiple comparisons with the best: with 95 % confidence the truly best one is among
    them. `covariance` [n, n] is that of the means, estimated with `freedom` degrees of freedom.
    """
    errors = draw_errors(covariance, freedom)
    kept = np.zeros(len(mean), dtype=bool)
    for i in np.flatnonzero(near_best(mean, covariance, freedom)).tolist():
        others = np.arange(len(mean)) != i
        se = se_of_differences(covariance, i)[others]
        largest = ((errors[:, [i]] - errors[:, others]) / se).max(axis=1, initial=0)
        reach = np.quantile(largest, CONFIDENCE) * se
        kept[i] = bool((mean[i] - mean[others] <= reach).all())
    return kept


def rank_intervals(
    mean: np.ndarray, covariance: np.ndarray, freedom: float
) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % interval of each model's rank (1 is lowest), as its low and high ends [n]."""
    ranks = (mean + draw_errors(covariance, freedom)).argsort(axis=1).argsort(axis=1) + 1
    low, high = np.quantile(
        ranks, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0, method="nearest"
    )
    return low.astype(int), high.astype(int)


def near_best(mean: np.ndarray, covariance: np.ndarray, freedom: float) -> np.ndarray:
    """Bool [n]: which are near enough to the lowest for a closer look. Only saves time.

    No reach of `may_be_best` is longer than the one that counts each pair on its own.
    """
    best = int(mean.argmin())
    level = (1 - CONFIDENCE) / 4 / max(len(mean) - 1, 1)  # / 4: the draws have noise too
    reach = stats.t.ppf(1 - level, freedom) * se_of_differences(covariance, best)
    near: np.ndarray = mean - mean[best] <= reach
    return near


def se_of_differences(covariance: np.ndarray, i: int) -> np.ndarray:
    """The standard errors [n] of the differences between mean i and each; 0 to itself."""
    variance = covariance[i, i] + np.diag(covariance) - 2 * covariance[i]
    se: np.ndarray = np.sqrt(variance.clip(min=0))
    return se


def draw_errors(covariance: np.ndarray, freedom: float) -> np.ndarray:
    """Errors of the means [DRAWS, n]; one scale per draw, because the noise is estimated once."""
    rng = np.random.default_rng(0)
    scale = np.sqrt(freedom / rng.chisquare(freedom, size=(DRAWS, 1)))
    root = np.linalg.cholesky(covariance)
    errors: np.ndarray = rng.standard_normal((DRAWS, len(root))) @ root.T * scale
    return errors
