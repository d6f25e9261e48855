"""The grid's records as two tables: one row per cell, and one row per run and epoch.

A missing cell is a row too. Records of different data, weights or recipes under one name are
refused: an average over them would be a number about nothing.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.finetune.recipe import fit_settings
from pipeline.records import METRICS, Record, read_record
from pipeline.results import ELSEWHERE, HISTORY, RUNS, UNKNOWN_START_UP
from pipeline.statistics.fit_times import main_devices
from pipeline.statistics.validation_images import (
    check_answers,
    check_predictions,
    exact_share,
)
from pipeline.study.params import Cell, Study
from pipeline.timm_results.families import family

SHARED, UNKNOWN = "the device was shared", "no time known"


Records = dict[Cell, Record]

COSTS = {  # column: key in the record's cost
    "fit_seconds": "fit_seconds",
    "seconds_per_epoch": "seconds_per_epoch",
    "images_per_second": "images_per_second",
    "peak_memory_gib": "peak_memory_reserved_gib",
    "peak_memory_allocated_gib": "peak_memory_allocated_gib",
    "peak_rss_gib": "peak_rss_gib",
    "energy_wh": "energy_wh",
}
TIMES = ("start_up_seconds", "steady_fit_seconds")  # properties of the record
DATA = {  # column: key in the record's data
    "data_fingerprint": "fingerprint",
    "data_kind": "kind",
    "n_train": "n_train",
    "n_valid": "n_valid",
    "n_test": "n_test",
    "chance_error_rate": "chance_error_rate",
}
SIZES = ["image_size", "n_train", "n_valid", "n_test"]
EPOCH = ("epoch", "train_loss", "valid_loss", "error_rate", "seconds")


def read_records(study: Study, folder: Path) -> Records:
    """The records of the grid that are there; refused where they do not belong together."""
    records = {}
    for cell in study.cells():
        path = cell.path(folder)
        if not path.is_file():
            continue
        record = records[cell] = read_record(path)
        if (holds := Cell.of(record)) != cell:
            raise PipelineError(f"{path}: holds the record of {holds}: delete it to run again")
        _check_image_size(study, path, record)
        check_answers(path, record)
        check_predictions(path, record)
    refuse_mixtures({cell: (cell.path(folder), record) for cell, record in records.items()})
    return records


def _check_image_size(study: Study, path: Path, record: Record) -> None:
    made_at = record.image_size
    if made_at is not None and made_at != study.image_size:
        raise PipelineError(
            f"{path}: made at image_size {made_at}, but {study.path} says {study.image_size}: "
            "run `dvc repro`"
        )


def refuse_mixtures(found: dict[Cell, tuple[Path, Record]]) -> None:
    """Raise if finished runs that share a name differ in what the name stands for."""
    for what, group_of, identity_of in _ALIKE:
        first: dict[str, tuple[Any, Path]] = {}
        for cell, (path, record) in found.items():
            identity = identity_of(record)
            if identity is None or record.status != "ok":
                continue
            known, example = first.setdefault(group_of(cell), (identity, path))
            if known != identity:
                raise PipelineError(
                    f"{path} and {example}: {group_of(cell)} has different "
                    f"{what} in these two records, so they cannot be compared: run `dvc repro`"
                )


def _recipe(record: Record) -> Any:
    recipe = record.config.get("recipe")
    return None if recipe is None else fit_settings(recipe)


_ALIKE: tuple[tuple[str, Callable[[Cell], str], Callable[[Record], Any]], ...] = (
    ("data", lambda cell: cell.dataset, lambda record: record.data.fingerprint),
    ("numbers of validation images", lambda cell: cell.dataset, lambda record: record.data.n_valid),
    ("weights", lambda cell: cell.model, lambda record: record.weights.get("sha256")),
    ("settings", lambda cell: cell.recipe, _recipe),
    ("code", lambda cell: "the trainer", lambda record: record.versions.get("code")),
)  # what must be the same, in all records of what, and where a record has it


def read_metas(study: Study, folder: Path) -> dict[str, dict[str, Any]]:
    """meta.json of each of the study's prepared datasets; one that is not here is left out."""
    paths = {dataset: folder / dataset / "meta.json" for dataset in study.datasets}
    try:
        texts = {name: path.read_text("utf-8") for name, path in paths.items() if path.is_file()}
        return {name: json.loads(text) for name, text in texts.items()}
    except ValueError as error:
        raise PipelineError(f"{folder}: a damaged meta.json ({error}): run `dvc repro`") from None


