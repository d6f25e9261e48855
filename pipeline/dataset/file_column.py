"""Which column of a table names the images, and by which rule its cells become files.

Also what the modules behind `--new` share: its options (`Hints`), and the error that says that a
person must choose (`Unclear`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import takewhile
from pathlib import PurePosixPath
from shlex import quote
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.dataset.image_files import (
    ImageFiles,
    folder_of,
    nearest,
    normalised,
    path_in,
    stem,
    stem_path,
    wanted_path,
    with_parents,
)
from pipeline.dataset.label_tables import column_key
from pipeline.dataset.sources import listed, part_in_words, part_of_folder, words

FILE_NAMES = words(
    "file filename file_name image image_name image_id image_path img img_name img_path "
    "path filepath file_path filenames images picture photo image_url url source_ref "
    "image_gcs_uri fname imagename imagepath id image_file"
)
NO_IMAGES = words(
    "mask masks annotation annotations segmentation segmentations gt groundtruth ground_truth "
    "labels label"
)
_OF_FOLDERS = words(
    "study series scan exam accession volume patient subject person participant case individual "
    "animal lesion slide video clip sequence scene specimen session"
)
SPLITS = re.compile(r"(^|[_/.-])(partition|split|fold)s?([_.-]|$)")
LOOKED_AT = 100  # cells on which a rule is tried before it is tried on all


class Unclear(PipelineError):
    """The images can be read in several ways or in none; the message says what to write."""


class NoColumn(Unclear):
    """A table has no column of the name that was given; another may have it."""


@dataclass(frozen=True)
class Hints:
    """The options of `--new`, most of them names of columns; "none" says that there is none."""

    file: str | None = None
    label: str | None = None
    part: str | None = None
    group: str | None = None
    delimiter: str | None = None
    images: str | None = None  # the folder that holds the images
    table: str | None = None
    lists: str | None = None  # of the images of each part, with commas between them
    layout: str | None = None
    pattern: str | None = None
    group_pattern: str | None = None


@dataclass(frozen=True)
class FileColumn:
    """A column that names images, and how its cells become files."""

    column: str
    rule: dict[str, Any]  # keys of `in_table`: path, suffix, case, prefix, remove
    of_row: tuple[str | None, ...]  # the file of each row
    strength: int  # 3: by name and suffix, 2: by a stem, 1: by a bare number

    @cached_property
    def files(self) -> frozenset[str]:
        return frozenset(file for file in self.of_row if file is not None)

    @property
    def count(self) -> int:
        """How many rows name a file."""
        return sum(file is not None for file in self.of_row)


def find_file_column(
    table: pd.DataFrame, index: ImageFiles, name: str, hints: Hints
) -> FileColumn | None:
    """The column that names the images; None where none does. Two that disagree are `Unclear`."""
    columns = [hints.file] if hints.file else list(table.columns)
    if hints.file and hints.file not in table.columns:
        raise NoColumn(f"{name}: no column {hints.file!r}: it has {listed(table.columns)}")
    found = [
        each for column in columns if (each := _file_column(table[column], index, name, hints))
    ]
    if not found:
        return None
    best = max(each.strength for each in found)
    found = [each for each in found if each.strength == best]
    named = [each for each in found if column_key(each.column) in FILE_NAMES]
    if len(named) == 1 or (named and best == 3):
        found = named
    most = max(each.count for each in found)
    found = [each for each in found if each.count >= 0.5 * most]
    if len({each.of_row for each in found}) > 1:
        raise Unclear(
            f"{name}: columns {listed(each.column for each in found)} each name images, and not "
            f"the same ones in each row: write --file {found[0].column!r} (or another)"
        )
    if found[0].strength == 1 and found[0].count < 0.5 * len(index.files):
        chosen = name in (hints.table or "").split(",") + (hints.lists or "").split(",")
        if not chosen and not (part_in_name(name) and found[0].count == len(table)):
            return None  # numbers that also are names of a few images: ids of something else
    return found[0]


def _file_column(
    column: pd.Series, index: ImageFiles, name: str, hints: Hints
) -> FileColumn | None:
    """A column as one that names images; None where it names none."""
    paths = [("" if isinstance(cell, tuple) else path_in(cell)) for cell in column]
    for remove in (None, r"^[0-9a-f]{8}-"):  # Label Studio's, before the name of an upload
        if found := _paths_as_files(str(column.name), paths, index, name, remove, hints):
            return found
    return None


def _paths_as_files(
    column: str,
    paths: Sequence[str],
    index: ImageFiles,
    name: str,
    remove: str | None,
    hints: Hints,
) -> FileColumn | None:
    """The files that the cells `paths` of table `name` mean, `remove` taken out of their names."""
    cells = [path for path in dict.fromkeys(paths) if path and len(path) < 1000]
    folder = folder_of(name)
    fitting: dict[str, list[str]] = {}
    any_case = False
    n_by_stem = 0
    for cell in cells:
        place, _, own = cell.rpartition("/")
        if remove:
            own, before = re.sub(remove, "", own), own
            if own == before:
                continue
        found = index.by_name.get(normalised(own), [])
        exact = [file for file in found if file.rpartition("/")[2] == own]
        any_case |= bool(found and not exact)
        if not found:
            found = index.by_stem.get(normalised(stem(own)), [])
            n_by_stem += bool(found)
        if found:
            fitting[cell] = nearest(exact or found, place)
    if not fitting:
        return None
    bare = n_by_stem == len(fitting) and all(stem(cell) == cell for cell in fitting)
    numbers = bare and all(re.fullmatch(r"\d+(\.0+)?", cell) for cell in fitting)
    fitting = _of_chosen_folder(fitting, folder, name, hints)
    file_of = {cell: files[0] for cell, files in fitting.items()}
    if len(set(file_of.values())) < len(file_of):
        file_of = with_parents(file_of)
        if not file_of:
            return None
    keys = {"suffix": "any"} if n_by_stem and not bare else {}
    keys |= {"case": "any"} if any_case else {}
    keys = _path_keys(index, file_of, folder, bare, keys, remove, hints)
    of_row = tuple(file_of.get(path) for path in paths)
    return FileColumn(column, keys, of_row, 1 if numbers else 2 if bare else 3)


def _of_chosen_folder(
    fitting: dict[str, list[str]], folder: str, name: str, hints: Hints
) -> dict[str, list[str]]:
    """Choose among files of one name in several folders, or raise `Unclear`."""
    if hints.images is not None:
        inside = hints.images.strip("/")
        kept = _only(fitting, lambda file: file == inside or file.startswith(f"{inside}/"))
        fitting = {cell: files for cell, files in kept.items() if files}
    elif folder and NO_IMAGES.isdisjoint(folder.lower().split("/")):
        beside = _only(fitting, lambda file: file.startswith(f"{folder}/"))
        fitting = beside if all(beside.values()) else fitting
    several = [cell for cell, files in fitting.items() if len(files) > 1]
    if several and (part := part_in_name(name)):
        of_part = _only(fitting, lambda file: part in map(part_in_words, file.split("/")[:-1]))
        if all(of_part.values()):
            fitting = of_part
            several = [cell for cell, files in fitting.items() if len(files) > 1]
    if several:
        cell, files = several[0], fitting[several[0]]
        fit = "fits" if len(several) == 1 else "fit"
        hint = choice_of_folders(folder_of(files[0]), folder_of(files[1]))
        hint += ", or write the folder into each cell"
        if cell.isdecimal():
            hint += "; --table none, if they are numbers of something else than images"
        raise Unclear(
            f"{name}: {len(several)} of its {len(fitting)} names {fit} several files ({cell}: "
            f"{listed(files)}): {hint}"
        )
    return fitting


def _only(fitting: dict[str, list[str]], fits: Callable[[str], bool]) -> dict[str, list[str]]:
    return {cell: list(filter(fits, files)) for cell, files in fitting.items()}


def choice_of_folders(first: str, second: str) -> str:
    """What to write to choose between two folders, without what their ends have in common."""
    one, other = PurePosixPath(first).parts, PurePosixPath(second).parts
    while one and other and one[-1] == other[-1]:
        one, other = one[:-1], other[:-1]
    if one == other:
        return "keep one of them"
    outer, inner = sorted((one, other), key=len)
    if inner[: len(outer)] == outer:
        folder = quote("/".join(inner))
        if inner[-1].lower() in NO_IMAGES:
            return f"move {folder} away to use the others"
        return f"write --images {folder}, or move that folder away to use the others"
    return f"write --images {quote('/'.join(one))} or --images {quote('/'.join(other))}"


def _path_keys(
    index: ImageFiles,
    file_of: dict[str, str],
    folder: str,
    bare: bool,
    keys: dict[str, str],
    remove: str | None,
    hints: Hints,
) -> dict[str, Any]:
    """`keys` with the plainest rule for paths that gives these files, tried as `in_table` does."""
    suffixes = {file[len(stem(file)) :] for file in file_of.values()}
    ending = suffixes.pop() if bare and len(suffixes) == 1 else ""
    if bare and not ending:
        keys["suffix"] = "any"
    most, best = -1, dict[str, str]()
    pairs = list(file_of.items())
    some = pairs[:: max(1, len(pairs) // LOOKED_AT)]
    for path, prefix in _rules(file_of, folder, ending, bare, hints):

        def gives(pair: tuple[str, str], path: str = path, prefix: str = prefix) -> bool:
            wanted = wanted_path(path, pair[0], folder, prefix or None, remove)
            return index.find(wanted, "suffix" in keys, "case" in keys) == [pair[1]]

        if sum(map(gives, some)) < 0.1 * len(some):
            continue
        hits = sum(map(gives, pairs))
        if hits > most:
            most, best = hits, {"path": path, **({"prefix": prefix} if prefix else {})}
        if hits == len(pairs):
            break
    return best | (keys if best else {}) | ({"remove": remove} if remove else {})


def _rules(
    of_cell: dict[str, str], folder: str, ending: str, bare: bool, hints: Hints
) -> Iterator[tuple[str, str]]:
    """Rules for paths that could give these files, and the prefix that they cut off."""
    cell, file = next(iter(of_cell.items()))
    if folder:
        yield f"{{folder}}/{{}}{ending}", ""
    without = file[: len(file) - len(ending)] if ending else stem_path(file) if bare else file
    common = common_folders(list(of_cell))
    levels = [place + 1 for place, letter in enumerate(common) if letter == "/"]
    for prefix in ("", *(common[:end] for end in levels)):
        tail = cell[len(prefix) :] if prefix else cell.removeprefix("./").removeprefix("/")
        for text, said in ((without, tail), (stem_path(without), stem_path(tail))):
            if normalised(text) == normalised(said) or normalised(text).endswith(
                f"/{normalised(said)}"
            ):
                yield f"{text[: len(text) - len(said)]}{{}}{ending}", prefix
                break
    place = folder_of(file)
    yield f"{place}/{{name}}{ending}" if place else f"{{name}}{ending}", ""
    inside = f"{hints.images.strip('/')}/" if hints.images else ""
    for above in dict.fromkeys((inside, common_folders(list(of_cell.values())))):
        yield f"{above}**/{{}}{ending}", ""
        yield f"{above}**/{{name}}{ending}", ""


def folder_column(
    table: pd.DataFrame, index: ImageFiles, name: str, hints: Hints
) -> tuple[str, bool] | None:
    """The column whose rows each name a folder of images, and whether these are surely no classes.

    They are none where the cells are paths, or the column is called like studies or patients; it
    is unclear of numbered folders, and a column of other words is no such column. Of several the
    one of the deepest folders.
    """
    found: list[tuple[int, bool, str]] = []
    for column in [hints.file] if hints.file else table.columns:
        named = [index.folders_named(cell) for cell in table[column]]
        folders = [each[0] for each in named if len(each) == 1]
        if len(set(folders)) < max(2, 0.9 * len(table)):
            continue
        called = not _OF_FOLDERS.isdisjoint(column_key(column).split("_"))
        paths = all("/" in path_in(cell).strip("/") for cell in table[column])
        sure = called or paths or name in (hints.table or "").split(",")
        if sure or all(any(map(str.isdigit, cell)) for cell in table[column]):
            found.append((folders[0].count("/"), sure, column))
    if not found:
        return None
    _, sure, column = max(found)
    return column, sure


def common_folders(paths: Sequence[str]) -> str:
    """The folders that all paths begin with, and a slash; empty where there are none."""
    levels = zip(*(path.split("/")[:-1] for path in paths), strict=False)
    common = [level[0] for level in takewhile(lambda level: len(set(level)) == 1, levels)]
    return "/".join([*common, ""])


def part_in_name(name: str) -> str | None:
    """The part that a table's own name or folder says: train.csv, labels_val.csv, test/x.csv."""
    *folders, own = name.split("/")
    if part := part_in_words(own.rpartition(".")[0]):
        return part
    return next((part for each in folders[::-1] if (part := part_of_folder(each))), None)


