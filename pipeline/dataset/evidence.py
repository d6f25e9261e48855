"""The tables in a folder that name images, and what they say together."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import chain, combinations
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.dataset import table_files
from pipeline.dataset.columns import Meaning, meaning, says_more
from pipeline.dataset.image_files import ImageFiles, stem
from pipeline.dataset.naming import Hints, Naming, Unclear, listed, naming, part_in_name
from pipeline.dataset.sources import PART_NAMES, part_of_folder, suffix_of
from pipeline.dataset.table_files import (
    TEXT,
    NotATable,
    plain_separator,
    read_table,
    table_of,
    text_rows,
)

IN_TABLE = "pipeline.dataset.label_tables.in_table"
MOST_TABLES = 200
FEWEST_LISTED = 0.02  # of the images, in lists of valid and test alone


@dataclass(frozen=True)
class Named:
    """A table that names images."""

    name: str
    frame: pd.DataFrame
    keys: dict[str, Any]  # of `in_table`: separator and header, where they are not the plain ones
    naming: Naming
    meaning: Meaning | None
    unclear: Unclear | None = None

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

    def as_list(self) -> "Named":
        """As a list of images, whatever else its rows say."""
        return replace(self, meaning=None, unclear=None)

    def labels(self) -> dict[str, str]:
        """The label of each file, as text."""
        assert self.meaning is not None
        label = self.meaning.keys["label"]
        columns = [label] if isinstance(label, str) else label
        cells = (map(str, self.frame[column]) for column in columns)
        texts = ("|".join(row) for row in zip(*cells, strict=True))
        rows = zip(self.naming.of_row, texts, strict=True)
        return {file: text for file, text in rows if file is not None}


def tables_in(root: Path, others: Sequence[str], index: ImageFiles, hints: Hints) -> list[Named]:
    """The tables that name images; with `--table none` only those that are lists of a part."""
    wanted = [path for path in others if Path(path).suffix.lower() in table_files.SUFFIXES]
    if hints.table not in (None, "none"):
        if not (root / str(hints.table)).is_file():
            raise PipelineError(f"{root / str(hints.table)}: no such file")
        wanted = [str(hints.table)]
    looked = (_look(root, path, index, hints) for path in wanted[:MOST_TABLES])
    found = [each for each in looked if each is not None]
    if hints.table != "none":
        return found
    return [each.as_list() for each in found if each.part_of_list]


def _look(root: Path, name: str, index: ImageFiles, hints: Hints) -> Named | None:
    """A table read in the way in which it names the most images; None if it names none."""
    path, best = root / name, None
    suffix = path.suffix.lower()
    ways: Sequence[str | None] = [None]
    if suffix in table_files.TEXT:
        blanks = [" "] if suffix in (".txt", ".lst") else []
        ways = [",", *table_files.separators_in(path), *blanks]
    unclear: Unclear | None = None
    for separator in ways:
        try:
            keys, frame = _read(path, separator, index)
            naming_column = naming(frame, index, name, hints)
        except NotATable:
            continue
        except Unclear as error:
            unclear = unclear or error
            continue
        if naming_column is None:
            continue
        better = best is None or (naming_column.count, frame.shape[1]) > (
            best.naming.count,
            best.frame.shape[1],
        )
        if better:
            best = Named(name, frame, keys, naming_column, None)
    if best is None:
        if unclear is not None:
            raise unclear
        return None
    if suffix in (".txt", ".md") and best.naming.count < max(2, 0.5 * len(best.frame)):
        return None  # words in a text that happen to be names
    try:
        return replace(best, meaning=meaning(best.frame, best.naming, name, hints))
    except Unclear as error:
        return replace(best, unclear=error)


def _read(
    path: Path, separator: str | None, index: ImageFiles
) -> tuple[dict[str, Any], pd.DataFrame]:
    """A table, and the keys by which `in_table` reads it so again."""
    if separator is None:
        return {}, read_table(path)
    plain = separator == plain_separator(path)
    keys: dict[str, Any] = {} if plain else {"separator": separator}
    rows = text_rows(path, separator)
    if not rows or (max(map(len, rows)) < 2 and separator != ","):
        raise NotATable(f"{path}: one column")
    if any(_is_file(cell, index) for cell in rows[0]):
        keys["header"] = False
    return keys, table_of(path, rows, keys.get("header", True))


def _is_file(cell: str, index: ImageFiles) -> bool:
    name = cell.strip().replace("\\", "/").rpartition("/")[2].partition("?")[0].lower()
    if name in index.by_name:
        return True
    known = name in index.by_stem or stem(name) in index.by_stem
    return known and any(map(str.isdigit, name))


Read = tuple[dict[str, Any], str, str, dict[str, str]]  # keys, kind, rule, label of each file


def said_together(
    root: Path, tables: Sequence[Named], index: ImageFiles, hints: Hints, notes: list[str]
) -> Read | None:
    """What the tables say together; None where none has labels."""
    if unclear := next((each.unclear for each in tables if each.unclear), None):
        raise unclear
    labelled = [each for each in tables if each.meaning is not None]
    others = [each for each in tables if each.meaning is None]
    if len(labelled) > 1:
        drafts = [each for each in labelled if _is_placeholder(each, labelled)]
        labelled = [each for each in labelled if each not in drafts]
        others += drafts
    if not labelled:
        return None
    group = _of_one_shape(labelled)
    if group is None:
        group = [_of_one_content(labelled)]
        notes += [f"{each.name} says the same" for each in labelled if each not in group]
    images, kind, rule = _combined(group, notes)
    named = frozenset[str]().union(*(each.naming.files for each in group))
    unlabelled = []
    split = {"part", "part_of_path"} & images.keys() or isinstance(images["table"], dict)
    lists: dict[str, list[str]] = {}
    if hints.lists is not None or (hints.table is None and not split):
        lists = lists_of_parts(root, others, named, index, hints)
        rule += with_lists(images, lists)
    others = [each for each in others if each.name not in chain(*lists.values())]
    for each in others:
        refuse_lost_columns([each])
        if new := each.naming.files - named:
            unlabelled.append(each.name)
            notes.append(f"{each.name} names {len(new)} other images and gives them no label")
        else:
            notes.append(f"{each.name} names the same images and gives no label")
    if unlabelled:
        images["unlabelled"] = unlabelled
    few = len(named) < 0.5 * len(index.files) or any(
        each.naming.count < 0.5 * len(each.frame) for each in group
    )
    if few and hints.table is None:
        rows = sum(len(each.frame) for each in group)
        unnamed = (
            len(index.files) - len(named) - sum(len(each.naming.files - named) for each in others)
        )
        if len(named) < 0.5 * rows:
            raise Unclear(
                f"{group[0].name} names {len(named)} of {len(index.files)} images in {rows} rows: "
                f"write --table {group[0].name} to use it all the same, or --table none for the "
                "folders"
            )
        if unnamed:
            notes.append(f"{unnamed} of {len(index.files)} images are in no table and are not used")
    labels: dict[str, str] = {}
    for each in group:
        labels |= each.labels()
    return images, kind, rule, labels


def _is_placeholder(table: Named, all_of_them: Sequence[Named]) -> bool:
    """A contest's sample submission: other images than the rest, all with one label."""
    others = [each for each in all_of_them if each is not table]
    apart = not any(table.naming.files & each.naming.files for each in others)
    called = "submission" in table.name.lower() or "submit" in table.name.lower()
    return called or (apart and len(set(table.labels().values())) == 1 and table.part == "test")


