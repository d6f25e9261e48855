"""Compares the models of a group: intervals of their errors, which may be best, and how likely.

A group is a dataset and a recipe: models x seeds, all measured on the same validation images. The
mean error of a model differs from what it would be over all seeds and all images because of

- its runs: variance `phi * p * (1 - p) / n` of n runs. `phi` is pooled over the group's models,
  because two or three runs say next to nothing about one model; a model whose runs clearly vary
  more than the others' has its own. It is relative to p(1 - p), as the sampling of images is: the
  2022 study's 166 models with three runs vary like that.
- the images: variance `share * p * (1 - p) / n_valid`, see validation_images.py.

Together they are a binomial with fewer images, so the interval is Wilson's with that number.
Between models, what a seed does to all of them cancels, and so does what an image does to all of
them where records say which images their runs erred on.
docs/statistics.md has the reasons and the measured coverage.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from pipeline.statistics.intervals import (
    CONFIDENCE,
    likely_best,
    may_be_best,
    se_of_differences,
    wilson,
)
from pipeline.statistics.validation_images import ImageNoise, binomial_sd, independent

SEEDS_AND_IMAGES, IMAGES = "seeds and images", "images"  # what an interval covers
DECIMALS = 12  # of a mean: one summed in another order, or read back, differs in the last bit
# Degrees of freedom:
FEWEST_FREEDOM = 2  # at least, for a variance of runs
FEWEST_OTHERS = 2  # at least, of the others' variance, to say that a model varies more
OF_OTHERS = 1  # that such a model takes over from the others
LEAST_SHOWN = 0.5  # of a model whose mistakes are enough to show a spread
MANY = 1e6  # as good as infinitely many


@dataclass(frozen=True)
class RunNoise:
    """Variances of one run, as shares of p(1 - p), with their degrees of freedom.

    `total` is around the model's mean; of it `seed` is common to all models with the same seed, and
    `residual` is the rest. Where one model alone has repeats, the two cannot be told apart: then
    all of it is `residual`. They are pooled over the models but for the `less_stable` ones, whose
    variance and degrees of freedom are `own` and `own_freedom` [models].
    """

    total: float
    freedom: float
    seed: float
    seed_freedom: float
    residual: float
    residual_freedom: float
    less_stable: np.ndarray
    own: np.ndarray
    own_freedom: np.ndarray

    def of_each(self, pooled: float) -> np.ndarray:
        """Each model's variance [models]: `pooled`, or its own."""
        return np.where(self.less_stable, self.own, pooled)

    def for_intervals(self, pooled: float, freedom: float) -> np.ndarray:
        """The same, made so that Student's t at `freedom` serves all models.

        Those with their own few degrees of freedom get as much more as their t is larger, squared.
        """
        quantile = (1 + CONFIDENCE) / 2
        wider = stats.t.ppf(quantile, self.own_freedom) / stats.t.ppf(quantile, freedom)
        return np.where(self.less_stable, self.own * wider**2, pooled)

    def of_model(self, model: int) -> "RunNoise":
        """The same for a group in which all models vary as this one."""
        arrays = {name: getattr(self, name) for name in ("less_stable", "own", "own_freedom")}
        return replace(self, **{name: np.full_like(a, a[model]) for name, a in arrays.items()})


@dataclass(frozen=True)
class Comparison:
    """Per model [n]: the error's interval, the probability to be the best, whether it may be.

    `gap` is how far behind the lowest mean it is on the `n_common` seeds that both ran, with its
    interval; NaN for the lowest itself and where they share no seed. `tied` allows for the noise of
    runs and images, `tied_here` for that of runs alone: it is about these very validation images.
    Where no model was run twice, `covers` is "images" and the noise of runs is left out. `images`
    is PAIRED or INDEPENDENT; `covariance` [n, n] is that of the means, for their differences, with
    `freedom` degrees of freedom. `less_stable` models vary clearly more from run to run than the
    others do.
    """

    mean: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_best: np.ndarray
    tied: np.ndarray
    tied_here: np.ndarray | None
    gap: np.ndarray
    gap_low: np.ndarray
    gap_high: np.ndarray
    n_common: np.ndarray
    covariance: np.ndarray
    freedom: float
    covers: str
    images: str
    less_stable: np.ndarray


