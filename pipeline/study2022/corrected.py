"""The 2022 study's runs compared: models, survivors of the top 15, rank correlations.

A model's numbers are means over whole runs, and models are ordered by mean score: at one learning
rate, or at each model's own, which its other runs choose (the lower of two means would be too low).
Uncertainty:
- `low` and `high`: 95 % for another three runs on the same split. The noise of a run is pooled
  over all models of a dataset and learning rate: an error rate varies by so many points whatever
  the model, a fit time by so many percent; `score` combines both. The study's runs shared the split
  and, because of it, the initial head; they differ in shuffling and GPU arithmetic, so this is the
  least that repeating would show.
- `runs_se`: the standard error of the mean from that noise; `images_se`: from the choice of
  validation images, binomial on Pets. The 17 tags of a Planet image are neither one draw nor 17.
- `tied` are the models that may be the best on these images with 95 % confidence, by the first
  kind of noise: those whose `rank_low` is 1. `tied_with_images` may be the best on other images: by
  both kinds, as if models erred on independent images. They share their images, so it holds too
  many models rather than too few.
Fit times come from several machines that no column names: no interval covers that.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.statistics.intervals import (
    PooledNoise,
    may_be_best,
    pooled_noise,
    rank_correlation,
    rank_intervals,
)
from pipeline.study2022.printed import LEARNING_RATES, OVERHEAD_SECONDS, published

IMAGES = {"pets": 1478, "planet": 200}  # validation images: a fifth of 7,390 and of 1,000
IMAGE_VARIANCE = {"planet": 0.1}  # of the binomial one; of nine fits of our own 0.07 to 0.09
TOP = 15  # models that the study shows
INTERVALS = (
    "error_rate_low",
    "error_rate_high",
    "error_rate_runs_se",
    "error_rate_images_se",
    "score_low",
    "score_high",
    "rank_low",
    "rank_high",
    "tied",
    "tied_with_images",
)
CORRELATIONS = (
    "dataset",
    "error_rate",
    "accuracy",
    "n",
    "spearman",
    "spearman_low",
    "spearman_high",
)


@dataclass(frozen=True)
class RunNoise:
    """How runs of one model vary, pooled over models: points of error, share of the fit time."""

    error: PooledNoise
    time: PooledNoise

    def to_json(self) -> dict[str, float | int]:
        return {
            "error_sd": self.error.sd,
            "fit_time_cv": self.time.sd,
            "degrees_of_freedom": self.error.freedom,
        }

    def score_se(self, models: pd.DataFrame) -> pd.Series:
        """The standard error of each mean score: error * (time + overhead), to first order."""
        by_error = (models["fit_time_mean"] + OVERHEAD_SECONDS) * self.error.sd
        by_time = models["error_rate_mean"] * models["fit_time_mean"] * self.time.sd
        return ((by_error**2 + by_time**2) / models["n"]) ** 0.5


def corrected(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, learning rate and model, by mean score; see the module's docstring."""
    finished = runs[runs["finished"]]
    datasets = finished.groupby("dataset", sort=False)
    tables = [
        _compared(part[part["learning_rate"] == rate], str(dataset), rate)
        for dataset, part in datasets
        for rate in sorted(set(part["learning_rate"]), reverse=True)
    ]
    return _with_published(pd.concat(tables, ignore_index=True), runs)


