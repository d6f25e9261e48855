"""The tables in a folder that name its images, and the labels that they give together."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import Any

import pandas as pd

from pipeline.dataset import table_files
from pipeline.dataset.columns import LABEL_NAMES, PART_COLUMNS, Meaning, Table, meaning
from pipeline.dataset.file_column import (
    FileColumn,
    Hints,
    NoColumn,
    Unclear,
    find_file_column,
    folder_column,
    part_in_name,
    refuse_words,
)
from pipeline.dataset.folder_names import groups_in
from pipeline.dataset.image_files import (
    ImageFiles,
    rows_of_folders,
    separators_in,
    table_and_keys,
)
from pipeline.dataset.label_tables import column_key, no_list, with_lists
from pipeline.dataset.sources import (
    MOST_SHOWN,
    PART_NAMES,
    as_list,
    grouped,
    listed,
    part_in_words,
    parts_of_paths,
    suffix_of,
)
from pipeline.dataset.table_files import BY_ID, NotATable, is_by_id

IN_TABLE = "pipeline.dataset.label_tables.in_table"
# WordNet's synsets, class_7 and CUB's 001.Black_footed_Albatross
_CLASSES = re.compile(r"n\d{8}|class[-_ ]?\d+|\d+\.[a-z].*", re.I)


@dataclass(frozen=True)
class ImageTable(Table):
    """A table that names images, and what else it says of them."""

    format_keys: dict[str, Any]  # separator and header, where they are not the usual ones
    meaning: Meaning | None = None
    unclear: Unclear | None = None

    @property
    def keys(self) -> dict[str, Any]:
        """The keys of `in_table` that read it."""
        return (self.meaning.keys if self.meaning else {}) | self.format_keys

    @property
    def files(self) -> frozenset[str]:
        """The images that it names."""
        return self.file_column.files

    @property
    def part(self) -> str | None:
        return part_in_name(self.name)

    @property
    def of_both(self) -> bool:
        """Is it, by its name, a list of train and valid together: trainval.txt?"""
        return re.search(r"train[-_ ]?val", self.name.rpartition("/")[2], re.IGNORECASE) is not None

    @property
    def part_of_list(self) -> str | None:
        return "train" if self.of_both else self.part

    @property
    def is_submission(self) -> bool:
        """Is it called like what is to be handed in at a contest: sample_submission.csv?"""
        return "submission" in self.name.lower() or "submit" in self.name.lower()

    def as_list(self) -> "ImageTable":
        """As a list of images, whatever else its rows say."""
        return replace(self, meaning=None, unclear=None)

    def labels(self) -> dict[str, str]:
        """The label of each file, as text."""
        cells = (map(_text, self.frame[column]) for column in as_list(self.keys["label"]))
        texts = ("|".join(row) for row in zip(*cells, strict=True))
        rows = zip(self.file_column.of_row, texts, strict=True)
        return {file: text for file, text in rows if file is not None}


def image_table(name: str, index: ImageFiles, hints: Hints) -> ImageTable | None:
    """A table read with the separator with which it names most images; None if it names none."""
    path = index.root / name
    if _is_of_ids(path):
        return None  # its ids are no names, though images may be called so too
    suffix = suffix_of(name)
    separators: Sequence[str | None] = [None]
    if suffix in table_files.TEXT and not is_by_id(path):
        blanks = [" "] if suffix in (".txt", ".lst") else []
        separators = [",", *separators_in(path), *blanks]
    readings: list[ImageTable] = []
    folders: ImageTable | None = None
    unclear: Unclear | None = None
    for separator in separators:
        try:
            format_keys, frame = table_and_keys(path, separator, index, hints.delimiter)
            file_column = find_file_column(frame, index, name, hints)
        except NotATable:
            continue
        except Unclear as error:
            unclear = unclear or error
            continue
        if file_column is None:
            folders = folders or _of_folders(name, frame, format_keys, index, hints)
            continue
        readings.append(ImageTable(name, frame, file_column, hints, format_keys))
    if not readings:
        if unclear is not None:
            raise unclear
        return folders
    best = max(readings, key=lambda each: (each.file_column.count, each.frame.shape[1]))
    if suffix in (".txt", ".md") and best.file_column.count < max(2, 0.5 * len(best.frame)):
        return None  # words in a text that happen to be names
    best = replace(best, frame=with_lists(best.frame, _may_be_labels(best)))
    try:
        if best.format_keys.get("separator") == " " and hints.delimiter is None:
            refuse_words(best.frame.iloc[:, -1], name)
        best = replace(best, meaning=meaning(best))
        label = best.keys.get("label") if hints.delimiter != "none" else None
        if isinstance(label, str) and (odd := no_list(best.frame, label)):
            raise Unclear(f"{name}: {odd}, or --delimiter none if it is a name")
        return best
    except Unclear as error:
        return replace(best, meaning=None, unclear=error)


def _is_of_ids(path: Path) -> bool:
    """Whether it says something of the ids in an `images.txt` beside it."""
    beside = {*BY_ID[1:], "classes.txt", "bounding_boxes.txt"}
    return path.name in beside and is_by_id(path.with_name(BY_ID[0]))


def _of_folders(
    name: str, frame: pd.DataFrame, format_keys: dict[str, Any], index: ImageFiles, hints: Hints
) -> ImageTable | None:
    """A table whose rows name folders of images; None where these are the classes themselves."""
    if (found := folder_column(frame, index, name, hints)) is None:
        return None
    column, sure = found
    rows = rows_of_folders(frame, column, index)
    of_row = tuple(file if file in index.known else None for file in rows[column])
    files = FileColumn(column, {"path": "{}"}, of_row, 3)
    table = ImageTable(name, frame.loc[rows.index], files, hints, format_keys)
    try:
        said = meaning(table)
    except Unclear as error:
        return replace(table, unclear=error) if sure else None
    if said is None:
        return None
    label = said.keys["label"]
    folders = listed(dict.fromkeys(frame[column]))
    numbers = sorted(int(cell) for cell in frame[column] if str(cell).isdecimal())
    in_a_row = numbers in (list(range(len(frame))), list(range(1, 1 + len(frame))))
    if not sure and (in_a_row or all(map(_CLASSES.fullmatch, frame[column]))):
        return None  # as classes are called
    said.keys["rows"] = "folder"
    said.evidence[0] = f"column {column} names folders ({folders}), whose images stay together"
    table = replace(table, meaning=said)
    if len(set(table.labels().values())) > 0.7 * len(frame) or column_key(column) in LABEL_NAMES:
        return None
    plain = not isinstance(label, str) or column_key(label) in LABEL_NAMES
    if hints.table or (sure and (plain or "header" in format_keys)):
        return table
    asks = Unclear(
        f"{name} names folders ({folders}) and may give the labels of their images in column "
        f"{label}: write --table {quote(name)} if it does, or --table none if the folders are "
        "the classes, or lie in those"
    )
    return replace(table, meaning=None, unclear=asks)


def _may_be_labels(table: ImageTable) -> list[str]:
    """The columns that neither name images nor, by their names, parts or groups."""
    columns, hints = list(table.frame.columns), table.hints
    if hints.label in columns:
        return [hints.label]
    others = {table.file_column.column, hints.part, hints.group, *groups_in(columns)}
    return [each for each in columns if each not in others and column_key(each) not in PART_COLUMNS]


def _text(cell: object) -> str:
    return ", ".join(cell) if isinstance(cell, tuple) else str(cell)


@dataclass(frozen=True)
class LabelTables:
    """The tables in `group`, which give the labels together: keys of `in_table`, and why."""

    images: dict[str, Any]
    kind: str
    rule: str
    group: list[ImageTable]
    same: list[ImageTable]  # that say the same of some of the images
    others: list[ImageTable]  # that give no label

    @property
    def names(self) -> str:
        """The value of --table that chooses them."""
        return quote(",".join(each.name for each in in_order(self.group)))

    @property
    def named(self) -> frozenset[str]:
        return images_named_by(self.group)

    @property
    def labels(self) -> dict[str, str]:
        return {file: label for each in self.group for file, label in each.labels().items()}


def labels_in_tables(
    tables: Sequence[ImageTable], index: ImageFiles, hints: Hints, notes: list[str]
) -> LabelTables | None:
    """The tables that give the labels; None where none does. Two that disagree are `Unclear`."""
    lacking = [each.name for each in tables if isinstance(each.unclear, NoColumn)]
    if len(lacking) < sum(bool(each.meaning or each.unclear) for each in tables):
        tables = [each.as_list() if each.name in lacking else each for each in tables]
    labelled = [each for each in tables if each.meaning is not None]
    if unclear := next((each.unclear for each in tables if each.unclear), None):
        most = max(labelled, key=lambda each: len(each.files), default=None)
        if most and len(most.files) > 0.5 * len(index.files):
            other = quote(_with_its_parts(most, labelled))
            raise Unclear(f"{unclear}; or --table {other} for the labels there")
        raise unclear
    others = [each for each in tables if each.meaning is None]
    placeholders = [each for each in labelled if _is_placeholder(each, labelled)]
    labelled = [each for each in labelled if each not in placeholders]
    if not labelled:
        return None
    group = labelled
    if not _are_of_one_shape(labelled):
        group = [_of_one_content(labelled)]
        notes += [f"{each.name} says the same" for each in labelled if each not in group]
    images = _keys_together(group, hints, notes)
    meanings = [each.meaning for each in group if each.meaning]
    evidence = "; ".join(meanings[0].evidence)
    ends = ", cells end with ;" if images.get("separator") == ";" else ""
    return LabelTables(
        images=images,
        kind="multi" if any(each.kind == "multi" for each in meanings) else "single",
        rule=f"{', '.join(each.name for each in group)}{ends}: {evidence}",
        group=group,
        same=[each.as_list() for each in labelled if each not in group],
        others=others + placeholders,
    )


def _is_placeholder(table: ImageTable, all_of_them: Sequence[ImageTable]) -> bool:
    """A contest's sample submission: other images than the rest, all with one label."""
    others = [each for each in all_of_them if each is not table]
    one = len(set(table.labels().values())) == 1
    if table.is_submission:
        return one or bool(others)
    apart = not any(table.files & each.files for each in others)
    return bool(others) and apart and one and table.part == "test"


