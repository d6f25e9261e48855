"""What a model may need at most: limits as the user writes them, and which models they exclude.

A time or a cost that is unknown excludes nothing; a licence or a serving speed that is unknown
does. The time of a run that shared its device is an upper bound: alone, the fit takes at most that
long. What the run computed meanwhile is a lower one, see `least_share_alone`.
"""

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import asdict, dataclass

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

MEMORY, TIME, SPEED = "--max-memory", "--max-fit-time", "--min-throughput"
SMALL = "--smaller-and-faster-than-median"
LICENCE, COMMERCIAL = "--licence", "commercial"
COST, PRICE = "--max-cost", "--price-per-hour"
MIN_IPS, LATENCY, SERVE_ON = "--min-ips", "--max-latency", "--serve-on"
FIT_ON = "--fit-on"
REMAINING_COST = "remaining_cost"  # a column, with bounds; see costs.py
REMAINING_COST_AT_MOST = "remaining_cost_at_most"
REMAINING_COST_AT_LEAST = "remaining_cost_at_least"
MEMORY_COLUMN = "fit_memory_gib"
IN_ALL = "as the cost of the runs still to make and its last fit"
RECORDED = "as recorded in data/runs (pooled and one-off runs do not count)"
GIB_OF = {"b": 2**-30, "kib": 2**-20, "mib": 2**-10, "gib": 1.0, "tib": 2.0**10}
GIB_OF |= {"kb": 1e3 / 2**30, "mb": 1e6 / 2**30, "gb": 1e9 / 2**30, "tb": 1e12 / 2**30}
SECONDS_OF = {"s": 1.0, "sec": 1.0, "min": 60.0, "m": 60.0, "h": 3600.0}
NUMBER = r"(\d+(?:\.\d+)?)\s*([a-z]+)"


@dataclass(frozen=True)
class Constraint(ABC):
    """Which rows of the leaderboard an option keeps, and in words which it excludes."""

    option: str

    @abstractmethod
    def keeps(self, rows: pd.DataFrame) -> pd.Series:
        """Bool per row."""

    def unknown(self, rows: pd.DataFrame) -> pd.Series:
        """Bool per row: kept only because nothing is known of it; by default such are excluded."""
        return pd.Series(False, index=rows.index)

    def summary(self, rows: pd.DataFrame) -> str:
        """How many of `rows` it excludes."""
        out = int((~self.keeps(rows)).sum())
        return f"{self.option} excludes {out} of {len(rows)} {_models(rows)}"


@dataclass(frozen=True)
class SmallAndFast(Constraint):
    """Keeps the rows of small_and_fast.csv."""

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


@dataclass(frozen=True)
class Limit(Constraint):
    """`column` of the leaderboard, in `unit`, must be `bound` at most, or at least if `is_minimum`.

    Where it is null, columns `at_worst` and `at_best` may have bounds of the true value.
    """

    column: str
    bound: float
    unit: str
    is_minimum: bool = False
    at_worst: str | None = None
    at_best: str | None = None

    def keeps(self, rows: pd.DataFrame) -> pd.Series:
        """Bool per row; what is neither known nor bounded excludes nothing."""
        values = self._at_best(rows)
        return self._holds(values) | values.isna()

    def unknown(self, rows: pd.DataFrame) -> pd.Series:
        """Bool per row: neither the value nor a sufficient bound of it is known."""
        missing: pd.Series = rows[self.column].isna() & self.keeps(rows)
        return missing & ~self._holds(rows[self.at_worst]) if self.at_worst else missing

    def _at_best(self, rows: pd.DataFrame) -> pd.Series:
        """The values; where they are null, their bounds at best."""
        values = rows[self.column].astype(float)
        if self.at_best is None or self.at_best not in rows:
            return values
        return values.fillna(rows[self.at_best].astype(float))

    def _holds(self, values: pd.Series) -> pd.Series:
        values = values.astype(float)
        return values >= self.bound if self.is_minimum else values <= self.bound

    def summary(self, rows: pd.DataFrame) -> str:
        """What it excludes of `rows`, and what would have to be allowed for one to remain."""
        text, out = super().summary(rows), rows[~self.keeps(rows)]
        if self.at_best and (bounded := int(out[self.column].isna().sum())):
            text += (
                f" ({bounded} by the least that a fit takes alone, as every run shared the device)"
            )
        if len(out) == len(rows):
            values = self._at_best(rows)
            place = int((values.argmax if self.is_minimum else values.argmin)())
            has = "has at least" if pd.isna(rows[self.column].iloc[place]) else "has"
            model, nearest = rows["model"].iloc[place], values.iloc[place]
            text += f"; the nearest, {model}, {has} {nearest:.3g} {self.unit}"
        return text


