"""Finished sweeps for the race's replay: errors that runs would have shown, and their costs.

Reads CSVs of others (see `benchmarks/race_replay.py`), writes nothing. Lower is better everywhere.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.estimates.belief import (
    IMAGENET_ERROR,
    OtherDataset,
    Prior,
    assumed_prior,
    features_of,
    learned_prior,
    log_odds,
    mean_elsewhere,
    standardised,
)
from pipeline.race.search import Candidates
from pipeline.study2022.printed import read_sweep
from pipeline.timm_results.published_tables import OTHER_SETS, read_accuracy

EPOCHS = (1, 2, 3, 5)  # of ten, that are PePR's cheap rungs
LAST = 10
REPEATS = 3  # of each model in 2022
RATE = 0.008  # the learning rate at which every model of 2022 ran


@dataclass(frozen=True)
class Sweep:
    """One dataset on which every model is known.

    `rungs` [models, rungs] and `runs` (per model) are error rates; `rung_seconds` [models, rungs]
    and `fit_seconds` [models, rungs + 1] as in `Candidates`; `source` is where its images are from.
    """

    name: str
    source: str
    models: tuple[str, ...]
    published: pd.DataFrame
    rungs: np.ndarray
    runs: tuple[np.ndarray, ...]
    rung_seconds: np.ndarray
    fit_seconds: np.ndarray
    n_valid: int

    @property
    def truth(self) -> np.ndarray:
        """Mean error rates [models] of all runs."""
        return np.array([each.mean() for each in self.runs])

    @property
    def whole_seconds(self) -> float:
        """The full grid: every run of every model."""
        n_runs = np.array([len(each) for each in self.runs])
        return float((n_runs * self.fit_seconds[:, 0]).sum())


def field_of(sweep: Sweep, others: Sequence[Sweep]) -> tuple[Candidates, Prior]:
    """The candidates of a race on `sweep` and its prior, fitted on `others` if there are any."""
    features = features_of(sweep.published)
    prior = assumed_prior(features.shape[1] + bool(others), sweep.rungs.shape[1], IMAGENET_ERROR)
    if others:
        fits = [_on(sweep.models, each, each.truth) for each in others]
        features = np.hstack([features, standardised(mean_elsewhere(fits)[:, None])])
        prior = learned_prior(
            [_past(sweep, features, others, i) for i in range(len(others))], prior
        )
    costs = sweep.rung_seconds, sweep.fit_seconds
    return Candidates(sweep.models, features, *costs), prior


def _past(sweep: Sweep, features: np.ndarray, others: Sequence[Sweep], i: int) -> OtherDataset:
    """Another dataset as the past, its models judged by what is known from the others again."""
    rest = [each for j, each in enumerate(others) if j != i and each.source != others[i].source]
    seen = features.copy()
    if rest:
        fits = [_on(sweep.models, each, each.truth) for each in rest]
        seen[:, -1] = standardised(mean_elsewhere(fits)[:, None])[:, 0]
    rungs = [_on(sweep.models, others[i], column) for column in others[i].rungs.T]
    stacked = np.stack(rungs, axis=1) if rungs else np.empty((len(sweep.models), 0))
    return OtherDataset(seen, stacked, _on(sweep.models, others[i], others[i].truth))


def _on(models: Sequence[str], sweep: Sweep, errors: np.ndarray) -> np.ndarray:
    """Log-odds of a sweep's errors in the order of `models`, NaN for those it lacks."""
    known = dict(zip(sweep.models, log_odds(errors), strict=True))
    return np.array([known.get(model, np.nan) for model in models])


