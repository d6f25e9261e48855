"""The functions that a dataset's YAML can name to find its images, and two bundled datasets.

Those need no network: scikit-learn's 1,797 real handwritten digits (UCI, CC BY 4.0), and mosaics.
"""

import inspect
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.file_column import Hints, Unclear
from pipeline.dataset.folders import Reading
from pipeline.dataset.hugging_face import huggingface
from pipeline.dataset.image_files import ImageFiles, folder_of, normalised, stem_path
from pipeline.dataset.label_tables import in_table
from pipeline.dataset.sources import (
    Fault,
    LabelledImage,
    Source,
    as_list,
    by_name,
    check_part,
    in_class_folders,
    listed,
    part_in_words,
    words,
)
from pipeline.dataset.splits import Split, in_groups, stratified
from pipeline.dataset.table_files import text_rows


def digits() -> Source:
    """1,797 images of one digit each."""
    images, targets = _bundled()
    found = [
        LabelledImage(f"digit-{row:04d}.pgm", (str(target),)) for row, target in enumerate(targets)
    ]
    files = (image.file for image in found)
    return Source(found, Drawn(dict(zip(files, images, strict=True))))


def mosaics(count: int, valid_pct: float, seed: int) -> Source:
    """`count` images of four digits each, a `valid_pct` share of them for the valid part."""
    images, targets = _bundled()
    parts = np.array(stratified(digits().images, Split("stratified", valid_pct, 0.0, seed)))
    random = np.random.RandomState(seed)
    n_valid = round(count * valid_pct)
    found: list[LabelledImage] = []
    pixels = {}
    for part, n_images in {"train": count - n_valid, "valid": n_valid}.items():
        for four in _fours(np.flatnonzero(parts == part), n_images, random):
            file = f"mosaic-{len(found):04d}.pgm"
            labels = sorted({str(targets[row]) for row in four})
            found.append(LabelledImage(file, tuple(labels), part))
            pixels[file] = np.block([[images[a] for a in four[:2]], [images[b] for b in four[2:]]])
    return Source(found, Drawn(pixels))


@dataclass(frozen=True)
class Drawn:
    """Gives grey images that exist nowhere else the bytes of a PGM file."""

    pixels: dict[str, np.ndarray]

    def __call__(self, file: str) -> bytes:
        height, width = self.pixels[file].shape
        return b"P5 %d %d 255\n" % (width, height) + self.pixels[file].tobytes()


