"""What the columns of a table mean: which hold labels, parts (train, valid, test) and groups.

A column's name decides where it is a usual one, else its cells do. Each answer comes with evidence
in words; where there are several, `Unclear` says so and names the option that chooses.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import pandas as pd

from pipeline.core.command import number_of
from pipeline.core.errors import PipelineError
from pipeline.dataset.file_column import (
    FileColumn,
    Hints,
    NoColumn,
    Unclear,
    are_paths,
    in_words,
    refuse_what_is_no_label,
    split_words,
    splits_by_name,
    without_box,
    zeros_and_ones,
)
from pipeline.dataset.folder_names import group_rank, groups_in
from pipeline.dataset.label_tables import (
    COUNTS,
    column_key,
    is_grade,
    is_number,
    may_be_label,
    one_text,
    ones_per_row,
    part_of,
)
from pipeline.dataset.sources import listed, part_named, words
from pipeline.dataset.splits import no_parts
from pipeline.dataset.table_files import BOX

_LABEL_NAMES = """label labels tag tags class classes category categories target class_name
    label_name category_name species breed diagnosis dx y choice choices finding_labels disease
    finding ground_truth display_name class_id label_id category_id class_label image_label
    label_group"""
LABEL_NAMES = _LABEL_NAMES.split()  # in order of preference: see `_one_meaning`
SEVERAL = re.compile(r"(.*_)?(tags|labels|classes|categories|attributes|keywords|findings|genres)")
PART_COLUMNS = words(
    "split splits part set subset fold folds kfold k_fold partition phase usage ml_use data_split "
    "dataset_split is_valid is_val is_validation is_test is_train valid"
)
MAY_BE_PARTS = words("part phase usage")  # of a body, of growth, of a garment
NO_LABELS = PART_COLUMNS - {"valid", "is_valid"}
_SPLITS = re.compile(r"public|private|\d+(\.0)?", re.I)  # the former of Kaggle's contests
_CORNER = re.compile(r"(bbox|bndbox|bounding_box)\w*|[xy](_?(min|1))?|left|top")
_IN_BOX = f'"({"|".join(BOX)})":'
_MEASURES = words("age year score rating price weight height width length size depth angle value")
_NUMBERS_OF_CLASSES = re.compile(r".*(id|code|index|idx|key|group|cluster|class)")
_ANNOTATORS = words("annotator annotator_id worker worker_id rater rater_id reader")
DELIMITERS = ("|", ";", ",", "/", " ")


@dataclass(frozen=True)
class Meaning:
    """What the columns of a table mean: the keys of `in_table` and, in words, why."""

    keys: dict[str, Any]
    kind: str
    evidence: list[str]


@dataclass(frozen=True)
class Table:
    """A table with a column that names images; `name` is its file's, below the root."""

    name: str
    frame: pd.DataFrame
    file_column: FileColumn
    hints: Hints

    @property
    def others(self) -> list[str]:
        """The columns other than that of the images' names."""
        return [column for column in self.frame.columns if column != self.file_column.column]

    def different_cells(self, column: str) -> str:
        """The first few different cells, in words."""
        return listed(dict.fromkeys(map(str, self.frame[column])))

    def check_column(self, name: str) -> None:
        """Raise `NoColumn` where an option names a column that it does not have."""
        if name not in self.frame.columns:
            raise NoColumn(f"{self.name}: no column {name!r}: {listed(self.frame.columns)}")


def meaning(table: Table) -> Meaning | None:
    """What its columns mean; None where the table has no label, `Unclear` where it may have one."""
    frame, names, hints = table.frame, table.file_column, table.hints
    keys: dict[str, Any] = {"file": names.column, **names.rule}
    evidence = [f"{in_words(names.column)} names {names.count} of {len(frame)} rows' images"]
    part = _part_column(table)
    if part is not None:
        keys["part"] = part
        evidence.append(f"{in_words(part)} names the part")
    rest = [column for column in table.others if column != part]
    groups = [column for column in groups_in(rest) if column != hints.label]
    if group := _group_column(table, groups, evidence):
        keys["group"] = group
    rest = [column for column in rest if column not in groups and not are_paths(frame[column])]
    rest = without_box(frame, rest)
    asked = (hints.group, *(hints.label or "").split(","))
    unused = [each for each in rest if column_key(each) in NO_LABELS and each not in asked]
    label = _label_column(table, [each for each in rest if each not in unused], evidence)
    splits = part is None and splits_by_name(table.name, str(label))
    if label is None or (hints.part == "none" and splits):
        return None
    evidence.extend(f"{in_words(each)} is not used" for each in unused)
    if isinstance(label, list):
        return _one_hot(table, label, keys, evidence)
    refuse_what_is_no_label(frame[label], label, table.name, hints)
    if splits and hints.label is hints.table is None:
        raise Unclear(
            f"{table.name} splits the images by its name, but {table.different_cells(label)} name "
            "no part (train, valid or test): write --part none to split the images anew"
        )
    keys["label"] = label
    evidence.append(f"{in_words(label)} gives the label")
    kind = _one_or_several(table, label, keys, evidence)
    cells = {cell for cell in frame[label] if isinstance(cell, str)}
    whole_numbers = all(re.fullmatch(r"-?\d+|", cell) for cell in cells)
    if "-1" in cells and whole_numbers and len(cells) > 2:
        keys["no_label"] = ["-1"]
        evidence.append("-1 is no label")
    return Meaning(keys, kind, evidence)


