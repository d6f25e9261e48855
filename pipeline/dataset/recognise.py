"""How a user's folder of images is to be read, with evidence; or an error that says what to write.

Tables that name images come first, then folders, then the files' names. No table that names images
is ignored; two readings that disagree are an error that names both.
"""

import gc
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from typing import Any

from pipeline.core.command import number_of
from pipeline.core.errors import PipelineError
from pipeline.dataset.beside_labels import (
    SAME,
    agreement_of_folders,
    lists_beside,
    refuse_lost_columns,
    refuse_not_understood,
    refuse_other_lists,
    refuse_unread_parts,
    unread_parts,
)
from pipeline.dataset.columns import says_more, why_doubtful
from pipeline.dataset.file_column import Hints, NoColumn, Unclear, common_folders, part_in_name
from pipeline.dataset.find_images import (
    find_images,
    in_listed_parts,
    pattern_of_few,
    read_names,
    refuse_masks,
)
from pipeline.dataset.folder_names import refuse_groups_as_classes
from pipeline.dataset.folders import (
    Reading,
    class_folders,
    read_folders,
    refuse_parallel,
    why_no_classes,
)
from pipeline.dataset.hugging_face import is_saved, read_saved
from pipeline.dataset.image_files import ImageFiles, any_stem, counted, files_in
from pipeline.dataset.image_tables import (
    ImageTable,
    LabelTables,
    image_table,
    images_named_by,
    is_split,
    labels_in_tables,
)
from pipeline.dataset.images import ABOUT
from pipeline.dataset.sources import (
    Source,
    listed,
    named_files,
    part_in_words,
    parts_of_paths,
    suffix_of,
)
from pipeline.dataset.splits import in_groups
from pipeline.dataset.table_files import SUFFIXES as TABLES

MOST_TABLES = 1000
MOST_BYTES_OF_NAMES = 1_000_000
TO_SPLIT = "if they are parts, call them train.txt, valid.txt and test.txt"
_NO_HINTS = Hints()


@dataclass(frozen=True)
class Recognised:
    """How a folder is to be read; `rule` says it in words, `notes` what was left aside."""

    images: dict[str, Any]
    kind: str
    rule: str
    source: Source
    notes: list[str] = field(default_factory=list)

    @property
    def split(self) -> str:
        """Given, where images of train and of another part are known; else stratified."""
        parts = {image.part for image in self.source.images}
        unlabelled_test = self._has_unlabelled_test and None not in parts  # as contests have it
        given = "train" in parts and (unlabelled_test or parts & {"valid", "test"})
        return "given" if given else "stratified"

    @property
    def _has_unlabelled_test(self) -> bool:
        """Whether images without a label are a test part; beside class folders any may lie."""
        files = self.source.unlabelled
        if self.images["_target_"] != "pipeline.dataset.sources.in_class_folders":
            return bool(files)
        return any("test" in map(part_in_words, file.split("/")[:-1]) for file in files)