def _of_one_shape(tables: Sequence[Named]) -> list[Named] | None:
    """Tables with the same columns for different images: one per part, or one per folder."""
    columns = {tuple(each.frame.columns) for each in tables}
    if len(tables) == 1:
        return list(tables)
    files = sum(len(each.naming.files) for each in tables)
    if len(columns) > 1 or files > len(frozenset().union(*(t.naming.files for t in tables))):
        return None
    keys = ("file", "label", "part", "group", "separator", "header", "suffix", "case", "prefix")
    shapes = [
        {key: value for key, value in {**each.keys, **each.meaning.keys}.items() if key in keys}
        for each in tables
        if each.meaning is not None
    ]
    if any(shape != shapes[0] for shape in shapes):
        return None
    return list(tables)


def _of_one_content(tables: Sequence[Named]) -> Named:
    """Of tables that say the same the one that names the most; else `Unclear`."""
    ordered = sorted(tables, key=lambda each: (-len(each.naming.files), each.name))
    first = ordered[0].labels()
    for other in ordered[1:]:
        theirs = other.labels()
        if any(first.get(file) != label for file, label in theirs.items()):
            file = next(file for file, label in theirs.items() if first.get(file) != label)
            raise Unclear(
                f"{ordered[0].name} and {other.name} both give labels, and not the same ones "
                f"({file}: {first.get(file, 'none')!r} and {theirs[file]!r}): write --table "
                f"{ordered[0].name} or --table {other.name}"
            )
    return ordered[0]


