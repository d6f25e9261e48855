"""What a choice costs until the model is in use, and images per second once it serves.

The remaining cost is that of every run of the study that is still to make on the dataset, and of
the last fit of the model, on train and valid as `export` makes it: start-up included, one after
another on this machine or the device of --fit-on. Frozen baselines, tables and downloads are not
in it.
"""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.command import amount, duration, number_of
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml
from pipeline.estimates.estimate import rows_of_device
from pipeline.estimates.planned import (
    DISTURBED,
    SECONDS_PER_HOUR,
    Estimate,
    Estimator,
    estimator_for,
    readable_records,
    this_device,
    total_seconds,
)
from pipeline.recommend.choice import CELL, cells_of
from pipeline.recommend.limits import (
    LATENCY,
    MEMORY_COLUMN,
    MIN_IPS,
    REMAINING_COST,
    REMAINING_COST_AT_LEAST,
    REMAINING_COST_AT_MOST,
    TIME,
    Limits,
    memory_basis,
)
from pipeline.records import Cost, Data, Device, Record, read_record
from pipeline.results import ELSEWHERE, UNKNOWN_START_UP, Results
from pipeline.statistics.fit_times import (
    ESTIMATED_FACTOR,
    ESTIMATED_ON,
    ESTIMATED_SECONDS,
    devices_of_times,
    least_share_alone,
    with_least_seconds,
)
from pipeline.statistics.rates import rate_to_take
from pipeline.study.params import RUNS, Cell, Study, threads_of
from pipeline.timm_results.imagenet import OWN, Serving, at_nearest_size, read_imagenet, serving

# GiB, and bytes per parameter and per published activation of an image in the batch, of a fit on
# CUDA in half precision: non-negative least squares of relative errors over 78 models of the 2022
# study on Pets. On Planet 9 of 10 are within a factor of 1.5, all within 2.0 (docs/race.md).
MEMORY_GIB, BYTES_PER_PARAMETER, BYTES_PER_ACTIVATION = 0.20, 14.2, 5.1


@dataclass(frozen=True)
class RemainingCost:
    """What is still to run for one model: seconds, and the least and the most that they may be;
    None where one of the runs cannot be estimated, and `unknown` says why.

    A `guide` rests on runs that shared their device, the quickest of each model: a bound of what a
    fit takes alone, with a least only where records tell it. `caveat` is the estimator's.
    """

    runs: int
    price_per_hour: float
    device: str | None
    seconds: float | None = None
    seconds_least: float | None = None
    seconds_most: float | None = None
    unknown: str | None = None
    guide: bool = False
    caveat: str | None = None

    @property
    def cost(self) -> float | None:
        return self._priced(self.seconds)

    @property
    def cost_least(self) -> float | None:
        return self._priced(self.seconds_least)

    def _priced(self, seconds: float | None) -> float | None:
        return None if seconds is None else seconds * self.price_per_hour / SECONDS_PER_HOUR

    def as_json(self) -> dict[str, Any]:
        """Its fields, the costs and the sentence."""
        ends = {"cost_least": self.cost_least, "cost_most": self._priced(self.seconds_most)}
        return {**asdict(self), "cost": self.cost, **ends, "text": self.text()}

    def text(self) -> str:
        """One line, with its range."""
        runs = f"the {number_of(self.runs, 'run', 'runs')} still to make and " if self.runs else ""
        what = f"Cost of {runs}the last fit"
        if self.guide:
            what = f"Going by the quickest run of each model, the cost of {runs}the last fit"
        if self.unknown is not None:
            return f"{what}: not known: {self.unknown}."
        seconds = (self.seconds, self.seconds_least, self.seconds_most)
        costs = [None if each is None else amount(each) for each in map(self._priced, seconds)]
        time = _range([None if each is None else duration(each) for each in seconds])
        text = (
            f"{what}: {_range(costs)} at {self.price_per_hour:g} an hour, {time} on {self.device}."
        )
        return f"{text} {self.caveat[0].upper()}{self.caveat[1:]}." if self.caveat else text