def runs_table(study: Study, records: Records) -> pd.DataFrame:
    """One row per cell, in the grid's order; only a run with status "ok" has metrics."""
    rows = [_row(cell, records.get(cell)) for cell in study.cells()]
    table = pd.DataFrame(rows, columns=[*RUNS, "not_for_speed"])
    table["not_timed"] = why_not_timed(table)
    table = table.drop(columns="not_for_speed")
    numbers = [*METRICS, *COSTS, *TIMES, "test_error_rate", *SIZES, "chance_error_rate"]
    table[numbers] = table[numbers].apply(pd.to_numeric)
    table["score"] = table["error_rate"] * (table["steady_fit_seconds"] + study.overhead_seconds)
    table[SIZES] = table[SIZES].astype("Int64")
    return _with_family(table)


def _row(cell: Cell, record: Record | None) -> dict[str, Any]:
    if record is None:
        return {**asdict(cell), "status": "missing"}
    versions = sorted((name, value) for name, value in record.versions.items() if value)
    return {
        **asdict(cell),
        "status": record.status,
        "reason": record.reason,
        **{name: getattr(record.metrics, name) for name in METRICS},
        **_exact(record),
        "test_error_rate": exact_share(record.test_metrics.error_rate, record.data.n_test, record),
        **{column: getattr(record.cost, key) for column, key in COSTS.items()},
        **{column: getattr(record, column) for column in TIMES},
        **({"start_up_seconds": None} if record.cost.warm else {}),  # not what the model takes
        "device": record.device.label,
        "shared": record.device.shared,
        "not_for_speed": record.not_for_speed,
        "weights_source": record.weights.get("source"),
        "weights_origin": record.weights.get("origin"),
        "weights_sha256": record.weights.get("sha256"),
        "image_size": record.image_size,
        "versions": ", ".join(f"{name} {value}" for name, value in versions) or None,
        "started_at": record.started_at,
        **{column: getattr(record.data, key) for column, key in DATA.items()},
    }


def _exact(record: Record) -> dict[str, float]:
    error = exact_share(record.metrics.error_rate, record.data.n_valid, record)
    return {} if error is None else {"error_rate": error, "accuracy": 1 - error}


def why_not_timed(runs: pd.DataFrame) -> pd.Series:
    """Per row of the runs table, why its time ranks nothing; null where it counts.

    `not_for_speed` is the record's own reason. A run that did not finish has no time to count.
    """
    reason = runs["not_for_speed"].astype("object")
    reason = reason.where(reason.notna() | (runs["shared"] != True), SHARED)  # noqa: E712 - may be null
    ok = runs["status"] == "ok"
    elsewhere = runs["device"] != runs["dataset"].map(main_devices(runs[ok & reason.isna()]))
    reason = reason.where(reason.notna() | ~elsewhere, ELSEWHERE)
    reason = reason.where(reason.notna() | runs["fit_seconds"].notna(), UNKNOWN)
    reason = reason.where(reason.notna() | runs["steady_fit_seconds"].notna(), UNKNOWN_START_UP)
    return reason.where(ok, None)


def history_table(records: Records) -> pd.DataFrame:
    """One row per run and epoch; `run` names model and seed, for a curve's legend."""
    rows = [
        {
            **asdict(cell),
            "run": f"{cell.model}, seed {cell.seed}",
            "status": record.status,
            **{name: epoch.get(name) for name in EPOCH},
        }
        for cell, record in records.items()
        for epoch in record.history
    ]
    return _with_family(pd.DataFrame(rows, columns=list(HISTORY)))


def _with_family(table: pd.DataFrame) -> pd.DataFrame:
    known = {model: family(model) for model in table["model"].unique()}
    return table.assign(family=table["model"].map(known))