def compare(errors: np.ndarray, n_valid: int, images: ImageNoise | None) -> Comparison:
    """Compare the models of error rates [models, seeds], NaN where a run did not finish.

    Every model has at least one run. Where `images` is None the models count as independent.
    """
    noise = run_noise(errors, n_valid)
    finished = np.isfinite(errors)
    mean = mean_of(errors)
    images = images or independent(mean, n_valid)
    low, high = error_intervals(mean, finished.sum(axis=1), images, noise)
    gap, gap_low, gap_high, n_common = _gaps(errors, noise, images)
    of_runs, of_seeds = _run_covariance(finished, noise, binomial_sd(mean, n_valid))
    best = int(mean.argmin())
    tied_here = None
    if noise is not None and of_runs.all():
        of_both = np.diag(of_runs) + of_seeds
        tied_here = may_be_best(mean, of_both, _freedom(best, of_runs, of_seeds, of_both, noise))
    alone = images.alone / finished.sum(axis=1)
    covariance = images.covariance + np.diag(np.maximum(of_runs - alone, 0)) + of_seeds
    freedom = _freedom(best, of_runs, of_seeds, covariance, noise)
    return Comparison(
        mean=mean,
        low=low,
        high=high,
        p_best=likely_best(mean, covariance, freedom),
        tied=may_be_best(mean, covariance, freedom),
        tied_here=tied_here,
        gap=gap,
        gap_low=gap_low,
        gap_high=gap_high,
        n_common=n_common,
        covariance=covariance,
        freedom=freedom,
        covers=IMAGES if noise is None else SEEDS_AND_IMAGES,
        images=images.kind,
        less_stable=np.zeros(len(mean), dtype=bool) if noise is None else noise.less_stable,
    )


def run_noise(errors: np.ndarray, n_valid: int) -> RunNoise | None:
    """The noise of error rates [models, seeds], NaN where missing; None without a repeated model.

    Models and seeds are fitted as two additive effects, by least squares where cells are missing.
    A model without a mistake shows no spread whatever its runs' noise is, so it does not count,
    and one with few mistakes counts in part: by p(1 - p) as a share of its own with one more. If
    that leaves fewer than FEWEST_FREEDOM degrees of freedom, there are too few mistakes to tell
    which models vary, and all count. Two seeds of two models leave no freedom for an effect of the
    seed: all is residual. A model that is clearly less stable than the others is left out of all
    this; its own variance takes OF_OTHERS degrees of freedom over from them.
    """
    runs = np.isfinite(errors).sum(axis=1)
    mean = mean_of(errors)
    scale = binomial_sd(mean, n_valid)
    shown = mean * (1 - mean) / scale**2
    residuals = (errors - mean[:, None]) / scale[:, None]
    squares = np.nansum(residuals**2, axis=1)
    freedom = np.where(runs > 1, shown * (runs - 1), 0)
    one_image = 1 / (2 * n_valid**2 * scale**2)  # the variance of two runs that differ by one
    unstable = less_stable(squares, freedom, one_image)
    counted = (runs > 1) & ~unstable
    pooled = _pooled(residuals[counted], shown[counted])
    if pooled is None:
        return None
    own = (OF_OTHERS * pooled["total"] + squares) / (OF_OTHERS + freedom)
    return RunNoise(**pooled, less_stable=unstable, own=own, own_freedom=OF_OTHERS + freedom)