def _range(texts: Sequence[str | None]) -> str:
    """`20 (10 to 40)`, of the middle, the least, which may not be known, and the most."""
    middle, least, most = texts
    return f"{middle} (at most {most})" if least is None else f"{middle} ({least} to {most})"


def still_to_make(study: Study, runs: pd.DataFrame | None, dataset: str) -> list[Cell]:
    """The study's runs of a dataset that `runs` lack: rows of runs.csv, maybe of an earlier study,
    or None where there are no tables.
    """
    made = set() if runs is None else set(cells_of(runs[runs["status"] != "missing"]))
    return [cell for cell in study.cells() if cell.dataset == dataset and cell not in made]


def records_of(done: Results, here: Device) -> list[Record]:
    """What the tables hold of the records of finished runs, as far as estimates need it; those on
    `here`, by the words of a device, are on that device.

    A warm run's start-up, which is not its model's, is not in runs.csv: it is the rest of the fit.
    """
    runs = done.runs[done.runs["status"] == "ok"].astype(object)
    epochs = done.history.groupby(CELL).size()
    found = []
    for row in runs.where(runs.notna(), None).to_dict("records"):
        steady, start_up = row["steady_fit_seconds"], row["start_up_seconds"]
        warm = start_up is None and steady is not None
        kind = None if row["peak_memory_gib"] is None else "cuda"  # only CUDA tells it
        device = here if row["device"] == here.label else Device(kind=kind, name=row["device"])
        own = row["not_timed"] not in (None, ELSEWHERE, UNKNOWN_START_UP)
        found.append(
            Record(
                status="ok",
                **{name: row[name] for name in CELL},
                history=[{}] * int(epochs.get(tuple(row[name] for name in CELL), 0)),
                cost=Cost(
                    fit_seconds=row["fit_seconds"],
                    start_up_seconds=row["fit_seconds"] - steady if warm else start_up,
                    steady_fit_seconds=steady,
                    energy_wh=row["energy_wh"],
                    warm=warm,
                ),
                device=replace(device, shared=row["shared"]),
                not_for_speed=row["not_timed"] if own else None,
                data=Data(n_train=row["n_train"], n_valid=row["n_valid"]),
                config={"image_size": row["image_size"]},
            )
        )
    return found


def remaining_cost(
    estimator: Estimator, cells: Sequence[Cell], last: Cell, price_per_hour: float
) -> RemainingCost:
    """What these cells and the last fit, of a cell like `last`, take on the estimator's device."""
    found = [
        *(estimator.estimate(cell) for cell in cells),
        estimator.estimate(last, with_valid=True),
    ]
    estimates = [each for each in found if isinstance(each, Estimate)]
    label = estimator.device.label
    guide, caveat = estimator.disturbed, estimator.caveat
    nothing = RemainingCost(len(cells), price_per_hour, label, guide=guide, caveat=caveat)
    if len(estimates) < len(found):
        return replace(nothing, unknown=next(each for each in found if isinstance(each, str)))
    middle, low, most = total_seconds(estimates)
    least: float | None = low
    if guide:
        least = None
        if shares := _shares_alone(estimator, [*cells, last]):
            ends = [each.seconds / each.factor for each in estimates]
            least = sum(end * share for end, share in zip(ends, shares, strict=True))
    return replace(nothing, seconds=middle, seconds_least=least, seconds_most=most)


def _shares_alone(estimator: Estimator, cells: Sequence[Cell]) -> list[float]:
    """Of a fit of each cell, the share of its estimate that it takes alone at the least.

    Of a cell that has runs it is that of their quickest, with the least that any of them takes
    alone; of another cell the least of all runs. Empty if a record does not tell its share.
    """
    shares: list[float] = []
    alone, whole = defaultdict[Any, list[float]](list), defaultdict[Any, list[float]](list)
    for each in estimator.records:
        if each.status != "ok" or each.device.compared != estimator.device:
            continue
        share, seconds = least_share_alone(each), each.cost.fit_seconds
        if share is None or seconds is None:
            return []
        key = each.dataset, each.model, each.recipe
        shares.append(share)
        alone[key].append(share * seconds)
        whole[key].append(seconds)
    own = {key: min(alone[key]) / min(whole[key]) for key in alone}
    keys = ((each.dataset, each.model, each.recipe) for each in cells)
    return [own.get(key, min(shares)) for key in keys] if shares else []


