"""Predicts the errors of models that have not been fitted, by Bayesian regression.

Predictors are published numbers (rung 0) and what cheap runs of the model showed (the rungs after
it). Errors are compared as log-odds. At each level (nothing but published numbers, then one level
per cheap rung: frozen features, epochs) the log-odds of a full fit are a linear function of a
model's published numbers and of what its last rung showed, with normal noise of unknown variance.
The prior of the coefficients is normal-inverse-gamma, so a prediction is Student's t in closed form
(Bishop, Pattern Recognition and Machine Learning, 2006, 3.3; Gelman et al., Bayesian Data Analysis,
ch. 14). `learned_prior` makes that prior from fits on other datasets, and `fitted_prior` does so
from errors by dataset; fits on the dataset itself, as a race makes them, then update it. The
shortlist of `recommend` rests on level 0 alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from scipy.special import expit

from pipeline.statistics.intervals import CONFIDENCE
from pipeline.study.params import Study
from pipeline.timm_results.families import family, pretraining
from pipeline.timm_results.imagenet import (
    ACCURACIES,
    pretraining_scale,
    published,
    read_imagenet,
)

LOWEST_RATE, HIGHEST_RATE = 1e-4, 1 - 1e-4  # error rates are clipped to, for finite log-odds
IMAGENET_ERROR = 0  # its column among the features
LEAST_MODELS = 4  # with fits on another dataset, for the dataset to count
FLAT = 1e4  # variance of an intercept of which nothing is known
# Assumed where no other dataset tells; in log-odds, coefficients per standard deviation:
FREEDOM = 4.0  # degrees of freedom of the residual variance
RESIDUAL = 0.35  # spread of fits around what published numbers predict
TOP1 = 0.15  # coefficient of ImageNet error
COEFFICIENT = 0.2  # spread of any coefficient
SLOPE_SPREAD = 0.4  # spread of the slope on a rung's log-odds around 1
UNEXPLAINED = 0.8  # share of the residual variance that a rung leaves: it may say little
OFFSET = 1.0  # spread of a dataset's mean fit around its mean rung
FAMILY_SCALE = 0.7  # of a family's coefficient, to that of other features
ODDS = ("error_odds", "error_odds_low", "error_odds_high")  # columns: see `predicted`
BASIS = (
    "Predicted from what is published of {n:,} models: how often a model errs compared with their "
    "average (as odds), with a 95 % interval; an interval that includes 1 does not tell the model "
    "from the average. How much published numbers tell of fits is {told}"
)


def log_odds(error: np.ndarray) -> np.ndarray:
    """log(p / (1 - p)) of error rates, kept away from 0 and 1; NaN stays."""
    p = np.clip(np.asarray(error, dtype=float), LOWEST_RATE, HIGHEST_RATE)
    found: np.ndarray = np.log(p / (1 - p))
    return found


@dataclass(frozen=True)
class OtherDataset:
    """One other dataset: log-odds of its fits [models] and of cheap rungs [models, rungs], with
    NaN where there is none, and the features [models, features] that these models have.
    """

    features: np.ndarray
    rungs: np.ndarray
    fits: np.ndarray


@dataclass(frozen=True)
class Level:
    """The prior of one level's regression: coefficients, their variances, the residual's.

    `mean` and `variance` (as a multiple of the residual's) are of intercept, features and, above
    level 0, the rung's slope; there the intercept is the difference of fits from the rung's mean.
    """

    mean: np.ndarray
    variance: np.ndarray
    residual: float
    freedom: float


@dataclass(frozen=True)
class Prior:
    """A `Level` for published numbers alone and one per cheap rung; `learned` from how many fits
    of other datasets (0: all of it is assumed).
    """

    levels: tuple[Level, ...]
    learned: int


@dataclass(frozen=True)
class Prediction:
    """Of each model [models]: log-odds of its error as Student's t (mean, scale, freedom).

    `unexplained` [levels] is the residual variance of each level as a share of level 0's: what a
    rung leaves open. `residual_fits` [levels] counts the fits it rests on, in degrees of freedom.
    """

    mean: np.ndarray
    scale: np.ndarray
    freedom: np.ndarray
    unexplained: np.ndarray
    residual_fits: np.ndarray

    @property
    def sd(self) -> np.ndarray:
        """Standard deviations [models]."""
        found: np.ndarray = self.scale * np.sqrt(self.freedom / (self.freedom - 2))
        return found

    @property
    def error(self) -> np.ndarray:
        found: np.ndarray = expit(self.mean)
        return found


def assumed_prior(n_features: int, n_rungs: int, top1: int | None = None) -> Prior:
    """The prior where no other dataset tells; `top1` is the column of ImageNet error."""
    levels = []
    for rung in range(n_rungs + 1):
        residual = RESIDUAL * UNEXPLAINED ** (min(rung, 1) / 2)
        mean = np.zeros(1 + n_features + (rung > 0))
        variance = np.full(len(mean), (COEFFICIENT / residual) ** 2)
        variance[0] = FLAT
        if rung > 0:
            variance[0] = (OFFSET / residual) ** 2
            mean[-1], variance[-1] = 1.0, (SLOPE_SPREAD / residual) ** 2
        elif top1 is not None:
            mean[1 + top1] = TOP1
        levels.append(Level(mean, variance, residual, FREEDOM))
    return Prior(tuple(levels), 0)


def learned_prior(others: Sequence[OtherDataset], start: Prior) -> Prior:
    """`start` updated by the fits of other datasets, whose coefficients may differ.

    The mean is that of all datasets together, each with an intercept of its own; the variance adds
    how much single datasets' coefficients differ. Levels without a fit stay as in `start`.
    """
    levels = [_learned(others, rung, level) for rung, level in enumerate(start.levels)]
    return Prior(tuple(levels), sum(int(np.isfinite(each.fits).sum()) for each in others))


def _learned(others: Sequence[OtherDataset], rung: int, start: Level) -> Level:
    sets = [each for each in (_rows(one, rung) for one in others) if len(each[1]) >= LEAST_MODELS]
    if not sets:
        return start
    slopes = slice(1, None)
    precision = np.diag(1 / (start.variance[slopes] * start.residual**2))
    centred = [(x[:, slopes] - x[:, slopes].mean(axis=0), y - y.mean()) for x, y in sets]
    noise, mean = start.residual**2, start.mean[slopes]
    for _ in range(3):  # the residual and the coefficients need each other
        gram = sum(x.T @ x for x, _ in centred) / noise + precision
        moment = sum(x.T @ y for x, y in centred) / noise + precision @ start.mean[slopes]
        mean = np.linalg.solve(gram, moment)
        squares = sum(float(((y - x @ mean) ** 2).sum()) for x, y in centred)
        freedom = max(sum(len(y) - 1 for _, y in centred) - len(mean), 1)
        noise = (squares + FREEDOM * start.residual**2) / (freedom + FREEDOM)
    of_each = [_shrunk(x, y, mean, noise, start.variance[slopes] * noise) for x, y in centred]
    between = np.sum([(each - mean) ** 2 for each in of_each], axis=0) + COEFFICIENT**2
    between /= len(sets)
    variance = (between + np.diag(np.linalg.inv(gram))) / noise
    offset, spread = 0.0, FLAT
    if rung:
        offsets = [float(y.mean() - x[:, -1].mean()) for x, y in sets]
        offset = float(np.mean(offsets))
        spread = (float(np.var(offsets)) + OFFSET**2 / len(sets)) / noise
    return Level(
        np.concatenate([[offset], mean]),
        np.concatenate([[spread], np.maximum(variance, 1e-3)]),
        float(np.sqrt(noise)),
        _freedom([float(np.mean((y - x @ mean) ** 2)) for x, y in centred]),
    )


def _freedom(residuals: Sequence[float]) -> float:
    """The degrees of freedom of a new dataset's residual variance, by how much `residuals`, those
    of other datasets, differ: a scaled inverse chi-square has a relative variance of about
    2 / freedom.
    """
    if len(residuals) < 3:
        return FREEDOM
    spread = float(np.var(residuals, ddof=1)) / float(np.mean(residuals)) ** 2
    return float(np.clip(2 / max(spread, 1e-6), FREEDOM, 10 * FREEDOM))


def _shrunk(
    x: np.ndarray, y: np.ndarray, mean: np.ndarray, noise: float, variance: np.ndarray
) -> np.ndarray:
    """One dataset's coefficients, shrunk towards those of all, `mean`."""
    gram = x.T @ x / noise + np.diag(1 / np.maximum(variance, 1e-6))
    found: np.ndarray = mean + np.linalg.solve(gram, x.T @ (y - x @ mean) / noise)
    return found


def _rows(dataset: OtherDataset, rung: int) -> tuple[np.ndarray, np.ndarray]:
    """The regression's rows of one dataset: design and log-odds of the fits."""
    design = _design(dataset.features, dataset.rungs, rung)
    there = np.isfinite(dataset.fits) & np.isfinite(design).all(axis=1)
    return design[there], dataset.fits[there]


def _design(features: np.ndarray, rungs: np.ndarray, rung: int) -> np.ndarray:
    columns = [np.ones((len(features), 1)), features]
    return np.hstack([*columns, rungs[:, [rung - 1]]] if rung else columns)


def predict(prior: Prior, features: np.ndarray, rungs: np.ndarray, fits: np.ndarray) -> Prediction:
    """Predictions for every model, each from the last rung it has reached.

    `rungs` [models, rungs] and `fits` [models] are log-odds, NaN where not made. Before the first
    fit the common level is unknown, and what is predicted are differences between models.
    """
    n = len(features)
    reached = np.where(np.isfinite(rungs), np.arange(1, rungs.shape[1] + 1), 0)
    last = reached.max(axis=1, initial=0)
    mean, scale, freedom = np.zeros(n), np.ones(n), np.full(n, FREEDOM)
    residual, counts = np.empty(len(prior.levels)), np.empty(len(prior.levels))
    no_fit = not np.isfinite(fits).any()
    for rung, level in enumerate(prior.levels):
        if not (last == rung).any() and rung:
            residual[rung], counts[rung] = level.residual**2, level.freedom
            continue
        design = _design(features, rungs, rung)
        if rung:
            centre = float(np.nanmean(rungs[:, rung - 1]))
            design[:, -1] -= centre
            level = replace(level, mean=np.concatenate([[level.mean[0] + centre], level.mean[1:]]))
        known = np.isfinite(fits) & np.isfinite(design).all(axis=1)
        m, v, a, b = _updated(level, design[known], fits[known])
        residual[rung], counts[rung] = b / a, 2 * a
        here = last == rung
        x = design[here]
        mean[here] = x @ m
        if no_fit:
            x, v = x[:, 1:], v[1:, 1:]
        scale[here] = np.sqrt(b / a * (1 + ((x @ v) * x).sum(axis=1)))
        freedom[here] = 2 * a
    return Prediction(mean, scale, freedom, residual / residual[0], counts)


def _updated(
    level: Level, x: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Coefficients' mean, their covariance over the noise, and the noise's shape and scale."""
    a, b = level.freedom / 2, level.freedom / 2 * level.residual**2
    if not len(y):
        return level.mean, np.diag(level.variance), a, b
    precision = np.diag(1 / level.variance)
    v = np.linalg.inv(precision + x.T @ x)
    m = v @ (precision @ level.mean + x.T @ y)
    off = y - x @ m
    b += 0.5 * float(off @ off + (m - level.mean) @ precision @ (m - level.mean))
    return m, v, a + len(y) / 2, b


def mean_elsewhere(others: Sequence[np.ndarray]) -> np.ndarray:
    """How far each model's log-odds are from the mean of their dataset, averaged over the datasets
    that have a fit of it [models]; 0 without one. `others` are log-odds [models] of each dataset's
    fits, NaN where there is none.
    """
    if not others:
        raise ValueError("no other dataset")
    centred = np.stack([each - np.nanmean(each) for each in others])
    there = np.isfinite(centred)
    found: np.ndarray = np.where(there, centred, 0).sum(axis=0) / np.maximum(there.sum(axis=0), 1)
    return found


def standardised(columns: np.ndarray) -> np.ndarray:
    """Columns with mean 0 and spread 1; what is unknown (NaN) is 0, the mean."""
    there = np.isfinite(columns)
    n = np.maximum(there.sum(axis=0), 1)
    centred = np.where(there, columns - np.where(there, columns, 0).sum(axis=0) / n, 0)
    spread = np.sqrt((centred**2).sum(axis=0) / n)
    found: np.ndarray = centred / np.where(spread > 1e-9, spread, 1.0)
    return found


def fitted_prior(
    published: pd.DataFrame,
    fits: Mapping[str, Mapping[str, float]],
    probes: Mapping[str, Mapping[str, float]],
) -> tuple[np.ndarray, Prior, str]:
    """Features [models, features] of the published models, the prior, and what it rests on.

    `fits` and `probes` are the error rates of other datasets' fits and frozen features, by dataset
    and model; datasets with fits of fewer than LEAST_MODELS of these models do not count.
    """
    features, models = features_of(published), list(published["model"])
    errors_of = {
        name: _log_odds_of(fits[name], models)
        for name in sorted(fits)
        if len(fits[name].keys() & set(models)) >= LEAST_MODELS
    }
    if not errors_of:
        prior = assumed_prior(features.shape[1], 1, IMAGENET_ERROR)
        few = f"no other dataset has fits of at least {LEAST_MODELS} of these models"
        return features, prior, f"assumed, because {few}"
    everywhere = standardised(mean_elsewhere(list(errors_of.values()))[:, None])
    start = assumed_prior(features.shape[1] + 1, 1, IMAGENET_ERROR)
    others = []
    for name, errors in errors_of.items():
        rest = [each for other, each in errors_of.items() if other != name]
        column = standardised(mean_elsewhere(rest)[:, None]) if rest else np.zeros((len(models), 1))
        rung = _log_odds_of(probes.get(name, {}), models)[:, None]
        others.append(OtherDataset(np.hstack([features, column]), rung, errors))
    prior = learned_prior(others, start)
    basis = f"learned from {prior.learned} models of {', '.join(errors_of)}"
    return np.hstack([features, everywhere]), prior, basis


def _log_odds_of(errors: Mapping[str, float], models: Sequence[str]) -> np.ndarray:
    """Of each model [models]; NaN where it has no error."""
    return log_odds(np.array([errors.get(model, np.nan) for model in models]))


def features_of(published: pd.DataFrame) -> np.ndarray:
    """What is published of each model [models, features], with mean 0 and spread 1, unknown 0.

    `published` has `model`, `params_m`, the sets of ACCURACIES in percent as far as they are there,
    and train_ or infer_samples_per_second. Columns: ImageNet error, error on its variants, size and
    its square, speed, pretraining, and families of more than one model.
    """
    errors = {name: _error(published, name) for name in ACCURACIES}
    others = standardised(np.stack([errors[name] for name in list(ACCURACIES)[1:]], axis=1))
    params = np.log(pd.to_numeric(published["params_m"]).to_numpy(float))
    size = standardised(params[:, None])[:, 0]
    scale = published["model"].map(lambda name: pretraining_scale(pretraining(name)))
    numbers = np.stack(
        [
            errors["imagenet_top1"],
            others.mean(axis=1),
            params,
            size**2,
            _speed(published),
            scale.to_numpy(float),
        ],
        axis=1,
    )
    families = pd.get_dummies(published["model"].map(family)).to_numpy(float)
    families = families[:, families.sum(axis=0) > 1]
    return np.hstack([standardised(numbers), FAMILY_SCALE * families])


def _error(published: pd.DataFrame, name: str) -> np.ndarray:
    column = published[name] if name in published else pd.Series(np.nan, published.index)
    return log_odds(1 - column.to_numpy(float) / 100)


def _speed(published: pd.DataFrame) -> np.ndarray:
    """Log samples per second, in training or else in inference, each less its own mean."""
    found = np.full(len(published), np.nan)
    for name in ("train_samples_per_second", "infer_samples_per_second"):
        if name in published:
            value = np.log(published[name].to_numpy(float))
            value = value - (np.nanmean(value) if np.isfinite(value).any() else 0)
            found = np.where(np.isfinite(found), found, value)
    return found


def predicted(
    study: Study, imagenet: Path, rows: pd.DataFrame, board: pd.DataFrame, image_size: int
) -> tuple[pd.DataFrame, str]:
    """`rows`, one per published model, with the columns ODDS, its predicted odds of an error over
    those of the average model and their interval; and what they rest on: the rows of the
    leaderboard `board` that say something of other images, of the study's first recipe.
    """
    whole = replace(study, models=tuple(rows["model"]), image_size=image_size)
    table = published(whole, read_imagenet(imagenet), imagenet)
    fits: dict[str, dict[str, float]] = {}
    for _, row in board.iterrows():
        if row["n"] > 0 and row["recipe"] == study.recipes[0]:
            fits.setdefault(row["dataset"], {})[row["model"]] = float(row["error_rate_mean"])
    features, prior, told = fitted_prior(table, fits, {})
    nothing = np.full(len(rows), np.nan)
    seen = predict(prior, features, nothing[:, None], nothing)
    reach = stats.t.ppf((1 + CONFIDENCE) / 2, seen.freedom) * seen.scale
    middle = seen.mean - seen.mean.mean()
    odds = [np.exp(middle + way * reach) for way in (0, -1, 1)]
    return rows.assign(**dict(zip(ODDS, odds, strict=True))), BASIS.format(n=len(rows), told=told)
