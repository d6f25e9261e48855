"""Where a dataset's images and labels are: in class folders, file names, tables, saved datasets.

Each function reads one shape on disk; the dataset's YAML names it, `images: {_target_: ...}`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.images import SUFFIXES

PART_NAMES = {
    "train": ("train", "training"),
    "valid": ("valid", "val", "validation", "dev"),
    "test": ("test", "testing"),
}


@dataclass(frozen=True)
class Found:
    """One image: its name in the index, its labels and, where they are given, part and group."""

    file: str
    labels: tuple[str, ...]
    part: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong, and the file (or row, or class) that it is wrong with."""

    file: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Every image found, how to read the bytes of one, and what was wrong with the rest."""

    images: list[Found]
    read: Callable[[str], bytes]
    faults: list[Fault] = field(default_factory=list)


def in_class_folders(root: Path, parts: Mapping[str, str] | None = None) -> Source:
    """The label is the folder that holds the file: `CLASS/file`, or `PART/CLASS/file`.

    `parts` names the folder of each part: `{train: train, valid: val}`.
    """
    images, faults = [], []
    folders = {None: root} if parts is None else {p: root / f for p, f in parts.items()}
    for part, folder in folders.items():
        if part is not None and part not in PART_NAMES:
            raise PipelineError(f"images.parts: {part!r}: {near_matches(part, PART_NAMES)}")
        for path in data_files(folder):
            file = path.relative_to(root).as_posix()
            if path.parent == folder:
                continue  # beside the class folders: a README, a list
            if path.suffix.lower() in SUFFIXES:
                images.append(Found(file, (path.parent.name,), part))
            else:
                faults.append(Fault(file, "not an image by its name"))
    return Source(images, FolderReader(root), faults)


def by_name(root: Path, files: str, pattern: str) -> Source:
    """The label is what the regular expression `pattern` finds as `label` in the file's name.

    `files` is a glob below the root, `images/*.jpg`. A `group` in the pattern keeps images
    together: `(?P<label>.+)_(?P<group>patient[0-9]+)_.*`.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise PipelineError(f"images.pattern {pattern!r}: {error}") from None
    if "label" not in expression.groupindex:
        raise PipelineError(f"images.pattern {pattern!r} has no group (?P<label>...)")
    images, faults = [], []
    for path in data_files(root, files):
        file = path.relative_to(root).as_posix()
        if match := expression.fullmatch(path.name):
            labels = (match["label"],) if match["label"] else ()
            images.append(Found(file, labels, None, match.groupdict().get("group")))
        else:
            faults.append(Fault(file, f"the name does not match {pattern}"))
    return Source(images, FolderReader(root), faults)


def data_files(folder: Path, files: str = "**/*") -> list[Path]:
    """The files below, sorted; hidden ones and what file managers leave are not data."""
    if not folder.is_dir():
        raise PipelineError(f"{folder}: no such folder")
    found = sorted(
        path
        for path in folder.glob(files)
        if path.is_file() and not any(map(_not_data, path.relative_to(folder).parts))
    )
    for path in found:
        try:
            str(path).encode()
        except UnicodeEncodeError:
            raise PipelineError(f"{str(path)!a}: the name is not UTF-8: rename it") from None
    return found


@dataclass(frozen=True)
class FolderReader:
    """Reads files below a folder (a class, because workers receive it pickled)."""

    root: Path

    def __call__(self, file: str) -> bytes:
        return (self.root / file).read_bytes()


def part_named(name: str) -> str | None:
    """The part that `name` means, `val` being valid; None if it means none."""
    return next((part for part, names in PART_NAMES.items() if name.lower() in names), None)


def _not_data(name: str) -> bool:
    return name.startswith(".") or name in ("__MACOSX", "Thumbs.db", "desktop.ini")


_BOOLEAN_PARTS = {"true": "valid", "false": "train"}


def in_csv(
    root: Path,
    csv: str | Mapping[str, str],
    file: str,
    label: str,
    path: str = "{}",
    delimiter: str | None = None,
    part: str | None = None,
    group: str | None = None,
    separator: str = ",",
    header: list[str] | None = None,
) -> Source:
    """One row per image; `file`, `label`, `part` and `group` are column names.

    csv        below the root; or one CSV per part, {train: train.txt, test: test.txt}
    path       the image of a row below the root, {} being what column `file` says
    delimiter  between the labels of one row; without it a row has one label
    header     the column names of a CSV that has none
    """
    tables = {None: csv} if isinstance(csv, str) else dict(csv)
    rows: list[Found] = []
    faults: list[Fault] = []
    listed: set[str] = set()
    for name_of_part, name in tables.items():
        if name_of_part is not None and name_of_part not in PART_NAMES:
            raise PipelineError(f"images.csv: {near_matches(str(name_of_part), PART_NAMES)}")
        table = _read(root / name, separator, header, [file, label, part, group])
        for number, row in enumerate(table.to_dict("records"), start=1 if header else 2):
            text = row[label]
            labels = [text] if delimiter is None else text.split(delimiter)
            found = Found(
                file=path.replace("{}", row[file]),
                labels=tuple(dict.fromkeys(tag.strip() for tag in labels if tag.strip())),
                part=name_of_part if part is None else part_of(row[part]),
                group=None if group is None else row[group] or None,
            )
            listed.add(found.file)
            if reason := _row_fault(root, found, part, row.get(part or "", "")):
                faults.append(Fault(f"{name} row {number}: {found.file}", reason))
            else:
                rows.append(found)
    images, repeated = _once(rows)
    faults += repeated + _unlisted(root, images, listed, ", ".join(tables.values()))
    return Source(images, FolderReader(root), faults)