def recognise(root: Path, hints: Hints = _NO_HINTS) -> Recognised:
    """How `root` is to be read; raises `PipelineError` with what to write where that is unclear."""
    if not root.is_dir():
        raise PipelineError(f"{root}: no such folder")
    try:
        if is_saved(root):
            images, kind, rule = read_saved(root, hints)
            return Recognised(images, kind, rule, find_images(images, root))
        with _no_garbage_collection():
            found = _in_files(root, hints)
            if hints.group_pattern is None:
                return found
            images = {**found.images, "group_pattern": hints.group_pattern}
            source = in_groups(found.source, hints.group_pattern)
            return replace(found, images=images, source=source)
    except Unclear as error:
        raise PipelineError(f"{root}: {error}") from None


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Without the collector of cycles, which takes a third of the time to walk all rows again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _in_files(root: Path, hints: Hints) -> Recognised:
    """By tables, else by folders, else by the names of files, where no option chooses."""
    index, others, sidecars = files_in(root, hints.images)
    tables = _tables_in(others, index, hints)
    read = {each.name for each in tables}
    unread = [path for path in others if path not in read]
    use_tables = hints.table != "none" and not hints.pattern
    if hints.layout and hints.table is None:
        use_tables = False
    notes: list[str] = []
    if use_tables and (found := labels_in_tables(tables, index, hints, notes)):
        unnamed = _unnamed(found, index) if hints.table is None else []
        if hints.table is None:
            refuse_other_lists(unread, index, found.names)
        by_tables = _by_tables(found, index, hints, unnamed, notes)
        return _with_notes(by_tables, root, unread, hints)
    if use_tables:
        if hints.table is not None:
            raise Unclear(f"--table {hints.table} gives no labels: write none for the folders")
        refuse_lost_columns(tables, hints)
    if not hints.images and not hints.layout:
        refuse_parallel(index.files)
        refuse_masks(index.files)
    reading = None if hints.pattern is not None else read_folders(index.files, hints)
    alone = "the files' names" if reading is None else "the folders"
    try:
        reading = reading or _by_names(index, sidecars, tables, unread, hints)
    except Unclear:
        if use_tables:
            refuse_not_understood(tables, unread, index, "")
        raise
    if use_tables:
        otherwise = f", or --table none to use {alone} alone"
        refuse_not_understood(tables, unread, index, otherwise)
    by_paths = _by_paths(reading, tables, index, hints)
    if use_tables:
        classes = {label for image in by_paths.source.images for label in image.labels}
        of_groups = [each for each in unread if suffix_of(each) in (".csv", ".tsv")]
        refuse_groups_as_classes(root, of_groups[:MOST_TABLES], sorted(classes))
    return _with_notes(by_paths, root, unread, hints)


def _tables_in(others: Sequence[str], index: ImageFiles, hints: Hints) -> list[ImageTable]:
    """The tables that name images; with --table those, and what may be lists of parts."""
    wanted = [path for path in others if suffix_of(path) in TABLES]
    asked = wanted
    if hints.table is not None:
        asked = [] if hints.table == "none" else named_files(index.root, hints.table)
        maybe_lists = [path for path in wanted if part_in_name(path) and hints.part is None]
        wanted = list(dict.fromkeys([*asked, *maybe_lists]))
    elif len(wanted) > MOST_TABLES:
        raise Unclear(
            f"{len(wanted)} tables or lists: write --table TABLE, or none for the folders"
        )
    found: list[ImageTable] = []
    lists: list[ImageTable] = []  # without labels and without the column of option --file
    without: list[NoColumn] = []
    for path in wanted[:MOST_TABLES]:
        try:
            each = image_table(path, index, hints)
        except NoColumn as error:
            without.append(error)
            with suppress(Unclear):
                each = image_table(path, index, replace(hints, file=None))
                if each is not None and each.meaning is each.unclear is None:
                    lists.append(each)
        except Unclear:
            if path in asked or part_in_words(path.rpartition("/")[2]):
                raise
        except PipelineError:  # no list of a part, such as boxes in COCO's format
            if path in asked:
                raise
        else:
            if each is None and path in asked and hints.table is not None:
                raise Unclear(f"--table {path} names no images")
            if each is not None:
                found.append(each if path in asked else each.as_list())
    if without and not found:
        raise without[0]
    return [*found, *lists]


