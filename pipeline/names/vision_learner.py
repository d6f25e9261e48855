"""How fastai and timm fit together: which features fastai's head gets, and what it leaves out.

fastai cuts a timm model's head and puts its own on. Where the configuration names a `pool_size`,
it takes the feature map and pools it, as channels first; where not, it takes what timm pooled. So
models whose map is channels last (Swin since 2023) need `pretrained_cfg_overlay=
dict(pool_size=None)`, which lets timm pool. Found by building all 1,371 architectures of timm
1.0.31. A recipe with `features: timm` takes what timm's own classifier would get, with everything
that was pretrained; for that all but language models' encoders fit.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import timm
import torch
from fastai.vision.learner import TimmBody
from torch import nn

from pipeline.hardware.faults import DoesNotFit
from pipeline.names.resolve import module_of, size_options


class PooledFeatures(nn.Module):
    """timm's `model` up to its classifier: images to one vector each, [images, width].

    An encoder that never had a classifier gives its map's mean; raises `DoesNotFit` where it gives
    no map.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.has_head = hasattr(model, "get_classifier")

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps: torch.Tensor = self.model.forward_features(images)
        if not self.has_head:
            if maps.ndim != 4:
                raise DoesNotFit(f"features of shape {tuple(maps.shape)}: expected a map per image")
            return maps.mean(dim=(2, 3))
        vectors: torch.Tensor = self.model.forward_head(maps, pre_logits=True)
        return vectors


@dataclass(frozen=True)
class Features:
    """The features that a body gives.

    `width` is the number of channels or vector entries, `pooled` whether there is one vector per
    image. `left_out`, from 0 to 1, is the share of the pretrained parameters, the classifier's not
    counted, that no feature depends on.
    """

    width: int
    pooled: bool
    left_out: float


def body_of(
    model: str,
    features: str,
    pretrained: bool,
    overlay: dict[str, Any],
    image_size: int | None = None,
) -> Any:
    """timm's `model` without its classifier, for `features` "fastai" or "timm".

    `overlay` is timm's `pretrained_cfg_overlay`, `image_size` that of the images in pixels, by
    default the one that the weights were trained at.
    """
    if features == "fastai" and fit_of(model) is NEEDS_OVERLAY:
        overlay = {**overlay, "pool_size": None}
    net = timm.create_model(
        model,
        pretrained=pretrained,
        num_classes=0,
        pretrained_cfg_overlay=overlay,
        **size_options(model, image_size),
    )
    return TimmBody(net, pretrained) if features == "fastai" else PooledFeatures(net)


@cache
def features_of_model(model: str, features: str) -> Features:
    """The features of `model`, "fastai" or "timm", found on one pass without data."""
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


Word = Literal["yes", "timm pools", "pool_size=None", "no"]

CHANNELS_LAST = {"swin_transformer", "swin_transformer_v2", "hieradet_sam2"}
UNFIT = {"mambaout"}  # modules
TOKEN_ENCODER = "_enc"  # ending of architectures that give one vector per token
MAP_ENCODERS = {"mobilenetv5"}  # modules of such architectures that give a map nevertheless


@dataclass(frozen=True)
class Fit:
    """Whether a model fits, in a word, and what the word means."""

    fits: bool
    word: Word
    meaning: str


FASTAI_POOLS = Fit(True, "yes", "fastai pools the feature map")
TIMM_POOLS = Fit(True, "timm pools", "fits, but fastai's concat_pool has no effect")
NEEDS_OVERLAY = Fit(
    True, "pool_size=None", "fits with pretrained_cfg_overlay=dict(pool_size=None): timm pools"
)
NO_FIT = Fit(False, "no", "does not fit: its features are tokens, or not as many as it says")


def fit_of(model: str) -> Fit:
    """How `vision_learner` takes the weights `arch.tag`, or an architecture without weights."""
    module = module_of(model)
    encodes_tokens = model.partition(".")[0].endswith(TOKEN_ENCODER) and module not in MAP_ENCODERS
    if module in UNFIT or encodes_tokens:
        return NO_FIT
    config = timm.get_pretrained_cfg(model)
    if config is None or config.pool_size is None:
        return TIMM_POOLS
    return NEEDS_OVERLAY if module in CHANNELS_LAST else FASTAI_POOLS
