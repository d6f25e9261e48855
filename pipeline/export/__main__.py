"""Stage `export`: the recommended model of a dataset, fitted once more, as a folder to take away.

Reads params.yaml, conf/, the tables of `aggregate`, the records and the prepared dataset; writes
model.safetensors, config.json, README.md and, where the family allows it, model.onnx. DVC leaves
the folder to this command, which replaces an earlier export as a whole, and nothing else.

The surprising fact: it learns from the train and the valid part together, so it has no error of its
own but that of a test part. The model card gives the error that the study measured, of fits on the
train part alone.
"""

import importlib
import json
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from pipeline.configuration import hydra_app
from pipeline.core.command import run
from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.files import read_yaml, replacing_folder
from pipeline.core.processes import end_with_parent
from pipeline.dataset.prepared import Prepared, open_prepared
from pipeline.hardware import machine
from pipeline.mistakes.answers import answers_of, best_thresholds
from pipeline.recommend.choice import recommended_row
from pipeline.records import Record, read_record
from pipeline.statistics.doubts import listed
from pipeline.statistics.validation_images import predictions_of
from pipeline.study.params import THRESHOLDS, Cell, Study, read_study


def main(
    *,
    dataset: str,
    model: str | None = None,
    out: Path | None = None,
    seed: int | None = None,
    thresholds: str = "half",
    params: Path = Path("params.yaml"),
    results: Path = Path("results"),
    runs: Path = Path("data/runs"),
    datasets: Path = Path("data/datasets"),
) -> None:
    """Fit the model that `recommend` names on train and valid, and export it to a folder.

    Args:
        dataset: the dataset that it was chosen for
        model: another of the study's models
        out: the folder to write; by default data/exports/DATASET
        seed: another seed than the study's first
        thresholds: half: a label is given at 50 %; f2: at the highest F2 on the validation images
        params: the study file
        results: the folder with the tables of `aggregate`
        runs: the folder with the records of fine-tunes
        datasets: the folder with the prepared datasets
    """
    if thresholds not in THRESHOLDS:
        raise PipelineError(f"--thresholds {thresholds}: {near_matches(thresholds, THRESHOLDS)}")
    if "DVC_STAGE" in os.environ:
        end_with_parent(signal.SIGTERM)
    study = read_study(params)
    row = recommended_row(results, dataset, model)
    for text in listed(row["doubts"]):
        print(f"doubt about {row['model']}: {text}", flush=True)
    data = open_prepared(datasets / dataset)
    _check_source(study, dataset)
    out = out or Path("data/exports") / dataset
    config = _config(study, row, data, study.seeds[0] if seed is None else seed)
    records = _records(study, runs, row)
    _check_fits(config, data, records)
    best = f2_thresholds(data, records)
    if thresholds == "f2" and data.kind == "single":
        print(f"--thresholds f2: {dataset} has one label per image, so it changes nothing")
    elif thresholds == "f2" and best is None:
        raise PipelineError(
            f"--thresholds f2: no record of {row['model']} on {dataset} holds predictions: "
            "give --thresholds half, or run `dvc repro`"
        )
    options = {"--model": model, "--seed": seed}
    asked_for = " ".join(f"{name} {value}" for name, value in options.items() if value is not None)
    _export(config, row, best, thresholds, asked_for or None, out)


def _check_source(study: Study, dataset: str) -> None:
    """The last fit must not learn from files as they were before they changed.

    DVC has looked already where it runs the stage, which therefore does not depend on this code.
    """
    if "DVC_STAGE" in os.environ:
        return
    status = importlib.import_module("pipeline.status.__main__")
    if changed := status.changed_source(study, dataset):
        raise PipelineError(f"{changed}: put them back, or run `dvc repro`")


def _config(study: Study, row: pd.Series, data: Prepared, seed: int) -> DictConfig:
    """The configuration of one more fine-tune, as the study's own had it."""
    params = read_yaml(study.path)
    return hydra_app.compose(
        "finetune",
        [
            f"dataset={row['dataset']}",
            f"model={row['model']}",
            f"recipe={row['recipe']}",
            f"seed={seed}",
            f"image_size={study.image_size}",
            f"weights={study.weights}",
            f"threads={params.get('threads', 'auto')}",
            f"data={data.folder}",
        ],
    )


def _records(study: Study, runs: Path, row: pd.Series) -> list[Record]:
    """Of the study's own fits of the model, those that finished and are here."""
    paths = [
        Cell(str(row["dataset"]), str(row["model"]), str(row["recipe"]), seed).path(runs)
        for seed in study.seeds
    ]
    records = [read_record(path) for path in paths if path.is_file()]
    return [each for each in records if each.status == "ok"]


