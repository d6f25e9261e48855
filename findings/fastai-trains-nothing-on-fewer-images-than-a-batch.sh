#!/usr/bin/env bash
# fastai 2.8.12: with fewer training images than the batch size, drop_last leaves no batch. Training
# "succeeds": no step is taken, the training loss is nan, the validation metrics are those of the
# untrained head, and nothing warns.
#
# Seen: 20 images, batch size 32: after fit(2) every parameter has its first value, the recorder's
# training loss is nan in both epochs, and no exception or warning came.
# Expected: an error, or a last batch that is kept when it is the only one.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 fastai==2.8.12
cd "$work"
"$work/env/bin/python" - <<'P'
import math
import warnings

import torch
from fastai.data.load import DataLoader
from fastai.vision.all import CrossEntropyLossFlat, DataLoaders, Learner, accuracy

images = [(torch.randn(8), torch.tensor(number % 2)) for number in range(20)]
train = DataLoader(images, bs=32, shuffle=True, drop_last=True, num_workers=0)
valid = DataLoader(images, bs=32, num_workers=0)
model = torch.nn.Linear(8, 2)
before = [each.clone() for each in model.parameters()]
learn = Learner(
    DataLoaders(train, valid), model, loss_func=CrossEntropyLossFlat(), metrics=accuracy
)
with warnings.catch_warnings(record=True) as warned, learn.no_bar(), learn.no_logging():
    warnings.simplefilter("always")
    learn.fit(2)
about_data = [str(each.message) for each in warned if "batch" in str(each.message).lower()]
losses = [float(row[0]) for row in learn.recorder.values]
same = all(torch.equal(a, b) for a, b in zip(before, model.parameters()))
print("training losses:", losses, "parameters unchanged:", same, "warnings:", about_data)
assert same and all(map(math.isnan, losses)) and not about_data
P
echo "as described: two epochs without a step, and no word"