def with_bounds_alone(ranked: pd.DataFrame, folder: Path, runs: pd.DataFrame) -> pd.DataFrame:
    """`with_least_seconds` by the records in `folder` of these rows of runs.csv, of one dataset, as
    far as they ran on the device that its times are of.
    """
    ok = runs[runs["status"] == "ok"]
    cells = cells_of(ok[ok["device"] == ok["dataset"].map(devices_of_times(ok))])
    paths = [cell.path(folder) for cell in cells]
    return with_least_seconds(ranked, [read_record(path) for path in paths if path.is_file()])


def memory_gib(
    study: Study, imagenet: pd.DataFrame, device: Device, records: Sequence[Record]
) -> pd.Series:
    """Peak memory of a fit by model, as far as it is known: the most that its records took, with
    the study's first recipe at its image size, else on CUDA an estimate from published numbers.

    On a CPU it is the process's, and nothing estimates that.
    """
    measured: dict[str, float] = {}
    for each in records:
        same_settings = (each.recipe, each.image_size) == (study.recipes[0], study.image_size)
        peak = each.cost.peak_memory_reserved_gib if device.is_cuda else each.cost.peak_rss_gib
        if same_settings and peak and each.device.is_cuda == device.is_cuda:
            measured[each.model] = max(measured.get(each.model, 0.0), peak)
    if not device.is_cuda:
        return pd.Series(measured, dtype=float)
    recipe = read_yaml(study.path.parent / f"conf/recipe/{study.recipes[0]}.yaml")
    single = 2 if recipe["precision"] == "fp32" else 1
    rows = at_nearest_size(imagenet[imagenet["macts"].notna()], study.image_size)
    rows = rows.drop_duplicates("model").set_index("model")
    macts = rows["macts"] * (study.image_size / rows["img_size"]) ** 2
    activations = single * BYTES_PER_ACTIVATION * recipe["batch_size"] * macts
    estimated = MEMORY_GIB + (BYTES_PER_PARAMETER * rows["params_m"] + activations) * 1e6 / 2**30
    return pd.Series(measured, dtype=float).combine_first(estimated)


def with_memory(
    study: Study, imagenet: pd.DataFrame, rows: pd.DataFrame, image_size: int, device: Device
) -> pd.DataFrame:
    """`rows`, one per model, with MEMORY_COLUMN, a fit's peak by data/runs; null if unknown."""
    records = readable_records(study.path.parent / RUNS)
    whole = replace(study, image_size=image_size)
    found = memory_gib(whole, imagenet, device, records)
    return rows.assign(**{MEMORY_COLUMN: rows["model"].map(found).astype(float)})


def with_costs(rows: pd.DataFrame, costs: Mapping[tuple[str, str], RemainingCost]) -> pd.DataFrame:
    """`rows` with REMAINING_COST by `costs` of model and recipe; of a guide with its bounds."""
    of_rows = [costs[key] for key in zip(rows["model"], rows["recipe"], strict=True)]
    numbers = [
        (None, each.cost, each.cost_least) if each.guide else (each.cost, None, None)
        for each in of_rows
    ]
    names = [REMAINING_COST, REMAINING_COST_AT_MOST, REMAINING_COST_AT_LEAST]
    return rows.join(pd.DataFrame(numbers, index=rows.index, columns=names, dtype=float))


