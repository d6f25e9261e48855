"""Lists that name the images of each part, `train.txt` and `test.txt`, beside folders or a table.

They are read, or they say what folders or table say; where several splits are listed, or lists and
table differ, a person chooses.
"""

from collections.abc import Collection, Iterator, Sequence
from itertools import chain, combinations
from pathlib import Path
from shlex import quote
from typing import Any

from pipeline.dataset.columns import says_more
from pipeline.dataset.evidence import Named, in_order, look
from pipeline.dataset.find_images import find_images
from pipeline.dataset.image_files import ImageFiles
from pipeline.dataset.naming import Hints, Unclear, listed, naming
from pipeline.dataset.sources import named_files, part_in_words, parts_of_paths, suffix_of
from pipeline.dataset.table_files import TEXT

CODE = (".py", ".md", ".ipynb", ".sh")
FEWEST_LISTED = 0.02  # of the images, in lists of valid and test alone


def lists_beside(
    root: Path,
    images: dict[str, Any],
    tables: Sequence[Named],
    index: ImageFiles,
    hints: Hints,
) -> tuple[dict[str, list[str]], list[str]]:
    """The lists that give the parts; and those that say the same as folders or table do.

    Raises `Unclear` where lists differ from them and none of option --lists chooses.
    """
    if hints.lists is None and not any(each.part_of_list for each in tables):
        return {}, []
    found = find_images(images, root).images
    part_of = {image.file: image.part for image in found}
    lists = lists_of_parts(root, tables, part_of.keys(), index, hints)
    if hints.lists is not None or not any(part_of.values()):
        _refuse_part_of_a_split(lists, part_of.keys())
        for each in chain(*lists.values()):
            _refuse_unread(each, index)
        return {part: [each.name for each in same] for part, same in lists.items()}, []
    in_names = "part_of_path" in images and not parts_of_paths(part_of, in_names=False)
    otherwise = "to split the images anew" if in_names else "for the second"
    for part, same in lists.items():
        for each in same:
            fitting = {"train", "valid"} if each.of_both else {part}
            for file in sorted(each.naming.files & part_of.keys()):
                if part_of[file] not in fitting:
                    names = ",".join(one.name for of_part in lists.values() for one in of_part)
                    raise Unclear(
                        f"two readings: {file} is in {part} by {each.name}, and in {part_of[file]} "
                        f"without it: write --lists {quote(names)} for the first, "
                        f"--part {quote(images.get('part', 'none'))} {otherwise}"
                    )
    return {}, [each.name for same in lists.values() for each in same]


def lists_of_parts(
    root: Path,
    tables: Sequence[Named],
    labelled: Collection[str],
    index: ImageFiles,
    hints: Hints,
) -> dict[str, list[Named]]:
    """The lists that name the images of each part, `train.txt` and `test.txt`, by the part.

    Those of option --lists, whatever they name, else those that lie there.
    """
    if hints.lists is not None:
        names = named_files(root, hints.lists)
        lists = in_order(_list_asked(root, name, index, hints) for name in names)
    elif hints.part is not None:
        return {}
    else:
        lists = _lists_among(tables, labelled)
    for one, other in combinations(lists, 2):
        if one.part_of_list != other.part_of_list and one.naming.files & other.naming.files:
            both = f"{one.name} and {other.name} both name"
            both = f"{both} {min(one.naming.files & other.naming.files)}"
            if hints.lists is not None:
                raise Unclear(f"--lists: {both}: give lists of one split, such as train2, test2")
            raise Unclear(
                f"{both}: write --lists {quote(','.join(_one_per_part(lists)))} (or other lists, "
                "one per part), or --part none to split the images anew"
            )
    found: dict[str, list[Named]] = {}
    for each in lists:
        found.setdefault(str(each.part_of_list), []).append(each)
    return found


