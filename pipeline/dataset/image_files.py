"""The image files of a folder, and how tables and lists that name them are read."""

import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cached_property, lru_cache
from itertools import accumulate, takewhile
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.dataset.images import SUFFIXES
from pipeline.dataset.sources import LabelledImage, files_below, grouped, suffix_of
from pipeline.dataset.table_files import (
    NotATable,
    plain_separator,
    read_table,
    table_of,
    text_of,
    text_rows,
)

RARER_SEPARATORS = (";", "\t", "|")  # than the comma; a blank too, in lists

FOLDER = "the folder of the image"  # a column that no file has
_PERSON = re.compile(r"(?:patient|subject|sub|person|participant|case)[-_ ]?\d+", re.I)


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
        return grouped(self.files, lambda file: normalised(file.rpartition("/")[2]))

    @cached_property
    def by_stem(self) -> dict[str, list[str]]:
        return grouped(self.files, lambda file: normalised(stem(file.rpartition("/")[2])))

    @cached_property
    def folders(self) -> frozenset[str]:
        """The names of all folders on the way to a file."""
        return frozenset(normalised(name) for file in self.files for name in file.split("/")[:-1])

    @cached_property
    def below(self) -> dict[str, list[str]]:
        """The files in or below each folder, by its path."""
        found = defaultdict[str, list[str]](list)
        for file in self.files:
            for folder in accumulate(file.split("/")[:-1], "{}/{}".format):
                found[folder].append(file)
        return found

    @cached_property
    def by_folder(self) -> dict[str, list[str]]:
        return grouped(self.below, lambda folder: normalised(folder.rpartition("/")[2]))

    def folders_named(self, cell: Any) -> list[str]:
        """The folders that a cell may mean, by its path or by the end of theirs."""
        said = normalised(path_in(cell).strip("/"))
        alike_named = self.by_folder.get(said.rpartition("/")[2], [])
        return [
            folder
            for folder in alike_named
            if f"/{normalised(folder)}".endswith(f"/{said}")
            or said.endswith(f"/{normalised(folder)}")
        ]

    def find(self, wanted: str, any_suffix: bool, any_case: bool) -> list[str]:
        """The files that `wanted` may mean, `**/` in it standing for any folders.

        A file of just this name comes before one in other letters, and that before one with
        another suffix.
        """
        head, deep, tail = wanted.rpartition("**/")
        if not deep and (wanted in self.known or (self.root / wanted).is_file()):
            return [wanted]
        if not deep and not any_suffix and not any_case:
            return []
        name = tail.rpartition("/")[2]
        named = self.by_name.get(normalised(name), [])
        if len(named) == 1 and deep and not head and named[0].endswith(f"/{tail}"):
            return list(named)

        def fits(file: str, tail: str) -> bool:
            if not deep:
                return file == tail
            return file == head + tail or (file.startswith(head) and file.endswith(f"/{tail}"))

        found = [file for file in named if fits(file, tail)]
        if not found and any_case:
            found = [file for file in named if fits(normalised(file), normalised(tail))]
        if not found and any_suffix:
            folders = tail[: len(tail) - len(name)]
            wanted_stem = folders + stem(name)
            for file in self.by_stem.get(normalised(stem(name)), []):
                without = stem_path(file)
                if any_case:
                    without, wanted_stem = normalised(without), normalised(wanted_stem)
                if fits(without, wanted_stem):
                    found.append(file)
        return found

    def are_named(self, cell: str) -> bool:
        """Whether a table's cell is the name of a file; a word without digits is none."""
        name = normalised(cell.strip().replace("\\", "/").rpartition("/")[2].partition("?")[0])
        if name in self.by_name:
            return True
        known = name in self.by_stem or stem(name) in self.by_stem
        return known and any(map(str.isdigit, name))

    def beside(self, images: Sequence[LabelledImage], listed: set[str]) -> list[str]:
        """The images that lie in the folders of `images` and that no row names."""
        folders = {folder_of(image.file) for image in images}
        return [f for f in self.files if f not in listed and folder_of(f) in folders]