def says_more(table: Table, of_parts: bool = True) -> str:
    """In words, whether a table without labels splits or groups the images; empty if not."""
    table = replace(table, hints=Hints())  # whose columns are those of the table of the labels
    if of_parts and (part := _part_column(table)):
        return f"its column {part} splits the images"
    if group := _group_column(table, groups_in(table.others), []):
        return f"its column {group} groups the images"
    return ""


def why_doubtful(table: pd.DataFrame, label: str) -> str:
    """In words, why labels may not be of whole images, or no classes; empty where all is well."""
    if box := _box_columns(table, label):
        return f"may be of an object in the image, whose box is in {listed(box)}"
    cells, key = set(map(one_text, table[label])) - {""}, column_key(label)
    if not is_number(cells) or len(cells) < 3 or _NUMBERS_OF_CLASSES.fullmatch(key):
        return ""
    numbers = sorted(map(float, cells))
    measured = COUNTS.fullmatch(key) or not _MEASURES.isdisjoint(key.split("_"))
    in_a_row = numbers[-1] - numbers[0] < 2 * len(numbers) and not measured
    called_label = _label_rank(label) < len(LABEL_NAMES) or label.startswith("column ")
    if all(map(float.is_integer, numbers)) and (called_label or in_a_row):
        return ""
    return f"holds numbers ({listed(sorted(cells, key=float))}), which may be measured"


def _part_column(table: Table) -> str | None:
    """The column that splits the images; `Unclear` where one seems to, but names no parts."""
    name, frame, hints = table.name, table.frame, table.hints
    if hints.part == "none":
        return None
    if hints.part is not None:
        table.check_column(hints.part)
        if hints.part == table.file_column.column:
            raise Unclear(f"{name}: column {hints.part} names the images, so it names no part")
        cells = set(map(one_text, frame[hints.part])) - {""}
        if not any(part_of(cell, hints.part) for cell in cells):
            raise Unclear(f"{name}: {no_parts(hints.part, cells, cells)}")
        return hints.part
    columns = [each for each in table.others if each not in (hints.label, hints.group)]
    found = [each for each in columns if _names_parts(table, each)]
    different = {tuple(part_of(one_text(c), col) or "" for c in frame[col]) for col in found}
    if len(different) > 1:
        raise Unclear(f"{name}: columns {listed(found)} each name parts: write --part COLUMN")
    return found[0] if found else None


def _names_parts(table: Table, column: str) -> bool:
    """Whether a column splits the images, by its name or by cells such as train and test."""
    key, cells = column_key(column), set(map(one_text, table.frame[column]))
    named = {part_named(cell) for cell in cells} - {None}
    by_cells = "train" in named and len(named) > 1
    by_name = key in PART_COLUMNS
    if key in MAY_BE_PARTS and not any(map(_SPLITS.fullmatch, cells)):
        by_name = bool(named)
    unassigned = {cell.lower() for cell in cells} <= {"unassigned", ""}
    if unassigned or not (by_name or by_cells):
        return False
    part_of_cell = {cell: part_of(cell, column) for cell in cells}
    odd = sorted(cell for cell, part in part_of_cell.items() if not part)
    if odd or (len(cells) > 1 and set(part_of_cell.values()) == {"valid"}):
        raise Unclear(f"{table.name}: {no_parts(column, cells, odd)}")
    return True


def _group_column(table: Table, groups: Sequence[str], evidence: list[str]) -> str | None:
    """Of the columns called like groups the first, in GROUP_NAMES' order, whose cells repeat."""
    if table.hints.group == "none":
        return None
    if table.hints.group is not None:
        table.check_column(table.hints.group)
        return table.hints.group
    for column in sorted(groups, key=group_rank):
        cells = [text for cell in table.frame[column] if (text := str(cell).strip())]
        if 1 < len(set(cells)) < len(cells):
            evidence.append(f"column {column} keeps its {len(set(cells))} groups of images whole")
            return column
    return None


