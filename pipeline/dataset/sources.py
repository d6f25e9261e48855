"""Images and labels in folders and file names, and what every reader of a dataset gives.

Each function reads one shape on disk; the dataset's YAML names it, `images: {_target_: ...}`.
Tables are read by `label_tables`, datasets saved by Hugging Face's library by `hugging_face`.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from pipeline.core.command import number_of
from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset import table_files
from pipeline.dataset.images import ABOUT, LEAVINGS, SUFFIXES

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
PART_NAMES = {
    "train": ("train", "training", "trn"),
    "valid": ("valid", "val", "validation", "dev", "eval", "evaluation"),
    "test": ("test", "testing", "tst"),
}
BESIDE = table_files.SUFFIXES | {".md"}
MOST_SHOWN = 4  # values that a message lists
_WORDS = "|".join(name for names in PART_NAMES.values() for name in names)
_STUFF = r"(?:images?|imgs?|pics|pictures|photos|data|dataset|set|files|lists?|jpe?g|png)"
_PART_FOLDER = re.compile(rf"(?:{_STUFF}[-_ ]?)?({_WORDS})(?:[-_ ]?(?:{_STUFF}|\d+))*", re.I)


@dataclass(frozen=True)
class LabelledImage:
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
    """Every image found, how to read the bytes of one, and what was wrong with the rest.

    unlabelled  images that are there and have no label by the dataset's own plan, such as a
                contest's test images: not used, and no fault
    """

    images: list[LabelledImage]
    read: Callable[[str], bytes]
    faults: list[Fault] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)


def in_class_folders(
    root: Path, parts: Mapping[str, str] | None = None, layout: str | None = None
) -> Source:
    """The label is the folder that holds the file: `CLASS/file`, or `PART/CLASS/file`.

    `parts` names the folder of each part: `{train: train, valid: val}`. `layout` says what each
    folder on the way to a file means, where that is something else: see `Layout`.
    """
    if layout is not None:
        return _in_layout(root, Layout.of(layout), parts)
    images, others, unlabelled = [], [], []
    folders = {None: root} if parts is None else {p: root / f for p, f in parts.items()}
    for part, folder in folders.items():
        check_part("parts", part)
        for path in data_files(folder):
            file = path.relative_to(root).as_posix()
            is_image, outside = path.suffix.lower() in SUFFIXES, path.parent == folder
            if is_image and not outside:
                images.append(LabelledImage(file, (path.parent.name,), part))
            elif is_image:
                unlabelled.append(file)
            elif not outside:  # those outside are a README, a list
                others.append(file)
    if parts is not None:
        beside = [path.name for path in data_files(root, "*") if path.suffix.lower() in SUFFIXES]
        unlabelled = list(dict.fromkeys([*beside, *unlabelled]))  # a part may be the root itself
    return Source(images, FolderReader(root), _faults_of_other_files(others, images), unlabelled)


def by_name(root: Path, files: str | Mapping[str, str], pattern: str) -> Source:
    """The label is what the regular expression `pattern` finds as `label` in the file's name.

    `files` is a glob below the root, `images/*.jpg`, or one per part. A `group` in the pattern
    keeps images together: `(?P<label>.+)_(?P<group>patient[0-9]+)_.*`.
    """
    expression = compiled("pattern", pattern, "label")
    images, faults, unlabelled = [], [], []
    for part, glob in ({None: files} if isinstance(files, str) else files).items():
        check_part("files", part)
        for path in data_files(root, glob):
            file = path.relative_to(root).as_posix()
            if path.suffix.lower() in BESIDE or ABOUT.fullmatch(path.name):
                continue  # beside the images: a README, a list
            if match := expression.fullmatch(path.name):
                labels = (match["label"],) if match["label"] else ()
                images.append(LabelledImage(file, labels, part, match.groupdict().get("group")))
            elif part == "test" and path.suffix.lower() in SUFFIXES:
                unlabelled.append(file)
            else:
                faults.append(Fault(file, f"the name does not match {pattern}"))
    if not images and faults:
        raise PipelineError(
            f"{root}: pattern '{pattern}' fits none of "
            f"{number_of(len(faults), 'name', 'names')}, such as "
            f"{faults[0].file.rpartition('/')[2]}: it must match the whole name, with the suffix"
        )
    return Source(images, FolderReader(root), faults, unlabelled)


@dataclass(frozen=True)
class Layout:
    """What the folders on the way to a file mean: `{part}/{label}`, `data/{label}/{group}`.

    Each level is a name of its own, `{label}`, `{part}`, `{group}`, `*` (any one folder), or, at
    the end alone, `**` (any further folders).
    """

    levels: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Layout":
        levels = tuple(level for level in text.strip("/").split("/") if level)
        for level in levels:
            if "{" in level and level not in ("{label}", "{part}", "{group}"):
                raise PipelineError(f"layout {text!r}: {level} is none of {{label}}, {{part}}, ...")
        if levels.count("{label}") != 1 or "**" in levels[:-1]:
            raise PipelineError(f"layout {text!r}: give one {{label}}, and ** at its end alone")
        return cls(levels)

    def read(self, folders: tuple[str, ...]) -> dict[str, str] | str | None:
        """What these folders say; None where they end above the label or lie elsewhere.

        A reason where they lie too deep or not deep enough.
        """
        levels, open_end = self.levels, self.levels[-1] == "**"
        levels = levels[:-1] if open_end else levels
        said: dict[str, str] = {}
        for level, folder in zip(levels, folders, strict=False):
            if level.startswith("{"):
                said[level[1:-1]] = folder
            elif level not in ("*", folder):
                return None
        if "label" not in said:
            return None
        if len(folders) < len(levels) or (len(folders) > len(levels) and not open_end):
            return f"does not lie as {'/'.join(self.levels)} says"
        return said


def _in_layout(root: Path, layout: Layout, parts: Mapping[str, str] | None) -> Source:
    images, others, faults, unlabelled = [], [], [], []
    part_of = {folder: part for part, folder in (parts or {}).items()}
    for file in files_below(root):
        said = layout.read(PurePosixPath(file).parts[:-1])
        if suffix_of(file) not in SUFFIXES:
            if isinstance(said, dict):
                others.append(file)
        elif said is None:
            unlabelled.append(file)
        elif isinstance(said, str):
            faults.append(Fault(file, said))
        else:
            folder = said.get("part")
            part = None if folder is None else part_of.get(folder) or part_in_words(folder)
            if folder is not None and part is None:
                what = (
                    "move it away, write images.parts, or a part's name for {part} to use it alone"
                )
                faults.append(Fault(file, f"folder {folder}/ names no part: {what}"))
            else:
                images.append(LabelledImage(file, (said["label"],), part, said.get("group")))
    if not images and (astray := sorted([*unlabelled, *(fault.file for fault in faults)])):
        raise PipelineError(f"{root}: layout '{'/'.join(layout.levels)}' {_unfit(astray)}")
    faults += _faults_of_other_files(others, images)
    return Source(images, FolderReader(root), faults, unlabelled)


def _unfit(files: Sequence[str]) -> str:
    """In words, that a layout fits none of these images, with one that fits some of them."""
    usual_depth, _ = Counter(file.count("/") for file in files).most_common(1)[0]
    example = next(file for file in files if file.count("/") == usual_depth)
    folders = example.split("/")[:-1]
    if not folders:
        what = "it lies in no folder: use a table of labels, or a pattern for the files' names"
    else:
        below = []  # images/ in each class's folder
        while len(folders) > 1 and re.fullmatch(_STUFF, folders[-1], re.I):
            folders, below = folders[:-1], ["**"]
        above = ["{part}" if part_of_folder(each) else "*" for each in folders[:-1]]
        fitting = "/".join([*above, "{label}", *below])
        what = f"write what each folder on the way to it means, such as '{fitting}'"
    return f"fits none of {len(files)} images, such as {example}: {what}"


def _faults_of_other_files(files: Sequence[str], images: Sequence[LabelledImage]) -> list[Fault]:
    """Faults for the files that are no images; lists in a folder of their own are none."""
    folders = {image.file.rpartition("/")[0] for image in images}
    return [
        Fault(file, "not an image by its name")
        for file in files
        if suffix_of(file) not in BESIDE or file.rpartition("/")[0] in folders
        if not ABOUT.fullmatch(file.rpartition("/")[2])
    ]


def compiled(key: str, pattern: str, group: str) -> re.Pattern[str]:
    """The regular expression that `images.KEY` gives; raises without a `group` of that name."""
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise PipelineError(f"images.{key} {pattern!r}: {error}") from None
    if group not in expression.groupindex:
        raise PipelineError(f"images.{key} {pattern!r} has no group (?P<{group}>...)")
    return expression


def check_part(key: str, part: str | None) -> None:
    """Raise where the key `images.KEY` names a part that is none; None is no part."""
    if part is not None and part not in PART_NAMES:
        raise PipelineError(f"images.{key}: {part!r}: {near_matches(part, PART_NAMES)}")


def without_test(images: list[LabelledImage]) -> tuple[list[LabelledImage], list[str]]:
    """The images without a test part that has no label at all, as contests give it; its files."""
    test = [image for image in images if image.part == "test"]
    if any(image.labels for image in test):
        return images, []
    return [image for image in images if image.part != "test"], [image.file for image in test]


@dataclass(frozen=True)
class FolderReader:
    """Reads files below a folder (a class, because workers receive it pickled)."""

    root: Path

    def __call__(self, file: str) -> bytes:
        return (self.root / file).read_bytes()


def files_below(folder: Path) -> list[str]:
    """The paths of the files below a folder, relative to it, with / between names, sorted.

    Hidden files and what file managers leave are left out.
    """
    if not folder.is_dir():
        raise PipelineError(f"{folder}: no such folder")
    found: list[tuple[str, ...]] = []
    folders: list[tuple[str, ...]] = [()]
    while folders:
        parts = folders.pop()
        try:
            entries = list(os.scandir(folder.joinpath(*parts)))
        except OSError as error:
            raise PipelineError(f"{folder.joinpath(*parts)}: {error.strerror}") from None
        for entry in entries:
            if not_data(entry.name):
                continue
            if entry.is_file():
                found.append((*parts, entry.name))
            elif entry.is_dir(follow_symlinks=False):
                folders.append((*parts, entry.name))
    found.sort()
    texts = ["/".join(parts) for parts in found]
    for text in texts:
        if not text.isascii():
            _check_utf8(folder / text)
    return texts


def data_files(folder: Path, files: str = "**/*") -> list[Path]:
    """The files below that a pattern names, sorted; see `files_below`."""
    if files == "**/*":
        return [folder / text for text in files_below(folder)]
    if not folder.is_dir():
        raise PipelineError(f"{folder}: no such folder")
    found = sorted(
        path
        for path in folder.glob(files)
        if path.is_file() and not any(map(not_data, path.relative_to(folder).parts))
    )
    for path in found:
        _check_utf8(path)
    return found


def named_files(root: Path, names: str) -> list[str]:
    """The files below the root that an option names, with commas between them."""
    found = [names] if (root / names).is_file() else names.split(",")
    for name in found:
        if not (root / name).is_file():
            named = [each for each in files_below(root) if each.endswith(f"/{Path(name).name}")]
            there = f"; there is {' and '.join(named[:2])}" if named else ""
            raise PipelineError(f"{root / name}: no such file{there}")
    return found


def _check_utf8(path: Path) -> None:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise PipelineError(f"{str(path)!a}: the name is not UTF-8: rename it") from None


def not_data(name: str) -> bool:
    """Whether a file or folder is hidden, or left by a file manager: `._1.jpg`, `@eaDir`."""
    return name.startswith(".") or name.lower() in LEAVINGS


def suffix_of(file: str) -> str:
    """`.jpg` of `a/b.JPG`; empty where the name has none."""
    return os.path.splitext(file)[1].lower()  # noqa: PTH122 - of a text


def part_named(name: str) -> str | None:
    """The part that `name` means, `val` being valid; None if it means none."""
    word = name.strip().lower()
    return next((part for part, names in PART_NAMES.items() if word in names), None)


def part_of_folder(name: str) -> str | None:
    """The part that a folder holds: `train`, `test1`, `train_images`, `val2017`; None if none."""
    match = _PART_FOLDER.fullmatch(name.strip())
    return part_named(match[1]) if match else None


def part_in_words(name: str) -> str | None:
    """The part that one of a name's words says: `cars_train`, `TestImages`, `trainset`."""
    said = map(part_of_folder, re.split(r"[^a-zA-Z]+|(?<=[a-z])(?=[A-Z])", name))
    return next(filter(None, said), None)


