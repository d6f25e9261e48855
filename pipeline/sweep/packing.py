"""`--gpus-per-run auto`: fits share a GPU while its measurements say that this pays.

The first run of each model, dataset and recipe has its GPU to itself: its time counts, and its
record says how long it kept the GPU busy and how much memory it took. Further seeds are packed, as
long as their utilisations together stay within `limit`. At first two share a GPU; each pack that
gains doubles that number. Progress is compared with the lone run's, epoch by epoch: a pack that is
slower than one run after another is taken apart (all but one of its processes stop until that one
has ended, which loses no work), and the limit falls below what it was.

Kernels of different processes take turns on a GPU, so shares of its time add up (H100, four fits
each of 14 to 29 % utilisation: 2.8 to 3.9 times the throughput of one, November 2026).
"""

import os
import signal
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pynvml

from pipeline.core.errors import PipelineError
from pipeline.core.processes import last_progress
from pipeline.hardware import nvml
from pipeline.records import Record, read_record
from pipeline.sweep.engine import LocalEngine, Place, shares, signal_group
from pipeline.sweep.jobs import TRY_AGAIN, Ended, Job

MEMORY_SHARE = 0.9  # of what is free on the GPU before the sweep's first run
GAIN = 1.05  # a pack's throughput, in lone runs, from which it pays
LOSS = 0.95  # and below which it is taken apart
MOST = 8  # runs on one GPU
CONTEXT_GIB = 0.75  # of a CUDA process, beside what its tensors take
SLACK = 0.01  # of a utilisation, which no record tells better
OUT_OF_MEMORY = "out of GPU memory"  # in a record's words, also where its batch was halved


@dataclass(frozen=True)
class Alone:
    """What a run takes that has a GPU to itself.

    utilisation  share of the steady fit in which the GPU computes, above 0 and at most 1
    epochs_end   seconds from the fit's start to the end of each epoch
    """

    utilisation: float
    memory_gib: float
    steady_seconds: float
    start_up_seconds: float
    epochs_end: tuple[float, ...]

    def seconds_until(self, epoch: int, warm: bool) -> float:
        """From the start of the fit to the end of that epoch, counted from 1."""
        start_up = self.start_up_seconds if warm else 0.0
        return max(0.0, self.epochs_end[min(epoch, len(self.epochs_end)) - 1] - start_up)


def alone_of(record: Record) -> Alone | None:
    """What a finished run took that shared its GPU with none; None where any of it is unknown."""
    told, cost = record.telemetry, record.cost
    busy_percent = told.get("gpu_utilisation_mean_percent")
    steady, start_up = record.steady_fit_seconds, record.start_up_seconds
    seconds = [row["seconds"] for row in record.history if row.get("seconds")]
    if record.status != "ok" or not record.device.is_cuda or record.not_for_speed:
        return None
    if busy_percent is None or not seconds or len(seconds) < len(record.history):
        return None
    memory_gib = told.get("gpu_process_memory_peak_gib")
    if memory_gib is None and cost.peak_memory_reserved_gib is not None:
        memory_gib = cost.peak_memory_reserved_gib + CONTEXT_GIB
    if memory_gib is None or not steady or start_up is None or not cost.fit_seconds:
        return None
    utilisation = min(1.0, max(SLACK, float(busy_percent) / 100 * cost.fit_seconds / steady))
    ends = tuple(sum(seconds[: n + 1]) for n in range(len(seconds)))
    return Alone(utilisation, float(memory_gib), steady, start_up, ends)


