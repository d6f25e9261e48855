"""What a tree of folders says, where no table does: which level names parts, classes, groups."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from pipeline.dataset.file_column import (
    NO_IMAGES,
    Hints,
    Unclear,
    choice_of_folders,
    common_folders,
)
from pipeline.dataset.image_files import empty_folders, folder_of, parallel_folders
from pipeline.dataset.sources import Layout, listed, part_in_words, part_of_folder, words

NO_CLASSES = NO_IMAGES | words(
    "image images img imgs pic pics picture pictures photo photos jpg jpeg jpegs png pngs "
    "jpegimages data dataset raw original originals input inputs output outputs files "
    "frames crops thumbnails thumbs resized unlabeled unlabelled tmp temp export exports"
)
_SAYS_NOTHING = NO_CLASSES | {"cropped", "frame", "all"}
_OUTCOMES = words(  # of which there are numbered cases, seldom numbered classes
    "normal abnormal tumor tumour cancer benign malignant healthy sick diseased control controls "
    "positive negative pos neg covid infected uninfected"
)
_ONES = "patient|subject|sub|case|session|ses|slide|video|scene|site|user|group|seq|sequence|clip"
_ONES += "|study|specimen"
_VOLUMES = re.compile(
    r"(?:.*[-_ ])?(?:part|batch|chunk|folder|shard|split|fold|vol|volume|disk|images?|imgs?|data|"
    rf"set|dir|tile|patch|slice|{_ONES})"
    r"[-_ ]?\d+(?:[-_ ][a-z]*[-_ ]?\d+)*",  # patient_004_node_2
    re.I,
)
_OF_ONE = re.compile(rf"(?:{_ONES})[-_ ]?\d+", re.I)  # whose images go together
_DATE = re.compile(r"(?:19|20)\d\d[-_.]?(?:0\d|1[0-2])[-_.]?[0-3]\d.*|.*_20\d{6}T\d{6}(_.*)?")
_ID = re.compile(  # of DICOM, a hash, a UUID, of The Cancer Genome Atlas
    r"\d+(?:\.\d+){4,}|[0-9a-f]{16,}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|TCGA(?:-\w+){2,}",
    re.I,
)
_NUMBERED = re.compile(r".*\d.*")
MANY_IN_A_ROW, FEW_IMAGES = 5, 20


class Nested(Unclear):
    """Folders in folders, of which the upper or the lower ones may be the classes."""

    def __init__(
        self, upper: Sequence[str], lower: Sequence[str], layouts: tuple[str, str], alone: str = ""
    ) -> None:
        super().__init__(
            f"folders in folders: are the classes {listed(upper)} (write --layout '{layouts[0]}'), "
            f"or {listed(lower)} (write --layout '{layouts[1]}'{alone})?"
        )
        self.layouts = layouts


@dataclass(frozen=True)
class Reading:
    """How folders or names are to be read, in keys of the YAML and in words."""

    images: dict[str, Any]
    evidence: str

    @property
    def layout(self) -> str:
        """As --layout has it."""
        plain = "{part}/{label}" if "parts" in self.images else "{label}"
        return str(self.images.get("layout", plain))


def read_folders(files: Sequence[str], hints: Hints, beside_table: bool = False) -> Reading | None:
    """Class folders with or without parts; None where all images lie side by side.

    Raises `Unclear` where folders may mean several things; where a table gives the labels, to be
    compared with them, folders of numbers in folders keep images together.
    """
    target = "pipeline.dataset.sources.in_class_folders"
    if hints.layout is not None:
        Layout.of(hints.layout)
        return Reading({"_target_": target, "layout": hints.layout}, f"folders: {hints.layout}")
    tree = _Tree.of(files)
    if not tree.labelled:
        return None
    if not beside_table:
        _refuse_copies(tree)
    tail, deeper = _label_level(tree, beside_table)
    classes = sorted({rest[0] for rest in tree.labelled})
    if len(classes) < 2:
        return None
    layout = tree.layout("{label}", *(["**"] if tail else []))
    _refuse_odd_classes(classes, tree.labelled.total(), layout)
    told = [f"{len(classes)} folders name the classes ({listed(classes)})"]
    told += [f"folders {', '.join(tree.parts)} are the parts"] if tree.parts else []
    evidence = "; ".join([*told, deeper] if deeper else told)
    levels = tree.layout("{label}", *tail)
    part_of = {folder: str(part_in_words(folder)) for folder in tree.parts}
    plain = levels in ("{label}", "{part}/{label}") and not (tree.parts and tree.bare)
    if not plain or len(set(part_of.values())) < len(part_of):
        return Reading({"_target_": target, "layout": levels}, evidence)
    parts = {"parts": {part: folder for folder, part in part_of.items()}} if part_of else {}
    return Reading({"_target_": target, **parts}, evidence)


@dataclass(frozen=True)
class _Tree:
    """The levels of folders: those that all images share, that of the parts, and the rest."""

    above: list[str]
    part_level: int | None  # below those
    parts: list[str]
    bare: bool  # whether images lie in the folder of a part itself
    inner: list[str]  # below the parts, shared by all images
    labelled: Counter[tuple[str, ...]]  # what is left, of images that lie so deep

    @classmethod
    def of(cls, files: Sequence[str]) -> "_Tree":
        above: list[str] = []
        folders = _descend(Counter(tuple(file.split("/")[:-1]) for file in files), above)
        level = _part_level(folders, above)
        parts: list[str] = []
        if level is not None:
            parts = sorted({each[level] for each in folders if len(each) > level})
            folders = Counter(
                {each: count for each, count in folders.items() if len(each) > level or not each}
            )
        inner: list[str] = []
        if level == 0 and all(each[:1] == each[1:2] for each in folders):  # as archives leave it
            folders = Counter({each[1:]: count for each, count in folders.items()})
            inner = ["*"]
        rests = Counter[tuple[str, ...]]()
        for each, count in folders.items():
            rests[each if level is None else each[:level] + each[level + 1 :]] += count
        if level == 0:
            _refuse_bare_parts(folders, above)
        labelled = Counter({rest: count for rest, count in rests.items() if rest})
        if level in (None, 0):
            labelled = _descend(labelled, inner, to_classes=True)
            labelled = Counter({rest: count for rest, count in labelled.items() if rest})
        bare = any(len(each) == 1 for each in folders)
        return cls(above, level, parts, bare, inner, labelled)

    def layout(self, *below: str) -> str:
        """As --layout has it, given what the levels of `labelled` mean."""
        said = [*self.inner, *below]
        if self.part_level is not None:
            said.insert(self.part_level, "{part}")
        levels = ["*" if each == "**" else each for each in said[:-1]]
        return "/".join([*self.above, *levels, said[-1]])


def _descend(
    folders: Counter[tuple[str, ...]], levels: list[str], to_classes: bool = False
) -> Counter[tuple[str, ...]]:
    """Without the folders that all images have in common, which go to `levels`.

    The last folders on a way stay, if they are all there is; with `to_classes`, folders that
    could be a class of their own stay too.
    """
    while folders and all(folders) and len({each[0] for each in folders}) == 1:
        first = next(iter(folders))[0]
        if to_classes and first.lower() not in NO_CLASSES:
            break
        levels.append(first)
        folders = Counter({each[1:]: count for each, count in folders.items()})
    return folders


def _part_level(folders: Counter[tuple[str, ...]], above: Sequence[str]) -> int | None:
    """At which level of folders the parts are; None if at none, `Unclear` if at some only.

    A folder is one by its whole name (`train`, `test_images`), or by a word of it (`cars_train`)
    where each part then has one folder.
    """
    deepest = max(map(len, folders), default=0)
    for level in range(min(deepest, 3)):
        names = Counter[str]()
        for each, count in folders.items():
            if len(each) > level:
                names[each[level]] += count
        said = {name: part for name in names if (part := part_in_words(name))}
        if "train" not in said.values() or not len(set(said.values())) == len(said) > 1:
            said = {name: part for name in said if (part := part_of_folder(name))}
        known = said.keys()
        if not known:
            continue
        strange = sorted(names.keys() - known)
        if strange and level > 0:
            continue
        if strange:
            raise Unclear(
                f"folders {listed(sorted(known))} look like parts, but {listed(strange)} beside "
                f"them ({sum(names[name] for name in strange)} images) does not: write --layout "
                f"'{'/'.join([*above, '{label}', '**'])}' if all of them are classes, --images "
                "FOLDER to use one folder alone, or move or rename what is no part"
            )
        if "train" not in said.values() and len(known) > 1:
            raise Unclear(f"folders {listed(sorted(known))} look like parts, and none is train")
        if len(known) == 1 and len({each[level:] for each in folders}) < 2:
            continue
        return level
    return None


def _refuse_bare_parts(folders: Counter[tuple[str, ...]], above: Sequence[str]) -> None:
    """A part without the class folders of the others is not left aside; a flat one of test is."""
    deep = sorted({each[0] for each in folders if not {*map(str.lower, each[1:])} <= NO_CLASSES})
    for each, count in folders.items():
        flat = len(each) == 1
        if deep and each[0] not in deep and not (flat and part_in_words(each[0]) == "test"):
            to_leave_out = ""
            if "train" in map(part_in_words, deep) and (flat or len(deep) == 1):
                kept = "{part}" if len(deep) > 1 else deep[0]
                layout = "/".join([*above, kept, "{label}", "**"])
                to_leave_out = f", or write --layout '{layout}' to leave them out"
            raise Unclear(
                f"{'/'.join([*above, *each])} holds {count} images and no class folders, unlike "
                f"{listed(deep)}: move them into such folders{to_leave_out}"
            )


def _refuse_copies(tree: _Tree) -> None:
    """Raise where a folder beside the class folders holds folders that are called like them."""
    names = {rest[0] for rest in tree.labelled}
    below: dict[str, set[str]] = defaultdict(set)
    for rest in tree.labelled:
        below[rest[0]].update(rest[1:2])
    for name in sorted(below):
        alike = [each for each in sorted(below[name] & names) if not each.isdecimal()]
        if alike and name not in below[name]:
            place = tree.layout(name)
            alone = f"write --images {quote(place)} to use it alone, "
            alone = "" if "{" in place or name.lower() in NO_IMAGES else alone
            raise Unclear(
                f"{place} holds folders that are called like those beside it ({listed(alike)}), "
                f"as a second copy does: {alone}move it away to use the others, or write --layout "
                f"'{tree.layout('{label}', '**')}' if it is a class"
            )


def _label_level(tree: _Tree, beside_table: bool) -> tuple[list[str], str]:
    """What follows the class's own folder in the layout, and a word about it."""
    deep = {rest for rest in tree.labelled if len(rest) > 1}
    if not deep:
        return [], ""
    owners: dict[str, set[str]] = defaultdict(set)  # of each folder in one that may be a class
    for rest in deep:
        owners[rest[1]].add(rest[0])
    names, upper = sorted(owners), sorted({rest[0] for rest in tree.labelled})
    beside = any(len(rest) == 1 for rest in tree.labelled)  # files beside those folders
    depth = max(map(len, deep))
    one_each = len(names) == 1 and len(owners[names[0]]) == len(upper) and min(map(len, deep)) > 2
    own_name = all(rest[0] == rest[1] for rest in deep)  # as archives leave it
    generic = all(name.lower() in _SAYS_NOTHING for name in names)  # images/ in each
    if generic or (not beside and (one_each or own_name)):
        if inner := sorted({rest[2] for rest in deep if len(rest) > 2}):
            lower = ["*", "*", "{label}", *["**"] * (depth > 3)]
            raise Nested(upper, inner, (tree.layout("{label}", "**"), tree.layout(*lower)))
        return ["**"], f"folders below them ({listed(names)}) mean nothing"
    of_ones = all(map(_OF_ONE.fullmatch, names))  # patients, never classes
    repeated = any(len(each) > 1 for each in owners.values())
    bare = not beside_table and all(map(str.isdecimal, names))  # patients, or iNaturalist's
    groups = (depth == 2 or of_ones) and not beside
    lower = ["{group}" if all(map(_OF_ONE.fullmatch, upper)) else "*", "{label}"]
    lower += ["**"] * (depth > 2)
    named = bare or not all(map(_NUMBERED.fullmatch, names))
    if not of_ones and (repeated or (named and not beside)):
        below = "{group}" if groups and bare and not repeated else "**"
        place = tree.layout(upper[0])
        alone = f", and --images {quote(place)} for one of those above alone"
        crossed = all(len(each) == len(upper) for each in owners.values())
        alone = alone if crossed and "{" not in place else ""
        layouts = tree.layout("{label}", below), tree.layout(*lower)
        raise Nested(upper, names, layouts, alone)
    if groups:
        return ["{group}"] + ["**"] * (depth > 2), (
            f"folders below them ({listed(names)}) keep their images together (if they are the "
            f"classes, write --layout '{tree.layout(*lower)}')"
        )
    return ["**"], f"folders below them ({listed(names)}) mean nothing"