@dataclass(frozen=True)
class Question:
    """Of which dataset of which study, within which limits, and how many models are asked for; and
    the tables that answer it: `done` is None before `aggregate` has made any.
    """

    study: Study
    dataset: str
    limits: Limits
    top: int
    imagenet: Path
    done: Results | None

    def estimator(self, study: Study) -> Estimator:
        """Of fits of the models of `study` at its image size, on this machine or where asked. Where
        all runs shared the device, it goes by the quickest of each cell, as leaderboards do.
        """
        threads = threads_of(read_yaml(self.study.path))
        of_tables = [] if self.done is None else records_of(self.done, this_device(threads))
        root, fit_on = self.study.path.parent, self.limits.fit_on
        return estimator_for(root, study, self.imagenet, threads, of_tables, fit_on, quickest=True)

    @cached_property
    def own_estimator(self) -> Estimator:
        """Of fits of the study's own models; made once, as it reads all records and tables."""
        return self.estimator(self.study)

    def serving(self, models: Sequence[str], image_size: int) -> Serving | None:
        """The speeds that the models serve with, where that was asked for."""
        if not self.limits.serves:
            return None
        table, device = read_imagenet(self.imagenet), self.limits.serve_on
        if device is None:
            here = this_device(threads_of(read_yaml(self.study.path)))
            own = rows_of_device(table[table["measured_by"] == OWN], "infer", here)
            found = serving(table, own, models, image_size)
        else:
            found = serving(table, device, models, image_size)
        if self.limits.max_latency is not None and found.alone.empty:
            asked = f"{LATENCY} {self.limits.max_latency}"
            raise PipelineError(f"{asked}: {found.without_latency(table, MIN_IPS)}")
        return found


def with_fit_times(
    rows: pd.DataFrame, estimator: Estimator, cells: Sequence[Cell], where: str, caveat: str | None
) -> tuple[pd.DataFrame, str]:
    """`rows` with ESTIMATED_SECONDS and ESTIMATED_FACTOR of a fit of each one's cell, null if not
    known; and what --max-fit-time is judged by, in a sentence that names the machine as `where`.
    """
    found = [DISTURBED if estimator.disturbed else estimator.estimate(each) for each in cells]
    known = [each for each in found if isinstance(each, Estimate)]
    none, names = (math.nan, math.nan), [ESTIMATED_SECONDS, ESTIMATED_FACTOR]
    numbers = [(e.steady_seconds, e.factor) if isinstance(e, Estimate) else none for e in found]
    rows = rows.join(pd.DataFrame(numbers, index=rows.index, columns=names))
    if not known:
        return rows, f"{TIME} cannot be judged by an estimate: {found[0]}"
    factors = {each.source: each.factor for each in known}
    named = ", ".join(f"{name} (within a factor of {by:.3g})" for name, by in factors.items())
    recipes = " and ".join(dict.fromkeys(cell.recipe for cell in cells))
    return rows, (
        f"{TIME} is judged by an estimate for {where}, {recipes} at {estimator.study.image_size} "
        f"pixels: {named}; a model without one stays in" + (f"; {caveat}" if caveat else "")
    )


def with_estimates(
    asked: Question, rates: pd.DataFrame, ranked: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """Rows of the leaderboard with the time of their fits on the device of --fit-on and, if asked,
    their memory; and what these rest on. `rates` are the rows of rates.csv.
    """
    study, limits, notes = asked.study, asked.limits, []
    estimator = asked.own_estimator
    if limits.max_memory is not None:
        imagenet = read_imagenet(asked.imagenet)
        ranked = with_memory(study, imagenet, ranked, study.image_size, estimator.device)
        notes.append(memory_basis(ranked, estimator.device.is_cuda))
    cells = [
        Cell(asked.dataset, model, rate_to_take(rates, asked.dataset, recipe, model), 0)
        for model, recipe in zip(ranked["model"], ranked["recipe"], strict=True)
    ]
    where, caveat = estimator.device.label or str(limits.fit_on), estimator.caveat
    ranked, basis = with_fit_times(ranked, estimator, cells, where, caveat)
    ranked[ESTIMATED_ON] = where
    if limits.max_fit_time is not None:
        notes.append(basis)
    elif caveat and not limits.price_per_hour:  # else it is said of the cost
        notes.append(f"Of the fit times there: {caveat}")
    return ranked, notes