def huggingface(
    root: Path, image: str = "image", label: str = "label", group: str | None = None
) -> Source:
    """What `save_to_disk` wrote; the splits of a DatasetDict are the parts."""
    try:
        import datasets
    except ImportError:
        raise PipelineError(f"{root}: reading it needs `pip install datasets`") from None
    try:
        loaded = datasets.load_from_disk(str(root))
    except FileNotFoundError:
        raise PipelineError(f"{root}: no Hugging Face dataset saved here") from None
    splits = loaded if isinstance(loaded, dict) else {"": loaded}
    images, place = [], {}
    for split, rows in splits.items():
        for column in filter(None, (image, label, group)):
            if column not in rows.column_names:
                raise PipelineError(
                    f"{root}: no column {column!r}: {near_matches(column, rows.column_names)}"
                )
        feature = rows.features[label]
        feature = getattr(feature, "feature", feature)  # of a list: that of its elements
        names = getattr(feature, "names", None)
        groups = [None] * len(rows) if group is None else rows[group]
        encoded = rows.cast_column(image, datasets.Image(decode=False))
        for number, (value, of_group) in enumerate(zip(rows[label], groups, strict=True)):
            values = value if isinstance(value, list) else [value]
            labels = tuple(_text(each, names) for each in values if each is not None)
            file = f"{split or 'row'}/{number:07d}"
            place[file] = (encoded, number)
            images.append(
                Found(file, labels, part_named(split), None if of_group is None else str(of_group))
            )
    return Source(images, _RowReader(place, image))


@dataclass(frozen=True)
class _RowReader:
    """Reads the encoded images of Hugging Face datasets."""

    place: dict[str, tuple[Any, int]]  # of each file: the dataset, the row
    column: str

    def __call__(self, file: str) -> bytes:
        rows, number = self.place[file]
        value = rows[number][self.column]
        data: bytes | None = value["bytes"]
        return Path(value["path"]).read_bytes() if data is None else data


def _text(value: object, names: list[str] | None) -> str:
    return names[value] if names is not None and isinstance(value, int) else str(value)


def _read(
    path: Path, separator: str, header: list[str] | None, columns: list[str | None]
) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            path,
            sep=separator,
            names=header,
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
        )
    except FileNotFoundError:
        raise PipelineError(f"{path}: no such file") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise PipelineError(f"{path}: {error}") from None
    for column in columns:
        if column is not None and column not in table.columns:
            raise PipelineError(
                f"{path}: no column {column!r}: {near_matches(column, map(str, table.columns))}"
            )
    return table


def part_of(value: str) -> str | None:
    """The part that a cell names, in a column like `split` or like fastai's `is_valid`."""
    return part_named(value) or _BOOLEAN_PARTS.get(value.lower())


def _row_fault(root: Path, found: Found, part_column: str | None, part_value: str) -> str:
    if not (root / found.file).resolve().is_relative_to(root.resolve()):
        return "lies outside the dataset's folder"
    if not (root / found.file).is_file():
        return "no such file"
    if part_column is not None and found.part is None:
        return f"{part_column} is {part_value!r}, which names no part"
    return ""


def _once(rows: list[Found]) -> tuple[list[Found], list[Fault]]:
    """Each file once; a file with two rows that differ is ambiguous and left out."""
    by_file: dict[str, list[Found]] = {}
    for found in rows:
        by_file.setdefault(found.file, []).append(found)
    images, faults = [], []
    for file, same in by_file.items():
        if len(set(same)) == 1:
            images.append(same[0])
        if len(same) > 1:
            differ = "" if len(set(same)) == 1 else " that differ"
            faults.append(Fault(file, f"{len(same)} rows{differ}"))
    return images, faults


def _unlisted(root: Path, images: list[Found], listed: set[str], tables: str) -> list[Fault]:
    """Images that lie in the folders of the usable ones but stand in no row."""
    folders = sorted({Path(image.file).parent for image in images})
    beside = (
        path.relative_to(root).as_posix()
        for folder in folders
        for path in sorted((root / folder).iterdir())
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )
    return [Fault(file, f"not in {tables}") for file in beside if file not in listed]