def _are_of_one_shape(tables: Sequence[ImageTable]) -> bool:
    """Whether they have the same columns for different images: one per part, or one per folder."""
    if len(tables) == 1:
        return True
    columns = {tuple(each.frame.columns) for each in tables}
    if len(columns) > 1 or sum(len(t.files) for t in tables) > len(images_named_by(tables)):
        return False
    alike = ("file", "label", "part", "group", "separator", "header", "suffix", "case", "prefix")
    shapes = [{key: each.keys.get(key) for key in alike} for each in tables]
    return all(shape == shapes[0] for shape in shapes)


def _of_one_content(tables: Sequence[ImageTable]) -> ImageTable:
    """The table that names most images, where all say the same of them; else `Unclear`."""
    ordered = sorted(tables, key=lambda each: (-len(each.files), each.name))
    first = ordered[0].labels()
    flags = [each.name for each in ordered if set(each.labels().values()) <= {"-1", "0", "1"}]
    for other in ordered[1:]:
        theirs = other.labels()
        if any(first.get(file) != label for file, label in theirs.items()):
            file = next(file for file, label in theirs.items() if first.get(file) != label)
            choices = dict.fromkeys(_with_its_parts(each, tables) for each in (ordered[0], other))
            if len(flags) == len(tables):
                raise Unclear(
                    f"{listed(flags)} say of the images yes and no: write --table "
                    f"{quote(next(iter(choices)))} (or another) if one says all, or, where each is "
                    "the list of one class, one table with a column of file names and a column of "
                    "zeros and ones for each class"
                )
            raise Unclear(
                f"{ordered[0].name} and {other.name} both give labels, and not the same ones "
                f"({file}: {first.get(file, 'none')!r} and {theirs[file]!r}): write "
                + " or ".join(f"--table {quote(each)}" for each in choices)
            )
    return ordered[0]


