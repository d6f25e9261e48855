"""The engine of one machine: a fork server with everything imported, a fresh child per run.

Each run has a place: cores of its own while there are enough, so that a run which asks for all free
threads never fights with its neighbour, and, where there are GPUs, one of them. It is never given
fewer cores than it has threads: two threads that wait for each other on one core take ten times as
long as one. The surprising fact: the fork server may be killed alone. Its runs end with it, and
multiprocessing says of each that it ended with 255.
"""

import multiprocessing
import os
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from pipeline.sweeping.jobs import Ended, Job, last_line
from pipeline.sweeping.worker import work
from pipeline.trainer.hardware import rest_while_waiting

GRACE_SECONDS = 10.0
LOST = 255  # the exit code of a child whose fork server was killed
PRELOADED = [f"pipeline.sweeping.{name}" for name in ("lifeline", "engine", "preloaded")]


@dataclass(frozen=True)
class Place:
    """Where one run goes. `shared`: another place has its GPU too, or without GPUs its cores."""

    cores: frozenset[int]
    gpu: str | None
    shared: bool


class LocalEngine:
    """Runs up to `jobs` jobs of `threads` threads each at once on this machine."""

    def __init__(self, jobs: int, threads: int) -> None:
        rest_while_waiting()
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        cores = sorted(os.sched_getaffinity(0))
        self._places = places(visible_gpus(), cores, jobs, threads)
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
        self._jobs[place] = (job, self._child(job, self._places[place]))

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
        exit_code = -signal.SIGKILL if process.exitcode == LOST else process.exitcode or 0
        return Ended(job, exit_code, last_line(job.log))

    def _child(self, job: Job, place: Place) -> BaseProcess:
        until = time.monotonic() + GRACE_SECONDS
        while True:
            process = self._context.Process(target=work, args=(job, place))
            try:
                process.start()
                return process
            except (OSError, EOFError):  # the fork server is dying; then a new one comes by itself
                if time.monotonic() > until:
                    raise
                time.sleep(0.05)


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


def places(gpus: list[str], cores: list[int], jobs: int, threads: int) -> list[Place]:
    """`jobs` places: each GPU in turn, cores of their own while there are enough."""
    own = [gpus[number % len(gpus)] if gpus else None for number in range(jobs)]
    runs_on, runs_in = Counter(own), shares(cores, jobs, threads)
    uses = Counter(core for each in runs_in for core in each)
    return [
        Place(each, gpu, runs_on[gpu] > 1 if gpu else any(uses[core] > 1 for core in each))
        for each, gpu in zip(runs_in, own, strict=True)
    ]


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
