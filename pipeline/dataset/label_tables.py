"""Labels in tables that name the images: which file a row means, and what it says of it."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.image_files import (
    FOLDER,
    ImageFiles,
    folder_of,
    grouped,
    path_fault,
    path_in,
    rows_of_folders,
    wanted_path,
)
from pipeline.dataset.sources import (
    Fault,
    FolderReader,
    Found,
    Source,
    check_part,
    in_class_folders,
    part_named,
    part_on_the_way,
    without_test,
)
from pipeline.dataset.table_files import read_table

COUNTS = re.compile(r"(n|nr|num|number|sum|total)_.*|(.*_)?(count|total|sum)")
_TEXT = re.compile(r"""'([^'\\]*)'|"([^"\\]*)\"""")
_TEXTS = re.compile(rf"\[(?:\s*(?:{_TEXT.pattern})\s*(?:,|(?=\])))*\s*\]\s*")
_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "-1", "-1.0", "")
_FLAGS = {  # columns that name one part by yes and the other by no
    "valid": ("valid", "train"),
    "val": ("valid", "train"),
    "validation": ("valid", "train"),
    "test": ("test", "train"),
    "train": ("train", "valid"),
    "training": ("train", "valid"),
}


def in_table(
    root: Path,
    table: str | Sequence[str] | Mapping[str, str | Sequence[str]],
    file: str,
    label: str | Sequence[str],
    path: str | Mapping[str, str] = "{}",
    suffix: str = "same",
    case: str = "same",
    prefix: str | None = None,
    remove: str | None = None,
    delimiter: str | None = None,
    rows: str = "one",
    no_label: Sequence[str] = (),
    part: str | None = None,
    parts: Mapping[str, Sequence[str]] | None = None,
    part_of_path: bool = False,
    group: str | None = None,
    separator: str | None = None,
    header: Sequence[str] | bool = True,
    unlabelled: Sequence[str] = (),
    layout: str | None = None,
) -> Source:
    """A table with a row per image; `file`, `label`, `part` and `group` are its columns.

    table      below the root; several of them, or those of each part, {train: [a.txt, b.txt]}
    label      a column, or several columns of zeros and ones that are called as the labels are
    path       the image of a row below the root, or one such rule per part: {} is what column
               `file` says, {name} the last part of that path, {folder} the table's own folder;
               `**/` stands for any folders
    suffix     same, or any: `a.jpg` may also mean a.png
    case       same, or any: `A.JPG` may also mean a.jpg
    prefix     what the cells of `file` have before the path, gs://bucket/data/
    remove     a regular expression: what it finds is taken out of the file's name
    delimiter  between the labels of one row; without it a row has one label
    rows       one per image; merge: an image has a row for each of its labels; or folder: `file`
               names a folder, whose images all have the row's labels; without `group` they, or
               those in a folder that is called like a patient, stay together
    no_label   cells that mean that there is no label
    parts      the cells of column `part` by what they mean, {train: [0, 1], valid: [2]}, where
               they do not name the parts themselves
    part_of_path  whether a folder on the way to the image, or the first word of its name, says
               the part
    separator  between the cells of a text file; by default its suffix says
    header     the columns' names where the table has none; false calls them column 1, column 2, ...
    unlabelled tables of images that have no label
    layout     what the folders of images that no row names mean, as in `in_class_folders`; of
               numbers 00007 is the table's 7
    """
    _check(suffix=(suffix, ("same", "any")), case=(case, ("same", "any")))
    _check(rows=(rows, ("one", "merge", "folder")))
    index = ImageFiles(root)
    labels_of = _label_reader(label, delimiter, no_label)
    part_of_row = _part_reader(part, parts)

    def read(row: dict[Any, Any], said: str | None, folder: str) -> tuple[Found, list[str], str]:
        """The image of a row, the files that fit, and why it cannot be used, empty if it can."""
        if part is not None:
            said = part_of_row(row[part])
        rule = path if isinstance(path, str) else path.get(said or "", "{}")
        wanted = wanted_path(rule, row[file], folder, prefix, remove)
        fitting = index.find(wanted, suffix == "any", case == "any")
        where = fitting[0] if len(fitting) == 1 else wanted
        if part_of_path:
            said = part_on_the_way(where)
        labels, reason = labels_of(row)
        reason = reason or path_fault(root, where, fitting)
        if part is not None and said is None and not reason:
            reason = f"{part} is {row[part]!r}, which names no part"
        own = FOLDER if group is None and rows == "folder" else group
        of_group = None if own is None else str(row[own]).strip() or None
        return Found(where, labels, said, of_group), fitting, reason

    found: list[Found] = []
    faults: list[Fault] = []
    listed: set[str] = set()
    for name_of_part, name in _tables(table):
        frame = _checked_table(root / name, separator, header, [file, part, group], label)
        if rows == "folder":
            frame = rows_of_folders(frame, file, index)
        start = 2 if header is True else 1
        for number, row in zip(frame.index + start, frame.to_dict("records"), strict=True):
            image, fitting, reason = read(row, name_of_part, folder_of(name))
            listed.update(fitting)
            if reason:
                faults.append(Fault(f"{name} row {number}: {image.file}", reason))
            else:
                found.append(image)
    images, repeated = _merged(found) if rows == "merge" else _once(found)
    images, without = without_test(images)
    if layout is not None:
        others = _in_other_folders(root, layout, images, listed)
        images += others.images
        faults += others.faults
        without += others.unlabelled
        listed.update(image.file for image in others.images)
    for name in unlabelled:
        without += _named(root, name, path, index)
    used = {image.file for image in images}
    without = [each for each in dict.fromkeys(without) if each not in used]
    beside = index.beside(images, listed.union(without))
    tables = ", ".join(name for _, name in _tables(table))
    faults += repeated + [Fault(each, f"not in {tables}") for each in beside]
    return Source(images, FolderReader(root), faults, without)