def _without_part(name: str) -> str:
    """A file's name in small letters, without the words in it that name a part."""
    name = re.sub(r"train[-_ ]?val", "train", name.lower())
    return re.sub(r"[a-z]+", lambda word: "" if part_in_words(word[0]) else word[0], name)


def _with_its_parts(table: ImageTable, tables: Sequence[ImageTable]) -> str:
    """The value of --table for a table and those that are called like it but for the part."""
    alike = [each for each in tables if _without_part(each.name) == _without_part(table.name)]
    parts = [each for each in in_order(each for each in alike if each.part) if not each.of_both]
    together = len(parts) > 1 and len({each.part for each in parts}) == len(parts)
    if together and _are_of_one_shape(parts):
        return ",".join(each.name for each in parts)
    return table.name


def _keys_together(group: Sequence[ImageTable], hints: Hints, notes: list[str]) -> dict[str, Any]:
    """The keys of `in_table` for one table, or several of one shape."""
    images = {"_target_": IN_TABLE, "table": group[0].name, **group[0].keys}
    if len(group) > 1 or hints.layout is not None:
        images |= {
            key: each.keys[key]
            for key in ("delimiter", "rows", "no_label")
            for each in group
            if key in each.keys
        }
        images |= _tables_and_paths(group, "part" in images, hints)
    if not is_split(images) and (
        said := parts_of_paths(images_named_by(group), in_names=hints.part != "none")
    ):
        images["part_of_path"] = True
        notes.append(f"the folders or names {listed(said)} give the part")
    if images["path"] == "{}":
        del images["path"]
    return images