def splits_by_name(name: str, label: str) -> bool:
    """Whether a table without a header is, by its name, one of parts and not of labels."""
    split = SPLITS.search(name.lower())
    of_a_part = part_in_name(name) and split and split[2] != "partition"  # train_split.txt
    return label.startswith("column ") and split is not None and not of_a_part


def in_words(column: str) -> str:
    """`column label`; `column 2`, where the table has no header."""
    return column if re.fullmatch(r"column \d+", column) else f"column {column}"


def split_words(cell: str, delimiter: str) -> list[str]:
    """The labels in a cell, after which there may be another delimiter: `cat; dog;`."""
    return [word.strip() for word in cell.removesuffix(delimiter).split(delimiter)]


def are_paths(cells: pd.Series) -> bool:
    """Whether they are paths of further files, such as masks."""
    texts = [str(cell) for cell in cells if cell != ""]
    return bool(texts) and all("/" in text and "." in text for text in texts)


def zeros_and_ones(cells: pd.Series) -> bool:
    values = {str(cell).strip().lower() for cell in cells}
    return values <= {"0", "1", "0.0", "1.0", "-1", "-1.0"} and len(values) <= 2


def without_box(table: pd.DataFrame, columns: list[str]) -> list[str]:
    """Without the last four columns, where they are a box's corners in a table without header."""
    last = columns[-4:]
    if len(last) < 4 or not all(column.startswith("column ") for column in last):
        return columns
    if all(zeros_and_ones(table[column]) for column in last):
        return columns
    left, top, right, bottom = (pd.to_numeric(table[each], errors="coerce") for each in last)
    return columns[:-4] if (left <= right).all() and (top <= bottom).all() else columns