@dataclass
class Running:
    """A run on a GPU. `alone` is set where it may share.

    lead_seconds  from the job's start to that of its fit; None where no lone run has shown it
    epoch         the last one reported, with the run's clock then, and when that was reported
    first         the first one reported, with that clock, which runs before the fit starts
    overlap       the number of runs on the GPU, itself included, integrated over seconds
    """

    job: Job
    alone: Alone | None
    warm: bool
    started_at: float
    lead_seconds: float | None
    epoch: tuple[int, float, float] = (0, 0.0, 0.0)
    first: tuple[int, float] = (0, 0.0)
    was_paused: bool = False
    paused: bool = False
    overlap: float = 0.0

    def most_rate(self, now: float) -> float:
        """Its speed as a share of a lone run's, at most: its present epoch has not ended yet."""
        if self.alone is None:
            return 1.0
        progress = last_progress(self.job.progress)
        if progress is not None and progress.epoch != self.epoch[0]:
            if not self.epoch[0] or progress.epoch < self.epoch[0]:  # or it has begun anew
                self.first = (progress.epoch, progress.seconds)
            self.epoch = (progress.epoch, progress.seconds, now)
        epoch, seconds, reported_at = self.epoch
        if not epoch and self.lead_seconds is None:
            return 1.0
        begin, begin_seconds = self.first
        if not epoch:
            reported_at = self.started_at + (self.lead_seconds or 0.0)
        elapsed = seconds - begin_seconds
        if epoch < len(self.alone.epochs_end):  # else what follows is no fit
            elapsed += now - reported_at
        until = self.alone.seconds_until(epoch + 1, self.warm)
        until -= self.alone.seconds_until(begin, self.warm) if begin else 0.0
        return 1.0 if elapsed <= until else until / elapsed


@dataclass
class Gpu:
    """One GPU: what runs on it, and how much memory it had free before (None: unknown)."""

    free_gib: float | None
    running: list[Running] = field(default_factory=list)
    changed_at: float = 0.0

    def count(self, now: float) -> None:
        """Add the time since the last change to the overlap of each run."""
        going = [run for run in self.running if not run.paused]
        for run in going:
            run.overlap += len(going) * (now - self.changed_at)
        self.changed_at = now


