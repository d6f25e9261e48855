"""`python -m pipeline.dataset --new NAME PATH`: a folder or archive becomes conf/dataset/NAME.yaml.

Reads file names and tables only, and the few images of the contact sheet; writes the YAML and
data/contact_sheets/NAME.png, on which a person sees at a glance whether it was understood.
"""

import json
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

import matplotlib
import yaml
from PIL import Image, ImageDraw, ImageFont

from pipeline.configuration import hydra_app
from pipeline.core.command import number_of, run
from pipeline.core.errors import PipelineError
from pipeline.core.files import free_old_name, replacing, write_text
from pipeline.dataset.checks import Faulty, choose, look_at, read_config
from pipeline.dataset.download import unpacked_file
from pipeline.dataset.file_column import Hints
from pipeline.dataset.folder_names import sorted_classes, suspicious
from pipeline.dataset.images import NotAnImage, decode
from pipeline.dataset.recognise import Recognised, recognise
from pipeline.dataset.sources import Fault, LabelledImage, Source, listed
from pipeline.dataset.splits import changed_copies, frames_of_videos, images_of_patients

MOST_CLASSES = 12
MOST_FAULTS = 10  # that are listed
COLUMNS, MAX_TILES = 8, 64
TILE, CAPTION, GAP, HEAD = 150, 46, 10, 60  # pixels
T = TypeVar("T")
_FONTS = Path(matplotlib.get_data_path()) / "fonts/ttf"
SHEETS = Path("data/contact_sheets")


def main(
    name: str,
    path: Path,
    *,
    table: str | None = None,
    file: str | None = None,
    label: str | None = None,
    part: str | None = None,
    group: str | None = None,
    group_pattern: str | None = None,
    lists: str | None = None,
    delimiter: str | None = None,
    images: str | None = None,
    layout: str | None = None,
    pattern: str | None = None,
    replace: bool = False,
) -> None:
    """Look at a folder or archive of images; write conf/dataset/NAME.yaml and a contact sheet.

    Where it can be read in several ways, it stops and says which; the options choose.

    Args:
        name: what the dataset is to be called
        path: the folder or archive
        table: the table of the labels, several with commas between them, or none: the folders
        file: the table's column of file names
        label: its column of labels; a,b,c are columns of zeros and ones
        part: its column of parts (train, valid, test), or none: neither it nor lists split
        group: its column of groups whose images stay in one part, or none
        group_pattern: a regular expression for groups in paths, '(?P<group>video\\d+)_'
        lists: lists of the images of each part, such as train.txt,test.txt
        delimiter: what separates several labels in a cell, or none: nothing
        images: the folder that holds the images, where another has files of the same names
        layout: what folders mean, such as '{part}/{label}'; with --table, of images it lacks
        pattern: a regular expression for labels in file names, '(?P<label>.+)_\\d+.jpg'
        replace: write conf/dataset/NAME.yaml anew where there is one, and keep that as .yaml.old
    """
    config = hydra_app.CONF / "dataset" / f"{name}.yaml"
    _check_name(name, config, replace)
    root = unpacked_file(path)[0] if path.is_file() else path
    hints = Hints(
        table=table,
        file=file,
        label=label,
        part=part,
        group=group,
        group_pattern=group_pattern,
        lists=lists,
        delimiter=delimiter,
        images=images,
        layout=layout,
        pattern=pattern,
    )
    recognised = recognise(root, hints)
    _check_classes(path, recognised)
    tiles = [_tile(recognised.source, each) for each in examples(recognised.source.images)]
    recognised, odd = _looked_at(recognised, root, tiles)
    sheet = SHEETS / f"{name}.png"
    _draw_sheet(tiles, f"{name}: {summary(recognised)}", f"{recognised.rule}.", sheet)
    _write(config, dataset_yaml(name, path, recognised))
    print(f"{config}: {summary(recognised)}.")
    faults, rare = recognised.source.faults, list(rare_classes(name, recognised.source))
    for line in (*summary_lines(recognised, root), *odd, *_fault_lines(faults), *rare):
        print(line)
    print(f"Look at {sheet}: are the labels right? If not, correct the YAML (docs/datasets.md).")
    print(_what_next(name, config, bool(faults), bool(rare)))


