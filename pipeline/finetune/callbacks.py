"""Callbacks that observe a fit: epochs, divergence, and the answers on each validation image.

On CUDA, reading a number waits for all work queued before it. Losses are therefore accumulated on
the device and read every 32 steps. No divergence is missed: once a loss is not finite, neither is
the running loss from then on.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fastai.learner import AvgSmoothLoss
from fastai.vision.all import Callback, Learner

CHECK_EVERY = 32  # steps
FIRST_STEPS = 4  # of each kind of step: three uncaptured, and the one that captures the CUDA graph


class Diverged(Exception):
    """The loss is no longer finite, so any metric of this run would be meaningless."""

    def __init__(self, reason: str) -> None:
        self.reason = reason  # without the lines that fastai adds to an error's text
        super().__init__(reason)


@dataclass(eq=False)
class Epochs(Callback):
    """Stops a diverged run, and keeps one row per epoch: losses, error_rate, seconds.

    `tell` is called with each row at the end of its epoch.
    """

    tell: Callable[[dict[str, Any]], None] = lambda row: None
    rows: list[dict[str, Any]] = field(default_factory=list)
    order = 60  # after fastai's Recorder (50), which computes the epoch's values

    def before_epoch(self) -> None:
        self.started = time.perf_counter()

    def after_batch(self) -> None:
        if self.training and self.recorder.smooth_loss.count % CHECK_EVERY == 0:
            self._stop_unless_finite(self.recorder.smooth_loss.val, "training")

    def after_train(self) -> None:
        self._stop_unless_finite(self.recorder.smooth_loss.val, "training")
        self.train_seconds = time.perf_counter() - self.started

    def after_validate(self) -> None:
        self._stop_unless_finite(self.recorder.loss.value, "validation")

    def after_epoch(self) -> None:
        train_loss, valid_loss, accuracy = [float(value) for value in self.recorder.log[1:4]]
        row = {
            "epoch": len(self.rows) + 1,
            "train_loss": train_loss,
            "valid_loss": valid_loss,
            "error_rate": 1 - accuracy,
            "train_seconds": self.train_seconds,
            "seconds": time.perf_counter() - self.started,
        }
        self.rows.append(row)
        self.tell(row)

    def _stop_unless_finite(self, loss: torch.Tensor, part: str) -> None:
        if not torch.isfinite(loss):
            raise Diverged(f"{part} loss is not finite in epoch {len(self.rows) + 1}")


@dataclass(eq=False)
class FirstSteps(Callback):
    """Times each batch, and measures how much longer the first ones took than later ones.

    Once per process and architecture, cuDNN and cuBLAS plan and load their kernels, and CUDA graphs
    are captured. This happens in the first steps of each kind: training with a frozen body,
    training all layers, and validation. The host does this work, so it shows in the host's clock
    before and after each batch, without synchronising with the device. The host runs ahead of a
    GPU, and at some steps waits for many earlier ones. So the usual time of a step is the mean of
    the later steps, not their median.
    """

    order = 70  # after the check of the loss (60), which waits for the steps before it
    seconds: dict[Any, list[tuple[int, float]]] = field(default_factory=dict)

    def before_batch(self) -> None:
        self.began = time.perf_counter()

    def after_batch(self) -> None:
        seconds = time.perf_counter() - self.began
        kind = ("train", self.opt.frozen_idx) if self.training else ("validate", None)
        self.seconds.setdefault(kind, []).append((len(self.x), seconds))

    def start_up_seconds(self) -> float | None:
        """None if some kind of step ran too few times to know how long it usually takes."""
        paces = {kind: _pace(steps) for kind, steps in self.seconds.items()}
        whole = [pace for (part, _), pace in paces.items() if part == "train"][-1:]
        start_up = 0.0
        for kind, steps in self.seconds.items():
            pace = paces[kind]
            if pace is None and kind[0] == "train":
                pace = whole[0]  # a step with a frozen body is no slower than one without
            if pace is None:
                return None
            start_up += _beyond(steps, pace)
        return start_up


def _pace(steps: list[tuple[int, float]]) -> float | None:
    """Mean seconds of the later steps of the usual batch size; None if there are too few."""
    usual = [seconds for size, seconds in steps if size == steps[0][0]]
    later = usual[FIRST_STEPS:]
    return float(np.mean(later)) if len(later) >= FIRST_STEPS else None


def _beyond(steps: list[tuple[int, float]], pace: float) -> float:
    """Seconds beyond `pace` taken by the first steps, and by the first step of each other size."""
    sizes = [size for size, _ in steps]
    usual = [seconds for size, seconds in steps if size == sizes[0]][:FIRST_STEPS]
    others = [steps[sizes.index(size)][1] for size in set(sizes) - {sizes[0]}]
    return max(0.0, sum(usual) - len(usual) * pace) + sum(max(0.0, each - pace) for each in others)


class WrongAnswers(Callback):
    """Keeps the prediction for each validation image, and counts the wrong answers on it.

    The count is 0 or 1 for images with one label. For images with several tags, it is the number of
    wrong tags at a threshold of 0.5, which is that of fastai's `accuracy_multi`.
    """

    order = 60

    def before_validate(self) -> None:
        self.batches: list[torch.Tensor] = []
        self.predicted: list[torch.Tensor] = []

    def after_batch(self) -> None:
        if not self.training:
            self.batches.append(wrong_answers(self.pred, self.y))
            self.predicted.append(predictions(self.pred, single=self.y.ndim == 1))

    def counts(self) -> np.ndarray:
        """Wrong answers in the last validation, in the loader's order: int64 [images]."""
        counts: np.ndarray = torch.cat(self.batches).cpu().numpy()
        return counts

    def predictions(self) -> np.ndarray:
        """Predictions of the last validation, in the loader's order: uint8 [images, columns].

        `pack_predictions` in pipeline/records.py describes the columns.
        """
        predicted: np.ndarray = torch.cat(self.predicted).cpu().numpy()
        return predicted


