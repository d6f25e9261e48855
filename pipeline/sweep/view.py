"""What a sweep tells while it goes: a live table in a terminal, else a line per ended run."""

import time
from contextlib import AbstractContextManager
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pipeline.core.progress import last_progress
from pipeline.core.text import duration
from pipeline.sweep.jobs import Ended, Job, last_line

REFRESH_SECONDS = 0.5
MOST_ROWS = 16  # of running runs in the table


class View(AbstractContextManager["View"]):
    """Counts what is done and shows what runs.

    `waiting` is what each run that has not started is thought to cost, in any unit.
    """

    def __init__(self, console: Console, jobs: int) -> None:
        self.waiting: dict[str, float] = {}
        self.n_ended = self.n_failed = 0
        self._console, self._jobs = console, jobs
        self._started: dict[Job, tuple[float, float]] = {}  # price, when
        self._ended_seconds = self._ended_price = 0.0
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown_at = 0.0

    @property
    def total(self) -> int:
        """How many runs there are to make in all."""
        return self.n_ended + len(self._started) + len(self.waiting)

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
        self._started[job] = self.waiting.pop(job.name), time.monotonic()

    def ended(self, end: Ended) -> None:
        price, started = self._started.pop(end.job)
        self.n_ended += 1
        self._ended_seconds += time.monotonic() - started
        self._ended_price += price
        said = end.reason or end.job.name
        if end.exit_code != 0:
            self.n_failed += 1
            said = f"FAILED {end.job.name}: {end.why}"
        self.say(f"[{self.n_ended}/{self.total}] {said}")

    def again(self, end: Ended) -> None:
        """A job that was killed or asked for another try."""
        self.waiting[end.job.name], _ = self._started.pop(end.job)
        self.say(f"{end.job.name}: to be tried again: {end.why}")

    def refresh(self) -> None:
        """Show the running jobs anew, twice a second at most."""
        now = time.monotonic()
        if self._live and now - self._shown_at >= REFRESH_SECONDS:
            self._shown_at = now
            self._live.update(Group(*self._rows(now), self._summary(now)), refresh=True)

    def seconds_left(self, now: float) -> float | None:
        """If the rest takes as long for its price as what has ended; None before anything has."""
        if not self._ended_price:
            return None
        rate = self._ended_seconds / self._ended_price
        running = [
            max(0.0, rate * price - (now - begun)) for price, begun in self._started.values()
        ]
        rest = sum(running) + rate * sum(self.waiting.values())
        at_a_time = max(self._jobs, len(self._started))  # of a cluster it is known only meanwhile
        return max([rest / at_a_time, *running])

    def _rows(self, now: float) -> list[Text]:
        """A line per running run, none longer than the terminal is wide."""
        shown = list(self._started.items())[:MOST_ROWS]
        names = [job.name.removeprefix("finetune@") for job, _ in shown]
        width = max(map(len, names), default=0)
        rows = []
        for name, (job, (_, started)) in zip(names, shown, strict=True):
            so_far = Text(how_far(job), style="dim")
            row = Text(f"{duration(now - started):>11}  {name:<{width}}  ").append_text(so_far)
            row.truncate(self._console.width, overflow="ellipsis")
            rows.append(row)
        if hidden := len(self._started) - len(shown):
            rows.append(Text(f"{'':11}  and {hidden} more"))
        return rows

    def _summary(self, now: float) -> Text:
        parts = [
            (f"{self.n_ended - self.n_failed} done", "green"),
            (f"{len(self._started)} running", "cyan"),
            *([(f"{self.n_failed} failed", "bold red")] if self.n_failed else []),
            (f"{len(self.waiting)} waiting", ""),
        ]
        left = self.seconds_left(now)
        if left is not None:
            parts.append((f"{duration(left)} left", "bold"))
        return Text(", ").join(Text(*each) for each in parts)


def how_far(job: Job) -> str:
    """What a run has reported of its progress; before that, the last line it printed."""
    progress = last_progress(job.progress)
    if progress is None:
        return last_line(job.log) or ""
    where = f"epoch {progress.epoch}/{progress.epochs}"
    return f"{where}, loss {progress.valid_loss:.3f}, error {progress.error_rate:.4f}"
