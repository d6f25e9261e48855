"""The sweep's loop: plan what is ready, start it, hear of its end, commit in batches.

Between any two steps the process may be killed. What is then in dvc.lock is done; what has outputs
and a receipt is committed by the next sweep; the rest is run again.
"""

import time
from collections import deque
from dataclasses import dataclass, field

from pipeline.sweeping.jobs import Ended, Engine, Job
from pipeline.sweeping.project import Project, Stage
from pipeline.sweeping.streak import Streak
from pipeline.sweeping.view import View

TICK_SECONDS = 0.25
COMMIT_EVERY_SECONDS = 2.0
COMMIT_SHARE = 0.1  # of the time at most goes into commits, as long as runs are under way
PATIENCE_SECONDS = 600.0  # for another DVC command that holds the workspace
TRY_AGAIN, ATTEMPTS = 75, 2


@dataclass
class Result:
    """What became of each stage, by name."""

    fresh: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    kept: list[str] = field(default_factory=list)  # were made before, and only not committed
    made: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)  # inputs changed while they ran
    failed: dict[str, str] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)  # never started
    streak: str | None = None  # why run after run failed, where that stopped the sweep


class Sweep:
    """Makes `stages` (what is needed first) and holds what is known of them meanwhile."""

    def __init__(
        self,
        project: Project,
        engine: Engine,
        view: View,
        stages: list[Stage],
        needs: dict[str, set[str]],
        max_failures: int | None,
        keep_going: bool = False,
    ) -> None:
        self.project, self.engine, self.view = project, engine, view
        self.stages = {stage.addressing: stage for stage in stages}
        self.needs, self.max_failures = needs, max_failures
        self.streak = None if keep_going else Streak()
        self.result = Result()
        self.stopping = False
        self._unplanned = list(self.stages)
        self._ready: deque[Job] = deque()
        self._finished: set[str] = set()
        self._uncommitted: list[Stage] = []
        self._attempts: dict[str, int] = {}
        self._committed_at, self._commit_seconds = time.monotonic(), 0.0

    def run(self) -> Result:
        """Go on until all is made, cannot be made, or `stopping` is set."""
        try:
            self.view.total = len(self._unplanned)
            self._plan()
            while not self.stopping and (self._ready or self.engine.running or self._plan()):
                self._start()
                for end in self.engine.wait(TICK_SECONDS):
                    self._hear(end)
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
        planned: set[str] = set()
        with self.project.locked(PATIENCE_SECONDS):
            for name in self._unplanned:  # what is needed comes first
                if self.needs[name] <= self._finished:
                    self._plan_one(self.stages[name])
                    planned.add(name)
        self._unplanned = [name for name in self._unplanned if name not in planned]
        to_come = len(self._ready) + len(self._unplanned) + len(self.engine.running)
        self.view.total = self.view.n_ended + to_come
        self._commit()
        return bool(self._ready)

    def _plan_one(self, stage: Stage) -> None:
        project, name = self.project, stage.addressing
        inputs_changed = project.inputs_changed(stage)
        job = project.job(stage)
        if not inputs_changed and not project.outs_changed(stage):
            self.result.fresh.append(name)
        elif project.is_made(job):
            self.result.kept.append(name)
            self._uncommitted.append(stage)
        elif version := project.cached(stage, inputs_changed):
            project.restore(stage, version)
            self.result.restored.append(name)
            self._uncommitted.append(stage)
        else:
            self._ready.append(job)
            return
        self._finished.add(name)

    def _start(self) -> None:
        limit = self.max_failures
        enough = limit is not None and len(self.result.failed) >= limit
        if enough or self.result.streak is not None:
            self.stopping = not self.engine.running
            return
        while self.engine.free and self._ready:
            job = self._ready.popleft()
            self.project.remove_outs(self.stages[job.name])
            self._attempts[job.name] = self._attempts.get(job.name, 0) + 1
            self.engine.start(job)
            self.view.started(job)

    def _hear(self, end: Ended) -> None:
        name = end.job.name
        if end.exit_code == TRY_AGAIN and self._attempts[name] < ATTEMPTS:
            self.view.again(end)
            self._ready.append(end.job)
            return
        self.view.ended(end)
        if self.streak is not None:
            self.streak.hear(end)
            if self.streak.is_long:
                self.result.streak = self.streak.reason
        missing = [out for out in end.job.outs if not (self.project.root / out).exists()]
        if end.exit_code != 0:
            self.result.failed[name] = end.reason or f"exit code {end.exit_code}"
        elif missing:
            self.result.failed[name] = f"it ended well, without {', '.join(missing)}"
        else:
            self.result.made.append(name)
            self._finished.add(name)
            self._uncommitted.append(self.stages[name])
            if any(name in needs for needs in self.needs.values()):
                self.project.forget()
                self._plan()

    def _commit_is_due(self) -> bool:
        wait = max(COMMIT_EVERY_SECONDS, self._commit_seconds / COMMIT_SHARE)
        return bool(self._uncommitted) and time.monotonic() - self._committed_at > wait

    def _commit(self) -> None:
        if not self._uncommitted:
            return
        begin = time.monotonic()
        with self.project.locked(PATIENCE_SECONDS):
            moved = self.project.commit(self._uncommitted, list(self.stages))
        for stage in moved:
            self.result.moved.append(stage.addressing)
            self._finished.discard(stage.addressing)
        self._uncommitted.clear()
        self._committed_at = time.monotonic()
        self._commit_seconds = self._committed_at - begin