class Packing:
    """Decides which runs share a GPU. `room` is how many the cores of one GPU are enough for.

    `device` is the GPUs' name as in records; those of other devices tell nothing here.
    """

    def __init__(
        self, free_gib: Sequence[float | None], room: int, device: str | None = None
    ) -> None:
        self.gpus = [Gpu(each) for each in free_gib]
        self.limit = 1.0  # of the utilisations of one GPU's runs
        self.at_once = 2  # runs of one GPU, so far
        self._room, self._device = min(MOST, room), device
        self._known: dict[Path, Alone | None] = {}  # by the folder of a model's records
        self._leads: dict[Path, float] = {}
        self._by_itself: set[str] = set()  # jobs that ran out of memory beside others
        self._outdated: set[Path] = set()  # records

    def will_make(self, jobs: Iterable[Job]) -> None:
        """Note that these are to run: if one of them has a record, it is of other inputs."""
        self._outdated |= {job.root / job.outs[0] for job in jobs if job.cell is not None}

    def gpu_for(self, job: Job) -> int | None:
        """The GPU on which `job` may start now: an empty one, else where most is left."""
        fitting = [number for number, gpu in enumerate(self.gpus) if self._admits(gpu, job)]
        return min(fitting, key=lambda each: _sum(self.gpus[each].running), default=None)

    def shares(self, job: Job) -> bool:
        """Is `job` one that others may join? Else it has its GPU to itself."""
        alone = self.alone(job)
        if alone is None or self._room < 2 or 2 * alone.utilisation > self.limit + SLACK:
            return False
        return all(self._fits(gpu, [alone, alone]) for gpu in self.gpus)

    def alone(self, job: Job) -> Alone | None:
        """What `job` takes by itself, as its own or another seed's record says."""
        if job.cell is None or job.name in self._by_itself:
            return None
        folder = _folder(job)
        if folder not in self._known:
            self._known[folder] = self._first_known(
                sorted(set(folder.glob("*.json")) - self._outdated)
            )
        return self._known[folder]

    def started(self, job: Job, number: int, warm: bool, now: float) -> None:
        """It was given GPU `number`; `warm`: to a process that has made another run."""
        gpu = self.gpus[number]
        gpu.count(now)
        alone = self.alone(job) if self.shares(job) else None
        lead = self._leads.get(_folder(job))  # a warm process takes less
        gpu.running.append(Running(job, alone, warm, now, lead))

    def ended(self, job: Job, record: Record | None, now: float) -> list[Job]:
        """Learn from a run that ended, whose record is None if it made none; returns the jobs that
        may go on now.
        """
        gpu, run = self._where(job)
        gpu.count(now)
        gpu.running.remove(run)
        if record is not None and job.cell is not None:
            if run.alone is None:
                self._learn_alone(run, record, now)
            elif not run.was_paused and job.name not in self._by_itself:  # maybe of another batch
                self._learn_gain(run, run.alone, record, now)
        if any(not each.paused for each in gpu.running):
            return []
        for each in gpu.running[:1]:
            each.paused = False
        return [each.job for each in gpu.running[:1]]

    def look(self, now: float) -> list[Job]:
        """Take apart packs that are slower than one run after another; returns the jobs that are to
        stop for now.
        """
        stop: list[Job] = []
        for gpu in self.gpus:
            going = [each for each in gpu.running if each.alone is not None and not each.paused]
            if len(going) < 2 or sum(each.most_rate(now) for each in going) >= LOSS:
                continue
            gpu.count(now)
            self._lower(_sum(going))
            for each in going:
                each.was_paused = True  # its time is no measure of a pack
            for each in going[1:]:
                each.paused = True
                stop.append(each.job)
        return stop

    def is_paused(self, job: Job) -> bool:
        return self._where(job)[1].paused

    def starved(self, job: Job, record: Record | None) -> bool:
        """Did it run out of memory beside others? Then it gets another try, by itself."""
        _, run = self._where(job)
        told = "" if record is None else f"{record.reason} {record.not_for_speed}"
        if run.alone is None or OUT_OF_MEMORY not in told:
            return False
        self._by_itself.add(job.name)
        return True

    def _first_known(self, records: list[Path]) -> Alone | None:
        for record in filter(None, map(_readable, records)):
            if self._device in (None, record.device.name) and (alone := alone_of(record)):
                return alone
        return None

    def _admits(self, gpu: Gpu, job: Job) -> bool:
        if not gpu.running:
            return True
        together = len(gpu.running) + 1
        others = [run.alone for run in gpu.running if run.alone is not None and not run.was_paused]
        if together > min(self.at_once, self._room) or len(others) < len(gpu.running):
            return False  # first, as it is asked for each waiting job several times a second
        alone = self.alone(job) if self.shares(job) else None
        return alone is not None and self._fits(gpu, [*others, alone])

    def _fits(self, gpu: Gpu, runs: list[Alone]) -> bool:
        if gpu.free_gib is None or sum(run.utilisation for run in runs) > self.limit + SLACK:
            return False
        return sum(run.memory_gib for run in runs) <= MEMORY_SHARE * gpu.free_gib

    def _learn_alone(self, run: Running, record: Record, now: float) -> None:
        folder = _folder(run.job)
        if (alone := alone_of(record)) is not None:
            self._known[folder] = alone
        if record.cost.fit_seconds is not None and not run.warm:
            self._leads[folder] = max(0.0, now - run.started_at - record.cost.fit_seconds)

    def _learn_gain(self, run: Running, alone: Alone, record: Record, now: float) -> None:
        steady, beside = record.steady_fit_seconds, run.overlap / (now - run.started_at)
        if not steady or beside < 1.5:  # it was alone for most of the time
            return
        if beside * alone.steady_seconds / steady < GAIN:
            self._lower(beside * alone.utilisation)
        elif beside > self.at_once - 0.5:
            self.at_once = min(MOST, 2 * self.at_once)

    def _lower(self, utilisation: float) -> None:
        """Packs of as much utilisation do not pay."""
        self.limit = min(self.limit, utilisation - 2 * SLACK)

    def _where(self, job: Job) -> tuple[Gpu, Running]:
        return next((gpu, run) for gpu in self.gpus for run in gpu.running if run.job is job)


def _sum(runs: Iterable[Running]) -> float:
    return sum(1.0 if run.alone is None else run.alone.utilisation for run in runs)


def first_runs_first(jobs: Iterable[Job]) -> list[Job]:
    """The first of each model, dataset and recipe, before all further seeds."""
    first: dict[Path, str] = {}
    jobs = list(jobs)
    for job in jobs:
        first.setdefault(_folder(job) if job.cell else Path(job.name), job.name)
    leading = set(first.values())
    return sorted(jobs, key=lambda job: job.name not in leading)


