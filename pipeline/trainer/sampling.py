"""A GPU asked once in a while from a thread, and what the samples say of the whole run.

A sample takes milliseconds in the driver, without Python's lock; the share of the run's time that
sampling took is in every record (`gpu_sampling_share`).
"""

import threading
import time
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

from pipeline.trainer.nvml import Gpu, Sample

EVERY_SECONDS = 1.0
PATIENCE_SECONDS = 10.0  # for a driver that hangs


class Sampler:
    """Samples between `start` and `stop`, both ends included; without a GPU it does nothing.

    Only its own thread asks the driver, so that one that hangs holds up no run.
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
        if self._thread.is_alive():  # then the samples do not cover the run
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
            self.counted_joules = at_end - at_start  # a reloaded driver counts from 0

    def _sample(self, gpu: Gpu) -> None:
        before = time.perf_counter()
        self.samples.append((before, gpu.sample()))
        self.sampling_seconds += time.perf_counter() - before


def integrated_joules(samples: list[tuple[float, Sample]]) -> float | None:
    """The energy under the sampled power; None where a sample lacks it or fewer than two are."""
    powers = [(at, sample.power_w) for at, sample in samples if sample.power_w is not None]
    if len(powers) < max(2, len(samples)):
        return None
    return sum((b - a) * (power_a + power_b) / 2 for (a, power_a), (b, power_b) in pairwise(powers))


def summary(samples: list[Sample]) -> dict[str, Any]:
    """The record's keys about the GPU, from samples at equal distances."""
    return {
        "gpu_samples": len(samples),
        "gpu_utilisation_mean_percent": _mean(each.utilisation_percent for each in samples),
        "gpu_utilisation_peak_percent": _most(each.utilisation_percent for each in samples),
        "gpu_process_memory_peak_gib": _most(each.process_memory_gib for each in samples),
        "gpu_power_mean_w": _mean(each.power_w for each in samples),
        "gpu_power_peak_w": _most(each.power_w for each in samples),
        "gpu_sm_clock_mean_mhz": _mean(each.sm_clock_mhz for each in samples),
        "gpu_temperature_peak_c": _most(each.temperature_c for each in samples),
        "gpu_slowdowns": _slowdowns(samples),
        "gpu_others": _most(each.others for each in samples),
    }


def _slowdowns(samples: list[Sample]) -> dict[str, float] | None:
    """Reason -> share of the samples in which the driver held the clocks down for it."""
    told = [each.slowdowns for each in samples if each.slowdowns is not None]
    if not told:
        return None
    seen = sorted({reason for reasons in told for reason in reasons})
    return {reason: sum(reason in reasons for reasons in told) / len(told) for reason in seen}


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _most(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
