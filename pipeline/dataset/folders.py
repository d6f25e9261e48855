"""What a tree of folders says, where no table does: parts, classes, groups, names of files."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.dataset.image_files import folder_of, stem
from pipeline.dataset.naming import Hints, Unclear, listed, words
from pipeline.dataset.sources import Layout, part_of_folder

NAME_PATTERNS = (
    r"(?P<label>.+?)[-_. ]*\(?\d+\)?\.\w+",  # cat_12.jpg, cat-12.jpg, cat (12).jpg, cat12.jpg
    r"(?P<label>[^-_. ]+)[-_. ].*",  # cat_anything.jpg
)
NO_CLASSES = words(
    "image images img imgs pic pics picture pictures photo photos jpg jpeg jpegs png pngs "
    "jpegimages data dataset raw original originals input inputs output outputs files "
    "frames crops thumbnails thumbs resized mask masks annotation annotations segmentation "
    "segmentations gt groundtruth ground_truth labels label unlabeled unlabelled tmp temp "
    "export exports"
)
_VOLUMES = re.compile(
    r"(?:.*[-_ ])?(?:part|batch|chunk|folder|shard|split|fold|vol|volume|disk|images?|imgs?|data|"
    r"set|dir|patient|subject|case|session|slide|video|scene|site|user|group|seq|sequence)"
    r"[-_ ]?\d+",
    re.I,
)
_DATE = re.compile(r"(?:19|20)\d\d[-_.]?(?:0\d|1[0-2])[-_.]?[0-3]\d.*")
_NUMBERED = re.compile(r".*\d.*")
_CAMERAS = words(
    "img dsc dscn dscf pict pxl photo image picture frame screenshot scan p gopr mvimg wp "
    "vid untitled download file pic snap capture"
)


@dataclass(frozen=True)
class Reading:
    """How folders or names are to be read, in keys of the YAML and in words."""

    images: dict[str, Any]
    evidence: str


def read_folders(files: Sequence[str], hints: Hints) -> Reading | None:
    """Class folders with or without parts; None where all images lie side by side.

    Raises `Unclear` where folders may mean several things.
    """
    target = "pipeline.dataset.sources.in_class_folders"
    if hints.layout is not None:
        Layout.of(hints.layout)
        return Reading({"_target_": target, "layout": hints.layout}, f"folders: {hints.layout}")
    folders = Counter(tuple(file.split("/")[:-1]) for file in files)
    levels: list[str] = []
    folders = _descend(folders, levels)
    part_level = _part_level(folders)
    parts: list[str] = []
    if part_level is not None:
        parts = sorted({each[part_level] for each in folders if len(each) > part_level})
        folders = Counter(
            {each: count for each, count in folders.items() if len(each) > part_level or not each}
        )
    rests: dict[tuple[str, ...], int] = defaultdict(int)
    for each, count in folders.items():
        rest = each if part_level is None else each[:part_level] + each[part_level + 1 :]
        rests[rest] += count
    inner: list[str] = []
    labelled = Counter({rest: count for rest, count in rests.items() if rest})
    if part_level in (None, 0):
        labelled = _descend(labelled, inner, only=True)
    labelled = Counter({rest: count for rest, count in labelled.items() if rest})
    if not labelled:
        return None
    tail, deeper = _label_level(labelled)
    classes = sorted({rest[0] for rest in labelled})
    if len(classes) < 2:
        return None
    _refuse_odd_classes(classes)
    if part_level is None:
        layout = [*levels, *inner, "{label}", *tail]
    elif part_level == 0:
        layout = [*levels, "{part}", *inner, "{label}", *tail]
    else:
        layout = [*levels, "{label}", "{part}", *tail]
    evidence = f"{len(classes)} folders name the classes ({listed(classes)})"
    if parts:
        evidence += f"; folders {', '.join(parts)} are the parts"
    if deeper:
        evidence += f"; {deeper}"
    plain = layout in (["{label}"], ["{part}", "{label}"])
    if plain and len({part_of_folder(part) for part in parts}) == len(parts):
        images: dict[str, Any] = {"_target_": target}
        if parts:
            images["parts"] = {str(part_of_folder(part)): part for part in parts}
        if not parts or not any(len(each) == 1 for each in folders):
            return Reading(images, evidence)
    return Reading({"_target_": target, "layout": "/".join(layout)}, evidence)


def read_names(files: Sequence[str], hints: Hints) -> Reading | None:
    """A rule under which labels in the files' names repeat; images of parts may lie apart."""
    parts = {folder: _part_below(folder) for folder in map(folder_of, files)}
    folders = list(parts)
    if len(folders) > 1 and None in parts.values():
        return None
    of_part: dict[str | None, str] = {}
    for folder, part in parts.items():
        if part in of_part:
            return None
        of_part[part] = f"{folder}/*" if folder else "*"
    known = [file for file in files if parts[folder_of(file)] != "test"] or list(files)
    names = [file.rpartition("/")[2] for file in known]
    for pattern in [hints.pattern] if hints.pattern else NAME_PATTERNS:
        try:
            matches = [re.fullmatch(pattern, name) for name in names]
        except re.error as error:
            raise Unclear(f"--pattern {pattern}: {error}") from None
        labels = Counter(match["label"] for match in matches if match)
        if hints.pattern is None and not _plausible(labels, len(names)):
            continue
        globs: Any = dict(of_part) if None not in of_part else of_part[None]
        return Reading(
            {
                "_target_": "pipeline.dataset.sources.by_name",
                "files": globs,
                "pattern": pattern,
            },
            f"the label is in the file's name: {listed(sorted(labels))}",
        )
    return None


