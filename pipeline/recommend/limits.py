"""What a model may need at most: limits as the user writes them, and which models they exclude.

A time or a cost that is unknown excludes nothing; a licence or a serving speed that is unknown
does. The time of a run that shared its device is an upper bound: alone, the fit takes at most that
long. What the run computed meanwhile is a lower one, see `least_share_alone`.
"""

import math
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Protocol

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.statistics.fit_times import (
    AT_LEAST,
    AT_MOST,
    ESTIMATED_SECONDS,
    SECONDS_AT_LEAST,
    memory_column,
    small_and_fast,
)
from pipeline.timm_results.imagenet import IPS, MILLISECONDS
from pipeline.timm_results.licences import commercial, shown

GIB_OF = {
    **{"b": 2**-30, "kib": 2**-20, "mib": 2**-10, "gib": 1.0, "tib": 2.0**10},
    **{"kb": 1e3 / 2**30, "mb": 1e6 / 2**30, "gb": 1e9 / 2**30, "tb": 1e12 / 2**30},
}
SECONDS_OF = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
NUMBER = r"(\d+(?:\.\d+)?)\s*([a-z]+)"


class Excludes(Protocol):
    """Which rows of the leaderboard a limit keeps, which of them it cannot judge, in words."""

    @property
    def option(self) -> str: ...

    def keeps(self, rows: pd.DataFrame) -> pd.Series: ...

    def unknown(self, rows: pd.DataFrame) -> pd.Series: ...

    def told(self, rows: pd.DataFrame) -> str: ...


@dataclass(frozen=True)
class SmallAndFast:
    """Keeps the rows of small_and_fast.csv."""

    option: str

    def keeps(self, rows: pd.DataFrame) -> pd.Series:
        """Bool per row: below the median in memory and in time, of its dataset and recipe, or
        without one of the two numbers.
        """
        small = small_and_fast(rows)
        key = ["dataset", "recipe", "model"]
        kept = rows.set_index(key).index.isin(small.set_index(key).index)
        return pd.Series(kept, index=rows.index) | self.unknown(rows)

    def unknown(self, rows: pd.DataFrame) -> pd.Series:
        missing: pd.Series = (
            rows[[memory_column(rows), "steady_fit_seconds_median"]].isna().any(axis=1)
        )
        return missing

    def told(self, rows: pd.DataFrame) -> str:
        out = int((~self.keeps(rows)).sum())
        return f"{self.option} excludes {out} of {len(rows)} {_models(rows)}"


@dataclass(frozen=True)
class Limit:
    """One option: `column` of the leaderboard must not exceed `bound`, or be below it if `least`.

    `unit` is written behind numbers of the column. Where it is null, `at_worst` may know a value
    that the true one does not exceed (is not below if `least`), and `at_best` one that it is not
    below.
    """

    option: str
    column: str
    bound: float
    unit: str
    least: bool = False
    at_worst: str | None = None
    at_best: str | None = None

    def keeps(self, rows: pd.DataFrame) -> pd.Series:
        """Bool per row; what is neither known nor bounded excludes nothing."""
        values = self._least(rows)
        return self._holds(values) | values.isna()

    def unknown(self, rows: pd.DataFrame) -> pd.Series:
        """Bool per row: neither the value nor a sufficient bound of it is known."""
        missing: pd.Series = rows[self.column].isna() & self.keeps(rows)
        return missing & ~self._holds(rows[self.at_worst]) if self.at_worst else missing

    def _least(self, rows: pd.DataFrame) -> pd.Series:
        """The values, and where they are null what they are at best."""
        values = rows[self.column].astype(float)
        if self.at_best is None or self.at_best not in rows:
            return values
        return values.fillna(rows[self.at_best].astype(float))

    def _holds(self, values: pd.Series) -> pd.Series:
        values = values.astype(float)
        return values >= self.bound if self.least else values <= self.bound

    def told(self, rows: pd.DataFrame) -> str:
        """What it excludes of `rows`, and what would have to be allowed for one to remain."""
        out = rows[~self.keeps(rows)]
        text = f"{self.option} excludes {len(out)} of {len(rows)} {_models(rows)}"
        if self.at_best and (bounded := int(out[self.column].isna().sum())):
            text += (
                f" ({bounded} by the least that a fit takes alone, as every run shared the device)"
            )
        if len(out) == len(rows):
            values = self._least(rows)
            place = int((values.argmax if self.least else values.argmin)())
            has = "has at least" if pd.isna(rows[self.column].iloc[place]) else "has"
            model, nearest = rows["model"].iloc[place], values.iloc[place]
            text += f"; the nearest, {model}, {has} {nearest:.3g} {self.unit}"
        return text


