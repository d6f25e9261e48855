"""What a tree of folders says, where no table does: which level names parts, classes, groups."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from pipeline.core.command import number_of
from pipeline.dataset.file_column import (
    NO_IMAGES,
    Hints,
    Unclear,
    choice_of_folders,
    common_folders,
)
from pipeline.dataset.folder_names import (
    NO_CLASSES,
    NUMBERED,
    OF_ONE,
    SAYS_NOTHING,
    may_be_class,
    parts_in_words,
    refuse_odd_classes,
)
from pipeline.dataset.image_files import empty_folders, folder_of, stem_path
from pipeline.dataset.sources import (
    Layout,
    listed,
    part_in_words,
    part_of_folder,
)


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
        """The value of --layout that reads them so."""
        plain = "{part}/{label}" if "parts" in self.images else "{label}"
        return str(self.images.get("layout", plain))


def read_folders(files: Sequence[str], hints: Hints, beside_table: bool = False) -> Reading | None:
    """Class folders with or without parts; None where all images lie side by side.

    Raises `Unclear` where folders may mean several things; where a table gives the labels, to be
    compared with them, folders of numbers in folders keep images together.
    """
    target = {"_target_": "pipeline.dataset.sources.in_class_folders"}
    if hints.layout is not None:
        Layout.of(hints.layout)
        return Reading(target | {"layout": hints.layout}, f"folders: {hints.layout}")
    tree = _Tree.of(files)
    if not tree.labelled:
        return None
    if not beside_table:
        _refuse_copies(tree)
    inner_levels, evidence_of_inner = _levels_below_classes(tree, beside_table)
    classes = sorted({rest[0] for rest in tree.labelled})
    if len(classes) < 2:
        return None
    refuse_odd_classes(
        classes, tree.labelled.total(), tree.layout("{label}", *["**"] * bool(inner_levels))
    )
    evidence = [f"{len(classes)} folders name the classes ({listed(classes)})"]
    if tree.parts:
        evidence.append(f"folders {', '.join(tree.parts)} are the parts")
    if evidence_of_inner:
        evidence.append(evidence_of_inner)
    layout = tree.layout("{label}", *inner_levels)
    folder_of_part = {str(part_in_words(folder)): folder for folder in tree.parts}
    plain = layout in ("{label}", "{part}/{label}") and not (tree.parts and tree.bare)
    images: dict[str, Any] = {**target, "layout": layout}
    if plain and len(folder_of_part) == len(tree.parts):
        images = {**target, **({"parts": folder_of_part} if tree.parts else {})}
    return Reading(images, "; ".join(evidence))


@dataclass(frozen=True)
class _Tree:
    """The levels of folders: those that all images share, that of the parts, and the rest."""

    above: list[str]  # shared by all images
    part_level: int | None  # below those
    parts: list[str]
    bare: bool  # whether images lie in the folder of a part itself
    inner: list[str]  # below the parts, shared by all images
    labelled: Counter[tuple[str, ...]]  # the folders that are left, and how many images they hold

    @classmethod
    def of(cls, files: Sequence[str]) -> "_Tree":
        above: list[str] = []
        folders = _descend(Counter(tuple(file.split("/")[:-1]) for file in files), above)
        level = _part_level(folders, above)
        parts: list[str] = []
        if level is not None:
            parts = sorted({each[level] for each in folders if len(each) > level})
            folders = Counter({f: n for f, n in folders.items() if len(f) > level or not f})
        inner: list[str] = []
        if level == 0 and all(each[:1] == each[1:2] for each in folders):  # as archives leave it
            folders = Counter({each[1:]: count for each, count in folders.items()})
            inner = ["*"]
        labelled = Counter[tuple[str, ...]]()
        for each, count in folders.items():
            labelled[each if level is None else each[:level] + each[level + 1 :]] += count
        if level == 0:
            _refuse_bare_parts(folders, above)
        del labelled[()]
        if level in (None, 0):
            labelled = _descend(labelled, inner, to_classes=True)
            del labelled[()]
        bare = any(len(each) == 1 for each in folders)
        return cls(above, level, parts, bare, inner, labelled)

    def layout(self, *below: str) -> str:
        """The value of --layout, given what the levels of `labelled` mean."""
        levels = [*self.inner, *below]
        if self.part_level is not None:
            levels.insert(self.part_level, "{part}")
        upper = ["*" if each == "**" else each for each in levels[:-1]]
        return "/".join([*self.above, *upper, levels[-1]])


def _descend(
    folders: Counter[tuple[str, ...]], levels: list[str], to_classes: bool = False
) -> Counter[tuple[str, ...]]:
    """Without the folders that all images have in common, which go to `levels`.

    With `to_classes`, folders that could be a class of their own stay.
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
        n_images = Counter[str]()
        for each, count in folders.items():
            if len(each) > level:
                n_images[each[level]] += count
        part_of = parts_in_words(n_images)
        if "train" not in part_of.values() or not len(set(part_of.values())) == len(part_of) > 1:
            part_of = {name: part for name in part_of if (part := part_of_folder(name))}
        strange = sorted(n_images.keys() - part_of.keys())
        if not part_of or (strange and level > 0):
            continue
        if strange:
            raise Unclear(
                f"folders {listed(sorted(part_of))} look like parts, but {listed(strange)} beside "
                f"them ({number_of(sum(n_images[name] for name in strange), 'image', 'images')}) "
                f"{'does' if len(strange) == 1 else 'do'} not: write --layout "
                f"'{'/'.join([*above, '{label}', '**'])}' if all of them are classes, --images "
                "FOLDER to use one folder alone, or move or rename what is no part"
            )
        if "train" not in part_of.values() and len(part_of) > 1:
            raise Unclear(f"folders {listed(sorted(part_of))} look like parts, and none is train")
        if len(part_of) > 1 or len({each[level:] for each in folders}) > 1:
            return level
    return None


