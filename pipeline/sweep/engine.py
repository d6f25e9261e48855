"""The engine of one machine: a fork server with everything imported, a child per run.

Where it keeps workers warm, a child whose run ended well waits for another of the same architecture
(see `warm`): on a GPU a process plans and loads kernels for seconds before its first steps. Each
child waits for one turn of the sweep's loop, in which it is given a job; then it is ended.

Each run has a place: cores of its own while there are enough, so that a run which asks for all free
threads never fights with its neighbour, and, where there are GPUs, one of them. It is never given
fewer cores than it has threads: two threads that wait for each other on one core take ten times as
long as one. Two surprising facts: multiprocessing answers no signal while it waits for the first
child of a fork server that still imports, so `load` waits for one in a thread. And the fork server
may be killed alone: its runs end with it, and multiprocessing says of each that it ended with 255.
"""

import multiprocessing
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from multiprocessing.connection import Connection, Pipe, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Thread
from typing import Any

from pipeline.core import processes
from pipeline.core.files import sha256, write_json
from pipeline.core.processes import end_with_parent
from pipeline.hardware.machine import WARM, rest_while_waiting, visible_gpus
from pipeline.hardware.nvml import PCI_ORDER
from pipeline.sweep.jobs import Ended, Engine, Job, last_message
from pipeline.sweep.snapshot import signature
from pipeline.sweep.warm import Settings, can_go_on

PYTHON = ["python", "-m"]
CHECK = "python -m pipeline.study params.yaml"  # 10 ms, of what a sweep has checked itself
SHARED = "WB_SHARED_DEVICE"  # tells the run that its times will rank nothing
GRACE_SECONDS = 10.0
LOST = 255  # the exit code of a child whose fork server was killed
LOADED_BEFORE = ".*found in sys.modules.*"
re.compile(LOADED_BEFORE, re.IGNORECASE)  # once, in the fork server: `warnings` compiles it again
PRELOADED = ["pipeline.sweep.preloaded"]


def cuda_environment(gpu: str, environ: Mapping[str, str]) -> dict[str, str]:
    """What lets CUDA see this GPU alone, named as `visible_gpus` names it.

    Where the environment names none NVML has counted, and CUDA's own order may be another.
    """
    counted = {} if "CUDA_VISIBLE_DEVICES" in environ else {"CUDA_DEVICE_ORDER": PCI_ORDER}
    return {"CUDA_VISIBLE_DEVICES": gpu, **counted}


def work(job: Job, place: "Place", more: Connection | None) -> None:
    """Run `job` in its place; the process's exit code is the command's.

    With `more` it says there that a job ended well and that it can take another, and waits for it.
    """
    _end_with_parent()
    os.setpgid(0, 0)  # what the command starts ends with it; Ctrl-C reaches the sweep alone
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_DFL)
    os.sched_setaffinity(0, place.cores)
    if place.gpu is not None:
        os.environ.update(cuda_environment(place.gpu, os.environ))
    if place.shared:
        os.environ[SHARED] = "1"
    settings = Settings() if more is not None else None
    exit_code = make(job)
    while more and settings and exit_code == 0 and can_go_on([job.root / out for out in job.outs]):
        settings.restore()
        os.environ[WARM] = "1"
        try:
            more.send(None)
            job, shared = more.recv()
        except (EOFError, OSError):  # nothing more to do
            os._exit(0)
        os.environ[SHARED] = str(int(shared))
        _end_with_parent()  # a run asks for SIGTERM instead
        exit_code = make(job)
    sys.exit(exit_code)


def make(job: Job) -> int:
    """Run `job`'s commands in this process; the exit code of the last."""
    os.chdir(job.root)
    os.environ.setdefault("DVC_ROOT", str(job.root))
    os.environ["DVC_STAGE"] = job.name
    os.environ[processes.PROGRESS_FILE] = str(job.progress)
    job.progress.unlink(missing_ok=True)  # of the run before
    _write_to(job.log)
    exit_codes = map(_run, commands_of(job))  # the first that fails is the last
    exit_code = next((code for code in exit_codes if code != 0), 0)
    if exit_code == 0:
        write_receipt(job)
    return exit_code


def commands_of(job: Job) -> list[str]:
    """Its commands, but for the check of params.yaml if the sweep has checked this very file."""
    commands = job.command.splitlines()
    if CHECK in commands and signature(job.root / "params.yaml") == job.checked_params:
        commands.remove(CHECK)
    return commands


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
        warnings.filterwarnings("ignore", LOADED_BEFORE, RuntimeWarning)
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