@dataclass(frozen=True)
class Shown(Limit):
    """A limit that a model is kept by only if it is known to keep it."""

    def keeps(self, rows: pd.DataFrame) -> pd.Series:
        return self._holds(rows[self.column])

    def unknown(self, rows: pd.DataFrame) -> pd.Series:
        """Bool per row, all False: what is not known is excluded."""
        return pd.Series(False, index=rows.index)

    def told(self, rows: pd.DataFrame) -> str:
        """As of other limits, and for how many it is not known."""
        unknown = int(rows[self.column].isna().sum())
        if unknown == len(rows):
            every = f"all {unknown} {_models(rows)}" if unknown > 1 else "the one model"
            return f"{self.option} excludes {every}: none has a known speed"
        text = super().told(rows)
        return f"{text}; of {unknown} nothing is known" if unknown else text


@dataclass(frozen=True)
class Licensed:
    """Keeps the weights whose licence allows commercial use beyond doubt; unknown is not kept."""

    option: str

    def keeps(self, rows: pd.DataFrame) -> pd.Series:
        return rows["licence"].map(commercial).astype(bool)

    def unknown(self, rows: pd.DataFrame) -> pd.Series:
        """Bool per row, all False: what is not known is excluded."""
        return pd.Series(False, index=rows.index)

    def told(self, rows: pd.DataFrame) -> str:
        """How many it excludes, and under which licences."""
        out = rows.loc[~self.keeps(rows), "licence"].map(shown)
        names = ", ".join(f"{count} {name}" for name, count in out.value_counts().items())
        text = f"{self.option} excludes {len(out)} of {len(rows)} {_models(rows)}"
        return f"{text} ({names})" if names else text


def _models(rows: pd.DataFrame) -> str:
    noun = "model" if rows["model"].is_unique else "pair"
    return noun + "s" * (len(rows) != 1) + (" of model and recipe" if noun == "pair" else "")


def gib_of(option: str, text: str) -> float:
    """`4GiB`, `500 MB` as GiB."""
    return _amount(option, text, GIB_OF, "a size such as 4GiB or 800MiB")


def seconds_of(option: str, text: str) -> float:
    """`2min`, `90s`, `1h30min` as seconds."""
    return _amount(option, text, SECONDS_OF, "a time such as 90s, 2min or 1h30min")


def milliseconds_of(option: str, text: str) -> float:
    """`5ms`, `0.1s` as milliseconds; a number alone is so many of them."""
    try:
        return above_0(option, float(text), "milliseconds")
    except ValueError:
        return 1000 * _amount(option, text, SECONDS_OF | {"ms": 0.001}, "a time such as 5ms")


def above_0(option: str, value: float, unit: str) -> float:
    if not (math.isfinite(value) and value > 0):
        raise PipelineError(f"{option} {value}: give a number of {unit} above 0")
    return value


def _amount(option: str, text: str, units: dict[str, float], expected: str) -> float:
    """The sum of all `number unit` in `text`, which must hold nothing else."""
    lowered = text.strip().lower()
    parts = re.findall(NUMBER, lowered)
    whole = re.fullmatch(rf"(?:{NUMBER}\s*)+", lowered)
    if not whole or any(unit not in units for _, unit in parts):
        raise PipelineError(f"{option} {text!r}: give {expected}")
    total = sum(float(number) * units[unit] for number, unit in parts)
    if not total > 0:
        raise PipelineError(f"{option} {text!r}: give {expected}, above 0")
    return total