@dataclass(frozen=True)
class StrictLimit(Limit):
    """A limit that excludes what is not known."""

    def keeps(self, rows: pd.DataFrame) -> pd.Series:
        return self._holds(rows[self.column])

    def unknown(self, rows: pd.DataFrame) -> pd.Series:
        return Constraint.unknown(self, rows)

    def summary(self, rows: pd.DataFrame) -> str:
        """As of other limits, and for how many it is not known."""
        unknown = int(rows[self.column].isna().sum())
        if unknown == len(rows):
            every = f"all {unknown} {_models(rows)}" if unknown > 1 else "the one model"
            return f"{self.option} excludes {every}: none has a known speed"
        text = super().summary(rows)
        return f"{text}; of {unknown} nothing is known" if unknown else text


@dataclass(frozen=True)
class CommercialLicence(Constraint):
    """Keeps the weights whose licence allows commercial use beyond doubt."""

    def keeps(self, rows: pd.DataFrame) -> pd.Series:
        return rows["licence"].map(commercial).astype(bool)

    def summary(self, rows: pd.DataFrame) -> str:
        """How many it excludes, and under which licences."""
        out = rows.loc[~self.keeps(rows), "licence"].map(shown)
        names = ", ".join(f"{count} {name}" for name, count in out.value_counts().items())
        return super().summary(rows) + (f" ({names})" if names else "")


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


def memory_basis(rows: pd.DataFrame, cuda: bool) -> str:
    """What --max-memory is judged by on rows that have MEMORY_COLUMN, in a sentence."""
    known, n = rows.loc[rows[MEMORY_COLUMN].notna(), "model"].nunique(), rows["model"].nunique()
    by = f"the process memory of fits on a CPU, {RECORDED}, and is not estimated for other models"
    if cuda:
        by = f"the GPU memory of fits, {RECORDED}, else by an estimate"
    whose = f"of all {n:,} models" if n > 1 else "of the one model"
    if known < n:
        whose = f"of {known:,} of {n:,} model{'s' * (n > 1)}, the others stay in"
    return f"{MEMORY} is judged by {by}; it is known {whose}"


def effects(limits: Iterable[Constraint], rows: pd.DataFrame) -> tuple[list[str], list[str]]:
    """What each limit excludes of `rows`, in words; and the options that exclude nothing."""
    keeps_all = {limit: bool(limit.keeps(rows).all()) for limit in limits}
    excluded = [limit.summary(rows) for limit, every in keeps_all.items() if not every]
    return excluded, [limit.option for limit, every in keeps_all.items() if every]


def within_all(rows: pd.DataFrame, limits: Iterable[Constraint]) -> pd.DataFrame:
    """The rows that keep each of the limits."""
    for limit in limits:
        rows = rows[limit.keeps(rows)]
    return rows