def _in_other_folders(
    root: Path, layout: str, images: Sequence[Found], listed: Collection[str]
) -> Source:
    """What the folders say of the images that are not listed, in the labels of those that are."""
    source = in_class_folders(root, layout=layout)
    labels = {label for image in images for label in image.labels}
    folders = {label for image in source.images for label in image.labels}
    plain = _numbers(labels, folders, layout)
    others = [
        replace(
            image,
            labels=tuple(plain.get(each, each) for each in image.labels),
            part=image.part or part_on_the_way(image.file),
        )
        for image in source.images
        if image.file not in listed
    ]
    faults = [each for each in source.faults if each.file not in listed]
    return replace(source, images=others, faults=faults)


def _numbers(labels: set[str], folders: set[str], layout: str) -> dict[str, str]:
    """What a table that writes no zeros before its numbers calls the folders: 00007 is its 7.

    Each number of the table is that of one folder; empty where none is written in two ways.
    """
    plain = {each: str(int(each)) for each in labels | folders if each.isdecimal()}
    if len(plain) < len(labels | folders) or len(set(plain.values())) == len(plain):
        return {}
    of_folders = grouped(sorted(folders), plain.__getitem__)
    several = [same for same in of_folders.values() if len(same) > 1]
    lacking = sorted(labels - of_folders.keys(), key=int)
    if not several and not lacking:
        return plain
    what = "of which no folder has the number of " + ", ".join(lacking[:4])
    if several:
        what = f"and folders {' and '.join(several[0])} are the same number"
    of_table, of_layout = (sorted(sorted(each), key=int) for each in (labels, folders))
    raise PipelineError(
        f"layout {layout}: the table says {of_table[0]} to {of_table[-1]}, the folders say "
        f"{of_layout[0]} to {of_layout[-1]}, {what}: rename the folders, or write the labels of "
        "the table as they say them"
    )


def one_text(cell: Any) -> str:
    """A cell's text; of a list of one text, that one."""
    if isinstance(cell, tuple) and len(cell) < 2:
        return "".join(cell).strip()
    return str(cell).strip()


