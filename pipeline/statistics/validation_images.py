"""Which validation images each run erred on, and the noise that the choice of images leaves.

The former is read from the records and becomes valid_wrong.csv. The table has one row per finished
run that recorded its answers, packed as in the record. It is there because `recommend` compares
models again, and a fresh clone has no records.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.records import Record, unpack_counts, unpack_predictions
from pipeline.results import ANSWERS
from pipeline.study.params import Cell

PAIRED, INDEPENDENT = "paired", "independent"
PREDICTION_COLUMNS = 3  # of one label: the class in two bytes, and its probability
ROUNDING = 1e-4  # by which an error rate of single precision may differ from the counted one


@dataclass(frozen=True)
class ImageNoise:
    """The noise of mean errors [models] that `n_valid` images leave.

    `kind` is PAIRED or INDEPENDENT. `covariance` [models, models] is that of the means over the
    runs there are. A run's variance over images has two parts, pooled over the models as shares of
    p(1 - p): `share`, of mistakes that all runs of a model make, and `own`, of those that a run
    makes alone. `alone` [models] is what the latter adds to the variance of one run's error.
    """

    kind: str
    n_valid: int
    covariance: np.ndarray
    share: float
    own: float
    alone: np.ndarray

    def of(self, models: np.ndarray) -> "ImageNoise":
        """The same of these models alone, in this order."""
        covariance = self.covariance[np.ix_(models, models)]
        return replace(self, covariance=covariance, alone=self.alone[models])


def independent(mean: np.ndarray, n_valid: int) -> ImageNoise:
    """Where the answers are not known: binomial, as if every model had images of its own."""
    covariance = np.diag(binomial_sd(mean, n_valid) ** 2 / n_valid)
    return ImageNoise(INDEPENDENT, n_valid, covariance, 1.0, 0.0, np.zeros(len(mean)))


def paired(answers: Sequence[np.ndarray], labels: int) -> ImageNoise:
    """The noise by each model's wrong answers [runs, images], of `labels` answers to an image.

    Every model counts as having made one more mistake, on an image of its own: so models with the
    same answers are not the same with certainty. One image has no variance: then `independent`.
    """
    n_valid = answers[0].shape[1]
    if n_valid == 1:
        return independent(np.array([wrong.mean() / labels for wrong in answers]), n_valid)
    shares = [wrong.astype("float32") / labels for wrong in answers]
    of_images = np.stack([wrong.mean(axis=0) for wrong in shares])
    mean = of_images.mean(axis=1, dtype=float)
    scale = binomial_sd(mean, n_valid)
    covariance = np.atleast_2d(np.cov(of_images, dtype=float)) / n_valid
    covariance[np.diag_indices_from(covariance)] += (1 / labels / n_valid) ** 2
    repeats = np.array([len(wrong) - 1 for wrong in shares])
    shown = mean * (1 - mean)  # nothing of a model without a mistake
    own = 0.0
    if (repeats * shown).any():
        alone = np.array([_alone(wrong) for wrong in shares])
        own = float((repeats * alone / scale**2).sum() / (repeats * shown / scale**2).sum())
    of_runs = np.array([wrong.var(axis=1, ddof=1, dtype=float).mean() for wrong in shares])
    whole = 1.0
    if shown.any():
        whole = float((of_runs / scale**2).sum() / (shown / scale**2).sum())
        whole = float(np.clip(whole, 1 / labels, 1))
    share = max(whole - own, 0.0)
    return ImageNoise(PAIRED, n_valid, covariance, share, own, own * scale**2 / n_valid)


def binomial_sd(mean: np.ndarray, n_valid: int) -> np.ndarray:
    """sqrt(p(1 - p)) of mean errors, where p has one error and one hit more: it is never 0."""
    p = (mean * n_valid + 1) / (n_valid + 2)
    spread: np.ndarray = np.sqrt(p * (1 - p))
    return spread


def _alone(wrong: np.ndarray) -> float:
    """The variance over images of what one of the runs [runs, images] does not share."""
    runs, images = wrong.shape
    if runs == 1:
        return 0.0
    left = wrong - wrong.mean(axis=0) - wrong.mean(axis=1, keepdims=True) + wrong.mean()
    return float((left**2).sum() / ((runs - 1) * (images - 1)))


def answers_table(records: dict[Cell, Record]) -> pd.DataFrame:
    """One row per finished run whose record has its answers, in the grid's order."""
    rows = [
        {
            **asdict(cell),
            "labels": labels_of(record),
            "valid_wrong": record.valid_wrong,
        }
        for cell, record in records.items()
        if record.status == "ok" and record.valid_wrong is not None
    ]
    return pd.DataFrame(rows, columns=list(ANSWERS))


