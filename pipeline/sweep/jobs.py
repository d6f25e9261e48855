"""What passes between the sweep and its engines: jobs, their ends, and the options of the command.

`Options.check` refuses options that contradict each other before anything runs. A sweep with
nothing to do imports this, so NumPy, which the machine's description needs, comes in later.
"""

import json
import re
import signal
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pipeline.core.errors import PipelineError, TryAgain, near_matches
from pipeline.core.processes import usable_cores

if TYPE_CHECKING:
    from pipeline.study.params import Cell

TRY_AGAIN = 75  # the exit code of a run that asks for another try
CHEAP, GRID = "cheap", "grid"
AUTO, YES, NO = "auto", "yes", "no"
NOTES = ("note: ", "warning: ")  # how lines begin that a stage prints below its summary
LOG_END = 16_000  # bytes of a log that are looked at


class Stopped(TryAgain):
    """A signal has ended the sweep, such as that of Ctrl-C; what was done is committed."""


@dataclass(frozen=True)
class Job:
    """One stage's command (of several, a line each), and the files that tell of it.

    `key` identifies the stage's inputs when the job was planned. After success the worker writes it
    into `receipt`, with the SHA-256 of every output: proof that the outputs are of these inputs.
    `cell` is the one that a fine-tune makes, None for other stages; `threads` is how many threads
    the job computes with. `checked_params` is the signature of params.yaml when the sweep found no
    odd word in it.
    """

    name: str
    command: str
    key: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    root: Path
    log: Path
    receipt: Path
    cell: "Cell | None" = None
    threads: int = 1
    checked_params: str | None = None

    @property
    def progress(self) -> Path:
        """Where a fit reports how far it is."""
        return self.log.with_suffix(".progress")

    @property
    def architecture(self) -> str | None:
        """Of a fine-tune, what a process plans and loads kernels for: its model without the tag."""
        return None if self.cell is None else self.cell.model.partition(".")[0]


@dataclass(frozen=True)
class Ended:
    """How a job ended; `reason` is what it printed last (`last_message`), if anything.

    An exit code below zero is the signal that killed it.
    """

    job: Job
    exit_code: int
    reason: str | None

    @property
    def again(self) -> bool:
        """Was it killed, or does it ask for another try?"""
        return self.exit_code < 0 or self.exit_code == TRY_AGAIN

    @property
    def why(self) -> str:
        """Why it failed, in a few words."""
        if self.exit_code == -signal.SIGKILL:
            return "killed by SIGKILL, as the kernel does where memory runs out: try fewer --jobs"
        if self.exit_code < 0:
            return f"killed by {signal.Signals(-self.exit_code).name}"
        return self.reason or f"exit code {self.exit_code}"


class Engine(Protocol):
    """Where jobs run. Whatever happens to this process, no job may outlive it."""

    @property
    @abstractmethod
    def free(self) -> int: ...
    @property
    @abstractmethod
    def running(self) -> list[Job]: ...

    def ordered(self, jobs: Iterable[Job]) -> list[Job]:
        """In which order to start these; by default the given one."""
        return list(jobs)

    def admits(self, job: Job) -> bool:
        """Whether this job may start now, where the engine is free."""
        return True

    @abstractmethod
    def load(self) -> None: ...

    def loaded(self, seconds: float) -> bool:
        """Whether `load` has come to an end, after at most so many seconds."""
        return True

    @abstractmethod
    def start(self, job: Job) -> None: ...
    @abstractmethod
    def wait(self, seconds: float) -> list[Ended]: ...
    @abstractmethod
    def stop(self) -> None: ...


def last_line(log: Path) -> str | None:
    """The last line with text in a job's log."""
    return next(reversed(_last_lines(log)), None)


def last_message(job: Job, exit_code: int) -> str | None:
    """The last line of a job's log. If the job is no fit and went well, notes do not count: it is
    the last other line, with the notes after it.
    """
    lines = _last_lines(job.log)
    if exit_code != 0 or job.cell is not None:
        return next(reversed(lines), None)
    last = next((n for n, line in enumerate(reversed(lines), 1) if not line.startswith(NOTES)), 0)
    return "\n".join(lines[-last:]) or None


def _last_lines(log: Path) -> list[str]:
    """The lines with text at the end of a log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - LOG_END))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return [line.strip() for line in lines if line.strip()]


LIMIT = 5  # runs in a row that fail for one reason


class Streak:
    """Counts the ends of runs that failed for one reason, one directly after the other."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._same: str | None = None
        self._who: set[str] = set()

    def count(self, end: Ended) -> None:
        """Count this end, or start anew if it is a good one or has another reason."""
        failed_itself = end.exit_code == 0
        reason = _recorded_failure(end) if failed_itself else end.reason
        same = None if reason is None else without_names(reason, end.job)
        if same != self._same:
            self._who = set()
        self._same, self.reason = same, reason
        if same is not None:
            cell = end.job.cell
            self._who.add(cell.model if failed_itself and cell else end.job.name)

    @property
    def is_long(self) -> bool:
        return len(self._who) >= LIMIT