def _label_column(
    table: Table, columns: Sequence[str], evidence: list[str]
) -> str | list[str] | None:
    """The column of the labels, or those of zeros and ones; None where no column may be one."""
    name, frame, hints = table.name, table.frame, table.hints
    if hints.label is not None:
        wanted = [each.strip() for each in hints.label.split(",")]
        wanted = [hints.label] if hints.label in frame.columns else wanted
        for each in wanted:
            table.check_column(each)
        return wanted[0] if len(wanted) == 1 else wanted
    named = [each for each in columns if _label_rank(each) < len(LABEL_NAMES)]
    if named := [each for each in named if (frame[each] != "").any()]:
        label = _one_meaning(table, named, evidence)
        _refuse_other_opinion(table, label, [each for each in columns if each not in named])
        return label
    flags = [each for each in columns if zeros_and_ones(frame[each])]
    rest = [c for c in columns if c not in flags and may_be_label(frame[c])]
    if len(flags) >= 2:
        sums = ones_per_row(frame, flags)
        strange = [c for c in rest if not is_number(frame[c]) or is_grade(frame[c], sums)]
        if (sums == 1).all() or not strange:
            return flags
        raise Unclear(
            f"{name}: {len(flags)} columns of zeros and ones ({listed(flags)}) beside "
            f"{listed(strange)}: which are the labels? Write --label COLUMN, or several of them: "
            f"--label '{','.join(flags[:2])}'"
        )
    rest += flags
    if not rest:
        return None
    names = [column for column in rest if not is_number(frame[column])] or rest
    one_thing = len({column_key(column).partition("_")[0] for column in names}) == 1
    texts = frame[rest].astype(str)
    if one_thing and len({*texts.nunique(), len(texts.drop_duplicates())}) == 1:
        evidence.extend(f"column {each} says the same" for each in rest if each != names[0])
        return names[0]
    shown = ", ".join(f"{column} ({table.different_cells(column)})" for column in rest)
    raise Unclear(
        f"{name} names {number_of(table.file_column.count, 'image', 'images')}, but which column "
        f"is the label: {shown}? Write --label {rest[0]!r} (or another)"
    )


def _one_meaning(table: Table, named: Sequence[str], evidence: list[str]) -> str:
    """Of columns called like labels, the one that determines the others; names before numbers."""
    frame = table.frame
    first, *others = sorted(named, key=lambda each: (is_number(frame[each]), _label_rank(each)))
    for other in others:
        texts = frame[[first, other]].astype(str)
        if len(texts.drop_duplicates()) > texts[first].nunique():
            raise Unclear(
                f"{table.name}: columns {listed(named)} could each be the label "
                f"({first}: {table.different_cells(first)}; {other}: "
                f"{table.different_cells(other)}): write --label {first!r} or --label {other!r}"
            )
        if 1 < frame[other].nunique() < frame[first].nunique():
            evidence.append(f"column {other} follows from {first} (--label {other!r} for it)")
    return first


def _refuse_other_opinion(table: Table, label: str, columns: Sequence[str]) -> None:
    """Raise where another column holds the same labels for other images: `label_corrected`."""
    key, cells = column_key(label), table.frame[label]
    for column, others in table.frame[list(columns)].items():
        if zeros_and_ones(others) and not zeros_and_ones(cells):
            continue  # a flag beside numbered classes: label_quality
        shared = (said := set(others) - {""}) & set(cells)
        akin = f"_{key}_" in f"_{column_key(column)}_" or (len(shared) > 2 and not is_number(cells))
        differ = int(((others != "") & (others != cells)).sum())
        if akin and differ and len(shared) >= max(1, 0.5 * len(said)):
            raise Unclear(
                f"{table.name}: columns {label} and {column} hold the same labels, but differ in "
                f"{differ} of {len(cells)} rows: write --label {label!r} or --label {column!r}"
            )


def _label_rank(column: str) -> int:
    """Its place in LABEL_NAMES; their number where it is not called like a label."""
    key = column_key(str(column).rpartition(".")[2])
    return LABEL_NAMES.index(key) if key in LABEL_NAMES else len(LABEL_NAMES)


def _one_hot(table: Table, flags: list[str], keys: dict[str, Any], evidence: list[str]) -> Meaning:
    if odd := [column for column in flags if not zeros_and_ones(table.frame[column])]:
        raise PipelineError(
            f"{table.name}: column {odd[0]} holds {table.different_cells(odd[0])}: a column for "
            "each label holds 0 or 1 in each row"
        )
    sums = ones_per_row(table.frame, flags)
    kind = "single" if (sums <= 1).all() and (sums == 1).any() else "multi"
    evidence.append(f"{len(flags)} columns of zeros and ones are the labels: {listed(flags)}")
    return Meaning({**keys, "label": flags}, kind, evidence)


