"""A recipe: the named set of choices by which one fine-tune is done (`conf/recipe/*.yaml`)."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipeline.core.errors import PipelineError, first_line, near_matches
from pipeline.core.files import read_yaml

CHOICES = {
    "features": ("fastai", "timm"),
    "pool": ("concat", "average"),
    "head": ("fastai", "linear"),
    "head_start": ("random", "probe"),
    "schedule": ("fine_tune", "one_cycle"),
    "batch_norm": ("train", "eval"),
    "augment": ("none", "flips_shifts"),
    "resize": ("squish", "crop"),
    "precision": ("fp32", "fp16", "bf16"),
    "oom": ("record", "halve"),
}
ONLY_NAMES = {"name", "rate_of"}  # keys that change nothing of a fit
LEAST = {"epochs": 1, "frozen_epochs": 0, "least_steps": 0, "batch_size": 2}


@dataclass
class Recipe:
    """What `conf/recipe/*.yaml` hold; an epoch is one pass over the training part.

    epochs, frozen_epochs  before the `epochs`, so many in which only head and norms learn
    lr, lr_mult            AdamW's peak rate for the head in the frozen epochs, half of it after
                           them (fastai's `fine_tune`); the body's is `lr_mult` times smaller
    least_steps            more epochs than `epochs` where they are fewer steps than these
    batch_size             images per step; of a smaller training part, all of it
    schedule               fine_tune, or one_cycle: everything learns from the first step, with
                           warm-up and annealing, `lr` being the head's peak
    features               what the head stands on: fastai's choice (timm's feature map, pooled as
                           `pool` says), or timm's own pooled features, which are all that was
                           pretrained
    head                   fastai's (two linear layers, batch norm, dropout), or one linear layer
    head_start             of a linear head: random, or the logistic regression on frozen features
    batch_norm             statistics of each batch (train), or those of the pretraining (eval)
    augment                none, or flips left to right and shifts by up to a tenth of the image
    label_smoothing        share of each label that is spread over all classes
    weight_average         decay per step of a moving average of the weights, which is what is
                           validated and tested; 0 is the last weights
    oom                    out of GPU memory: the record of that, or another try in halved batches
    rate_of                the recipe that this one is at another `lr` or `lr_mult`, and the same in
                           all else: `aggregate` then compares models at their own best rates
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
    features: str = "fastai"
    head: str = "fastai"
    head_start: str = "random"
    schedule: str = "fine_tune"
    least_steps: int = 0
    batch_norm: str = "train"
    augment: str = "none"
    label_smoothing: float = 0.0
    weight_average: float = 0.0
    rate_of: str | None = None

    @property
    def parts(self) -> list[int]:
        """In how many parts a step's batch may be taken, one after another: 1, and 2, 4, ..."""
        if self.oom == "record":
            return [1]
        powers = [2**power for power in range(self.batch_size.bit_length())]
        return [n for n in powers if self.batch_size % n == 0 and self.batch_size // n >= 2]


def fit_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What a recipe's keys say of a fit, in the form in which two recipes are compared.

    A key that is left out has its default, also in a record that is older than the key: a default
    says what fits did before there was the key, and must never change.
    """
    said = {key: value for key, value in recipe.items() if key not in ONLY_NAMES}
    for each in fields(Recipe):
        if each.name not in ONLY_NAMES and each.default is not MISSING:
            said.setdefault(each.name, each.default)
        if each.type is float and isinstance(said.get(each.name), int):
            said[each.name] = float(said[each.name])  # 100 is 100.0, also as text
    return said


def written_recipe(path: Path) -> dict[str, Any] | None:
    """What a recipe's file says, with numbers as in a fit (1e-3 is one); None without the file.

    An interpolation stays as it is written. A damaged file raises `PipelineError`.
    """
    if not path.is_file():
        return None
    read_yaml(path)  # refuses what OmegaConf would not, in one clear line
    said: Any = OmegaConf.to_container(OmegaConf.load(path))
    return said if isinstance(said, dict) else {}


def changed_settings(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The settings of a fit in which two recipes differ; one that `now` interpolates is unknown."""
    then, today = fit_settings(was), fit_settings(now)
    return [
        key
        for key in today | then
        if today.get(key) != then.get(key) and "${" not in str(today.get(key))
    ]


def recipe_of(config: DictConfig) -> Recipe:
    """Check the `recipe` of a configuration; a value of the wrong kind is one clear line."""
    needed = [each.name for each in fields(Recipe) if each.default is MISSING]
    if missing := [name for name in needed if name not in config]:
        raise PipelineError(f"conf/recipe: {', '.join(missing)} is missing: see quickstart.yaml")
    try:
        recipe: Any = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(Recipe), config))
    except OmegaConfBaseException as error:
        raise PipelineError(f"recipe.{error.full_key}: {first_line(error)}") from None
    for key, choices in CHOICES.items():
        if getattr(recipe, key) not in choices:
            value = getattr(recipe, key)
            raise PipelineError(f"recipe.{key}={value}: {near_matches(value, choices)}")
    for key, least in LEAST.items():
        if getattr(recipe, key) < least:
            raise PipelineError(f"recipe.{key}={getattr(recipe, key)}: write {least} or more")
    for key in ("lr", "lr_mult"):
        if not 0 < getattr(recipe, key) < float("inf"):
            raise PipelineError(f"recipe.{key}={getattr(recipe, key)}: write a number above 0")
    for key in ("label_smoothing", "weight_average"):
        if not 0 <= getattr(recipe, key) < 1:
            raise PipelineError(
                f"recipe.{key}={getattr(recipe, key)}: write a number from 0 to below 1"
            )
    _check_together(recipe)
    return recipe


def fitted_to(recipe: Recipe, n_train: int) -> Recipe:
    """The recipe for so many training images: no batch that they cannot fill, no fewer steps.

    Raises `PipelineError` for fewer than two of them.
    """
    if n_train < 2:
        raise PipelineError(f"{n_train} training images: a fine-tune needs at least two")
    batch_size = min(recipe.batch_size, n_train)
    epochs = max(recipe.epochs, -(-recipe.least_steps // (n_train // batch_size)))
    return replace(recipe, batch_size=batch_size, epochs=epochs)


def _check_together(recipe: Recipe) -> None:
    if recipe.head_start == "probe" and recipe.head != "linear":
        raise PipelineError("recipe.head_start=probe: a probe is linear: write head: linear")
    if recipe.schedule == "one_cycle" and recipe.frozen_epochs:
        raise PipelineError(
            f"recipe.frozen_epochs={recipe.frozen_epochs}: one_cycle freezes nothing: write 0"
        )
