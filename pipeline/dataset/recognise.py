"""What lies in a user's folder: it is understood, with evidence, or the command stops.

Tables that name images come first, then folders, then the files' names. No table that names images
is ignored; two readings that disagree are an error that names both and what to write.
"""

import gc
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from shlex import quote
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.dataset.evidence import (
    Named,
    Read,
    refuse_grouped,
    said_together,
    tables_in,
)
from pipeline.dataset.find_images import find_images
from pipeline.dataset.folders import (
    Reading,
    class_folders,
    read_folders,
    read_names,
    refuse_parallel,
    why_no_classes,
)
from pipeline.dataset.hugging_face import is_saved, read_saved
from pipeline.dataset.image_files import ImageFiles, any_stem
from pipeline.dataset.images import SUFFIXES
from pipeline.dataset.naming import Hints, Unclear, common_folders, listed
from pipeline.dataset.part_lists import (
    lists_beside,
    refuse_lost_columns,
    refuse_unread_parts,
    unread_parts,
    with_lists,
)
from pipeline.dataset.sources import Source, files_below, parts_of_paths, suffix_of
from pipeline.dataset.table_files import TEXT, searchable

MOST_FILES = 200
MOST_BYTES = 64 << 20  # of a file that is searched for names of images
LINES_LOOKED_AT = 200  # of a list
TO_SPLIT = "if they are parts, call them train.txt, valid.txt and test.txt"
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


def _files(root: Path, hints: Hints) -> tuple[ImageFiles, list[str], list[str]]:
    """The images, the files that may say something of them, and those of one image each."""
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
    stems = set(map(any_stem, files))
    others = [path for path in paths if suffix_of(path) not in SUFFIXES]
    sidecars = [path for path in others if any_stem(path) in stems]
    others = [path for path in others if any_stem(path) not in stems]
    return ImageFiles(root, files), others, sidecars


def _in_files(root: Path, hints: Hints) -> Recognised:
    """Tables before folders, and those before the names of files, where no option chooses."""
    index, others, sidecars = _files(root, hints)
    tables = tables_in(root, others, index, hints)
    read = {each.name for each in tables}
    unread = [path for path in others if path not in read]
    by_paths = hints.pattern or (hints.layout and hints.table is None)
    tables_count = hints.table != "none" and not by_paths
    notes: list[str] = []
    if tables_count and (found := said_together(tables, index, hints, notes)):
        if hints.table is None:
            _refuse_unnamed(found, index, notes)
            _refuse_unread_lists(root, unread, index, found.names)
        return _with_unread_parts(_by_tables(root, found, index, hints, notes), unread, hints)
    if tables_count:
        if hints.table is not None:
            raise Unclear(f"--table {hints.table} gives no labels: write none for the folders")
        refuse_lost_columns(tables)
    if not hints.images and not hints.layout:
        refuse_parallel(index.files)
    reading = None if hints.pattern is not None else read_folders(index.files, hints)
    reading = reading or _by_names(root, index.files, sidecars, tables, hints)
    if tables_count:
        _refuse_unread(root, unread, index.files)
        _refuse_keyed(root, tables, unread)
    by_folders = _by_folders(root, reading, tables, index, hints)
    if tables_count:
        classes = sorted({label for image in by_folders.source.images for label in image.labels})
        refuse_grouped(root, unread, classes)
    return _with_unread_parts(by_folders, unread, hints)


def _with_unread_parts(found: Recognised, unread: Sequence[str], hints: Hints) -> Recognised:
    """With a note on files that are called like parts, where nothing else splits the images."""
    if found.split != "given" and hints.part is None:
        found.notes.extend(unread_parts(unread))
    return found