def _unnamed(labels: LabelTables, index: ImageFiles) -> list[str]:
    """The images in no table; raises where they lie in class folders of their own."""
    named, first = labels.named, labels.group[0].name
    n_rows = sum(len(each.frame) for each in labels.group)
    few = len(named) < 0.5 * len(index.files)
    odd = few or any(each.file_column.count < 0.5 * len(each.frame) for each in labels.group)
    if odd and len(named) < 0.5 * n_rows:
        raise Unclear(
            f"{first} names {len(named)} of {len(index.files)} images in {n_rows} rows: write "
            f"--table {quote(first)} to use it all the same, or --table none for the folders"
        )
    known = named | images_named_by(each for each in labels.others if each.part != "train")
    unnamed = [file for file in index.files if file not in known]
    class_of = class_folders(unnamed)
    classes = sorted(set(class_of.values()))
    if len(class_of) > 0.1 * len(index.files) and len(classes) > 1:
        third = ""
        stems, place = set(map(any_stem, named)), common_folders(list(named)).rstrip("/")
        if sum(any_stem(file) in stems for file in class_of) > 0.5 * len(class_of):
            third = f", or --images {quote(place)} for the images there" if place else ""
        elif not any(each.is_submission for each in labels.group):
            with suppress(Unclear):
                if reading := read_folders(list(class_of), Hints()):
                    layout = quote(reading.layout)
                    third = f", or --table {labels.names} --layout {layout} for both"
        raise Unclear(
            f"{first} names {len(named)} of {len(index.files)} images, and {len(class_of)} others "
            f"lie in folders of their own ({listed(classes)}): write --table {labels.names} "
            f"to use the table alone, --table none for the folders alone{third}"
        )
    return unnamed


def _by_tables(
    found: LabelTables, index: ImageFiles, hints: Hints, unnamed: Sequence[str], notes: list[str]
) -> Recognised:
    """Labels as tables give them; of the `unnamed` images those are told that are no faults."""
    images, rule = found.images, found.rule
    if hints.layout is not None:
        images["layout"] = hints.layout
        if not is_split(images) and parts_of_paths(index.files, in_names=False):
            images["part_of_path"] = True
        rule += f"; of other images the folders do: {hints.layout}"
    source = find_images(images, index.root)
    if n := len(set(unnamed).difference(fault.file for fault in source.faults)):
        are = "is" if n == 1 else "are"
        notes.append(f"{n} of {len(index.files)} images {are} in no table and {are} not used")
    lists = lists_beside(images, source, [*found.same, *found.others], index, hints)
    left = [each for each in found.others if each.name not in lists.names]
    if hints.table is None:
        refuse_lost_columns(left, hints)
    if unlabelled := [each for each in left if each.files - found.named]:
        images["unlabelled"] = [each.name for each in unlabelled]
    for each in left:
        other = len(each.files - found.named)
        what = number_of(other, "other image and gives it", "other images and gives them")
        what = what if other else "the same images and gives"
        notes.append(f"{each.name} names {what} no label{_not_used(each)}")
    rule += lists.add_to(images)
    beside = ""
    if hints.table is None and hints.label is None:
        beside = agreement_of_folders(found, index.files, hints)
    if hints.label is None and beside != SAME:
        _refuse_doubtful(found)
    rule += beside
    if unlabelled:
        source = find_images(images, index.root)
    elif "lists" in images:
        source = in_listed_parts(source, index.root, images["lists"])
    if hints.layout is not None:
        _refuse_other_labels(source, found, hints.layout)
    return Recognised(images, found.kind, rule, source, notes)


def _refuse_doubtful(found: LabelTables) -> None:
    """Raise where labels may be of objects in the images, or measurements."""
    label = found.images["label"]
    for each in found.group:
        if isinstance(label, str) and (why := why_doubtful(each.frame, label)):
            raise Unclear(
                f"{each.name}: column {label} {why}: write --label {quote(label)} if it gives the "
                "class of the whole image, or a CSV with a column of file names and one of classes"
            )


def _not_used(table: ImageTable) -> str:
    """What is not used of a table without labels: its parts or groups, in brackets."""
    with suppress(Unclear):
        if more := says_more(table):
            return f" ({more}, which is not used)"
    return ""


def _refuse_other_labels(source: Source, table: LabelTables, layout: str) -> None:
    """Raise where a layout labels no image, or none with a label of the table."""
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


