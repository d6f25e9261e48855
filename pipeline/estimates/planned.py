"""Time, memory and energy of fine-tunes to come, and the order of a sweep: the cheap ones first.

Reads records, timm's published speeds in data/imagenet.csv and sizes of prepared datasets, as far
as there are any. Only ratios of prices count for the order: a cell without a record gets what its
model is published to take per pixel, in the scale of the others; start-up is included.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd

from pipeline.core.command import amount, duration
from pipeline.core.errors import PipelineError
from pipeline.core.files import WrongType, build, read_yaml
from pipeline.estimates.calibration import device_named, read_calibration
from pipeline.estimates.estimate import (
    OPTIMISTIC,
    UNSCALED,
    Source,
    TimedRun,
    Work,
    error_factor,
    images_of,
    runs_by_device,
    sources,
    start_up_of,
)
from pipeline.hardware import nvml
from pipeline.hardware.machine import cpu_name, visible_gpus
from pipeline.records import Cost, Data, Device, Record, read_record
from pipeline.study.params import Cell, Study, read_study
from pipeline.timm_results.imagenet import published, read_imagenet

SECONDS_PER_HOUR = 3600
DISTURBED = "others used the device during each run known here: a guide at best"
SMALL_PIXELS = 128  # below, steps on a GPU wait for its host, which no published speed tells of


@dataclass(frozen=True)
class Estimate:
    """How long a fit takes, with and without its start-up, and its energy; `source` names where the
    speed is from. Both times may be off by `factor`, either way.
    """

    source: str
    seconds: float
    steady_seconds: float
    factor: float
    energy_wh: float | None


@dataclass(frozen=True)
class Estimator:
    """Estimates of fit times on one device; `study` has the models and the image size.

    runs       those whose times count; where all shared the device, all of them
    disturbed  runs there are, but none that had the device for itself: see DISTURBED
    calibrated whether steps were timed on the device, by `python -m pipeline.calibrate`
    sources    of speeds, the most trusted first
    factors    of each source by name: how far it may be off, and whether runs here have shown that
    hint       what would give an estimate where there is none
    """

    root: Path
    study: Study
    device: Device
    records: list[Record]
    runs: list[TimedRun]
    disturbed: bool
    calibrated: bool
    sources: list[Source]
    factors: dict[str, tuple[float, bool]]
    hint: str

    @property
    def caveat(self) -> str | None:
        """A warning about all estimates, in a sentence without its full stop, if there is one."""
        if self.disturbed:
            return DISTURBED
        if self.runs or self.calibrated or not self.device.is_cuda:
            return None
        if self.study.image_size < SMALL_PIXELS:
            return (
                f"at {self.study.image_size} pixels a fit on a GPU is mostly start-up and waiting "
                "for the host, which no run there has timed: expect many times more"
            )
        return OPTIMISTIC if UNSCALED in [factor for factor, _ in self.factors.values()] else None

    def estimate(self, cell: Cell, with_valid: bool = False) -> Estimate | str:
        """The estimate of a cell's fit, or why there is none.

        `with_valid`: of the fit of `export`, which learns from the validation images as well.
        """
        work = work_of(self.root, cell, self.study.image_size, self.records, with_valid)
        if work is None:
            one = Work(cell.dataset, cell.model, cell.recipe, self.study.image_size, images=1)
            then = "" if any(each.speed(one) for each in self.sources) else f", then: {self.hint}"
            return not_prepared(self.study, cell.dataset) + then
        for source in self.sources:
            if speed := source.speed(work):
                return self._at_speed(work, speed, source.name)
        return f"nothing shows how fast such models run on this device: {self.hint}"

    def _at_speed(self, work: Work, speed: float, source: str) -> Estimate:
        steady = work.megapixels / speed
        seconds = steady + start_up_of(work.model, self.runs)
        of_model = [run for run in self.runs if run.work.model == work.model]
        watts = median_watts(of_model) or median_watts(self.runs)
        energy_wh = None if watts is None else watts * seconds / SECONDS_PER_HOUR
        return Estimate(source, seconds, steady, self.factors[source][0], energy_wh)


def not_prepared(study: Study, dataset: str) -> str:
    command = f"python -m pipeline.dataset dataset={dataset} image_size={study.image_size}"
    if dataset in study.datasets:
        command = f"dvc repro merge dataset{'_raced' * (dataset in study.raced_datasets)}@{dataset}"
    return f"{dataset} is not prepared yet: run `{command}`"


def work_of(
    root: Path, cell: Cell, image_size: int, records: Sequence[Record], with_valid: bool
) -> Work | None:
    """What a fine-tune has to compute; None where the dataset is neither prepared nor in records.

    `with_valid`: it learns from the validation images as well, as the fit of `export` does.
    """
    seen = (each.data for each in records if each.dataset == cell.dataset)
    data = prepared(root, cell.dataset) or next(seen, Data())
    if not data.n_train:
        return None
    n_valid = data.n_valid or 0
    n_train = data.n_train + (n_valid if with_valid else 0)
    epochs = epochs_of(root / f"conf/recipe/{cell.recipe}.yaml", n_train)
    images = images_of(n_train, n_valid, epochs)
    return Work(cell.dataset, cell.model, cell.recipe, image_size, images)


def epochs_of(path: Path, n_train: int | None) -> int:
    """Epochs of the recipe in `path`, frozen ones included: of `n_train` images as many as
    `fitted_to` makes them, else as many as the recipe says.

    Raises `PipelineError` where a number of the recipe is missing or too small.
    """
    recipe = read_yaml(path)
    given = {"batch_size": 1, "least_steps": 0} | (recipe if isinstance(recipe, dict) else {})
    for key, least in (("epochs", 1), ("frozen_epochs", 0), ("batch_size", 1), ("least_steps", 0)):
        if type(given.get(key)) is not int or given[key] < least:
            found = repr(given[key]) if key in given else "missing"
            raise PipelineError(f"{path}: {key} is {found}: write a number, {least} or more")
    epochs: int = given["epochs"]
    if n_train:
        steps = n_train // min(given["batch_size"], n_train)  # of an epoch
        epochs = max(epochs, -(-given["least_steps"] // steps))
    return epochs + int(given["frozen_epochs"])


def prepared(root: Path, dataset: str) -> Data | None:
    """What is known of a prepared dataset's size; None where it is not prepared."""
    path = root / "data/datasets" / dataset / "meta.json"
    try:
        return build(Data, json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, WrongType):
        return None


