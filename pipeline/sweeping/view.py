"""What a sweep tells while it goes: a live table in a terminal, else a line per ended run."""

import re
import time
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pipeline.sweeping.jobs import Ended, Job, last_line

REFRESH_SECONDS = 0.5
PLACE = re.compile(r"^\[\d+/\d+\] ")  # of a run in the grid; here its place in the sweep is told


class View(AbstractContextManager["View"]):
    """Counts what is done and shows what runs; `total` is the number of runs to make."""

    def __init__(self, console: Console, jobs: int) -> None:
        self.total = self.n_ended = self.n_failed = 0
        self._console, self._jobs = console, jobs
        self._started: dict[Job, float] = {}
        self._seconds: list[float] = []
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown_at = 0.0

    def __enter__(self) -> "View":
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.update(Text(), refresh=True)
            self._live.stop()

    def say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def started(self, job: Job) -> None:
        self._started[job] = time.monotonic()

    def ended(self, end: Ended) -> None:
        seconds = time.monotonic() - self._started.pop(end.job)
        self.n_ended += 1
        self._seconds.append(seconds)
        said = PLACE.sub("", end.reason or end.job.name)
        if end.exit_code != 0:
            self.n_failed += 1
            said = f"FAILED {end.job.name}: {end.reason or f'exit code {end.exit_code}'}"
        self.say(f"[{self.n_ended}/{self.total}] {said}")

    def again(self, end: Ended) -> None:
        """A job that asked for another try."""
        self._started.pop(end.job)
        self.say(f"{end.job.name}: to be tried again: {end.reason}")

    def refresh(self) -> None:
        """Show the running jobs anew, twice a second at most."""
        now = time.monotonic()
        if self._live and now - self._shown_at >= REFRESH_SECONDS:
            self._shown_at = now
            self._live.update(Group(self._table(now), Text(self._summary())), refresh=True)

    def _table(self, now: float) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        for job, started in self._started.items():
            table.add_row(f"{now - started:4.0f} s", job.name, Text(last_line(job.log) or ""))
        return table

    def _summary(self) -> str:
        waiting = self.total - self.n_ended - len(self._started)
        parts = [f"{self.n_ended} of {self.total} ended", f"{waiting} waiting"]
        if self.n_failed:
            parts.append(f"{self.n_failed} failed")
        if self._seconds:
            mean = sum(self._seconds) / len(self._seconds)
            left = mean * (self.total - self.n_ended) / self._jobs
            parts.append(f"about {left / 60:.0f} min left" if left > 90 else f"{left:.0f} s left")
        return ", ".join(parts)
