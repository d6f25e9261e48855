"""One call of the sweep: hold the workspace, run the loop, end cleanly on signals, tell the end."""

import re
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from rich.console import Console

from pipeline.core.errors import PipelineError, TryAgain
from pipeline.core.hold import hold
from pipeline.sweeping.engine import LocalEngine
from pipeline.sweeping.jobs import Engine
from pipeline.sweeping.loop import PATIENCE_SECONDS, Result, Sweep
from pipeline.sweeping.options import Options
from pipeline.sweeping.plan import plan
from pipeline.sweeping.project import Project
from pipeline.sweeping.streak import LIMIT
from pipeline.sweeping.view import View
from pipeline.sweeping.workspace import command_of
from pipeline.tables.plain import refuse_odd_words

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def session(root: Path, targets: Sequence[str], options: Options) -> None:
    """Sweep `targets` of the workspace `root`; anything left undone is an error."""
    options.check()
    project, console = Project(root), Console(highlight=False)
    refuse_odd_words(root / "params.yaml")  # before any of its values is in a command
    stages, needs = project.collect(targets)
    threads = threads_of(map(command_of, stages))
    n_jobs = options.runs_at_a_time(threads) if options.address is None else 1
    if options.dry_run:
        with project.locked(PATIENCE_SECONDS):
            plan(project, stages, needs, console, n_jobs, options.price_per_hour)
        return
    with hold(project.folder / "holder", root), View(console, n_jobs) as view, project.busy(stages):
        if options.pull:
            with project.locked(PATIENCE_SECONDS):
                project.pull_run_cache()
        engine = engine_for(options, project.root, n_jobs, threads, view)
        sweep = Sweep(project, engine, view, stages, needs, options)
        with stopping_on_signals(sweep):
            result = sweep.run()
    console.print(summary(result), soft_wrap=True, markup=False)
    _complain(result, sweep.stopping, project.folder)


def engine_for(options: Options, root: Path, n_jobs: int, threads: int, view: View) -> Engine:
    """The engine of this machine, or with an address that of a Ray cluster."""
    if options.address is None:
        return LocalEngine(n_jobs, threads)
    from pipeline.sweeping.ray_engine import RayEngine

    return RayEngine(options, root, threads, view.say)


def threads_of(commands: Iterable[str]) -> int:
    """The most threads that one of these commands names; one where none does."""
    named = (re.search(r"\sthreads=(\d+)", command) for command in commands)
    return max([int(match[1]) for match in named if match], default=1)


@contextmanager
def stopping_on_signals(sweep: Sweep) -> Iterator[None]:
    """On SIGINT, SIGTERM and SIGHUP end the runs, commit what is done, and come back."""

    def stop(number: int, frame: FrameType | None) -> None:
        sweep.stopping = True

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def summary(result: Result) -> str:
    """One line: how many stages went which way."""
    counts = {
        "made": result.made,
        "from DVC's cache": result.restored,
        "made before and now committed": result.kept,
        "up to date": result.fresh,
        "failed": result.failed,
        "changed meanwhile": result.moved,
        "not started": result.left,
    }
    return ", ".join(f"{len(names)} {what}" for what, names in counts.items() if names)


def _complain(result: Result, stopped: bool, folder: Path) -> None:
    if result.streak is not None:
        raise PipelineError(
            f"stopped, {len(result.left)} not done: {LIMIT} runs in a row failed for one reason: "
            f"{result.streak}: mend it and delete such records, or go on with --keep-going"
        )
    if result.failed:
        name, reason = next(iter(result.failed.items()))
        raise PipelineError(
            f"{len(result.failed)} failed, {len(result.left)} never started; the first, {name}: "
            f"{reason} (logs: {folder / 'logs'})"
        )
    if result.moved:
        raise TryAgain(
            f"{len(result.moved)} runs are not committed, their inputs changed while they ran: "
            "call again"
        )
    if stopped:
        raise TryAgain(f"stopped, {len(result.left)} not done: call again to go on")
