"""A prepared dataset: stage `dataset` writes it, and fine-tunes read it without decoding images.

data/datasets/NAME/
    index.csv         file, labels (joined by `|`), part (train, valid, test); in the arrays' order
    meta.json         name, kind, classes, split, fingerprint, arrays, chance_error_rate, ...
    rejected.csv      file, reason
    decoded.csv       every file found: SHA-256, shorter side, reason if it could not be decoded
    squish-64.npy     uint8 [images, 3, 64, 64], RGB: one array per resize method and image size
    crop-64.npy       uint8, images end to end, each [3, height, width]; the shorter side is 64
    crop-64-shapes.npy  int32 [images, 2]: their heights and widths
"""

import json
import random
import warnings
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError  # raised by numpy, which parses an array's header as Python
from typing import Any, Literal

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml

LABEL_SEPARATOR = "|"
FORMAT = 1
PARTS = ("train", "valid", "test")
Kind = Literal["single", "multi"]
_DAMAGED = (ValueError, TypeError, LookupError, AttributeError, RecursionError, OverflowError)


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
        """SHA-256 of all that affects a fit: the files' bytes, labels, classes and split."""
        return str(self.meta["fingerprint"])

    def rows(self, part: str) -> np.ndarray:
        """The row numbers of one part, int64, in index order."""
        return np.flatnonzero(self.parts == part)

    def array(self, image_size: int, resize: str = "squish") -> "np.ndarray | Crops":
        """The images, memory-mapped: uint8 [images, 3, image_size, image_size], RGB.

        With resize "crop", each read of an image of the training part gives a new random crop.
        """
        path = self.folder / f"{resize}-{image_size}.npy"
        if not path.is_file():
            raise PipelineError(
                f"{path}: dataset {self.name} has no {resize} array at {image_size} pixels: "
                f"{_how_to_add(self, resize, image_size)}"
            )
        pixels = _load(path)
        array: np.ndarray | Crops = pixels
        if resize == "crop":
            shapes = _load(path.with_name(f"{path.stem}-shapes.npy"))
            array = Crops(Ragged(pixels, shapes), image_size, self.parts == "train")
        if len(array) != len(self.files):
            raise PipelineError(f"{path}: {len(array)} images, but index.csv has {len(self.files)}")
        return array


class Ragged:
    """Images of different shapes stored end to end: `ragged[row]` is uint8 [3, height, width]."""

    def __init__(self, pixels: np.ndarray, shapes: np.ndarray) -> None:
        self.pixels, self.shapes = pixels, shapes
        self.ends = np.cumsum(3 * shapes.astype(np.int64).prod(axis=1))

    def __len__(self) -> int:
        return len(self.shapes)

    def __getitem__(self, row: int) -> np.ndarray:
        height, width = self.shapes[row].tolist()
        end = int(self.ends[row])
        image: np.ndarray = self.pixels[end - 3 * height * width : end].reshape(3, height, width)
        return image


class Crops:
    """Square crops of images whose shorter side is already `image_size`.

    `crops[rows]` is uint8 [rows, 3, image_size, image_size]. The crop of an image is at a random
    place along the longer side if `random_rows` is true for it (drawn from Python's `random`, as in
    fastai's `Resize`), and otherwise in the centre.
    """

    def __init__(self, images: Ragged, image_size: int, random_rows: np.ndarray) -> None:
        self.images, self.image_size, self.random_rows = images, image_size, random_rows

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        squares = np.empty((len(rows), 3, self.image_size, self.image_size), dtype=np.uint8)
        for place, row in enumerate(rows):
            squares[place] = self.square(row, random.random() if self.random_rows[row] else 0.5)
        return squares

    def square(self, row: int, place: float) -> np.ndarray:
        """The square at `place` along the longer side, from 0 (left, top) to 1 (right, bottom)."""
        image, size = self.images[row], self.image_size
        top, left = (int(place * (length - size)) for length in image.shape[1:])
        return image[:, top : top + size, left : left + size]


