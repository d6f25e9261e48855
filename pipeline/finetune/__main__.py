"""Stage `finetune`: one dataset, one model, one recipe, one seed -> one record.

Reads a prepared dataset and one file of pretrained weights; writes `out`. It is a result if a model
cannot be fine-tuned on the images, runs out of GPU memory or diverges: the record says so and the
exit code is 0. A failure that is not the model's fault (no data, no weights, a full disk) fails the
stage and leaves no record.
"""

import hashlib
import itertools
import json
import os
import signal
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig, OmegaConf

from pipeline.configuration import hydra_app
from pipeline.core.command import duration
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml
from pipeline.core.processes import PROGRESS_FILE, Progress, end_with_parent, hold, report_progress
from pipeline.dataset.prepared import Prepared, open_prepared
from pipeline.finetune.recipe import Recipe, fitted_to, recipe_of
from pipeline.hardware import machine
from pipeline.records import Data, Record, write_record


def main(config: DictConfig) -> None:
    """Fine-tune one model once and write its record."""
    machine.rest_while_waiting()
    die_with_parent()
    out, title = record_path(config), _title(config)
    with hold(out.with_name(f".{out.name}.lock"), out):
        record = finetune(config, tell=progress(title))
        write_record(out, record)
    print(f"{title}  {_outcome(record)}", flush=True)


