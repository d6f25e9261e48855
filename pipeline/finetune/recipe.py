"""A recipe: the named set of hyperparameters of a fine-tune (`conf/recipe/*.yaml`)."""

from collections.abc import Mapping
from contextlib import suppress
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
ONLY_NAMES = {"name", "rate_of"}  # keys that do not affect a fit
LEAST = {"epochs": 1, "frozen_epochs": 0, "least_steps": 0, "batch_size": 2}
FOLDER = Path(__file__).parents[2] / "conf" / "recipe"


@dataclass
class Recipe:
    """The keys of `conf/recipe/*.yaml`; an epoch is one pass over the training part.

    epochs, frozen_epochs  the `frozen_epochs` come first; in them, only the head and the
                           normalisation layers are trained
    lr, lr_mult            peak learning rate of AdamW for the head in the frozen epochs, halved
                           after them (fastai's `fine_tune`); the body's is `lr_mult` times smaller
    least_steps            `epochs` is increased until there are at least this many steps
    batch_size             images per step; if the training part is smaller, all of it
    schedule               fine_tune, or one_cycle: all layers are trained from the first step, with
                           warm-up and annealing, and `lr` is the peak learning rate of the head
    features               input of the head: fastai's choice (timm's feature map, pooled as `pool`
                           says), or timm's own pooled features, which use every pretrained layer
    head                   fastai's (two linear layers, batch norm, dropout), or one linear layer
    head_start             initialisation of a linear head: random, or a logistic regression on
                           frozen features (probe)
    batch_norm             use the statistics of each batch (train) or of the pretraining (eval)
    augment                none, or horizontal flips and shifts by up to a tenth of the image
    label_smoothing        share of each label that is spread over all classes
    weight_average         decay per step of an exponential moving average of the weights, with
                           which the model is validated and tested; 0 uses the last weights
    oom                    out of GPU memory: record it, or halve the batch and try again
    rate_of                the recipe from which this one differs in `lr` or `lr_mult` alone;
                           `aggregate` then compares models at their own best learning rates
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
        """The numbers of micro-batches that a batch may be split into: 1, and then 2, 4, ..."""
        if self.oom == "record":
            return [1]
        powers = [2**power for power in range(self.batch_size.bit_length())]
        return [n for n in powers if self.batch_size % n == 0 and self.batch_size // n >= 2]


def fit_settings(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of a recipe that affect a fit, in a normal form in which two recipes are compared.

    A missing key has its default, also in a record that is older than the key. The default
    describes what fits did before the key existed, so it must never change.
    """
    settings = {key: value for key, value in recipe.items() if key not in ONLY_NAMES}
    for each in fields(Recipe):
        if each.name not in ONLY_NAMES and each.default is not MISSING:
            settings.setdefault(each.name, each.default)
        if each.type is float and isinstance(settings.get(each.name), int):
            settings[each.name] = float(settings[each.name])  # 100 and 100.0 print alike
    return settings


def written_recipe(path: Path) -> dict[str, Any] | None:
    """The content of a recipe's file; None if there is no such file.

    Numbers are parsed as they are for a fit (1e-3 is a number), and interpolations are left as
    written. A damaged file raises `PipelineError`.
    """
    if not path.is_file():
        return None
    read_yaml(path)  # stricter than OmegaConf, and its errors name the file
    content: Any = OmegaConf.to_container(OmegaConf.load(path))
    return content if isinstance(content, dict) else {}


def changed_settings(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """The settings in which two recipes differ, leaving out those that `now` interpolates."""
    then, today = fit_settings(was), fit_settings(now)
    return [
        key
        for key in today | then
        if today.get(key) != then.get(key) and "${" not in str(today.get(key))
    ]


def recipe_of(config: DictConfig, file: Path | None = None) -> Recipe:
    """Check the `recipe` of a configuration; anything wrong with it raises `PipelineError`.

    The error names `file`, by default the file of conf/recipe that the configuration was read from.
    If the command line changed any of its keys, no file is named.
    """
    try:
        return _checked(config)
    except PipelineError as error:
        if file is None:
            file = _file_of(config)
        if file is None:
            raise
        raise PipelineError(f"{file}: {error}") from None


def _file_of(config: DictConfig) -> Path | None:
    """The file of conf/recipe with exactly the content of `config`; None if there is none."""
    content = OmegaConf.to_container(config)
    for path in sorted(FOLDER.glob("*.yaml")):
        with suppress(PipelineError, OmegaConfBaseException):  # another recipe may be a draft
            if written_recipe(path) == content:
                return path
    return None


def _checked(config: DictConfig) -> Recipe:
    needed = [each.name for each in fields(Recipe) if each.default is MISSING]
    if missing := [name for name in needed if name not in config]:
        raise PipelineError(f"recipe: missing {', '.join(missing)}: see the others in conf/recipe")
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
    """The recipe adapted to `n_train` training images.

    The batch is not larger than the training part, and there are as many epochs as `least_steps`
    takes. Raises `PipelineError` if there are fewer than two images.
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
