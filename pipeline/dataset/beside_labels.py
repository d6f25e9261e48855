"""What lies beside the labels: lists of the images of each part, class folders, other files.

Lists such as `train.txt` and `test.txt` give the parts, or agree with folders or table. Where there
are lists of several splits, or something contradicts the labels or their parts, `Unclear` says so.
No file that names the images is left aside in silence.
"""

import re
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice
from pathlib import Path
from shlex import quote
from typing import Any

from pipeline.core.command import number_of
from pipeline.dataset.columns import LABEL_NAMES, says_more
from pipeline.dataset.file_column import Hints, Unclear, find_file_column
from pipeline.dataset.folder_names import may_be_class
from pipeline.dataset.folders import Nested, read_folders
from pipeline.dataset.image_files import ImageFiles, why_not_read
from pipeline.dataset.image_tables import (
    ImageTable,
    LabelTables,
    image_table,
    images_named_by,
    in_order,
)
from pipeline.dataset.label_tables import column_key
from pipeline.dataset.sources import (
    Layout,
    Source,
    grouped,
    listed,
    named_files,
    part_in_words,
    parts_of_paths,
    suffix_of,
)
from pipeline.dataset.table_files import TEXT

CODE = (".py", ".md", ".ipynb", ".sh")
MOST_FILES = 200
MOST_BYTES = 64 << 20  # of a file that is searched for names of images
LINES_LOOKED_AT = 200  # of a list
SAME = "; the folders say the same"
FEWEST_LISTED = 0.02  # of the images, in lists of valid and test alone


@dataclass(frozen=True)
class PartLists:
    """The lists of the images of each part, which give the parts or agree with folders or table."""

    lists: list[ImageTable]
    give_parts: bool

    @property
    def names(self) -> list[str]:
        return [each.name for each in self.lists]

    def add_to(self, images: dict[str, Any]) -> str:
        """Put the key `lists` into `images` where they give the parts, and say so in words."""
        if not self.lists or not self.give_parts:
            return ""
        by_part = grouped(self.lists, lambda each: str(each.part_of_list)).items()
        named = {part: [each.name for each in same] for part, same in by_part}
        images["lists"] = {part: names if names[1:] else names[0] for part, names in named.items()}
        return f"; {listed(self.names)} {'give' if len(self.lists) > 1 else 'gives'} the parts"


def lists_beside(
    images: dict[str, Any],
    source: Source,
    tables: Sequence[ImageTable],
    index: ImageFiles,
    hints: Hints,
) -> PartLists:
    """The lists of the images of each part, `train.txt` and `test.txt`.

    Raises `Unclear` where they contradict folders or table and none of option --lists chooses.
    """
    if hints.lists is None and not any(each.part_of_list for each in tables):
        return PartLists([], give_parts=False)
    part_of = {image.file: image.part for image in source.images}
    lists = _chosen_lists(tables, part_of.keys(), index, hints)
    if hints.lists is not None or not any(part_of.values()):
        _refuse_part_of_a_split(lists, part_of.keys())
        for each in lists:
            _refuse_unread(each, index)
        return PartLists(lists, give_parts=True)
    in_names = "part_of_path" in images and not parts_of_paths(part_of, in_names=False)
    otherwise = "to split the images anew" if in_names else "for the second"
    for each in lists:
        fitting = {"train", "valid"} if each.of_both else {each.part_of_list}
        for file in sorted(each.files & part_of.keys()):
            if part_of[file] not in fitting:
                names = ",".join(one.name for one in lists)
                raise Unclear(
                    f"two readings: {file} is in {each.part_of_list} by {each.name}, and in "
                    f"{part_of[file]} without it: write --lists {quote(names)} for the first, "
                    f"--part {quote(images.get('part', 'none'))} {otherwise}"
                )
    return PartLists(lists, give_parts=False)


