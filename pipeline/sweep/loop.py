"""The sweep's loop: plan what is ready, start it, handle its end, commit in batches; and its view.

Between any two steps the process may be killed. What is then in dvc.lock is done; what has outputs
and a receipt is committed by the next sweep; the rest is run again. Runs that fail one after the
other for one reason end the sweep early (`Streak`). The view is a live table in a terminal, else a
line per run that ended, and one about those under way where a minute passes without.
"""

import re
import time
from collections import deque
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from pipeline.core.command import duration
from pipeline.core.errors import PipelineError
from pipeline.core.processes import last_progress
from pipeline.study.params import Cell
from pipeline.sweep.dvc_private import Stage, changed_outs, is_cached, name_of, remove_outs, restore
from pipeline.sweep.jobs import AUTO, CHEAP, Ended, Engine, Job, Options, Streak, last_line
from pipeline.sweep.project import Project

REFRESH_SECONDS = 0.5
QUIET_SECONDS, QUIET_ROWS = 300.0, 4  # after which running runs are shown without a terminal
FIT = re.compile("^finetune(_raced)?@")  # which every row would begin with
MOST_ROWS = 16  # of running runs in the table


class View(AbstractContextManager["View"]):
    """Counts what is done and shows what runs.

    `waiting` has the estimated cost, in any unit, of each run that has not started.
    """

    def __init__(self, console: Console, jobs: int) -> None:
        self.waiting: dict[str, float] = {}
        self.n_ended = self.n_failed = 0
        self._console, self.jobs = console, jobs
        self._started: dict[Job, tuple[float, float]] = {}  # price, when
        self._first_try: dict[str, str] = {}  # why it failed
        self._ended_seconds = self._ended_price = 0.0
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None
        self._shown_at = 0.0 if self._live else time.monotonic()

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
        if not self._live:
            self._shown_at = time.monotonic()

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
            again = self._first_try.get(end.job.name) == end.why
            said = f"FAILED {end.job.name}: {'the same again' if again else end.why}"
        left = None if self._live else self.seconds_left(time.monotonic())  # a table shows it too
        more = f" ({duration(left)} left)" if left else ""
        self.say(f"[{self.n_ended}/{self.total}] {said}{more}")

    def again(self, end: Ended) -> None:
        """A job that was killed or asked for another try."""
        self.waiting[end.job.name], _ = self._started.pop(end.job)
        self._first_try[end.job.name] = end.why
        self.say(f"{end.job.name}: to be tried again: {end.why}")

    def refresh(self) -> None:
        """Show the running jobs again, twice a second at most; without a terminal a few of them,
        after minutes without any other line.
        """
        now = time.monotonic()
        if self._live and now - self._shown_at >= REFRESH_SECONDS:
            self._shown_at = now
            self._live.update(Group(*self._rows(now), self._summary(now)), refresh=True)
        elif not self._live and self._started and now - self._shown_at >= QUIET_SECONDS:
            for row in (*self._rows(now, QUIET_ROWS), self._summary(now)):
                self.say(row.plain.rstrip())

    def seconds_left(self, now: float) -> float | None:
        """The time left if the rest takes as long for its price as the runs that have ended; None
        before one has.

        A run that has already taken longer needs the time of its remaining epochs, at the pace of
        those that it has reported; 0 before it has reported any.
        """
        if not self._ended_price:
            return None
        rate = self._ended_seconds / self._ended_price
        running = [
            left if (left := rate * price - (now - begun)) > 0 else _left_by_epochs(job)
            for job, (price, begun) in self._started.items()
        ]
        rest = sum(running) + rate * sum(self.waiting.values())
        at_a_time = max(self.jobs, len(self._started))  # of a cluster it is known only meanwhile
        return max([rest / at_a_time, *running])

    def _rows(self, now: float, most: int = MOST_ROWS) -> list[Text]:
        """A line per running run, none longer than the terminal is wide."""
        shown = list(self._started.items())[:most]
        names = [FIT.sub("", job.name) for job, _ in shown]
        width = max(map(len, names), default=0)
        rows = []
        for name, (job, (_, started)) in zip(names, shown, strict=True):
            so_far = Text(latest_progress(job), style="dim")
            row = Text(f"{duration(now - started):>11}  {name:<{width}}  ").append_text(so_far)
            if self._live:
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
            parts.append((f"{duration(left)} left" if left else "later than expected", "bold"))
        return Text(", ").join(Text(*each) for each in parts)


def _left_by_epochs(job: Job) -> float:
    progress = last_progress(job.progress)
    return 0.0 if progress is None else progress.seconds * (progress.epochs / progress.epoch - 1)