def _by_tables(
    root: Path, found: Read, index: ImageFiles, hints: Hints, notes: list[str]
) -> Recognised:
    """Labels as tables give them."""
    images, rule = found.images, found.rule
    if hints.layout is not None:
        images["layout"] = hints.layout
        split = "part" in images or isinstance(images["table"], dict)
        if not split and parts_of_paths(index.files, in_names=False):
            images["part_of_path"] = True
        rule += f"; of other images the folders do: {hints.layout}"
    lists, agreeing = lists_beside(root, images, [*found.same, *found.others], index, hints)
    used = {*chain(*lists.values()), *agreeing}
    left = [each for each in found.others if each.name not in used]
    if hints.table is None:
        refuse_lost_columns(left)
    if unlabelled := [each for each in left if each.naming.files - found.named]:
        images["unlabelled"] = [each.name for each in unlabelled]
    for each in left:
        other = len(each.naming.files - found.named)
        what = f"{other} other images and gives them" if other else "the same images and gives"
        notes.append(f"{each.name} names {what} no label")
    rule += with_lists(images, lists)
    if hints.table is None and hints.label is None:
        reading = None
        with suppress(Unclear):
            reading = read_folders(index.files, hints, beside_table=True)
        if reading is not None:
            rule += _agreement(root, reading, found)
    read_so = _recognised(root, images, found.kind, rule, notes)
    if hints.layout is not None:
        _refuse_other_labels(read_so.source, found, hints.layout)
    return read_so


def _refuse_other_labels(source: Source, table: Read, layout: str) -> None:
    """A layout that labels nothing, or without a label of the table, was meant in another way."""
    of_table, of_folders = set[str](), set[str]()
    for image in source.images:
        (of_table if image.file in table.named else of_folders).update(image.labels)
    if not of_folders:
        raise Unclear(f"--layout {layout}: no image lies so that {table.names} does not name")
    if of_table.isdisjoint(of_folders):
        raise Unclear(
            f"the table says {listed(sorted(of_table))}, the folders say "
            f"{listed(sorted(of_folders))}, and no label is the same: rename the folders, or write "
            "the labels of the table as they say them"
        )


def _by_folders(
    root: Path, reading: Reading, tables: Sequence[Named], index: ImageFiles, hints: Hints
) -> Recognised:
    """Labels as folders or names of files give them; no table gives any."""
    notes = []
    lists, agreeing = lists_beside(root, reading.images, tables, index, hints)
    used = {*chain(*lists.values()), *agreeing}
    if silent := [each.name for each in tables if each.name not in used]:
        said = "name images and give" if len(silent) > 1 else "names images and gives"
        to_split = f": {TO_SPLIT}" if len(silent) > 1 else ""
        notes.append(f"{listed(silent)} {said} no label{to_split}")
    rule = reading.evidence + with_lists(reading.images, lists)
    read_so = _recognised(root, reading.images, "single", rule, notes)
    chosen = hints.part is not None or hints.layout is not None
    if not chosen and not any(image.part for image in read_so.source.images):
        refuse_unread_parts([image.file for image in read_so.source.images])
    return read_so


def _recognised(
    root: Path, images: dict[str, Any], kind: str, rule: str, notes: list[str]
) -> Recognised:
    source = find_images(images, root)
    parts = {image.part for image in source.images}
    others = bool(parts & {"valid", "test"}) or bool(source.unlabelled and None not in parts)
    given = "train" in parts and others
    return Recognised(images, kind, "given" if given else "stratified", rule, source, notes)


def _agreement(root: Path, reading: Reading, table: Read) -> str:
    """Whether the folders say the same as the table; `Unclear` where they do not."""
    source, labels = find_images(reading.images, root), table.labels
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
        f"{table.names} for the first, --table none for the second"
    )


def _refuse_unnamed(read: Read, index: ImageFiles, notes: list[str]) -> None:
    """Images in no table are left aside with a note; class folders of them are not."""
    named, first = read.named, read.group[0].name
    rows = sum(len(each.frame) for each in read.group)
    few = len(named) < 0.5 * len(index.files)
    odd = few or any(each.naming.count < 0.5 * len(each.frame) for each in read.group)
    if odd and len(named) < 0.5 * rows:
        raise Unclear(
            f"{first} names {len(named)} of {len(index.files)} images in {rows} rows: write "
            f"--table {quote(first)} to use it all the same, or --table none for the folders"
        )
    unlabelled = [each.naming.files for each in read.others if each.part != "train"]
    known = named.union(*unlabelled)
    unnamed = [file for file in index.files if file not in known]
    class_of = class_folders(unnamed)
    classes = sorted(set(class_of.values()))
    if len(class_of) > 0.1 * len(index.files) and len(classes) > 1:
        third = ""
        stems, place = set(map(any_stem, named)), common_folders(list(named)).rstrip("/")
        if sum(any_stem(file) in stems for file in class_of) > 0.5 * len(class_of):
            third = f", or --images {quote(place)} for the images there" if place else ""
        elif not any(each.is_submission for each in read.group):
            with suppress(Unclear):
                if reading := read_folders(list(class_of), Hints()):
                    third = f", or --table {read.names} --layout {quote(reading.layout)} for both"
        raise Unclear(
            f"{first} names {len(named)} of {len(index.files)} images, and {len(class_of)} others "
            f"lie in folders of their own ({listed(classes)}): write --table {read.names} "
            f"to use the table alone, --table none for the folders alone{third}"
        )
    if unnamed:
        notes.append(
            f"{len(unnamed)} of {len(index.files)} images are in no table and are not used"
        )


