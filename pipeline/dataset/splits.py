"""Which images are learned from (train), compared on (valid) and only reported on (test).

Each split is a pure function of the images found and a seed of its own. `RandomState` and not
`default_rng`: its numbers are promised never to change, so neither does a split. A split keeps a
group whole; groups that only the names of files tell are found here as well.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from pipeline.core.command import number_of
from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.sources import PART_NAMES, LabelledImage, Source, compiled, grouped, listed


@dataclass(frozen=True)
class Split:
    """How to split: the name of a rule, the shares of valid and test, a seed."""

    split: str
    valid_pct: float
    test_pct: float
    split_seed: int

    def shares(self) -> dict[str, float]:
        """The share of each part there is; train first, because a rare label goes there first."""
        shares = {"train": 1 - self.valid_pct - self.test_pct, "valid": self.valid_pct}
        if self.test_pct:
            shares["test"] = self.test_pct
        if not all(0 < share < 1 for share in shares.values()):
            raise PipelineError(
                f"valid_pct={self.valid_pct} test_pct={self.test_pct}: "
                "each part must be more than 0 and less than 1 of the images"
            )
        return shares


def split_images(images: Sequence[LabelledImage], split: Split) -> list[str]:
    """The part of each image; images of one group always share theirs."""
    if split.split not in SPLITS:
        raise PipelineError(
            f"unknown split {split.split!r}: {near_matches(split.split, list(SPLITS))}"
        )
    parts = SPLITS[split.split](images, split)
    _check_groups(images, parts)
    return parts


def stratified(images: Sequence[LabelledImage], split: Split) -> list[str]:
    """Every label in the same proportion in each part, whole groups at a time.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, ECML 2011), with one addition: a
    label with enough groups has at least one image in every part, train being served first.
    """
    units = _units(images)
    order = np.random.RandomState(split.split_seed).permutation(len(units)).tolist()
    order.sort(key=lambda unit: -len(units[unit]))  # stable: equal groups stay shuffled
    labels = [Counter(tag for row in unit for tag in images[row].labels) for unit in units]
    wanted = _wanted(labels, split.shares())
    room = {part: share * len(images) for part, share in split.shares().items()}
    holders: dict[str, list[int]] = {}
    for unit in order:
        for tag in labels[unit]:
            holders.setdefault(tag, []).append(unit)
    left = {tag: sum(labels[unit][tag] for unit in holders[tag]) for tag in holders}
    part_of: dict[int, str] = {}
    while left:
        rarest = min(left, key=lambda tag: (left[tag], tag))
        for unit in [*holders.pop(rarest)]:
            if unit in part_of:
                continue
            part = max(room, key=lambda part: (wanted[part].get(rarest, 0.0), room[part]))
            part_of[unit] = part
            room[part] -= len(units[unit])
            for tag, count in labels[unit].items():
                wanted[part][tag] -= count
                if tag in left:
                    left[tag] -= count
        del left[rarest]
    parts = [""] * len(images)
    for unit, part in part_of.items():
        for row in units[unit]:
            parts[row] = part
    return parts


def given(images: Sequence[LabelledImage], split: Split) -> list[str]:
    """The parts that the folders or the CSV name; without a valid part, it is taken from train."""
    if missing := [image.file for image in images if image.part is None]:
        raise PipelineError(
            f"split: given, but {number_of(len(missing), 'image has', 'images have')} no part "
            f"(first: {missing[0]}): "
            "name the folders or the column of the parts, or use split: stratified"
        )
    parts = [str(image.part) for image in images]
    if "valid" in parts:
        return parts
    rows = [row for row, part in enumerate(parts) if part == "train"]
    within = Split("stratified", split.valid_pct, 0.0, split.split_seed)
    for row, part in zip(rows, stratified([images[row] for row in rows], within), strict=True):
        parts[row] = part
    return parts


def fastai2022(images: Sequence[LabelledImage], split: Split) -> list[str]:
    """fastai's `RandomSplitter(valid_pct, seed)`, to the image, on the images' order here.

    That order is the CSV's, or sorted file names. The 2022 study listed folders in whatever order
    its file system gave, so on a folder its own draw cannot be repeated by anybody.
    """
    if split.test_pct:
        raise PipelineError("split: fastai2022 has no test part: set test_pct: 0")
    shuffled = _torch_randperm(len(images), split.split_seed)
    parts = ["train"] * len(images)
    for row in shuffled[: int(split.valid_pct * len(images))]:
        parts[row] = "valid"
    return parts


SPLITS: dict[str, Callable[[Sequence[LabelledImage], Split], list[str]]] = {
    "stratified": stratified,
    "given": given,
    "fastai2022": fastai2022,
}


def _units(images: Sequence[LabelledImage]) -> list[list[int]]:
    """The rows that must stay together: one group, or one image that has none."""

    def unit(row: int) -> tuple[str, str]:
        image = images[row]
        return ("file", image.file) if image.group is None else ("group", image.group)

    return list(grouped(range(len(images)), unit).values())


def _wanted(labels: list[Counter[str]], shares: dict[str, float]) -> dict[str, dict[str, float]]:
    """How many images of each label each part should have."""
    images_of: Counter[str] = Counter()
    units_of: Counter[str] = Counter()
    for unit in labels:
        images_of.update(unit)
        units_of.update(unit.keys())
    wanted: dict[str, dict[str, float]] = {part: {} for part in shares}
    for tag, count in images_of.items():
        rest = float(count)
        for place, part in reversed(list(enumerate(shares))):
            if place == 0:
                wanted[part][tag] = rest
            else:
                wanted[part][tag] = max(shares[part] * count, 1) if units_of[tag] > place else 0.0
                rest -= wanted[part][tag]
    return wanted


def _check_groups(images: Sequence[LabelledImage], parts: Sequence[str]) -> None:
    part_of: dict[str, str] = {}
    for image, part in zip(images, parts, strict=True):
        if image.group is not None and part_of.setdefault(image.group, part) != part:
            raise PipelineError(
                f"group {image.group!r} has images in {part_of[image.group]} and in {part}: "
                "use split: stratified, which keeps groups whole"
            )


def _torch_randperm(n: int, seed: int) -> list[int]:
    """`torch.manual_seed(seed); torch.randperm(n)` of the CPU, without torch."""
    draws = np.random.RandomState(seed).randint(0, 2**32, size=max(n - 1, 0), dtype=np.uint32)
    order = list(range(n))
    for place, draw in enumerate(draws.tolist()):
        other = place + draw % (n - place)
        order[place], order[other] = order[other], order[place]
    return order


def no_parts(column: str, cells: Collection[str], odd: Collection[str]) -> str:
    """In words, that the `odd` cells of a column name no part, or all the same, and what to do."""
    names = "names no part (train, valid or test)" if odd else "are the same part"
    shown = listed(sorted(odd or cells))
    text = f"column {column} seems to split the images, but {shown} {names}: write --part none"
    if len(cells) < 2 or not all(map(_FOLD.fullmatch, cells)):
        return f"{text} to leave it out, or images.parts in the YAML (docs/datasets.md)"
    return (
        f"{text} to leave it out; to validate on fold {min(cells, key=float)}, replace that by "
        "valid and the others by train, or write images.parts (docs/datasets.md#numbered-folds)"
    )


def missing_in_part(
    images: Sequence[LabelledImage], parts: Sequence[str], classes: Sequence[str]
) -> dict[str, str]:
    """The classes with no image in some part, and which."""
    present: dict[str, set[str]] = {part: set() for part in PART_NAMES if part in parts}
    for image, part in zip(images, parts, strict=True):
        present[part].update(image.labels)
    absent = {label: [p for p in present if label not in present[p]] for label in classes}
    return {label: f"no image in {' and '.join(where)}" for label, where in absent.items() if where}


_FOLD = re.compile(r"\d+(\.0)?")
_FRAME = r"[-_. ]*(frame|frm)?[-_. ]*\d+\.\w+$"
_OF_VIDEOS = (  # where the name of a video may stand in the path of a frame
    rf"(?:^|/)(?P<group>[^/]+?){_FRAME}",
    rf"(?:^|/)(?P<group>[^/]+/[^/]+?){_FRAME}",
    r"(?:^|/)(?P<group>[^/]+)/(frame|frm)?[-_. ]*\d+\.\w+$",
)
_VIDEO = re.compile(  # the last as in UCF-101
    r"(.*[^a-z])?(video|vid|clip|seq|sequence|scene|shot|movie|track|episode)[-_ ]?\d+([^a-z].*)?"
    r"|.*_g\d+_c\d+",
    re.I,
)
_FEWEST_FRAMES = 3
_WORDS = "patient|pat|pt|subject|subj|sub|participant|person|case"
_PATIENTS = rf"(?i)(?:^|/)(?P<group>(?:{_WORDS})[-_]?\d+|p\d{{3,}})[-_ ][^/]*$"
_CHANGE = r"[hv]?flip(?:ped)?|flip[-_]?(?:h|v|x|y|lr|ud)|mirror(?:ed)?|rot(?:at(?:ed?|ion))?"
_CHANGE += r"|aug(?:mented)?|copy|kopie"
_COPIES = rf"(?i)^(?P<group>.+?)(?:[-_. ]+(?:{_CHANGE})(?:[-_ ]*\(?\d+\)?)?|\.rf\.[0-9a-f]+)*\.\w+$"


def in_groups(source: Source, pattern: str) -> Source:
    """The same images, in the group that the regular expression finds as `group` in their paths.

    An image whose path it does not fit stays in its own group, if it has one.
    """
    expression = compiled("group_pattern", pattern, "group")
    found = [(image, expression.search(image.file)) for image in source.images]
    if found and not any(match for _, match in found):
        raise PipelineError(
            f"images.group_pattern {pattern!r} fits none of {len(found)} paths, such as "
            f"{found[0][0].file}"
        )
    images = [replace(image, group=match["group"]) if match else image for image, match in found]
    return replace(source, images=images)


def frames_of_videos(images: Sequence[LabelledImage]) -> tuple[str, dict[str, list[LabelledImage]]]:
    """The `group_pattern` of images that are called like frames, and those of each video.

    The names of videos say so (video1, seq03, or `frame` before the last number) or are numbers
    alone (of GTSRB's tracks), and most frames follow each other at one distance.
    """
    for pattern in _OF_VIDEOS:
        videos: dict[str, list[LabelledImage]] = {}
        for image in images:
            if (match := re.search(pattern, image.file)) and _is_of_video(match, image):
                videos.setdefault(match["group"], []).append(image)
        longer = {name: same for name, same in videos.items() if len(same) >= _FEWEST_FRAMES}
        many = sum(map(len, longer.values())) > 0.5 * len(images)
        labels = {image.labels for same in longer.values() for image in same}
        if len(longer) > len(labels) and many and all(map(_in_a_row, longer.values())):
            return pattern, longer
    return "", {}


def images_of_patients(
    images: Sequence[LabelledImage],
) -> tuple[str, dict[str, list[LabelledImage]]]:
    """The `group_pattern` of images whose names all begin with a patient's number (P0001_L_1.jpg),
    most of them with one that others begin with as well, and the images of each such patient.
    """
    matches = [re.search(_PATIENTS, image.file) for image in images]
    found: dict[str, list[LabelledImage]] = {}
    for image, match in zip(images, matches, strict=True):
        if match is None or match["group"] in image.labels:
            return "", {}
        found.setdefault(match["group"], []).append(image)
    several = {name: same for name, same in found.items() if len(same) > 1}
    labels = {image.labels for image in images}
    many = sum(map(len, several.values())) > 0.5 * len(images)
    return (_PATIENTS, several) if many and len(several) > len(labels) else ("", {})


def changed_copies(images: Sequence[LabelledImage]) -> tuple[str, dict[str, list[LabelledImage]]]:
    """The `group_pattern` of images beside changed copies (1_flip.jpg), and those of each."""
    found: dict[str, list[LabelledImage]] = {}
    for image in images:
        if match := re.search(_COPIES, image.file):
            found.setdefault(match["group"], []).append(image)
    several = {
        name: same
        for name, same in found.items()
        if len(same) > 1 and any(not image.file.startswith(f"{name}.") for image in same)
    }
    labels = {image.labels for same in several.values() for image in same}
    return (_COPIES, several) if len(several) > len(labels) else ("", {})


def _is_of_video(match: re.Match[str], image: LabelledImage) -> bool:
    name = match["group"].rpartition("/")[2]
    if name in image.labels:
        return False
    by_number = re.fullmatch(r"\d{3,}", name) and not re.fullmatch(r"(19|20)\d{6}", name)
    return bool(match[2] or _VIDEO.fullmatch(name) or by_number)


def _in_a_row(frames: Sequence[LabelledImage]) -> bool:
    """Whether most frames follow each other at one distance, and none has the other's number."""
    found = (re.search(r"(\d+)\.\w+$", image.file) for image in frames)
    numbers = sorted(int(match[1]) for match in found if match)
    steps = Counter(later - one for one, later in pairwise(numbers))
    step, count = steps.most_common(1)[0]
    return step > 0 and count >= 0.8 * (len(numbers) - 1)
