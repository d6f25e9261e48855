"""How fastai and timm fit together: which features fastai's head gets, and what they leave out.

fastai replaces the head of a timm model by its own. If the model's configuration has a `pool_size`,
fastai takes the feature map and pools it, assuming channels first; otherwise it takes the features
that timm has pooled. So models with a channels-last feature map (Swin since 2023) need
`pretrained_cfg_overlay=dict(pool_size=None)`, which lets timm pool. This was found by building all
1,371 architectures of timm 1.0.31.

A recipe with `features: timm` takes the input of timm's own classifier, which uses everything that
was pretrained. All architectures support this except the encoders of language models.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import timm
import torch
from fastai.vision.learner import TimmBody
from timm.layers import PatchEmbed
from torch import nn

from pipeline.hardware.faults import DoesNotFit
from pipeline.names.resolve import fixed_size, module_of, size_options


class PooledFeatures(nn.Module):
    """timm's `model` without its classifier: from images to vectors, [images, width].

    For an encoder that never had a classifier, the vector is the mean of its feature map. Raises
    `DoesNotFit` if its output is not a map.
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

    `width` is the number of channels or vector entries, and `pooled` whether there is one vector
    per image. `left_out`, from 0 to 1, is the share of the pretrained parameters, without the
    classifier's, on which no feature depends.
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
    default the one that the weights were trained at. Raises `DoesNotFit` if the model takes images
    of another size only, or would not see more than MOST_UNSEEN of each side.
    """
    only = None if image_size is None else fixed_size(model)
    if only not in (None, image_size):
        raise DoesNotFit(f"takes images of {only} pixels only, not of {image_size}")
    if features == "fastai" and fit_of(model) is NEEDS_OVERLAY:
        overlay = {**overlay, "pool_size": None}
    net = timm.create_model(
        model,
        pretrained=pretrained,
        num_classes=0,
        pretrained_cfg_overlay=overlay,
        **size_options(model, image_size),
    )
    if image_size is not None:
        _check_patches(net, image_size)
    return TimmBody(net, pretrained) if features == "fastai" else PooledFeatures(net)


MOST_UNSEEN = 1 / 8  # of a side: timm's own evaluations cut as much away (`crop_pct` of 0.875)


def _check_patches(net: Any, image_size: int) -> None:
    """A vision transformer ignores the pixels on the right and at the bottom that fill no patch."""
    embedding = getattr(net, "patch_embed", None)
    if not isinstance(embedding, PatchEmbed):
        return
    side = embedding.patch_size[0]
    if (unseen := image_size % side) > MOST_UNSEEN * image_size:
        raise DoesNotFit(
            f"patches of {side} pixels leave out {unseen} of the {image_size} pixels of each side"
        )


@cache
def features_of_model(model: str, features: str) -> Features:
    """The features of `model`, "fastai" or "timm", from one pass on torch's meta device."""
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

    None if the model cannot be built or run; the fit itself then reports the reason.
    """
    try:
        return round(features_of_model(model, features).left_out, 4)
    except Exception:  # a network without such features may raise anything
        return None


def _classifiers(model: Any) -> list[nn.Module]:
    found = model.get_classifier() if hasattr(model, "get_classifier") else None
    return [each for each in (found if isinstance(found, tuple) else (found,)) if each is not None]


def _count(module: nn.Module) -> int:
    return sum(each.numel() for each in module.parameters())


Word = Literal["yes", "timm pools", "pool_size=None", "no"]

CHANNELS_LAST = {"swin_transformer", "swin_transformer_v2", "hieradet_sam2"}
UNFIT = {"mambaout"}  # modules
TOKEN_ENCODER = "_enc"  # suffix of architectures that give one vector per token
MAP_ENCODERS = {"mobilenetv5"}  # modules with that suffix that give a feature map nevertheless


@dataclass(frozen=True)
class Fit:
    """Whether a model fits, the word for it in tables, and what the word means."""

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
    """Whether `vision_learner` can use a model, given as `arch.tag` or as an architecture."""
    module = module_of(model)
    encodes_tokens = model.partition(".")[0].endswith(TOKEN_ENCODER) and module not in MAP_ENCODERS
    if module in UNFIT or encodes_tokens:
        return NO_FIT
    config = timm.get_pretrained_cfg(model)
    if config is None or config.pool_size is None:
        return TIMM_POOLS
    return NEEDS_OVERLAY if module in CHANNELS_LAST else FASTAI_POOLS
