"""A lower bound of a training step's time on this device: its arithmetic and its memory traffic,
each at the device's measured rate.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
from fastai.vision.all import Learner
from torch.utils.flop_counter import FlopCounterMode

from pipeline.hardware.telemetry import finish_work

ADAM_PASSES = 7  # reads weight, gradient and two moments; writes weight and two moments


@dataclass(frozen=True)
class Work:
    """What one step cannot do without. `saved_bytes` is what forward keeps for backward."""

    flops: float
    saved_bytes: float
    parameter_bytes: float

    @property
    def traffic_bytes(self) -> float:
        """Saved once and read once; weights read twice and gradients written; the update."""
        return 2 * self.saved_bytes + (3 + ADAM_PASSES) * self.parameter_bytes


@dataclass(frozen=True)
class Rates:
    """What the device was measured to reach."""

    flops_per_second: float
    bytes_per_second: float


def floor_seconds(work: Work, rates: Rates) -> float:
    """The least time of a step: arithmetic and traffic may overlap, so the longer of the two."""
    arithmetic = work.flops / rates.flops_per_second
    return max(arithmetic, work.traffic_bytes / rates.bytes_per_second)


def work_of_a_step(learn: Learner) -> Work:
    """One forward and backward pass of a training batch, counted."""
    images, labels = learn.dls.train.one_batch()
    images, labels = images.as_subclass(torch.Tensor), labels.as_subclass(torch.Tensor)
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    learn.model.train()
    with FlopCounterMode(display=False) as flops:
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            loss = learn.loss_func(learn.model(images), labels)
        loss.backward()
    parameters = [each for each in learn.model.parameters() if each.grad is not None]
    learn.model.zero_grad()
    for each in learn.model.parameters():
        kept.pop(each.untyped_storage().data_ptr(), None)
    size = sum(each.numel() * each.element_size() for each in parameters)
    return Work(float(flops.get_total_flops()), float(sum(kept.values())), float(size))


def rates_of(device: torch.device, dtype: torch.dtype, side: int = 4096, times: int = 20) -> Rates:
    """Square matrix products in `dtype`, and copies of 16 such matrices: medians of `times`."""
    matrix = torch.randn(side, side, device=device).to(dtype)
    target = torch.empty_like(matrix)
    product_seconds = _median_seconds(lambda: torch.mm(matrix, matrix, out=target), device, times)
    blocks = torch.empty(16 * matrix.nbytes, dtype=torch.uint8, device=device)
    copied = torch.empty_like(blocks)
    copy_seconds = _median_seconds(lambda: copied.copy_(blocks), device, times)
    return Rates(2 * side**3 / product_seconds, 2 * blocks.nbytes / copy_seconds)


def _median_seconds(work: Callable[[], object], device: torch.device, times: int) -> float:
    seconds = []
    for _ in range(times):
        finish_work(device)
        begin = time.perf_counter()
        work()
        finish_work(device)
        seconds.append(time.perf_counter() - begin)
    return median(seconds)