def part_on_the_way(file: str) -> str | None:
    """The part that a folder on the way to a file names, or else its name's first word."""
    folders, words = _names_of_parts(file)
    return next((part_of_folder(each) for each in folders or words), None)


def parts_of_paths(files: Iterable[str], in_names: bool = True) -> list[str]:
    """The folders or first words of names that give each file its part, of which one is train.

    The folders alone without `in_names`; empty where a file has no part, or two.
    """
    found = set()
    for file in files:
        folders, words = _names_of_parts(file)
        named = folders or (words if in_names else [])
        if len(named) != 1:
            return []
        found.update(named)
    parts = set(map(part_of_folder, found))
    return sorted(found) if "train" in parts and len(parts) > 1 else []


def _names_of_parts(file: str) -> tuple[list[str], list[str]]:
    """The folders on the way that name parts, and the first word of the name if it does."""
    *folders, name = file.split("/")
    word = re.split(r"[^a-zA-Z]", name)[0]
    return [each for each in folders if part_of_folder(each)], [word] if part_named(word) else []


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def as_list(values: str | Sequence[str]) -> list[str]:
    """A YAML value that is one text or several."""
    return [values] if isinstance(values, str) else list(values)


def grouped(values: Iterable[T], key_of: Callable[[T], K]) -> dict[K, list[T]]:
    """The values by their key, keys and values in their order."""
    groups: dict[K, list[T]] = {}
    for value in values:
        groups.setdefault(key_of(value), []).append(value)
    return groups


def listed(values: Iterable[Any]) -> str:
    """The first few values, with commas between them and how many there are."""
    texts = [str(value) or "(empty)" for value in values]
    more = f", ... ({len(texts)} in all)" if len(texts) > MOST_SHOWN else ""
    return ", ".join(texts[:MOST_SHOWN]) + more
