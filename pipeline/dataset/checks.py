"""A dataset's configuration and its images, checked before any fine-tune starts."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pipeline.core.command import number_of
from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.arrays import Array
from pipeline.dataset.download import Archive, unpacked, unpacked_file
from pipeline.dataset.folder_names import sorted_classes
from pipeline.dataset.images import EMPTY, OF_16, NotAnImage, check_resize, decode
from pipeline.dataset.prepared import LABEL_SEPARATOR
from pipeline.dataset.sources import (
    Fault,
    LabelledImage,
    Source,
    as_list,
    grouped,
    listed,
)
from pipeline.dataset.splits import Split, missing_in_part, split_images

LOOKED_AT = 32  # images that are decoded
MOST_COMPARED = 5_000  # files
MOST_READ = 100 << 20  # bytes of them


@dataclass(frozen=True)
class Policy:
    """What a dataset's YAML says about labels and faults."""

    name: str
    kind: str
    classes: list[str] | None
    bad: str
    rare: str
    min_class_images: int

    def __post_init__(self) -> None:
        for key, value, choices in (
            ("kind", self.kind, ("single", "multi")),
            ("bad", self.bad, ("fail", "drop")),
            ("rare", self.rare, ("fail", "drop", "keep")),
        ):
            if value not in choices:
                raise PipelineError(f"dataset.{key}={value}: choose from {', '.join(choices)}")


class Faulty(PipelineError):
    """The data have faults that their policy does not allow for."""

    def __init__(self, message: str, faults: list[Fault]) -> None:
        super().__init__(message)
        self.faults = faults


@dataclass(frozen=True)
class Chosen:
    """What goes into the index, and what was left out or is worth knowing."""

    rows: list[int]  # of the images found
    images: list[LabelledImage]
    parts: list[str]
    classes: list[str]
    rejected: list[Fault]
    notes: list[str]


def choose(
    found: Sequence[LabelledImage],
    reasons: Sequence[str],
    faults: Sequence[Fault],
    policy: Policy,
    split: Split,
) -> Chosen:
    """Check everything, split what is usable, and fail with the whole list or drop by policy.

    `reasons` says for each image found why it could not be decoded, or is empty.
    """
    file_faults = list(faults)
    images: dict[int, LabelledImage] = {}  # that can be used, by their row
    for row, (image, reason) in enumerate(zip(found, reasons, strict=True)):
        if reason := reason or label_fault(image, policy.kind, policy.classes):
            file_faults.append(Fault(image.file, reason))
        else:
            images[row] = image
    labels = {label for image in images.values() for label in image.labels}
    classes = policy.classes or sorted_classes(labels)
    rare = few_images(images.values(), classes, policy.min_class_images)
    left_out: list[Fault] = []  # on purpose, with their class
    if policy.rare == "drop":
        images, classes, left_out = without_classes(images, classes, rare)
    split_as = split_images([*images.values()], split) if images else []
    part_of = dict(zip(images, split_as, strict=True))
    missing = missing_in_part([*images.values()], split_as, classes)
    if policy.rare == "drop":
        images, classes, dropped = without_classes(images, classes, missing)
        left_out += dropped
    parts = [part_of[row] for row in images]
    class_faults = [
        Fault(f"class {label}", reason)
        for reasons in (rare, missing)
        for label, reason in reasons.items()
    ]
    _raise_faults(policy, found, file_faults, class_faults)
    if len(classes) < 2:
        only = f"one class, {classes[0]}" if classes else "no class"
        raise PipelineError(f"{policy.name}: {only}: there is nothing to tell apart")
    if not {"train", "valid"} <= set(parts):
        usable = number_of(len(images), "usable image", "usable images")
        raise PipelineError(f"{policy.name}: {usable} of {len(found)}: too few")
    left = "left out: " if policy.rare == "drop" else ""
    notes = [f"{fault.file}: {left}{fault.reason}" for fault in class_faults]
    return Chosen([*images], [*images.values()], parts, classes, file_faults + left_out, notes)


def label_fault(image: LabelledImage, kind: str, classes: Sequence[str] | None) -> str:
    """Why this image's labels cannot be used; empty if they can."""
    if not image.labels:
        return "no label"
    if kind == "single" and len(image.labels) > 1:
        return f"{len(image.labels)} labels in a single-label dataset: {', '.join(image.labels)}"
    for label in image.labels:
        if LABEL_SEPARATOR in label:
            return f"label {label!r} contains {LABEL_SEPARATOR!r}, which separates labels"
        if classes is not None and label not in classes:
            return f"unknown label {label!r}"
    return ""


def few_images(
    images: Iterable[LabelledImage], classes: Sequence[str], minimum: int
) -> dict[str, str]:
    """The classes with fewer than `minimum` images, and how few."""
    counts = Counter(label for image in images for label in image.labels)
    return {
        label: f"{number_of(counts[label], 'image', 'images')}, "
        f"fewer than min_class_images={minimum}"
        for label in classes
        if counts[label] < minimum
    }


