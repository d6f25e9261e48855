"""The field of a race: candidates, what is published of them, prices, budget and the prior.

Reads params.yaml's study, data/imagenet.csv and records; writes nothing.
"""

import fnmatch
import re
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.files import read_yaml
from pipeline.estimates.belief import Prior, fitted_prior
from pipeline.estimates.planned import (
    DISTURBED,
    SECONDS_PER_HOUR,
    Estimate,
    estimator_for,
    median_watts,
    prepared,
    readable_records,
    record_at,
    this_device,
)
from pipeline.figures.certificate import FIT, PROBE, Certificate
from pipeline.finetune.recipe import changed_settings, written_recipe
from pipeline.finetune.weights import weights_config
from pipeline.names.resolve import weights
from pipeline.prefetch.__main__ import fixed_sizes, surely_missing
from pipeline.race.search import RUN, Action, Budget, Candidates, Rules
from pipeline.recommend.costs import with_memory
from pipeline.recommend.limits import Limits, seconds_of
from pipeline.records import Record
from pipeline.study.params import RUNS, Cell, Study, raced_name, threads_of
from pipeline.timm_results.families import for_users
from pipeline.timm_results.imagenet import completed, published, read_imagenet

BASELINES = Path("data/baselines")
FROZEN = "frozen"  # the recipe that records of probes name
IMAGENET = Path("data/imagenet.csv")
PROBE_SHARE = 0.2  # of a fit's time, where no record tells: a fifth to a tenth was measured
ASSUMED_SECONDS = 60.0  # of the median candidate, where no fit has been timed on this device


@dataclass(frozen=True)
class Field:
    """`left_out` has the models that cannot race, with the reasons, `not_judged` the limits that
    cannot be judged for some models. `priced` and `told` say what prices and the prior rest on.
    `timed`: is the time of any candidate known or estimated?
    """

    candidates: Candidates
    prior: Prior
    left_out: dict[str, str]
    not_judged: list[str]
    priced: str
    timed: bool
    told: str

    def price(self, model: str, kind: str) -> float | None:
        """Seconds of a run; None where nothing was timed here or the model is no candidate."""
        names, costs = self.candidates.names, self.candidates
        if not self.timed or model not in names:
            return None
        prices = costs.rung_seconds if kind == PROBE else costs.fit_seconds
        return float(prices[names.index(model), 0])


def runs_at_a_time(root: Path, jobs: int | None) -> int:
    """How many runs the sweep makes at a time, by default as many as it chooses."""
    from pipeline.sweep.jobs import Options

    return Options(jobs=jobs).runs_at_a_time(threads_of(read_yaml(root / "params.yaml")))


def models_asked(patterns: Sequence[str], study: Study, imagenet: pd.DataFrame) -> list[str]:
    """The weights that the patterns stand for; without any pattern, the study's.

    A pattern selects among the models of imagenet.csv, or, where it matches none of these, among
    all pretrained weights of timm: DINOv2, CLIP and others have no published ImageNet accuracy.
    """
    if not patterns:
        if not study.models:
            raise PipelineError(
                "no candidates: name them, such as 'convnext*', or put models into grid.models"
            )
        return list(study.models)
    known = for_users(imagenet["model"].drop_duplicates())
    found: list[str] = []
    for pattern in patterns:
        matching = fnmatch.filter(known, pattern)
        matching = matching or for_users(fnmatch.filter(weights(), pattern), pattern)
        if not matching:
            said = near_matches(pattern.replace("*", ""), weights())
            raise PipelineError(f"{pattern}: none of timm's pretrained models: {said}")
        found += matching
    return list(dict.fromkeys(found))