def _one_or_several(table: Table, label: str, keys: dict[str, Any], evidence: list[str]) -> str:
    """Whether an image has one label or several; adds the delimiter or `rows: merge` to `keys`."""
    name, frame = table.name, table.frame
    if lists := [cell for cell in frame[label] if isinstance(cell, tuple)]:
        evidence.append("its cells are lists")
        return "single" if max(map(len, lists)) <= 1 else "multi"
    if delimiter := _delimiter(table, label):
        keys["delimiter"] = delimiter
        evidence.append(f"its cells are split at {delimiter!r}")
        return "multi"
    rows = zip(table.file_column.of_row, frame[label], strict=True)
    n_labels = Counter(file for file, cell in set(rows) if file is not None and cell)
    several = sum(count > 1 for count in n_labels.values())
    if not several or several < 0.1 * len(n_labels):
        return "single"
    has = number_of(several, "image has", "images have")
    boxes = _box_columns(frame, label)
    if boxes or not _ANNOTATORS.isdisjoint(map(column_key, frame.columns)):
        what = "boxes of objects" if boxes else "several people's answers"
        raise Unclear(
            f"{name}: {has} rows with different labels, and its columns speak of "
            f"{what}: write a table with one row per image"
        )
    known = {label, keys.get("part"), *groups_in(list(frame.columns))}
    for column in table.others if table.hints.label is None else ():
        if column not in known and set(map(str, frame[column])) in ({"0", "1"}, {"0.0", "1.0"}):
            raise Unclear(
                f"{name}: {has} several rows, and column {column} holds zeros and "
                "ones: if 0 means that a label is absent, those rows do not count: write a table "
                f"of the rows that do. If it means something else, write --label {label!r}"
            )
    keys["rows"] = "merge"
    evidence.append(f"{has} a row for each of {'its' if several == 1 else 'their'} labels")
    return "multi"


def _delimiter(table: Table, label: str) -> str | None:
    """What separates several labels in one cell, by the column's name and by its cells."""
    if (asked := table.hints.delimiter) is not None:
        return None if asked == "none" else asked
    cells = {cell.strip() for cell in table.frame[label]} - {""}
    called_several = SEVERAL.fullmatch(column_key(label)) is not None
    for delimiter in DELIMITERS:
        words_of = {cell: split_words(cell, delimiter) for cell in cells}
        joined = {cell: words for cell, words in words_of.items() if len(words) > 1}
        if not joined or not all(chain(*joined.values())):
            continue
        words = set(chain(*words_of.values()))
        alone = {words_of[cell][0] for cell in cells - joined.keys()}
        n_known = sum(alone.issuperset(each) for each in joined.values())
        one_length = len(set(map(len, words_of.values()))) == 1
        numbers = delimiter == " " and all(map(str.isdecimal, words))
        fewer_words = called_several and len(words) < len(cells) + bool(alone)
        if (fewer_words or numbers) and not one_length:
            return delimiter
        if delimiter in "|;" and (called_several or n_known == len(joined)):
            return delimiter
        shared = n_known > 0 and len(words) < len(cells)
        repeated = called_several and len(words) < sum(len(set(w)) for w in words_of.values())
        if delimiter in "|;" or shared or repeated:
            raise Unclear(
                f"{table.name}: column {label} holds {listed(sorted(joined))}: one label each, or "
                f"several? Write --delimiter none, or --delimiter {delimiter!r}"
            )
    return None


def _box_columns(table: pd.DataFrame, label: str) -> list[str]:
    """The columns of an object's box: by their names, as objects of JSON, or behind a label."""
    others = [column for column in table.columns if column != label and (table[column] != "").any()]
    by_key = {column_key(column): column for column in others}
    corners = [key for key in by_key if _CORNER.fullmatch(key)]
    of_tile = {"x", "y"} <= set(corners) and not {"width", "w"} & by_key.keys()
    if corners and not of_tile and (len(corners) > 1 or "box" in corners[0]):
        return [by_key[key] for key in corners]
    first = {each: str(next(filter(None, table[each]), "")) for each in by_key.values()}
    objects = [each for each, text in first.items() if re.match(r"\('\{.*" + _IN_BOX, text)]
    objects += [each for each in BOX if f"{label.rpartition('.')[0]}.{each}" in table]
    if objects or not label.startswith("column "):
        return objects
    behind = table.iloc[:, list(table.columns).index(label) + 1 :]
    full = [table[each] for each in behind if (table[each] != "").any()]
    numbers = [str(cells.name) for cells in full if is_number(cells) and not zeros_and_ones(cells)]
    return numbers if len(full) == len(numbers) and 4 <= len(full) <= 8 else []  # not features
