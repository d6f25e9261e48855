#!/usr/bin/env bash
# torcheval 0.0.7, multiclass_accuracy and MulticlassAccuracy with k=5: "Number of top probabilities to be considered".
# An image counts as right where fewer than k scores are greater than that of its class. Equal scores are not greater,
# and nothing is greater than NaN, so where all scores are equal or NaN every image is right. With k=1 it takes the
# argmax, which is wrong on these.
#
# Seen: 2,000 images of 100 classes. timm's mixer_s32_224 with a new head, whose weights start at zero: top-1 0.01,
# top-5 1.0. A network whose fit diverged to NaN: top-1 0.01, top-5 1.0. For the new head torchmetrics 1.9.0 and
# scikit-learn 1.9.1 have a top-5 accuracy of 0.05; for NaN scikit-learn raises an error. No warning.
# Expected: 0.05, five of a hundred, or an error for NaN.
# It matters because a choice by top-5 takes the network that diverged, and because a linear head on frozen features is
# perfect before its first step. Check that the scores are finite, and use sklearn.metrics.top_k_accuracy_score.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torcheval==0.0.7 torch==2.15.0 torchvision==0.29.2 \
  timm==1.0.31 torchmetrics==1.9.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import timm
import torch
from sklearn.metrics import top_k_accuracy_score
from torch.nn.functional import cross_entropy
from torcheval.metrics import MulticlassAccuracy
from torcheval.metrics.functional import multiclass_accuracy
from torchmetrics.functional.classification import multiclass_accuracy as by_torchmetrics

assert "Number of top probabilities to be considered" in " ".join(MulticlassAccuracy.__doc__.split())
torch.manual_seed(0)
CLASSES, IMAGES = 100, 2000
truth = torch.arange(IMAGES) % CLASSES


def top(k, scores):
    metric = MulticlassAccuracy(k=k)
    for rows in torch.arange(IMAGES).split(100):
        metric.update(scores[rows], truth[rows])
    whole = multiclass_accuracy(scores, truth, k=k)
    assert torch.isclose(metric.compute(), whole)
    return whole.item()


new_head = timm.create_model("mixer_s32_224", num_classes=CLASSES).eval()
with torch.no_grad():
    scores = new_head(torch.randn(20, 3, 224, 224)).repeat(IMAGES // 20, 1)
sklearn = top_k_accuracy_score(truth.numpy(), scores.numpy(), k=5, labels=range(CLASSES))
torchmetrics = by_torchmetrics(scores, truth, CLASSES, average="micro", top_k=5).item()
print(f"new head: top-1 {top(1, scores)}, top-5 {top(5, scores)}, scikit-learn {sklearn}, torchmetrics {torchmetrics}")
assert top(5, scores) == 1 and top(1, scores) < 0.02 and sklearn < 0.06 and torchmetrics < 0.06

images = torch.randn(IMAGES, 20)
net = torch.nn.Sequential(torch.nn.Linear(20, 50), torch.nn.ReLU(), torch.nn.Linear(50, CLASSES))
optimizer = torch.optim.SGD(net.parameters(), lr=1e6)
for step in range(101):
    with torch.no_grad():
        scores = net(images)
    if step in (0, 100):
        print(f"step {step}: top-1 {top(1, scores):.3f}, top-5 {top(5, scores):.3f}, NaN {bool(scores.isnan().any())}")
    optimizer.zero_grad()
    cross_entropy(net(images), truth).backward()
    optimizer.step()
assert scores.isnan().all() and top(5, scores) == 1 and top(1, scores) < 0.02
try:
    top_k_accuracy_score(truth.numpy(), scores.numpy(), k=5, labels=range(CLASSES))
except ValueError as error:
    assert "NaN" in str(error)
else:
    raise AssertionError("scikit-learn takes NaN")
P
echo "as described: a network that diverged to NaN has a top-5 accuracy of 100 %"