def _combined(group: Sequence[Named], notes: list[str]) -> tuple[dict[str, Any], str, str]:
    """The keys of `in_table` for one table, or several of one shape."""
    first = group[0]
    assert first.meaning is not None
    images: dict[str, Any] = {"_target_": IN_TABLE, "table": first.name}
    images |= first.meaning.keys | first.keys
    kinds = {each.meaning.kind for each in group if each.meaning}
    parts = [each.part or "" for each in group]
    if len(group) > 1:
        paths = [each.meaning.keys["path"] for each in group if each.meaning]
        for key in ("delimiter", "rows", "no_label"):
            for each in group:
                if each.meaning and key in each.meaning.keys:
                    images[key] = each.meaning.keys[key]
        if "" not in parts and len(set(parts)) == len(parts) and "part" not in images:
            images["table"] = {str(each.part): each.name for each in group}
            images["path"] = dict(zip(parts, paths, strict=True))
        else:
            images["table"] = [each.name for each in group]
        if len(set(paths)) == 1:
            images["path"] = paths[0]
        elif isinstance(images["table"], list):
            raise Unclear(
                f"{listed(each.name for each in group)} name their images in different ways: "
                "write one table"
            )
    elif "part" not in images and (folders := _parts_of_paths(first.naming.files)):
        images["part_of_path"] = True
        notes.append(f"the folders {listed(folders)} give the part")
    if images["path"] == "{}":
        del images["path"]
    evidence = "; ".join(first.meaning.evidence)
    names = ", ".join(each.name for each in group)
    ends = ", cells end with ;" if images.get("separator") == ";" else ""
    rule = f"{names}{ends}: {evidence}"
    return images, "multi" if "multi" in kinds else "single", rule


def _parts_of_paths(files: frozenset[str]) -> list[str]:
    """The folders that name parts, where every file lies below one and there is a train part."""
    found = set()
    for file in files:
        parts = [name for name in file.split("/")[:-1] if part_of_folder(name)]
        if len(parts) != 1:
            return []
        found.add(parts[0])
    meant = {part_of_folder(name) for name in found}
    return sorted(found) if "train" in meant and len(meant) > 1 else []


def refuse_lost_columns(tables: Sequence[Named]) -> None:
    """A table without labels that splits or groups the images is not left aside."""
    for each in tables:
        if more := says_more(each.frame, each.naming, each.name):
            raise Unclear(
                f"{each.name} gives no label, but {more}: put that into the table of the labels, "
                "or write --table with the table to use (none: the folders alone)"
            )


def lists_of_parts(
    root: Path,
    tables: Sequence[Named],
    labelled: Collection[str],
    index: ImageFiles,
    hints: Hints,
) -> dict[str, list[str]]:
    """The lists that name the images of each part, `train.txt` and `test.txt`, by the part.

    Those of option --lists, else what lies there and names images of which most are `labelled`:
    empty where no list is of valid or test, or where lists without one of train name next to none.
    """
    if hints.lists is not None:
        tables = [_list_asked(root, name, index, hints) for name in hints.lists.split(",")]
    elif hints.part == "none":
        return {}
    lists = [
        each
        for each in tables
        if each.part_of_list and each.meaning is None
        if len(each.naming.files.intersection(labelled)) >= 0.5 * len(each.naming.files)
    ]
    if {"train", "valid"} <= {each.part_of_list for each in lists if not each.of_both}:
        lists = [each for each in lists if not each.of_both]
    parts = {each.part_of_list for each in lists}
    named = frozenset[str]().union(*(each.naming.files for each in lists))
    few = "train" not in parts and len(named) < FEWEST_LISTED * len(labelled)
    if not parts & {"valid", "test"} or (few and hints.lists is None):
        return {}
    for one, other in combinations(lists, 2):
        if one.part_of_list != other.part_of_list and one.naming.files & other.naming.files:
            first: dict[str | None, str] = {}
            for each in _in_order(lists):
                first.setdefault(each.part_of_list, each.name)
            raise Unclear(
                f"{one.name} and {other.name} both name "
                f"{min(one.naming.files & other.naming.files)}: write --lists "
                f"{','.join(first.values())} (or other lists, one per part), or --part none to "
                "split the images anew"
            )
    found: dict[str, list[str]] = {}
    for each in _in_order(lists):
        if suffix_of(each.name) not in TEXT:
            raise Unclear(
                f"{each.name} splits the images into parts, which is read from lists of text: "
                "write one name per line, or --part none to split the images anew"
            )
        found.setdefault(str(each.part_of_list), []).append(each.name)
    return found


def _list_asked(root: Path, name: str, index: ImageFiles, hints: Hints) -> Named:
    if not (root / name).is_file():
        raise PipelineError(f"{root / name}: no such file")
    found = _look(root, name, index, hints)
    if found is None:
        raise Unclear(f"--lists: {name} names no images")
    if found.part_of_list is None:
        raise Unclear(f"--lists: {name} is not called like a part: train, valid or test")
    return found.as_list()


def _in_order(lists: Sequence[Named]) -> list[Named]:
    """train2.txt before train10.txt, and train before valid before test."""
    order = list(PART_NAMES)
    return sorted(
        lists, key=lambda each: (order.index(str(each.part_of_list)), len(each.name), each.name)
    )


def with_lists(images: dict[str, Any], lists: dict[str, list[str]]) -> str:
    """Put the key `lists` into `images`, where there are any; what to add to the rule in words."""
    if not lists:
        return ""
    images["lists"] = {
        part: names[0] if len(names) == 1 else names for part, names in lists.items()
    }
    return f"; {listed(chain(*lists.values()))} give the parts"
