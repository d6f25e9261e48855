"""The network of a fine-tune, and the parts that a recipe can add to fastai's training loop.

Augmentation, losses and callbacks are tensor operations that never synchronise with the device, so
that a CUDA graph can capture them. All random numbers come from torch's generator of the device.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from fastai.vision.all import (
    AdaptiveConcatPool2d,
    BCEWithLogitsLossFlat,
    Callback,
    CrossEntropyLossFlat,
    Flatten,
    Learner,
    TensorImage,
    Transform,
    apply_init,
    create_head,
)
from torch import nn

from pipeline.dataset.prepared import Prepared
from pipeline.finetune.frozen import features_of, linear_probe, without_chance
from pipeline.finetune.recipe import Recipe
from pipeline.finetune.weights import Weights, readable
from pipeline.hardware.faults import DoesNotFit
from pipeline.names.vision_learner import body_of


def network(
    model: str, weights: Weights, recipe: Recipe, n_classes: int, image_size: int | None = None
) -> tuple[nn.Sequential, dict[str, Any]]:
    """[body, head], and timm's configuration of the weights; seed just before this call.

    `image_size` is that of the images in pixels, by default the one of the pretraining.

    With `features: fastai` and `head: fastai`, this is the network that fastai's `vision_learner`
    builds, with random weights drawn from torch's generator in the same order.
    """
    with readable(weights.file):
        body = body_of(model, recipe.features, True, weights.overlay, image_size)
    pools = recipe.features == "fastai" and body.needs_pool
    width = features_width(body, recipe)
    if recipe.head == "linear":
        head = _linear_head(width, n_classes, recipe.pool if pools else None)
    else:
        head = create_head(width, n_classes, concat_pool=recipe.pool == "concat", pool=pools)
    apply_init(head, nn.init.kaiming_normal_)
    return nn.Sequential(body, head), body.model.default_cfg


def features_width(body: nn.Module, recipe: Recipe) -> int:
    """The number of channels of the body's feature map, or of entries of its feature vector."""
    net: Any = body.model
    return int(net.num_features if recipe.features == "fastai" else net.head_hidden_size)


def _linear_head(width: int, n_classes: int, pool: str | None) -> nn.Sequential:
    """Pooling (`pool`, or None if the body's features are pooled) and a single linear layer."""
    layers: list[nn.Module] = []
    if pool == "concat":
        layers, width = [AdaptiveConcatPool2d()], 2 * width
    elif pool == "average":
        layers = [nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, Flatten(), nn.Linear(width, n_classes))


SHIFT = 0.1  # largest shift, as a share of the image's side
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class FlipsAndShifts(Transform):
    """Flips images horizontally with probability 0.5 and shifts each by up to a tenth of its sides.

    The uncovered border is filled by reflection. Shifts are whole pixels, so nothing is blurred.
    """

    order = 5  # before fastai converts bytes to floats, so that a quarter of the memory is moved

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
    """Source indices of `length` pixels, reflected at both ends: int64 [count, length]."""
    most = round(SHIFT * length)
    shift = torch.randint(-most, most + 1, (count, 1), device=device)
    places = (torch.arange(length, device=device) + shift).abs()
    return length - 1 - (length - 1 - places).abs()


def loss_function(kind: str, label_smoothing: float) -> Callable[..., torch.Tensor]:
    """Cross entropy for `kind` "single", binary cross entropy for "multi".

    Labels are smoothed in training only, so that validation losses can be compared across recipes.
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
    """Keeps the body's batch norm statistics of the pretraining; scales and shifts are trained."""

    def before_train(self) -> None:
        for module in self.learn.model[0].modules():
            if isinstance(module, BATCH_NORMS):
                module.eval()


def start_from_probe(learn: Learner, data: Prepared, mean: Any, std: Any) -> None:
    """Initialise the linear head of `learn` with a logistic regression on its frozen features.

    The regression is fitted on the training part alone. `mean` and `std` are those with which
    images were normalised in the body's pretraining.
    """
    learn.model.to(learn.dls.device)  # fastai moves it only when the fit begins
    body = nn.Sequential(learn.model[0], *learn.model[1][:-1])
    images, train = without_chance(learn.dls.train.images), data.rows("train")
    features = features_of(body, images, mean, std, train)
    rows, n_classes = np.arange(len(train)), len(data.classes)
    probe = linear_probe(features, data.labels[train], data.kind, rows, n_classes)
    last = learn.model[-1][-1]
    if last.in_features != features.shape[1]:
        raise DoesNotFit(
            f"features of width {features.shape[1]}: the model says {last.in_features}"
        )
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(probe.weight))
        last.bias.copy_(torch.from_numpy(probe.bias))


class AveragedWeights(Callback):
    """Keeps an exponential moving average of the weights, and validates and tests with it.

    After the fit, the model has the averaged weights. In the first steps, the average is the plain
    mean of the weights so far, so that the initial weights are soon forgotten.
    """

    order = 20  # after the optimizer's step and all that belongs to it

    def __init__(self, decay: float) -> None:
        self.decay = decay

    def before_fit(self) -> None:
        self.weights = [each.detach() for each in self.learn.model.parameters()]
        self.average = [each.clone() for each in self.weights]
        self.steps = 0

    def after_step(self) -> None:  # the optimizer's step, which may span several micro-batches
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