def field_of(root: Path, study: Study, dataset: str, models: list[str], limits: Limits) -> Field:
    """The candidates among `models` within the limits asked for, with prices and prior."""
    path = root / IMAGENET
    imagenet = read_imagenet(path)
    table = completed(published(replace(study, models=tuple(models)), imagenet, path), weights)
    left_out, not_judged = _left_out(study, table, imagenet, limits)
    table = table[~table["model"].isin(left_out)].reset_index(drop=True)
    refuse_all(models, left_out)
    records = readable_records(root / RUNS)
    seconds, priced, timed = _prices(root, study, dataset, table)
    probe = seconds * _probe_share(root, records)
    probes = readable_records(root / BASELINES)
    past = _elsewhere(root, study, dataset, records), _elsewhere(root, study, dataset, probes)
    features, prior, told = fitted_prior(table, *past)
    costs = probe[:, None], np.stack([seconds, seconds], axis=1)
    candidates = Candidates(tuple(table["model"]), features, *costs)
    return Field(candidates, prior, left_out, not_judged, priced, timed, told)


def refuse_all(models: Sequence[str], left_out: Mapping[str, str]) -> None:
    """Raise where none of these models can race."""
    if all(model in left_out for model in models):
        counts = Counter(left_out[model] for model in models)
        reasons = "; ".join(f"{why} ({n} of {len(models)})" for why, n in counts.most_common())
        limited = any(why.startswith("--") for why in counts)
        told = "no candidate within the limits" if limited else "none of the candidates can run"
        raise PipelineError(f"{told}: {reasons}")


def _left_out(
    study: Study, table: pd.DataFrame, imagenet: pd.DataFrame, limits: Limits
) -> tuple[dict[str, str], list[str]]:
    """The models that cannot race, with reasons: no weights here, another input size, or a limit.
    And a sentence for each limit that is not judged for some models, which stay: a fit that fails
    is recorded and costs little.
    """
    found: dict[str, str] = {}
    others = "`weights: hub`" + " or `weights: folder`" * (study.weights == "wheel")
    reason = f"weights={study.weights} lacks the weights, but {others} in params.yaml may have them"
    if study.weights == "hub":
        reason = "not in the hub's cache, and HF_HUB_OFFLINE is set"
    missing = surely_missing(table["model"], weights_config(study.path))
    found |= dict.fromkeys(missing, reason)
    for model, only in fixed_sizes(table["model"], imagenet).items():
        if only != (size := study.image_size):
            found.setdefault(model, f"an input fixed at another size than {size} pixels")
    rows = table.assign(samples_per_second=table["train_samples_per_second"])
    if limits.max_memory is not None:
        here = this_device(threads_of(read_yaml(study.path)))
        rows = with_memory(study, imagenet, rows, study.image_size, here)
    not_judged = []
    for limit in [*limits.of_any, *limits.of_published(), *limits.of_memory(study.image_size)]:
        for model in rows.loc[~limit.keeps(rows), "model"]:
            found.setdefault(model, limit.option)
        if unknown := int((limit.unknown(rows) & ~rows["model"].isin(found)).sum()):
            of = f"{unknown} of {len(rows)} candidate{'s' * (len(rows) != 1)}"
            not_judged.append(f"{limit.option}: not known, and so kept: {of}")
    return found, not_judged