def is_split(images: dict[str, Any]) -> bool:
    """Whether a column or the tables themselves give the parts."""
    return "part" in images or isinstance(images["table"], dict)


def _tables_and_paths(group: Sequence[ImageTable], split: bool, hints: Hints) -> dict[str, Any]:
    """The keys `table` and `path` for several tables, by part where their names say the part."""
    by_part = grouped(in_order(group), lambda each: each.part or "")
    tables = {part: [each.name for each in same] for part, same in by_part.items()}
    paths = {part: {each.keys["path"] for each in same} for part, same in by_part.items()}
    of_rest = [part for part in ("valid", "test") if part in tables]
    if "" in tables and of_rest and not split and hints.part != "none":
        raise Unclear(
            f"{tables[of_rest[0]][0]} is of part {of_rest[0]} by its name, and {tables[''][0]} of "
            "none: call that train.csv, or write --part none to split the images anew"
        )
    if split or "" in tables or (len(tables) == 1 and hints.layout is None):
        tables, paths = {"": sorted(chain(*tables.values()))}, {"": set().union(*paths.values())}
    for part, found in paths.items():
        if len(found) > 1:
            choices = (f"--table {quote(_with_its_parts(each, group))}" for each in group)
            raise Unclear(
                f"{listed(tables[part])} name their images in different ways: write "
                f"{' or '.join(list(dict.fromkeys(choices))[:MOST_SHOWN])}, or one table"
            )
    path = {part: found.pop() for part, found in paths.items()}
    if "" in tables:
        return {"table": tables[""], "path": path[""]}
    one = len(set(path.values())) == 1
    return {
        "table": {part: names[0] if len(names) == 1 else names for part, names in tables.items()},
        "path": next(iter(path.values())) if one else path,
    }


def images_named_by(tables: Iterable[ImageTable]) -> frozenset[str]:
    return frozenset[str]().union(*(each.files for each in tables))


def in_order(tables: Iterable[ImageTable]) -> list[ImageTable]:
    """train2.txt before train10.txt, and train before valid before test."""
    order = [*PART_NAMES, None]
    return sorted(
        tables, key=lambda each: (order.index(each.part_of_list), len(each.name), each.name)
    )
