"""One architecture timed as timm's benchmark script does it, with memory and energy.

Random images that are on the device already, random weights, 1,000 classes; training is a whole
step of SGD. Each step is waited for. timm takes the mean of one block of steps; here it is the
median of several blocks, so that a single hiccup does not count.
"""

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import timm
import torch
from timm.optim import create_optimizer_v2
from timm.utils.decay_batch import decay_batch_step

from pipeline.benchmark.timings import Mode, Timing
from pipeline.hardware import machine
from pipeline.hardware.faults import DoesNotFit, lacks_memory, models_fault
from pipeline.hardware.nvml import GIB
from pipeline.hardware.telemetry import JOULES_PER_WH, Watch, finish_work
from pipeline.names.resolve import size_options

SAMPLE_EVERY_SECONDS = 0.25
AUTOCAST = {"fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Setup:
    """What all models are timed with; `precision` is fp32, or what CUDA's autocast uses."""

    device: torch.device
    precision: str
    channels_last: bool
    warm_up_steps: int
    steps: int
    repeats: int
    least_seconds: float
    batch_decay: bool


def timing(arch: str, mode: Mode, img_size: int, batch_size: int, setup: Setup) -> Timing:
    """Time `arch` in one mode; where the architecture itself fails, the timing says why.

    When GPU memory runs out the batch gets smaller, if `setup.batch_decay` says so.
    """
    asked = batch_size
    while True:
        try:
            return _timing(arch, mode, img_size, batch_size, asked, setup)
        except Exception as error:
            if not lacks_memory(error):
                return Timing(mode, img_size, asked, failed=models_fault(error))
            smaller = decay_batch_step(batch_size) if setup.batch_decay else 0
            if not smaller:
                failed = f"out of GPU memory at batch size {batch_size}"
                return Timing(mode, img_size, asked, failed=failed)
            batch_size = smaller


def _timing(
    arch: str, mode: Mode, img_size: int, batch_size: int, asked: int, setup: Setup
) -> Timing:
    forget_peak_memory(setup.device)
    model = timm.create_model(arch, **size_options(arch, img_size))
    step = (_train_step if mode == "train" else _infer_step)(model, img_size, batch_size, setup)
    for _ in range(setup.warm_up_steps):
        step()
    with Watch(setup.device, SAMPLE_EVERY_SECONDS) as watch:
        seconds = _repeats(step, setup)
    images = setup.steps * batch_size
    memory = machine.peak_memory(setup.device)
    rates = [images / each for each in seconds]
    joules = None if watch.energy_wh is None else watch.energy_wh * JOULES_PER_WH
    return Timing(
        mode=mode,
        img_size=img_size,
        batch_size_asked=asked,
        batch_size=batch_size,
        samples_per_second=median(rates),
        step_ms=1000 * median(seconds) / setup.steps,
        repeats_samples_per_second=rates,
        params_m=sum(each.numel() for each in model.parameters()) / 1e6,
        peak_memory_allocated_gib=memory["peak_memory_allocated_gib"],
        peak_memory_reserved_gib=memory["peak_memory_reserved_gib"],
        peak_rss_gib=peak_rss_gib(),
        joules_per_sample=None if joules is None else joules / (images * len(seconds)),
        not_for_speed=watch.not_for_speed,
        telemetry=watch.telemetry,
    )


def _repeats(step: Callable[[], None], setup: Setup) -> list[float]:
    """The seconds of each block of steps, until there are enough and they took long enough."""
    seconds: list[float] = []
    while len(seconds) < setup.repeats or sum(seconds) < setup.least_seconds:
        started = time.perf_counter()
        for _ in range(setup.steps):
            step()
        seconds.append(time.perf_counter() - started)
    return seconds


def _infer_step(model: Any, img_size: int, batch_size: int, setup: Setup) -> Callable[[], None]:
    model = _on_device(model, setup).eval()
    images = _images(img_size, batch_size, setup)

    def step() -> None:
        with torch.inference_mode(), _autocast(setup):
            model(images)
        finish_work(setup.device)

    return step


def _train_step(model: Any, img_size: int, batch_size: int, setup: Setup) -> Callable[[], None]:
    if not model.num_classes:
        raise DoesNotFit("no classifier: timm gives this architecture none, so it cannot train")
    model = _on_device(model, setup).train()
    images = _images(img_size, batch_size, setup)
    labels = torch.randint(model.num_classes, (batch_size,), device=setup.device)
    loss = torch.nn.CrossEntropyLoss()
    optimizer = create_optimizer_v2(model, opt="sgd", lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        with _autocast(setup):
            output = model(images)
            output = output[0] if isinstance(output, tuple) else output
            error = loss(output, labels)
        error.backward()
        optimizer.step()
        finish_work(setup.device)

    return step


def _on_device(model: Any, setup: Setup) -> Any:
    layout = torch.channels_last if setup.channels_last else torch.contiguous_format
    return model.to(device=setup.device, memory_format=layout)


def _images(img_size: int, batch_size: int, setup: Setup) -> torch.Tensor:
    images = torch.randn(batch_size, 3, img_size, img_size, device=setup.device)
    return images.contiguous(memory_format=torch.channels_last) if setup.channels_last else images


def _autocast(setup: Setup) -> AbstractContextManager[Any]:
    kind = AUTOCAST.get(setup.precision)
    return torch.autocast("cuda", kind) if kind else nullcontext()


def forget_peak_memory(device: torch.device) -> None:
    """Reset the peak counters of CUDA and (on Linux) of the host's memory."""
    machine.clear_peak_memory(device)
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return


def peak_rss_gib() -> float | None:
    """The host memory at its highest since `forget_peak_memory`; None outside Linux."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kib = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return None if kib is None else int(kib) * 1024 / GIB
