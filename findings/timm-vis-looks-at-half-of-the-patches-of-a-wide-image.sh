#!/usr/bin/env bash
# timm-vis 2.0.0, maximally_activated_patches: "Plots the patches of an image that produce the highest activations". It
# covers patch after patch, and shows those whose cover changes the network's probability most. The number of the patch
# is made a column with the number of columns, but a row with the number of rows, so in an image that is not square the
# two do not belong together.
#
# Seen: an image of 160 x 80 in patches of 20: of 32 covers 16 lie in the image, the others below it, and half of the
# image is never covered. A network that looks at brightness alone, and one white patch on black: it is not among the
# five that are shown, all five are black. Over the 32 places where the white patch can be it is shown 16 times. 80 x
# 160: 16 places twice each. A square image is right. No warning.
# Expected: the cover of the white patch changes the probability most, wherever it is, and is shown.
# It matters because what the network looks at is then said to be somewhere else.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  timm-vis==2.0.0 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 matplotlib==3.11.2 pillow==13.0.0
cd "$work"
OMP_NUM_THREADS=1 MPLBACKEND=Agg "$work/env/bin/python" -W ignore - <<'P'
import inspect

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image
from timm_vis.helpers import gen_coords, preprocess_image
from timm_vis.methods import maximally_activated_patches

described = " ".join(inspect.getdoc(maximally_activated_patches).split())
assert "Plots the patches of an image that produce the highest activations" in described
SIDE = 20


class Brightness(torch.nn.Module):
    def forward(self, images):
        mean = images.mean((1, 2, 3))
        return torch.stack([mean, -mean], 1)


def picture(width, height, column, row):
    image = np.zeros((height, width, 3), dtype=np.uint8)
    image[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE] = 255
    Image.fromarray(image).save("image.png")
    return image


def shown(width, height, column, row):
    """Whether the white patch is among the five that are shown, and whether its cover alone changes the network."""
    image = picture(width, height, column, row)
    maximally_activated_patches(Brightness(), "image.png", patch_size=SIDE, stride=SIDE, num_patches=5, device="cpu")
    patches = [np.asarray(axes.images[0].get_array()) for axes in plt.gcf().axes]
    plt.close("all")
    assert len(patches) == 5
    return any(patch.mean() == 255 for patch in patches)


def right(width, height, column, row):
    """The patch whose cover, in the mean colour, changes the network most."""
    image = picture(width, height, column, row)
    network, change = Brightness(), {}
    before = network(preprocess_image("image.png")).softmax(1).max()
    for y in range(height // SIDE):
        for x in range(width // SIDE):
            covered = image.copy()
            covered[y * SIDE : (y + 1) * SIDE, x * SIDE : (x + 1) * SIDE] = int(image.mean())
            after = network(preprocess_image(Image.fromarray(covered))).softmax(1)
            change[x, y] = float((before - after[0, network(preprocess_image("image.png")).argmax()]).abs())
    return max(change, key=change.get)


for width, height in ((160, 80), (80, 160), (120, 120)):
    columns, rows = width // SIDE, height // SIDE
    covers = [gen_coords(i, SIDE, SIDE, columns, rows) for i in range(columns * rows)]
    inside = {cover for cover in covers if cover[2] <= width and cover[3] <= height}
    places = [(column, row) for row in range(rows) for column in range(columns)]
    found = [shown(width, height, *place) for place in places]
    print(f"{width} x {height}: {len(inside)} of {len(places)} patches are ever covered,", end=" ")
    print(f"the white one is shown at {sum(found)} of {len(places)} places")
    assert found == [(SIDE * x, SIDE * y, SIDE * x + SIDE, SIDE * y + SIDE) in inside for x, y in places]
    assert (len(inside) == len(places)) if width == height else (2 * len(inside) == len(places))
    assert all(right(width, height, *place) == place for place in (places[1], places[-2]))
assert not shown(160, 80, 1, 3) and right(160, 80, 1, 3) == (1, 3)
P
echo "as described: in an image that is not square half of the patches are left out"
