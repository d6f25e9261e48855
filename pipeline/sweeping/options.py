"""What a sweep was asked for; what contradicts itself or the machine is told at once."""

import os
from dataclasses import dataclass

from pipeline.core.errors import PipelineError, near_matches
from pipeline.sweeping.engine import default_jobs, visible_gpus

CHEAP, GRID = "cheap", "grid"


@dataclass(frozen=True)
class Options:
    """The options of `python -m pipeline.sweep`; what they mean stands in docs/sweep.md."""

    jobs: int | None = None
    gpus_per_run: float | None = None
    exclusive: bool = False
    order: str = CHEAP
    pull: bool = False
    max_failures: int | None = None
    keep_going: bool = False
    address: str | None = None
    dry_run: bool = False
    price_per_hour: float | None = None

    def check(self) -> None:
        """Raise for a value that cannot be, or two that contradict each other."""
        for name, value in (("--jobs", self.jobs), ("--max-failures", self.max_failures)):
            if value is not None and value < 1:
                raise PipelineError(f"{name} {value}: write 1 or more")
        if self.order not in (CHEAP, GRID):
            raise PipelineError(f"--order {self.order}: {near_matches(self.order, (CHEAP, GRID))}")
        price = self.price_per_hour
        if price is not None and not 0 <= price < float("inf"):
            raise PipelineError(f"--price-per-hour {price:g}: write a number from 0 on")
        share = self.gpus_per_run
        if share is not None and not 0 < share <= 1:
            raise PipelineError(
                f"--gpus-per-run {share}: write a part of one GPU, above 0 and at most 1"
            )
        if share is not None and share < 1 and self.exclusive:
            raise PipelineError(
                f"--exclusive gives each run a GPU of its own, --gpus-per-run {share} does not: "
                "leave one out"
            )
        if self.pull and self.dry_run:
            raise PipelineError("--dry-run touches nothing, --pull fetches: leave one out")

    def runs_at_a_time(self, threads: int) -> int:
        """How many runs of so many threads go at a time on this machine."""
        n_gpus, n_cores = len(visible_gpus()), len(os.sched_getaffinity(0))
        if self.gpus_per_run is not None and not n_gpus:
            raise PipelineError(f"--gpus-per-run {self.gpus_per_run}: no GPU is visible here")
        if self.exclusive:
            own = max(1, n_cores // threads)
            room = min(n_gpus, own) if n_gpus else own
        elif self.gpus_per_run is not None:
            room = n_gpus * int(1 / self.gpus_per_run + 1e-9)
        else:
            return self.jobs or default_jobs(threads)
        if self.jobs is not None and self.jobs > room:
            asked = "--exclusive" if self.exclusive else f"--gpus-per-run {self.gpus_per_run}"
            what = f"{n_gpus} GPUs" if n_gpus else f"{n_cores} cores"
            raise PipelineError(f"--jobs {self.jobs} {asked}: {what} have room for {room}")
        return self.jobs or room