def _prices(
    root: Path, study: Study, dataset: str, table: pd.DataFrame
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
    whole, threads = replace(study, models=tuple(table["model"])), threads_of(read_yaml(study.path))
    estimator = estimator_for(root, whole, root / IMAGENET, threads)
    found = [
        estimator.estimate(Cell(dataset, model, study.recipes[0], 0)) for model in table["model"]
    ]
    seconds = np.array([each.seconds if isinstance(each, Estimate) else np.nan for each in found])
    there = np.isfinite(seconds)
    if not there.any():
        prices = ASSUMED_SECONDS * relative / np.median(relative)
        return prices, f"assumed, {ASSUMED_SECONDS:.0f} s for the median model: {found[0]}", False
    known = dict.fromkeys(each.source for each in found if isinstance(each, Estimate))
    basis = f"estimated from {', '.join(known)}"
    if estimator.disturbed:
        basis += f"; {DISTURBED}"
    scale = float(np.median(seconds[there] / relative[there]))
    return np.where(there, seconds, scale * relative), basis, True


def _probe_share(root: Path, fits: Sequence[Record]) -> float:
    """The time of a probe over that of a fit: the median of models that have both."""
    shares, seconds = [], {(each.dataset, each.model): each.cost.fit_seconds for each in fits}
    for probe in readable_records(root / BASELINES):
        fit = seconds.get((probe.dataset, probe.model))
        if fit and probe.cost.fit_seconds:
            shares.append(probe.cost.fit_seconds / fit)
    return float(np.median(shares)) if shares else PROBE_SHARE


def _elsewhere(
    root: Path, study: Study, dataset: str, records: Sequence[Record]
) -> dict[str, dict[str, float]]:
    """Mean error rates by other dataset and model, at this image size and, of fits, with the
    study's first recipe. Datasets with another kind of labels do not count.
    """
    here = prepared(root, dataset)
    kind = None if here is None else here.kind
    found: dict[str, dict[str, list[float]]] = {}
    for each in records:
        alike = each.recipe in (FROZEN, study.recipes[0]) and each.image_size == study.image_size
        alike &= each.dataset != dataset and (kind is None or each.data.kind in (None, kind))
        if alike and each.status == "ok" and each.metrics.error_rate is not None:
            of_dataset = found.setdefault(each.dataset, {})
            of_dataset.setdefault(each.model, []).append(each.metrics.error_rate)
    return {
        name: {model: float(np.mean(errors)) for model, errors in models.items()}
        for name, models in found.items()
    }


def not_counted(root: Path, study: Study, dataset: str) -> dict[Path, str]:
    """The study's records of the dataset that do not count in its race, and why."""
    paths = [cell.path(RUNS) for cell in study.cells() if cell.dataset == dataset]
    paths += [probe_path(data, model) for data, model in study.probed if data == dataset]
    recipe = written_recipe(root / f"conf/recipe/{study.recipes[0]}.yaml") or {}
    here = prepared(root, dataset)
    known = None if here is None else here.fingerprint
    found: dict[Path, str] = {}
    for path in paths:
        if (root / path).is_file():
            why = _why_not(record_at(root / path), study, recipe, known)
            found |= {path: why} if why else {}
    return found


def records_of(root: Path, paths: Iterable[Path]) -> list[Record]:
    """The records that are there, in the order in which they were made."""
    found = [record_at(root / path) for path in paths if (root / path).is_file()]
    return sorted(found, key=lambda each: (each.started_at or "", each.model, each.seed))


def probe_path(dataset: str, model: str) -> Path:
    return BASELINES / dataset / f"{model}.json"


def _why_not(
    record: Record, study: Study, recipe: dict[str, Any], fingerprint: str | None
) -> str | None:
    """Why a record does not count in the study as it is now, whose recipe says `recipe`. What the
    record does not say counts as the same.
    """
    if record.recipe not in (FROZEN, study.recipes[0]):
        return "of other recipes"
    if record.image_size not in (None, study.image_size):
        return f"at {record.image_size} pixels"
    if fingerprint is not None and record.data.fingerprint not in (None, fingerprint):
        return "on other images"
    had = record.config.get("recipe")
    if record.recipe == FROZEN or not isinstance(had, dict) or not recipe:
        return None
    changed = changed_settings(had, recipe)
    return f"at another {', '.join(changed)} of {record.recipe}" if changed else None


def cells_of(
    study: Study, dataset: str, names: Sequence[str], actions: Iterable[Action]
) -> list[tuple[str, dict[str, Any]]]:
    """What `race` of params.yaml is to hold of these runs: probes, or fits with the next seed."""
    found: list[tuple[str, dict[str, Any]]] = []
    known = list(study.raced)
    for each in actions:
        model = names[each.model]
        if each.rung != RUN:
            found.append(("probes", {"dataset": dataset, "model": model}))
            continue
        cell = Cell(dataset, model, study.recipes[0], 0)
        ran = {other.seed for other in known if replace(other, seed=0) == cell}
        seeds = chain(study.seeds, count(max(study.seeds) + 1))
        known.append(replace(cell, seed=next(seed for seed in seeds if seed not in ran)))
        found.append(("fits", asdict(known[-1])))
    return found


@dataclass(frozen=True)
class Decided:
    """A probe or fit (`kind`) that a race has decided on; its stage makes the record at `path`."""

    stage: str
    path: Path
    model: str
    kind: str


def decided(study: Study, dataset: str, fits: Iterable[Cell]) -> list[Decided]:
    """What a race has decided on: its probes in params.yaml, then these fits of it."""
    models = [model for data, model in study.probed if data == dataset]
    names = {model: raced_name({"dataset": dataset, "model": model}) for model in models}
    return [
        *(
            Decided(f"baseline_raced@{name}", probe_path(dataset, model), model, PROBE)
            for model, name in names.items()
        ),
        *(
            Decided(f"finetune_raced@{each.name}", each.path(RUNS), each.model, FIT)
            for each in fits
        ),
    ]


def not_counted_message(dataset: str, reasons: Iterable[str]) -> str:
    """`tex: 6 runs at 64 pixels do not count`: how many runs do not, for each reason."""
    counts = Counter(reasons)
    each = [f"{n} run{'' if n == 1 else 's'} {why}" for why, n in counts.items()]
    return f"{dataset}: {' and '.join(each)} do{'es' * (counts.total() == 1)} not count"


def tables_differ(root: Path, certificate: Certificate) -> bool:
    """Would `dvc repro` change the tables? They have other fits than the race has seen, or anything
    else has changed that they are made of, such as its probes.
    """
    from pipeline.sweep.session import would_run

    return not certificate.is_of(root / "results") or bool(would_run(root, ["aggregate"]))


def command_of(candidates: Sequence[str], dataset: str, rules: Rules, limits: Limits) -> str:
    """The race's command without its budget, jobs and defaults."""
    options = {name: getattr(limits, name) for name in ("licence", "min_throughput", "max_memory")}
    sure = {"confidence": rules.confidence, "regret": 100 * rules.regret}
    words = ["python", "-m", "pipeline.race", *candidates, "--dataset", dataset]
    for name, value in (options | (sure if rules != Rules() else {})).items():
        given = f"{value:g}" if isinstance(value, float) else str(value)
        words += [] if value is None else [f"--{name.replace('_', '-')}", given]
    return shlex.join(words)


def rules_of(confidence: float, regret: float) -> Rules:
    """What the options of the command say of when a race may stop."""
    if not 0.5 <= confidence < 1:
        raise PipelineError(f"--confidence {confidence:g}: give a number from 0.5 to below 1")
    if not 0 <= regret < 100:
        raise PipelineError(f"--regret {regret:g}: give points of error, from 0 on")
    return Rules(confidence=confidence, regret=regret / 100)


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
        time = SECONDS_PER_HOUR * max_cost / price_per_hour
        return Budget(time, told, price_per_hour=price_per_hour)
    if max_energy is not None:
        watt_hours, watts = _watt_hours(max_energy), _watts(root)
        told = f"--max-energy {max_energy} at {watts:.0f} W a run"
        seconds = watt_hours / watts * SECONDS_PER_HOUR
        return Budget(seconds, told, of_each_job=False, watts=watts)
    return Budget(float("inf"), "no budget")


def _watt_hours(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(k?)wh", text.strip().lower())
    if found is None or not float(found[1]) > 0:
        raise PipelineError(f"--max-energy {text!r}: give watt-hours, such as 100Wh or 2kWh")
    return float(found[1]) * (1000 if found[2] else 1)


def _watts(root: Path) -> float:
    """The median power of earlier fits on this device."""
    here = this_device(threads=1).name
    costs = [each.cost for each in readable_records(root / RUNS) if each.device.name == here]
    watts = median_watts(costs)
    if watts is None:
        raise PipelineError("--max-energy: no run has measured energy on this device: use --budget")
    return watts