def pepr(path: Path, accuracy: pd.DataFrame, seconds: bool) -> list[Sweep]:
    """PePR's eight settings; costs in seconds, or in epochs. Their one run is the truth."""
    table = pd.read_csv(path)
    found = []
    for name, rows in table.groupby("dataset", sort=True):
        rows = rows.sort_values("model")
        pace = rows["last_epoch_seconds"].to_numpy(float) if seconds else np.ones(len(rows))
        curves = 1 - rows[[f"accuracy_epoch_{n}" for n in range(1, LAST + 1)]].to_numpy(float)
        steps = np.diff([0, *EPOCHS])
        left = LAST - np.array([0, *EPOCHS])
        published = pd.DataFrame({"model": rows["model"], "params_m": rows["params"] / 1e6})
        published = published.merge(accuracy.drop(columns="params_m"), "left", on="model")
        found.append(
            Sweep(
                name=str(name),
                source=str(name).partition("_")[0],
                models=tuple(rows["model"]),
                published=published,
                rungs=curves[:, np.array(EPOCHS) - 1],
                runs=tuple(curves[:, -1:]),
                rung_seconds=pace[:, None] * steps,
                fit_seconds=pace[:, None] * left,
                n_valid=1000,
            )
        )
    return found


def study2022(path: Path, accuracy: pd.DataFrame) -> list[Sweep]:
    """Pets and Planet of 2022: models with three finished runs at the one rate that all had."""
    table = read_sweep(path)
    table = table[table["finished"] & (table["learning_rate"] == RATE) & table["fit_time"].notna()]
    found = []
    for name, n_valid in (("pets", 1478), ("planet", 200)):
        rows = table[table["dataset"] == name]
        groups = {str(name): each for name, each in rows.groupby("model") if len(each) >= REPEATS}
        published = pd.DataFrame({"model": list(groups)}).merge(accuracy, "left", on="model")
        fit = np.array([each["fit_time"].median() for each in groups.values()])
        found.append(
            Sweep(
                name=name,
                source=name,
                models=tuple(groups),
                published=published,
                rungs=np.empty((len(groups), 0)),
                runs=tuple(
                    each["error_rate"].to_numpy(float)[:REPEATS] for each in groups.values()
                ),
                rung_seconds=np.empty((len(groups), 0)),
                fit_seconds=fit[:, None],
                n_valid=n_valid,
            )
        )
    return found


def transfer(path: Path, accuracy: pd.DataFrame) -> list[Sweep]:
    """Eleven CNNs on eleven datasets; those that timm has not are known by their size alone."""
    table = pd.read_csv(path)
    table["model"] = table["timm"].fillna(table["name"])
    found = []
    for name, rows in table.groupby("dataset", sort=True):
        rows = rows.sort_values("model")
        published = rows[["model"]].merge(accuracy, "left", on="model")
        errors = 1 - rows["accuracy"].to_numpy(float) / 100
        found.append(
            Sweep(
                name=str(name),
                source=str(name),
                models=tuple(rows["model"]),
                published=published,
                rungs=np.empty((len(rows), 0)),
                runs=tuple(errors[:, None]),
                rung_seconds=np.empty((len(rows), 0)),
                fit_seconds=np.ones((len(rows), 1)),
                n_valid=1000,
            )
        )
    return found


def accuracies(folder: Path) -> pd.DataFrame:
    """timm's accuracy tables, one row per model at its smallest image size."""
    names = {"imagenet_top1": "results-imagenet.csv"}
    names |= {f"imagenet_{name}_top1": file for name, file in OTHER_SETS.items()}
    found: pd.DataFrame | None = None
    for column, file in names.items():
        table = read_accuracy(folder / file).sort_values(["model", "img_size"])
        table = table.drop_duplicates("model").rename(columns={"top1": column})
        keep = ["model", column, *(["params_m"] if found is None else [])]
        found = table[keep] if found is None else found.merge(table[keep], "left", on="model")
    assert found is not None
    return found


def by_architecture(accuracy: pd.DataFrame) -> pd.DataFrame:
    """The same by architecture, of its most accurate weights: PePR's models have no tag."""
    named = accuracy.assign(arch=accuracy["model"].str.partition(".")[0])
    best = named.sort_values("imagenet_top1", ascending=False).drop_duplicates("arch")
    return best.drop(columns="model").rename(columns={"arch": "model"})