def latest_progress(job: Job) -> str:
    """What a run has reported of its progress; before that, the last line it printed."""
    progress = last_progress(job.progress)
    return (last_line(job.log) or "") if progress is None else progress.brief


TICK_SECONDS = 0.25
COMMIT_EVERY_SECONDS = 2.0
COMMIT_SHARE = 0.1  # of the time at most goes into commits, as long as runs are under way
ATTEMPTS = 2  # of a run that is killed or asks for another try


def together(jobs: Iterable[Job]) -> list[Job]:
    """The jobs, those of one architecture together, in the order of each one's first job."""
    jobs = list(jobs)
    kinds = list(dict.fromkeys(job.architecture for job in jobs))
    return sorted(jobs, key=lambda job: kinds.index(job.architecture))


@dataclass
class Result:
    """What became of each stage, by name."""

    fresh: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # were made before, and only not committed
    made: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)  # inputs changed while they ran
    failed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)  # never started, or stopped
    streak: str | None = None  # why run after run failed, where that stopped the sweep

    @property
    def is_whole(self) -> bool:
        """Is every stage up to date now?"""
        return not (self.moved or self.failed or self.left)


class Sweep:
    """Makes `stages` (what is needed first) and holds what is known of them meanwhile."""

    def __init__(
        self,
        project: Project,
        engine: Engine,
        view: View,
        stages: list[Stage],
        needs: dict[str, set[str]],
        options: Options,
    ) -> None:
        self.project, self.engine, self.view = project, engine, view
        self.stages = {name_of(stage): stage for stage in stages}
        self.needs, self.options = needs, options
        self.streak = None if options.keep_going else Streak()
        self._keeps_warm, self._packs = options.keeps_warm, options.gpus_per_run == AUTO
        self._left: list[str | None] = []  # architectures whose runs ended just now
        self.result = Result()
        self.stopping, self.interrupted, self._time_said = False, False, ""
        self._unplanned = list(self.stages)
        self._ready: deque[Job] = deque()
        self._finished: set[str] = set()
        self._uncommitted: list[Stage] = []
        self._attempts: dict[str, int] = {}
        self._committed_at, self._commit_seconds = time.monotonic(), 0.0

    def run(self) -> Result:
        """Go on until all is made, cannot be made, or `stopping` is set."""
        try:
            self._plan()
            if self._ready:
                self.engine.load()
            self._say_what_is_to_do()
            while not (self.stopping or self.engine.loaded(TICK_SECONDS)):
                self.view.refresh()
            while not self.stopping and (self._ready or self.engine.running or self._plan()):
                self._start()
                for end in self.engine.wait(TICK_SECONDS):
                    self._handle_end(end)
                self.view.refresh()
                if self._commit_is_due():
                    self._commit()
        finally:
            self.engine.stop()
            self._commit()
        settled = {*self._finished, *self.result.failed, *self.result.moved}
        self.result.left = [name for name in self.stages if name not in settled]
        return self.result

    def _plan(self) -> bool:
        """Look at each stage whose needs are all there; is there anything to start now?"""
        with self.project.locked():
            while batch := {each for each in self._unplanned if self.needs[each] <= self._finished}:
                self._look([self.stages[name] for name in self._unplanned if name in batch])
                self._unplanned = [name for name in self._unplanned if name not in batch]
        self._order()
        self._commit()
        return bool(self._ready)

    def _say_what_is_to_do(self) -> None:
        """Say how many stages there are to make, and how long their fits will take here: at most,
        while some wait for others, as DVC's cache may have them. Say it again when none waits any
        more, if the time has changed: once their datasets are prepared it is known for more fits.
        """
        jobs = [*self.engine.running, *self._ready]
        stages = [self.stages[name] for name in (*(job.name for job in jobs), *self._unplanned)]
        cells = [cell for cell in map(self.project.cell_of, stages) if cell is not None]
        if not cells:
            return
        fits = "1 fit" if len(cells) == 1 else f"{len(cells):,} fits"
        some = len(cells) < len(stages)
        what = f"{len(stages):,} stages to do, {fits} among them" if some else f"{fits} to do"
        what = f"up to {what}" if self._unplanned else what
        if self.options.address is None:  # of a cluster's hosts nothing is known yet
            estimate = self._time_of_fits(cells, max(map(self.project.threads_of, stages)))
            if estimate == self._time_said:
                return
            self._time_said, what = estimate, f"{what}: {estimate}"
        self.view.say(what)

    def _time_of_fits(self, cells: list[Cell], threads: int) -> str:
        from pipeline.estimates.planned import time_of_fits

        try:
            return time_of_fits(self.project.root, cells, threads, self.view.jobs)
        except PipelineError as error:  # damaged tables or calibration: no reason to stop
            return f"no estimate: {error}"

    def _order(self) -> None:
        """Put cheap runs first, and tell the view what all that wait will cost."""
        from pipeline.estimates.planned import Prices  # pandas, which no other command here needs

        price = Prices(self.project.root)  # anew: another dataset may be there
        if self.options.order == CHEAP:
            self._ready = deque(sorted(self._ready, key=lambda job: price(job.cell)))
        if self._keeps_warm:
            self._ready = deque(together(self._ready))
        self._ready = deque(self.engine.ordered(self._ready))
        cells = {job.name: job.cell for job in self._ready}
        cells |= {name: self.project.cell_of(self.stages[name]) for name in self._unplanned}
        self.view.waiting = {name: price(cell) for name, cell in cells.items()}

    def _look(self, stages: list[Stage]) -> None:
        """Find what is done already; the rest is ready to start."""
        project, to_do = self.project, []
        for stage in stages:
            inputs_changed = project.inputs.changed(stage)
            job = project.job(stage)
            if not inputs_changed and not changed_outs(stage):
                self._finish(stage, self.result.fresh)
            elif project.is_made(job):
                self._finish(stage, self.result.kept)
            else:
                to_do.append((stage, job, project.version(stage, inputs_changed)))
        if self.options.pull:
            project.pull_outs([version for _, _, version in to_do if version])
        for stage, job, version in to_do:
            if version and is_cached(version):
                restore(stage, version)
                self._finish(stage, self.result.restored)
            else:
                self._ready.append(job)

    def _finish(self, stage: Stage, how: list[str]) -> None:
        how.append(name_of(stage))
        self._finished.add(name_of(stage))
        if how is not self.result.fresh:
            self._uncommitted.append(stage)

    def _start(self) -> None:
        limit, n_failed = self.options.max_failures, len(self.result.failed)
        if (limit is not None and n_failed >= limit) or self.result.streak is not None:
            if not self.engine.running:
                self.stopping = True  # never False: a signal may have set it in this instant
            return
        while self.engine.free and not self.stopping and (job := self._next()):
            remove_outs(self.stages[job.name])
            self._attempts[job.name] = self._attempts.get(job.name, 0) + 1
            self.engine.start(job)
            self.view.started(job)
        self._left.clear()

    def _next(self) -> Job | None:
        """The next in line that the engine can take now. Where processes stay warm, one for which
        such a process waits comes first, then one of an architecture that no process runs.
        """
        job = next(filter(self.engine.admits, self._ready), None)
        if job is not None and job.cell and self._keeps_warm and not self._packs:
            kinds = [each.architecture for each in self._ready]
            running = {each.architecture for each in self.engine.running}
            others = [kind for kind in kinds if kind not in running]
            kind = next(iter([*(each for each in self._left if each in kinds), *others, *kinds]))
            if kind in self._left:
                self._left.remove(kind)
            job = self._ready[kinds.index(kind)]
        if job is not None:
            self._ready.remove(job)
        return job

    def _handle_end(self, end: Ended) -> None:
        name = end.job.name
        if self.stopping and end.again:
            return  # ended with this sweep, as by a signal to all of its processes: it is left
        self._left.append(end.job.architecture)
        if end.again and self._attempts[name] < ATTEMPTS:
            self.view.again(end)
            self._ready.append(end.job)
            return
        self.view.ended(end)
        if self.streak is not None:
            self.streak.count(end)
            if self.streak.is_long:
                self.result.streak = self.streak.reason
        missing = [out for out in end.job.outs if not (self.project.root / out).exists()]
        if end.exit_code != 0:
            self.result.failed[name] = end.why
        elif missing:
            self.result.failed[name] = f"it ended well, without {', '.join(missing)}"
        else:
            self._finish(self.stages[name], self.result.made)
            if any(name in needs for needs in self.needs.values()):
                self.project.inputs.forget()
                self._plan()
                if self._time_said and not self._unplanned:
                    self._say_what_is_to_do()

    def _commit_is_due(self) -> bool:
        wait = max(COMMIT_EVERY_SECONDS, self._commit_seconds / COMMIT_SHARE)
        return bool(self._uncommitted) and time.monotonic() - self._committed_at > wait

    def _commit(self) -> None:
        if not self._uncommitted:
            return
        begin = time.monotonic()
        with self.project.locked():
            moved = self.project.commit(self._uncommitted, list(self.stages))
        for stage in moved:
            self.result.moved.append(name_of(stage))
            self._finished.discard(name_of(stage))
        self._uncommitted.clear()
        self._committed_at = time.monotonic()
        self._commit_seconds = self._committed_at - begin
