"""The last fit: the recommended recipe on the train and valid parts together."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from fastai.vision.all import Learner

from pipeline.core.errors import PipelineError
from pipeline.dataset.prepared import Prepared
from pipeline.finetune import training
from pipeline.finetune.attempts import tries
from pipeline.finetune.callbacks import Diverged, Epochs
from pipeline.finetune.recipe import Recipe, fitted_to
from pipeline.hardware import machine
from pipeline.hardware.faults import lacks_memory, models_fault
from pipeline.hardware.telemetry import Watch

OnEpoch = Callable[[dict[str, Any]], None]  # gets each epoch's row of the history, and how many: of


@dataclass(frozen=True)
class TrainAndValid(Prepared):
    """A dataset whose valid part is learned from as well; `valid` still names those rows.

    What fastai measures on them during the fit is no error of unseen images, and is not reported.
    """

    was_valid: np.ndarray

    def rows(self, part: str) -> np.ndarray:
        return self.was_valid if part == "valid" else super().rows(part)


@dataclass(frozen=True)
class Fitted:
    """A trained learner, and the metrics of the test part, empty without one."""

    learn: Learner
    test_metrics: dict[str, float | None]


def train_and_valid(data: Prepared) -> TrainAndValid:
    """`data` with its valid part joined to its train part."""
    parts = np.where(data.parts == "valid", "train", data.parts)
    kept = {each.name: getattr(data, each.name) for each in fields(data)}
    return TrainAndValid(**{**kept, "parts": parts, "was_valid": data.rows("valid")})


def fit(run: training.Run, recipe: Recipe, on_epoch: OnEpoch) -> Fitted:
    """Fit `run` on train and valid; `recipe` is the one in the configuration, which is adapted to
    the larger number of images.

    Raises `PipelineError` where the fit fails, diverges or runs out of GPU memory.
    """
    data = train_and_valid(run.data)
    whole = replace(run, data=data, recipe=fitted_to(recipe, len(data.rows("train"))))
    epochs = whole.recipe.frozen_epochs + whole.recipe.epochs

    def tell(row: dict[str, Any]) -> None:
        on_epoch({**row, "of": epochs})

    for each, parts in tries(whole):
        fitted = _attempt(each, parts, tell)
        if fitted is not None:
            return fitted
    raise PipelineError(
        f"model {run.model}: out of GPU memory: take a larger GPU, or a recipe of `oom: halve`"
    )


def _attempt(run: training.Run, parts: int, on_epoch: OnEpoch) -> Fitted | None:
    """One fit, each batch in so many parts; None if the GPU's memory did not suffice.

    It is a function of its own so that the error's frames, and what they hold on the device, are
    gone before the next attempt.
    """
    machine.clear_peak_memory(run.device)
    try:
        learn = training.seeded_learner(run, parts)
        outcome = training.fit(learn, run.recipe, Epochs(tell=on_epoch), Watch(run.device))
        learn.model.cpu().eval()
        return Fitted(learn, outcome.test_metrics)
    except Diverged as error:
        raise PipelineError(
            f"model {run.model}: the fit diverged ({error.reason}): give another --seed"
        ) from None
    except Exception as error:
        if not lacks_memory(error):
            reason = models_fault(error)
            raise PipelineError(f"model {run.model}: the fit failed: {reason}") from None
        steps = "captured steps" if run.speed.whole_step else "steps"
        warnings.warn(f"out of GPU memory with the batch in {parts} parts, {steps}", stacklevel=1)
        return None