def _by_names(
    root: Path,
    files: Sequence[str],
    sidecars: Sequence[str],
    tables: Sequence[Named],
    hints: Hints,
) -> Reading:
    if len(sidecars) >= 0.5 * len(files) and hints.pattern is None:
        kinds = Counter(map(suffix_of, sidecars))
        raise Unclear(
            f"{len(files)} images with files of their own beside them ({_counted(kinds)}), which "
            "are not read: write a CSV with a column of file names and one of labels"
        )
    if reading := read_names(files, hints):
        return reading
    table = "no table that names them"
    if tables:
        table = f"no label in {listed(each.name for each in tables)} (--label names its column)"
    raise Unclear(
        f"{len(files)} images, but {table}, {why_no_classes(root, files)} and no "
        "labels found in the file names (--pattern says where they are): write a CSV with a column "
        "of file names and one of labels, or conf/dataset/NAME.yaml by hand (docs/datasets.md)"
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


def _refuse_keyed(root: Path, tables: Sequence[Named], paths: Sequence[str]) -> None:
    """Files that refer to images by ids that a table gives them are not left aside."""
    keys_of: dict[str, list[set[Any]]] = {}
    for each in tables:
        others = [each.frame[name] for name in each.frame if name != each.naming.column]
        keys = [set(cells) for cells in others if cells.nunique() == len(cells) > 1]
        if keys:
            keys_of[each.name] = keys
    lists = [path for path in paths if suffix_of(path) in TEXT] if keys_of else []
    firsts_of = {}
    for path, data in _contents(root, lists):
        lines = data.decode("utf-8", errors="replace").splitlines()
        firsts_of[path] = {re.split(r"[\s,;|]", line.strip())[0] for line in lines}
    for table, keys in keys_of.items():
        keyed = [
            path
            for path, firsts in firsts_of.items()
            if any(len(firsts & ids) >= 0.9 * max(len(firsts), len(ids)) for ids in keys)
        ]
        if keyed:
            refer = "refer" if len(keyed) > 1 else "refers"
            raise Unclear(
                f"{listed(keyed)} {refer} to images by the ids in {table}, which is not "
                "read: write one table with a column of file names, one of labels and one of "
                "parts, or --table none to use the folders alone"
            )


def _refuse_unread_lists(root: Path, paths: Sequence[str], index: ImageFiles, tables: str) -> None:
    """A list of images that is no table is not left aside because another one can be read."""
    for path, data in _contents(root, [each for each in paths if suffix_of(each) in TEXT]):
        lines = data.decode("utf-8", errors="replace").splitlines()[:LINES_LOOKED_AT]
        split = [re.split(r"[\s,;|]+", line.strip()) for line in lines]
        firsts = [words[0] for words in split] if len(split) > 1 else [*chain(*split)]
        named = sum(index.are_named(first) and not first.isdigit() for first in firsts)
        if named >= max(2, 0.5 * len(firsts)):
            raise Unclear(
                f"{path} lists images in a way that is not understood: write its labels as a CSV "
                f"with a column of file names, or --table {tables} to leave it out"
            )


def _contents(root: Path, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The first files with their bytes, without very large ones."""
    for path in paths[:MOST_FILES]:
        if (root / path).stat().st_size <= MOST_BYTES:
            yield path, searchable(root / path, MOST_BYTES)


def _counted(kinds: Counter[str]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(4))