@dataclass(frozen=True)
class Worker:
    """A child of the fork server; with `more` it may take jobs of one architecture."""

    process: BaseProcess
    more: Connection | None
    architecture: str | None

    def waits(self) -> bool:
        """Has it said that its job ended well and that it can take another?"""
        try:
            if self.more is not None and self.more.poll():
                self.more.recv()
                return True
        except (EOFError, OSError):
            pass
        return False

    def takes(self, job: Job, shared: bool) -> bool:
        """Give it `job`, if it is one of its architecture; False too where it is gone."""
        if self.more is None or job.architecture != self.architecture:
            return False
        try:
            self.more.send((job, shared))
        except OSError:
            return False
        return True

    def end(self) -> None:
        """End it while it waits."""
        if self.more is not None:
            self.more.close()
        self.process.join(GRACE_SECONDS)
        signal_group(self.process, signal.SIGKILL)
        self.process.join()


class LocalEngine(Engine):
    """Runs up to `jobs` jobs of `threads` threads each at once on this machine.

    `warm`: a worker makes one fine-tune of an architecture after another.
    """

    def __init__(self, jobs: int, threads: int, warm: bool = False) -> None:
        rest_while_waiting()
        self._warm = warm
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        cores = sorted(os.sched_getaffinity(0))
        self._places = places(visible_gpus(), cores, jobs, threads)
        self._free = list(range(jobs))
        self._jobs: dict[int, tuple[Job, Worker]] = {}
        self._waiting: dict[int, Worker] = {}  # for a job, in a free place
        self._loading: Thread | None = None

    @property
    def free(self) -> int:
        return len(self._free)

    @property
    def running(self) -> list[Job]:
        return [job for job, _ in self._jobs.values()]

    def load(self) -> None:
        """Have the fork server import what runs need; it ends with the thread that starts it."""
        forkserver.ensure_running()
        self._loading = Thread(target=self._first_child, daemon=True)
        self._loading.start()

    def _first_child(self) -> None:
        with suppress(OSError, EOFError):  # then the first job's child says what is wrong
            child = self._context.Process(target=int)
            child.start()
            child.join()

    def loaded(self, seconds: float) -> bool:
        """Whether that has come to an end, after at most so many seconds."""
        if self._loading is not None:
            self._loading.join(seconds)
        return self._loading is None or not self._loading.is_alive()

    def start(self, job: Job) -> None:
        self.start_in(self._free, job)

    def start_in(self, free: list[int], job: Job, shared: bool | None = None) -> bool:
        """Start it in the best of these free places; did a process wait for it there?

        `shared` is the place's own unless given.
        """
        number = min(free, key=lambda each: self._rank(each, job))
        self._free.remove(number)
        place = self._places[number]
        if shared is not None:
            place = replace(place, shared=shared)
        worker = self._waiting.pop(number, None)
        if worker is not None and not worker.takes(job, place.shared):
            worker.end()
            worker = None
        self._jobs[number] = (job, worker or self._child(job, place))
        return worker is not None

    def wait(self, seconds: float) -> list[Ended]:
        self._end_waiting()
        places: dict[Any, int] = {}
        for place, (_, worker) in self._jobs.items():
            places[worker.process.sentinel] = place
            if worker.more is not None:
                places[worker.more] = place
        ended = dict.fromkeys(places[each] for each in wait(list(places), seconds))
        return [self._end(place) for place in ended]

    def stop(self) -> None:
        """End every job: politely, and after ten seconds not so."""
        self._end_waiting()
        for polite in (True, False):
            for _, worker in self._jobs.values():
                signal_group(worker.process, signal.SIGTERM if polite else signal.SIGKILL)
            for _, worker in self._jobs.values():
                worker.process.join(GRACE_SECONDS)
        self._jobs.clear()

    def _end_waiting(self) -> None:
        """End the workers that were given nothing: they hold memory of GPUs that others run on."""
        while self._waiting:
            self._waiting.popitem()[1].end()

    def _rank(self, place: int, job: Job) -> int:
        """Lowest is best for `job`: a worker waits for it there, none waits, or another's does."""
        worker = self._waiting.get(place)
        if worker is None:
            return 1
        return 0 if worker.architecture == job.architecture else 2

    def _end(self, place: int) -> Ended:
        job, worker = self._jobs.pop(place)
        self._free.append(place)
        if worker.waits():
            self._waiting[place] = worker
            return Ended(job, 0, last_message(job, 0))
        process = worker.process
        process.join()
        signal_group(process, signal.SIGKILL)  # what the job left running
        exit_code = -signal.SIGKILL if process.exitcode == LOST else process.exitcode or 0
        return Ended(job, exit_code, last_message(job, exit_code))

    def _child(self, job: Job, place: Place) -> Worker:
        until = None
        more, theirs = Pipe() if self._warm and job.cell is not None else (None, None)
        while True:
            process = self._context.Process(target=work, args=(job, place, theirs))
            try:
                process.start()
                if theirs is not None:
                    theirs.close()
                return Worker(process, more, job.architecture)
            except (OSError, EOFError):  # the fork server is dying; then a new one comes by itself
                until = until or time.monotonic() + GRACE_SECONDS
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


def signal_group(process: BaseProcess, number: signal.Signals) -> None:
    """Send it to a run's process and to what that has started."""
    if process.pid is None:
        return
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
    if process.is_alive():  # before it made a group of its own
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
