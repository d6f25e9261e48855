"""Where a dataset's images are and what their labels are, whatever its shape on disk.

A dataset's YAML names a function, `images: {_target_: pipeline.dataset.sources.by_name, ...}`,
here or in `label_tables` or `digits`. Each lists the images in an order that never changes and
collects what is wrong instead of stopping at the first fault; nothing is decoded yet.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

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
