"""One fine-tune with fastai: loaders over prepared arrays, a learner over timm weights, a fit.

The arrays hold what fastai's own item transforms would give, so a run from them equals a run from
the image files bit for bit. The surprising fact: `seed_everything` is needed twice, because a
loader draws its shuffling from Python's `random` when it is made, and the head its weights from
torch.
"""

import gc
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fastai.vision.all import (
    BCEWithLogitsLossFlat,
    Callback,
    CrossEntropyLossFlat,
    DataLoaders,
    FBetaMulti,
    IntToFloatTensor,
    Learner,
    TensorCategory,
    TensorImage,
    TensorMultiCategory,
    TfmdDL,
    accuracy,
    accuracy_multi,
    set_seed,
    vision_learner,
)

from pipeline.datasets.prepared import Prepared
from pipeline.names.vision_learner import NEEDS_OVERLAY, fit_of
from pipeline.trainer.recipe import Recipe
from pipeline.trainer.weights import Weights, readable


class Diverged(Exception):
    """The loss is no longer a finite number: any metric of this run would be a lie."""


@dataclass(eq=False)
class Epochs(Callback):
    """Stops a diverged run, and keeps one row per epoch: losses, error_rate, seconds.

    `tell` is called with each row as it comes.
    """

    tell: Callable[[dict[str, Any]], None] = lambda row: None
    rows: list[dict[str, Any]] = field(default_factory=list)
    order = 60  # after fastai's Recorder (50), which computes the epoch's values

    def before_epoch(self) -> None:
        self.started = time.perf_counter()

    def after_loss(self) -> None:
        if not torch.isfinite(self.loss.detach()).all():
            part = "training" if self.training else "validation"
            raise Diverged(f"{part} loss is not finite in epoch {len(self.rows) + 1}")

    def after_train(self) -> None:
        self.train_seconds = time.perf_counter() - self.started

    def after_epoch(self) -> None:
        train_loss, valid_loss, right = [float(value) for value in self.recorder.log[1:4]]
        row = {
            "epoch": len(self.rows) + 1,
            "train_loss": train_loss,
            "valid_loss": valid_loss,
            "error_rate": 1 - right,
            "train_seconds": self.train_seconds,
            "seconds": time.perf_counter() - self.started,
        }
        self.rows.append(row)
        self.tell(row)


class ArrayLoader(TfmdDL):
    """fastai's loader over rows of a uint8 array: same order, same transforms, one read a batch."""

    def __init__(self, dataset: Any, images: Any = None, labels: Any = None, **kwargs: Any) -> None:
        self.images, self.labels = images, labels
        super().__init__(dataset, **kwargs)

    def create_batch(self, rows: list[int]) -> tuple[TensorImage, torch.Tensor]:
        where = np.asarray(rows)
        labels = torch.from_numpy(self.labels[where])
        kind = TensorCategory if labels.ndim == 1 else TensorMultiCategory
        return TensorImage(torch.from_numpy(np.ascontiguousarray(self.images[where]))), kind(labels)

    def retain(self, batch: Any, _items: Any) -> Any:
        return batch


@dataclass(frozen=True)
class Outcome:
    """What a finished fit gives: metrics of the last epoch, one row per epoch, and what it cost."""

    metrics: dict[str, float | None]
    test_metrics: dict[str, float | None]
    history: list[dict[str, Any]]
    cost: dict[str, float | None]


def loaders(data: Prepared, recipe: Recipe, image_size: int, device: torch.device) -> DataLoaders:
    """fastai's loaders over the prepared array; call `seed_everything` just before."""
    source = {"images": data.array(image_size, recipe.resize), "labels": data.labels}
    train = ArrayLoader(
        data.rows("train").tolist(),
        **source,
        bs=recipe.batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=0,
        device=device,
        after_batch=[IntToFloatTensor()],
    )
    rest = [
        train.new(data.rows(part).tolist(), **source, shuffle=False, drop_last=False)
        for part in _parts(data)
    ]
    return DataLoaders(train, *rest, device=device)


def learner(
    dls: DataLoaders, data: Prepared, recipe: Recipe, model: str, weights: Weights
) -> Learner:
    """fastai's `vision_learner` over timm's `model`; seed again just before this call."""
    single = data.kind == "single"
    metrics = [accuracy] if single else [accuracy_multi, FBetaMulti(2, average="samples")]
    overlay = dict(weights.overlay)
    if fit_of(model) is NEEDS_OVERLAY:
        overlay["pool_size"] = None
    with readable(weights.file):
        learn = vision_learner(
            dls,
            model,
            n_out=len(data.classes),
            loss_func=CrossEntropyLossFlat() if single else BCEWithLogitsLossFlat(),
            metrics=metrics,
            concat_pool=recipe.pool == "concat",
            pretrained_cfg_overlay=overlay,
        )
    return _in_precision(learn, recipe.precision)


def fit(learn: Learner, data: Prepared, recipe: Recipe, epochs: Epochs) -> Outcome:
    """Train as the recipe says (fastai's `fine_tune`) and measure; raises `Diverged`."""
    _synchronize()
    started, cpu_started = time.perf_counter(), time.process_time()
    with learn.no_bar(), learn.no_logging(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="sklearn")  # F-beta of an image with no tags
        learn.fine_tune(
            recipe.epochs,
            recipe.lr,
            freeze_epochs=recipe.frozen_epochs,
            lr_mult=recipe.lr_mult,
            cbs=epochs,
        )
        _synchronize()
        fit_seconds = time.perf_counter() - started
        cpu_seconds = time.process_time() - cpu_started
        last = [float(value) for value in learn.recorder.values[-1]]
        test = learn.validate(ds_idx=2) if "test" in _parts(data) else None
    unfrozen = epochs.rows[recipe.frozen_epochs :]
    trained = len(learn.dls.train) * recipe.batch_size
    return Outcome(
        metrics={**_metrics(last[1:]), "train_loss": last[0]},
        test_metrics={} if test is None else _metrics([float(value) for value in test]),
        history=epochs.rows,
        cost={
            "fit_seconds": fit_seconds,
            "cpu_seconds": cpu_seconds,
            "seconds_per_epoch": float(np.median([row["seconds"] for row in unfrozen])),
            "images_per_second": trained
            / float(np.median([row["train_seconds"] for row in unfrozen])),
            "energy_wh": None,
        },
    )


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch; call before `loaders` and again before `learner`."""
    set_seed(seed, reproducible=True)


def clear_peak_memory() -> None:
    """Start CUDA's peak memory counters afresh."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def _metrics(values: list[float]) -> dict[str, float | None]:
    """From [valid_loss, accuracy, F-beta or nothing]."""
    return {
        "error_rate": 1 - values[1],
        "accuracy": values[1],
        "fbeta2": values[2] if len(values) > 2 else None,
        "valid_loss": values[0],
    }


def _parts(data: Prepared) -> list[str]:
    return [part for part in ("valid", "test") if len(data.rows(part))]


def _in_precision(learn: Learner, precision: str) -> Learner:
    """fp16 and bf16 are CUDA's; on a CPU a run is fp32, and its record says so."""
    if learn.dls.device.type != "cuda" or precision == "fp32":
        return learn
    return learn.to_fp16() if precision == "fp16" else learn.to_bf16()


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