def normalised(text: str) -> str:
    """In small letters and Unicode's NFC, so that names which differ only in these are equal."""
    return (text if text.isascii() else unicodedata.normalize("NFC", text)).lower()


def stem(name: str) -> str:
    """A file's name without the suffix of an image; other dots stay."""
    place = name.rfind(".")
    return name[:place] if place > 0 and name[place:].lower() in SUFFIXES else name


def stem_path(file: str) -> str:
    """A path without the suffix of an image."""
    place, _, own = file.rpartition("/")
    return f"{place}/{stem(own)}" if place else stem(own)


def any_stem(path: str) -> str:
    """A file's name without its suffix, in small letters: an image's, and that of a file on it."""
    name = path.rpartition("/")[2].lower()
    return name.rpartition(".")[0] or name


def folder_of(file: str) -> str:
    """The folder of a file, empty at the root."""
    return file.rpartition("/")[0]


def path_in(cell: Any) -> str:
    """The path that a cell holds, with / between names; of a URL, the path of what it points at."""
    text = str(cell).strip()
    if "://" in text or text.startswith("/data/"):  # the latter: Label Studio's own
        text = unquote(text)
        text = text.partition("?d=")[2] or text.partition("?")[0]
    return text.replace("\\", "/")


def wanted_path(rule: str, cell: Any, folder: str, prefix: str | None, remove: str | None) -> str:
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


def nearest(files: Sequence[str], place: str) -> list[str]:
    """Of files with the right name, those whose folders agree longest with the cell's."""
    if len(files) == 1:
        return list(files)
    said = place.lower().split("/")[::-1]

    def n_agreeing(file: str) -> int:
        pairs = zip(file.lower().split("/")[-2::-1], said, strict=False)
        return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))

    best = max(map(n_agreeing, files))
    return [file for file in files if n_agreeing(file) == best]


def with_parents(file_of: dict[str, str]) -> dict[str, str]:
    """Where two cells mean one file, the one whose folders agree is right."""
    kept = {}
    for file, cells in grouped(file_of, file_of.__getitem__).items():
        exact = [cell for cell in cells if f"/{file}".endswith(f"/{cell}")]
        if len(cells) == 1 or len(exact) == 1:
            kept[(exact or cells)[0]] = file
    return kept


def path_fault(root: Path, where: str, fitting: Sequence[str]) -> str:
    """Why the path of a row is none of an image, given the files that fit; empty if it is."""
    if len(fitting) > 1:
        return f"{len(fitting)} files fit: {', '.join(fitting[:3])}"
    if not _inside(root, where):
        return "lies outside the dataset's folder"
    if fitting:
        return ""
    path = root / PurePosixPath(where.replace("**/", ""))
    beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    near = [each.name for each in beside if stem(each.name).lower() == stem(path.name).lower()]
    return f"no such file; there is {near[0]}" if near else "no such file"


def _inside(root: Path, where: str) -> bool:
    """Whether a path stays below the root, links followed; folders are looked up once."""
    place, _, name = where.rpartition("/")
    if name == ".." or where.startswith("/") or not _resolves_inside(root, place):
        return False
    return name not in _links_in(root, place) or _resolves_inside(root, where)


@lru_cache(maxsize=4096)
def _resolves_inside(root: Path, place: str) -> bool:
    return (root / place).resolve().is_relative_to(root.resolve())