def _check_fits(config: DictConfig, data: Prepared, records: Sequence[Record]) -> None:
    """The study's error must be one of fits like the one that is to be made."""
    now = _settings(config.image_size, data.fingerprint, config.recipe)
    for record in records:
        if "recipe" not in record.config:
            continue
        then = record.config
        had = _settings(then.get("image_size"), record.data.fingerprint, then["recipe"])
        keys = [key for key in had | now if had.get(key) != now.get(key)]
        if keys:
            changed = ", ".join(f"{key} {had.get(key)}, now {now.get(key)}" for key in keys)
            raise PipelineError(
                f"{record.dataset}: the study's fits of {record.model} had {changed}: "
                "put that back, or run `dvc repro`"
            )


def _settings(image_size: int | None, fingerprint: str | None, recipe: Any) -> dict[str, Any]:
    """What decides the error of a fit, but for the seed."""
    named = {f"recipe.{key}": value for key, value in recipe.items()}
    return {"image_size": image_size, "data": (fingerprint or "")[:8], **named}


def f2_thresholds(data: Prepared, records: Sequence[Record]) -> dict[str, float] | None:
    """Each label's threshold of the highest F2 on the validation images, by the study's own runs;
    None for one label, or where no record holds predictions."""
    if data.kind != "multi":
        return None
    known = [predictions_of(each) for each in records if each.valid_predictions is not None]
    if not known:
        return None
    found = best_thresholds(answers_of("multi", data.labels[data.rows("valid")], known))
    return dict(zip(data.classes, found.tolist(), strict=True))


def _export(
    config: DictConfig,
    row: pd.Series,
    best: dict[str, float] | None,
    which: str,
    asked_for: str | None,
    out: Path,
) -> None:
    from pipeline.export.fitting import fit
    from pipeline.export.folder import About, write_folder
    from pipeline.finetune.__main__ import run_of
    from pipeline.finetune.recipe import recipe_of

    _check_place(out)
    _check_what_goes(out, str(row["model"]))
    whole = run_of(config)
    _check_data(whole.data, row)
    machine.use_threads(machine.free_threads(config.threads))
    fitted = fit(whole, recipe_of(config.recipe), _tell(f"{row['dataset']}  {row['model']}"))
    about = About(
        run=whole,
        row=row,
        test_metrics={k: v for k, v in fitted.test_metrics.items() if v is not None},
        thresholds_f2=best,
        use_f2=which == "f2" and best is not None,
        exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
        asked_for=asked_for,
    )
    with replacing_folder(out) as folder:
        said = write_folder(folder, fitted.learn, about)
    print(f"{out}: {said}", flush=True)


def _check_place(out: Path) -> None:
    """What is exported takes the place of the whole folder, so it must hold nothing else."""
    from pipeline.predict.exported import CONFIG, FILES

    if not out.exists():
        return
    if not out.is_dir():
        raise PipelineError(f"{out}: a file: give --out a new folder")
    there = sorted(each.name for each in out.iterdir())
    others = [name for name in there if name not in FILES or CONFIG not in there]
    if others:
        raise PipelineError(
            f"{out}: holds other files than an exported model, {others[0]} for one, which would be "
            "deleted: move them elsewhere, or give --out a new folder"
        )


def _check_what_goes(out: Path, model: str) -> None:
    """Say that another model's export is replaced; the stage replaces none that was asked for by
    hand, which nobody else has.
    """
    from pipeline.predict.exported import CONFIG

    old: Any = {}
    with suppress(OSError, ValueError):
        old = json.loads((out / CONFIG).read_text(encoding="utf-8"))
    if not isinstance(old, dict) or not old:
        return
    if "DVC_STAGE" in os.environ and old.get("asked_for"):
        raise PipelineError(
            f"{out}: was exported by hand with {old['asked_for']}, and this stage would replace "
            "it: move or delete the folder"
        )
    if old.get("model") != model:
        print(f"{out}: replaces the export of {old.get('model')}", flush=True)


def _check_data(data: Prepared, row: pd.Series) -> None:
    """The study's error must be one on these images."""
    if pd.notna(row["n_valid"]) and int(row["n_valid"]) != len(data.rows("valid")):
        raise PipelineError(
            f"{data.folder}: {len(data.rows('valid'))} validation images, but the study's runs had "
            f"{int(row['n_valid'])}: run `dvc repro`"
        )


def _tell(title: str) -> Any:
    def tell(epoch: dict[str, Any]) -> None:
        print(f"{title}  epoch {epoch['epoch']}  train loss {epoch['train_loss']:.3f}", flush=True)

    return tell


if __name__ == "__main__":
    run(main)