def estimator_for(
    root: Path,
    study: Study,
    imagenet: Path,
    threads: int,
    of_tables: Sequence[Record] = (),
    fit_on: str | None = None,
    quickest: bool = False,
) -> Estimator:
    """An estimator for this machine, from the records, tables and calibration that there are.

    `root` is the project's folder, `threads` the number of a fit on a CPU. `of_tables`, what tables
    hold of records, count where there are none here, as in a fresh clone. `fit_on` names another
    device, see `device_named`. If all runs shared the device, with `quickest` that of each cell
    counts, the nearest to a fit alone; else their middle, as of fits that share it again.
    """
    records = readable_records(root / "data/runs") or [*of_tables]
    table = read_imagenet(imagenet) if imagenet.is_file() else None
    device = this_device(threads)
    if fit_on is not None:
        device = device_named(fit_on, root, records, table)
    alone = runs_by_device(records).get(device, [])
    runs = alone or runs_by_device(records, include_shared=True).get(device, [])
    disturbed = runs != alone
    if disturbed and quickest:
        by_speed = sorted(runs, key=lambda run: run.speed)
        runs = list({run.work.cell: run for run in by_speed}.values())
    calibration = read_calibration(root, device)
    found = sources(study, table, device, runs, calibration)
    factors = {source.name: error_factor(source, runs) for source in found}
    where = "" if fit_on is None else " there"
    calibrate = [f"`python -m pipeline.calibrate`{where}"] if calibration is None else []
    hint = ", or ".join(["one finished run is a start", *calibrate])
    if table is None:
        merge = "`dvc repro merge` makes data/imagenet.csv, which estimates need"
        hint = ", then ".join([merge, *calibrate])
    known = records, runs, disturbed, calibration is not None
    return Estimator(root, study, device, *known, found, factors, hint)


