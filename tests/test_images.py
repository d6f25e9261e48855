import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from pipeline.dataset import images
from pipeline.dataset.images import SUFFIXES, NotAnImage, bits_used, crop, decode, squish

RANDOM = np.random.RandomState(0)
PHOTO = Image.fromarray(RANDOM.randint(0, 256, (8, 12, 3), dtype=np.uint8)).resize((48, 32))


def encoded(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format, **options)
    return stream.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(decode(data).pixels)


def test_a_plain_photo_is_what_pillow_decodes() -> None:
    data = encoded(PHOTO, "JPEG", quality=90)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(pixels(data), expected)
    assert decode(data).peculiar == ()


def test_grey_is_the_same_in_all_three_colours() -> None:
    data = encoded(PHOTO.convert("L"))
    assert np.array_equal(pixels(data), np.asarray(PHOTO.convert("L").convert("RGB")))


def test_cmyk_is_converted_as_pillow_does() -> None:
    data = encoded(PHOTO.convert("CMYK"), "JPEG", quality=95)
    opened = Image.open(io.BytesIO(data))
    assert opened.mode == "CMYK"
    assert np.array_equal(pixels(data), np.asarray(opened.convert("RGB")))


def test_a_palette_gives_its_colours() -> None:
    image = PHOTO.quantize(16)
    assert np.array_equal(pixels(encoded(image)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize(
    ("orientation", "seen"),
    [
        (1, lambda a: a),
        (2, np.fliplr),
        (3, lambda a: np.rot90(a, 2)),
        (4, np.flipud),
        (5, lambda a: a.transpose(1, 0, 2)),
        (6, lambda a: np.rot90(a, -1)),
        (7, lambda a: np.rot90(a, 2).transpose(1, 0, 2)),
        (8, np.rot90),
    ],
)
def test_a_photo_is_turned_as_its_exif_orientation_says(orientation: int, seen: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(PHOTO, "PNG", exif=exif)
    assert np.array_equal(pixels(data), seen(np.asarray(PHOTO)))
    assert decode(data).peculiar == (("rotated",) if orientation > 1 else ())


def test_an_orientation_that_does_not_exist_is_ignored() -> None:
    exif = Image.Exif()
    exif[0x0112] = 0
    assert np.array_equal(pixels(encoded(PHOTO, "PNG", exif=exif)), np.asarray(PHOTO))


def test_what_is_transparent_lies_on_white_and_not_on_hidden_colours() -> None:
    image = Image.new("RGBA", (2, 1), (200, 0, 0, 255))
    image.putpixel((1, 0), (0, 200, 0, 0))
    expected = [[[200, 0, 0], [255, 255, 255]]]
    assert pixels(encoded(image)).tolist() == expected
    grey = Image.new("LA", (1, 1), (0, 0))
    assert pixels(encoded(grey)).tolist() == [[[255, 255, 255]]]
    palette = Image.new("P", (2, 1), 1)
    palette.putpalette([1, 2, 3, 200, 0, 0])
    palette.putpixel((1, 0), 0)
    assert pixels(encoded(palette, transparency=0)).tolist() == expected
    assert decode(encoded(image)).peculiar == ("transparent",)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_of_sixteen_bit_grey_the_upper_eight_count(format: str) -> None:
    values = np.array([[0, 255, 256, 0x1234, 0x8000, 0xFFFF]], dtype=np.uint16)
    data = encoded(Image.fromarray(values), format)
    assert pixels(data)[0, :, 0].tolist() == [0, 0, 1, 0x12, 0x80, 0xFF]
    assert decode(data).peculiar == ("16-bit",)


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bits_that_hold_fewer_are_known(format: str) -> None:
    data = encoded(Image.fromarray(np.array([[0, 4095]], dtype=np.uint16)), format)
    assert decode(data).peculiar == ("16-bit", "12-of-16")
    assert bits_used(["", "16-bit 12-of-16", "16-bit 9-of-16 rotated"]) == (2, 12)
    assert bits_used(["16-bit 12-of-16", "16-bit"]) == (2, 16)
    assert bits_used(["", "rotated"]) is None


def test_an_image_that_is_too_large_says_how_large_it_may_be() -> None:
    data = encoded(Image.new("1", (13500, 13300)))
    with pytest.raises(NotAnImage) as caught:
        decode(data)
    assert str(caught.value) == "179,550,000 pixels, more than 178,956,970: make it smaller"


def test_jfif_is_a_name_of_jpeg() -> None:
    assert ".jfif" in SUFFIXES


def test_thirty_two_bit_pixels_are_refused_because_their_range_is_unknown() -> None:
    for kind in (np.float32, np.int32):
        data = encoded(Image.fromarray(np.ones((4, 4), dtype=kind)), "TIFF")
        with pytest.raises(NotAnImage, match="no stated range"):
            decode(data)


def test_of_an_animation_the_first_frame_counts() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(data)[0, 0].tolist() == [255, 0, 0]


def test_damaged_and_foreign_files_say_what_they_are() -> None:
    jpeg, png = encoded(PHOTO, "JPEG"), encoded(PHOTO)
    for data, reason in {
        b"": "empty file",
        b"<html>404</html>": "not an image file",
        jpeg[: len(jpeg) // 2]: "damaged image: .*[Tt]runcated",
        png[: len(png) // 2]: "damaged image",
        jpeg[:20]: "damaged image|not an image",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n": "not an image file",
    }.items():
        with pytest.raises(NotAnImage, match=reason):
            decode(data)


def test_an_image_of_absurd_size_is_refused_before_it_fills_the_memory() -> None:
    header = b"P5 40000 40000 255\n"
    with pytest.raises(NotAnImage, match="1,600,000,000 pixels, more than 178,956,970"):
        decode(header + b"x")


def test_squish_is_pillows_bilinear_resize_as_planes() -> None:
    expected = np.asarray(PHOTO.resize((16, 16), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.array_equal(squish(PHOTO, 16), expected)
    assert squish(PHOTO, 16).flags.c_contiguous


def test_crop_keeps_the_shape_and_makes_the_shorter_side_fit() -> None:
    assert crop(PHOTO, 16).shape == (3, 16, 24)
    assert crop(PHOTO.rotate(90, expand=True), 16).shape == (3, 24, 16)
    assert crop(PHOTO.resize((32, 32)), 16).shape == (3, 16, 16)


def test_an_orientation_in_xmp_counts_too() -> None:
    xmp = (
        b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF '
        b'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description '
        b'xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="3"/></rdf:RDF></x:xmpmeta>'
    )
    data = encoded(PHOTO, "JPEG", xmp=xmp, quality=90)
    plain = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert np.array_equal(pixels(data), np.rot90(plain, 2))


def test_memory_that_is_lacking_does_not_speak_against_the_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_memory(*_: object) -> None:
        raise MemoryError

    data = encoded(PHOTO.convert("L"))
    for where, name in ((Image.Image, "convert"), (PngImagePlugin.PngImageFile, "load")):
        monkeypatch.setattr(where, name, no_memory)
        with pytest.raises(MemoryError):
            decode(data)


def test_a_bug_of_ours_does_not_speak_against_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "_SIXTEEN_BITS", None)
    with pytest.raises(TypeError):
        decode(encoded(PHOTO))


def test_exif_that_pillow_cannot_read_speaks_against_the_image() -> None:
    with pytest.raises(NotAnImage, match="damaged image"):
        decode(encoded(PHOTO, "PNG", exif=b"Exif\0\0XX*\0"))