MEMORY, TIME, SPEED = "--max-memory", "--max-fit-time", "--min-throughput"
SMALL = "--smaller-and-faster-than-median"
LICENCE, COMMERCIAL = "--licence", "commercial"
COST, PRICE = "--max-cost", "--price-per-hour"
MIN_IPS, LATENCY, SERVE_ON = "--min-ips", "--max-latency", "--serve-on"
FIT_ON = "--fit-on"
WAY = "whole_way_cost"  # columns of what candidates cost, see costs.py
WAY_AT_MOST, WAY_AT_LEAST = "whole_way_cost_at_most", "whole_way_cost_at_least"
MEMORY_COLUMN = "fit_memory_gib"
IN_ALL = "as the cost of the runs still to make and its last fit"
RECORDED = "as recorded in data/runs (pooled and one-off runs do not count)"
UNITS = {
    SPEED: "images per second",
    COST: "the currency of the price",
    PRICE: "that currency for an hour",
    MIN_IPS: "images per second",
}


def memory_basis(cuda: bool, known: int, n: int) -> str:
    """What --max-memory is judged by where it is not by the dataset's own runs, in a sentence."""
    by = f"the process memory of fits on a CPU, {RECORDED}, and is not estimated for other models"
    if cuda:
        by = f"the GPU memory of fits, {RECORDED}, else by an estimate"
    whose = f"of all {n:,} models" if n > 1 else "of the one model"
    if known < n:
        whose = f"of {known:,} of {n:,} model{'s' * (n > 1)}, the others stay in"
    return f"{MEMORY} is judged by {by}; it is known {whose}"


def within_all(rows: pd.DataFrame, limits: Iterable[Excludes]) -> pd.DataFrame:
    """The rows that keep each of the limits."""
    for limit in limits:
        rows = rows[limit.keeps(rows)]
    return rows


