"""How long a fine-tune takes on one device, estimated from what is known of it, and how far off.

Work is counted in megapixels that go forward and back: images x epochs x pixels. An image of the
validation part counts a third, it only goes forward. Each source knows a speed in megapixels per
second: the device's own runs, benchmark or calibration, published speeds. `sources` lists them; the
first that knows the model is believed. Speeds are those of the steady part of a fit, which grows
with the images; the start-up, which does not, is added to what they give. The surprising fact: how
far a source is off can be measured, because it can be asked for each finished run as if that run
were not there. `estimates_table` is estimates.csv: each finished run's fit time next to what each
source but a calibration, which stays on its machine, would have estimated for it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from statistics import median
from typing import Any, Protocol

import numpy as np
import pandas as pd

from pipeline.estimates.calibration import Calibration, calibrated_speeds
from pipeline.records import Device, Record
from pipeline.results import ESTIMATES
from pipeline.study.params import MODE_NAMES, MODES, Study
from pipeline.timm_results.imagenet import OWN, of_study
from pipeline.timm_results.published_tables import short_name

FORWARD_SHARE = 1 / 3  # of a training image's work
FEWEST_CHECKED = 5  # to say how far a source is off; with fewer its factor is assumed
CONFIDENCE = 0.9
TRAINING_PASSES = {"train": 1, "infer": 3}  # forward alone is a third of a step
# Factors that 9 of 10 fits stay within. SCALED and UNSCALED, of timm's speeds with and without a
# ratio to speeds measured here, are measured on the 2022 study (docs/decisions.md).
BENCHMARK, SCALED, UNSCALED = 2.0, 3.0, 10.0
OPTIMISTIC = (  # medians of UNSCALED's fits on Pets and on Planet (docs/sweep.md)
    "expect more than the middle: the 2022 study's fits took 3.0 and 4.4 times as long as timm's "
    "speeds predict"
)
CALIBRATED, CALIBRATED_CPU = 1.5, 2.0  # on GPUs measured as well (docs/hardware.md)


@dataclass(frozen=True)
class Work:
    """What one fine-tune has to compute; `images` is over all epochs, see `images_of`."""

    dataset: str
    model: str
    recipe: str
    image_size: int
    images: float

    @property
    def megapixels(self) -> float:
        return self.images * self.image_size**2 / 1e6

    @property
    def cell(self) -> tuple[str, str, str, int]:
        """What runs that differ in their seed alone have in common."""
        return self.dataset, self.model, self.recipe, self.image_size


@dataclass(frozen=True)
class TimedRun:
    """A finished run: its work and what that took."""

    work: Work
    seed: int
    fit_seconds: float
    energy_wh: float | None
    start_up_seconds: float | None = None  # None where it is not known apart from the rest
    warm: bool = False

    @property
    def speed(self) -> float:
        """Megapixels per second of the steady part; of the whole fit where it is not known."""
        return self.work.megapixels / (self.fit_seconds - (self.start_up_seconds or 0.0))


class Source(Protocol):
    """Where a speed comes from.

    `speed` gives megapixels per second, or None where the source knows nothing of the model, as if
    the run `hidden` had not been made. `assumed` is the factor within which 9 of 10 estimates are
    taken to be, as long as too few runs show it.
    """

    @property
    def name(self) -> str: ...
    @property
    def assumed(self) -> float: ...
    def speed(self, work: Work, hidden: TimedRun | None = None) -> float | None: ...


@dataclass(frozen=True)
class _OtherRuns:
    """Finished runs, found by their model."""

    runs: list[TimedRun]

    @cached_property
    def _by_model(self) -> dict[str, list[TimedRun]]:
        return runs_by_model(self.runs)


@dataclass(frozen=True)
class OtherSeeds(_OtherRuns):
    """Runs of the same dataset, model, recipe and image size."""

    name: str = "other seeds of the same cell"
    assumed: float = 1.25

    def speed(self, work: Work, hidden: TimedRun | None = None) -> float | None:
        of_model = self._by_model.get(work.model, [])
        return _median(
            run.speed for run in of_model if run.work.cell == work.cell and run is not hidden
        )


@dataclass(frozen=True)
class OtherCells(_OtherRuns):
    """Runs of the same model on another dataset, with another recipe or at another image size."""

    name: str = "other runs of the same model"
    assumed: float = 1.5

    def speed(self, work: Work, hidden: TimedRun | None = None) -> float | None:
        of_model = self._by_model.get(work.model, [])
        return _median(run.speed for run in of_model if run.work.cell != work.cell)


@dataclass(frozen=True)
class ScaledTable:
    """A table of speeds, times the median ratio of the models whose speed is `known` here as well.

    `scaled` is the assumed factor of error. Where no model has both speeds, the table is used as it
    is, with the factor `unscaled`; without that factor it gives nothing.
    """

    name: str
    table: Mapping[str, float]
    known: Mapping[str, float]
    scaled: float
    unscaled: float | None = None

    @cached_property
    def ratios(self) -> dict[str, float]:
        both = self.table.keys() & self.known.keys()
        return {model: self.known[model] / self.table[model] for model in sorted(both)}

    @property
    def assumed(self) -> float:
        return self.scaled if self.ratios or self.unscaled is None else self.unscaled

    def speed(self, work: Work, hidden: TimedRun | None = None) -> float | None:
        if work.model not in self.table:
            return None
        others = [
            ratio for model, ratio in self.ratios.items() if not (hidden and model == work.model)
        ]
        scale = _median(others)
        if scale is None and (hidden or self.unscaled is None):
            return None
        return self.table[work.model] * (1.0 if scale is None else scale)


def estimates_table(
    study: Study, records: Iterable[Record], imagenet: pd.DataFrame
) -> pd.DataFrame:
    """One row per finished run and source that knows its model; calibrations do not count."""
    rows = [
        row
        for device, runs in runs_by_device(records).items()
        for row in _rows(study, imagenet, device, runs)
    ]
    return pd.DataFrame(rows, columns=list(ESTIMATES))


def _rows(
    study: Study, imagenet: pd.DataFrame, device: Device, runs: list[TimedRun]
) -> Iterator[dict[str, Any]]:
    for source in sources(study, imagenet, device, runs):
        for run, ratio in measured_over_estimated(source, runs).items():
            yield {
                "dataset": run.work.dataset,
                "recipe": run.work.recipe,
                "model": run.work.model,
                "seed": run.seed,
                "device": device.label,
                "source": source.name,
                "estimated_seconds": run.fit_seconds / ratio,
                "fit_seconds": run.fit_seconds,
                "ratio": ratio,
            }


def runs_by_device(
    records: Iterable[Record], include_shared: bool = False
) -> dict[Device, list[TimedRun]]:
    """The runs whose times count by the device that they compare on; with `include_shared` also
    those that others disturbed.
    """
    found: dict[Device, list[TimedRun]] = {}
    for record in records:
        run, device = timed_run(record), record.device.compared
        counts = record.not_for_speed is None and not record.device.shared
        if run is not None and device.label is not None and (counts or include_shared):
            found.setdefault(device, []).append(run)
    return found


def timed_run(record: Record) -> TimedRun | None:
    """A record's work and time; None where the run did not finish or a number is missing."""
    size, n_train, cost = record.image_size, record.data.n_train, record.cost
    if record.status != "ok" or not (cost.fit_seconds and size and n_train):
        return None
    if min(cost.fit_seconds, size, n_train) <= 0:  # other people's records may hold anything
        return None
    images = images_of(n_train, record.data.n_valid or 0, len(record.history))
    work = Work(record.dataset, record.model, record.recipe, size, images)
    if not images:
        return None
    start_up = record.start_up_seconds
    if start_up is not None and not 0 <= start_up < cost.fit_seconds:
        start_up = None
    return TimedRun(work, record.seed, cost.fit_seconds, cost.energy_wh, start_up, bool(cost.warm))