def finetune(config: DictConfig, tell: Any = lambda row: None) -> Record:
    """The record of one fine-tune; `tell` is called with each epoch's row."""
    from pipeline.finetune import attempts
    from pipeline.names.vision_learner import left_out

    run = run_of(config)
    if adjusted := adjustments(recipe_of(config.recipe), run.recipe):
        print(f"{_title(config)}  {adjusted}", flush=True)
    threads = machine.free_threads(config.threads)
    common: dict[str, Any] = {
        "dataset": run.data.name,
        "model": run.model,
        "recipe": run.recipe.name,
        "seed": run.seed,
        "versions": {**machine.versions(), "code": attempts.code_version()},
        "weights": {
            **{name: getattr(run.weights, name) for name in ("source", "origin", "sha256")},
            "left_out": left_out(run.model, run.recipe.features),
        },
        "fit": describe_fit(run.recipe, len(run.data.rows("train"))),
        "data": describe(run.data, run.image_size),
        "config": OmegaConf.to_container(config, resolve=True),
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    device = machine.describe(run.device, threads, run.recipe.precision)
    machine.use_threads(threads)
    if run.speed.keep_freed_memory and run.device.type == "cpu":
        machine.keep_freed_memory()
    fields = attempts.train(run, tell)
    fields["device"] = replace(device, **fields["device"])
    return Record(**common, **fields)


def run_of(config: DictConfig) -> Any:
    """The `Run` that `config` describes; anything wrong or missing raises `PipelineError`."""
    from pipeline.finetune import training, weights
    from pipeline.finetune.speed import speed_of
    from pipeline.names.resolve import resolve

    if isinstance(config.seed, bool) or not isinstance(config.seed, int):
        raise PipelineError(f"seed={config.seed}: write a whole number")
    written = recipe_of(config.recipe)
    data = open_prepared(Path(config.data), config.dataset.name, config.image_size)
    model = resolve(config.model)
    check_classes(data)
    recipe = fitted_to(written, len(data.rows("train")))
    return training.Run(
        data=data,
        recipe=recipe,
        model=model,
        weights=weights.find(config.weights, model),
        seed=config.seed,
        image_size=config.image_size,
        device=machine.choose_device(config.device),
        speed=speed_of(config.speed),
    )


def check_classes(data: Prepared) -> None:
    """Raise unless there are at least two classes; with fewer, an error rate means nothing."""
    if len(data.classes) < 2:
        raise PipelineError(
            f"{data.folder}: its only class is {', '.join(data.classes) or 'none'}: a model needs "
            "two classes or more to tell apart"
        )


def record_path(config: DictConfig) -> Path:
    """The record's path: `config.out`, or a name unique to the run if that is a folder."""
    out = Path(config.out)
    if out.suffix == ".json":
        return out
    settings = OmegaConf.to_container(config, resolve=True)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    run = f"{config.dataset.name}-{config.model}-{config.recipe.name}-{config.seed}"
    return out / f"{run}-{digest}.json"


def describe(data: Prepared, image_size: int) -> Data:
    """The record's `data`: the dataset, and the error rate of a constant guess."""
    n = len(data.classes)
    valid = data.labels[data.rows("valid")]
    per_class = valid.sum(axis=0) if data.kind == "multi" else np.bincount(valid, minlength=n)
    return Data(
        fingerprint=data.fingerprint,
        kind=data.kind,
        image_size=image_size,
        n_classes=n,
        n_train=len(data.rows("train")),
        n_valid=len(data.rows("valid")),
        n_test=len(data.rows("test")),
        n_rejected=data.meta["n_rejected"],
        chance_error_rate=data.meta["chance_error_rate"],
        median_side=data.meta.get("median_side"),
        n_valid_rarest=int(per_class.min()),
    )


def describe_fit(recipe: Recipe, n_train: int) -> dict[str, int]:
    """The record's `fit`: images per step, and how many epochs and steps are to be taken."""
    epochs = recipe.frozen_epochs + recipe.epochs
    steps = epochs * (n_train // recipe.batch_size)
    return {"batch_size": recipe.batch_size, "epochs": epochs, "steps": steps}


def adjustments(written: Recipe, fitted: Recipe) -> str:
    """A message saying how the recipe was adapted to a small training part; empty if it was not."""
    notes = []
    if written.batch_size != fitted.batch_size:
        notes.append(
            f"batch size {fitted.batch_size} instead of {written.batch_size}: there are no more "
            "training images"
        )
    if written.epochs != fitted.epochs:
        notes.append(
            f"{fitted.epochs} epochs instead of {written.epochs}: at least "
            f"{written.least_steps} steps"
        )
    return "; ".join(notes)


def die_with_parent() -> None:
    """Under DVC, end when DVC ends; otherwise, a killed `dvc repro` leaves the fit running."""
    if "DVC_STAGE" in os.environ:
        end_with_parent(signal.SIGTERM)


def progress(title: str) -> Any:
    """A function that prints one line per epoch, headed by `title`, and reports it to a sweep.

    It is called with the epoch's row of the record's history, to which are added `of`, the total
    number of epochs, and `elapsed_seconds`, the time since the fit began.
    """

    def tell(row: dict[str, Any]) -> None:
        known = {key: row[key] for key in ("epoch", "train_loss", "valid_loss", "error_rate")}
        now = Progress(epochs=row["of"], seconds=row["elapsed_seconds"], **known)
        print(f"{title}  {now}", flush=True)
        report_progress(now)

    return tell


def _title(config: DictConfig) -> str:
    """The heading of the run's lines of output.

    Call this before the fit: params.yaml may be edited, and be incomplete, while the fit runs.
    """
    run = f"{config.dataset.name}  {config.model}  {config.recipe.name}  seed {config.seed}"
    return _place_in_grid(config) + run


def _place_in_grid(config: DictConfig) -> str:
    """`[5/12] ` under DVC: the run's number within the study. A sweep counts runs itself."""
    if "DVC_ROOT" not in os.environ or PROGRESS_FILE in os.environ:
        return ""
    params = read_yaml(Path(os.environ["DVC_ROOT"]) / "params.yaml")
    grid = [params["grid"][axis] for axis in ("datasets", "models", "recipes", "seeds")]
    cells = list(itertools.product(*grid))
    cell = (config.dataset.name, config.model, config.recipe.name, config.seed)
    return f"[{cells.index(cell) + 1}/{len(cells)}] " if cell in cells else ""


def _outcome(record: Record) -> str:
    if record.status != "ok":
        return f"{record.status}: {record.reason}"
    return (
        f"error {record.metrics.error_rate:.4f} "
        f"(chance {record.data.chance_error_rate:.4f}) in {duration(record.cost.fit_seconds)}"
    )


if __name__ == "__main__":
    hydra_app.run(main, "finetune")