def _chosen_lists(
    tables: Sequence[ImageTable], labelled: Collection[str], index: ImageFiles, hints: Hints
) -> list[ImageTable]:
    """The lists of option --lists, whatever they name, else those that lie there; train first.

    Lists of different parts that name one image are `Unclear`.
    """
    if hints.lists is not None:
        names = named_files(index.root, hints.lists)
        lists = in_order(_list_asked(name, index, hints) for name in names)
    elif hints.part is not None:
        return []
    else:
        lists = _lists_among(tables, labelled)
    for one, other in combinations(lists, 2):
        if one.part_of_list != other.part_of_list and one.files & other.files:
            both = f"{one.name} and {other.name} both name {min(one.files & other.files)}"
            if hints.lists is not None:
                raise Unclear(f"--lists: {both}: give lists of one split, such as train2, test2")
            raise Unclear(
                f"{both}: write --lists {quote(','.join(_one_per_part(lists)))} (or other lists, "
                "one per part), or --part none to split the images anew"
            )
    return lists


def _list_asked(name: str, index: ImageFiles, hints: Hints) -> ImageTable:
    found = image_table(name, index, hints)
    if found is None:
        raise Unclear(f"--lists: {name} names no images")
    if found.part_of_list is None:
        raise Unclear(f"--lists: {name} is not called like a part: train, valid or test")
    return found.as_list()


def _lists_among(tables: Sequence[ImageTable], labelled: Collection[str]) -> list[ImageTable]:
    """The lists of parts among the tables: most images that they name are `labelled`.

    None where one of train names all, or lists without one of train name next to none.
    """
    lists = [
        each
        for each in in_order(each for each in tables if each.part_of_list)
        if each.meaning is None and _is_plain(each)
        if len(each.files.intersection(labelled)) >= 0.5 * len(each.files)
    ]
    if {"train", "valid"} <= {each.part_of_list for each in lists if not each.of_both}:
        lists = [each for each in lists if not each.of_both]
    parts = {each.part_of_list for each in lists}
    named = images_named_by(lists)
    few = "train" not in parts and len(named) < FEWEST_LISTED * len(labelled)
    every = parts == {"train"} and named.issuperset(labelled)
    return [] if few or every else lists


def _is_plain(each: ImageTable) -> bool:
    """Whether a table without labels neither splits nor groups the images by a column."""
    try:
        return not says_more(each)
    except Unclear:
        return False


def _one_per_part(lists: Sequence[ImageTable]) -> list[str]:
    """The first list of each part that names none of the images of those before it."""
    found: dict[str | None, ImageTable] = {}
    for each in lists:
        if each.part_of_list not in found and each.files.isdisjoint(
            images_named_by(found.values())
        ):
            found[each.part_of_list] = each
    return [each.name for each in found.values()]


def _refuse_part_of_a_split(lists: Sequence[ImageTable], labelled: Collection[str]) -> None:
    """Raise where lists leave nothing for train, or those of train do not say what the rest is."""
    parts = {each.part_of_list for each in lists}
    named = images_named_by(lists).intersection(labelled)
    if parts == {"train"} or ("train" not in parts and len(named) == len(labelled)):
        missing, name = ("the others", "test") if "train" in parts else ("train", "train")
        are = "is" if len(named) == 1 else "are"
        raise Unclear(
            f"{len(named)} of {len(labelled)} images {are} in {listed(e.name for e in lists)}, "
            f"and there is no list of {missing}: write one ({name}.txt), or --part none to split "
            "the images anew"
        )


def _refuse_unread(each: ImageTable, index: ImageFiles) -> None:
    """Raise where a list is not lines of text that begin with names, which alone is read."""
    unread = ""
    if suffix_of(each.name) not in TEXT:
        unread = "which is read from lists of text"
    elif not _begins_with_names(each, index):
        unread = f"but names them in column {each.file_column.column}, which is not its first"
    if unread:
        raise Unclear(
            f"{each.name} splits the images into parts, {unread}: write one name per line, or "
            "--part none to split the images anew"
        )


def _begins_with_names(each: ImageTable, index: ImageFiles) -> bool:
    """Whether its first column names the images that it names."""
    first = each.frame.columns[0]
    if each.file_column.column == first:
        return True
    found = find_file_column(each.frame[[first]], index, each.name, Hints())
    return found is not None and found.of_row == each.file_column.of_row


