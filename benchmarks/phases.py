"""The time of a fit by phase, switched by fastai's events.

Data: making a batch of uint8 images; transforms: conversion to float and normalisation; both for
training only. Validation includes its own.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from fastai.vision.all import Callback, Learner
from fasttransform import Pipeline

PHASES = ("data", "transforms", "forward", "backward", "optimizer", "validation", "other")


class PhaseClock:
    """Seconds by phase, as `now` counts them; between two switches all belongs to one phase."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now, self.phase, self.since = now, "other", now()
        self.seconds = dict.fromkeys(PHASES, 0.0)

    def switch(self, phase: str) -> str:
        """Count for `phase` from here on; the phase that this ends comes back."""
        ended, at = self.phase, self.now()
        self.seconds[ended] += at - self.since
        self.phase, self.since = phase, at
        return ended


def cpu_seconds() -> float:
    """CPU seconds of this process."""
    return time.process_time()


def synchronised_seconds() -> float:
    """Wall seconds once CUDA has finished: true by phase, and slower than without."""
    torch.cuda.synchronize()
    return time.perf_counter()


class Starts(Callback):
    """Switches before any other callback of an event has run."""

    order = -1000

    def __init__(self, clock: PhaseClock) -> None:
        self.clock = clock

    def before_validate(self) -> None:
        self.clock.switch("validation")

    def after_validate(self) -> None:
        self.clock.switch("other")

    def before_batch(self) -> None:
        self._in_training("other")

    def before_backward(self) -> None:
        self._in_training("backward")

    def after_backward(self) -> None:
        self._in_training("other")

    def before_step(self) -> None:
        self._in_training("optimizer")

    def after_batch(self) -> None:
        self._in_training("other")

    def after_train(self) -> None:
        self.clock.switch("other")

    def _in_training(self, phase: str) -> None:
        if self.training:
            self.clock.switch(phase)


class Ends(Callback):
    """Switches after every other callback of an event has run."""

    order = 1000

    def __init__(self, clock: PhaseClock) -> None:
        self.clock = clock

    def before_train(self) -> None:
        self.clock.switch("data")

    def before_batch(self) -> None:
        if self.training:
            self.clock.switch("forward")

    def after_batch(self) -> None:
        if self.training:
            self.clock.switch("data")


class TimedTransforms(Pipeline):
    """fastai's transforms of a batch, on a clock."""

    def __call__(self, batch: Any) -> Any:
        before = self.clock.switch("transforms")
        transformed = super().__call__(batch)
        self.clock.switch(before)
        return transformed


def watch_phases(learn: Learner, now: Callable[[], float]) -> PhaseClock:
    """Put a clock on `learn`."""
    clock = PhaseClock(now)
    learn.add_cbs([Starts(clock), Ends(clock)])
    transforms = learn.dls.train.after_batch
    transforms.__class__, transforms.clock = TimedTransforms, clock
    return clock
