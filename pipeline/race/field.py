"""The field of a race: its candidates, their published numbers, and what is known of them."""

import numpy as np
import pandas as pd

from pipeline.race.belief import log_odds, standardised
from pipeline.timm_results.families import family, pretraining
from pipeline.timm_results.imagenet import ACCURACIES, pretraining_scale

TOP1 = 0  # the column of ImageNet's own error among the features
OF_FAMILY = 0.7  # how far a family may differ from others, beside what other numbers may


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
    return np.hstack([standardised(numbers), OF_FAMILY * families])


def _error(published: pd.DataFrame, name: str) -> np.ndarray:
    column = published[name] if name in published else pd.Series(np.nan, published.index)
    return log_odds(1 - column.to_numpy(float) / 100)


def _speed(published: pd.DataFrame) -> np.ndarray:
    """Log samples per second, in training or else in inference, each beside its own mean."""
    found = np.full(len(published), np.nan)
    for name in ("train_samples_per_second", "infer_samples_per_second"):
        if name in published:
            value = np.log(published[name].to_numpy(float))
            value = value - (np.nanmean(value) if np.isfinite(value).any() else 0)
            found = np.where(np.isfinite(found), found, value)
    return found