def _plausible(labels: Counter[str], n_files: int) -> bool:
    if len(labels) < 2 or labels.total() < 0.95 * n_files or n_files < 2 * len(labels):
        return False
    words = {re.sub(r"[^a-z]", "", label.lower()) for label in labels}
    return not words & _CAMERAS and all(words) and min(labels.values()) > 1


def _part_below(folder: str) -> str | None:
    parts = {part for name in folder.split("/") if (part := part_of_folder(name))}
    return parts.pop() if len(parts) == 1 else None


def _descend(
    folders: Counter[tuple[str, ...]], levels: list[str], only: bool = False
) -> Counter[tuple[str, ...]]:
    """Without the folders that all images have in common, which go to `levels`.

    The last folders on a way stay, if they are all there is; with `only`, folders that could be a
    class of their own stay too.
    """
    while folders and all(folders) and len({each[0] for each in folders}) == 1:
        first = next(iter(folders))[0]
        if only and first.lower() not in NO_CLASSES:
            break
        levels.append(first)
        folders = Counter({each[1:]: count for each, count in folders.items()})
    return folders


def _part_level(folders: Counter[tuple[str, ...]]) -> int | None:
    """At which level of folders the parts are; None if at none, `Unclear` if at some only."""
    deepest = max(map(len, folders), default=0)
    for level in range(min(deepest, 3)):
        names = Counter[str]()
        for each, count in folders.items():
            if len(each) > level:
                names[each[level]] += count
        known = {name for name in names if part_of_folder(name)}
        if not known:
            continue
        strange = sorted(names.keys() - known)
        if strange and level > 0:
            continue
        if strange:
            raise Unclear(
                f"folders {listed(sorted(known))} look like parts, but {listed(strange)} beside "
                f"them ({sum(names[name] for name in strange)} images) does not: write --layout "
                "'{label}' if all of them are classes, or move or rename what is no part"
            )
        if "train" not in {part_of_folder(name) for name in known} and len(known) > 1:
            raise Unclear(f"folders {listed(sorted(known))} look like parts, and none is train")
        if len(known) == 1 and len({each[level:] for each in folders}) < 2:
            continue
        return level
    return None


def _label_level(labelled: Counter[tuple[str, ...]]) -> tuple[list[str], str]:
    """What follows the class's own folder in the layout, and a word about it."""
    deep = {rest for rest in labelled if len(rest) > 1}
    if not deep:
        return [], ""
    owners: dict[str, set[str]] = defaultdict(set)
    for rest in deep:
        owners[rest[1]].add(rest[0])
    names = sorted(owners)
    generic = all(name.lower() in NO_CLASSES for name in names)
    if not generic:
        repeated = [name for name in names if len(owners[name]) > 1]
        beside = any(len(rest) == 1 for rest in labelled)
        if repeated or not (beside or all(map(_NUMBERED.fullmatch, names))):
            upper = sorted({rest[0] for rest in labelled})
            raise Unclear(
                f"folders in folders: are the classes {listed(upper)} (write --layout "
                f"'{{label}}/**'), or {listed(names)} (write --layout '*/{{label}}')?"
            )
    if generic or any(len(rest) == 1 for rest in labelled) or max(map(len, deep)) > 2:
        return ["**"], f"folders below them ({listed(names)}) mean nothing"
    return ["{group}"], f"folders below them ({listed(names)}) keep their images together"


def _refuse_odd_classes(classes: Sequence[str]) -> None:
    """Folders that are no class by their names never become one in silence."""
    generic = [name for name in classes if name.lower() in NO_CLASSES]
    parts = [name for name in classes if part_of_folder(name)]
    if generic or parts:
        raise Unclear(
            f"classes would be made of folders {listed(generic + parts)}, which are called like "
            "something else: write --layout '{label}' if they are classes, or --images FOLDER for "
            "the folder that holds the images"
        )
    if all(map(_VOLUMES.fullmatch, classes)) or all(map(_DATE.fullmatch, classes)):
        raise Unclear(
            f"classes would be made of folders {listed(classes)}, which look like volumes, groups "
            "or dates: write --layout '{label}' if they are classes, or give a table with labels"
        )


def parallel_folders(files: Sequence[str]) -> tuple[str, str] | None:
    """Two folders that hold files of the same stems, such as images and masks; else None."""
    stems: dict[str, set[str]] = defaultdict(set)
    for file in files:
        place, _, name = file.rpartition("/")
        stems[place].add(stem(name))
    places = sorted(stems)
    for first in places:
        if first.rpartition("/")[2].lower() in NO_CLASSES:
            for second in places:
                if first.rpartition("/")[2] == second.rpartition("/")[2]:
                    continue
                if len(stems[first] & stems[second]) >= 0.5 * len(stems[first]):
                    return first, second
    return None