def less_stable(squares: np.ndarray, freedom: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Bool [models]: whose runs vary clearly more than those of the others.

    `squares` [models] are sums of squared residuals with `freedom` [models] degrees of freedom; the
    others' variance counts as `least` [models] where it is smaller. An F test of one model after
    the other, the least stable first; where all are normal alike it names one in 5 of 100 groups.
    """
    unstable = np.zeros(len(squares), dtype=bool)
    varying = freedom >= LEAST_SHOWN
    level = (1 - CONFIDENCE) / max(1, varying.sum())
    while (rest := varying & ~unstable).any():
        model = int(np.where(rest, squares / np.maximum(freedom, LEAST_SHOWN), -1).argmax())
        others = rest.copy()
        others[model] = False
        of_others = freedom[others].sum()
        if of_others < FEWEST_OTHERS:
            break
        variance = max(squares[others].sum() / of_others, least[model])
        ratio = squares[model] / freedom[model] / variance
        if stats.f.sf(ratio, freedom[model], of_others) > level:
            break
        unstable[model] = True
    return unstable


def _pooled(residuals: np.ndarray, shown: np.ndarray) -> dict[str, float] | None:
    """The pooled fields of `RunNoise` of repeated models; None without one. See `run_noise`.

    `residuals` [models, seeds], NaN where missing, are multiples of the binomial standard
    deviation; of each model's spread a share of `shown` [models] counts.
    """
    if not len(residuals):
        return None
    finished = np.isfinite(residuals)
    runs = finished.sum(axis=1)
    whole = int((runs - 1).sum())
    if (shown * (runs - 1)).sum() < min(FEWEST_FREEDOM, whole / 2):
        shown = np.ones(len(shown))
    residuals = np.where(finished, residuals, 0)
    within, freedom = float((residuals**2).sum()), float((shown * (runs - 1)).sum())
    by_seed = (np.sqrt(shown)[:, None] * residuals).sum(axis=0)
    counted = shown[:, None] * finished
    normal = np.diag(counted.sum(axis=0)) - finished.T @ (counted / runs[:, None])
    effects, _, rank, _ = np.linalg.lstsq(normal, by_seed, rcond=1e-9)
    explained = float(effects @ by_seed)
    left = freedom - rank
    per_seed = explained / rank
    total = within / freedom
    if left < 1 or whole - rank < FEWEST_FREEDOM:
        of_seeds = {"seed": 0.0, "seed_freedom": rank}
        alone = {"residual": total, "residual_freedom": freedom}
        return {"total": total, "freedom": freedom, **of_seeds, **alone}
    residual = max(within - explained, 0.0) / left
    models = freedom / rank  # per seed, were none missing
    weighted = (rank / freedom * per_seed) ** 2 / rank + (left / freedom * residual) ** 2 / left
    return {
        "total": total,
        "freedom": total**2 / weighted if weighted > 0 else freedom,
        "seed": max(per_seed - residual, 0.0) / models,
        "seed_freedom": rank,
        "residual": residual,
        "residual_freedom": left,
    }


def variance_of_a_run(noise: RunNoise | None, n_models: int) -> tuple[np.ndarray, float]:
    """Of each model [models] for its interval, as a share of p(1 - p), and the degrees of freedom.

    Without `noise` zeros, as if there were no noise of runs.
    """
    if noise is None:
        return np.zeros(n_models), np.inf
    return noise.for_intervals(noise.total, noise.freedom), noise.freedom


def error_intervals(
    mean: np.ndarray, runs: np.ndarray, images: ImageNoise, noise: RunNoise | None
) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % intervals of mean errors [models] over these many runs, as low and high ends."""
    of_run, freedom = variance_of_a_run(noise, len(mean))
    of_images = images.share / images.n_valid
    estimated, known = _larger_variance(of_run / runs, images.own / images.n_valid / runs)
    size = 1 / (estimated + known + of_images)
    return wilson(mean, size, t_quantile(estimated, freedom, of_images + known))


def _larger_variance(of_runs: np.ndarray, alone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The larger of two variances of runs [models], as an estimated and a known part.

    `of_runs` is estimated from few runs; `alone`, of mistakes that a run alone makes, is known from
    all images.
    """
    larger = of_runs > alone
    return np.where(larger, of_runs, 0), np.where(larger, 0, alone)


def _gaps(
    errors: np.ndarray, noise: RunNoise | None, images: ImageNoise
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gaps [models] to the lowest mean over common seeds, their 95 % intervals, common seeds.

    The narrower of two intervals: Student's for the paired difference, and the square-and-add of
    the two errors' own intervals (Newcombe 1998; Zou and Donner 2008). The latter keeps a residual
    with one or two degrees of freedom from reaching further than the errors themselves do.
    """
    finished = np.isfinite(errors)
    mean = mean_of(errors)
    best = int(mean.argmin())
    differences = errors - errors[best]
    n_common = (finished & finished[best]).sum(axis=1)
    n_common[best] = 0
    counted = np.where(n_common > 0, n_common, np.nan)
    gap = np.nansum(differences, axis=1) / counted
    lasting = images.covariance - np.diag(images.alone / finished.sum(axis=1))
    known = se_of_differences(lasting, best) ** 2
    residual, freedom = np.zeros(len(mean)), np.inf
    if noise is not None:
        freedom = noise.residual_freedom
        residual = noise.for_intervals(noise.residual, freedom)
    of_run = residual * binomial_sd(mean, images.n_valid) ** 2
    estimated, of_images = _larger_variance(of_run, images.alone)
    known = known + (of_images + of_images[best]) / counted
    estimated = (estimated + estimated[best]) / counted
    half = t_quantile(estimated, freedom, known) * np.sqrt(estimated + known)
    below, above = _square_and_add(mean, best, np.maximum(n_common, 1), images, noise)
    return gap, gap - np.minimum(half, below), gap + np.minimum(half, above), n_common


def _square_and_add(
    mean: np.ndarray, best: int, runs: np.ndarray, images: ImageNoise, noise: RunNoise | None
) -> tuple[np.ndarray, np.ndarray]:
    """How far the differences to the best reach down and up, by the two errors' own intervals."""
    low, high = error_intervals(mean, runs, images, noise)
    lowest = np.full_like(mean, mean[best])
    of_best = noise and noise.of_model(best)
    best_low, best_high = error_intervals(lowest, runs, images, of_best)
    return np.hypot(mean - low, best_high - lowest), np.hypot(high - mean, lowest - best_low)


@dataclass(frozen=True)
class Gaps:
    """How far means [models] are behind one of them, with 95 % intervals that cover `covers`."""

    gap: np.ndarray
    low: np.ndarray
    high: np.ndarray
    covers: str
    images: str


def gaps_without_common_seeds(
    errors: np.ndarray, n_valid: int, images: ImageNoise | None, to: int
) -> Gaps:
    """The gaps to model `to` of error rates [models, seeds] of different studies: nothing of a seed
    cancels, but what an image does to both does. The narrower of two intervals, as in `_gaps`.
    """
    n_runs, mean = np.isfinite(errors).sum(axis=1), mean_of(errors)
    noise = run_noise(errors, n_valid)
    images = images or independent(mean, n_valid)
    lasting = images.covariance - np.diag(images.alone / n_runs)
    known = se_of_differences(lasting, to) ** 2
    total, freedom = variance_of_a_run(noise, len(mean))
    of_mean = np.maximum(total * binomial_sd(mean, n_valid) ** 2, images.alone) / n_runs
    estimated = of_mean + of_mean[to]
    half = t_quantile(estimated, freedom, known) * np.sqrt(estimated + known)
    gap = mean - mean[to]
    low, high = error_intervals(mean, n_runs, images, noise)
    below, above = mean - low, high - mean
    low = gap - np.minimum(half, np.hypot(below, above[to]))
    high = gap + np.minimum(half, np.hypot(above, below[to]))
    covers = IMAGES if noise is None else SEEDS_AND_IMAGES
    return Gaps(gap, low, high, covers, images.kind)


def mean_of(errors: np.ndarray) -> np.ndarray:
    """Mean errors [models] of [models, seeds]; the same for the same mistakes, in any order."""
    mean: np.ndarray = np.nanmean(errors, axis=1).round(DECIMALS)
    return mean


def _run_covariance(
    finished: np.ndarray, noise: RunNoise | None, scale: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What runs add to means: residual variances [models], and covariances [models, models] of the
    seeds, which cancel between models that both ran them, by `finished` [models, seeds].
    """
    runs = finished.sum(axis=1)
    if noise is None:
        return np.zeros(len(runs)), np.zeros((len(runs), len(runs)))
    n_seeds = finished.any(axis=0).sum()
    common = finished.astype(float) @ finished.T / np.outer(runs, runs) - 1 / n_seeds
    residual = noise.of_each(noise.residual) * scale**2 / runs
    return residual, noise.seed * np.outer(scale, scale) * common


def _freedom(
    best: int,
    of_runs: np.ndarray,
    of_seeds: np.ndarray,
    covariance: np.ndarray,
    noise: RunNoise | None,
) -> float:
    """The degrees of freedom of the least certain difference to the best model."""
    if noise is None:
        return MANY
    whole = se_of_differences(covariance, best) ** 2
    residual, seeds = of_runs + of_runs[best], se_of_differences(of_seeds, best) ** 2
    whole = np.maximum(whole, residual + seeds).clip(min=1e-24)  # the best's own difference is 0
    weighted = residual**2 / noise.residual_freedom + seeds**2 / noise.seed_freedom
    others = np.arange(len(of_runs)) != best
    freedom = whole**2 / np.maximum(weighted, whole**2 / MANY)
    return float(freedom[others].min(initial=MANY))


def t_quantile(estimated: np.ndarray, freedom: float, known: np.ndarray | float) -> np.ndarray:
    """Student's quantile of a 95 % interval, for an estimated variance plus a known one.

    The degrees of freedom of the sum are Satterthwaite's, at most MANY.
    """
    estimated = np.maximum(estimated, 1e-12)
    of_sum = np.minimum(freedom * ((estimated + known) / estimated) ** 2, MANY)
    quantile: np.ndarray = stats.t.ppf((1 + CONFIDENCE) / 2, of_sum)
    return quantile
