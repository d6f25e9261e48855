"""Stage `export`: the recommended model of a dataset, fitted once more, as a folder to take away.

Reads params.yaml, conf/, the tables of `aggregate`, the records and the prepared dataset; writes
model.safetensors, config.json, README.md and, where the family allows it, model.onnx. DVC leaves
the folder to this command, which replaces an earlier export as a whole, and nothing else.

The surprising fact: the model learns from the train and the valid part together, so no error of its
own can be measured but that of a test part. The model card gives the error that the study measured,
of fits on the train part alone.
"""

import importlib
import json
import os
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from pipeline.configuration import hydra_app
from pipeline.core.command import number_of, run
from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.files import read_yaml, replacing_folder
from pipeline.core.processes import end_with_parent
from pipeline.dataset.prepared import Prepared, open_prepared
from pipeline.finetune.recipe import fit_settings
from pipeline.hardware import machine
from pipeline.mistakes.answers import answers_of, best_thresholds
from pipeline.recommend.choice import recommended_row
from pipeline.records import Record, read_record
from pipeline.statistics.doubts import split_doubts
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
    data = open_prepared(datasets / dataset, dataset, study.image_size)
    _check_source(study, dataset)
    _check_tables(data, results, row)
    config = _config(study, row, data, study.seeds[0] if seed is None else seed)
    records = _records(study, runs, row)
    _check_fits(config, data, records)
    for text in split_doubts(row["doubts"]):
        print(f"doubt about {row['model']}: {text}", flush=True)
    f2 = f2_thresholds(data, records)
    if thresholds == "f2":
        _check_f2(data, row, f2)
    options = {"--model": model, "--seed": seed}
    asked_for = " ".join(f"{name} {value}" for name, value in options.items() if value is not None)
    out = out or Path("data/exports") / dataset
    _export(config, row, f2, thresholds == "f2" and f2 is not None, asked_for or None, out)


def _check_source(study: Study, dataset: str) -> None:
    """Raise where the dataset's own files changed since they were prepared.

    Where DVC runs the stage it has looked already, so the stage does not depend on the code of
    `status`, which is imported here alone.
    """
    if "DVC_STAGE" in os.environ:
        return
    status = importlib.import_module("pipeline.status.__main__")
    if changed := status.changed_source(study, dataset):
        raise PipelineError(f"{changed}: put them back, or run `dvc repro`")


def _check_tables(data: Prepared, results: Path, row: pd.Series) -> None:
    """Raise where the tables, which say how often the model errs, are of other images or labels."""
    if not row["made_of"] <= {data.fingerprint}:
        raise PipelineError(
            f"{results}: the runs in the tables had other images, labels or parts of {data.name} "
            f"than {data.folder} has now: run `dvc repro`"
        )


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
    """The records of the study's finished fits of the model, as far as there are any."""
    paths = [
        Cell(str(row["dataset"]), str(row["model"]), str(row["recipe"]), seed).path(runs)
        for seed in study.seeds
    ]
    records = [read_record(path) for path in paths if path.is_file()]
    return [each for each in records if each.status == "ok"]


def _check_fits(config: DictConfig, data: Prepared, records: Sequence[Record]) -> None:
    """Raise where the new fit would differ in a setting from those that the study measured."""
    new = _settings(config.image_size, data.fingerprint, config.recipe)
    for record in records:
        if "recipe" not in record.config:
            continue
        size, recipe = record.config.get("image_size"), record.config["recipe"]
        old = _settings(size, record.data.fingerprint, recipe)
        keys = [key for key in old | new if old.get(key) != new.get(key)]
        if keys:
            changed = ", ".join(f"{key} {old.get(key)}, now {new.get(key)}" for key in keys)
            raise PipelineError(
                f"{record.dataset}: the study's fits of {record.model} had {changed}: "
                "put that back, or run `dvc repro`"
            )


def _settings(image_size: int | None, fingerprint: str | None, recipe: Any) -> dict[str, Any]:
    """The settings that the error of a fit depends on, but for the seed."""
    of_recipe = {f"recipe.{key}": value for key, value in fit_settings(recipe).items()}
    return {"image_size": image_size, "data": (fingerprint or "")[:8], **of_recipe}


def f2_thresholds(data: Prepared, records: Sequence[Record]) -> dict[str, float] | None:
    """Each label's threshold of the highest F2 on the validation images, by the study's own runs.

    None where images have one label, or no record holds predictions.
    """
    if data.kind != "multi":
        return None
    known = [predictions_of(each) for each in records if each.valid_predictions is not None]
    if not known:
        return None
    found = best_thresholds(answers_of("multi", data.labels[data.rows("valid")], known))
    return dict(zip(data.classes, found.tolist(), strict=True))


def _check_f2(data: Prepared, row: pd.Series, f2: dict[str, float] | None) -> None:
    """Say that --thresholds f2 has no effect; raise where it cannot be followed."""
    if data.kind == "single":
        print(f"--thresholds f2: {row['dataset']} has one label per image, so it changes nothing")
    elif f2 is None:
        raise PipelineError(
            f"--thresholds f2: no record of {row['model']} on {row['dataset']} holds predictions: "
            "give --thresholds half, or run `dvc repro`"
        )


def _export(
    config: DictConfig,
    row: pd.Series,
    thresholds_f2: dict[str, float] | None,
    use_f2: bool,
    asked_for: str | None,
    out: Path,
) -> None:
    """Fit the model of the leaderboard's `row` and write its folder."""
    from pipeline.export.fitting import fit
    from pipeline.export.folder import About, write_folder
    from pipeline.finetune.__main__ import run_of
    from pipeline.finetune.recipe import recipe_of

    _check_out(out)
    _check_replaced(out, str(row["model"]))
    run = run_of(config)
    _check_data(run.data, row)
    machine.use_threads(machine.free_threads(config.threads))
    fitted = fit(run, recipe_of(config.recipe), _epoch_printer(f"{row['dataset']}  {row['model']}"))
    about = About(
        run=run,
        row=row,
        test_metrics={k: v for k, v in fitted.test_metrics.items() if v is not None},
        thresholds_f2=thresholds_f2,
        use_f2=use_f2,
        exported_at=datetime.now(UTC).isoformat(timespec="seconds"),
        asked_for=asked_for,
    )
    with replacing_folder(out) as folder:
        summary = write_folder(folder, fitted.learn, about)
    print(f"{out}: {summary}", flush=True)


def _check_out(out: Path) -> None:
    """Raise where `out` holds anything but an exported model: the whole folder is replaced."""
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


def _check_replaced(out: Path, model: str) -> None:
    """Say so where another model's export is replaced. The stage does not replace one that was made
    by hand with options, because nothing would make that again.
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
    """Raise where the study's error is one on another number of validation images."""
    if pd.notna(row["n_valid"]) and int(row["n_valid"]) != len(data.rows("valid")):
        now = number_of(len(data.rows("valid")), "validation image", "validation images")
        raise PipelineError(
            f"{data.folder}: {now}, but the study's runs had {int(row['n_valid'])}: run `dvc repro`"
        )


def _epoch_printer(title: str) -> Callable[[dict[str, Any]], None]:
    """Prints a line for each epoch, from its row of the history."""

    def print_epoch(epoch: dict[str, Any]) -> None:
        so_far = f"epoch {epoch['epoch']}/{epoch['of']}"
        print(f"{title}  {so_far}  train loss {epoch['train_loss']:.3f}", flush=True)

    return print_epoch


if __name__ == "__main__":
    run(main)