def agreement_of_folders(table: LabelTables, files: Sequence[str], hints: Hints) -> str:
    """What the folders say beside a table, in words; `Unclear` where that is something else."""
    try:
        reading = read_folders(files, hints, beside_table=True)
    except Nested as error:
        return _beside_nested(table, files, error)
    except Unclear:  # their names are no classes
        return ""
    folder_labels = _labels_by_folder(files, reading.layout) if reading else {}
    if table.images.get("rows") == "folder" and _names_folders(table, folder_labels):
        return ""
    return _agreement(table, folder_labels)


def _names_folders(table: LabelTables, folder_labels: dict[str, str]) -> bool:
    """Whether a column other than that of the labels names the folders: patients, or paths."""
    label = table.images["label"]
    columns = [each.frame[name] for each in table.group for name in each.frame if name != label]
    names = {name for cell in chain(*columns) for name in str(cell).split("/")}
    return names.issuperset(folder_labels.values())


def _labels_by_folder(files: Sequence[str], layout: str) -> dict[str, str]:
    levels = Layout.of(layout)
    said = ((file, levels.read(tuple(file.split("/")[:-1]))) for file in files)
    return {file: each["label"] for file, each in said if isinstance(each, dict)}


def _beside_nested(table: LabelTables, files: Sequence[str], nested: Nested) -> str:
    """Raise where folders in folders may be classes and the column is not called like labels."""
    label = table.images["label"]
    choices = []
    for layout in nested.layouts:
        counts = _counts_of_pairs(_labels_by_folder(files, layout), table.labels)
        folders, texts = ({pair[place] for pair in counts} for place in (0, 1))
        if len(counts) == len(folders) == len(texts) > 1:
            return SAME
        if len(folders) > 1 and all(may_be_class(name) and name.isalpha() for name in folders):
            choices.append(listed(sorted(texts)))
    called = not isinstance(label, str) or label.startswith("column ")
    if choices and not called and column_key(label) not in LABEL_NAMES:
        raise Unclear(
            f"two readings: column {label} of {table.names} says {choices[0]} (write --table "
            f"{table.names}), or {nested}"
        )
    return "; the folders in folders are not used"


def _agreement(table: LabelTables, folder_labels: dict[str, str]) -> str:
    """Whether the folders say the same as the table; `Unclear` where they do not."""
    counts = _counts_of_pairs(folder_labels, table.labels)
    folders, texts = ({pair[place] for pair in counts} for place in (0, 1))
    if len(folders) < 2:
        return ""
    if len(counts) == len(folders) == len(texts):
        return SAME
    by_folder = grouped(counts, lambda pair: pair[0])
    agreeing = sum(max(map(counts.__getitem__, pairs)) for pairs in by_folder.values())
    differ = ""
    if len(texts) == len(folders) and agreeing > 0.5 * counts.total():
        differ = f" ({number_of(counts.total() - agreeing, 'image differs', 'images differ')})"
    raise Unclear(
        f"two readings: the table says {listed(sorted(texts))}, the folders say "
        f"{listed(sorted(folders))}{differ}: write --table {table.names} for the first, --table "
        "none for the second"
    )


def _counts_of_pairs(
    folder_labels: dict[str, str], labels: dict[str, str]
) -> Counter[tuple[str, str]]:
    """How many images have each pair of a folder's label and the table's."""
    pairs = ((folder, labels[file]) for file, folder in folder_labels.items() if file in labels)
    return Counter(pairs)


def refuse_unread_parts(files: Sequence[str]) -> None:
    """Raise where names of files (train_1.jpg) or deep folders seem to be parts, unread."""
    if said := parts_of_paths(files):
        in_folders = parts_of_paths(files, in_names=False)
        what = "the files lie in folders" if in_folders else "the files' names begin with"
        raise Unclear(
            f"{what} {listed(said)}, which look like parts: write lists of the images of each, "
            "train.txt and so on, or --part none to split the images anew"
        )


def unread_parts(paths: Sequence[str]) -> Iterator[str]:
    """A note on the files that are called like parts, where none of them is read as a list."""
    names = ((path, path.rpartition("/")[2].partition(".")[0]) for path in paths)
    called = [path for path, name in names if part_in_words(name) and suffix_of(path) not in CODE]
    if called:
        what = "parts by their names, but no lists that can be read: the images are split anew"
        yield f"{listed(called)}: {what}"


