#!/usr/bin/env bash
# albumentations 2.0.8, the last release under that name: A.Compose holds a random generator of its own, made when
# the pipeline is built. Each worker of a DataLoader gets a copy of it, in the same state, and torch's seeding of its
# workers does not reach it. So the workers draw the same augmentations as each other, and, as new workers are
# started for each epoch, the same in every epoch, in the order of the batches. Its docstring says of seed=None
# (the default): non-reproducible random behavior on each call.
#
# Seen: 64 images, shuffled, one random number drawn for each by a transform. Without workers 64 different numbers in
# each of three epochs, 192 in all. With four workers 16 numbers in an epoch, and the same 16 in the next ones.
# With persistent_workers=True 16 new ones per epoch. torchvision's transforms draw 192 in the same three loaders.
# Expected: as without workers.
# It matters to whoever compares models by their fine-tuning: with 4 workers a run sees a quarter of the augmentation
# in its first epoch, none that is new after it, and the result depends on the number of workers.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check albumentations==2.0.8 torch==2.15.0 torchvision==0.29.2
cd "$work"
cat >loaders.py <<'P'
import albumentations
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2


class Images(Dataset):
    """A grey image, brightened at random; an item is its brightness."""

    def __init__(self, library):
        if library == "albumentations":
            brighten = albumentations.Compose([albumentations.RandomBrightnessContrast((-0.4, 0.4), 0, p=1)])
            image = np.full((8, 8, 3), 0.5, np.float32)
            self.brightness = lambda: brighten(image=image)["image"].mean().item()
        else:
            jitter, image = v2.ColorJitter(brightness=0.4), torch.full((3, 8, 8), 0.5)
            self.brightness = lambda: jitter(image).mean().item()

    def __len__(self):
        return 64

    def __getitem__(self, number):
        return round(self.brightness(), 6)


LOADERS = {"no workers": {}, "4 workers": {"num_workers": 4}}
LOADERS["4 that persist"] = {"num_workers": 4, "persistent_workers": True}
found = {}
for library in ("albumentations", "torchvision"):
    for name, workers in LOADERS.items():
        options = {"multiprocessing_context": "fork"} if workers else {}
        loader = DataLoader(Images(library), batch_size=4, shuffle=True, **workers, **options)
        epochs = [{value for batch in loader for value in batch.tolist()} for _ in range(3)]
        found[library, name] = len(epochs[0]), len(set.union(*epochs))
        print(f"{library:14} {name:14} of 64 images: {found[library, name][0]} augmentations in an epoch,", end=" ")
        print(found[library, name][1], "in three")
for name in LOADERS:
    assert min(found["torchvision", name]) >= 60 and found["torchvision", name][1] > 180
assert found["albumentations", "no workers"][1] > 180
assert found["albumentations", "4 workers"] == (16, 16)
assert found["albumentations", "4 that persist"] == (16, 48)
P
"$work/env/bin/python" -W ignore loaders.py
echo "as described: the workers of a DataLoader repeat one set of augmentations"