def _looked_at(
    recognised: Recognised, root: Path, tiles: Sequence["Tile"]
) -> tuple[Recognised, list[str]]:
    """The same with the faults that a look at the files shows, and lines on what else it shows."""
    source, unreadable = recognised.source, {tile.image.file: tile.fault for tile in tiles}
    seen = {file: fault for file, fault in unreadable.items() if fault}
    look = look_at(source, recognised.kind, root, seen)
    source = replace(source, faults=[*source.faults, *look.faults])
    return replace(recognised, source=source), [f"suspicious: {line}" for line in look.odd]


def _what_next(name: str, config: Path, faulty: bool, rare: bool) -> str:
    """The next command, after what stage `dataset` would stop at."""
    own = f"python -m pipeline.own {name} # the study for it, with an image size that fits"
    first = []
    if faulty:
        first.append(f"correct the faults (or write `bad: drop` into {config} to leave them out)")
    if rare:
        first.append("follow the warning above")
    return f"First {' and '.join(first)}. Then: {own}" if first else f"Then: {own}"


def _check_name(name: str, config: Path, replace: bool) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,59}", name):
        raise PipelineError(f"{name!r}: a dataset's name is letters, digits and _, a letter first")
    if not isinstance(yaml.safe_load(name), str) or name.lower() in ("inf", "nan"):
        raise PipelineError(f"{name!r}: YAML reads this name as something else: choose another")
    if config.exists() and not replace:
        raise PipelineError(
            f"{config} exists: choose another name, or write --replace, which keeps it as "
            f"{free_old_name(config).name}"
        )


def _check_classes(path: Path, recognised: Recognised) -> None:
    """Raise where there is nothing to tell apart, or no class has a second image."""
    counts = _images_per_class(recognised.source.images)
    if len(counts) < 2:
        only = f"one class, {next(iter(counts))}" if counts else "no labels"
        raise PipelineError(
            f"{path}: {only} ({recognised.rule}): there is nothing to tell apart: choose another "
            "column with --label, another table with --table, or what folders mean with --layout"
        )
    if max(counts.values()) < 2:
        raise PipelineError(
            f"{path}: {len(counts)} classes of one image each ({recognised.rule}): nothing to "
            "learn from: name the right column with --label, or give more images"
        )


def _write(config: Path, text: str) -> None:
    """Write the YAML; one with another text that was there is kept beside it."""
    if config.exists() and config.read_bytes() != text.encode():
        kept = free_old_name(config)
        kept.write_bytes(config.read_bytes())
        print(f"kept: {kept}, as {config.name} was before")
    write_text(config, text)


def summary(recognised: Recognised) -> str:
    """`370 images, 37 classes of 8 to 12 images, single-label, 2 faults`."""
    source = recognised.source
    counts = _images_per_class(source.images)
    few, many = min(counts.values(), default=0), max(counts.values(), default=0)
    each = f"{few}" if few == many else f"{few} to {many}"
    n_faults = len(source.faults)
    faults = f", {number_of(n_faults, 'fault', 'faults')}" if n_faults else ""
    return (
        f"{len(source.images)} images, {len(counts)} classes of {each} images, "
        f"{recognised.kind}-label, split {recognised.split}{faults}"
    )


def dataset_yaml(name: str, path: Path, recognised: Recognised) -> str:
    """The text of conf/dataset/NAME.yaml, with the classes and how many images each has."""
    counts = _images_per_class(recognised.source.images)
    inside = path.resolve().is_relative_to(Path.cwd())
    folder = path.resolve().relative_to(Path.cwd()) if inside else path.resolve()
    lines = [
        f"# As `--new` understood it: {summary(recognised)};",
        *(f"# {line}" for line in textwrap.wrap(" ".join(recognised.rule.split()) + ".", 96)),
        *(f"# {' '.join(note.split())}." for note in recognised.notes),
        f"name: {name}",
        f"kind: {recognised.kind}",
        f"source: {_yaml_value(str(folder))}",
        "images:",
        *(f"  {key}: {_yaml_value(value)}" for key, value in recognised.images.items()),
        f"split: {recognised.split}",
        "classes: # and how many images each has",
        *(f"  - {_yaml_value(label)} # {counts[label]}" for label in sorted_classes(set(counts))),
    ]
    return "\n".join(lines) + "\n"