def refuse_what_is_no_label(cells: pd.Series, label: str, name: str, hints: Hints) -> None:
    """Raise where labels are objects of JSON, or have boxes behind them."""
    texts = [str(each) for cell in cells for each in (cell if isinstance(cell, tuple) else [cell])]
    texts = [text for text in texts if text.strip()]
    for what, pattern in (
        ("objects of JSON", r"\{\s*\".*\}"),
        ("boxes of objects", r"[^\s\d]\S*( -?\d+(\.\d+)?){4,}.*"),
    ):
        every = all(re.fullmatch(pattern, text, re.DOTALL) for text in texts)
        if every and texts and hints.delimiter is None:
            raise Unclear(
                f"{name}: column {label} holds {what}, not labels ({texts[0][:60]}): write a CSV "
                "with a column of file names and one of labels, or --table none to use folders"
            )


def refuse_words(cells: pd.Series, name: str) -> None:
    """Raise where blanks may stand between labels, or between the words of one."""
    several = [cell for cell in cells if isinstance(cell, tuple) and len(cell) > 1]
    alone = {cell[0] for cell in cells if isinstance(cell, tuple) and len(cell) == 1}
    if any(word not in alone and not word.isdigit() for cell in several for word in cell):
        raise Unclear(
            f"{name} holds {' '.join(several[0])}: one label of several words, or several labels? "
            "Write --delimiter none, or --delimiter ' '"
        )
