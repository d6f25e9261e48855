"""A recipe: the named set of choices by which one fine-tune is done (`conf/recipe/*.yaml`)."""

from dataclasses import MISSING, dataclass, fields
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.core.errors import PipelineError, near_matches

CHOICES = {
    "pool": ("concat", "average"),
    "resize": ("squish", "crop"),
    "precision": ("fp32", "fp16", "bf16"),
    "oom": ("record", "halve"),
}


@dataclass
class Recipe:
    """What `conf/recipe/*.yaml` hold; an epoch is one pass over the training part.

    `lr` is AdamW's peak rate for the head in the frozen epochs, half of it after them; the body's
    is `lr_mult` times smaller (fastai's `fine_tune`). `oom` says what follows when a GPU runs out
    of memory: the record of that, or another try with each batch in halves.
    """

    name: str
    epochs: int
    frozen_epochs: int
    lr: float
    lr_mult: float
    batch_size: int
    pool: str
    resize: str
    precision: str
    oom: str = "record"

    @property
    def parts(self) -> list[int]:
        """In how many parts a step's batch may be taken, one after another: 1, and 2, 4, ..."""
        if self.oom == "record":
            return [1]
        powers = [2**power for power in range(self.batch_size.bit_length())]
        return [n for n in powers if self.batch_size % n == 0 and self.batch_size // n >= 2]


def recipe_of(config: DictConfig) -> Recipe:
    """Check the `recipe` of a configuration; a value of the wrong kind is one clear line."""
    needed = [each.name for each in fields(Recipe) if each.default is MISSING]
    if missing := [name for name in needed if name not in config]:
        raise PipelineError(f"conf/recipe: {', '.join(missing)} is missing: see quickstart.yaml")
    try:
        recipe: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Recipe), config))
    except OmegaConfBaseException as error:
        raise PipelineError(f"recipe.{error.full_key}: {str(error).splitlines()[0]}") from None
    for key, choices in CHOICES.items():
        if getattr(recipe, key) not in choices:
            value = getattr(recipe, key)
            raise PipelineError(f"recipe.{key}={value}: {near_matches(value, choices)}")
    for key, least in {"epochs": 1, "frozen_epochs": 0, "batch_size": 2}.items():
        if getattr(recipe, key) < least:
            raise PipelineError(f"recipe.{key}={getattr(recipe, key)}: write {least} or more")
    for key in ("lr", "lr_mult"):
        if not 0 < getattr(recipe, key) < float("inf"):
            raise PipelineError(f"recipe.{key}={getattr(recipe, key)}: write a number above 0")
    return recipe
