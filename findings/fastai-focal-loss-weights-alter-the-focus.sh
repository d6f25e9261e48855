#!/usr/bin/env bash
# fastai 2.8.12, FocalLoss and FocalLossFlat: "the class weighting factor in the paper, alpha, can be implemented
# through pytorch weight argument". In the paper (Lin et al, 2017) the loss is alpha * (1 - p)**gamma * -log(p), with p
# the probability of the true class. fastai calculates p from the loss that already is weighted, and so takes p**weight
# for p: a weight above 1 makes a sure, right answer an unsure one, which is what the focus is there to prevent.
#
# Seen: gamma 2, an image whose true class has the probability 0.9: for the weights 0.1, 1 and 10, the loss is 0.01, 1
# and 42 times that of the paper; with 0.99 and the weight 10, 91 times. 1,000 images, 50 of them of a rare class with
# the weight 19: the share of the loss that comes from those answered rightly with more than 0.8 is 0.7% by the paper
# and 9.2% by fastai. Without a weight both agree, and with one torchvision's sigmoid_focal_loss agrees with the paper.
# No warning.
# Expected: alpha outside of the focus.
# It matters because one chooses this loss for rare classes, where one gives weights, and with them it is another one.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  fastai==2.8.12 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
import math
import warnings

import torch
from fastai.losses import FocalLoss, FocalLossFlat
from torchvision.ops import sigmoid_focal_loss

described = " ".join(inspect.getdoc(FocalLossFlat).split())
assert "weighting factor in the paper, alpha, can be implemented through pytorch `weight` argument" in described


def paper(logits, classes, weight, gamma=2.0):
    """alpha * (1 - p)**gamma * -log(p) for each image, by hand."""
    right = logits.softmax(dim=1)[torch.arange(len(classes)), classes]
    return weight[classes] * (1 - right) ** gamma * -right.log()


def losses(logits, classes, weight):
    """fastai's loss for each image, the same from either class."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        given = FocalLoss(gamma=2.0, weight=weight, reduction="none")(logits, classes)
        flat = FocalLossFlat(gamma=2.0, weight=weight, reduction="none")(logits, classes)
    assert torch.allclose(given, torch.as_tensor(flat)) and not warned
    return given


def ratio(right, weight):
    """The loss of an image of class 1 with this probability and weight, divided by the paper's."""
    logits = torch.tensor([[0.0, math.log(right / (1 - right))]])
    weights, classes = torch.tensor([1.0, weight]), torch.tensor([1])
    return (losses(logits, classes, weights) / paper(logits, classes, weights)).item()


for right in (0.9, 0.99):
    found = [ratio(right, weight) for weight in (0.1, 1, 10)]
    print(f"probability {right}: {', '.join(f'{one:.2g}' for one in found)} times the paper's for weights 0.1, 1, 10")
    assert abs(found[1] - 1) < 1e-3 and found[0] < 0.02 and found[2] > 40

torch.manual_seed(0)
classes = (torch.arange(1000) < 50).long()
logits = torch.stack([torch.zeros(1000), 2 * torch.randn(1000) + 6 * classes - 3], dim=1)
weight = torch.tensor([1.0, 19.0])
sure = logits.softmax(dim=1)[torch.arange(1000), classes] > 0.8
shares = []
other = torch.where(classes == 1, 19.0, 1.0) * sigmoid_focal_loss(logits[:, 1], classes.float(), alpha=-1, gamma=2)
for name, given in (("the paper", paper(logits, classes, weight)), ("fastai", losses(logits, classes, weight))):
    share = (given[sure].sum() / given.sum()).item()
    shares.append(share)
    print(f"{name}: {share:.1%} of the loss from the {sure.sum()} images with a probability above 0.8")
    assert torch.allclose(given, other) == (name == "the paper")
assert share > 4 * shares[0]
even = torch.ones(2)
assert torch.allclose(losses(logits, classes, even), paper(logits, classes, even))
P
echo "as described: a weight alters the focus"