def check_answers(path: Path, record: Record) -> None:
    """Raise if the answers are not one for each validation image, or give another error rate."""
    if record.status != "ok" or record.valid_wrong is None:
        return
    try:
        wrong = unpack_counts(record.valid_wrong)
    except ValueError as error:
        raise PipelineError(f"{path}: valid_wrong: {error}: delete it to run again") from None
    n_valid = record.data.n_valid
    if len(wrong) != n_valid:
        raise PipelineError(
            f"{path}: valid_wrong has {len(wrong)} images, but data.n_valid is {n_valid}: "
            "delete it to run again"
        )
    counted, said = float(wrong.mean()) / labels_of(record), record.metrics.error_rate
    if said is None or abs(counted - said) > ROUNDING:
        raise PipelineError(
            f"{path}: valid_wrong gives an error rate of {counted:.5f}, metrics.error_rate is "
            f"{said}: delete it to run again"
        )


def check_predictions(path: Path, record: Record) -> None:
    """Raise if the predictions are not there for each validation image."""
    if record.status == "ok" and record.valid_predictions is not None:
        try:
            predictions_of(record)
        except ValueError as error:
            raise PipelineError(
                f"{path}: valid_predictions: {error}: delete it to run again"
            ) from None


def predictions_of(record: Record) -> np.ndarray:
    """The predictions that a finished run has, uint8 [images, columns]: see `pack_predictions`."""
    columns = labels_of(record) if record.data.kind == "multi" else PREDICTION_COLUMNS
    n_valid = int(record.data.n_valid or 0)
    return unpack_predictions(record.valid_predictions or "", n_valid, columns)


def image_noise(runs: pd.DataFrame, models: Iterable[Any]) -> ImageNoise | None:
    """The noise of the images in one group's mean errors, in the order of `models`.

    `runs` are finished ones with ANSWERS' columns; None where one of them lacks its answers, or
    where no model ran twice: then nothing shows what a run adds to what its images do.
    """
    if runs["valid_wrong"].isna().any() or runs["model"].is_unique:
        return None
    answers = {
        model: np.stack([unpack_counts(packed) for packed in of_model])
        for model, of_model in runs.groupby("model")["valid_wrong"]
    }
    return paired([answers[model] for model in models], int(runs["labels"].iloc[0]))


def exact_share(error: float | None, images: int | None, record: Record) -> float | None:
    """`error`, of single precision, as the exact share of the wrong answers on so many images."""
    answers = (images or 0) * labels_of(record)
    if error is None or not answers:
        return error
    wrong = round(error * answers)
    return wrong / answers if abs(wrong / answers - error) < 1e-6 else error


def labels_of(record: Record) -> int:
    """How many answers a model gives on an image."""
    return (record.data.n_classes or 1) if record.data.kind == "multi" else 1


def after_one_more_run(
    now: ImageNoise, runs: np.ndarray, again: np.ndarray, n_valid: int
) -> ImageNoise:
    """The noise of `n_valid` images after one more run of the models `again`.

    `alone` is pooled, so for models that answer alike it may be more than their variance: no
    variance falls below the share that it would have if it were all of mistakes made alone.
    """
    fewer = now.n_valid / n_valid
    shared = now.alone * (1 / runs - 1 / (runs + again))
    least = (runs / (runs + again)).min() * np.linalg.eigvalsh(now.covariance)[0]
    covariance = fewer * lifted(now.covariance - np.diag(shared), least)
    return replace(now, n_valid=n_valid, covariance=covariance, alone=fewer * now.alone)


def lifted(covariance: np.ndarray, least: float) -> np.ndarray:
    """The matrix with eigenvalues of at least `least`; unchanged where it has no smaller one."""
    values, axes = np.linalg.eigh(covariance)
    if values[0] >= least:
        return covariance
    lifted: np.ndarray = (axes * np.maximum(values, least)) @ axes.T
    return (lifted + lifted.T) / 2
