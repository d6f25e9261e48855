"""The engine of one machine: a fork server with everything imported, a fresh child per run.

Each of the places that `jobs` gives has cores of its own while there are enough, so that a run
which asks for all free threads never fights with its neighbour, and, where there are GPUs, one of
them. A run is never given fewer cores than it has threads: two threads that wait for each other on
one core take ten times as long as one.
"""

import multiprocessing
import os
import signal
from contextlib import suppress
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from pipeline.sweeping.jobs import Ended, Job, last_line
from pipeline.sweeping.worker import work
from pipeline.trainer.hardware import rest_while_waiting

GRACE_SECONDS = 10.0
PRELOADED = ["pipeline.sweeping.lifeline", "pipeline.sweeping.preloaded"]


class LocalEngine:
    """Runs up to `jobs` jobs of `threads` threads each at once on this machine."""

    def __init__(self, jobs: int, threads: int) -> None:
        rest_while_waiting()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        self._gpus = visible_gpus()
        self._cores = shares(sorted(os.sched_getaffinity(0)), jobs, threads)
        self._free = list(range(jobs))
        self._jobs: dict[int, tuple[Job, BaseProcess]] = {}

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def running(self) -> list[Job]:
        return [job for job, _ in self._jobs.values()]

    def start(self, job: Job) -> None:
        place = self._free.pop(0)
        gpu = self._gpus[place % len(self._gpus)] if self._gpus else None
        process = self._context.Process(target=work, args=(job, self._cores[place], gpu))
        process.start()
        self._jobs[place] = (job, process)

    def wait(self, seconds: float) -> list[Ended]:
        places: dict[Any, int] = {
            process.sentinel: place for place, (_, process) in self._jobs.items()
        }
        return [self._end(places[sentinel]) for sentinel in wait(list(places), seconds)]

    def stop(self) -> None:
        """End every job: politely, and after ten seconds not so."""
        for polite in (True, False):
            for _, process in self._jobs.values():
                _signal_group(process, signal.SIGTERM if polite else signal.SIGKILL)
            for _, process in self._jobs.values():
                process.join(GRACE_SECONDS)
        self._jobs.clear()

    def _end(self, place: int) -> Ended:
        job, process = self._jobs.pop(place)
        process.join()
        _signal_group(process, signal.SIGKILL)  # what the job left running
        self._free.append(place)
        return Ended(job, process.exitcode or 0, last_line(job.log))


def default_jobs(threads: int) -> int:
    """One run per GPU, else as many as have `threads` cores each of those this process may use."""
    return len(visible_gpus()) or max(1, len(os.sched_getaffinity(0)) // threads)


def visible_gpus() -> list[str]:
    """What CUDA would count, asked without starting CUDA, which no fork may inherit."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [each.strip() for each in named.split(",") if each.strip() not in ("", "-1")]
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    return [str(index) for index in range(pynvml.nvmlDeviceGetCount())]


def shares(cores: list[int], jobs: int, threads: int) -> list[frozenset[int]]:
    """Cores for each of `jobs` places, `threads` or more: disjoint while there are enough."""
    size = min(len(cores), max(threads, len(cores) // jobs))
    return [
        frozenset(cores[(place * size + step) % len(cores)] for step in range(size))
        for place in range(jobs)
    ]


def _signal_group(process: BaseProcess, number: signal.Signals) -> None:
    if process.pid is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
    if process.is_alive():  # before it made a group of its own
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
