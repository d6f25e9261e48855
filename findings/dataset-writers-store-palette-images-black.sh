#!/usr/bin/env bash
# litdata 0.2.76 and mosaicml-streaming 0.13.0 (encoding "pil"): a Pillow image with a palette (mode P: every GIF, and
# PNGs of few colours) is written as its numbers without the palette. Read back it has mode P and the right size, and
# is black. litdata chooses this encoding by itself for every Pillow image that was not opened from a JPEG file;
# streaming's documentation says of it "Store PIL image raw". What Image.open returns need not be touched for it.
#
# Seen: a GIF, a PNG of 16 colours and the same picture as RGB, opened and handed to litdata.optimize and MDSWriter.
# After convert("RGB") the first two are black everywhere, with a mean of 0 instead of 112; the third is as it was. So
# is each of them with MDSWriter's "png". No warning when written or read.
# Expected: the image that was handed over, or an error: its mode is written down, so the case is known.
# It matters because data sets from the web are a mixture: a few of the images of a class are black from then on, and
# nothing but a look at them shows it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 \
  litdata==0.2.76 mosaicml-streaming==0.13.0 pillow==13.0.0
cd "$work"
cat >written.py <<'P'
import litdata
import numpy
import streaming
from PIL import Image

FILES = ["image.gif", "palette.png", "colour.png"]


def opened(file):
    return {"image": Image.open(file)}


def check(writer, read, black):
    for file, image in zip(FILES, read):
        original = numpy.asarray(Image.open(file).convert("RGB"))
        same = numpy.array_equal(numpy.asarray(image.convert("RGB")), original)
        mean = numpy.asarray(image.convert("RGB")).mean()
        print(f"{writer:18} {file:12} mode {image.mode:4} mean {original.mean():.0f}, read back {mean:.0f}")
        assert image.size == (64, 48) and image.mode == Image.open(file).mode
        assert mean == 0 and original.mean() > 90 if black and image.mode == "P" else same


if __name__ == "__main__":
    ramp = numpy.arange(64 * 48, dtype=numpy.uint16).reshape(48, 64) // 192
    colours = numpy.stack([200 - 10 * ramp, 60 + 8 * ramp, numpy.full_like(ramp, 90)], 2).astype(numpy.uint8)
    picture = Image.fromarray(colours)
    picture.save("colour.png")
    picture.quantize(16).save("palette.png")
    picture.quantize(16).save("image.gif")
    assert [Image.open(file).mode for file in FILES] == ["P", "P", "RGB"]

    litdata.optimize(opened, FILES, output_dir="lit", chunk_bytes="1MB", num_workers=1)
    check("litdata", [row["image"] for row in litdata.StreamingDataset("lit")], black=True)
    for encoding in ("pil", "png"):
        with streaming.MDSWriter(out=encoding, columns={"image": encoding}) as writer:
            for file in FILES:
                writer.write(opened(file))
        rows = streaming.StreamingDataset(local=encoding, batch_size=1)
        check(f"streaming, {encoding}", [rows[number]["image"] for number in range(3)], black=encoding == "pil")
P
HOME="$work" env/bin/python written.py >out 2>log || { cat out log; exit 1; }
if grep -i palette log; then exit 1; fi
grep ' read back ' out
echo "as described: images with a palette are black when read back"