def _refuse_bare_parts(folders: Counter[tuple[str, ...]], above: Sequence[str]) -> None:
    """Raise where a part lacks the class folders of others; test may hold images side by side.

    Images beside the folders of the parts have no label.
    """
    in_parts = {each: count for each, count in folders.items() if each}
    deep = sorted({each[0] for each in in_parts if not {*map(str.lower, each[1:])} <= NO_CLASSES})
    for each, count in in_parts.items():
        flat = len(each) == 1
        if deep and each[0] not in deep and not (flat and part_in_words(each[0]) == "test"):
            to_leave_out = ""
            if "train" in map(part_in_words, deep) and (flat or len(deep) == 1):
                kept = "{part}" if len(deep) > 1 else deep[0]
                layout = "/".join([*above, kept, "{label}", "**"])
                to_leave_out = f", or write --layout '{layout}' to leave them out"
            raise Unclear(
                f"{'/'.join([*above, *each])} holds {number_of(count, 'image', 'images')} and no "
                f"class folders, unlike {listed(deep)}: move them into such folders{to_leave_out}"
            )


def _refuse_copies(tree: _Tree) -> None:
    """Raise where a folder beside the class folders holds folders that are called like them."""
    below: dict[str, set[str]] = defaultdict(set)
    for rest in tree.labelled:
        below[rest[0]].update(rest[1:2])
    for name, inner in sorted(below.items()):
        copies = [each for each in sorted(inner & below.keys()) if not each.isdecimal()]
        if copies and name not in inner:
            place = tree.layout(name)
            alone = f"write --images {quote(place)} to use it alone, "
            alone = "" if "{" in place or name.lower() in NO_IMAGES else alone
            raise Unclear(
                f"{place} holds folders that are called like those beside it ({listed(copies)}), "
                f"as a second copy does: {alone}move it away to use the others, or write --layout "
                f"'{tree.layout('{label}', '**')}' if it is a class"
            )


