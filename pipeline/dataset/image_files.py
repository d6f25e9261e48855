"""The image files of a folder, and how a table or list is read that names them."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.dataset.images import SUFFIXES
from pipeline.dataset.sources import Fault, Found, Source, check_part, files_below, suffix_of
from pipeline.dataset.table_files import (
    NotATable,
    plain_separator,
    read_table,
    table_of,
    text_of,
    text_rows,
)

RARER_SEPARATORS = (";", "\t", "|")  # than the comma; a blank too, in lists

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class ImageFiles:
    """The image files below a folder, to be found by their names."""

    def __init__(self, root: Path, files: Sequence[str] | None = None) -> None:
        self.root = root
        self._files = files

    @cached_property
    def files(self) -> list[str]:
        if self._files is not None:
            return list(self._files)
        return [file for file in files_below(self.root) if suffix_of(file) in SUFFIXES]

    @cached_property
    def known(self) -> frozenset[str]:
        return frozenset(self.files)

    @cached_property
    def by_name(self) -> dict[str, list[str]]:
        return grouped(self.files, lambda file: alike(file.rpartition("/")[2]))

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        return grouped(self.files, lambda file: alike(stem(file.rpartition("/")[2])))

    @cached_property
    def folders(self) -> frozenset[str]:
        """The names of all folders on the way to a file."""
        return frozenset(alike(name) for file in self.files for name in file.split("/")[:-1])

    def find(self, wanted: str, any_suffix: bool, any_case: bool) -> list[str]:
        """The files that `wanted` may mean, `**/` in it standing for any folders.

        A file of just this name comes before one in other letters, and that before one with
        another suffix.
        """
        if "**/" not in wanted and (wanted in self.known or (self.root / wanted).is_file()):
            return [wanted]
        if "**/" not in wanted and not any_suffix and not any_case:
            return []
        head, deep, tail = wanted.rpartition("**/")
        name = tail.rpartition("/")[2]
        named = self.by_name.get(alike(name), [])
        if len(named) == 1 and deep and not head and _below(named[0], tail):
            return list(named)

        def fits(file: str, tail: str) -> bool:
            if not deep:
                return file == tail
            return file.startswith(head) and (file[len(head) :] == tail or _below(file, tail))

        found = [file for file in named if fits(file, tail)]
        if not found and any_case:
            found = [file for file in named if fits(alike(file), alike(tail))]
        if not found and any_suffix:
            folders = tail[: len(tail) - len(name)]
            wanted_stem = folders + stem(name)
            for file in self.by_stem.get(alike(stem(name)), []):
                without = stem_path(file)
                if any_case:
                    without, wanted_stem = alike(without), alike(wanted_stem)
                if fits(without, wanted_stem):
                    found.append(file)
        return found

    def are_named(self, cell: str) -> bool:
        """Whether a table's cell is the name of a file; a word without digits is none."""
        name = cell.strip().replace("\\", "/").rpartition("/")[2].partition("?")[0]
        name = alike(name)
        if name in self.by_name:
            return True
        known = name in self.by_stem or stem(name) in self.by_stem
        return known and any(map(str.isdigit, name))

    def beside(self, images: Sequence[Found], listed: set[str]) -> list[str]:
        """The images that lie in the folders of `images` and that no row names."""
        folders = {folder_of(image.file) for image in images}
        return [f for f in self.files if f not in listed and folder_of(f) in folders]


def in_listed_parts(source: Source, root: Path, lists: Mapping[str, str | Sequence[str]]) -> Source:
    """The same images, each in the part whose list names it, {train: train.txt, test: test.txt}.

    A line is an image's path or the end of it, with or without the suffix, or begins with one. An
    image that no list names stays in its own part, train without one, and is a fault where that
    part has a list.
    """
    index = ImageFiles(root, [image.file for image in source.images])
    lists_of: dict[str, dict[str, str]] = {}  # of each file the lists that name it, and their parts
    faults = []
    for part, names in lists.items():
        check_part("lists", part)
        for name in [names] if isinstance(names, str) else names:
            if not (root / name).is_file():
                raise PipelineError(f"{root / name}: no such file")
            for number, row in enumerate(text_rows(root / name, ","), start=1):
                fitting = _named_by(row, index)
                if len(fitting) == 1:
                    lists_of.setdefault(fitting[0], {})[name] = part
                elif fitting or number > 1:  # the first line may be a heading
                    reason = f"{len(fitting)} images fit" if fitting else "names no labelled image"
                    faults.append(Fault(f"{name} row {number}: {row[0]}", reason))
    images = []
    for image in source.images:
        own = image.part or "train"
        named = lists_of.get(image.file, {} if own in lists else {"": own})
        parts = set(named.values())
        if len(parts) == 1:
            images.append(replace(image, part=parts.pop()))
        else:
            reason = f"in {' and in '.join(named)}" if named else "in no list of a part"
            faults.append(Fault(image.file, reason))
    return replace(source, images=images, faults=[*source.faults, *faults])


def _named_by(row: Sequence[str], index: ImageFiles) -> list[str]:
    """The images that a line of a list may mean: as a whole, or else by what it begins with."""
    line, first = ",".join(row).strip(), row[0].strip()
    if line and (found := index.find(f"**/{line}", any_suffix=True, any_case=True)):
        return found
    texts = dict.fromkeys((line, first, re.split(r"[\s;|]", first)[0]))
    return list(dict.fromkeys(file for text in texts for file in _ending_so(text, index)))