def readable_records(folder: Path) -> list[Record]:
    """Every record below the folder, of this study or an earlier one; damaged ones are left out."""
    found = []
    for path in sorted(folder.rglob("*.json")):
        with suppress(OSError, PipelineError):
            found.append(record_at(path))
    return found


def record_at(path: Path) -> Record:
    """As `read_record`, but read only once as long as time, size and inode stay the same."""
    found = path.stat()
    return _record_as_of(path, found.st_mtime_ns, found.st_size, found.st_ino)


@cache
def _record_as_of(path: Path, time: int, size: int, inode: int) -> Record:
    return read_record(path)


def this_device(threads: int) -> Device:
    """This machine's device, with what decides whether two times can be compared."""
    gpus = visible_gpus()
    if not gpus:
        return Device(kind="cpu", name=cpu_name(), threads=threads)
    import pynvml

    handle = nvml.named(gpus[0])
    name = None if handle is None else nvml.ask(pynvml.nvmlDeviceGetName, handle)
    return Device(kind="cuda", name="this GPU" if name is None else str(name))


def median_watts(fits: Iterable[TimedRun | Cost]) -> float | None:
    """The median power of fits; None where no fit has both energy and time."""
    both = [(fit.energy_wh, fit.fit_seconds) for fit in fits]
    watts = [energy * SECONDS_PER_HOUR / seconds for energy, seconds in both if energy and seconds]
    return float(np.median(watts)) if watts else None


def estimate_lines(
    root: Path,
    cells: Sequence[Cell],
    threads: int,
    jobs: int,
    price_per_hour: float | None,
    fit_on: str | None = None,
) -> list[str]:
    """What the fits of `cells` will take, `jobs` at a time, as lines to print."""
    if not cells:
        return []
    estimator, estimates, unknown = _estimates(root, cells, threads, fit_on)
    where = f"on {estimator.device.label}, {jobs} at a time"
    return [
        f"{len(estimates)} of {len(cells)} fit{'s' * (len(cells) != 1)} estimated, {where}:",
        *(f"  {line}" for line in _totals(estimates, min(jobs, len(cells)), price_per_hour)),
        *(f"  {line}" for line in _by_source(estimates, estimator.factors)),
        *(f"  {n} not estimated: {why}" for why, n in unknown.items()),
        *([f"  {estimator.caveat}"] if estimates and estimator.caveat else []),
    ]


def time_of_fits(root: Path, cells: Sequence[Cell], threads: int, jobs: int) -> str:
    """How long the fits of `cells` will take, `jobs` at a time, as far as it can be estimated."""
    _, estimates, unknown = _estimates(root, cells, threads)
    if not estimates:
        return "how long they take is known once one has ended"
    time = _range([seconds / min(jobs, len(cells)) for seconds in total_seconds(estimates)])
    return f"{len(estimates):,} of them take about {time}" if unknown else f"about {time}"


def _estimates(
    root: Path, cells: Sequence[Cell], threads: int, fit_on: str | None = None
) -> tuple[Estimator, list[Estimate], Counter[str]]:
    """The estimates of `cells`, one for all seeds, and how often there is none for which reason."""
    study = read_study(root / "params.yaml")
    estimator = estimator_for(root, study, root / "data/imagenet.csv", threads, (), fit_on)
    of_any_seed = [replace(each, seed=0) for each in cells]
    each_once = {cell: estimator.estimate(cell) for cell in set(of_any_seed)}
    found = [each_once[cell] for cell in of_any_seed]
    estimates = [each for each in found if isinstance(each, Estimate)]
    return estimator, estimates, Counter(each for each in found if isinstance(each, str))


def total_seconds(estimates: Sequence[Estimate]) -> list[float]:
    """The sum of the estimates, and its least and most: all are taken to be off the same way."""
    return [sum(each.seconds * each.factor**sign for each in estimates) for sign in (0, -1, 1)]


def _range(ends: Sequence[float]) -> str:
    return "{} ({} to {})".format(*map(duration, ends))


