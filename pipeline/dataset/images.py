"""Decodes one file's bytes to RGB pixels, and resizes those to uint8 arrays.

The rule is the same for every file: an image is what a viewer shows. The first frame, turned as its
EXIF orientation says; transparent parts on white; of 16-bit grey the upper 8 bits (`bits_used` says
whether those are nearly empty); everything else (grey, palette, CMYK, YCbCr, ...) as Pillow
converts it to RGB. A file with none of these peculiarities gives exactly the pixels that fastai's
`PILImage.create` and `Resize(size, method="squish")` give.
"""

import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, features
from PIL import __version__ as pillow_version

from pipeline.core.errors import PipelineError

FILTER = "bilinear"
EMPTY = "empty file"
_USUAL_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".tif", ".tiff")
SUFFIXES = frozenset((*_USUAL_SUFFIXES, ".webp", ".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"))
_LEFT_FOLDERS = ("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")
_LEFT_FILES = ("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "icon\r")
LEAVINGS = frozenset((*_LEFT_FOLDERS, *_LEFT_FILES))  # of systems; @eaDir is full of thumbnails
ABOUT = re.compile(  # the names of files about a dataset, which hold neither images nor labels
    r"(read[-_ ]?me|licen[cs]es?|copying|copyright|notice|citations?|credits|attributions?|authors"
    r"|change[-_ ]?log)((\.\w+)?\.(txt|md|rst|html?|pdf|rtf|docx?|cff|bib))?",
    re.I,
)
# No format that starts another program (EPS), none without a signature (TGA).
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # Pillow's own limit
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # up to that, decoded
Image.init()  # load the readers now: many threads will use them
NO_MEMORY = "memory ran out while images were decoded: free some, then run again"
_HOLD_EXIF = {"exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"}
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
OF_16 = "-of-16"
BITS_NEARLY_BLACK = 12  # of 16: of the 8 upper ones, which are kept, 4 at most are used
_UNSCALED = ("I", "F")
_TRANSPARENT = ("RGBA", "RGBa", "LA", "La", "PA")


class NotAnImage(Exception):
    """These bytes give no pixels; the message says why."""


@dataclass(frozen=True)
class Picture:
    """RGB pixels, and which parts of the rule were needed: rotated, transparent, 16-bit.

    Beside 16-bit, `12-of-16` says that no pixel needs more than the lower 12 bits.
    """

    pixels: Image.Image
    peculiar: tuple[str, ...]


def decoder() -> dict[str, str]:
    """What the pixels depend on besides the files' bytes."""
    libjpeg = features.version("libjpeg_turbo") or features.version("jpg")
    return {"pillow": pillow_version, "libjpeg": str(libjpeg), "filter": FILTER}


def decode(data: bytes) -> Picture:
    """Decode by the rule of this module; raise `NotAnImage` where there is nothing to see."""
    if not data:
        raise NotAnImage(EMPTY)
    with _images_fault():
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        image.load()
    return _rgb(image)


@contextmanager
def _images_fault() -> Iterator[None]:
    """What Pillow raises in the block speaks against the image, except that memory is lacking."""
    try:
        yield
    except MemoryError:
        raise
    except Image.UnidentifiedImageError:
        raise NotAnImage("not an image file") from None
    except Image.DecompressionBombError as error:
        pixels = re.search(r"\d+", str(error))
        shown = f"{int(pixels[0]):,} pixels, " if pixels else ""
        raise NotAnImage(f"{shown}more than {MOST_PIXELS:,}: make it smaller") from None
    except Exception as error:  # Pillow's readers raise nearly anything on damaged bytes
        raise NotAnImage(f"damaged image: {' '.join(str(error).split()) or repr(error)}") from None


def _rgb(image: Image.Image) -> Picture:
    peculiar = []
    if image.info.keys() & _HOLD_EXIF and _turned(image):
        peculiar.append("rotated")
    if image.mode in _SIXTEEN_BITS:
        values = np.asarray(image)
        peculiar.append("16-bit")
        if (bits := int(values.max()).bit_length()) < 16:
            peculiar.append(f"{bits}{OF_16}")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode in _UNSCALED:
        raise NotAnImage("32-bit pixels have no stated range: convert the file to 8 or 16 bits")
    if image.mode in _TRANSPARENT or "transparency" in image.info:
        above = _converted(image, "RGBA")
        image = Image.alpha_composite(Image.new("RGBA", above.size, "white"), above)
        peculiar.append("transparent")
    return Picture(_converted(image, "RGB"), tuple(peculiar))


def _turned(image: Image.Image) -> bool:
    """Turn the image as its EXIF says, if it says so."""
    with _images_fault():
        if image.getexif().get(0x0112, 1) not in range(2, 9):
            return False
        ImageOps.exif_transpose(image, in_place=True)
        return True


def _converted(image: Image.Image, mode: str) -> Image.Image:
    with _images_fault():
        return image if image.mode == mode else image.convert(mode)


def bits_used(peculiar: Iterable[str]) -> tuple[int, int] | None:
    """Of the images of 16 bits: how many, and how many bits the brightest of them needs."""
    words = [each.split() for each in peculiar]
    bits = [
        next((int(word.removesuffix(OF_16)) for word in each if word.endswith(OF_16)), 16)
        for each in words
        if "16-bit" in each
    ]
    return (len(bits), max(bits)) if bits else None


def squish(image: Image.Image, size: int) -> np.ndarray:
    """uint8 [3, size, size]: the whole image, its shape not kept."""
    return _planes(image.resize((size, size), Image.Resampling.BILINEAR))


def crop(image: Image.Image, size: int) -> np.ndarray:
    """uint8 [3, height, width], the shorter side `size`: what a square is later cut from."""
    width, height = image.size
    if width <= height:
        return _planes(image.resize((size, size * height // width), Image.Resampling.BILINEAR))
    return _planes(image.resize((size * width // height, size), Image.Resampling.BILINEAR))


def _planes(image: Image.Image) -> np.ndarray:
    """Band by band: faster than turning pixels around."""
    planes = b"".join(band.tobytes() for band in image.split())
    return np.frombuffer(planes, dtype=np.uint8).reshape(3, image.height, image.width)


RESIZES: dict[str, Callable[[Image.Image, int], np.ndarray]] = {"squish": squish, "crop": crop}


def check_resize(name: str) -> None:
    if name not in RESIZES:
        raise PipelineError(f"unknown resize {name!r}: choose from {', '.join(RESIZES)}")