@dataclass(frozen=True)
class Limits:
    """The options of the commands; one that was not given is None or False.

    Raises `PipelineError` for bad units, and for options that need or contradict another.
    """

    max_memory: str | None = None
    max_fit_time: str | None = None
    min_throughput: float | None = None
    smaller_and_faster_than_median: bool = False
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
        for option, value, unit in (
            (SPEED, self.min_throughput, "images per second"),
            (COST, self.max_cost, "the currency of the price"),
            (PRICE, self.price_per_hour, "that currency for an hour"),
            (MIN_IPS, self.min_ips, "images per second"),
        ):
            if value is not None:
                above_0(option, value, unit)
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
        return [f"--{name.replace('_', '-')}" for name in names]

    @property
    def serves(self) -> bool:
        """Whether the model must be quick enough once it is in use."""
        return self.min_ips is not None or self.max_latency is not None

    @property
    def of_any(self) -> list[Constraint]:
        """The limits that no run is needed for: on rows with a `licence`, and, where `serves`, with
        the columns of a `Serving`.
        """
        limits: list[Constraint] = []
        if self.licence is not None:
            limits.append(CommercialLicence(f"{LICENCE} {COMMERCIAL}"))
        if self.min_ips is not None:
            limits.append(StrictLimit(MIN_IPS, IPS, self.min_ips, "images/s", is_minimum=True))
        if self.max_latency is not None:
            bound = milliseconds_of(LATENCY, self.max_latency)
            limits.append(StrictLimit(LATENCY, MILLISECONDS, bound, "ms for one image"))
        return limits

    @property
    def of_costs(self) -> list[Limit]:
        """--max-cost on rows that have REMAINING_COST and its bounds."""
        if self.max_cost is None:
            return []
        most, least = REMAINING_COST_AT_MOST, REMAINING_COST_AT_LEAST
        return [Limit(COST, REMAINING_COST, self.max_cost, IN_ALL, at_worst=most, at_best=least)]

    def of_runs(self, ranked: pd.DataFrame, image_size: int) -> list[Constraint]:
        """The limits on rows of the leaderboard; memory is the GPU's, on a CPU the process's. With
        --fit-on time and memory are those of estimates, for which the rows have columns.
        """
        if self.fit_on is not None:
            if others := [each for each in (SMALL, SPEED) if each in self.given]:
                raise PipelineError(
                    f"{FIT_ON} {self.fit_on}: {others[0]} goes by this dataset's runs, wherever "
                    "they were made, and not by an estimate: leave one of the two out"
                )
            estimated = [*self.of_memory(image_size), *self.of_time(image_size)]
            return [*estimated, *self.of_costs, *self.of_any]
        limits: list[Constraint] = []
        if self.max_memory is not None:
            bound = gib_of(MEMORY, self.max_memory)
            limits.append(Limit(MEMORY, memory_column(ranked), bound, "GiB"))
        if self.max_fit_time is not None:
            bound = seconds_of(TIME, self.max_fit_time)
            column, least = "steady_fit_seconds_median", SECONDS_AT_LEAST
            limits.append(Limit(TIME, column, bound, "s", at_worst=AT_MOST, at_best=least))
        if self.min_throughput is not None:
            column, bound = "images_per_second_median", self.min_throughput
            limits.append(
                Limit(SPEED, column, bound, "images/s", is_minimum=True, at_worst=AT_LEAST)
            )
        if self.smaller_and_faster_than_median:
            limits.append(SmallAndFast(SMALL))
        return [*limits, *self.of_costs, *self.of_any]

    def of_published(self) -> list[Limit]:
        """The limits on published rows: a throughput, by the published one."""
        if self.min_throughput is None:
            return []
        return [
            Limit(SPEED, "samples_per_second", self.min_throughput, "samples/s", is_minimum=True)
        ]

    def kept(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that the limits keep for which no run is needed."""
        return within_all(rows, self.of_any)

    def of_memory(self, image_size: int) -> list[Limit]:
        """--max-memory on rows that have MEMORY_COLUMN, of fits at this size in pixels."""
        if self.max_memory is None:
            return []
        bound, unit = gib_of(MEMORY, self.max_memory), f"GiB (at {image_size} pixels)"
        return [Limit(f"{MEMORY} {self.max_memory}", MEMORY_COLUMN, bound, unit)]

    def of_time(self, image_size: int) -> list[Limit]:
        """--max-fit-time on rows that have ESTIMATED_SECONDS, of fits at this size in pixels."""
        if self.max_fit_time is None:
            return []
        bound, unit = seconds_of(TIME, self.max_fit_time), f"s (estimated, at {image_size} pixels)"
        return [Limit(TIME, ESTIMATED_SECONDS, bound, unit)]

    def not_judged(self) -> list[str]:
        """The options that need a run."""
        return [option for option in (MEMORY, TIME, SMALL) if option in self.given]
