"""What a fine-tune's head stands on: how wide it is, and which pretrained layers it leaves out.

fastai puts its head on timm's `forward_features` and leaves out, without a word, whatever timm
keeps between that map and its classifier (of MobileNetV3-small more than half of the parameters).
timm's own pooled features use all of it. Counted by gradients on torch's meta device, which holds
no memory: about half a second a model.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import timm
import torch
from fastai.vision.learner import TimmBody
from torch import nn

from pipeline.names.vision_learner import NEEDS_OVERLAY, fit_of


class PooledFeatures(nn.Module):
    """timm's `model` up to its classifier: images to one vector each, [images, width].

    An encoder that never had a classifier gives its map's mean.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.has_head = hasattr(model, "get_classifier")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.model.forward_features(images)
        if not self.has_head:
            return maps.mean(dim=(2, 3))
        vectors: torch.Tensor = self.model.forward_head(maps, pre_logits=True)
        return vectors


@dataclass(frozen=True)
class Features:
    """What a body gives and uses.

    `width` is the number of channels or vector entries, `pooled` whether it gives one vector per
    image; `left_out` the share of the pretrained
    parameters, the classifier's apart, that nothing it gives depends on, from 0 to 1.
    """

    width: int
    pooled: bool
    left_out: float


def body_of(model: str, features: str, pretrained: bool, overlay: dict[str, Any]) -> Any:
    """timm's `model` without its classifier, giving these features: "fastai" or "timm".

    `overlay` is timm's `pretrained_cfg_overlay`.
    """
    if features == "fastai" and fit_of(model) is NEEDS_OVERLAY:
        overlay = {**overlay, "pool_size": None}
    net = timm.create_model(
        model, pretrained=pretrained, num_classes=0, pretrained_cfg_overlay=overlay
    )
    return TimmBody(net, pretrained) if features == "fastai" else PooledFeatures(net)


@cache
def features_of_model(model: str, features: str) -> Features:
    """Width and share left out of `model` with the features "fastai" or "timm"."""
    with torch.device("meta"):
        whole: Any = timm.create_model(model)
        body = body_of(model, features, False, {}).eval()
        given = body(torch.zeros(2, *whole.pretrained_cfg["input_size"]))
    given.sum().backward()
    used = sum(each.numel() for each in body.parameters() if each.grad is not None)
    pretrained = _count(whole) - sum(_count(each) for each in _classifiers(whole))
    return Features(given.shape[1], given.ndim == 2, max(0.0, 1 - used / pretrained))


def left_out(model: str, features: str) -> float | None:
    """The share of `model`'s pretrained parameters that a fine-tune on `features` leaves out.

    None where the model cannot be built or run so: the fit itself will say why.
    """
    try:
        return round(features_of_model(model, features).left_out, 4)
    except Exception:  # of any kind, deep in a net that gives no such features
        return None


def _classifiers(model: Any) -> list[nn.Module]:
    found = model.get_classifier() if hasattr(model, "get_classifier") else None
    return [each for each in (found if isinstance(found, tuple) else (found,)) if each is not None]


def _count(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())
