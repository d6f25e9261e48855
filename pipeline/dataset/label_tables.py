"""Images whose labels stand in a table: a CSV beside them, or a Hugging Face dataset on disk."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.images import SUFFIXES
from pipeline.dataset.sources import PART_NAMES, Fault, FolderReader, Found, Source, part_named

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