def _lists_among(tables: Sequence[Named], labelled: Collection[str]) -> list[Named]:
    """Of tables the lists of parts, which name images of which most are `labelled`.

    None where one of train names all, or lists without one of train name next to none.
    """
    lists = [
        each
        for each in in_order(each for each in tables if each.part_of_list)
        if each.meaning is None and _is_plain(each)
        if len(each.naming.files.intersection(labelled)) >= 0.5 * len(each.naming.files)
    ]
    if {"train", "valid"} <= {each.part_of_list for each in lists if not each.of_both}:
        lists = [each for each in lists if not each.of_both]
    parts = {each.part_of_list for each in lists}
    named = frozenset[str]().union(*(each.naming.files for each in lists))
    few = "train" not in parts and len(named) < FEWEST_LISTED * len(labelled)
    every = parts == {"train"} and named.issuperset(labelled)
    return [] if few or every else lists


def _is_plain(each: Named) -> bool:
    """Whether a table without labels neither splits nor groups the images by a column."""
    try:
        return not says_more(each.frame, each.naming, each.name)
    except Unclear:
        return False


def _refuse_unread(each: Named, index: ImageFiles) -> None:
    """Lists are read as lines of text that begin with a name."""
    unread = ""
    if suffix_of(each.name) not in TEXT:
        unread = "which is read from lists of text"
    elif not _begins_with_names(each, index):
        unread = f"but names them in column {each.naming.column}, which is not its first"
    if unread:
        raise Unclear(
            f"{each.name} splits the images into parts, {unread}: write one name per line, or "
            "--part none to split the images anew"
        )


def _begins_with_names(each: Named, index: ImageFiles) -> bool:
    """Whether its first column names the images that it names."""
    first = each.frame.columns[0]
    if each.naming.column == first:
        return True
    found = naming(each.frame[[first]], index, each.name, Hints())
    return found is not None and found.of_row == each.naming.of_row


def _refuse_part_of_a_split(lists: dict[str, list[Named]], labelled: Collection[str]) -> None:
    """Lists that leave nothing for train, or one of train alone, do not say what the rest is."""
    each_list = [each for same in lists.values() for each in same]
    named = set[str]().union(*(each.naming.files for each in each_list)).intersection(labelled)
    if lists.keys() == {"train"} or ("train" not in lists and len(named) == len(labelled)):
        missing, name = ("the others", "test") if "train" in lists else ("train", "train")
        raise Unclear(
            f"{len(named)} of {len(labelled)} images are in {listed(e.name for e in each_list)}, "
            f"and there is no list of {missing}: write one ({name}.txt), or --part none to split "
            "the images anew"
        )


def _one_per_part(lists: Sequence[Named]) -> list[str]:
    """The first list of each part that names none of the images of those before it."""
    found: dict[str | None, Named] = {}
    for each in lists:
        apart = all(each.naming.files.isdisjoint(one.naming.files) for one in found.values())
        if each.part_of_list not in found and apart:
            found[each.part_of_list] = each
    return [each.name for each in found.values()]


def _list_asked(root: Path, name: str, index: ImageFiles, hints: Hints) -> Named:
    found = look(root, name, index, hints)
    if found is None:
        raise Unclear(f"--lists: {name} names no images")
    if found.part_of_list is None:
        raise Unclear(f"--lists: {name} is not called like a part: train, valid or test")
    return found.as_list()


def with_lists(images: dict[str, Any], lists: dict[str, list[str]]) -> str:
    """Put the key `lists` into `images`, where there are any; what to add to the rule in words."""
    if not lists:
        return ""
    images["lists"] = {
        part: names[0] if len(names) == 1 else names for part, names in lists.items()
    }
    names = list(chain(*lists.values()))
    return f"; {listed(names)} {'give' if len(names) > 1 else 'gives'} the parts"


def refuse_unread_parts(files: Sequence[str]) -> None:
    """Raise where the names of all files begin with parts, train_1.jpg, or deep folders are some.

    Neither is read.
    """
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


def refuse_lost_columns(tables: Sequence[Named]) -> None:
    """A table without labels that splits or groups the images is not left aside."""
    for each in tables:
        if more := says_more(each.frame, each.naming, each.name):
            raise Unclear(
                f"{each.name} gives no label, but {more}: put that into the table of the labels, "
                "or write --table with the table to use (none: the folders alone)"
            )