def part_of(value: str, column: str = "is_valid") -> str | None:
    """The part that a cell names; in a column like `is_test`, yes and no name one."""
    if named := part_named(value.replace("-", "").replace("_", "")):
        return named
    yes, no = _FLAGS.get(column_key(column).removeprefix("is_"), (None, None))
    word = value.strip().lower()
    return yes if word in _YES else no if word in _NO and word else None


def column_key(name: object) -> str:
    """A column's name as words: `Patient ID`, `patientId` and `patient-id` are `patient_id`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name).strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def _tables(
    table: str | Sequence[str] | Mapping[str, str | Sequence[str]],
) -> list[tuple[str | None, str]]:
    """The part and the name of each table."""
    found: list[tuple[str | None, str]] = []
    for part, names in table.items() if isinstance(table, Mapping) else [(None, table)]:
        check_part("table", part)
        found += [(part, str(name)) for name in ([names] if isinstance(names, str) else names)]
    return found


def _check(**keys: tuple[str, Sequence[str]]) -> None:
    for key, (value, choices) in keys.items():
        if value not in choices:
            raise PipelineError(f"images.{key}={value}: write {' or '.join(choices)}")


def _checked_table(
    path: Path,
    separator: str | None,
    header: Sequence[str] | bool,
    columns: Iterable[str | None],
    label: str | Sequence[str],
) -> pd.DataFrame:
    table = read_table(path, separator, header)
    labels = [label] if isinstance(label, str) else list(label)
    for column in [*columns, *labels]:
        if column is not None and column not in table.columns:
            near = near_matches(column, map(str, table.columns))
            raise PipelineError(f"{path}: no column {column!r}: {near}")
    if isinstance(label, str):
        table = with_lists(table, [label])
        if any(isinstance(cell, tuple) for cell in table[label]) and (odd := no_list(table, label)):
            raise PipelineError(f"{path}: {odd}")
    return table


def with_lists(table: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """With tuples in these columns where a cell is a list as text."""
    return table.assign(
        **{each: pd.Series(map(_listed, table[each]), table.index, object) for each in columns}
    )


def _listed(cell: Any) -> Any:
    """A cell; as a tuple, a list of texts as Python or JSON write it, or several choices."""
    if isinstance(cell, str) and cell.startswith(("[", '{"choices"')):
        if _TEXTS.fullmatch(cell):
            return tuple(one or other for one, other in _TEXT.findall(cell))
        with suppress(ValueError, RecursionError):
            value = json.loads(cell)
            found = value.get("choices") if isinstance(value, dict) else value
            if isinstance(found, list) and all(isinstance(each, str) for each in found):
                return tuple(found)
    return cell


def no_list(table: pd.DataFrame, label: str) -> str:
    """What is wrong with a cell that looks like a list and is none; empty where some are names."""
    cells = [cell for cell in table[label] if cell != ""]
    odd = [cell for cell in cells if isinstance(cell, str) and cell.startswith(("[", "{"))]
    if not odd or (len(odd) < len(cells) and not any(isinstance(cell, tuple) for cell in cells)):
        return ""
    return (
        f"column {label} holds {odd[0][:60]}, which is no list of texts in quotation marks: write "
        "one such as ['cat', 'dog'], or the labels with | between them"
    )


Labels = tuple[tuple[str, ...], str]  # and why the cell gives none


def _label_reader(
    label: str | Sequence[str], delimiter: str | None, no_label: Sequence[str]
) -> Callable[[Mapping[Any, Any]], Labels]:
    """A function from a row to its labels."""
    none = {str(each) for each in no_label}

    def of_columns(row: Mapping[Any, Any]) -> Labels:
        found = []
        for column in label:
            cell = str(row[column]).strip().lower()
            if cell not in _YES + _NO:
                return (), f"{column} is {row[column]!r}, which is neither 1 nor 0"
            if cell in _YES:
                found.append(column.strip())
        return tuple(found), ""

    def of_cell(row: Mapping[Any, Any]) -> Labels:
        cell = row[label]
        if isinstance(cell, tuple):
            words: Sequence[str] = cell
        else:
            words = [cell] if delimiter is None else cell.split(delimiter)
        kept = (word.strip() for word in words)
        return tuple(dict.fromkeys(word for word in kept if word and word not in none)), ""

    return of_cell if isinstance(label, str) else of_columns


def _part_reader(
    column: str | None, parts: Mapping[str, Sequence[str]] | None
) -> Callable[[Any], str | None]:
    meant: dict[str, str] = {}
    for part, cells in (parts or {}).items():
        check_part("parts", part)
        for cell in [cells] if isinstance(cells, str) else cells:
            meant[str(cell)] = part
    if meant:
        return lambda value: meant.get(one_text(value))
    return lambda value: part_of(one_text(value), column or "")


def _merged(rows: Sequence[Found]) -> tuple[list[Found], list[Fault]]:
    """Each file once, with the labels of all its rows."""
    images, faults = [], []
    for file, same in grouped(rows, lambda found: found.file).items():
        labels = tuple(dict.fromkeys(label for each in same for label in each.labels))
        if len({(each.part, each.group) for each in same}) > 1:
            faults.append(Fault(file, f"{len(same)} rows that differ in part or group"))
        else:
            images.append(Found(file, labels, same[0].part, same[0].group))
    return images, faults


def _once(rows: Sequence[Found]) -> tuple[list[Found], list[Fault]]:
    """Each file once; a file with two rows that differ is ambiguous and left out."""
    images, faults = [], []
    for file, same in grouped(rows, lambda found: found.file).items():
        if len(set(same)) == 1:
            images.append(same[0])
        if len(same) > 1:
            differ = "" if len(set(same)) == 1 else " that differ"
            faults.append(Fault(file, f"{len(same)} rows{differ}"))
    return images, faults


def _named(root: Path, name: str, path: str | Mapping[str, str], index: ImageFiles) -> list[str]:
    """The images that any cell of a table names."""
    table = read_table(root / name)
    found = []
    for column in table:
        for cell in (column, *table[column]):  # there may be no header
            for text in dict.fromkeys((str(cell), str(cell).partition(" ")[0])):
                wanted = "**/" + path_in(text).rpartition("/")[2]
                if wanted != "**/":
                    found += index.find(wanted, any_suffix=True, any_case=True)[:1]
    return found


def may_be_label(cells: pd.Series, n_rows: int) -> bool:
    """Some cells repeat, and it is not one value, nor a measurement."""
    texts = [str(cell).strip() for cell in cells if cell != ""]
    n_values = len(set(texts))
    if n_values < 2 or n_values > 0.7 * n_rows:
        return False
    return not any(re.fullmatch(r"-?\d+\.\d*[1-9]\d*", text) for text in texts[:1000])


def ones(table: pd.DataFrame, flags: Sequence[str]) -> np.ndarray:
    """How many of these columns hold a one, per row, [rows]."""
    ones = [[str(cell).strip() in ("1", "1.0") for cell in table[flag]] for flag in flags]
    return np.array(ones).sum(axis=0)


def is_number(cells: Any) -> bool:
    return all(re.fullmatch(r"-?\d+(\.\d+)?", str(cell).strip() or "0") for cell in cells)


def is_grade(cells: pd.Series, sums: np.ndarray) -> bool:
    """Whether they are the numbers of three or more classes: 0, 1, 2, 3; not counts of flags."""
    texts = {str(cell).strip() for cell in cells} - {""}
    found = {int(text) for text in texts if text.isdecimal()}
    if COUNTS.fullmatch(column_key(cells.name)) or list(map(str, sums)) == list(map(str, cells)):
        return False
    return len(found) == len(texts) > 2 and min(found) < 2 and max(found) - min(found) < len(found)