def without_classes(
    images: Mapping[int, LabelledImage], classes: Sequence[str], reasons: dict[str, str]
) -> tuple[dict[int, LabelledImage], list[str], list[Fault]]:
    """The same without the classes in `reasons`; an image left without a label goes too."""
    kept, faults = {}, []
    for row, image in images.items():
        if labels := tuple(label for label in image.labels if label not in reasons):
            kept[row] = replace(image, labels=labels)
        else:
            label = image.labels[0]
            faults.append(Fault(image.file, f"class {label}: {reasons[label]}"))
    return kept, [label for label in classes if label not in reasons], faults


def _raise_faults(
    policy: Policy, found: Sequence[LabelledImage], of_files: list[Fault], of_classes: list[Fault]
) -> None:
    """Raise with every fault that the policy does not allow for, a class named once."""
    faults, remedies = [], []
    config = f"conf/dataset/{policy.name}.yaml"
    if of_files and policy.bad == "fail":
        faults += of_files
        n_files = number_of(len(of_files), "bad file", "bad files")
        remedies.append(f"{n_files} (`bad: drop` in {config} leaves out such files)")
    if of_classes and policy.rare == "fail":
        by_class = grouped(of_classes, lambda fault: fault.file)
        faults += [Fault(c, "; ".join(each.reason for each in f)) for c, f in by_class.items()]
        n_classes = number_of(len(by_class), "class", "classes")
        them = "it" if len(by_class) == 1 else "them"
        remedies.append(
            f"{n_classes} with too few images "
            f"(`rare: drop` in {config} leaves {them} out, with the images that have no other "
            f"label; `rare: keep` accepts {them})"
        )
    if remedies:
        raise Faulty(f"{policy.name}: {_renamed(policy, found)}{' and '.join(remedies)}", faults)


def _renamed(policy: Policy, found: Sequence[LabelledImage]) -> str:
    """What begins a message where the images have other labels than the YAML; else empty."""
    labels, classes = {label for image in found for label in image.labels}, policy.classes or []
    new, gone = sorted(labels.difference(classes)), [each for each in classes if each not in labels]
    if not (new and gone):
        return ""
    wrong = f"`classes` has {listed(gone)}, which no image has, but not {listed(new)}"
    return f"{wrong}: correct conf/dataset/{policy.name}.yaml; or else "


def contradictions(found: Sequence[LabelledImage], hashes: Sequence[str]) -> dict[int, str]:
    """The rows of equal files with different labels, each with the reason that it is one.

    `hashes` are the files' SHA-256; an empty one is unknown.
    """
    known = (row for row, digest in enumerate(hashes) if digest)
    reasons = {}
    for rows in grouped(known, hashes.__getitem__).values():
        for row in rows:
            labels = frozenset(found[row].labels)
            other = next((r for r in rows if frozenset(found[r].labels) != labels), None)
            if other is not None:
                said = ", ".join(found[other].labels) or "no label"
                reasons[row] = f"the same file as {found[other].file}, whose label is {said}"
    return reasons


@dataclass(frozen=True)
class Look:
    """What a look at the files shows: those that stage `dataset` calls bad, and what is odd."""

    faults: list[Fault]
    odd: list[str]


def look_at(source: Source, kind: str, root: Path, seen: Mapping[str, str]) -> Look:
    """All labels, the sizes of all files, and as many files' contents as is quick to read.

    `seen` are files that were found to be unreadable before, with the reason. Stage `dataset`
    reads all.
    """
    reasons = dict(seen)
    for image in source.images:
        path = root / image.file
        empty = EMPTY if path.is_file() and not path.stat().st_size else ""
        if fault := empty or label_fault(image, kind, None):
            reasons[image.file] = fault
    peculiar = list(_peculiar_pixels(source, reasons))
    rest = [image for image in source.images if image.file not in reasons]
    equal, hashes = _equal_files(source, rest, root)
    unlike = contradictions(rest, hashes)
    reasons |= {rest[row].file: reason for row, reason in unlike.items()}
    faults = [Fault(i.file, reasons[i.file]) for i in source.images if i.file in reasons]
    return Look(faults, [*_equal_pictures(equal), *peculiar])


def _equal_files(
    source: Source, images: Sequence[LabelledImage], root: Path
) -> tuple[list[list[LabelledImage]], list[str]]:
    """Images whose files have the same bytes, and the SHA-256 of each file; empty of one that was
    not read. Files of one size are read, as far as that is quick.
    """
    files = [each for each in images[:MOST_COMPARED] if (root / each.file).is_file()]
    by_size = grouped(files, lambda image: (root / image.file).stat().st_size)
    digests: dict[str, str] = {}
    n_bytes = 0
    for size, same in sorted(by_size.items()):
        if len(same) > 1 and (n_bytes := n_bytes + size * len(same)) < MOST_READ:
            digests |= {i.file: hashlib.sha256(source.read(i.file)).hexdigest() for i in same}
    by_content = grouped((i for i in files if i.file in digests), lambda i: digests[i.file])
    equal = [each for each in by_content.values() if len(each) > 1]
    return equal, [digests.get(image.file, "") for image in images]


