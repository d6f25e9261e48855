"""What lies in a user's folder: it is understood, with evidence, or the command stops.

Tables that name images come first, then folders, then the files' names. No table that names images
is ignored; two readings that disagree are an error that names both and what to write.
"""

import gc
import re
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.dataset.evidence import (
    lists_of_parts,
    refuse_lost_columns,
    said_together,
    tables_in,
    with_lists,
)
from pipeline.dataset.find_images import find_images
from pipeline.dataset.folders import NO_CLASSES, Reading, parallel_folders, read_folders, read_names
from pipeline.dataset.hugging_face import is_saved, read_saved
from pipeline.dataset.image_files import ImageFiles, folder_of
from pipeline.dataset.images import SUFFIXES
from pipeline.dataset.naming import Hints, Unclear, listed
from pipeline.dataset.sources import Source, files_below, part_of_folder, suffix_of
from pipeline.dataset.table_files import TEXT

MOST_FILES = 200
MOST_BYTES = 64 << 20  # of a file that is searched for names of images
LINES_LOOKED_AT = 200  # of a list
_NO_HINTS = Hints()


@dataclass(frozen=True)
class Recognised:
    """How a folder is to be read; `rule` says it in words, `notes` what was left aside."""

    images: dict[str, Any]
    kind: str
    split: str
    rule: str
    source: Source
    notes: list[str] = field(default_factory=list)


def recognise(root: Path, hints: Hints = _NO_HINTS) -> Recognised:
    """How `root` is to be read; raises `PipelineError` with what to write where that is unclear."""
    if not root.is_dir():
        raise PipelineError(f"{root}: no such folder")
    try:
        if is_saved(root):
            images, kind, rule = read_saved(root, hints)
            return _recognised(root, images, kind, rule, [])
        with _no_garbage_collection():
            return _in_files(root, hints)
    except Unclear as error:
        raise PipelineError(f"{root}: {error}") from None


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A collector of cycles would walk all rows again and again, for a third of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _in_files(root: Path, hints: Hints) -> Recognised:
    paths = files_below(root)
    files = [path for path in paths if suffix_of(path) in SUFFIXES]
    if hints.images is not None:
        inside = hints.images.strip("/") + "/"
        files = [file for file in files if file.startswith(inside)]
    if not paths:
        raise PipelineError(f"{root}: an empty folder: give the folder that holds the images")
    if not files:
        kinds = Counter(suffix_of(path) or "no suffix" for path in paths)
        raise PipelineError(f"{root}: no images among {len(paths)} files ({_counted(kinds)})")
    index = ImageFiles(root, files)
    others = sorted(set(paths).difference(files))
    stems = set(map(_stem_of_path, files))
    sidecars = [path for path in others if _stem_of_path(path) in stems]
    others = [path for path in others if _stem_of_path(path) not in stems]
    tables = tables_in(root, others, index, hints)
    by_folders = hints.table == "none" or hints.layout or hints.pattern
    notes: list[str] = []
    found = None if by_folders else said_together(root, tables, index, hints, notes)
    if found is None and tables and not by_folders:
        refuse_lost_columns(tables)
    reading, unclear = None, None
    try:
        reading = read_folders(files, hints) if hints.pattern is None else None
    except Unclear as error:
        unclear = error
    read = {each.name for each in tables}
    unread = [path for path in others if path not in read]
    if found is not None:
        images, kind, rule, labels = found
        if hints.table is None:
            _refuse_unread_lists(root, unread, index, images["table"])
        if reading is not None and hints.table is None and hints.label is None:
            rule += _agreement(root, reading, labels)
        return _recognised(root, images, kind, rule, notes)
    if unclear is not None:
        raise unclear
    if reading is None:
        reading = _by_names(root, files, sidecars, hints)
    if not (hints.layout or hints.pattern or hints.images):
        _refuse_parallel(files)
    lists: dict[str, list[str]] = {}
    if hints.lists is not None or any(each.part_of_list for each in tables):
        found_images = find_images(reading.images, root).images
        if hints.lists is not None or not any(image.part for image in found_images):
            labelled = {image.file for image in found_images}
            lists = lists_of_parts(root, tables, labelled, index, hints)
    if not by_folders:
        _refuse_unread(root, unread, files)
    notes += [
        f"{each.name} names {len(each.naming.files)} images and gives no label"
        for each in tables
        if each.name not in chain(*lists.values())
    ]
    rule = reading.evidence + with_lists(reading.images, lists)
    return _recognised(root, reading.images, "single", rule, notes)


def _recognised(
    root: Path, images: dict[str, Any], kind: str, rule: str, notes: list[str]
) -> Recognised:
    source = find_images(images, root)
    parts = {image.part for image in source.images}
    others = bool(parts & {"valid", "test"}) or bool(source.unlabelled and None not in parts)
    given = "train" in parts and others
    return Recognised(images, kind, "given" if given else "stratified", rule, source, notes)