def refuse_lost_columns(tables: Sequence[ImageTable], hints: Hints) -> None:
    """Raise where a table without labels splits or groups the images."""
    for each in tables:
        if more := says_more(each, of_parts=hints.part != "none"):
            raise Unclear(
                f"{each.name} gives no label, but {more}: put that into the table of the labels, "
                "or write --table with the table to use (none: the folders alone)"
            )


def refuse_not_understood(
    tables: Sequence[ImageTable], unread: Sequence[str], index: ImageFiles, otherwise: str
) -> None:
    """Raise where an unread file names the images; `otherwise` says how to ignore it."""
    paths = map(Path, index.files[:: max(1, len(index.files) // 40)][:40])
    names = [(path.name.encode(), f">{path.stem}<".encode()) for path in paths]  # in a cell, in XML
    for path, data in _contents(index.root, unread):
        named = sum(name in data or cell in data for name, cell in names)
        if named >= max(2, 0.3 * len(names)) or (suffix_of(path) == ".mat" and not otherwise):
            raise Unclear(f"{path} {why_not_read(path, data)}{otherwise}")
    _refuse_keyed_lists(index.root, tables, unread, otherwise)


def _refuse_keyed_lists(
    root: Path, tables: Sequence[ImageTable], paths: Sequence[str], otherwise: str
) -> None:
    """Raise where unread files refer to images by ids that a table gives them."""
    ids_of: dict[str, list[set[Any]]] = {}
    for each in tables:
        columns = [each.frame[name] for name in each.others]
        if ids := [set(cells) for cells in columns if cells.nunique() == len(cells) > 1]:
            ids_of[each.name] = ids
    lists = [path for path in paths if suffix_of(path) in TEXT] if ids_of else []
    firsts_of = {
        path: {words[0] for words in _words_of_lines(data)} for path, data in _contents(root, lists)
    }
    for table, columns_of_ids in ids_of.items():
        keyed = [
            path
            for path, firsts in firsts_of.items()
            if any(len(firsts & ids) >= 0.9 * max(len(firsts), len(ids)) for ids in columns_of_ids)
        ]
        if keyed:
            refer = "refer" if len(keyed) > 1 else "refers"
            raise Unclear(
                f"{listed(keyed)} {refer} to images by the ids in {table}, which is not "
                "read: write one table with a column of file names, one of labels and one of "
                f"parts{otherwise}"
            )


def refuse_other_lists(paths: Sequence[str], index: ImageFiles, tables: str) -> None:
    """Raise where a text file lists images and cannot be read as a table."""
    for path, data in _contents(index.root, [each for each in paths if suffix_of(each) in TEXT]):
        lines = list(islice(_words_of_lines(data), LINES_LOOKED_AT))
        firsts = [words[0] for words in lines] if len(lines) > 1 else [*chain(*lines)]
        named = sum(index.are_named(first) and not first.isdigit() for first in firsts)
        if named >= max(2, 0.5 * len(firsts)):
            raise Unclear(
                f"{path} lists images in a way that is not understood: write its labels as a CSV "
                f"with a column of file names, or --table {tables} to leave it out"
            )


def _words_of_lines(data: bytes) -> Iterator[list[str]]:
    for line in data.decode("utf-8", errors="replace").splitlines():
        yield re.split(r"[\s,;|]+", line.strip())


def _contents(root: Path, paths: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """The first files with their bytes, without very large ones."""
    for path in paths[:MOST_FILES]:
        if (root / path).stat().st_size <= MOST_BYTES:
            yield path, _searchable(root / path)


def _searchable(path: Path) -> bytes:
    """A file's bytes; of a spreadsheet those of its texts."""
    if path.suffix.lower() in (".xlsx", ".ods"):
        try:
            with zipfile.ZipFile(path) as opened:
                inner = [n for n in opened.namelist() if n.endswith(".xml")]
                return b"".join(opened.open(name).read(MOST_BYTES) for name in inner[:20])
        except (zipfile.BadZipFile, OSError, RuntimeError):
            return b""
    return path.read_bytes()
