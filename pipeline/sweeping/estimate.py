"""What a sweep will take: hours, watt-hours and money, told by whom, and how wrong that may be.

Reads the records in data/runs, the prepared datasets and data/imagenet.csv, whatever is there. Only
the fits are counted: what a run does before and after is a few seconds. Unknown stays unknown: a
cell that no source knows is counted as such, and never guessed.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.page.answer import duration
from pipeline.sweeping.jobs import fine_tune_words
from pipeline.sweeping.planned_work import readable_records, this_device, work_of
from pipeline.tables.estimates import Source, Timed, Work, reach
from pipeline.tables.hindsight import by_device
from pipeline.tables.known_speeds import sources
from pipeline.tables.study import read_study
from pipeline.timm_results.imagenet import read_imagenet

SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Told:
    """A fit's estimate: seconds, the factor it may be off either way, and its watt-hours."""

    source: str
    seconds: float
    factor: float
    energy_wh: float | None


def estimate_lines(
    root: Path, commands: Iterable[str], jobs: int, price_per_hour: float | None
) -> list[str]:
    """What the fits among `commands` will take, `jobs` at a time, as lines to print."""
    cells = [words for words in map(fine_tune_words, commands) if words]
    if not cells:
        return []
    threads = cells[0].get("threads", "1")
    device, cuda = this_device(int(threads) if threads.isdigit() else 1)
    records = readable_records(root / "data/runs")
    here = device, cuda
    alone = by_device(records).get(here, [])
    runs = alone or by_device(records, whatever_ran_beside=True).get(here, [])
    imagenet = root / "data/imagenet.csv"
    table = read_imagenet(imagenet) if imagenet.is_file() else None
    asked = sources(read_study(root / "params.yaml"), table, device, cuda, runs)
    reaches = {source.name: reach(source, runs) for source in asked}
    told: list[Told] = []
    unknown: Counter[str] = Counter()
    for words in cells:
        work = work_of(root, words, records)
        found = _told(work, asked, reaches, runs) if isinstance(work, Work) else work
        if isinstance(found, Told):
            told.append(found)
        else:
            unknown[found] += 1
    return [
        f"{len(told)} of {len(cells)} fits estimated, on {device}, {jobs} at a time:",
        *(f"  {line}" for line in _totals(told, min(jobs, len(cells)), price_per_hour)),
        *(f"  {line}" for line in _by_source(told, reaches)),
        *(f"  {n} not estimated: {why}" for why, n in unknown.items()),
        *(
            []
            if alone or not runs
            else ["  each run known here shared the device: a guide at best"]
        ),
    ]


def _told(
    work: Work,
    asked: Sequence[Source],
    reaches: dict[str, tuple[float, bool]],
    runs: Sequence[Timed],
) -> Told | str:
    """The estimate of the first source that knows the model's speed, or that none does."""
    for source in asked:
        speed = source.speed(work)
        if speed:
            seconds = work.megapixels / speed
            watts = _watts(work.model, runs)
            energy_wh = None if watts is None else watts * seconds / SECONDS_PER_HOUR
            return Told(source.name, seconds, reaches[source.name][0], energy_wh)
    return "nothing tells of their models on this device: one finished run is a start"


def _watts(model: str, runs: Sequence[Timed]) -> float | None:
    """The median power of the model's runs, else of all runs; None where none measured it."""
    watts = [
        (run.work.model, run.energy_wh * SECONDS_PER_HOUR / run.fit_seconds)
        for run in runs
        if run.energy_wh is not None
    ]
    of_model = [value for name, value in watts if name == model]
    powers = of_model or [value for _, value in watts]
    return float(np.median(powers)) if powers else None


def _totals(told: Sequence[Told], jobs: int, price_per_hour: float | None) -> list[str]:
    """Time, energy and cost. All fits are taken to be off the same way, so their ranges add up."""
    if not told:
        return []
    ends = [sum(each.seconds * each.factor**sign for each in told) / jobs for sign in (0, -1, 1)]
    middle, low, high = map(duration, ends)
    lines = [f"time    {middle} ({low} to {high})"]
    energy = [each.energy_wh for each in told if each.energy_wh is not None]
    complete = len(energy) == len(told)
    lines.append(
        f"energy  {sum(energy):.3g} Wh" if complete else "energy  unknown: never measured here"
    )
    if price_per_hour is not None:
        cost, least, most = (seconds * price_per_hour / SECONDS_PER_HOUR for seconds in ends)
        lines.append(
            f"cost    {cost:.2f} ({least:.2f} to {most:.2f}), at {price_per_hour:g} an hour"
        )
    return lines


def _by_source(told: Sequence[Told], reaches: dict[str, tuple[float, bool]]) -> list[str]:
    """How many fits each source told of, and how far it is off."""
    counts = Counter(each.source for each in told)
    return [
        f"{counts[name]} from {name}: within a factor of {factor:.3g}, "
        + ("as 9 of 10 runs here were" if shown else "assumed, too few runs here to tell")
        for name, (factor, shown) in reaches.items()
        if counts[name]
    ]
