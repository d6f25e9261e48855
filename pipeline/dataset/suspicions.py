"""What a person should know about a new dataset at a glance, and what looks wrong in it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.dataset.checks import odd_labels
from pipeline.dataset.folders import empty_folders
from pipeline.dataset.images import OF_16, NotAnImage, decode
from pipeline.dataset.naming import listed
from pipeline.dataset.recognise import Recognised
from pipeline.dataset.sources import PART_NAMES, Found, Source

MOST_CLASSES = 12
LOOKED_AT = 32  # images that are decoded
MOST_COMPARED = 5_000  # files
MOST_READ = 100 << 20  # bytes of them


def told(recognised: Recognised, source: Source, root: Path) -> Iterator[str]:
    """Lines that a person can check in ten seconds."""
    yield f"read: {recognised.rule}."
    yield f"classes: {_classes(source.images)}"
    parts = Counter(image.part for image in source.images)
    if parts.keys() - {None}:
        counts = [f"{count} {part or 'of no part'}" for part, count in parts.items()]
        yield f"parts: {', '.join(counts)}" + ("" if recognised.split == "given" else " (not used)")
    groups = {image.group for image in source.images} - {None}
    if groups:
        yield f"groups: {len(groups)} ({listed(sorted(map(str, groups)))}); each stays in one part"
    for note in recognised.notes:
        yield f"left aside: {note}"
    if source.unlabelled:
        yield (
            f"left aside: {len(source.unlabelled)} images have no label and are not used "
            f"({listed(source.unlabelled)})"
        )
    if none := [image.file for image in source.images if not image.labels]:
        yield (
            f"suspicious: {len(none)} images have no label ({listed(none)}): write `bad: drop` "
            "into the YAML to leave them out"
        )
    for line in suspicious(source, root):
        yield f"suspicious: {line}"


def suspicious(source: Source, root: Path) -> Iterator[str]:
    """What may be a mistake in the data, in words."""
    yield from odd_labels({label for image in source.images for label in image.labels})
    yield from _parts(source.images)
    yield from _equal_pictures(source, root)
    if empty := empty_folders(root):
        yield f"empty folders: {listed(empty)}"
    yield from _pixels(source)


def _classes(images: Sequence[Found]) -> str:
    counts = Counter(label for image in images for label in image.labels)
    shown = [f"{label} {count}" for label, count in counts.most_common(MOST_CLASSES)]
    return ", ".join(shown) + (f", ... ({len(counts)})" if len(counts) > len(shown) else "")


def _parts(images: Sequence[Found]) -> Iterator[str]:
    """Classes that are in one part only; groups that are in several."""
    by_part: dict[str, set[str]] = defaultdict(set)
    parts_of_group: dict[str, set[str]] = defaultdict(set)
    for image in images:
        if image.part is not None:
            by_part[image.part].update(image.labels)
            if image.group is not None:
                parts_of_group[image.group].add(image.part)
    if len(by_part) > 1:
        for part in (part for part in PART_NAMES if part in by_part):
            others = set().union(*(each for other, each in by_part.items() if other != part))
            if alone := sorted(by_part[part] - others):
                yield f"classes only in {part}: {listed(alone)}"
    if shared := sorted(group for group, parts in parts_of_group.items() if len(parts) > 1):
        yield (
            f"{len(shared)} groups are in several of the given parts ({listed(shared)}): write "
            "split: stratified, which keeps groups whole"
        )


def _equal_pictures(source: Source, root: Path) -> Iterator[str]:
    """Files with the same bytes; files of one size are read, as far as that is quick.

    Stage `dataset` compares all.
    """
    by_size: dict[int, list[Found]] = defaultdict(list)
    for image in source.images[:MOST_COMPARED]:
        path = root / image.file
        if path.is_file():
            by_size[path.stat().st_size].append(image)
    by_content: dict[str, list[Found]] = defaultdict(list)
    read = 0
    for size, same in sorted(by_size.items()):
        if len(same) > 1 and (read := read + size * len(same)) < MOST_READ:
            for image in same:
                digest = hashlib.sha256(source.read(image.file)).hexdigest()
                by_content[digest].append(image)
    equal = [each for each in by_content.values() if len(each) > 1]
    contradictory = [each for each in equal if len({frozenset(i.labels) for i in each}) > 1]
    if contradictory:
        first = contradictory[0]
        yield (
            f"{_pictures(contradictory, 'has', 'have')} different labels in different files "
            f"({' and '.join(f'{i.file}: {chr(43).join(i.labels)}' for i in first[:2])})"
        )
    across = [each for each in equal if len({image.part for image in each}) > 1]
    if across:
        files = listed(i.file for i in across[0])
        yield f"{_pictures(across, 'is', 'are')} in several parts ({files})"
    elif len(equal) > len(contradictory):
        files = listed(i.file for i in equal[0])
        yield f"{_pictures(equal, 'is', 'are')} there several times ({files})"


def _pictures(found: Sequence[object], one: str, several: str) -> str:
    return f"1 picture {one}" if len(found) == 1 else f"{len(found)} pictures {several}"


def _pixels(source: Source) -> Iterator[str]:
    """What a few of the images have in common that is worth knowing."""
    found = Counter[str]()
    chosen = source.images[:: max(1, len(source.images) // LOOKED_AT)][:LOOKED_AT]
    for image in chosen:
        try:
            found.update(decode(source.read(image.file)).peculiar)
        except (NotAnImage, OSError):
            found["not readable"] += 1
    for word, count in found.items():
        if bits := word.removesuffix(OF_16) if word.endswith(OF_16) else "":
            word = f"of 16 bits of which {bits} are used: dark, unless they are scaled"
        is_or_are = "is" if count == 1 else "are"
        yield f"{count} of {len(chosen)} images looked at {is_or_are} {word}"