def _levels_below_classes(tree: _Tree, beside_table: bool) -> tuple[list[str], str]:
    """The levels of the layout below the class folders, and in words what they mean."""
    deep = {rest for rest in tree.labelled if len(rest) > 1}
    if not deep:
        return [], ""
    uppers_of: dict[str, set[str]] = defaultdict(set)  # of each lower folder, those that hold one
    for rest in deep:
        uppers_of[rest[1]].add(rest[0])
    lower, upper = sorted(uppers_of), sorted({rest[0] for rest in tree.labelled})
    files_beside = any(len(rest) == 1 for rest in tree.labelled)
    shallowest, deepest = min(map(len, deep)), max(map(len, deep))
    mean_nothing = f"folders below them ({listed(lower)}) mean nothing"
    one_in_each = len(lower) == 1 and len(uppers_of[lower[0]]) == len(upper) and shallowest > 2
    own_name = all(rest[0] == rest[1] for rest in deep)  # as archives leave it
    say_nothing = all(name.lower() in SAYS_NOTHING for name in lower)  # images/ in each
    if say_nothing or (not files_beside and (one_in_each or own_name)):
        if inner := sorted({rest[2] for rest in deep if len(rest) > 2}):
            of_inner = tree.layout("*", "*", "{label}", *["**"] * (deepest > 3))
            raise Nested(upper, inner, (tree.layout("{label}", "**"), of_inner))
        return ["**"], mean_nothing
    of_ones = all(map(OF_ONE.fullmatch, lower))  # patients, never classes
    repeated = any(len(each) > 1 for each in uppers_of.values())
    numbers = not beside_table and all(map(str.isdecimal, lower))  # patients, or iNaturalist's
    named = numbers or not all(map(NUMBERED.fullmatch, lower))
    may_be_groups = (deepest == 2 or of_ones) and not files_beside
    above = "{group}" if all(map(OF_ONE.fullmatch, upper)) else "*"
    layout_of_lower = tree.layout(above, "{label}", *["**"] * (deepest > 2))
    if not of_ones and (repeated or (named and not files_beside)):
        below = "{group}" if may_be_groups and numbers and not repeated else "**"
        place = tree.layout(upper[0])
        crossed = all(len(each) == len(upper) for each in uppers_of.values())
        alone = f", and --images {quote(place)} for one of those above alone"
        alone = alone if crossed and "{" not in place else ""
        raise Nested(upper, lower, (tree.layout("{label}", below), layout_of_lower), alone)
    if not may_be_groups:
        return ["**"], mean_nothing
    return ["{group}"] + ["**"] * (deepest > 2), (
        f"folders below them ({listed(lower)}) keep their images together (if they are the "
        f"classes, write --layout '{layout_of_lower}')"
    )


def class_folders(files: Sequence[str]) -> dict[str, str]:
    """Of each file that lies in one, the folder that may be its class; not one that holds all."""
    n_common = len(common_folders(files))
    found = {}
    for file in files:
        if names := [name for name in file[n_common:].split("/")[:-1] if may_be_class(name)]:
            found[file] = names[-1]
    return found


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
    if (pair := _parallel_folders(files)) is None:
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


def _parallel_folders(files: Sequence[str]) -> tuple[str, str] | None:
    """Two folders that hold files of the same stems, the first not called like a class."""
    stems: dict[str, set[str]] = defaultdict(set)  # below each folder
    for file in files:
        levels = stem_path(file).split("/")
        for depth in range(len(levels)):
            stems["/".join(levels[:depth])].add("/".join(levels[depth:]))
    holders: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for folder, held in stems.items():
        for each in held:
            holders[each][folder.rpartition("/")[2]].append(folder)
    for first in sorted(stems):
        own = first.rpartition("/")[2]
        if own.lower() not in NO_CLASSES:
            continue
        shared = Counter[str]()
        for each in stems[first]:
            for name, same in holders[each].items():
                if name != own:
                    shared.update(same)
        similar = [folder for folder, count in shared.items() if count >= 0.5 * len(stems[first])]
        if similar:
            return first, min(similar)
    return None


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