def _folder(job: Job) -> Path:
    """Where the records of all seeds of its model, dataset and recipe are."""
    return job.root / Path(job.outs[0]).parent


def record_of(job: Job) -> Record | None:
    """What a fine-tune recorded; None for another stage, or where there is nothing to read."""
    return None if job.cell is None else _readable(job.root / job.outs[0])


def _readable(path: Path) -> Record | None:
    try:
        return read_record(path)
    except (OSError, PipelineError):  # it is made anew
        return None


class PackingEngine(LocalEngine):
    """A machine with GPUs whose runs share them as `Packing` decides, `jobs` in all at most."""

    def __init__(
        self, gpus: list[str], threads: int, jobs: int | None = None, warm: bool = False
    ) -> None:
        super().__init__(len(gpus), threads, warm)
        cores = shares(sorted(os.sched_getaffinity(0)), len(gpus), 1)  # a GPU's runs share its own
        room = min(MOST, max(1, len(cores[0]) // threads))
        each_gpu = [Place(own, gpu, shared=False) for own, gpu in zip(cores, gpus, strict=True)]
        self._places = [place for place in each_gpu for _ in range(room)]
        self._numbers = [number for number in range(len(gpus)) for _ in range(room)]
        self._free = list(range(len(self._places)))
        self._most = min(jobs or len(self._places), len(self._places))
        self.packing = Packing([free_memory_gib(gpu) for gpu in gpus], room, device_name(gpus[0]))

    @property
    def free(self) -> int:
        return self._most - len(self._jobs)

    def ordered(self, jobs: Iterable[Job]) -> list[Job]:
        jobs = first_runs_first(jobs)
        self.packing.will_make(jobs)
        return jobs

    def admits(self, job: Job) -> bool:
        return self.packing.gpu_for(job) is not None

    def start(self, job: Job) -> None:
        number = self.packing.gpu_for(job)
        assert number is not None
        shared, now = self.packing.shares(job), time.monotonic()
        free = [place for place in self._free if self._numbers[place] == number]
        job.progress.unlink(missing_ok=True)  # of the run before, or `look` might take it for this
        warm = self.start_in(free, job, shared)
        self.packing.started(job, number, warm, now)

    def _end(self, place: int) -> Ended:
        job, worker = self._jobs[place]
        if self.packing.is_paused(job):  # it had ended just before, but would take no other job
            signal_group(worker.process, signal.SIGCONT)
        return super()._end(place)

    def wait(self, seconds: float) -> list[Ended]:
        ended = []
        for end in super().wait(seconds):
            record = record_of(end.job)
            if end.exit_code == 0 and self.packing.starved(end.job, record):
                end.job.receipt.unlink(missing_ok=True)
                end = replace(end, exit_code=TRY_AGAIN, reason=f"{OUT_OF_MEMORY} beside others")
            for job in self.packing.ended(end.job, record, time.monotonic()):
                self._signal(job, signal.SIGCONT)
            ended.append(end)
        for job in self.packing.look(time.monotonic()):
            self._signal(job, signal.SIGSTOP)
        return ended

    def stop(self) -> None:
        for job in self.running:
            self._signal(job, signal.SIGCONT)  # else a stopped one would not get the signal to end
        super().stop()

    def _signal(self, job: Job, number: signal.Signals) -> None:
        for each, worker in self._jobs.values():
            if each is job:
                signal_group(worker.process, number)


def free_memory_gib(gpu: str) -> float | None:
    """What is free on a GPU, named as in CUDA_VISIBLE_DEVICES; None where NVML does not tell."""
    handle = nvml.named(gpu)
    memory = None if handle is None else nvml.ask(pynvml.nvmlDeviceGetMemoryInfo, handle)
    return None if memory is None else memory.free / nvml.GIB


def device_name(gpu: str) -> str | None:
    """A GPU's name, as CUDA gives it too."""
    handle = nvml.named(gpu)
    return None if handle is None else nvml.ask(pynvml.nvmlDeviceGetName, handle)
