"""Labels in tables that name the images: which file a row means, and what it says of it."""

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.image_files import (
    FOLDER,
    ImageFiles,
    folder_of,
    path_fault,
    path_in,
    rows_of_folders,
    wanted_path,
)
from pipeline.dataset.sources import (
    Fault,
    FolderReader,
    LabelledImage,
    Source,
    as_list,
    check_part,
    grouped,
    in_class_folders,
    part_named,
    part_on_the_way,
    without_test,
    words,
)
from pipeline.dataset.table_files import read_table

COUNTS = re.compile(r"(n|nr|num|number|sum|total)_.*|(.*_)?(count|total|sum)")
_TEXT = re.compile(r"""'([^'\\]*)'|"([^"\\]*)\"""")
_TEXTS = re.compile(rf"\[(?:\s*(?:{_TEXT.pattern})\s*(?:,|(?=\])))*\s*\]\s*")
_YES, _NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "-1", "-1.0", "")
_FLAGS = words("valid val validation test train training")  # columns of yes and no


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
    for key, value, choices in (
        ("suffix", suffix, ("same", "any")),
        ("case", case, ("same", "any")),
        ("rows", rows, ("one", "merge", "folder")),
    ):
        if value not in choices:
            raise PipelineError(f"images.{key}={value}: write {' or '.join(choices)}")
    index, tables = ImageFiles(root), _tables(table)
    part_of_cell = _parts_by_cell(parts or {})
    not_labels = frozenset(map(str, no_label))
    group_column = FOLDER if rows == "folder" and group is None else group

    def read(row: dict[Any, Any], part_of_row: str | None, folder: str) -> _Row:
        if part is not None:
            cell = one_text(row[part])
            part_of_row = part_of_cell.get(cell) if part_of_cell else part_of(cell, part)
        rule = path if isinstance(path, str) else path.get(part_of_row or "", "{}")
        wanted = wanted_path(rule, row[file], folder, prefix, remove)
        fitting = index.find(wanted, suffix == "any", case == "any")
        where = fitting[0] if len(fitting) == 1 else wanted
        if part_of_path:
            part_of_row = part_on_the_way(where)
        labels, reason = _labels_in_row(row, label, delimiter, not_labels)
        reason = reason or path_fault(root, where, fitting)
        if part is not None and part_of_row is None and not reason:
            reason = f"{part} is {row[part]!r}, which names no part"
        group_of_row = None if group_column is None else str(row[group_column]).strip() or None
        return _Row(LabelledImage(where, labels, part_of_row, group_of_row), fitting, reason)

    found: list[LabelledImage] = []
    faults: list[Fault] = []
    named: set[str] = set()
    for part_of_table, name in tables:
        frame = _checked_table(root / name, separator, header, [file, part, group], label)
        if rows == "folder":
            frame = rows_of_folders(frame, file, index)
        first_row = 2 if header is True else 1
        for number, cells in zip(frame.index + first_row, frame.to_dict("records"), strict=True):
            row = read(cells, part_of_table, folder_of(name))
            named.update(row.fitting)
            if row.reason:
                faults.append(Fault(f"{name} row {number}: {row.image.file}", row.reason))
            else:
                found.append(row.image)
    images, repeated = _merged(found) if rows == "merge" else _once(found)
    images, without_label = without_test(images)
    if layout is not None:
        others = _in_other_folders(root, layout, images, named)
        images += others.images
        faults += others.faults
        without_label += others.unlabelled
        named.update(image.file for image in others.images)
    for name in unlabelled:
        without_label += _named_images(root, name, path, index)
    used = {image.file for image in images}
    without_label = [each for each in dict.fromkeys(without_label) if each not in used]
    beside = index.beside(images, named.union(without_label))
    not_in = f"not in {', '.join(name for _, name in tables)}"
    faults += [*repeated, *(Fault(each, not_in) for each in beside)]
    return Source(images, FolderReader(root), faults, without_label)


@dataclass(frozen=True)
class _Row:
    """What a row says: the image, the files that fit its cell, and why it cannot be used, if so."""

    image: LabelledImage
    fitting: list[str]
    reason: str


def _tables(
    table: str | Sequence[str] | Mapping[str, str | Sequence[str]],
) -> list[tuple[str | None, str]]:
    """The part and the name of each table."""
    names_of = table if isinstance(table, Mapping) else {None: table}
    for part in names_of:
        check_part("table", part)
    return [(part, str(name)) for part, names in names_of.items() for name in as_list(names)]


