#!/usr/bin/env bash
# imagehash 4.3.2, colorhash: "Computes fractions of image in intensity, hue and saturation bins", of which "the first
# binbits encode the black fraction of the image", so one of 2**binbits levels. The bits are not those of the level:
# every bit but the last says only whether anything is left above it, so that with the default of 3 bits the levels 4
# and 6 (50% and 75%) have one code, and so have 5 and 7. The other fractions are written in the same way.
#
# Seen: a green object on black, images that differ in its size alone: 55% and 80% black have the same hash, and so have
# 68% and 93%, but 43% and 55% a distance of 2. 3 bits have 6 codes for 8 levels, 4 bits 10 for 16, 8 bits 44 for 256.
# 100 images of random size: 1,030 pairs of equal hashes, 618 pairs of equal levels. No warning.
# Expected: 2**binbits codes, and equal hashes only for fractions of the same level.
# It matters because equal hashes are taken for duplicates, and one asks for more bits in order to tell more images
# apart: most of the codes are never used.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check imagehash==4.3.2 numpy==2.4.6 pillow==12.3.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
from itertools import combinations

import imagehash
import numpy as np
from PIL import Image

described = " ".join(inspect.getdoc(imagehash.colorhash).split())
assert "the first binbits encode the black fraction of the image" in described
assert "@binbits number of bits to use to encode each pixel fractions" in described


def picture(black, rows=1000):
    """An image of which the upper part is black and the rest green."""
    image = np.full((rows, 20, 3), (40, 200, 60), dtype=np.uint8)
    image[: round(black * rows)] = 0
    return Image.fromarray(image)


def code(level, bits):
    """What is stored for a share of black that lies in the middle of a level."""
    return tuple(imagehash.colorhash(picture((level + 0.5) / 2**bits, rows=2048), binbits=bits).hash[0])


hashes = {black: imagehash.colorhash(picture(black)) for black in (0.43, 0.55, 0.68, 0.8, 0.93)}
for one, other in ((0.55, 0.8), (0.68, 0.93), (0.43, 0.55)):
    distance = hashes[one] - hashes[other]
    print(f"{one:.0%} and {other:.0%} black: distance {distance}, equal: {hashes[one] == hashes[other]}")
    assert (distance == 0) == (hashes[one] == hashes[other]) == (one != 0.43)

for bits, expected in ((2, 4), (3, 6), (4, 10), (8, 44)):
    codes = {code(level, bits) for level in range(2**bits)}
    print(f"{bits} bits: {len(codes)} codes for {2**bits} levels")
    assert len(codes) == expected

shares = np.random.default_rng(0).uniform(size=100)
given = [str(imagehash.colorhash(picture(share))) for share in shares]
levels = [int(share * 8) for share in np.round(shares, 3)]
equal = sum(one == other for one, other in combinations(given, 2))
binary = sum(one == other for one, other in combinations(levels, 2))
print(f"100 images: {equal} pairs of equal hashes, {binary} pairs of equal levels")
assert equal > 1.4 * binary
P
echo "as described: the codes of half and of three quarters are the same"
