"""One fine-tune with fastai: a learner over timm weights, and its fit.

Unless the recipe says otherwise, a run does what fastai's `vision_learner` and `fine_tune` do, as
in the 2022 study. Each switch of `speed` replaces one part of fastai by a faster one. Surprisingly,
`seed_everything` must be called twice: a loader draws the seed of its shuffling from Python's
`random` when it is created, and the head draws its weights from torch.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from fastai.vision.all import (
    Adam,
    Callback,
    DataLoaders,
    FBetaMulti,
    GradientAccumulation,
    Learner,
    Normalize,
    accuracy,
    accuracy_multi,
    default_split,
    set_seed,
)

from pipeline.dataset.prepared import Prepared
from pipeline.finetune.callbacks import (
    Diverged,
    Epochs,
    FirstSteps,
    WrongAnswers,
    keep_losses_on_device,
)
from pipeline.finetune.loading import loaders
from pipeline.finetune.parts import (
    AveragedWeights,
    BatchNormInEval,
    loss_function,
    network,
    start_from_probe,
)
from pipeline.finetune.recipe import Recipe
from pipeline.finetune.speed import (
    FusedAdamW,
    Speed,
    gains_from_channels_last,
    in_precision,
    leave_autocast,
    precision_of,
)
from pipeline.finetune.weights import Weights
from pipeline.finetune.whole_step import attach
from pipeline.hardware.telemetry import Watch


@dataclass(frozen=True)
class Run:
    """Everything that one fine-tune needs, located and checked."""

    data: Prepared
    recipe: Recipe
    model: str
    weights: Weights
    seed: int
    image_size: int
    device: torch.device
    speed: Speed


@dataclass(frozen=True)
class Outcome:
    """The result of a finished fit: metrics of the last epoch, one row per epoch, and the cost.

    `wrong`, int64 [images], is the number of wrong answers on each validation image in the last
    epoch, and `predictions`, uint8 [images, columns], what was predicted on it.
    """

    metrics: dict[str, float | None]
    test_metrics: dict[str, float | None]
    wrong: np.ndarray
    predictions: np.ndarray
    history: list[dict[str, Any]]
    cost: dict[str, float | None]


def seeded_learner(run: Run, parts: int = 1) -> Learner:
    """A learner ready to fit, which accumulates gradients over `parts` micro-batches per step."""
    seed_everything(run.seed)
    dls = loaders(run.data, run.recipe, run.image_size, run.device, run.speed, parts)
    seed_everything(run.seed)
    learn = learner(dls, run.data, run.recipe, run.model, run.weights, run.speed, run.image_size)
    if parts > 1:
        learn.add_cb(GradientAccumulation(run.recipe.batch_size))
    if run.speed.whole_step and run.device.type == "cuda":
        learn.step_by_step = attach(learn)
    return learn


def step_mode(learn: Learner) -> str | None:
    """The record's `device.step`: whether steps were captured as CUDA graphs; None on a CPU."""
    if torch.device(learn.dls.device).type != "cuda":
        return None
    if hasattr(learn, "whole_step"):
        return str(learn.whole_step.mode)
    return f"uncaptured: {getattr(learn, 'step_by_step', 'speed.whole_step is off')}"


def learner(
    dls: DataLoaders,
    data: Prepared,
    recipe: Recipe,
    model: str,
    weights: Weights,
    speed: Speed,
    image_size: int | None = None,
) -> Learner:
    """The learner that fastai's `vision_learner` makes of timm's `model`, with the recipe's parts.

    Seed again just before this call. The learner's attribute `precision` is the one it computes in.
    """
    single = data.kind == "single"
    net, pretrained = network(model, weights, recipe, len(data.classes), image_size)
    mean, std = pretrained["mean"], pretrained["std"]
    dls.add_tfms([_normalize(mean, std, dls.device)], "after_batch")
    learn = Learner(
        dls,
        net,
        loss_func=loss_function(data.kind, recipe.label_smoothing),
        opt_func=FusedAdamW if speed.fused_optimizer else Adam,
        splitter=default_split,
        cbs=_parts(recipe),
        metrics=[accuracy] if single else [accuracy_multi, FBetaMulti(2, average="samples")],
    )
    learn.freeze()
    if recipe.head_start == "probe":
        learn.start_head = partial(start_from_probe, learn, data, mean, std)
    if speed.channels_last and gains_from_channels_last(learn.model, dls.device):
        learn.model.to(memory_format=torch.channels_last)
    if speed.losses_on_device:
        keep_losses_on_device(learn)
    learn.precision = precision_of(recipe.precision, learn.model, dls.device, speed)
    return in_precision(learn, learn.precision, speed)