@cache
def _bundled() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [1797, 8, 8] of 0 to 255 (the originals count 0 to 16), and the digit shown."""
    from sklearn.datasets import load_digits  # takes a second or two

    bunch = load_digits()
    return np.rint(bunch.images * 255 / 16).astype(np.uint8), bunch.target


def _fours(rows: np.ndarray, n_images: int, random: np.random.RandomState) -> np.ndarray:
    """[n_images, 4] rows; every digit is used equally often, give or take one."""
    n_rounds = -(-4 * n_images // len(rows))
    shuffled = np.concatenate([random.permutation(rows) for _ in range(n_rounds)])
    return shuffled[: 4 * n_images].reshape(n_images, 4)


_ALL: tuple[Callable[..., Source], ...] = (
    in_class_folders,
    by_name,
    in_table,
    huggingface,
    digits,
    mosaics,
)
FINDERS = {f"{each.__module__}.{each.__name__}": each for each in _ALL}
FINDER_OF = {each.__name__: target for target, each in FINDERS.items()}


def find_images(recipe: Mapping[str, Any], root: Path | None) -> Source:
    """Call the function that `recipe` names with its other keys; `root` holds the files.

    Two keys work with any function that reads files: `lists` names lists of the images of each
    part, `group_pattern` finds in a path the group of its image, see `in_groups`.
    """
    target = str(recipe.get("_target_", ""))
    if target.startswith("pipeline.dataset") and target.endswith(".in_csv"):  # its earlier name
        target = FINDER_OF["in_table"]
        recipe = {"table" if key == "csv" else key: value for key, value in recipe.items()}
    elif target.startswith("pipeline.dataset"):
        target = FINDER_OF.get(target.rpartition(".")[2], target)
    if target not in FINDERS:
        raise PipelineError(f"images._target_ {target!r}: {near_matches(target, FINDERS)}")
    arguments = {str(key): value for key, value in recipe.items() if key != "_target_"}
    lists = arguments.pop("lists", None)
    group_pattern = arguments.pop("group_pattern", None)
    known = inspect.signature(FINDERS[target]).parameters
    if "root" in known:
        if root is None:
            raise PipelineError(f"{target} reads files: give dataset.source or dataset.archive")
        arguments["root"] = root
    for key in arguments.keys() - known.keys():
        raise PipelineError(f"images.{key} is no key of {target}: {near_matches(key, known)}")
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise PipelineError(f"images.{key} is missing: {target} needs it")
    source = FINDERS[target](**arguments)
    if lists and root is not None:
        source = in_listed_parts(source, root, lists)
    if group_pattern:
        source = in_groups(source, str(group_pattern))
    if not source.images:
        first = f" ({source.faults[0].file}: {source.faults[0].reason})" if source.faults else ""
        raise PipelineError(f"{root}: {target} found no images that can be used{first}")
    return source


def in_listed_parts(source: Source, root: Path, lists: Mapping[str, str | Sequence[str]]) -> Source:
    """The same images, each in the part whose list names it, {train: train.txt, test: test.txt}.

    A line is an image's path or the end of it, with or without the suffix, or begins with one. An
    image that no list names stays in its own part, train without one, and is a fault where that
    part has a list.
    """
    index = ImageFiles(root, [image.file for image in source.images])
    parts_by_list: dict[str, dict[str, str]] = {}  # of each file: the lists that name it
    faults = []
    for part, names in lists.items():
        check_part("lists", part)
        for name in as_list(names):
            if not (root / name).is_file():
                raise PipelineError(f"{root / name}: no such file")
            for number, row in enumerate(text_rows(root / name, ","), start=1):
                fitting = _named_by_line(row, index)
                if len(fitting) == 1:
                    parts_by_list.setdefault(fitting[0], {})[name] = part
                elif fitting or number > 1:  # the first line may be a heading
                    reason = f"{len(fitting)} images fit" if fitting else "names no labelled image"
                    faults.append(Fault(f"{name} row {number}: {row[0]}", reason))
    images = []
    for image in source.images:
        own = image.part or "train"
        named = parts_by_list.get(image.file, {} if own in lists else {"": own})
        parts = set(named.values())
        if len(parts) == 1:
            images.append(replace(image, part=parts.pop()))
        else:
            reason = f"in {' and in '.join(named)}" if named else "in no list of a part"
            faults.append(Fault(image.file, reason))
    return replace(source, images=images, faults=[*source.faults, *faults])


def _named_by_line(row: Sequence[str], index: ImageFiles) -> list[str]:
    """The images that a line of a list may mean: as a whole, or else by what it begins with."""
    line, first = ",".join(row).strip(), row[0].strip()
    if line and (found := index.find(f"**/{line}", any_suffix=True, any_case=True)):
        return found
    texts = dict.fromkeys((line, first, re.split(r"[\s;|]", first)[0]))
    return list(dict.fromkeys(file for text in texts for file in _named_by_path(text, index)))


def _named_by_path(text: str, index: ImageFiles) -> list[str]:
    """The images that a path, or else its end, may mean."""
    levels = text.replace("\\", "/").split("/")
    for start in range(len(levels)):  # what is above the dataset's folder fits nothing
        if start and normalised(levels[start - 1]) in index.folders:
            break
        tail = "/".join(levels[start:])
        if tail and (found := index.find(f"**/{tail}", any_suffix=True, any_case=True)):
            return found
    return []


NAME_PATTERNS = (
    # cat_12.jpg, cat-12.jpg, cat (12).jpg, cat12.jpg; not 12.jpg
    r"(?P<label>.*?[^\W\d_].*?)[-_. ]*\(?\d+\)?\.\w+",
    r"(?P<label>[^-_. ]+)[-_. ].*",  # cat_anything.jpg
)
_CAMERAS = words(
    "img dsc dscn dscf pict pxl photo image picture frame screenshot scan p gopr mvimg wp "
    "vid untitled download file pic snap capture"
)


def read_names(files: Sequence[str], hints: Hints) -> Reading | None:
    """Labels in the names of files, where they repeat; the images of each part may lie apart."""
    globs = _globs_of_parts(files, hints)
    if globs is None:
        return None
    tests = {folder for folder in set(map(folder_of, files)) if _part_below(folder) == "test"}
    names_in_test = [file.rpartition("/")[2] for file in files if folder_of(file) in tests]
    names = [file.rpartition("/")[2] for file in files if folder_of(file) not in tests]
    names = names or names_in_test
    for pattern in [hints.pattern] if hints.pattern else NAME_PATTERNS:
        try:
            labels = _labels_in_names(pattern, names)
        except re.error as error:
            raise Unclear(f"--pattern {pattern}: {error}") from None
        if hints.pattern is None and not _plausible(labels, len(names)):
            continue
        evidence = f"the label is in the file's name: {listed(sorted(labels))}"
        unknown = _labels_in_names(pattern, names_in_test).keys() - labels.keys()
        if hints.pattern is None and "train" in globs and unknown:
            left = globs.pop("test")
            evidence += f"; those in {left} say something else and are left aside"
        images = {
            "_target_": "pipeline.dataset.sources.by_name",
            "files": globs.get(None, globs),
            "pattern": pattern,
        }
        return Reading(images, evidence)
    return None


def _globs_of_parts(files: Sequence[str], hints: Hints) -> dict[str | None, str] | None:
    """The glob of each part, or of all images under None; None where folders are not parts."""
    globs: dict[str | None, str] = {}
    folders = list(dict.fromkeys(map(folder_of, files)))
    for folder in folders:
        part = _part_below(folder)
        if part in globs and hints.pattern is None:
            return None
        if part in globs and part is not None:
            raise Unclear(
                f"{globs[part]} and {folder}/* are both of part {part} by their names: rename one"
            )
        globs[part] = f"{folder}/*" if folder else "*"
    if len(folders) > 1 and None in globs:
        if hints.pattern is None:
            return None
        if len(globs) > 1:
            raise Unclear(
                f"{globs[None]} is of no part by its name, and others are: rename it, or write "
                "--images with the folder that holds the images"
            )
        return {None: f"{hints.images.strip('/')}/**/*" if hints.images else "**/*"}
    return globs


def refuse_masks(files: Sequence[str]) -> None:
    """Raise where many images have the name of another and an ending, as masks and copies do."""
    masks, end = _masks_among(files)
    if len(masks) > 0.2 * len(files):
        one = len(masks) == 1
        called = "is called like another but ends" if one else "are called like others but end"
        raise Unclear(
            f"{len(masks)} of {len(files)} images {called} in {end}, such as "
            f"{masks[0]}: masks or copies? Move them away, or write --layout to use them as images"
        )


def _masks_among(files: Sequence[str]) -> tuple[list[str], str]:
    """The files beside one of their name but for `_mask` or the suffix, and that ending."""
    known = Counter(map(stem_path, files))
    masks = defaultdict[str, list[str]](list)
    for file in files:
        path = stem_path(file)
        match = re.fullmatch(r"(.+)([-_ .](?:masks?|labels?|seg|segmentation|gt))", path)
        if match and match[1] in known:
            masks[match[2]].append(file)
        elif known[path] > 1:
            masks[file[len(path) :]].append(file)
    ending = min(masks, key=lambda each: (each[0] == ".", each != ".png", each), default="")
    return masks[ending], ending


def pattern_of_few(files: Sequence[str]) -> str:
    """How to read labels before numbers that are too few to be sure: cat_1.jpg and dog_1.jpg."""
    names = [file.rpartition("/")[2] for file in files]
    labels = _labels_in_names(NAME_PATTERNS[0], names)
    few = labels.total() == len(names) and 1 < len(labels) < len(names)
    if not few or not _CAMERAS.isdisjoint(labels):
        return "--pattern says where they are"
    return f"--pattern {quote(NAME_PATTERNS[0])} for {listed(sorted(labels))}"


def _plausible(labels: Counter[str], n_files: int) -> bool:
    """Whether nearly all files have a label, each label repeats, and none is a camera's word."""
    if len(labels) < 2 or labels.total() < 0.95 * n_files or n_files < 2 * len(labels):
        return False
    words = {re.sub(r"[^a-z]", "", label.lower()) for label in labels}
    return not words & _CAMERAS and all(words) and min(labels.values()) > 1


def _part_below(folder: str) -> str | None:
    """The part that the folders of a path name, if they name exactly one."""
    parts = {part for name in folder.split("/") if (part := part_in_words(name))}
    return parts.pop() if len(parts) == 1 else None


def _labels_in_names(pattern: str, names: Sequence[str]) -> Counter[str]:
    """How often each label is found."""
    matches = (re.fullmatch(pattern, name) for name in names)
    return Counter(match["label"] for match in matches if match)