def _yaml_value(value: Any) -> str:
    """A value as one line of YAML that OmegaConf reads back as it is: `no` and `2e-3` as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_yaml_value, value)) + "]"
    if isinstance(value, dict):
        pairs = (f"{_yaml_value(key)}: {_yaml_value(each)}" for key, each in value.items())
        return "{" + ", ".join(pairs) + "}"
    text = str(value).replace("${", r"\${")
    if re.fullmatch(r"[A-Za-z_][\w./ -]*", text) and yaml.safe_load(text) == text:
        return text
    return "'" + text.replace("'", "''") + "'" if text.isprintable() else json.dumps(text)


def summary_lines(recognised: Recognised, root: Path) -> Iterator[str]:
    """Lines that a person can check in ten seconds."""
    source = recognised.source
    yield f"read: {recognised.rule}."
    yield f"classes: {_largest_classes(source.images)}"
    parts = Counter(image.part for image in source.images)
    if parts.keys() - {None}:
        counts = [f"{count} {part or 'of no part'}" for part, count in parts.items()]
        given = "" if "valid" in parts else " (some of train will be valid)"
        not_used = " (not used)"
        yield f"parts: {', '.join(counts)}" + (given if recognised.split == "given" else not_used)
    groups = {image.group for image in source.images} - {None}
    if groups:
        yield f"groups: {len(groups)} ({listed(sorted(map(str, groups)))}); each stays in one part"
    for note in recognised.notes:
        yield f"left aside: {note}"
    if source.unlabelled:
        none = "image has no label and is", "images have no label and are"
        n_unlabelled = number_of(len(source.unlabelled), *none)
        yield f"left aside: {n_unlabelled} not used ({listed(source.unlabelled)})"
    yield from _groups_across_parts(recognised)
    yield from _copies_to_be_parted(recognised)
    for line in suspicious(source, root):
        yield f"suspicious: {line}"


def _fault_lines(faults: Sequence[Fault]) -> Iterator[str]:
    """The first faults, a line each, and what they mean."""
    for fault in faults[:MOST_FAULTS]:
        yield f"fault: {fault.file}: {fault.reason}"
    if len(faults) > MOST_FAULTS:
        yield f"fault: ... and {len(faults) - MOST_FAULTS} more"
    if faults:
        yield (
            "Stage dataset stops at faults. It reads every image, and --new only some of them: "
            "there may be more"
        )


def _groups_across_parts(recognised: Recognised) -> Iterator[str]:
    """That a split may part images that look like frames of one video, or of a patient, or does."""
    images = [image for image in recognised.source.images if image.group is None]
    what, one, (pattern, found) = "frames", "video", frames_of_videos(images)
    if not found:
        what, one, (pattern, found) = "images", "patient", images_of_patients(images)
    parted = list(found)
    if recognised.split == "given":
        parted = [name for name in found if len({each.part for each in found[name]}) > 1]
    if parted:
        yield (
            f"suspicious: {sum(len(found[name]) for name in parted)} images look like {what} of "
            f"{number_of(len(parted), one, f'{one}s')} ({listed(parted)}), and those of one may "
            f"be in several parts: write --group-pattern {quote(pattern)} to keep each {one} whole"
        )


def _copies_to_be_parted(recognised: Recognised) -> Iterator[str]:
    """That a split may part images from changed copies of them."""
    images = [image for image in recognised.source.images if image.group is None]
    pattern, copies = changed_copies(images)
    if copies and recognised.split != "given":
        first = listed(image.file for image in next(iter(copies.values())))
        yield (
            f"suspicious: {sum(map(len, copies.values()))} images look like {len(copies)} pictures "
            f"and changed copies of them ({first}), which the split may put into different parts: "
            f"write --group-pattern {quote(pattern)} to keep them together"
        )


def _images_per_class(images: Sequence[LabelledImage]) -> Counter[str]:
    """How many images each class has."""
    return Counter(label for image in images for label in image.labels)


def _largest_classes(images: Sequence[LabelledImage]) -> str:
    counts = _images_per_class(images)
    shown = [f"{label} {count}" for label, count in counts.most_common(MOST_CLASSES)]
    more = f", ... ({len(counts)} classes in all)" if len(counts) > len(shown) else ""
    return ", ".join(shown) + more


def rare_classes(name: str, source: Source) -> Iterator[str]:
    """What stage `dataset` would refuse about the classes, and what to write against it.

    The dataset's YAML has been written.
    """
    config = hydra_app.CONF / "dataset" / f"{name}.yaml"
    asked = read_config(hydra_app.compose("dataset", [f"dataset={name}", "image_size=64"]))
    policy = replace(asked.policy, bad="drop")
    reasons = {fault.file: fault.reason for fault in source.faults}
    of_images = [reasons.get(image.file, "") for image in source.images]
    try:
        choose(source.images, of_images, [], policy, asked.split)
    except Faulty as error:
        few = listed(f"{fault.file} ({fault.reason})" for fault in error.faults)
        yield (
            f"warning: too few images: {few}: write `rare: drop` into {config} to leave out such "
            "classes and the images that have no other label, or `rare: keep` to accept them"
        )
    except PipelineError as error:
        yield f"warning: stage dataset will refuse this: {error}"


def _draw_sheet(shown: Sequence["Tile"], title: str, rule: str, path: Path) -> None:
    """Write a PNG of up to 64 images, sorted by label, under the title and the rule."""
    rows = -(-len(shown) // COLUMNS)
    size = (GAP + COLUMNS * (TILE + GAP), HEAD + rows * (TILE + CAPTION + GAP))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    draw.text((GAP, GAP), title, "black", _font("DejaVuSans-Bold", 15))
    draw.text((GAP, GAP + 22), rule, "black", _font(size=13))
    for place, tile in enumerate(shown):
        image = tile.image
        left = GAP + place % COLUMNS * (TILE + GAP)
        top = HEAD + place // COLUMNS * (TILE + CAPTION + GAP)
        sheet.paste(tile.picture, (left, top))
        caption = textwrap.wrap(", ".join(image.labels) or "(no label)", 25, max_lines=2)
        draw.multiline_text((left, top + TILE + 2), "\n".join(caption), "black", _font(size=11))
        below = f"{image.part}: " if image.part else ""
        below = _shortened(below + image.file.rpartition("/")[2])
        draw.text((left, top + TILE + 31), below, "#666666", _font(size=10))
    with replacing(path) as beside:
        sheet.save(beside, "PNG")


def examples(images: Sequence[LabelledImage]) -> list[LabelledImage]:
    """Up to 64 images with as many labels among them as possible, evenly taken from each."""
    of_label: dict[str, list[LabelledImage]] = {}
    for image in images:
        for label in image.labels or ("",):
            of_label.setdefault(label, []).append(image)
    labels = _evenly(sorted(of_label), MAX_TILES)
    each = max(1, MAX_TILES // max(1, len(labels)))
    chosen = [image for label in labels for image in _evenly(of_label[label], each)]
    return list(dict.fromkeys(chosen))


def _evenly(values: Sequence[T], count: int) -> list[T]:
    if len(values) <= count:
        return list(values)
    return [values[place * len(values) // count] for place in range(count)]


@dataclass(frozen=True)
class Tile:
    """One image of the sheet, drawn small, and why it cannot be read; empty if it can."""

    image: LabelledImage
    picture: Image.Image
    fault: str = ""


def _tile(source: Source, image: LabelledImage) -> Tile:
    tile = Image.new("RGB", (TILE, TILE), "#eeeeee")
    try:
        pixels = decode(source.read(image.file)).pixels
    except (NotAnImage, OSError) as error:
        tile.paste("#c62828", (0, 0, TILE, TILE))
        text = "\n".join(textwrap.wrap(f"{image.file}: {error}", 22)[:9])
        ImageDraw.Draw(tile).multiline_text((4, 4), text, "white", _font(size=11))
        return Tile(image, tile, str(error))
    scale = TILE / max(pixels.size)
    size = [max(1, round(side * scale)) for side in pixels.size]
    shrunk = pixels.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    tile.paste(shrunk, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return Tile(image, tile)


def _shortened(text: str, most: int = 27) -> str:
    """The text, or its beginning and its end where it is long."""
    return text if len(text) <= most else f"{text[: most // 2 - 1]}...{text[-most // 2 + 2 :]}"


def _font(face: str = "DejaVuSans", size: int = 13) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_FONTS / f"{face}.ttf", size)


if __name__ == "__main__":
    run(main)
