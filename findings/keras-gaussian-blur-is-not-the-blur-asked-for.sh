#!/usr/bin/env bash
# keras 3.15.1, RandomGaussianBlur: "sigma: Float or tuple of two floats. Standard deviation of the Gaussian kernel. If
# a tuple is provided, a value is sampled between the two for each image. Default is 1.0." "factor=0.0 makes this layer
# perform a no-op operation, while a value of 1.0 performs the most aggressive blurring available."
# The code draws two values, one for the rows and one for the columns, once for the whole batch. A float stands for 0 to
# that float. factor is not an extent but the upper bound of a probability. And it pads with zeros.
#
# Seen: 16 equal images, sigma=(0.2, 1.0): one blur for all of them, with a sigma of rows and one of columns that differ
# by a factor of 1.4 (median) or much more: motion blur. sigma=1.0: 0 to 1 in each direction, 0.5 on average.
# factor=1.0, the default: half of the images are left as they are. A grey image of value 100 gets a dark border, 70 at
# the edge and 49 in the corner; Pillow's GaussianBlur leaves it at 100. RandomSharpness does the same: 77 and 62 at
# factor 0, 123 and 138 at factor 1, where Pillow's Sharpness leaves 100.
# Expected: 16 different, round blurs; sigma 1; a flat image stays flat.
# It matters because contrastive training relies on blur, and a dark frame tells augmented images from the others.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6 pillow==12.3.0
cd "$work"
KERAS_HOME="$work" KERAS_BACKEND=jax "$work/env/bin/python" -W ignore - <<'P'
import inspect

import keras
import numpy as np
from keras.layers import RandomGaussianBlur, RandomSharpness
from PIL import Image, ImageEnhance, ImageFilter

described = " ".join(inspect.getdoc(RandomGaussianBlur).split())
assert "If a tuple is provided, a value is sampled between the two for each image. Default is 1.0" in described
assert "a value of `1.0` performs the most aggressive blurring available" in described


def apply(layer, images):
    return keras.ops.convert_to_numpy(layer(images, training=True))


point, offsets = np.zeros((16, 33, 33, 1), np.float32), np.arange(33) - 16
point[:, 16, 16] = 255


def deviations(image):
    """Standard deviation of a blurred point along rows and columns; the kernel of 15 pixels holds almost all of it."""
    share = image[..., 0] / image.sum()
    return [float(np.sqrt((share.sum(axis) * offsets**2).sum())) for axis in (1, 0)]


batches = [apply(RandomGaussianBlur((1.0, 1.0), 15, (0.2, 1.0), seed=seed), point) for seed in range(40)]
distinct = {len({image.tobytes() for image in batch}) for batch in batches}
ratios = [max(pair) / max(min(pair), 0.01) for pair in (deviations(batch[0]) for batch in batches)]
print("different blurs among the 16 images of a batch:", sorted(distinct), end="; ")
print(f"sigma of rows and columns differ by a factor of {np.median(ratios):.1f} (median), {max(ratios):.1f} at most")
assert distinct == {1} and np.median(ratios) > 1.2 and max(ratios) > 3

found = [deviations(apply(RandomGaussianBlur((1.0, 1.0), 15, 1.0, seed=seed), point)[0]) for seed in range(200)]
print(f"sigma=1.0: {np.min(found):.2f} to {np.max(found):.2f}, mean {np.mean(found):.2f}")
assert np.min(found) < 0.1 and 0.4 < np.mean(found) < 0.6

many = np.random.default_rng(0).uniform(0, 255, (1000, 8, 8, 1)).astype(np.float32)
unchanged = (apply(RandomGaussianBlur(1.0, 3, (0.9, 1.0), seed=0), many) == many).all(axis=(1, 2, 3)).mean()
print(f"factor=1.0 leaves {unchanged:.0%} of 1,000 images as they are")
assert 0.4 < unchanged < 0.6

grey = np.full((1, 32, 32, 3), 100, np.float32)
layers = {"blur": RandomGaussianBlur((1.0, 1.0), 7, (1.0, 1.0))}
layers |= {f"sharpness {factor}": RandomSharpness((factor, factor)) for factor in (0.0, 0.5, 1.0)}
edges = {}
for name, layer in layers.items():
    image = apply(layer, grey)[0]
    edges[name] = image[0, 0, 0], image[0, 16, 0], image[16, 16, 0]
    print(f"grey image of value 100, {name}: corner {edges[name][0]:.0f}, edge {edges[name][1]:.0f}", end=", ")
    print(f"middle {edges[name][2]:.0f}")
    assert abs(edges[name][2] - 100) < 0.01
assert edges["blur"][0] < 55 and edges["blur"][1] < 75 and edges["sharpness 0.5"][0] == 100
assert edges["sharpness 0.0"][0] < 65 and edges["sharpness 1.0"][0] > 130
flat = Image.new("RGB", (32, 32), (100, 100, 100))
for image in (flat.filter(ImageFilter.GaussianBlur(1)), *(ImageEnhance.Sharpness(flat).enhance(by) for by in (0, 2))):
    assert set(np.asarray(image).ravel().tolist()) == {100}
P
echo "as described: one lopsided blur per batch, half as strong as asked for, with a dark border"
