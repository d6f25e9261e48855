"""How fastai's `vision_learner` takes a timm model: what it pools, and what it cannot take.

fastai cuts a timm model's head and puts its own on. Where the configuration names a `pool_size`,
it takes the feature map and pools it, as channels first; where not, it takes what timm pooled. So
models whose map is channels last (Swin since 2023) need `pretrained_cfg_overlay=
dict(pool_size=None)`, which lets timm pool. Found by building all 1,371
architectures of timm 1.0.31. A recipe with `features: timm` takes what timm's own classifier would
get, and for that all but language models' encoders fit (`pipeline.names.features`).
"""

from dataclasses import dataclass
from typing import Literal

Word = Literal["yes", "timm pools", "pool_size=None", "no"]

CHANNELS_LAST = {"swin_transformer", "swin_transformer_v2", "hieradet_sam2"}
UNFIT = {"mambaout"}  # modules
ENCODER = "_enc"  # how architectures end that give one vector per token, for language models,
MAP_ENCODERS = {"mobilenetv5"}  # but for these, which give a map as others do


@dataclass(frozen=True)
class Fit:
    """Does a model fit, in a word, and what the word means."""

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
    import timm

    module = module_of(model)
    encodes_tokens = model.partition(".")[0].endswith(ENCODER) and module not in MAP_ENCODERS
    if module in UNFIT or encodes_tokens:
        return NO_FIT
    config = timm.get_pretrained_cfg(model)
    if config is None or config.pool_size is None:
        return TIMM_POOLS
    return NEEDS_OVERLAY if module in CHANNELS_LAST else FASTAI_POOLS


def module_of(model: str) -> str:
    """The module of timm that builds a model: `swin_transformer`."""
    import timm

    return str(timm.models.model_entrypoint(model).__module__).rpartition(".")[2]