def _totals(estimates: Sequence[Estimate], jobs: int, price_per_hour: float | None) -> list[str]:
    """Time, energy and cost."""
    if not estimates:
        return []
    ends = [seconds / jobs for seconds in total_seconds(estimates)]
    energy = [each.energy_wh for each in estimates if each.energy_wh is not None]
    complete = len(energy) == len(estimates)
    watt_hours = f"{sum(energy):.3g} Wh" if complete else "unknown: never measured here"
    lines = [f"time    {_range(ends)}", f"energy  {watt_hours}"]
    if price_per_hour is not None:
        cost, least, most = (amount(each * price_per_hour / SECONDS_PER_HOUR) for each in ends)
        lines.append(f"cost    {cost} ({least} to {most}), at {price_per_hour:g} an hour")
    return lines


def _by_source(estimates: Sequence[Estimate], factors: dict[str, tuple[float, bool]]) -> list[str]:
    """How many fits each source gave the speed of, and how far it is off."""
    counts = Counter(each.source for each in estimates)
    return [
        f"{counts[name]} from {name}: within a factor of {factor:.3g}, "
        + ("as 9 of 10 runs here were" if shown else "assumed, too few runs here to tell")
        for name, (factor, shown) in factors.items()
        if counts[name]
    ]


class Prices:
    """What each fine-tune will cost: seconds, or without any record a unit of their own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._epochs: dict[tuple[str, int | None], int] = {}

    def __call__(self, cell: Cell | None) -> float:
        """The price of a cell; what is no fine-tune costs nothing and goes first."""
        if cell is None:
            return 0.0
        known = self._known.get((cell.dataset, cell.model, cell.recipe))
        return known if known is not None else self._scale * self._published_price(cell)

    @cached_property
    def _known(self) -> dict[tuple[str, str, str], float]:
        """The median fit time of each (dataset, model, recipe) with records, of whatever code."""
        found = defaultdict(list)
        for path in self.root.glob("data/runs/*/*/*/*.json"):
            with suppress(OSError, ValueError, KeyError, TypeError):
                seconds = float(json.loads(path.read_text("utf-8"))["cost"]["fit_seconds"])
                found[path.parts[-4:-1]].append(seconds)
        return {(cell[0], cell[1], cell[2]): median(each) for cell, each in found.items()}

    @cached_property
    def _scale(self) -> float:
        """Seconds for one unit of `_published_price`, by the cells whose seconds are known."""
        ratios = []
        for names, seconds in self._known.items():
            with suppress(PipelineError):  # a recipe that only older runs are of
                ratios.append(seconds / self._published_price(Cell(*names, seed=0)))
        return median(ratios) if ratios else 1.0

    def _published_price(self, cell: Cell) -> float:
        data = prepared(self.root, cell.dataset)
        images = data.n_train if data else None
        pixels = self._image_size**2 * (images or 1)
        per_pixel = self._per_pixel.get(cell.model, 1.0)
        path = self.root / f"conf/recipe/{cell.recipe}.yaml"
        if (key := (cell.recipe, images)) not in self._epochs:
            self._epochs[key] = epochs_of(path, images) if path.is_file() else 1
        return pixels * self._epochs[key] * per_pixel

    @cached_property
    def _image_size(self) -> int:
        return int(read_yaml(self.root / "params.yaml")["image_size"])

    @cached_property
    def _per_pixel(self) -> dict[str, float]:
        imagenet = self.root / "data/imagenet.csv"
        return per_pixel(self.root / "params.yaml", imagenet) if imagenet.is_file() else {}


def per_pixel(params: Path, path: Path) -> dict[str, float]:
    """Published seconds per pixel of each model: by its training or inference speed or parameters.

    The second and third are brought into the scale of the first by models that have both.
    """
    study = read_study(params)
    table = published(study, read_imagenet(path), path)
    measures = [
        1 / (table[f"{mode}_samples_per_second"] * table[f"{mode}_img_size"].astype(float) ** 2)
        for mode in ("train", "infer")
    ]
    prices = pd.Series(np.nan, table.index)
    for measure in [*measures, table["params_m"]]:
        scale = (prices / measure).median()
        prices = prices.fillna(measure if pd.isna(scale) else scale * measure)
    return dict(zip(table["model"], prices.fillna(prices.median()).fillna(1.0), strict=True))
