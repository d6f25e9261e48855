"""How long a fine-tune takes on one device, estimated from what is known of it, and how far off.

Work is counted in megapixels that go forward and back: images x epochs x pixels. An image of the
validation part counts a third, it only goes forward. Each source knows a speed in megapixels per
second; the first that knows the model is believed. The surprising fact: how far a source is off
can be measured, because it can be asked for each finished run as if that run were not there.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipeline.records import Record

FORWARD_SHARE = 1 / 3  # of a training image's work
FEWEST_CHECKED = 5  # to say how far a source is off; with fewer its factor is assumed
CONFIDENCE = 0.9


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
class Timed:
    """A finished run: its work and what that took."""

    work: Work
    seed: int
    fit_seconds: float
    energy_wh: float | None

    @property
    def speed(self) -> float:
        return self.work.megapixels / self.fit_seconds


class Source(Protocol):
    """Where a speed comes from; `hidden` is a run that it must not have seen.

    `assumed` is the factor that 9 of 10 runs are taken to stay within until runs have shown it.
    """

    @property
    def name(self) -> str: ...
    @property
    def assumed(self) -> float: ...
    def speed(self, work: Work, hidden: Timed | None = None) -> float | None: ...


@dataclass(frozen=True)
class OtherSeeds:
    """Runs of the same dataset, model, recipe and image size."""

    runs: list[Timed]
    name: str = "other seeds of the same cell"
    assumed: float = 1.25

    def speed(self, work: Work, hidden: Timed | None = None) -> float | None:
        return _median(
            run.speed for run in self.runs if run.work.cell == work.cell and run is not hidden
        )


@dataclass(frozen=True)
class OtherCells:
    """Runs of the same model on another dataset, with another recipe or at another image size."""

    runs: list[Timed]
    name: str = "other runs of the same model"
    assumed: float = 1.5

    def speed(self, work: Work, hidden: Timed | None = None) -> float | None:
        return _median(
            run.speed
            for run in self.runs
            if run.work.model == work.model and run.work.cell != work.cell
        )


@dataclass(frozen=True)
class Scaled:
    """A table of speeds, times the median ratio of the models whose speed is `known` here as well.

    Where no model has both, the table is taken as it stands, if `unscaled` gives a factor for that.
    """

    name: str
    table: Mapping[str, float]
    known: Mapping[str, float]
    scaled: float
    unscaled: float | None = None

    @property
    def ratios(self) -> dict[str, float]:
        both = self.table.keys() & self.known.keys()
        return {model: self.known[model] / self.table[model] for model in sorted(both)}

    @property
    def assumed(self) -> float:
        return self.scaled if self.ratios or self.unscaled is None else self.unscaled

    def speed(self, work: Work, hidden: Timed | None = None) -> float | None:
        if work.model not in self.table:
            return None
        others = [
            ratio for model, ratio in self.ratios.items() if not (hidden and model == work.model)
        ]
        scale = _median(others)
        if scale is None and (hidden or self.unscaled is None):
            return None
        return self.table[work.model] * (1.0 if scale is None else scale)


def images_of(n_train: int, n_valid: int, epochs: int) -> float:
    """Images of a whole fit, each validation image as the share of a training image it costs."""
    return epochs * (n_train + FORWARD_SHARE * n_valid)


def timed(record: Record) -> Timed | None:
    """What a record tells of speed; None where the run did not finish or a number is missing."""
    size, n_train, cost = record.image_size, record.data.n_train, record.cost
    if record.status != "ok" or not (cost.fit_seconds and size and n_train):
        return None
    if min(cost.fit_seconds, size, n_train) <= 0:  # of others, who may have written anything
        return None
    images = images_of(n_train, record.data.n_valid or 0, len(record.history))
    work = Work(record.dataset, record.model, record.recipe, size, images)
    return Timed(work, record.seed, cost.fit_seconds, cost.energy_wh) if images else None


def speed_by_model(runs: Iterable[Timed]) -> dict[str, float]:
    """The median speed of each model's runs."""
    speeds: dict[str, list[float]] = {}
    for run in runs:
        speeds.setdefault(run.work.model, []).append(run.speed)
    return {model: float(np.median(values)) for model, values in speeds.items()}


def measured_by_estimated(source: Source, runs: Iterable[Timed]) -> dict[Timed, float]:
    """Each run's fit time by what the source says without having seen it; above 1: it took longer.

    Runs that the source knows nothing of are left out.
    """
    speeds = {run: source.speed(run.work, hidden=run) for run in runs}
    return {run: speed / run.speed for run, speed in speeds.items() if speed is not None}


def reach(source: Source, runs: Iterable[Timed]) -> tuple[float, bool]:
    """The factor that 9 of 10 runs stay within, either way, and whether these runs have shown it.

    Models that are alike say nothing of one that is not: a table needs five models to show it.
    """
    ratios = measured_by_estimated(source, runs)
    shown_by = {run.work.model for run in ratios} if isinstance(source, Scaled) else ratios
    if len(shown_by) < FEWEST_CHECKED:
        return source.assumed, False
    logs = np.abs(np.log(list(ratios.values())))
    return float(np.exp(np.quantile(logs, CONFIDENCE))), True


def _median(values: Iterable[float]) -> float | None:
    found = list(values)
    return float(np.median(found)) if found else None
