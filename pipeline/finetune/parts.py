"""The parts a recipe may add to fastai's loop: augmentation, losses, and what callbacks keep.

All of them are tensor operations that never wait for the device, so that a CUDA graph can hold
them. Chance comes from torch's generator of the device alone.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fastai.vision.all import (
    BCEWithLogitsLossFlat,
    Callback,
    CrossEntropyLossFlat,
    Learner,
    TensorImage,
    Transform,
)
from torch import nn

from pipeline.dataset.prepared import Prepared
from pipeline.finetune.frozen import features_of, linear_probe, without_chance

SHIFT = 0.1  # of an image's sides, at most
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class FlipsAndShifts(Transform):
    """Flips every other image left to right and shifts each by up to a tenth of its sides.

    What a shift uncovers is filled with the image's mirror image. Whole pixels: nothing is blurred.
    """

    order = 5  # before fastai makes floats of the bytes: a quarter of the memory to move

    def encodes(self, images: TensorImage) -> TensorImage:
        count, channels, height, width = images.shape
        rows = _shifted(count, height, images.device)
        columns = _shifted(count, width, images.device)
        flipped = torch.rand(count, 1, device=images.device) < 0.5
        columns = torch.where(flipped, width - 1 - columns, columns)
        places = (rows[:, :, None] * width + columns[:, None, :]).view(count, 1, -1)
        pixels = torch.Tensor.gather(
            images.as_subclass(torch.Tensor).reshape(count, channels, -1),
            2,
            places.expand(-1, channels, -1),
        )
        return TensorImage(pixels.view(count, channels, height, width))


def _shifted(count: int, length: int, device: torch.device) -> torch.Tensor:
    """Where each of `length` pixels is read from, mirrored at both ends: int64 [count, length]."""
    most = round(SHIFT * length)
    shift = torch.randint(-most, most + 1, (count, 1), device=device)
    places = (torch.arange(length, device=device) + shift).abs()
    return length - 1 - (length - 1 - places).abs()


def loss_function(kind: str, label_smoothing: float) -> Callable[..., torch.Tensor]:
    """Cross entropy of one label or of several tags.

    Labels are smoothed where gradients are wanted, so that validation losses compare across
    recipes.
    """
    plain: Any = CrossEntropyLossFlat() if kind == "single" else BCEWithLogitsLossFlat()
    smooth: Any = CrossEntropyLossFlat(label_smoothing=label_smoothing)
    if kind == "multi":

        def smooth(logits: torch.Tensor, tags: torch.Tensor) -> torch.Tensor:
            target = tags * (1 - label_smoothing) + label_smoothing / 2
            loss: torch.Tensor = plain(logits, target)
            return loss

    if label_smoothing == 0:
        return plain

    def loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        value: torch.Tensor = (smooth if torch.is_grad_enabled() else plain)(logits, labels)
        return value

    return loss


class BatchNormInEval(Callback):
    """The body's batch norms keep the statistics of the pretraining; scales and shifts learn."""

    def before_train(self) -> None:
        for module in self.learn.model[0].modules():
            if isinstance(module, BATCH_NORMS):
                module.eval()


def start_from_probe(learn: Learner, data: Prepared, mean: Any, std: Any) -> None:
    """Make the linear head of `learn` the logistic regression on its body's frozen features.

    `mean` and `std` are of the body's pretraining; only the training part is looked at.
    """
    learn.model.to(learn.dls.device)  # fastai does so only when the fit begins
    body = nn.Sequential(learn.model[0], *learn.model[1][:-1])
    images, train = without_chance(learn.dls.train.images), data.rows("train")
    features = features_of(body, images, mean, std, train)
    rows, n_classes = np.arange(len(train)), len(data.classes)
    probe = linear_probe(features, data.labels[train], data.kind, rows, n_classes)
    last = learn.model[-1][-1]
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(probe.weight))
        last.bias.copy_(torch.from_numpy(probe.bias))


class AveragedWeights(Callback):
    """A moving average of the weights, with which the net is validated, tested and left.

    Early on it is the plain mean of all steps so far, so that the start is soon forgotten.
    """

    order = 20  # after the step and everything that belongs to it

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def before_fit(self) -> None:
        self.weights = [each.detach() for each in self.learn.model.parameters()]
        self.average = [each.clone() for each in self.weights]
        self.steps = 0

    def after_batch(self) -> None:
        if self.training:
            self.steps += 1
            decay = min(self.decay, self.steps / (self.steps + 1))
            torch._foreach_lerp_(self.average, self.weights, 1 - decay)

    def before_validate(self) -> None:
        self.last = [each.clone() for each in self.weights]
        torch._foreach_copy_(self.weights, self.average)

    def after_validate(self) -> None:
        torch._foreach_copy_(self.weights, self.last)

    def after_fit(self) -> None:
        torch._foreach_copy_(self.weights, self.average)