def _checked_table(
    path: Path,
    separator: str | None,
    header: Sequence[str] | bool,
    columns: Iterable[str | None],
    label: str | Sequence[str],
) -> pd.DataFrame:
    """The table, with these columns and lists of labels as tuples; raises where either is wrong."""
    table = read_table(path, separator, header)
    for column in [*columns, *as_list(label)]:
        if column is not None and column not in table.columns:
            near = near_matches(column, map(str, table.columns))
            raise PipelineError(f"{path}: no column {column!r}: {near}")
    if isinstance(label, str):
        table = with_lists(table, [label])
        if any(isinstance(cell, tuple) for cell in table[label]) and (odd := no_list(table, label)):
            raise PipelineError(f"{path}: {odd}")
    return table


def with_lists(table: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """The table, with tuples in these columns where a cell is a list written as text."""
    return table.assign(
        **{each: pd.Series(map(_parsed, table[each]), table.index, object) for each in columns}
    )


def _parsed(cell: Any) -> Any:
    """A cell; a list of texts as Python or JSON write it, or several choices, as a tuple."""
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
    """What is wrong with a cell that only looks like a list; empty if such cells are names."""
    cells = [cell for cell in table[label] if cell != ""]
    odd = [cell for cell in cells if isinstance(cell, str) and cell.startswith(("[", "{"))]
    if not odd or (len(odd) < len(cells) and not any(isinstance(cell, tuple) for cell in cells)):
        return ""
    return (
        f"column {label} holds {odd[0][:60]}, which is no list of texts in quotation marks: write "
        "one such as ['cat', 'dog'], or the labels with | between them"
    )


def _parts_by_cell(parts: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """The part that each cell in `parts` stands for."""
    for part in parts:
        check_part("parts", part)
    return {str(cell): part for part, cells in parts.items() for cell in as_list(cells)}


def _labels_in_row(
    row: Mapping[Any, Any],
    label: str | Sequence[str],
    delimiter: str | None,
    no_label: Collection[str],
) -> tuple[tuple[str, ...], str]:
    """The labels of a row, each once, and what is wrong with a cell that is neither yes nor no."""
    if not isinstance(label, str):
        return _labels_in_flags(row, label)
    words: Sequence[str] = row[label] if isinstance(row[label], tuple) else [row[label]]
    if delimiter is not None and not isinstance(row[label], tuple):
        words = row[label].split(delimiter)
    stripped = (word.strip() for word in words)
    return tuple(dict.fromkeys(word for word in stripped if word and word not in no_label)), ""


def _labels_in_flags(row: Mapping[Any, Any], columns: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The columns that say yes, and what is wrong with one that says neither yes nor no."""
    found = []
    for column in columns:
        cell = str(row[column]).strip().lower()
        if cell not in _YES + _NO:
            return (), f"{column} is {row[column]!r}, which is neither 1 nor 0"
        if cell in _YES:
            found.append(column.strip())
    return tuple(found), ""


def _merged(rows: Sequence[LabelledImage]) -> tuple[list[LabelledImage], list[Fault]]:
    """Each file once, with the labels of all its rows."""
    images, faults = [], []
    for file, same in grouped(rows, lambda found: found.file).items():
        if len({(each.part, each.group) for each in same}) > 1:
            faults.append(Fault(file, f"{len(same)} rows that differ in part or group"))
        else:
            labels = dict.fromkeys(chain(*(each.labels for each in same)))
            images.append(replace(same[0], labels=tuple(labels)))
    return images, faults


def _once(rows: Sequence[LabelledImage]) -> tuple[list[LabelledImage], list[Fault]]:
    """Each file once; a file with two rows that differ is ambiguous and left out."""
    images, faults = [], []
    for file, same in grouped(rows, lambda found: found.file).items():
        differ = len(set(same)) > 1
        if not differ:
            images.append(same[0])
        if len(same) > 1:
            faults.append(Fault(file, f"{len(same)} rows{' that differ' if differ else ''}"))
    return images, faults


def _in_other_folders(
    root: Path, layout: str, images: Sequence[LabelledImage], named: Collection[str]
) -> Source:
    """The images that no table names, with the labels of their folders as the tables write them."""
    source = in_class_folders(root, layout=layout)
    of_tables = {label for image in images for label in image.labels}
    of_folders = {label for image in source.images for label in image.labels}
    plain = _without_leading_zeros(of_tables, of_folders, layout)
    others = [
        replace(
            image,
            labels=tuple(plain.get(each, each) for each in image.labels),
            part=image.part or part_on_the_way(image.file),
        )
        for image in source.images
        if image.file not in named
    ]
    faults = [each for each in source.faults if each.file not in named]
    return replace(source, images=others, faults=faults)


def _without_leading_zeros(
    of_tables: set[str], of_folders: set[str], layout: str
) -> dict[str, str]:
    """Each numbered label without leading zeros: a folder 00007 is the table's 7.

    Empty where all are written in one way; raises where a number of the table is not that of
    exactly one folder.
    """
    labels = of_tables | of_folders
    plain = {each: str(int(each)) for each in labels if each.isdecimal()}
    if len(plain) < len(labels) or len(set(plain.values())) == len(plain):
        return {}
    by_number = grouped(sorted(of_folders), plain.__getitem__)
    several = [same for same in by_number.values() if len(same) > 1]
    lacking = sorted(of_tables - by_number.keys(), key=int)
    if not several and not lacking:
        return plain
    what = "of which no folder has the number of " + ", ".join(lacking[:4])
    if several:
        what = f"and folders {' and '.join(several[0])} are the same number"
    in_tables, in_layout = (sorted(sorted(each), key=int) for each in (of_tables, of_folders))
    raise PipelineError(
        f"layout {layout}: the table says {in_tables[0]} to {in_tables[-1]}, the folders say "
        f"{in_layout[0]} to {in_layout[-1]}, {what}: rename the folders, or write the labels of "
        "the table as they say them"
    )


def _named_images(
    root: Path, name: str, path: str | Mapping[str, str], index: ImageFiles
) -> list[str]:
    """The images that any cell of a table names."""
    table = read_table(root / name)
    cells = chain(*((column, *table[column]) for column in table))  # there may be no header
    found = []
    for cell in map(str, cells):
        for text in dict.fromkeys((cell, cell.partition(" ")[0])):
            if own := path_in(text).rpartition("/")[2]:
                found += index.find(f"**/{own}", any_suffix=True, any_case=True)[:1]
    return found


def one_text(cell: Any) -> str:
    """A cell's text; of a list of one text, that one."""
    if isinstance(cell, tuple) and len(cell) < 2:
        return "".join(cell).strip()
    return str(cell).strip()


def part_of(value: str, column: str) -> str | None:
    """The part that a cell names; in a column like `is_test`, yes and no name one."""
    if named := part_named(value):
        return named
    flag, word = column_key(column).removeprefix("is_"), value.strip().lower()
    if flag not in _FLAGS or word not in _YES + _NO or not word:
        return None
    yes = part_named(flag)
    return yes if word in _YES else "valid" if yes == "train" else "train"


def column_key(name: object) -> str:
    """A column's name as words: `Patient ID`, `patientId` and `patient-id` are `patient_id`."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", str(name).strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")


def may_be_label(cells: pd.Series) -> bool:
    """Whether some cells repeat, and they are neither one value nor measurements."""
    texts = [str(cell).strip() for cell in cells if cell != ""]
    if not 2 <= len(set(texts)) <= 0.7 * len(cells):
        return False
    return not any(re.fullmatch(r"-?\d+\.\d*[1-9]\d*", text) for text in texts[:1000])


def is_number(cells: Any) -> bool:
    return all(re.fullmatch(r"-?\d+(\.\d+)?", str(cell).strip() or "0") for cell in cells)


def is_grade(cells: pd.Series, sums: pd.Series) -> bool:
    """Whether they are the numbers of three or more classes: 0, 1, 2, 3; not counts of flags."""
    texts = {str(cell).strip() for cell in cells} - {""}
    found = {int(text) for text in texts if text.isdecimal()}
    if COUNTS.fullmatch(column_key(cells.name)) or list(map(str, sums)) == list(map(str, cells)):
        return False
    return len(found) == len(texts) > 2 and min(found) < 2 and max(found) - min(found) < len(found)


def ones_per_row(table: pd.DataFrame, flags: list[str]) -> pd.Series:
    """How many of these columns hold a one, in each row."""
    return table[flags].map(lambda cell: str(cell).strip() in ("1", "1.0")).sum(axis=1)
