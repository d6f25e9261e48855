#!/usr/bin/env bash
# keras 3.15.1, RandomSaturation: "factor=0.5 makes this layer perform a no-op operation", 1.0 "makes the image fully
# saturated", "value_range: the range of values the incoming images will have", (0, 255) by default. The code multiplies
# the saturation of the HSV image, which lies between 0 and 1 in any case, and then clips it to value_range. With the
# default range it may rise to 255, and the way back to RGB gives negative values. The hue layer converts the range.
#
# Seen: smooth images of values 0 to 255. factor 0.6: smallest value about -120; 0.75: -470; 1.0: -65,000; no warning.
# The same images divided by 255, with value_range=(0, 1), stay in the range. With factor=(0.3, 0.7) two thirds of the
# images have negative values. RandomColorJitter, which clips its result, gives other images in one range than in the
# other: at 0.75 they differ by 9 levels on average.
# Expected: the same result in both ranges, within the range.
# It matters because values far outside of the range go into batch statistics and gradients of each training step.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 jax==0.10.2 numpy==2.4.6 pillow==12.3.0
cd "$work"
KERAS_HOME="$work" KERAS_BACKEND=jax "$work/env/bin/python" -W ignore - <<'P'
import inspect

import keras
import numpy as np
from PIL import Image

described = " ".join(inspect.getdoc(keras.layers.RandomSaturation).split())
assert "`factor=1.0` makes the image fully saturated" in described
assert "value_range: the range of values the incoming images will have" in described
draw = np.random.default_rng(0)
small = draw.integers(0, 256, (20, 8, 8, 3), dtype=np.uint8)
images = np.stack([np.asarray(Image.fromarray(one).resize((64, 64), Image.BILINEAR)) for one in small])
images = images.astype(np.float32)


def augmented(layer, highest, factor):
    """What the layer makes of the images with values from 0 to `highest`, in levels of 0 to 255."""
    if layer == "RandomSaturation":
        made = keras.layers.RandomSaturation(factor, value_range=(0, highest), seed=0)
    else:
        others = {"brightness_factor": 0.0, "contrast_factor": 0.0, "hue_factor": 0.0}
        made = keras.layers.RandomColorJitter((0, highest), saturation_factor=factor, **others, seed=0)
    return keras.ops.convert_to_numpy(made(images * (highest / 255), training=True)) * (255 / highest)


for factor in (0.0, 0.25, 0.5, 0.6, 0.75, 1.0):
    by_255, by_1 = (augmented("RandomSaturation", highest, (factor, factor)) for highest in (255, 1))
    print(f"factor {factor}: {by_255.min():.0f} to {by_255.max():.0f}", end="; with values of 0 to 1 it would be ")
    print(f"{by_1.min():.0f} to {by_1.max():.0f}")
    assert by_1.min() > -0.1 and by_1.max() < 255.1
    if factor <= 0.5:
        assert np.allclose(by_255, by_1, atol=0.1)
    else:
        assert by_255.min() < -20
assert by_255.min() < -10_000

by_255 = augmented("RandomSaturation", 255, (0.3, 0.7))
outside = (by_255 < 0).mean(axis=(1, 2, 3))
print(f"factor 0.3 to 0.7: negative values in {(outside > 0).mean():.0%} of the images; lowest {by_255.min():.0f}")
assert (outside > 0).mean() > 0.25
by_255, by_1 = (augmented("RandomColorJitter", highest, (0.75, 0.75)) for highest in (255, 1))
print(f"RandomColorJitter, saturation 0.75: the ranges differ by {np.abs(by_255 - by_1).mean():.1f} levels on average")
assert np.abs(by_255 - by_1).mean() > 4
P
echo "as described: more saturation gives negative pixels in the default range"
