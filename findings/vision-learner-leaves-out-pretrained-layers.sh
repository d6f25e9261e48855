#!/usr/bin/env bash
# fastai 2.8.12 with timm 1.0.31: vision_learner puts its head on timm's forward_features. Whatever an
# architecture keeps between features and classifier (a convolution after pooling, a final norm) is
# built, is handed to the optimizer, and never runs: pretrained weights are left out without a word.
#
# Seen: parameters of the body without a gradient after one backward pass, and their share of the
# body's parameters: tf_mobilenetv3_small_minimal_100 and ghostnet_100 lose conv_head, resnet18 none.
# Expected: timm's own pooled features (num_classes=0), or a warning.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 fastai==2.8.12 timm==1.0.31
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import torch
from fastai.vision.all import CrossEntropyLossFlat, DataLoaders, TensorImage, vision_learner

batch = (TensorImage(torch.rand(4, 3, 64, 64)), torch.tensor([0, 1, 0, 1]))
dls = DataLoaders([batch], [batch])
share = {}
for name in ("resnet18", "ghostnet_100", "tf_mobilenetv3_small_minimal_100"):
    learn = vision_learner(
        dls, name, n_out=2, pretrained=False, normalize=False, loss_func=CrossEntropyLossFlat()
    )
    learn.unfreeze()
    learn.model.train()
    learn.loss_func(learn.model(batch[0]), batch[1]).backward()
    body = dict(learn.model[0].model.named_parameters())
    idle = {key: value.numel() for key, value in body.items() if value.grad is None}
    share[name] = sum(idle.values()) / sum(value.numel() for value in body.values())
    print(f"{name}: {share[name]:.0%} of the body never runs: {', '.join(idle) or 'nothing'}")
assert share["resnet18"] == 0
assert share["ghostnet_100"] > 0.25
assert share["tf_mobilenetv3_small_minimal_100"] > 0.5
P
echo "as described: pretrained layers are left out in silence"
