"""Where a dataset's images are and what their labels are, whatever its shape on disk.

A dataset's YAML names one of these functions: `images: {_target_: pipeline.sources.in_class_folders}`.
Each lists the images in an order that never changes and collects what is wrong, in place of
stopping at the first fault; nothing is decoded here.
"""

import importlib
import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.errors import PipelineError, near_matches
from pipeline.images import SUFFIXES

PART_FOLDERS = {"train": "train", "valid": "valid", "test": "test"}
_OTHER_NAMES = {"training": "train", "val": "valid", "validation": "valid", "dev": "valid"}


@dataclass(frozen=True)
class Found:
    """One image: its name in the index, its labels and, where they are given, part and group."""

    file: str
    labels: tuple[str, ...]
    part: str | None = None
    group: str | None = None


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong; `file` may also name a CSV row."""

    file: str
    reason: str


@dataclass(frozen=True)
class Source:
    """Every image found, how to read the bytes of one, and what was wrong with the rest."""

    images: list[Found]
    read: Callable[[str], bytes]
    faults: list[Fault] = field(default_factory=list)


def find_images(recipe: Mapping[str, Any], root: Path | None) -> Source:
    """Call the function that `recipe` names with its other keys; `root` holds the files."""
    target = str(recipe.get("_target_", ""))
    module, _, name = target.rpartition(".")
    if not module.startswith("pipeline."):
        raise PipelineError(f"images._target_: {target!r} is not a function of this project")
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        raise PipelineError(f"images._target_: there is no {target!r}") from None
    arguments = {str(key): value for key, value in recipe.items() if key != "_target_"}
    known = inspect.signature(function).parameters
    if "root" in known:
        if root is None:
            raise PipelineError(f"{target} reads files: give `source` or `archive`")
        arguments["root"] = root
    for key in arguments.keys() - known.keys():
        raise PipelineError(f"images.{key} is not a key of {name}: {near_matches(key, known)}")
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise PipelineError(f"images.{key} is missing: {name} needs it")
    source: Source = function(**arguments)
    return source


def in_class_folders(root: Path, parts: Mapping[str, str] | None = None) -> Source:
    """The label is the folder that holds the file: `CLASS/file`, or `PART/CLASS/file`.

    `parts` names the folder of each part, `{train: train, valid: val}`.
    """
    images, faults = [], []
    folders = [(None, root)] if parts is None else [(p, root / f) for p, f in parts.items()]
    for part, folder in folders:
        if part is not None:
            _check_part(part, "images.parts")
        for path in _files(folder):
            file = path.relative_to(root).as_posix()
            if path.parent == folder:
                continue  # beside the class folders: a README, a list
            if _image_name(path):
                images.append(Found(file, (path.parent.name,), part))
            else:
                faults.append(Fault(file, "not an image by its name"))
    return Source(images, _reader(root), faults)


def by_name(root: Path, files: str, pattern: str) -> Source:
    """The label is what the regular expression `pattern` finds as `label` in the file's name.

    `files` is a glob below the root, `images/*.jpg`. A `group` in the pattern keeps images together:
    `(?P<label>.+)_(?P<group>patient[0-9]+)_.*`.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise PipelineError(f"images.pattern {pattern!r}: {error}") from None
    if "label" not in expression.groupindex:
        raise PipelineError(f"images.pattern {pattern!r} has no group (?P<label>...)")
    images, faults = [], []
    for path in sorted(root.glob(files)):
        file = path.relative_to(root).as_posix()
        match = expression.fullmatch(path.name)
        if match is None:
            faults.append(Fault(file, f"name does not match {pattern}"))
        else:
            label = match["label"] or ""
            images.append(
                Found(file, (label,) if label else (), None, match.groupdict().get("group"))
            )
    return Source(images, _reader(root), faults)


def _files(folder: Path) -> list[Path]:
    """Every file below, sorted; hidden ones and what file managers leave are not data."""
    if not folder.is_dir():
        raise PipelineError(f"{folder}: no such folder")
    found = (path for path in folder.rglob("*") if path.is_file())
    return sorted(
        path
        for path in found
        if not any(
            name.startswith(".") or name == "__MACOSX" for name in path.relative_to(folder).parts
        )
        and path.name not in ("Thumbs.db", "desktop.ini")
    )


def _image_name(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _reader(root: Path) -> Callable[[str], bytes]:
    return lambda file: (root / file).read_bytes()


def _check_part(part: str, where: str) -> None:
    if part not in PART_FOLDERS:
        raise PipelineError(f"{where}: {part!r} is no part: choose from train, valid, test")
