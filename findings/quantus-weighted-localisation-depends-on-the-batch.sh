#!/usr/bin/env bash
# quantus 0.6.0, AttributionLocalisation(weighted=True): "the weighted variant of the inside-total relevance ratio" of
# Kohlbrenner et al. (2020), which is the share of the relevance in the object times the size of the image over the size
# of the object: 1 for a map without any preference. Quantus multiplies by size of object over size of image, and takes
# for the size of an image x_batch[2:].size, the number of values in all images of the batch after the second.
#
# Seen: a map without preference and an object of a sixteenth of the image, where 1.0 is right: 0.0013 in a batch of 3
# images, 0.00016 in a batch of 10, 0.00002 in the default of 64, infinite for 1 or 2. An object of a quarter, again
# without preference: 16 times more. The same number is compared with max_size, "the maximum ratio for the size of the
# bounding box to image". The unweighted ratio is right. No warning.
# Expected: 1.0 in each case.
# It matters because the weight is to make objects of different size comparable, and does the opposite: numbers of
# different batch sizes cannot be compared at all.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  quantus==0.6.0 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 scikit-learn==1.9.1 scikit-image==0.26.0 torch==2.15.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
import quantus
import torch

described = " ".join(inspect.getdoc(quantus.AttributionLocalisation.__init__).split())
assert "Indicates whether the weighted variant of the inside-total relevance ratio is used" in described
assert "The maximum ratio for the size of the bounding box to image" in described
draw = np.random.default_rng(0)


def score(images, side, **options):
    """The metric for maps that are the same everywhere but for a thousandth, with an object of side x side pixels."""
    pictures = draw.random((images, 3, 32, 32)).astype(np.float32)
    maps = (1 + 0.001 * draw.random((images, 1, 32, 32))).astype(np.float32)
    objects = np.zeros((images, 1, 32, 32), dtype=int)
    objects[:, :, :side, :side] = 1
    metric = quantus.AttributionLocalisation(disable_warnings=True, display_progressbar=False, **options)
    classes = np.zeros(images, dtype=int)
    given = metric(model=torch.nn.Flatten(), x_batch=pictures, y_batch=classes, a_batch=maps, s_batch=objects)
    inside = (maps * objects).sum(axis=(1, 2, 3)) / maps.sum(axis=(1, 2, 3))
    return float(np.mean(given)), inside.mean(), inside.mean() * 32 * 32 / side**2


for side in (8, 16):
    weighted = {}
    for images in (3, 10, 64):
        plain, inside, right = score(images, side)
        weighted[images] = score(images, side, weighted=True)[0]
        print(f"object of {side}x{side}, {images} images: share inside {plain:.3f};", end=" ")
        print(f"weighted {weighted[images]:.6f}, right {right:.3f}")
        assert np.isclose(plain, inside, rtol=1e-3) and np.isclose(right, 1, rtol=1e-3)
        assert np.isclose(weighted[images], inside * side**2 / ((images - 2) * 3 * 32 * 32), rtol=1e-3)
    assert np.isinf(score(2, side, weighted=True)[0])
    assert weighted[3] > 7 * weighted[10] > 40 * weighted[64]
P
echo "as described: the weight shrinks with the batch and grows with the object"
