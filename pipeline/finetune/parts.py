"""The net of a fine-tune, and the parts that a recipe may add to fastai's loop.

Augmentation, losses and callbacks are tensor operations that never wait for the device, so that a
CUDA graph can hold them. Chance comes from torch's generator of the device alone.
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
from pipeline.names.vision_learner import body_of


def network(
    model: str, weights: Weights, recipe: Recipe, n_classes: int
) -> tuple[nn.Sequential, dict[str, Any]]:
    """[body, head], and timm's configuration of the weights; seed just before this call.

    With `features: fastai` and `head: fastai` it is what fastai's `vision_learner` builds, drawn
    in the same order from torch's generator.
    """
    with readable(weights.file):
        body = body_of(model, recipe.features, True, weights.overlay)
    pools = recipe.features == "fastai" and body.needs_pool
    width = features_width(body, recipe)
    if recipe.head == "linear":
        head = _linear_head(width, n_classes, recipe.pool if pools else None)
    else:
        head = create_head(width, n_classes, concat_pool=recipe.pool == "concat", pool=pools)
    apply_init(head, nn.init.kaiming_normal_)
    return nn.Sequential(body, head), body.model.default_cfg


def features_width(body: nn.Module, recipe: Recipe) -> int:
    """How many channels the map, or entries the vector, has that the body gives."""
    net: Any = body.model
    return int(net.num_features if recipe.features == "fastai" else net.head_hidden_size)


def _linear_head(width: int, n_classes: int, pool: str | None) -> nn.Sequential:
    """Pooling where the body does none, and one linear layer, the last."""
    layers: list[nn.Module] = []
    if pool == "concat":
        layers, width = [AdaptiveConcatPool2d()], 2 * width
    elif pool == "average":
        layers = [nn.AdaptiveAvgPool2d(1)]
    return nn.Sequential(*layers, Flatten(), nn.Linear(width, n_classes))


BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
LEAST_AREA = 0.35  # of an image that a crop shows
MOST_STRETCH = 4 / 3  # of a crop's sides against each other, when it fills the image


class FlipsAndCrops(Transform):
    """Flips every other image left to right, and fills each with a random rectangle of itself.

    The rectangle has LEAST_AREA to all of the image's area. Its pixels are interpolated linearly,
    always to more of them.
    """

    order = 20  # after fastai made floats of the bytes (10), before it normalises them (99)

    def encodes(self, images: TensorImage) -> TensorImage:
        count, _, height, width = images.shape
        draws = torch.rand(5, count, device=images.device)
        area = LEAST_AREA + (1 - LEAST_AREA) * draws[0]
        stretch = MOST_STRETCH ** (2 * draws[1] - 1)
        tall, wide = ((area * each).sqrt().clamp(max=1) for each in (1 / stretch, stretch))
        flip = torch.where(draws[4] < 0.5, -1.0, 1.0)
        rows = _places(height, tall, draws[2])[:, :, None].expand(-1, -1, width)
        columns = _places(width, wide * flip, draws[3])[:, None, :].expand(-1, height, -1)
        cropped = nn.functional.grid_sample(
            images.as_subclass(torch.Tensor),
            torch.stack([columns, rows], dim=-1),
            padding_mode="border",
            align_corners=False,
        )
        return TensorImage(cropped)


def _places(length: int, share: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
    """Where each of `length` pixels is read from, in `grid_sample`'s units from -1 to 1.

    float32 [images, length], for crops of a `share` of the side each (backwards below 0), shifted
    as far as `draw`, from 0 to 1, says.
    """
    pixels = (2 * torch.arange(length, device=share.device) + 1) / length - 1
    middle = (2 * draw - 1) * (1 - share.abs())
    return middle[:, None] + share[:, None] * pixels


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
