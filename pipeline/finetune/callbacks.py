"""What is watched while fastai trains: epochs, divergence, the answers on each validation image.

On CUDA every look at a number waits for all work before it. So losses are summed where they are,
and looked at every 32 steps: a loss that stops being finite never becomes finite again in them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fastai.learner import AvgSmoothLoss
from fastai.vision.all import Callback, Learner

LOOK_EVERY = 32  # steps
FIRST_STEPS = 4  # of a kind: three uncaptured ones and the one that is captured


class Diverged(Exception):
    """The loss is no longer a finite number: any metric of this run would be a lie."""

    def __init__(self, reason: str) -> None:
        self.reason = reason  # fastai adds lines of its own to an error's text
        super().__init__(reason)


@dataclass(eq=False)
class Epochs(Callback):
    """Stops a diverged run, and keeps one row per epoch: losses, error_rate, seconds.

    `tell` is called with each row as it comes.
    """

    tell: Callable[[dict[str, Any]], None] = lambda row: None
    rows: list[dict[str, Any]] = field(default_factory=list)
    order = 60  # after fastai's Recorder (50), which computes the epoch's values

    def before_epoch(self) -> None:
        self.started = time.perf_counter()

    def after_batch(self) -> None:
        if self.training and self.recorder.smooth_loss.count % LOOK_EVERY == 0:
            self._stop_unless_finite(self.recorder.smooth_loss.val, "training")

    def after_train(self) -> None:
        self._stop_unless_finite(self.recorder.smooth_loss.val, "training")
        self.train_seconds = time.perf_counter() - self.started

    def after_validate(self) -> None:
        self._stop_unless_finite(self.recorder.loss.value, "validation")

    def after_epoch(self) -> None:
        train_loss, valid_loss, right = [float(value) for value in self.recorder.log[1:4]]
        row = {
            "epoch": len(self.rows) + 1,
            "train_loss": train_loss,
            "valid_loss": valid_loss,
            "error_rate": 1 - right,
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
    """Times each batch, and says what the first ones took beyond the pace of later ones.

    Once per process and architecture, cuDNN and cuBLAS plan and load their kernels, and graphs are
    captured: in the first steps of training with a frozen body, of training all, and of validation.
    It is the host that does this, so its own clock at a batch's two ends sees it, and nothing
    waits for the device. The host runs ahead of a GPU and waits at some steps for many: so the pace
    is the mean of the later steps, not their median.
    """

    order = 70  # after the look at the loss (60), whose wait belongs to the steps before it
    seconds: dict[Any, list[tuple[int, float]]] = field(default_factory=dict)

    def before_batch(self) -> None:
        self.began = time.perf_counter()

    def after_batch(self) -> None:
        seconds = time.perf_counter() - self.began
        kind = ("train", self.opt.frozen_idx) if self.training else ("validate", None)
        self.seconds.setdefault(kind, []).append((len(self.x), seconds))

    def start_up_seconds(self) -> float | None:
        """None where some kind of step ran too few times to know its pace."""
        paces = {kind: _pace(steps) for kind, steps in self.seconds.items()}
        whole = [pace for (part, _), pace in paces.items() if part == "train"][-1:]
        start_up = 0.0
        for kind, steps in self.seconds.items():
            pace = paces[kind]
            if pace is None and kind[0] == "train":
                pace = whole[0]  # a frozen step is no slower than one that trains all
            if pace is None:
                return None
            start_up += _beyond(steps, pace)
        return start_up


def _pace(steps: list[tuple[int, float]]) -> float | None:
    """Seconds of a step of the usual size after the first; None where they are too few."""
    usual = [seconds for size, seconds in steps if size == steps[0][0]]
    later = usual[FIRST_STEPS:]
    return float(np.mean(later)) if len(later) >= FIRST_STEPS else None


def _beyond(steps: list[tuple[int, float]], pace: float) -> float:
    """What the first steps took beyond the pace; so did the first of each other size."""
    sizes = [size for size, _ in steps]
    usual = [seconds for size, seconds in steps if size == sizes[0]][:FIRST_STEPS]
    others = [steps[sizes.index(size)][1] for size in set(sizes) - {sizes[0]}]
    return max(0.0, sum(usual) - len(usual) * pace) + sum(max(0.0, each - pace) for each in others)


class WrongAnswers(Callback):
    """Keeps what is predicted on each validation image, and counts the wrong answers on it.

    One label: 0 or 1. Several: how many tags, at a probability of a half as fastai's metric has it.
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
        """Of the last validation, in the loader's order, int64 [images]."""
        counts: np.ndarray = torch.cat(self.batches).cpu().numpy()
        return counts

    def predictions(self) -> np.ndarray:
        """Of the last validation, in the loader's order, uint8: see records' `pack_predictions`."""
        made: np.ndarray = torch.cat(self.predicted).cpu().numpy()
        return made


def wrong_answers(predicted: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """From logits [images, classes] and labels [images] or [images, classes]: int64 [images]."""
    if labels.ndim == 1:
        return (predicted.argmax(dim=-1) != labels).long()
    return ((predicted.sigmoid() > 0.5) != labels.bool()).sum(dim=1)


def predictions(predicted: torch.Tensor, single: bool) -> torch.Tensor:
    """From logits [images, classes]: uint8 [images, columns], see records' `pack_predictions`."""
    if not single:
        return _in_steps(predicted.sigmoid())
    probability, answer = predicted.softmax(dim=-1).amax(dim=-1), predicted.argmax(dim=-1)
    return torch.stack([answer % 256, answer // 256, _in_steps(probability)], dim=1).byte()


def _in_steps(probability: torch.Tensor) -> torch.Tensor:
    """To uint8 steps of 1/255; above 127 exactly where it is above a half."""
    return (probability.float() * 255 - 0.5).ceil().clamp(0, 255).byte()


class SmoothLossOnDevice(AvgSmoothLoss):
    """fastai's smoothed training loss, which is not copied from the device at every step."""

    val: torch.Tensor

    def accumulate(self, learn: Learner) -> None:
        self.count += 1
        loss = learn.loss.detach().mean()
        self.val = torch.lerp(loss, self.val.to(loss.device), self.beta)


def keep_losses_on_device(learn: Learner) -> None:
    """Let `learn` sum losses and accuracies where they are and read them once an epoch."""
    learn.recorder.smooth_loss = SmoothLossOnDevice(learn.recorder.smooth_loss.beta)
    learn.to_detach = _detached


def _detached(value: torch.Tensor, cpu: bool = True, gather: bool = True) -> torch.Tensor:
    """fastai's `to_detach`, for which single numbers stay on the device."""
    return value.detach() if value.ndim == 0 or not cpu else value.detach().cpu()