def _ending_so(text: str, index: ImageFiles) -> list[str]:
    """The images that a path, or else its end, may mean."""
    levels = text.replace("\\", "/").split("/")
    for start in range(len(levels)):  # what is above the dataset's folder fits nothing
        if start and alike(levels[start - 1]) in index.folders:
            break
        tail = "/".join(levels[start:])
        if tail and (found := index.find(f"**/{tail}", any_suffix=True, any_case=True)):
            return found
    return []


def alike(text: str) -> str:
    """The same for names that differ in letter case, or in how their accents are written."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).lower()


def stem(name: str) -> str:
    """A file's name without the suffix of an image; other dots stay."""
    place = name.rfind(".")
    return name[:place] if place > 0 and name[place:].lower() in SUFFIXES else name


def any_stem(path: str) -> str:
    """A file's name without its suffix, which an image and its own text file share."""
    name = path.rpartition("/")[2].lower()
    return name.rpartition(".")[0] or name


def stem_path(file: str) -> str:
    """A path without the suffix of an image."""
    place, _, own = file.rpartition("/")
    return f"{place}/{stem(own)}" if place else stem(own)


def separators_in(path: Path) -> list[str]:
    """The separators other than a comma that a text file holds."""
    try:
        text = text_of(path)
    except NotATable:
        return []
    return [separator for separator in RARER_SEPARATORS if separator in text]


def table_and_keys(
    path: Path, separator: str | None, index: ImageFiles, delimiter: str | None
) -> tuple[dict[str, Any], pd.DataFrame]:
    """A table, and the keys by which `in_table` reads it so again."""
    if separator is None:
        return {}, read_table(path)
    plain = separator == plain_separator(path)
    keys: dict[str, Any] = {} if plain else {"separator": separator}
    rows = text_rows(path, separator)
    if not rows or (max(map(len, rows)) < 2 and separator != ","):
        raise NotATable(f"{path}: one column")
    if any(index.are_named(cell) for cell in rows[0]):
        keys["header"] = False
        lengths = set(map(len, rows))
        if separator == " " and delimiter == "none" and len(lengths) > 1:
            keys["header"] = [f"column {n}" for n in range(1, 1 + max(2, min(lengths)))]
            rows = text_rows(path, separator, len(keys["header"]))
    return keys, table_of(path, rows, keys.get("header", True))


def wanted_path(
    rule: str, cell: Any, folder: str = "", prefix: str | None = None, remove: str | None = None
) -> str:
    """What `rule` makes of a cell: a path below the root, perhaps with `**/` in it."""
    text = path_in(cell)
    if prefix and text.startswith(prefix):
        text = text[len(prefix) :]
    text = text.removeprefix("./")
    if not rule.startswith("{}"):
        text = text.removeprefix("/")
    place, _, name = text.rpartition("/")
    if remove:
        name = re.sub(remove, "", name)
        text = f"{place}/{name}" if place else name
    path = rule.replace("{folder}/", f"{folder}/" if folder else "")
    return path.replace("{name}", name).replace("{}", text)


def path_in(cell: Any) -> str:
    """The path that a cell holds, with / between its parts: of a URL what it points at."""
    text = str(cell).strip()
    if "://" in text or text.startswith("/data/"):  # the latter: Label Studio's own
        text = unquote(text)
        text = text.partition("?d=")[2] or text.partition("?")[0]
    return text.replace("\\", "/")


def grouped(values: Iterable[T], key_of: Callable[[T], K]) -> dict[K, list[T]]:
    """The values by their key, keys and values in their order."""
    groups: dict[K, list[T]] = {}
    for value in values:
        groups.setdefault(key_of(value), []).append(value)
    return groups


def empty_folders(root: Path) -> list[str]:
    """The folders without a file in or below them, save those in one that is listed."""
    folders: list[Path] = []
    full = {Path()}
    for place, inner, files in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        folders.append(Path(place).relative_to(root))
        if files:
            full.update((folders[-1], *folders[-1].parents))
    return sorted(each.as_posix() for each in folders if each not in full and each.parent in full)


def parallel_folders(files: Sequence[str], called: frozenset[str]) -> tuple[str, str] | None:
    """Two folders that hold files of the same stems, the first of them `called` so."""
    stems: dict[str, set[str]] = defaultdict(set)
    for file in files:
        levels = stem_path(file).split("/")
        for depth in range(len(levels)):
            stems["/".join(levels[:depth])].add("/".join(levels[depth:]))
    holders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for folder, held in stems.items():
        for each in held:
            holders[each][folder.rpartition("/")[2]].append(folder)
    for first in sorted(stems):
        own = first.rpartition("/")[2]
        if own.lower() not in called:
            continue
        shared = Counter[str]()
        for each in stems[first]:
            for name, same in holders[each].items():
                if name != own:
                    shared.update(same)
        similar = [folder for folder, count in shared.items() if count >= 0.5 * len(stems[first])]
        if similar:
            return first, min(similar)
    return None


def folder_of(file: str) -> str:
    """The folder of a file, empty at the root."""
    return file.rpartition("/")[0]


def _below(file: str, tail: str) -> bool:
    return file.endswith(f"/{tail}")
