"""A picture of a dataset: some images of each label with their labels, for a person to check.

Images keep their shape; a file that gives no pixels is a red tile that says why.
"""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import matplotlib
from PIL import Image, ImageDraw, ImageFont

from pipeline.core.files import replacing
from pipeline.dataset.images import NotAnImage, decode
from pipeline.dataset.sources import Found, Source

COLUMNS, MAX_TILES = 8, 64
TILE, CAPTION, GAP, HEAD = 150, 46, 10, 60  # pixels
T = TypeVar("T")
_FONTS = Path(matplotlib.get_data_path()) / "fonts/ttf"


def draw_sheet(source: Source, title: Sequence[str], path: Path) -> None:
    """Write a PNG of up to 64 images, sorted by label, under two lines of title."""
    shown = examples(source.images)
    rows = -(-len(shown) // COLUMNS)
    size = (GAP + COLUMNS * (TILE + GAP), HEAD + rows * (TILE + CAPTION + GAP))
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    for line, (text, face) in enumerate(zip(title, ("DejaVuSans-Bold", "DejaVuSans"), strict=True)):
        draw.text((GAP, GAP + 22 * line), text, "black", _font(face, 15 - 2 * line))
    for place, image in enumerate(shown):
        left = GAP + place % COLUMNS * (TILE + GAP)
        top = HEAD + place // COLUMNS * (TILE + CAPTION + GAP)
        sheet.paste(_tile(source, image), (left, top))
        caption = textwrap.wrap(", ".join(image.labels) or "(no label)", 25, max_lines=3)
        draw.multiline_text((left, top + TILE + 2), "\n".join(caption), "black", _font(size=11))
    with replacing(path) as beside:
        sheet.save(beside, "PNG")


def examples(images: Sequence[Found]) -> list[Found]:
    """Up to 64 images with as many labels among them as possible, evenly taken from each."""
    of_label: dict[str, list[Found]] = {}
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


def _tile(source: Source, image: Found) -> Image.Image:
    tile = Image.new("RGB", (TILE, TILE), "#eeeeee")
    try:
        pixels = decode(source.read(image.file)).pixels
    except (NotAnImage, OSError) as error:
        tile.paste("#c62828", (0, 0, TILE, TILE))
        text = "\n".join(textwrap.wrap(f"{image.file}: {error}", 22)[:9])
        ImageDraw.Draw(tile).multiline_text((4, 4), text, "white", _font(size=11))
        return tile
    scale = TILE / max(pixels.size)
    size = [max(1, round(side * scale)) for side in pixels.size]
    shrunk = pixels.resize((size[0], size[1]), Image.Resampling.BILINEAR)
    tile.paste(shrunk, ((TILE - size[0]) // 2, (TILE - size[1]) // 2))
    return tile


def _font(face: str = "DejaVuSans", size: int = 13) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(_FONTS / f"{face}.ttf", size)
