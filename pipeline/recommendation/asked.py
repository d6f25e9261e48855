"""What a user asks for: the limits given on the command line, as they were written."""

from dataclasses import dataclass

import pandas as pd

from pipeline.recommendation.limits import (
    Excludes,
    Limit,
    SmallAndFast,
    memory_gib,
    seconds,
    throughput,
)
from pipeline.tables.small_fast import memory_column

MEMORY, TIME, SPEED = "--max-memory", "--max-fit-time", "--min-throughput"
SMALL = "--smaller-and-faster-than-median"


@dataclass(frozen=True)
class Asked:
    """The options; what was not given is None or False. Bad units are told when it is made."""

    max_memory: str | None = None
    max_fit_time: str | None = None
    min_throughput: float | None = None
    small_and_fast: bool = False

    def __post_init__(self) -> None:
        if self.max_memory is not None:
            memory_gib(MEMORY, self.max_memory)
        if self.max_fit_time is not None:
            seconds(TIME, self.max_fit_time)
        if self.min_throughput is not None:
            throughput(SPEED, self.min_throughput)

    def of_runs(self, ranked: pd.DataFrame) -> list[Excludes]:
        """The limits on rows of the leaderboard; memory is the GPU's, on a CPU the process's."""
        limits: list[Excludes] = []
        if self.max_memory is not None:
            bound = memory_gib(MEMORY, self.max_memory)
            limits.append(Limit(MEMORY, memory_column(ranked), bound, "GiB"))
        if self.max_fit_time is not None:
            bound = seconds(TIME, self.max_fit_time)
            limits.append(Limit(TIME, "fit_seconds_median", bound, "s"))
        if self.min_throughput is not None:
            column = "images_per_second_median"
            limits.append(Limit(SPEED, column, self.min_throughput, "images/s", least=True))
        if self.small_and_fast:
            limits.append(SmallAndFast(SMALL))
        return limits

    def of_published(self) -> list[Limit]:
        """The limits on published rows: only a throughput can be judged without a run."""
        if self.min_throughput is None:
            return []
        return [Limit(SPEED, "samples_per_second", self.min_throughput, "samples/s", least=True)]

    def not_judged(self) -> list[str]:
        """The options that need a run."""
        given = {
            MEMORY: self.max_memory is not None,
            TIME: self.max_fit_time is not None,
            SMALL: self.small_and_fast,
        }
        return [option for option, is_given in given.items() if is_given]