def without_names(reason: str, job: Job) -> str:
    """The reason without what differs from run to run: the run's own names, and numbers."""
    cell = job.cell
    names = {*job.outs, *((cell.dataset, cell.model, cell.recipe) if cell else ())}
    for name in sorted(names, key=len, reverse=True):
        if len(name) > 2:
            reason = reason.replace(name, "...")
    return re.sub(r"\d+", "0", reason)


def _recorded_failure(end: Ended) -> str | None:
    """The reason in the record that the run made, if it says `failed`."""
    for out in end.job.outs:
        try:
            record = json.loads((end.job.root / Path(out)).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # a folder, or no record
            continue
        if isinstance(record, dict) and record.get("status") == "failed":
            return str(record.get("reason"))
    return None


def share_of(text: str | None) -> float | str | None:
    """`--gpus-per-run` as a number where it is one."""
    try:
        return None if text is None else float(text)
    except ValueError:
        return text


@dataclass(frozen=True)
class Options:
    """The options of `python -m pipeline.sweep`; what they mean stands in docs/sweep.md."""

    jobs: int | None = None
    gpus_per_run: float | str | None = None  # a part of a GPU, or auto
    exclusive: bool = False
    order: str = CHEAP
    warm: str = AUTO
    pull: bool = False
    max_failures: int | None = None
    keep_going: bool = False
    address: str | None = None
    dry_run: bool = False
    price_per_hour: float | None = None
    fit_on: str | None = None

    def check(self) -> None:
        """Raise for a value that cannot be, or two that contradict each other."""
        for name, value in (("--jobs", self.jobs), ("--max-failures", self.max_failures)):
            if value is not None and value < 1:
                raise PipelineError(f"{name} {value}: write 1 or more")
        if self.order not in (CHEAP, GRID):
            raise PipelineError(f"--order {self.order}: {near_matches(self.order, (CHEAP, GRID))}")
        if self.warm not in (AUTO, YES, NO):
            said = near_matches(self.warm, (AUTO, YES, NO))
            raise PipelineError(f"--warm {self.warm}: {said}")
        if self.warm == YES and self.address is not None:
            raise PipelineError(
                "--warm yes: the hosts of a cluster give each run a fresh process: leave it out"
            )
        price = self.price_per_hour
        if price is not None and not 0 <= price < float("inf"):
            raise PipelineError(f"--price-per-hour {price:g}: write a number from 0 on")
        if price is not None and not self.dry_run:
            raise PipelineError("--price-per-hour: only --dry-run tells a cost: add it")
        if self.fit_on is not None and not self.dry_run:
            raise PipelineError(f"--fit-on {self.fit_on}: only --dry-run estimates: add it")
        if self.fit_on is not None and self.gpus_per_run not in (None, 1):
            raise PipelineError(
                f"--fit-on {self.fit_on} --gpus-per-run {self.gpus_per_run}: what fits take that "
                "share a GPU is known only there: leave one out"
            )
        self._check_share()
        if self.pull and self.dry_run:
            raise PipelineError("--dry-run fetches nothing, --pull does: leave one out")

    def _check_share(self) -> None:
        share = self.gpus_per_run
        if share is None:
            return
        if share != AUTO and not (isinstance(share, float | int) and 0 < share <= 1):
            raise PipelineError(
                f"--gpus-per-run {share}: write auto, or a part of one GPU, above 0 and at most 1"
            )
        if share == AUTO and self.address is not None:
            raise PipelineError(
                "--gpus-per-run auto is for one machine: on a cluster write a part, such as 0.5"
            )
        if share != 1 and self.exclusive:
            raise PipelineError(
                f"--exclusive gives each run a GPU of its own, --gpus-per-run {share} does not: "
                "leave one out"
            )

    @property
    def keeps_warm(self) -> bool:
        """Does one process make the runs of an architecture, one after another?"""
        from pipeline.hardware.machine import visible_gpus

        if self.address is not None:
            return False
        return self.warm == YES or (self.warm == AUTO and bool(visible_gpus()))

    def runs_at_a_time(self, threads: int) -> int:
        """How many runs of so many threads this machine makes at a time. With `fit_on` it is one,
        unless `jobs` says otherwise.
        """
        from pipeline.hardware.machine import default_jobs, visible_gpus

        if self.fit_on is not None:
            return self.jobs or 1
        n_gpus, n_cores = len(visible_gpus()), usable_cores()
        if self.gpus_per_run is not None and not n_gpus:
            raise PipelineError(f"--gpus-per-run {self.gpus_per_run}: no GPU is visible here")
        if self.exclusive:
            own = max(1, n_cores // threads)
            room = min(n_gpus, own) if n_gpus else own
        elif self.gpus_per_run == AUTO:
            return min(n_gpus, self.jobs or n_gpus)  # at least: how many more, the runs will say
        elif isinstance(self.gpus_per_run, float | int):
            room = n_gpus * int(1 / self.gpus_per_run + 1e-9)
        else:
            return self.jobs or default_jobs(threads)
        if self.jobs is not None and self.jobs > room:
            asked = "--exclusive" if self.exclusive else f"--gpus-per-run {self.gpus_per_run}"
            what = f"{n_gpus} GPUs" if n_gpus else f"{n_cores} cores"
            raise PipelineError(f"--jobs {self.jobs} {asked}: {what} have room for {room}")
        return self.jobs or room