def may_be_class(folder: str) -> bool:
    """Whether a folder's name may be a class's."""
    odd = _VOLUMES.fullmatch(folder) or _DATE.fullmatch(folder) or part_in_words(folder)
    return bool(folder) and folder.lower() not in NO_CLASSES and not odd


def class_folders(files: Sequence[str]) -> dict[str, str]:
    """Of each file that lies in one, the folder that may be its class; not one that holds all."""
    n_common = len(common_folders(files))
    found = {}
    for file in files:
        if names := [name for name in file[n_common:].split("/")[:-1] if may_be_class(name)]:
            found[file] = names[-1]
    return found


def _refuse_odd_classes(classes: Sequence[str], n_images: int, layout: str) -> None:
    """Folders that are no class by their names never become one in silence."""
    generic = [name for name in classes if name.lower() in NO_CLASSES]
    said = {name: part for name in classes if (part := part_in_words(name))}
    parts = [name for name in said if part_of_folder(name)]
    if {"train"} < set(said.values()):
        parts = list(said)
    if odd := generic + parts:
        others = [name for name in classes if name not in odd]
        instead = "--images FOLDER for the folder that holds the images"
        if len(others) > 1:
            instead = f"move them away to use the others alone ({listed(others)})"
        raise Unclear(
            f"classes would be made of folders {listed(odd)}, which are called like something "
            f"else: write --layout '{layout}' if they are classes, or {instead}"
        )
    look = "look like volumes, groups, dates or ids"
    if before := _numbered_alike(classes, n_images):
        look = f"are {listed(before)} and a number, as slides or patients are"
    if before or any(all(map(each.fullmatch, classes)) for each in (_VOLUMES, _DATE, _ID)):
        raise Unclear(
            f"classes would be made of folders {listed(classes)}, which {look}: write --layout "
            f"'{layout}' if they are classes, or give a table with a column of file names and one "
            "of labels"
        )