def images_of(n_train: int, n_valid: int, epochs: int) -> float:
    """Images of a whole fit, each validation image as the share of a training image it costs."""
    return epochs * (n_train + FORWARD_SHARE * n_valid)


def sources(
    study: Study,
    imagenet: pd.DataFrame | None,
    device: Device,
    runs: list[TimedRun],
    calibration: Calibration | None = None,
) -> list[Source]:
    """The sources for `device`, the most trusted first; `runs` are those that it finished."""
    records: list[Source] = [OtherSeeds(runs), OtherCells(runs)]
    if imagenet is None:
        return records
    rows = {mode: rows_of_device(imagenet, mode, device) for mode in MODES}
    here = {mode: training_speeds(study, rows[mode]) for mode in MODES}
    by_runs = speed_by_model(runs)
    factors = {mode: SCALED if _is_own(rows[mode]) else UNSCALED for mode in MODES}
    whose = "a" if _is_own(rows["train"]) else "timm's"
    name = f"{whose} benchmark of this device"
    own = ScaledTable(name, here["train"], by_runs, BENCHMARK, factors["train"])
    known = [(by_runs, SCALED), *((here[mode], factors[mode]) for mode in ("train", "infer"))]
    others = imagenet[~imagenet["benchmark_file"].isin(rows["train"]["benchmark_file"])]
    published = _published(study, others, device.is_cuda, known)
    if calibration is not None:
        speeds = calibrated_speeds(calibration, study, imagenet)
        name = "a calibration of this device" + ", disturbed" * calibration.disturbed
        factor = CALIBRATED if device.is_cuda else CALIBRATED_CPU
        records.append(ScaledTable(name, speeds, by_runs, factor, factor))
    if by_runs or _is_own(rows["train"]):
        return [own, *records, *published]
    return [*records, own, *published]  # nothing made here scales it: a calibration tells more


def _is_own(rows: pd.DataFrame) -> bool:
    """Whether these rows of one benchmark file were measured by this pipeline, not by timm."""
    return bool((rows["measured_by"] == OWN).all())