def open_prepared(
    folder: Path, dataset: str | None = None, image_size: int | None = None
) -> Prepared:
    """Open the dataset that stage `dataset` wrote to `folder`.

    If it is missing or damaged, raises a `PipelineError` that says how to prepare `dataset` (by
    default the one that the folder is named after) at `image_size` (by default the study's).
    """
    wrong = "no prepared dataset here"
    if (folder / "meta.json").is_file():
        try:
            meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
            if meta.get("format") == FORMAT:
                return _opened(folder, meta)
            wrong = f"prepared by another version (format {meta.get('format')}, expected {FORMAT})"
        except (FileNotFoundError, *_DAMAGED) as error:
            wrong = f"a damaged dataset ({type(error).__name__}: {error})"
    again = _how_to_prepare(folder, dataset or folder.name, image_size)
    raise PipelineError(f"{folder}: {wrong}: {again}")


def _how_to_prepare(folder: Path, dataset: str, image_size: int | None) -> str:
    study = _study_size(folder)
    size = image_size or study
    if size is None:
        return "prepare it with `python -m pipeline.dataset`"
    out = folder if study in (None, size) else _outside(folder)
    return _to_run(f"python -m pipeline.dataset dataset={dataset} image_size={size}", folder, out)


def _how_to_add(data: Prepared, resize: str, image_size: int) -> str:
    """How to prepare an array that is missing.

    Stage `dataset` would remove an extra array from the study's folder, so the array is prepared in
    another folder, unless it is only missing because the study's image size has changed.
    """
    command, study = f"python -m pipeline.dataset dataset={data.name}", _study_size(data.folder)
    is_made = resize in {kind for kind, _ in _arrays_in(data.folder)}
    if is_made and image_size == study:
        return _to_run(f"{command} image_size={image_size}", data.folder, data.folder)
    out = data.folder if study is None else _outside(data.folder)
    there = _arrays_in(out)  # the command would remove them unless it prepares them again
    sizes = sorted({image_size, *(size for _, size in there)})
    kinds = sorted({resize, *(kind for kind, _ in there)}, reverse=True)
    for key, values in (("image_size", sizes), ("resize", kinds)):
        listed = ",".join(map(str, values))
        command += f" '{key}=[{listed}]'" if len(values) > 1 else f" {key}={listed}"
    run = _to_run(command, data.folder, out)
    if image_size == study:
        run += "; for a recipe of the study write `resize: [squish, crop]` into conf/dataset.yaml"
    return run


def _arrays_in(folder: Path) -> list[tuple[str, int]]:
    """The resize method and image size of each array."""
    made = [path.stem.split("-") for path in folder.glob("*-*.npy")]
    return [(kind, int(size)) for kind, size, *_ in made if size.isdigit()]


def _to_run(command: str, folder: Path, out: Path) -> str:
    run = f"run `{command} out={out}`"
    return run if out == folder else f"{run}, then repeat your command with `data={out}`"


def _study_size(folder: Path) -> int | None:
    """The image size of the study that the folder belongs to; None if it belongs to none."""
    if folder.parts[-3:-1] != ("data", "datasets"):
        return None
    with suppress(PipelineError):
        params = read_yaml(folder.parents[2] / "params.yaml")
        if isinstance(params, dict) and isinstance(params.get("image_size"), int):
            return int(params["image_size"])
    return None


def _outside(folder: Path) -> Path:
    """Where a dataset of the study is prepared with other settings, for one-off runs."""
    return folder.parents[1] / "adhoc" / folder.name


def _opened(folder: Path, meta: dict[str, Any]) -> Prepared:
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


def _load(path: Path) -> np.ndarray:
    """Load an array, memory-mapped. Pickles, which could run code, are refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # numpy would repair an odd header and only warn
            array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, EOFError, SyntaxError, TokenError, Warning, *_DAMAGED) as error:
        raise PipelineError(
            f"{path}: not an array ({error}): delete it and prepare the dataset again"
        ) from None
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "ui" or array.ndim == 0:
        raise PipelineError(
            f"{path}: not an array of pixels: delete it and prepare the dataset again"
        )
    return array


def label_array(kind: str, classes: Sequence[str], tags: Sequence[Sequence[str]]) -> np.ndarray:
    """The labels of each image as numbers, in the format that `Prepared` documents."""
    position = {name: number for number, name in enumerate(classes)}
    if kind == "single":
        return np.array([position[row[0]] for row in tags], dtype=np.int64)
    labels = np.zeros((len(tags), len(position)), dtype=np.float32)
    for number, row in enumerate(tags):
        labels[number, [position[tag] for tag in row]] = 1
    return labels
