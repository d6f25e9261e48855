"""What a recipe changes, in pairs: each model under two recipes, seed by seed, then over models.

The first recipe of params.yaml is what the others are held against. A model's effect is its mean
difference over the seeds that finished under both; a family's is the mean over its models with a
t interval between models, because other models of the family are what one wants to know about. Two
models are the least for an interval. Fit times are compared as ratios, of runs whose times count.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.tables.intervals import CONFIDENCE
from pipeline.tables.results import RECIPES
from pipeline.tables.study import Study

EVERY_FAMILY = "all"  # no family of timm's names is called so


def recipe_effects(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, recipe but the first, and family, `all` of them first."""
    ok = runs[runs["status"] == "ok"].copy()
    ok["timed"] = ok["fit_seconds"].where(ok["not_timed"].isna())
    first = ok[ok["recipe"] == study.recipes[0]]
    pairs = ok.merge(
        first[["dataset", "model", "seed", "error_rate", "timed"]],
        on=["dataset", "model", "seed"],
        suffixes=("", "_first"),
        validate="many_to_one",
    )
    pairs = pairs[pairs["recipe"] != study.recipes[0]]
    pairs["difference"] = pairs["error_rate"] - pairs["error_rate_first"]
    pairs["log_ratio"] = np.log(pairs["timed"] / pairs["timed_first"])
    models = pairs.groupby(["dataset", "recipe", "family", "model"], sort=False).agg(
        difference=("difference", "mean"), log_ratio=("log_ratio", "mean"), pairs=("seed", "count")
    )
    rows = list(_rows(study, models.reset_index()))
    return pd.DataFrame(rows, columns=list(RECIPES))


def _rows(study: Study, models: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for dataset in study.datasets:
        for recipe in study.recipes[1:]:
            part = models[(models["dataset"] == dataset) & (models["recipe"] == recipe)]
            groups = [(EVERY_FAMILY, part), *part.groupby("family")] if len(part) else []
            for family, few in groups:
                error, ratio = _mean(few["difference"]), np.exp(_mean(few["log_ratio"].dropna()))
                yield {
                    "dataset": dataset,
                    "recipe": recipe,
                    "against": study.recipes[0],
                    "family": family,
                    "n_models": len(few),
                    "n_pairs": int(few["pairs"].sum()),
                    **dict(zip(_ERROR, error, strict=True)),
                    **dict(zip(_RATIO, ratio, strict=True)),
                }


_ERROR = ("error_difference", "error_difference_low", "error_difference_high")
_RATIO = ("fit_time_ratio", "fit_time_ratio_low", "fit_time_ratio_high")


def _mean(values: pd.Series) -> np.ndarray:
    """The mean and the ends of its 95 % t interval [3]; NaN where there are too few values."""
    mean, half = values.mean(), np.nan
    if len(values) > 1:
        width = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
        half = width * values.std() / np.sqrt(len(values))
    return np.array([mean, mean - half, mean + half], dtype=float)
