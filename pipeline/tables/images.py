"""What the choice of validation images does to a group's mean errors, and to their differences.

Two models see the same images and mostly err on the same ones, so their difference is known better
than their errors. Where every record says which images its run erred on, the covariance of the
mean errors is that of the answers (`paired`): the variance of a difference is the one of the
differences image by image. Several labels need no assumption about how the labels of an image
depend on each other, because an image's wrong answers are counted together.

Where a record lacks the answers, models count as independent of each other, and an image of
several labels as one draw (`independent`): rather too much noise than too little.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

PAIRED, INDEPENDENT = "paired", "independent"


@dataclass(frozen=True)
class ImageNoise:
    """The noise of mean errors [models] that `n_valid` images leave.

    `covariance` [models, models] is that of the means over the runs there are. A run's variance
    over images has two parts, pooled over the models as shares of p(1 - p): `share`, of mistakes
    that all runs of a model make, and `own`, of those that it makes alone. `alone` [models] is what
    the latter adds to the variance of one run's error.
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
    """The bound where the answers are not known: binomial, every model on images of its own."""
    covariance = np.diag(scale_of(mean, n_valid) ** 2 / n_valid)
    return ImageNoise(INDEPENDENT, n_valid, covariance, 1.0, 0.0, np.zeros(len(mean)))


def paired(answers: Sequence[np.ndarray], labels: int) -> ImageNoise:
    """From each model's wrong answers [runs, images], of `labels` to an image.

    As if every model had made one more mistake, on an image of its own: models that answered all
    alike are not told apart with certainty.
    """
    n_valid = answers[0].shape[1]
    shares = [wrong.astype("float32") / labels for wrong in answers]
    of_images = np.stack([wrong.mean(axis=0) for wrong in shares])
    scale = scale_of(of_images.mean(axis=1, dtype=float), n_valid)
    covariance = np.atleast_2d(np.cov(of_images, dtype=float)) / n_valid
    covariance[np.diag_indices_from(covariance)] += (1 / labels / n_valid) ** 2
    repeats = np.array([len(wrong) - 1 for wrong in shares])
    own = 0.0
    if repeats.any():
        alone = np.array([_alone(wrong) for wrong in shares])
        own = float((repeats * alone / scale**2).sum() / repeats.sum())
    of_runs = np.array([wrong.var(axis=1, ddof=1, dtype=float).mean() for wrong in shares])
    whole = float(np.clip((of_runs / scale**2).mean(), 1 / labels, 1))
    share = max(whole - own, 0.0)
    return ImageNoise(PAIRED, n_valid, covariance, share, own, own * scale**2 / n_valid)


def scale_of(mean: np.ndarray, n_valid: int) -> np.ndarray:
    """sqrt(p(1 - p)) of mean errors, p with one error and one hit more, so that it is never 0."""
    p = (mean * n_valid + 1) / (n_valid + 2)
    spread: np.ndarray = np.sqrt(p * (1 - p))
    return spread


def _alone(wrong: np.ndarray) -> float:
    """The variance over images of what one run [runs, images] has that the others do not."""
    runs, images = wrong.shape
    if runs == 1:
        return 0.0
    left = wrong - wrong.mean(axis=0) - wrong.mean(axis=1, keepdims=True) + wrong.mean()
    return float((left**2).sum() / ((runs - 1) * (images - 1)))
