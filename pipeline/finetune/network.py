"""The net that is fine-tuned: timm's pretrained body, and a new head as the recipe says."""

from typing import Any

from fastai.vision.all import AdaptiveConcatPool2d, Flatten, apply_init, create_head, nn

from pipeline.finetune.recipe import Recipe
from pipeline.finetune.weights import Weights, readable
from pipeline.names.features import body_of


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