def _numbered_alike(classes: Sequence[str], n_images: int) -> list[str]:
    """What stands before the numbers of cases, such as tumor_1, tumor_2, normal_1, normal_2.

    Classes are numbered too: cases are called like an outcome, or many in a row have few images.
    """
    matches = [re.fullmatch(r"(.*[^\W\d_])[-_ ]?(\d+)", name) for name in classes]
    found = sorted(match.groups() for match in matches if match)
    texts = sorted({text for text, _ in found})
    each = [sorted(int(number) for text, number in found if text == one) for one in texts]
    if len(found) < len(classes) or len(each) < 2 or min(map(len, each)) < 2:
        return []
    padded = any(number.startswith("0") and len(number) > 1 for _, number in found)
    in_a_row = padded and all(of[-1] - of[0] + 1 == len(of) >= MANY_IN_A_ROW for of in each)
    cases = in_a_row and n_images < FEW_IMAGES * len(classes)
    return texts if cases or {*map(str.lower, texts)} <= _OUTCOMES else []


def why_no_classes(root: Path, files: Sequence[str]) -> str:
    """In words, why the folders are no classes."""
    names = {folder_of(file).rpartition("/")[2] for file in files}
    only = next(iter(names))
    if len(names) > 1 or not only or only.lower() in NO_CLASSES or part_of_folder(only):
        return "no class folders"
    if empty := empty_folders(root):
        are = "folder {} is" if len(empty) == 1 else "folders {} are"
        return f"only one class ({only}; {are.format(listed(empty))} empty)"
    return f"only one class ({only}; each needs a folder of its own)"


