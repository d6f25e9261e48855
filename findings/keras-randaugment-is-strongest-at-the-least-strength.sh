#!/usr/bin/env bash
# keras 3.15.1, RandAugment and AugMix: "factor: The strength of the augmentation as a normalized value between 0 and
# 1". Two of their operations have it the wrong way round. Posterization keeps int(8 * factor) bits, at least 1, so it
# does most at low strength. Solarization inverts what is brighter than a threshold of up to 255 * factor, so at
# strength 0 that is all of the image. In torchvision magnitude 0 changes nothing.
#
# Seen: 50 smooth images, mean change of a pixel in levels, of 255, at factor 0, 0.1, 0.5 (RandAugment's default) and 1:
# posterization 63, 63, 36, 18; solarization 87, 88, 100, 120; shear, to compare, 0, 19, 49, 54. At factor 0
# posterization leaves two levels per channel, and solarization gives the negative. AugMix at its default, 0.3: 63 and
# 92. No warning.
# Expected: no change at 0, more change at more strength.
# It matters for a search over the strength: with any factor two of eleven operations destroy the image, and the weakest
# setting, chosen for fine details, has the worst of them. Use torchvision's or timm's, or single Keras layers.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check keras==3.15.1 torch==2.15.0 torchvision==0.29.2 \
  numpy==2.4.6 pillow==13.0.0
cd "$work"
KERAS_HOME="$work" KERAS_BACKEND=torch "$work/env/bin/python" -W ignore - <<'P'
import inspect

import keras
import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2 import RandAugment

for layer in (keras.layers.RandAugment, keras.layers.AugMix):
    described = " ".join(inspect.getdoc(layer).split())
    assert "factor: The strength of the augmentation as a normalized value between 0 and 1." in described
torch.set_num_threads(1)
torch.manual_seed(0)
draw = np.random.default_rng(0)


def smooth():
    blocks = Image.fromarray(draw.integers(20, 235, (8, 8, 3), dtype=np.uint8))
    return np.asarray(blocks.resize((64, 64), Image.BICUBIC)).astype(np.float32)


images = np.stack([smooth() for _ in range(50)])


def change(layer):
    found = np.concatenate([keras.ops.convert_to_numpy(layer(image[None])) for image in images])
    return np.abs(found - images).mean(), found


OPERATIONS = ("random_shear", "random_posterization", "solarization")
for kind in (keras.layers.RandAugment, keras.layers.AugMix):
    found = {}
    for factor in (0.0, 0.1, 0.3, 0.5, 1.0):
        layer = kind(factor=factor, seed=0)
        found[factor] = {operation: change(getattr(layer, operation)) for operation in OPERATIONS}
        print(f"{kind.__name__}({factor}):", {name: round(float(by), 1) for name, (by, _) in found[factor].items()})
    shear, posterized, solarized = ([found[factor][name][0] for factor in found] for name in OPERATIONS)
    assert shear[0] < 0.01 and shear == sorted(shear)
    assert posterized[0] > 50 and posterized[0] > 1.4 * posterized[3] and posterized[3] > 1.4 * posterized[4]
    assert min(solarized) > 80
    assert len(np.unique(found[0.0]["random_posterization"][1])) == 2
    assert np.allclose(found[0.0]["solarization"][1], 255 - images)

torchvision = RandAugment(num_ops=1, magnitude=0)
pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(torch.uint8)
unchanged = [bool((torchvision(image) == image).all()) for image in pixels.repeat(4, 1, 1, 1)]
print(f"torchvision's RandAugment at magnitude 0 leaves {np.mean(unchanged):.0%} of the images as they are")
assert np.mean(unchanged) > 0.7  # auto-contrast and equalization have no magnitude
P
echo "as described: at strength 0 images are turned into negatives and into two levels"