def rows_of_device(imagenet: pd.DataFrame, mode: str, device: Device) -> pd.DataFrame:
    """The rows of the largest benchmark file for `mode` that was measured on `device`, if any.

    An AMD EPYC with 2 threads is amd_epyc with the backend cpu2 there.
    """
    rows = imagenet[(imagenet["mode"] == mode) & (imagenet["compile"] == "eager")]
    rows = rows[rows["device"] == short_name(device.name or str(device.kind))]
    if device.compared.threads is not None:
        rows = rows[rows["backend"] == f"cpu{device.threads}"]
    if rows.empty:
        return rows
    return rows[rows["benchmark_file"] == rows["benchmark_file"].value_counts().index[0]]


def training_speeds(study: Study, rows: pd.DataFrame) -> dict[str, float]:
    """Megapixels per second by model, from one benchmark file's `rows`, at the nearest size."""
    nearest = of_study(study, rows[rows["samples_per_second"] > 0])
    passes = nearest["mode"].map(TRAINING_PASSES).astype(float)
    speeds = nearest["samples_per_second"] * nearest["img_size"] ** 2 / 1e6 / passes
    return dict(zip(nearest["model"], speeds.astype(float), strict=True))


def speed_by_model(runs: Iterable[TimedRun]) -> dict[str, float]:
    """The median speed of each model's runs."""
    return {
        model: float(np.median([run.speed for run in of_model]))
        for model, of_model in runs_by_model(runs).items()
    }


def runs_by_model(runs: Iterable[TimedRun]) -> dict[str, list[TimedRun]]:
    found: dict[str, list[TimedRun]] = {}
    for run in runs:
        found.setdefault(run.work.model, []).append(run)
    return found


def _published(
    study: Study,
    imagenet: pd.DataFrame,
    cuda: bool,
    known: Sequence[tuple[Mapping[str, float], float]],
) -> list[Source]:
    """The two benchmark files of the charts, scaled by the first of the `known` speeds that has a
    model of theirs, with its factor of error. Unscaled they say nothing about a CPU.
    """
    found: list[Source] = []
    for mode in ("train", "infer"):
        rows = imagenet[imagenet["benchmark_file"] == study.charts[mode]]
        if len(rows):
            first = rows.iloc[0]
            table = training_speeds(study, rows)
            nothing: tuple[Mapping[str, float], float] = ({}, UNSCALED)
            both = (each for each in known if each[0].keys() & table.keys())
            scale, factor = next(both, nothing)
            whose = "own" if first["measured_by"] == OWN else "timm's"
            name = f"{whose} {MODE_NAMES[mode]} speeds on {first['device']}"
            name += "" if scale else ", unscaled"
            found.append(ScaledTable(name, table, scale, factor, UNSCALED if cuda else None))
    return found


def error_factor(source: Source, runs: Iterable[TimedRun]) -> tuple[float, bool]:
    """The factor within which 9 of 10 estimates are, either way, and whether `runs` have shown it.

    It is shown by FEWEST_CHECKED runs, for a table by runs of as many models: similar models say
    nothing about the others.
    """
    ratios = measured_over_estimated(source, runs)
    shown_by = {run.work.model for run in ratios} if isinstance(source, ScaledTable) else ratios
    if len(shown_by) < FEWEST_CHECKED:
        return source.assumed, False
    logs = np.abs(np.log(list(ratios.values())))
    return float(np.exp(np.quantile(logs, CONFIDENCE))), True


def measured_over_estimated(source: Source, runs: Iterable[TimedRun]) -> dict[TimedRun, float]:
    """Each run's fit time over the source's estimate from the other runs; above 1: it took longer.

    Runs that the source knows nothing of are left out.
    """
    runs = list(runs)
    by_model = runs_by_model(runs)

    @cache  # all runs of a model share it
    def elsewhere(model: str, warm: bool) -> float:
        return start_up_of(model, [run for run in runs if run.work.model != model], warm)

    def start_up_without(hidden: TimedRun) -> float:
        """The start-up that the estimate of a run includes, as if that run had not been made.

        A table hides all runs of the run's model, so there the start-up is that of other models.
        """
        if hidden.start_up_seconds is None:
            return 0.0  # it is part of the run's speed
        model = hidden.work.model
        own = [run for run in by_model[model] if run is not hidden and run.warm == hidden.warm]
        if own and not isinstance(source, ScaledTable):
            return start_up_of(model, own, hidden.warm)
        return elsewhere(model, hidden.warm)

    speeds = {run: source.speed(run.work, hidden=run) for run in runs}
    return {
        run: run.fit_seconds / (run.work.megapixels / speed + start_up_without(run))
        for run, speed in speeds.items()
        if speed is not None
    }


def start_up_of(model: str, runs: Iterable[TimedRun], warm: bool = False) -> float:
    """Seconds to add to the steady part: the median start-up of the model's runs, 0 of a run whose
    speed includes it; of a model without runs, that of all runs whose start-up is known.

    Only `warm` runs count, or only those that are not.
    """
    runs = [run for run in runs if run.warm == warm]
    of_model = [run for run in runs if run.work.model == model]
    others = [run for run in runs if run.start_up_seconds is not None]
    return _median(run.start_up_seconds or 0.0 for run in of_model or others) or 0.0


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return median(found) if found else None