def at_own_rate(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset and model at its own rate: in place of each run the one counts at the
    rate with the lower mean error of the other runs, so that no run helps to choose itself.

    `learning_rate` is the better one by all runs, `n_chosen` how many runs chose it. A rate counts
    if no other has more finished runs of the model. All runs are on the same images: what those
    favour by chance is not undone.
    """
    finished = runs[runs["finished"]]
    chosen: list[int] = []
    better: dict[tuple[str, str], float] = {}
    for (dataset, model), part in finished.groupby(["dataset", "model_name"], sort=False):
        n = part.groupby("learning_rate")["error_rate"].transform("size")
        by_rate = part[n == n.max()].groupby("learning_rate")["error_rate"]
        errors = {
            rate: by_rate.get_group(rate) for rate in LEARNING_RATES if rate in by_rate.groups
        }
        better[str(dataset), str(model)] = min(errors, key=lambda rate: errors[rate].mean())
        for run in range(n.max()):
            others = {rate: each.sum() - each.iloc[run] for rate, each in errors.items()}
            chosen.append(errors[min(others, key=lambda rate: others[rate])].index[run])
    at_chosen = finished.loc[chosen]
    tables = [
        _compared(part, str(dataset), np.nan)
        for dataset, part in at_chosen.groupby("dataset", sort=False)
    ]
    table = pd.concat(tables, ignore_index=True)
    rates = [better[key] for key in zip(table["dataset"], table["model_name"], strict=True)]
    table["learning_rate"] = rates
    match = at_chosen.merge(table[["dataset", "model_name", "learning_rate"]])
    counts = match.groupby(["dataset", "model_name"]).size().rename("n_chosen")
    table = table.join(counts, on=["dataset", "model_name"])
    return _with_published(table.fillna({"n_chosen": 0}).astype({"n_chosen": int}), runs)


def _compared(finished: pd.DataFrame, dataset: str, learning_rate: float) -> pd.DataFrame:
    """The models of one dataset and learning rate."""
    models = finished.groupby(["model_name", "family", "model"], dropna=False)
    table = models.agg(
        n=("score", "size"),
        error_rate_mean=("error_rate", "mean"),
        error_rate_median=("error_rate", "median"),
        error_rate_sd=("error_rate", "std"),
        fit_time_mean=("fit_time", "mean"),
        fit_time_median=("fit_time", "median"),
        gpu_mem_max=("GPU_mem", "max"),
        score_mean=("score", "mean"),
        score_median=("score", "median"),
    ).reset_index()
    table = table.sort_values("score_mean", kind="stable", ignore_index=True)
    table.insert(0, "dataset", dataset)
    table.insert(1, "learning_rate", learning_rate)
    table["rank"] = np.arange(1, len(table) + 1)
    noise = run_noise(finished)
    intervals = {} if noise is None else _intervals(table, noise)
    return table.assign(**{**dict.fromkeys(INTERVALS), **intervals})


def _intervals(table: pd.DataFrame, noise: RunNoise) -> dict[str, Any]:
    """The columns INTERVALS of a dataset's models."""
    error, freedom = table["error_rate_mean"], noise.error.freedom
    error_se, score_se = noise.error.sd / np.sqrt(table["n"]), noise.score_se(table)
    dataset = table["dataset"].iloc[0]
    share = IMAGE_VARIANCE.get(dataset, 1.0)
    images_se = np.sqrt(share * error * (1 - error) / IMAGES.get(dataset, np.nan))
    score_images_se = (table["fit_time_mean"] + OVERHEAD_SECONDS) * images_se
    mean, se = table["score_mean"].to_numpy(), score_se.to_numpy()
    of_runs, both = np.diag(se**2), np.diag(se**2 + score_images_se.to_numpy() ** 2)
    low, high = rank_intervals(mean, of_runs, freedom)
    ties = may_be_best(mean, both, freedom) if np.isfinite(both).all() else None
    return {
        "error_rate_low": error - noise.error.width * error_se,
        "error_rate_high": error + noise.error.width * error_se,
        "error_rate_runs_se": error_se,
        "error_rate_images_se": images_se,
        "score_low": mean - noise.error.width * se,
        "score_high": mean + noise.error.width * se,
        "rank_low": low,
        "rank_high": high,
        "tied": low == 1,
        "tied_with_images": ties,
    }


def run_noise(finished: pd.DataFrame) -> RunNoise | None:
    """The noise of one dataset's runs at one learning rate; None without a repeated model."""
    error = pooled_noise(finished["error_rate"], finished["model_name"])
    relative = finished["fit_time"] / finished.groupby("model_name")["fit_time"].transform("mean")
    time = pooled_noise(relative, finished["model_name"])
    return None if error is None or time is None else RunNoise(error, time)


def _with_published(table: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The table with what the study published of each model, and the rate of the run whose error
    that was.
    """
    then = published(runs).rename(
        columns={"rank": "published_rank", "score": "published_score", "mixed": "published_mixed"}
    )
    then["published_rank"] += 1
    finished = runs[runs["finished"]]
    lowest = finished.loc[finished.groupby(["dataset", "model_name"])["error_rate"].idxmin()]
    rates = lowest.set_index(["dataset", "model_name"])["learning_rate"]
    then = then.join(rates.rename("published_learning_rate"), on=["dataset", "model_name"])
    columns = ["published_rank", "published_score", "published_mixed", "published_learning_rate"]
    return table.merge(
        then[["dataset", "model_name", *columns]],
        on=["dataset", "model_name"],
        how="left",
        validate="many_to_one",
    )


def survivors(runs: pd.DataFrame) -> pd.DataFrame:
    """How many of the published top 15 stay there by other statistics than the minima.

    `tried` is how many of the 15 have such runs at all, `left` those of them that fall out. Over
    all runs the numbers of most models mix two learning rates.
    """
    finished = runs[runs["finished"]]
    settings = [("all runs, learning rates mixed", finished)]
    settings += [
        (f"learning rate {rate}", finished[finished["learning_rate"] == rate])
        for rate in LEARNING_RATES
    ]
    then = published(runs)
    rows = []
    for dataset, models in then.groupby("dataset"):
        top = set(models["model_name"].head(TOP))
        for setting, part in settings:
            part = part[part["dataset"] == dataset]
            for statistic, scores in _scores(part).items():
                now = set(scores.sort_values(kind="stable").index[:TOP])
                rows.append(
                    {
                        "dataset": dataset,
                        "runs": setting,
                        "score": statistic,
                        "models": len(scores),
                        "tried": len(top & set(scores.index)),
                        "survive": len(top & now),
                        "left": " ".join(sorted((top & set(scores.index)) - now)),
                    }
                )
    return pd.DataFrame(rows)


def _scores(finished: pd.DataFrame) -> dict[str, pd.Series]:
    by_model = finished.groupby("model_name")["score"]
    return {"mean": by_model.mean(), "median": by_model.median(), "best run": by_model.min()}


def correlations(runs: pd.DataFrame, accuracies: dict[str, pd.Series]) -> pd.DataFrame:
    """Spearman's rho of ImageNet top-1 and 1 - error rate, by accuracy table and by statistic.

    `accuracies` maps a table's title to top-1 by the study's model name. Models whose weights
    have no ImageNet-1k classifier have no top-1 (six of 86). Intervals are over the models.
    """
    rows = []
    for dataset, part in runs[runs["finished"]].groupby("dataset"):
        for outcome, errors in _errors(part).items():
            for title, top1 in accuracies.items():
                both = pd.DataFrame({"top1": top1, "error": errors}).dropna().astype(float)
                rho = rank_correlation(both["top1"].to_numpy(), 1 - both["error"].to_numpy())
                rows.append(
                    {
                        "dataset": dataset,
                        "error_rate": outcome,
                        "accuracy": title,
                        "n": len(both),
                        **{key: rho[key] for key in ("spearman", "spearman_low", "spearman_high")},
                    }
                )
    return pd.DataFrame(rows, columns=list(CORRELATIONS))


def _errors(finished: pd.DataFrame) -> dict[str, pd.Series]:
    by_model = finished.groupby("model_name")["error_rate"]
    found = {
        "minimum of all runs": by_model.min(),
        "median of all runs": by_model.median(),
    }
    for rate in LEARNING_RATES:
        at_rate = finished[finished["learning_rate"] == rate]
        found[f"mean at learning rate {rate}"] = at_rate.groupby("model_name")["error_rate"].mean()
    return found
