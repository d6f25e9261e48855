#!/usr/bin/env bash
# fastai 2.8.12: RandomSplitter(seed=42), and so ImageDataLoaders.from_folder(..., valid_pct=0.2, seed=42),
# sets torch's global seed and leaves it set. Whoever seeds a run first and builds the data next, the usual
# order, has one and the same head whatever the run's seed was, and one stream of random numbers for torch's
# augmentations and dropout. Runs "with three seeds" then differ in little but the order of the images, and
# their spread, from which intervals and tests are made, leaves out the head. This is not documented.
#
# Seen: set_seed(1), (2), (3), then the data with seed=42, then vision_learner: the three heads are equal to
# the last bit, and so are the next random numbers of torch. Without `seed=`, or with the run's seed set after
# the data, all three differ. The images are split alike in every run with seed=42, as one wishes.
# Expected: a split that has a generator of its own.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 fastai==2.8.12
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
from pathlib import Path

import torch
from fastai.vision.all import ImageDataLoaders, resnet18, set_seed, vision_learner
from PIL import Image

for number in range(40):
    file = Path("images", ["ant", "bee"][number % 2], f"{number}.png")
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), (5 * number, 90, 9)).save(file)


def run(number, late=False, **split):
    """The validation images, the weights of the head and torch's next number in the run of this seed."""
    set_seed(number, reproducible=True)
    data = ImageDataLoaders.from_folder("images", valid_pct=0.2, bs=8, num_workers=0, **split)
    if late:
        set_seed(number, reproducible=True)
    learn = vision_learner(data, resnet18, pretrained=False)
    head = torch.cat([each.detach().flatten() for each in learn.model[1].parameters()])
    valid = sorted(file.name for file in data.valid_ds.items)
    return {"valid": valid, "head": head.tolist(), "next": float(torch.rand(1))}


def different(**kind):
    """How many of three seeds' values differ."""
    runs = [run(number, **kind) for number in (1, 2, 3)]
    return {key: len({str(each[key]) for each in runs}) for key in runs[0]}


split_seed, no_seed, late = different(seed=42), different(), different(seed=42, late=True)
print("different values in runs of three seeds")
print("split with seed=42:              ", split_seed)
print("split without a seed:            ", no_seed)
print("seed=42, run's seed set after it:", late)
assert split_seed == {"valid": 1, "head": 1, "next": 1}
assert no_seed == {"valid": 3, "head": 3, "next": 3}
assert late == {"valid": 1, "head": 3, "next": 3}
P
echo "as described: three seeds have one head"
