"""What the hardware did during a run: `watch = Watch(device)`, then `with watch:` around the fit.

CPU counters are read before and after the fit. The kernel counts how long each thread was ready to
run but had no core, so other processes on cores that the run does not use make no difference; time
taken by a hypervisor is not included. A GPU is also sampled once a second, because there are no
counters for utilisation, clocks and other processes. There is one for energy on Volta and newer;
on older GPUs, the sampled power is integrated. Unknown values are None.
"""

import os
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

from pipeline.hardware import nvml
from pipeline.hardware.nvml import Gpu, Sample

NANO = 1e-9


@dataclass(frozen=True)
class Reading:
    """The counters of this process and of the cores it may use, at one moment."""

    at: float
    cpu_seconds: float
    waited_seconds: dict[str, float] | None  # thread -> time it was ready to run without a core
    busy_seconds: float | None  # of all processes, on the cores that this one may use
    load: float | None


def read() -> Reading:
    return Reading(
        at=time.perf_counter(),
        cpu_seconds=time.process_time(),
        waited_seconds=_waited_seconds(),
        busy_seconds=_busy_seconds(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def waited_share(begin: Reading, end: Reading) -> float | None:
    """The share of the time the process could have run that it waited for a core."""
    if begin.waited_seconds is None or end.waited_seconds is None:
        return None
    waited = sum(
        seconds - begin.waited_seconds.get(thread, 0.0)
        for thread, seconds in end.waited_seconds.items()
    )
    ready = waited + end.cpu_seconds - begin.cpu_seconds
    return waited / ready if ready > 0 else None


def others_cores(begin: Reading, end: Reading) -> float | None:
    """How many of this process's cores other processes kept busy, on average."""
    if begin.busy_seconds is None or end.busy_seconds is None or end.at <= begin.at:
        return None
    own = end.cpu_seconds - begin.cpu_seconds
    return max(0.0, end.busy_seconds - begin.busy_seconds - own) / (end.at - begin.at)


def _waited_seconds() -> dict[str, float] | None:
    """Waiting time of each thread of this process; None if the kernel does not count it."""
    found = {}
    for thread in Path("/proc/self/task").glob("*"):
        try:
            fields = (thread / "schedstat").read_text(encoding="ascii").split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended, perhaps after open(), or the kernel has no schedstat
        except OSError:
            return None
        found[thread.name] = int(fields[1]) * NANO
    return found or None


def _busy_seconds() -> float | None:
    if not hasattr(os, "sched_getaffinity"):
        return None
    cores = psutil.cpu_times(percpu=True)
    allowed = os.sched_getaffinity(0)
    if max(allowed) >= len(cores):  # some cores are offline, so positions are not core numbers
        return None
    busy = ("user", "nice", "system", "irq", "softirq")
    return sum(getattr(cores[core], kind, 0.0) for core in allowed for kind in busy)


EVERY_SECONDS = 1.0
PATIENCE_SECONDS = 10.0  # how long to wait for a driver that hangs


class Sampler:
    """Samples the GPU from `start` to `stop`, including both; without a GPU, it does nothing.

    The driver is queried in a separate thread, so that a driver that hangs does not block the run.
    """

    def __init__(self, gpu: Gpu | None, every_seconds: float = EVERY_SECONDS) -> None:
        self.gpu, self.every_seconds = gpu, every_seconds
        self.samples: list[tuple[float, Sample]] = []
        self.counted_joules: float | None = None
        self.sampling_seconds = 0.0
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_stopped, daemon=True)

    def start(self) -> None:
        if self.gpu:
            self._thread.start()

    def stop(self) -> None:
        if not self.gpu:
            return
        self._ending.set()
        self._thread.join(PATIENCE_SECONDS)
        if self._thread.is_alive():  # the driver hangs, so the samples do not cover the run
            self.samples = []

    def _sample_until_stopped(self) -> None:
        assert self.gpu is not None
        at_start = self.gpu.energy_joules()
        while not self._ending.is_set():
            self._sample(self.gpu)
            self._ending.wait(self.every_seconds)
        at_end = self.gpu.energy_joules()
        self._sample(self.gpu)
        if at_start is not None and at_end is not None and at_end >= at_start:
            self.counted_joules = at_end - at_start  # it would be negative if the driver reloaded

    def _sample(self, gpu: Gpu) -> None:
        before = time.perf_counter()
        self.samples.append((before, gpu.sample()))
        self.sampling_seconds += time.perf_counter() - before


def integrated_joules(samples: list[tuple[float, Sample]]) -> float | None:
    """The integral of the sampled power; None with fewer than two samples, or if one lacks it."""
    powers = [(at, sample.power_w) for at, sample in samples if sample.power_w is not None]
    if len(powers) < max(2, len(samples)):
        return None
    return sum((b - a) * (power_a + power_b) / 2 for (a, power_a), (b, power_b) in pairwise(powers))


def summary(samples: list[Sample]) -> dict[str, Any]:
    """The keys of the record's telemetry that describe the GPU, from samples at equal intervals."""
    return {
        "gpu_samples": len(samples),
        "gpu_utilisation_mean_percent": _mean(each.utilisation_percent for each in samples),
        "gpu_utilisation_peak_percent": _peak(each.utilisation_percent for each in samples),
        "gpu_process_memory_peak_gib": _peak(each.process_memory_gib for each in samples),
        "gpu_power_mean_w": _mean(each.power_w for each in samples),
        "gpu_power_peak_w": _peak(each.power_w for each in samples),
        "gpu_sm_clock_mean_mhz": _mean(each.sm_clock_mhz for each in samples),
        "gpu_temperature_peak_c": _peak(each.temperature_c for each in samples),
        "gpu_slowdowns": _slowdowns(samples),
        "gpu_others": _peak(each.others for each in samples),
    }


def _slowdowns(samples: list[Sample]) -> dict[str, float] | None:
    """Reason -> share of the samples in which the driver reduced the clocks for that reason."""
    known = [each.slowdowns for each in samples if each.slowdowns is not None]
    if not known:
        return None
    seen = sorted({reason for reasons in known for reason in reasons})
    return {reason: sum(reason in reasons for reasons in known) / len(known) for reason in seen}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _peak(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)


SHORTEST_SECONDS = 2.0  # the energy counter is updated every 0.1 s at worst, which is 5 % of this
LONGEST_WAIT = 0.1  # share of its runnable time a run may wait for a core and still be timed
JOULES_PER_WH = 3600.0


class Watch:
    """Observes a run on torch's `device`; its fields are set when the block ends or fails.

    shared         whether others used the device; on a CPU, whether the run waited for cores;
                   None if unknown
    not_for_speed  why its times are not used to rank models, or None
    energy_wh      energy used by this run alone; None if others shared the device
    telemetry      the record's `telemetry`: docs/hardware.md describes every key
    """

    def __init__(self, device: Any, every_seconds: float = EVERY_SECONDS) -> None:
        self.device, self.every_seconds = device, every_seconds
        self.shared: bool | None = None
        self.not_for_speed: str | None = None
        self.energy_wh: float | None = None
        self.telemetry: dict[str, Any] = {}

    def __enter__(self) -> "Watch":
        self._sampler = Sampler(nvml.gpu_of(self.device), self.every_seconds)
        finish_work(self.device)
        self._begin = read()
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:  # after a CUDA error, synchronising would raise it again
            finish_work(self.device)
        end = read()
        self._sampler.stop()
        self._fill(self._begin, end, self._sampler)

    def elapsed_seconds(self) -> float:
        """Seconds since the block began."""
        return time.perf_counter() - self._begin.at

    def _fill(self, begin: Reading, end: Reading, sampler: Sampler) -> None:
        seconds, samples = end.at - begin.at, sampler.samples
        joules, source = _energy(sampler, seconds)
        waited = waited_share(begin, end)
        gpu = summary([sample for _, sample in samples])
        self.telemetry = {
            "seconds": seconds,
            "cpu_seconds": end.cpu_seconds - begin.cpu_seconds,
            "cpu_waited_share": waited,
            "cpu_others_cores": others_cores(begin, end),
            "load_at_start": begin.load,
            "load_at_end": end.load,
            **gpu,
            "gpu_energy_wh": None if joules is None else joules / JOULES_PER_WH,
            "gpu_energy_source": source,
            "gpu_sampling_share": sampler.sampling_seconds / seconds if samples else None,
        }
        packed = os.environ.get("WB_SHARED_DEVICE") == "1"
        self.shared = _shared(packed, self.device.type == "cpu", waited, gpu["gpu_others"])
        self.not_for_speed = _why_not_for_speed(packed, waited, gpu["gpu_others"])
        self.energy_wh = None if self.shared else self.telemetry["gpu_energy_wh"]


def finish_work(device: Any) -> None:
    """Wait for all work queued on a GPU; on a CPU there is nothing to wait for."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def _energy(sampler: Sampler, seconds: float) -> tuple[float | None, str | None]:
    """Energy of the whole device in joules, and how it was measured."""
    if seconds < SHORTEST_SECONDS:
        return None, None
    if sampler.counted_joules is not None:
        return sampler.counted_joules, "counter"
    joules = integrated_joules(sampler.samples)
    return joules, None if joules is None else "power"


def _shared(packed: bool, cpu: bool, waited: float | None, others: int | None) -> bool | None:
    if packed:
        return True
    if cpu:
        return None if waited is None else waited > LONGEST_WAIT
    return None if others is None else others > 0


def _why_not_for_speed(packed: bool, waited: float | None, others: int | None) -> str | None:
    if packed:
        return "the device was shared: several runs were packed on it"
    if others:
        return f"the device was shared: others computed on it, up to {others} at a time"
    if waited is not None and waited > LONGEST_WAIT:
        return f"it waited for a core for {waited:.0%} of the time it could have run"
    return None