def fit(learn: Learner, recipe: Recipe, epochs: Epochs, watch: Watch) -> Outcome:
    """Train as the recipe says, observed by `watch`; raises `Diverged`."""
    wrong, first = WrongAnswers(), FirstSteps()
    with learn.no_bar(), learn.no_logging(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # F-beta of an image without tags
        try:
            with watch:
                _train(learn, recipe, [epochs, wrong, first])
            last = [float(value) for value in learn.recorder.values[-1]]
            tested = (
                [float(value) for value in learn.validate(ds_idx=2)] if _has_test(learn) else []
            )
        finally:
            leave_autocast(learn)
    if not all(math.isfinite(value) for value in tested):
        raise Diverged("test loss is not finite")
    unfrozen = epochs.rows[recipe.frozen_epochs :]
    trained = len(learn.dls.train) * learn.dls.train.bs
    fit_seconds, start_up = watch.telemetry["seconds"], first.start_up_seconds()
    return Outcome(
        metrics={**_metrics(last[1:]), "train_loss": last[0]},
        test_metrics=_metrics(tested) if tested else {},
        wrong=wrong.counts(),
        predictions=wrong.predictions(),
        history=epochs.rows,
        cost={
            "fit_seconds": fit_seconds,
            "start_up_seconds": start_up,
            "steady_fit_seconds": None if start_up is None else fit_seconds - start_up,
            "cpu_seconds": watch.telemetry["cpu_seconds"],
            "seconds_per_epoch": float(np.median([row["seconds"] for row in unfrozen])),
            "images_per_second": trained
            / float(np.median([row["train_seconds"] for row in unfrozen])),
        },
    )


def _train(learn: Learner, recipe: Recipe, callbacks: list[Callback]) -> None:
    if recipe.head_start == "probe":
        learn.start_head()
    if recipe.schedule == "one_cycle":
        learn.unfreeze()
        rates = slice(recipe.lr / recipe.lr_mult, recipe.lr)
        learn.fit_one_cycle(recipe.epochs, rates, cbs=callbacks)
    else:
        learn.fine_tune(
            recipe.epochs,
            recipe.lr,
            freeze_epochs=recipe.frozen_epochs,
            lr_mult=recipe.lr_mult,
            cbs=callbacks,
        )


def _normalize(mean: Sequence[float], std: Sequence[float], device: torch.device) -> Normalize:
    """fastai's `Normalize` on the run's device; fastai itself would always use the first GPU."""
    normalize = Normalize.from_stats(mean, std, cuda=False)
    normalize.mean, normalize.std = normalize.mean.to(device), normalize.std.to(device)
    return normalize


def _parts(recipe: Recipe) -> list[Callback]:
    """The callbacks that the recipe adds to fastai's training loop."""
    parts: list[Callback] = []
    if recipe.batch_norm == "eval":
        parts.append(BatchNormInEval())
    if recipe.weight_average:
        parts.append(AveragedWeights(recipe.weight_average))
    return parts


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch; call before `loaders` and again before `learner`."""
    set_seed(seed, reproducible=True)


def _metrics(values: list[float]) -> dict[str, float | None]:
    """Metrics by name, from fastai's [valid_loss, accuracy] or [valid_loss, accuracy, F-beta]."""
    return {
        "error_rate": 1 - values[1],
        "accuracy": values[1],
        "fbeta2": values[2] if len(values) > 2 else None,
        "valid_loss": values[0],
    }


def _has_test(learn: Learner) -> bool:
    return len(learn.dls.loaders) > 2