def wrong_answers(predicted: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """From logits [images, classes] and labels [images] or [images, classes]: int64 [images]."""
    if labels.ndim == 1:
        return (predicted.argmax(dim=-1) != labels).long()
    return ((predicted.sigmoid() > 0.5) != labels.bool()).sum(dim=1)


def predictions(predicted: torch.Tensor, single: bool) -> torch.Tensor:
    """From logits [images, classes]: uint8 [images, columns], as `pack_predictions` takes them."""
    if not single:
        return _in_steps(predicted.sigmoid())
    probability, answer = predicted.softmax(dim=-1).amax(dim=-1), predicted.argmax(dim=-1)
    return torch.stack([answer % 256, answer // 256, _in_steps(probability)], dim=1).byte()


def _in_steps(probability: torch.Tensor) -> torch.Tensor:
    """Quantise to uint8 steps of 1/255; the result is above 127 exactly if `probability` > 0.5."""
    return (probability.float() * 255 - 0.5).ceil().clamp(0, 255).byte()


class SmoothLossOnDevice(AvgSmoothLoss):
    """fastai's smoothed training loss, kept on the device instead of copied at every step."""

    val: torch.Tensor

    def accumulate(self, learn: Learner) -> None:
        self.count += 1
        loss = learn.loss.detach().mean()
        self.val = torch.lerp(loss, self.val.to(loss.device), self.beta)


def keep_losses_on_device(learn: Learner) -> None:
    """Let `learn` accumulate losses and accuracies on the device and read them once an epoch."""
    learn.recorder.smooth_loss = SmoothLossOnDevice(learn.recorder.smooth_loss.beta)
    learn.to_detach = _detached


def _detached(value: torch.Tensor, cpu: bool = True, gather: bool = True) -> torch.Tensor:
    """fastai's `to_detach`, except that scalars stay on the device."""
    return value.detach() if value.ndim == 0 or not cpu else value.detach().cpu()