@lru_cache(maxsize=4096)
def _links_in(root: Path, place: str) -> frozenset[str]:
    """The names in a folder that are links."""
    try:
        with os.scandir(root / place) as entries:
            return frozenset(entry.name for entry in entries if entry.is_symlink())
    except OSError:  # no such folder: no such file either
        return frozenset()


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
    """The keys of `in_table` that read a table with this separator, and the table."""
    if separator is None:
        return {}, read_table(path)
    plain = separator == plain_separator(path)
    keys: dict[str, Any] = {} if plain else {"separator": separator}
    rows = text_rows(path, separator)
    if not rows or (max(map(len, rows)) < 2 and separator != ","):
        raise NotATable(f"{path}: one column")
    if any(index.are_named(cell) or _is_path_of_folder(cell, index) for cell in rows[0]):
        keys["header"] = False
        lengths = set(map(len, rows))
        if separator == " " and delimiter == "none" and len(lengths) > 1:
            keys["header"] = [f"column {n}" for n in range(1, 1 + max(2, min(lengths)))]
            rows = text_rows(path, separator, len(keys["header"]))
    return keys, table_of(path, rows, keys.get("header", True))


def _is_path_of_folder(cell: str, index: ImageFiles) -> bool:
    return "/" in cell and len(index.folders_named(cell)) == 1


def rows_of_folders(table: pd.DataFrame, column: str, index: ImageFiles) -> pd.DataFrame:
    """A row for each image below the folder that a row names, with its path in `column`.

    Column FOLDER says which images stay together: those of a folder, or of a patient's. A row that
    names no folder, or several, stays as it is.
    """
    places: list[int] = []
    files: list[Any] = []
    owners: list[Any] = []
    for place, cell in enumerate(table[column]):
        folders = index.folders_named(cell)
        held = index.below[folders[0]] if len(folders) == 1 else [cell]
        people = filter(_PERSON.fullmatch, folders[0].split("/") if folders else ())
        places += [place] * len(held)
        files += held
        owners += [next(people, folders[0] if folders else cell)] * len(held)
    return table.iloc[places].assign(**{column: files, FOLDER: owners})


def empty_folders(root: Path) -> list[str]:
    """The topmost folders without a file in or below them."""
    folders: list[Path] = []
    full = {Path()}
    for place, inner, files in os.walk(root):
        inner[:] = [name for name in inner if not name.startswith(".")]
        folders.append(Path(place).relative_to(root))
        if files:
            full.update((folders[-1], *folders[-1].parents))
    return sorted(each.as_posix() for each in folders if each not in full and each.parent in full)


def why_not_read(path: str, data: bytes) -> str:
    """Why a file that names the images but is no table is not read, and what to do."""
    if path.lower().endswith(".mat") or (b"<image " in data and b"<tag " in data):
        return "is not read: docs/datasets.md#to-a-csv has commands that turn such files into a CSV"
    if path.lower().endswith((".xlsx", ".xls", ".ods")):
        return "is not read: save it as a CSV with a column of file names and one of labels"
    of_objects = any(
        f"<{shape} ".encode() in data for shape in ("box", "polygon", "points", "mask")
    )
    what = "its annotations are boxes or outlines of objects: " if of_objects else ""
    return (
        f"names the images in a way that is not understood: {what}write its labels as a CSV with "
        "a column of file names"
    )


def files_in(root: Path, images: str | None) -> tuple[ImageFiles, list[str], list[str]]:
    """The images (below `images`), the files that may describe them, and those of one image."""
    paths = files_below(root)
    files = [path for path in paths if suffix_of(path) in SUFFIXES]
    if images is not None:
        inside = images.strip("/") + "/"
        files = [file for file in files if file.startswith(inside)]
    if not paths:
        raise PipelineError(f"{root}: an empty folder: give the folder that holds the images")
    if not files:
        kinds = Counter(suffix_of(path) or "no suffix" for path in paths)
        raise PipelineError(f"{root}: no images among its files ({counted(kinds)})")
    stems = set(map(any_stem, files))
    others = [path for path in paths if suffix_of(path) not in SUFFIXES]
    sidecars = [path for path in others if any_stem(path) in stems]
    others = [path for path in others if any_stem(path) not in stems]
    return ImageFiles(root, files), others, sidecars


def counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
