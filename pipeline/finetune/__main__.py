"""Stage `finetune`: one dataset, one model, one recipe, one seed -> one record.

Reads a prepared dataset and one file of pretrained weights; writes `out`. A model that does not
fit, runs out of GPU memory or diverges is a result: its record says so and the exit code is 0. What
is not the model's doing (no data, no weights, no disk) fails the stage and leaves no record.
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
from pipeline.core.processes import FILE, Progress, end_with_parent, hold, report_progress
from pipeline.dataset.prepared import Prepared, open_prepared
from pipeline.finetune.recipe import Recipe, fitted_to, recipe_of
from pipeline.hardware import machine
from pipeline.records import Data, Record, write_record


def main(config: DictConfig) -> None:
    """Fine-tune one model once, and write the record of it."""
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
    if said := changes(recipe_of(config.recipe), run.recipe):
        print(f"{_title(config)}  {said}", flush=True)
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
    """The `Run` that `config` asks for; what is wrong or missing is one clear line."""
    from pipeline.finetune import training, weights
    from pipeline.finetune.speed import speed_of
    from pipeline.names.resolve import resolve

    if isinstance(config.seed, bool) or not isinstance(config.seed, int):
        raise PipelineError(f"seed={config.seed}: write a whole number")
    data = open_prepared(Path(config.data), config.dataset.name, config.image_size)
    model = resolve(config.model)
    check_classes(data)
    recipe = fitted_to(recipe_of(config.recipe), len(data.rows("train")))
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
    """Raise where there is nothing to tell apart: any error rate would mean nothing."""
    if len(data.classes) < 2:
        raise PipelineError(
            f"{data.folder}: its only class is {', '.join(data.classes) or 'none'}: a model needs "
            "two classes or more to tell apart"
        )


def record_path(config: DictConfig) -> Path:
    """Where the record goes: `config.out`, or in that folder a name that no other run shares."""
    out = Path(config.out)
    if out.suffix == ".json":
        return out
    settings = OmegaConf.to_container(config, resolve=True)
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    run = f"{config.dataset.name}-{config.model}-{config.recipe.name}-{config.seed}"
    return out / f"{run}-{digest}.json"


def describe(data: Prepared, image_size: int) -> Data:
    """The record's `data`: what was learned from, and what a constant guess would score."""
    n = len(data.classes)
    valid = data.labels[data.rows("valid")]
    of_classes = valid.sum(axis=0) if data.kind == "multi" else np.bincount(valid, minlength=n)
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
        n_valid_rarest=int(of_classes.min()),
    )


def describe_fit(recipe: Recipe, n_train: int) -> dict[str, int]:
    """The record's `fit`: what the optimizer will do, if nothing goes wrong."""
    epochs = recipe.frozen_epochs + recipe.epochs
    steps = epochs * (n_train // recipe.batch_size)
    return {"batch_size": recipe.batch_size, "epochs": epochs, "steps": steps}


def changes(asked: Recipe, fitted: Recipe) -> str:
    """What the size of the training part changed in a recipe, to be said aloud; else empty."""
    said = []
    if asked.batch_size != fitted.batch_size:
        said.append(
            f"batch size {fitted.batch_size}, not {asked.batch_size}: all training images there are"
        )
    if asked.epochs != fitted.epochs:
        said.append(
            f"{fitted.epochs} epochs, not {asked.epochs}: at least {asked.least_steps} steps"
        )
    return "; ".join(said)


def die_with_parent() -> None:
    """Under DVC, end when DVC ends: a killed `dvc repro` otherwise leaves its trainer running."""
    if "DVC_STAGE" in os.environ:
        end_with_parent(signal.SIGTERM)


def progress(title: str) -> Any:
    """A function that prints one line per epoch under `title`, and reports it to a sweep.

    It is called with the row of the record's history, `of`, how many epochs there will be, and
    `elapsed_seconds` since the fit began.
    """

    def tell(row: dict[str, Any]) -> None:
        known = {key: row[key] for key in ("epoch", "train_loss", "valid_loss", "error_rate")}
        now = Progress(epochs=row["of"], seconds=row["elapsed_seconds"], **known)
        print(f"{title}  {now}", flush=True)
        report_progress(now)

    return tell


def _title(config: DictConfig) -> str:
    """To be asked before the fit: params.yaml may be edited meanwhile, and not be whole."""
    run = f"{config.dataset.name}  {config.model}  {config.recipe.name}  seed {config.seed}"
    return _place_in_grid(config) + run


def _place_in_grid(config: DictConfig) -> str:
    """`[5/12] ` under DVC: which of the study's runs this is. A sweep counts its own."""
    if "DVC_ROOT" not in os.environ or FILE in os.environ:
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