def _by_names(
    index: ImageFiles,
    sidecars: Sequence[str],
    tables: Sequence[ImageTable],
    unread: Sequence[str],
    hints: Hints,
) -> Reading:
    files = index.files
    if len(sidecars) >= 0.5 * len(files) and hints.pattern is None:
        kinds = Counter(map(suffix_of, sidecars))
        raise Unclear(
            f"{len(files)} images have annotation files of their own ({counted(kinds)}, the first "
            f"{sidecars[0]}), which are not read: write a CSV with a column of file names and one "
            "of labels (docs/datasets.md#boxes has commands for boxes)"
        )
    if reading := read_names(files, hints):
        return reading
    others = [each for each in unread if suffix_of(each) in (".csv", ".tsv")]
    named = "names none of them" if len(others) == 1 else "name none of them"
    table = f"{listed(others)} {named}" if others else "no table that names them"
    if tables:
        table = f"no label in {listed(each.name for each in tables)} (--label names its column)"
    raise Unclear(
        f"{number_of(len(files), 'image', 'images')}, but {table}, "
        f"{why_no_classes(index.root, files)} and no labels found in the file names "
        f"({pattern_of_few(files)}): write a CSV with a column of file names and one of labels, or "
        "conf/dataset/NAME.yaml by hand (docs/datasets.md)"
    )


def _by_paths(
    reading: Reading, tables: Sequence[ImageTable], index: ImageFiles, hints: Hints
) -> Recognised:
    """Labels as folders or names of files give them; no table gives any."""
    notes = []
    source = find_images(reading.images, index.root)
    lists = lists_beside(reading.images, source, tables, index, hints)
    if silent := [each.name for each in tables if each.name not in lists.names]:
        said = "name images and give" if len(silent) > 1 else "names images and gives"
        to_split = f": {TO_SPLIT}" if len(silent) > 1 else ""
        notes.append(f"{listed(silent)} {said} no label{to_split}")
    rule = reading.evidence + lists.add_to(reading.images)
    if "lists" in reading.images:
        source = in_listed_parts(source, index.root, reading.images["lists"])
    chosen = hints.part is not None or hints.layout is not None
    if not chosen and not any(image.part for image in source.images):
        refuse_unread_parts([image.file for image in source.images])
    return Recognised(reading.images, "single", rule, source, notes)


def _with_notes(found: Recognised, root: Path, unread: Sequence[str], hints: Hints) -> Recognised:
    """Add notes on files that are called like parts or may name the classes, and are not read."""
    if found.split != "given" and hints.part is None:
        found.notes.extend(unread_parts(unread))
    classes = {label for image in found.source.images for label in image.labels}
    if len(classes) > 1 and all(label.isdecimal() for label in classes):
        found.notes.extend(_names_of_numbers(root, unread, len(classes)))
    return found


def _names_of_numbers(root: Path, unread: Sequence[str], n_classes: int) -> Iterator[str]:
    """A note on each short file with an entry per class: classes.txt, cat_to_name.json."""
    for path in [each for each in unread if suffix_of(each) in (".txt", ".names", ".csv", ".json")]:
        name = path.rpartition("/")[2]
        if ABOUT.fullmatch(name) or (root / path).stat().st_size > MOST_BYTES_OF_NAMES:
            continue
        with suppress(ValueError, RecursionError):  # no UTF-8, no JSON
            text = (root / path).read_text("utf-8-sig")
            lines = [line for line in text.splitlines() if line.strip()]
            entries = json.loads(text) if suffix_of(path) == ".json" else lines
            named = entries.values() if isinstance(entries, dict) else entries
            short = isinstance(entries, list | dict) and all(len(str(each)) < 60 for each in named)
            if short and 0 <= len(entries) - n_classes <= 1:  # perhaps with a header
                yield (
                    f"{path} is not read: if it names the {n_classes} classes, which are numbers "
                    "here, write a table with the names in place of the numbers to see them in "
                    "reports and predictions"
                )
