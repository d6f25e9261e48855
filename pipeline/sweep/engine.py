"""The engine of one machine: a fork server with everything imported, a fresh child per run.

Each run has a place: cores of its own while there are enough, so that a run which asks for all free
threads never fights with its neighbour, and, where there are GPUs, one of them. It is never given
fewer cores than it has threads: two threads that wait for each other on one core take ten times as
long as one. The surprising fact: the fork server may be killed alone. Its runs end with it, and
multiprocessing says of each that it ended with 255.
"""

import multiprocessing
import os
import runpy
import shlex
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pipeline.core import processes
from pipeline.core.files import sha256, write_json
from pipeline.core.processes import end_with_parent
from pipeline.hardware.machine import rest_while_waiting, visible_gpus
from pipeline.sweep.jobs import Ended, Job, last_line

PYTHON = ["python", "-m"]
SHARED = "WB_SHARED_DEVICE"  # tells the run that its times will rank nothing
GRACE_SECONDS = 10.0
LOST = 255  # the exit code of a child whose fork server was killed
PRELOADED = ["pipeline.sweep.preloaded"]


def work(job: Job, place: "Place") -> None:
    """Run `job` in its place; the process's exit code is the command's."""
    _end_with_parent()
    os.setpgid(0, 0)  # what the command starts ends with it; Ctrl-C reaches the sweep alone
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_DFL)
    os.sched_setaffinity(0, place.cores)
    if place.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place.gpu
    if place.shared:
        os.environ[SHARED] = "1"
    os.chdir(job.root)
    os.environ.setdefault("DVC_ROOT", str(job.root))
    os.environ["DVC_STAGE"] = job.name
    os.environ[processes.FILE] = str(job.progress)
    job.progress.unlink(missing_ok=True)  # of the run before
    _write_to(job.log)
    exit_codes = map(_run, job.command.splitlines())  # the first that fails is the last
    exit_code = next((code for code in exit_codes if code != 0), 0)
    if exit_code == 0:
        write_receipt(job)
    sys.exit(exit_code)


def write_receipt(job: Job) -> None:
    """Say which outputs came from which inputs. Outputs that are folders get no receipt."""
    outs = [job.root / out for out in job.outs]
    if all(out.is_file() for out in outs):
        hashes = {name: sha256(out) for name, out in zip(job.outs, outs, strict=True)}
        write_json(job.receipt, {"key": job.key, "outs": hashes})


def _run(command: str) -> int:
    words = shlex.split(command)
    if words[:2] != PYTHON or len(words) < 3 or not words[2].startswith("pipeline."):
        return subprocess.run(
            command, shell=True, preexec_fn=end_with_parent, check=False
        ).returncode
    sys.argv = words[2:]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*found in sys.modules.*", RuntimeWarning)
        try:
            runpy.run_module(words[2], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def _end_with_parent() -> None:
    end_with_parent()
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():  # it was killed before we asked
        os._exit(1)


def _write_to(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


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
