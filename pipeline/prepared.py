"""A prepared dataset: what stage `dataset` writes and every fine-tune reads, with nothing decoded.

data/datasets/NAME/
    index.csv         file, labels (joined by `|`), part (train, valid, test); in the arrays' order
    meta.json         name, kind, classes, split, fingerprint, arrays, chance_error_rate, ...
    rejected.csv      file, reason
    squish-64.npy     uint8 [images, 3, 64, 64], RGB: one array per resize method and image size
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.errors import PipelineError

LABEL_SEPARATOR = "|"
FORMAT = 1
PARTS = ("train", "valid", "test")
Kind = Literal["single", "multi"]


@dataclass(frozen=True)
class Prepared:
    """One prepared dataset, opened.

    `labels` is int64 [images] of class indices where `kind` is "single", and float32
    [images, classes] of zeros and ones where it is "multi".
    """

    folder: Path
    name: str
    kind: Kind
    classes: list[str]
    files: list[str]
    labels: np.ndarray
    parts: np.ndarray
    meta: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what was learned from: the files' bytes, labels, classes and split."""
        return str(self.meta["fingerprint"])

    def rows(self, part: str) -> np.ndarray:
        """The row numbers of one part, int64, in index order."""
        return np.flatnonzero(self.parts == part)

    def array(self, image_size: int, resize: str = "squish") -> np.ndarray:
        """The images, memory-mapped: uint8 [images, 3, image_size, image_size], RGB."""
        path = self.folder / f"{resize}-{image_size}.npy"
        if not path.is_file():
            raise PipelineError(
                f"{path}: dataset {self.name} has no {resize} array at {image_size} pixels: run "
                f"`python -m pipeline.dataset dataset={self.name} image_size={image_size} "
                f"out={self.folder}`"
            )
        array: np.ndarray = np.load(path, mmap_mode="r")
        if len(array) != len(self.files):
            raise PipelineError(f"{path}: {len(array)} images, but index.csv has {len(self.files)}")
        return array


def open_prepared(folder: Path) -> Prepared:
    """Open what stage `dataset` wrote to `folder`."""
    if not (folder / "meta.json").is_file():
        raise PipelineError(
            f"{folder}: no prepared dataset here: run "
            f"`python -m pipeline.dataset dataset={folder.name} out={folder}`"
        )
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
    tags = [labels.split(LABEL_SEPARATOR) if labels else [] for labels in index["labels"]]
    return Prepared(
        folder=folder,
        name=meta["name"],
        kind=meta["kind"],
        classes=list(meta["classes"]),
        files=index["file"].tolist(),
        labels=label_array(meta["kind"], meta["classes"], tags),
        parts=index["part"].to_numpy(dtype=str),
        meta=meta,
    )


def label_array(kind: str, classes: Sequence[str], tags: Sequence[Sequence[str]]) -> np.ndarray:
    """The labels of each image as numbers: see `Prepared.labels`."""
    position = {name: number for number, name in enumerate(classes)}
    if kind == "single":
        return np.array([position[row[0]] for row in tags], dtype=np.int64)
    labels = np.zeros((len(tags), len(position)), dtype=np.float32)
    for number, row in enumerate(tags):
        labels[number, [position[tag] for tag in row]] = 1
    return labels