def unlike_labels(equal: Iterable[Sequence[LabelledImage]]) -> Iterator[str]:
    """That some of the pictures, of which each is in several files, have different labels."""
    labels_of = [{frozenset(image.labels): image for image in each} for each in equal]
    if unlike := [each for each in labels_of if len(each) > 1]:
        labels = [f"{image.file}: {', '.join(image.labels)}" for image in unlike[0].values()]
        has = number_of(len(unlike), "picture has", "pictures have")
        yield f"{has} different labels in different files ({' and '.join(labels[:2])})"


def _equal_pictures(equal: Sequence[Sequence[LabelledImage]]) -> Iterator[str]:
    """What is odd about files with the same bytes."""
    yield from unlike_labels(equal)
    rest = [each for each in equal if len({frozenset(image.labels) for image in each}) == 1]
    if across := [each for each in rest if len({image.part for image in each}) > 1]:
        files = listed(image.file for image in across[0])
        yield f"{number_of(len(across), 'picture is', 'pictures are')} in several parts ({files})"
    elif rest:
        files = listed(image.file for image in rest[0])
        several = f"{len(rest)} pictures are in more than one file each (the first: {files})"
        yield several if len(rest) > 1 else f"{len(rest[0])} files are the same picture ({files})"


def _peculiar_pixels(source: Source, reasons: dict[str, str]) -> Iterator[str]:
    """What a few of the images have in common that is worth knowing.

    Adds to `reasons` why those that cannot be used cannot be read.
    """
    found = Counter[str]()
    chosen = source.images[:: max(1, len(source.images) // LOOKED_AT)][:LOOKED_AT]
    for image in chosen:
        try:
            found.update(decode(source.read(image.file)).peculiar)
        except (NotAnImage, OSError) as error:
            reasons.setdefault(image.file, str(error))
    for word, count in found.items():
        if bits := word.removesuffix(OF_16) if word.endswith(OF_16) else "":
            word = f"of 16 bits of which {bits} are used: dark, unless they are scaled"
        is_or_are = "is" if count == 1 else "are"
        yield f"{count} of {len(chosen)} images looked at {is_or_are} {word}"


_REQUIRED = ("name", "kind", "images")
_OPTIONAL = ("source", "archive", "classes")
_SPLIT = ("split", "valid_pct", "test_pct", "split_seed")
_FAULTS = ("bad", "rare", "min_class_images")
KEYS = (*_REQUIRED, *_OPTIONAL, *_SPLIT, *_FAULTS)


@dataclass(frozen=True)
class Preparation:
    """One dataset to prepare: where its images come from, how they are split, what is written."""

    policy: Policy
    split: Split
    images: Mapping[str, Any]
    source: Path | None
    archive: Archive | None
    arrays: list[Array]
    out: Path

    def root(self) -> tuple[Path | None, str | None]:
        """The folder that holds the images, and the SHA-256 of the archive it came out of."""
        if self.source is not None and self.source.is_file():
            return unpacked_file(self.source)
        if self.source is not None:
            return self.source, None
        return (None, None) if self.archive is None else unpacked(self.archive)


def read_config(config: DictConfig) -> Preparation:
    """Check every key; a mistake is one line that names the key."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    dataset = values["dataset"]
    for key in dataset.keys() - set(KEYS):
        raise PipelineError(f"unknown key dataset.{key}: {near_matches(key, KEYS)}")
    for key in _REQUIRED:
        if key not in dataset:
            raise PipelineError(f"dataset.{key} is missing in conf/dataset/*.yaml")
    classes = dataset["classes"]
    return Preparation(
        policy=Policy(
            name=str(dataset["name"]),
            kind=str(dataset["kind"]),
            classes=None if classes is None else [str(label) for label in classes],
            **{key: dataset[key] for key in _FAULTS},
        ),
        split=Split(**{key: dataset[key] for key in _SPLIT}),
        images=dataset["images"],
        source=None if dataset["source"] is None else Path(dataset["source"]),
        archive=None if dataset["archive"] is None else _archive(dataset["archive"]),
        arrays=_arrays(values["resize"], values["image_size"]),
        out=Path(values["out"]),
    )


def _archive(values: Mapping[str, Any]) -> Archive:
    known = [each.name for each in fields(Archive)]
    for key in values.keys() - set(known):
        raise PipelineError(f"unknown key dataset.archive.{key}: {near_matches(key, known)}")
    if "url" not in values:
        raise PipelineError("dataset.archive.url is missing")
    return Archive(**values)


def _arrays(resizes: Any, sizes: Any) -> list[Array]:
    sizes = sizes if isinstance(sizes, list) else [sizes]
    resizes = as_list(resizes)
    for resize in resizes:
        check_resize(resize)
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 4096:
            raise PipelineError(f"image_size={size}: give whole pixels from 1 to 4096")
    return list(product(dict.fromkeys(resizes), dict.fromkeys(sizes)))