@dataclass(frozen=True)
class Asked:
    """The options; what was not given is None or False. Bad units are told when it is made."""

    max_memory: str | None = None
    max_fit_time: str | None = None
    min_throughput: float | None = None
    small_and_fast: bool = False
    licence: str | None = None
    max_cost: float | None = None
    price_per_hour: float | None = None
    min_ips: float | None = None
    max_latency: str | None = None
    serve_on: str | None = None
    fit_on: str | None = None

    def __post_init__(self) -> None:
        if self.max_memory is not None:
            gib_of(MEMORY, self.max_memory)
        if self.max_fit_time is not None:
            seconds_of(TIME, self.max_fit_time)
        if self.max_latency is not None:
            milliseconds_of(LATENCY, self.max_latency)
        numbers = {
            SPEED: self.min_throughput,
            COST: self.max_cost,
            PRICE: self.price_per_hour,
            MIN_IPS: self.min_ips,
        }
        for option, value in numbers.items():
            if value is not None:
                above_0(option, value, UNITS[option])
        if self.max_cost is not None and self.price_per_hour is None:
            where = self.fit_on or "this machine"
            raise PipelineError(f"{COST} {self.max_cost}: give {PRICE} as well, of {where}")
        if self.serve_on is not None and not self.serves:
            raise PipelineError(f"{SERVE_ON} {self.serve_on}: give {MIN_IPS} or {LATENCY} as well")
        estimated = (self.price_per_hour, self.max_fit_time, self.max_memory)
        if self.fit_on is not None and not any(each is not None for each in estimated):
            raise PipelineError(f"{FIT_ON} {self.fit_on}: give {PRICE}, {TIME} or {MEMORY} as well")
        if self.licence not in (None, COMMERCIAL):
            raise PipelineError(
                f"{LICENCE} {self.licence!r}: {COMMERCIAL} is all that can be asked for"
            )

    @property
    def given(self) -> list[str]:
        """The options that were given, as they are written."""
        names = [name for name, value in asdict(self).items() if value not in (None, False)]
        written = {name: f"--{name.replace('_', '-')}" for name in names} | {
            "small_and_fast": SMALL
        }
        return [written[name] for name in names]

    @property
    def serves(self) -> bool:
        """Whether the model must be quick enough once it is in use."""
        return self.min_ips is not None or self.max_latency is not None

    @property
    def of_any(self) -> list[Excludes]:
        """The limits that no run is needed for: on rows with a `licence`, and, where `serves`, with
        the columns of a `Serving`.
        """
        limits: list[Excludes] = []
        if self.licence is not None:
            limits.append(Licensed(f"{LICENCE} {COMMERCIAL}"))
        if self.min_ips is not None:
            limits.append(Shown(MIN_IPS, IPS, self.min_ips, "images/s", least=True))
        if self.max_latency is not None:
            bound = milliseconds_of(LATENCY, self.max_latency)
            limits.append(Shown(LATENCY, MILLISECONDS, bound, "ms for one image"))
        return limits

    @property
    def of_costs(self) -> list[Limit]:
        """The limit on rows that have the cost of the whole WAY, and its bounds."""
        if self.max_cost is None:
            return []
        most, least = WAY_AT_MOST, WAY_AT_LEAST
        return [Limit(COST, WAY, self.max_cost, IN_ALL, at_worst=most, at_best=least)]

    def of_runs(self, ranked: pd.DataFrame, image_size: int) -> list[Excludes]:
        """The limits on rows of the leaderboard; memory is the GPU's, on a CPU the process's. With
        --fit-on time and memory are those of estimates, for which the rows have columns.
        """
        if self.fit_on is not None:
            if told := [each for each in self._told_by_runs() if each not in (TIME, MEMORY)]:
                raise PipelineError(
                    f"{FIT_ON} {self.fit_on}: {told[0]} goes by this dataset's runs, wherever they "
                    "were made, and not by an estimate: leave one of the two out"
                )
            estimated = [*self.of_memory(image_size)]
            estimated += [] if self.max_fit_time is None else [self.of_estimates(image_size)]
            return [*estimated, *self.of_costs, *self.of_any]
        limits: list[Excludes] = []
        if self.max_memory is not None:
            bound = gib_of(MEMORY, self.max_memory)
            limits.append(Limit(MEMORY, memory_column(ranked), bound, "GiB"))
        if self.max_fit_time is not None:
            bound = seconds_of(TIME, self.max_fit_time)
            column, least = "steady_fit_seconds_median", SECONDS_AT_LEAST
            limits.append(Limit(TIME, column, bound, "s", at_worst=AT_MOST, at_best=least))
        if self.min_throughput is not None:
            column = "images_per_second_median"
            limits.append(
                Limit(SPEED, column, self.min_throughput, "images/s", least=True, at_worst=AT_LEAST)
            )
        if self.small_and_fast:
            limits.append(SmallAndFast(SMALL))
        return [*limits, *self.of_costs, *self.of_any]

    def of_published(self) -> list[Limit]:
        """The limits on published rows: a throughput, by the published one."""
        if self.min_throughput is None:
            return []
        return [Limit(SPEED, "samples_per_second", self.min_throughput, "samples/s", least=True)]

    def kept(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that the limits keep for which no run is needed."""
        return within_all(rows, self.of_any)

    def of_memory(self, image_size: int) -> list[Limit]:
        """--max-memory on rows that have MEMORY_COLUMN, measured or estimated at this size in
        pixels.
        """
        if self.max_memory is None:
            return []
        bound, unit = gib_of(MEMORY, self.max_memory), f"GiB (at {image_size} pixels)"
        return [Limit(f"{MEMORY} {self.max_memory}", MEMORY_COLUMN, bound, unit)]

    def of_estimates(self, image_size: int) -> Limit:
        """--max-fit-time on rows that have ESTIMATED_SECONDS at this size in pixels."""
        assert self.max_fit_time is not None
        bound = seconds_of(TIME, self.max_fit_time)
        return Limit(TIME, ESTIMATED_SECONDS, bound, f"s (estimated, at {image_size} pixels)")

    def not_judged(self) -> list[str]:
        """The options that need a run."""
        return [option for option in self._told_by_runs() if option != SPEED]

    def _told_by_runs(self) -> list[str]:
        """The options that go by what runs have measured, where there are any."""
        given = {
            MEMORY: self.max_memory is not None,
            TIME: self.max_fit_time is not None,
            SMALL: self.small_and_fast,
            SPEED: self.min_throughput is not None,
        }
        return [option for option, is_given in given.items() if is_given]
