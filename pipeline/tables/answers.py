"""Which validation images each run erred on: from the records to valid_wrong.csv, and from there
to the noise that the choice of images leaves in a group's errors.

The table has one row per finished run that recorded it, packed as in the record: `recommend`
compares models again, and a fresh clone has no records.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.records import Record, unpack_counts
from pipeline.tables.images import ImageNoise, paired
from pipeline.tables.results import ANSWERS
from pipeline.tables.study import Cell

ROUNDING = 1e-4  # that the error rate of single precision may differ from the counted one


def answers_table(records: dict[Cell, Record]) -> pd.DataFrame:
    """One row per finished run whose record has its answers, in the grid's order."""
    rows = [
        {
            "dataset": cell.dataset,
            "recipe": cell.recipe,
            "model": cell.model,
            "seed": cell.seed,
            "labels": labels_of(record),
            "valid_wrong": record.valid_wrong,
        }
        for cell, record in records.items()
        if record.status == "ok" and record.valid_wrong is not None
    ]
    return pd.DataFrame(rows, columns=list(ANSWERS))


def check_answers(path: Path, record: Record) -> None:
    """Raise if the answers are not one for each validation image, or give another error rate."""
    if record.status != "ok" or record.valid_wrong is None:
        return
    try:
        wrong = unpack_counts(record.valid_wrong)
    except ValueError as error:
        raise PipelineError(f"{path}: valid_wrong: {error}: delete it to run again") from None
    n_valid = record.data.get("n_valid")
    if len(wrong) != n_valid:
        raise PipelineError(
            f"{path}: valid_wrong has {len(wrong)} images, but data.n_valid is {n_valid}: "
            "delete it to run again"
        )
    counted, said = float(wrong.mean()) / labels_of(record), record.metrics["error_rate"]
    if said is None or abs(counted - said) > ROUNDING:
        raise PipelineError(
            f"{path}: valid_wrong gives an error rate of {counted:.5f}, metrics.error_rate is "
            f"{said}: delete it to run again"
        )


def image_noise(runs: pd.DataFrame, models: Iterable[Any]) -> ImageNoise | None:
    """The noise of the images in one group's mean errors, in the order of `models`.

    `runs` are finished ones with ANSWERS' columns; None where one of them lacks its answers, or
    where no model ran twice: then nothing shows what a run adds to what its images do.
    """
    if runs["valid_wrong"].isna().any() or runs["model"].is_unique:
        return None
    answers = {
        model: np.stack([unpack_counts(packed) for packed in of_model])
        for model, of_model in runs.groupby("model")["valid_wrong"]
    }
    return paired([answers[model] for model in models], int(runs["labels"].iloc[0]))


def labels_of(record: Record) -> int:
    """How many answers a model gives on an image."""
    return int(record.data["n_classes"]) if record.data.get("kind") == "multi" else 1