def refuse_parallel(files: Sequence[str]) -> None:
    """Raise where two folders hold files of the same stems, such as images and masks."""
    if (pair := parallel_folders(files, NO_CLASSES)) is None:
        return
    first, second = pair
    ends = {folder.rpartition("/")[2].lower() for folder in pair}
    left = ends & NO_IMAGES or {first.rpartition("/")[2].lower()}
    kept = [file for file in files if left.isdisjoint(folder_of(file).lower().split("/"))]
    name = first.rpartition("/")[2]
    holders = {file.partition(f"{name}/")[0] for file in files if f"/{name}/" in f"/{file}"}
    hint = choice_of_folders(first, second)
    if len(holders) > 1:  # one in each class's folder
        hint = f"move the folders {' and '.join(sorted(left))} away to use the others"
    raise Unclear(
        f"{first} and {second or '.'} hold files of the same names, such as images and "
        f"masks: {hint}{_layout_without(kept, files)}"
    )


def _layout_without(kept: Sequence[str], files: Sequence[str]) -> str:
    """The option that gives the kept files their class folders, and the other files none."""
    reading = None
    with suppress(Unclear):
        reading = read_folders(kept, Hints())
    if reading is None:
        return ""
    levels = reading.layout.split("/")
    if levels[-1] == "**":
        tails = {tuple(file.split("/")[len(levels) - 1 : -1]) for file in kept}
        levels[-1:] = tails.pop() if len(tails) == 1 else ["**"]
    layout, known = "/".join(levels), set(kept)
    others = (tuple(file.split("/")[:-1]) for file in files if file not in known)
    if any(Layout.of(layout).read(each) is not None for each in others):
        return ""
    return f", or --layout {quote(layout)} for the class folders"
