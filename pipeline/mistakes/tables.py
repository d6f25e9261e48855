"""The tables of results/mistakes, and how figures and report read them back.

models.csv       one row per dataset: the recommended model, its runs, how well it is calibrated
classes.csv      one label: each class's error           tags.csv    several: precision, recall, F2
confusion.csv    one label: images by true class and answer, where there are any
reliability.csv  answers by their probability
overlap.csv      whether models that cannot be told apart err on the same images
gallery.csv      the worst mistakes, and those that every run of every model makes
thumbnails/      the images of gallery.csv as JPEG, as the models saw them
"""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.results import KEY, read_result, write_result

COLUMNS: dict[str, tuple[str, ...]] = {
    "models": (
        *KEY,
        "kind",
        "n_runs",
        "n_valid",
        "n_classes",
        "error_rate",
        "calibration_error",
        "n_models",
        "n_all_runs",
        "n_wrong_for_all",
    ),
    "classes": (
        *KEY,
        "label",
        "images",
        "error_rate",
        "error_low",
        "error_high",
        "taken_for",
        "taken_for_share",
    ),
    "tags": (
        *KEY,
        "label",
        "images",
        "answered",
        "precision",
        "precision_low",
        "precision_high",
        "recall",
        "recall_low",
        "recall_high",
        "f2",
        "f2_low",
        "f2_high",
        "threshold_f2",
    ),
    "confusion": (*KEY, "truth", "answer", "images"),
    "reliability": (
        *KEY,
        "bin_low",
        "bin_high",
        "n",
        "answers",
        "probability",
        "right",
        "right_low",
        "right_high",
    ),
    "overlap": (*KEY, "other", "error_rate", "both", "both_if_independent", "overlap"),
    "gallery": (
        *KEY,
        "group",
        "file",
        "truth",
        "answer",
        "probability",
        "answer_runs",
        "wrong_runs",
        "runs",
        "thumbnail",
    ),
}
_TEXT = ("kind", "label", "taken_for", "truth", "answer", "other", "group", "file", "thumbnail")
_TYPES = dict.fromkeys((*KEY, *_TEXT), "str")
WORST, EVERYONE = "worst", "everyone"  # groups of gallery.csv


@dataclass(frozen=True)
class Mistakes:
    """The tables, each named as its file; `folder` holds the thumbnails too."""

    folder: Path
    models: pd.DataFrame
    classes: pd.DataFrame
    tags: pd.DataFrame
    confusion: pd.DataFrame
    reliability: pd.DataFrame
    overlap: pd.DataFrame
    gallery: pd.DataFrame

    def of(self, dataset: str) -> "Mistakes":
        """The rows of one dataset."""
        tables = {name: getattr(self, name) for name in COLUMNS}
        return Mistakes(
            self.folder, **{name: each[each["dataset"] == dataset] for name, each in tables.items()}
        )


def write_mistakes(folder: Path, tables: dict[str, pd.DataFrame]) -> None:
    """Write every table to `folder`, one that is not among `tables` without rows."""
    for name, columns in COLUMNS.items():
        table = tables.get(name, pd.DataFrame()).reindex(columns=list(columns))
        write_result(folder / f"{name}.csv", table.round(6))


def read_mistakes(folder: Path) -> Mistakes:
    """Read what stage `mistakes` wrote; raises `PipelineError` where a table is missing or lacks a
    column.
    """
    tables = {
        name: read_result(folder / f"{name}.csv", columns, _TYPES, "run `dvc repro mistakes`")
        for name, columns in COLUMNS.items()
    }
    return Mistakes(folder, **tables)