def _agreement(root: Path, reading: Reading, labels: dict[str, str]) -> str:
    """Whether the folders say the same as the table; `Unclear` where they do not."""
    source = find_images(reading.images, root)
    pairs = [
        (image.labels[0], labels[image.file]) for image in source.images if image.file in labels
    ]
    if not pairs:
        return ""
    folder_of: dict[str, Counter[str]] = defaultdict(Counter)
    label_of: dict[str, Counter[str]] = defaultdict(Counter)
    for folder, label in pairs:
        folder_of[label][folder] += 1
        label_of[folder][label] += 1
    if len(label_of) < 2:
        return ""
    agreeing = sum(counts.most_common(1)[0][1] for counts in label_of.values())
    one_to_one = all(len(counts) == 1 for counts in [*folder_of.values(), *label_of.values()])
    if one_to_one:
        return "; the folders say the same"
    folders, texts = listed(sorted(label_of)), listed(sorted(folder_of))
    differ = ""
    if len(folder_of) == len(label_of) and agreeing > 0.5 * len(pairs):
        differ = f" ({len(pairs) - agreeing} images differ)"
    raise Unclear(
        f"two readings: the table says {texts}, the folders say {folders}{differ}: write --table "
        "with its name for the first, --table none for the second"
    )


def empty_folders(root: Path, pattern: str = "*/") -> list[str]:
    """The folders below that hold nothing, hidden ones left aside."""
    return sorted(
        path.relative_to(root).as_posix()
        for path in root.glob(pattern)
        if path.is_dir() and not path.name.startswith(".") and not any(path.iterdir())
    )


def _by_names(root: Path, files: Sequence[str], sidecars: Sequence[str], hints: Hints) -> Reading:
    if len(sidecars) >= 0.5 * len(files) and hints.pattern is None:
        kinds = Counter(map(suffix_of, sidecars))
        raise Unclear(
            f"{len(files)} images with files of their own beside them ({_counted(kinds)}), which "
            "are not read: write a CSV with a column of file names and one of labels"
        )
    if reading := read_names(files, hints):
        return reading
    raise Unclear(
        f"{len(files)} images, but no table that names them, {_no_classes(root, files)} and no "
        "labels in the file names: write a CSV with a column of file names and one of labels, or "
        "conf/dataset/NAME.yaml by hand (docs/datasets.md)"
    )


def _no_classes(root: Path, files: Sequence[str]) -> str:
    """Why the folders are no classes."""
    names = {folder_of(file).rpartition("/")[2] for file in files}
    only = next(iter(names))
    if len(names) > 1 or not only or only.lower() in NO_CLASSES or part_of_folder(only):
        return "no class folders"
    if empty := empty_folders(root, "**/"):
        are = "folder {} is" if len(empty) == 1 else "folders {} are"
        return f"only one class ({only}; {are.format(listed(empty))} empty)"
    return f"only one class ({only}; each needs a folder of its own)"


def _refuse_parallel(files: Sequence[str]) -> None:
    if pair := parallel_folders(files):
        raise Unclear(
            f"{pair[0] or '.'} and {pair[1] or '.'} hold files of the same names, such as images "
            f"and masks: write --images with the folder that holds the images"
        )


def _refuse_unread(root: Path, others: Sequence[str], files: Sequence[str]) -> None:
    """A file of another kind that names the images is not left aside."""
    step = max(1, len(files) // 40)
    names = [file.rpartition("/")[2].encode() for file in files[::step]][:40]
    for path, data in _contents(root, others):
        named = sum(name in data for name in names)
        if named >= max(2, 0.3 * len(names)):
            raise Unclear(
                f"{path} names the images in a way that is not understood: write its labels as a "
                "CSV with a column of file names, or --table none to use the folders alone"
            )


def _refuse_unread_lists(root: Path, paths: Sequence[str], index: ImageFiles, table: Any) -> None:
    """A list of images that is no table is not left aside because another one can be read."""
    for path, data in _contents(root, [each for each in paths if suffix_of(each) in TEXT]):
        lines = data.decode("utf-8", errors="replace").splitlines()[:LINES_LOOKED_AT]
        firsts = [words[0] for line in lines if (words := re.split(r"[\s,;|]+", line.strip()))]
        named = sum(first.rpartition("/")[2].lower() in index.by_name for first in firsts)
        if named >= max(2, 0.5 * len(firsts)):
            leave = f"--table {table} to leave it" if isinstance(table, str) else "move it away"
            raise Unclear(
                f"{path} lists images in a way that is not understood: write its labels as a CSV "
                f"with a column of file names, or {leave}"
            )


def _contents(root: Path, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The first files with their bytes, without very large ones."""
    for path in paths[:MOST_FILES]:
        if (root / path).stat().st_size <= MOST_BYTES:
            yield path, _content(root / path)


def _content(path: Path) -> bytes:
    """A file's bytes; of a spreadsheet its texts."""
    if path.suffix.lower() in (".xlsx", ".ods"):
        try:
            with zipfile.ZipFile(path) as opened:
                inner = [n for n in opened.namelist() if n.endswith(".xml")]
                return b"".join(opened.open(name).read(MOST_BYTES) for name in inner[:20])
        except (zipfile.BadZipFile, OSError, RuntimeError):
            return b""
    return path.read_bytes()


def _stem_of_path(path: str) -> str:
    """The file's stem, which an image and its own text file share."""
    name = path.rpartition("/")[2].lower()
    return name.rpartition(".")[0] or name


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
