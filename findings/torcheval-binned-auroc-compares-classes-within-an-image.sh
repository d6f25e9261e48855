#!/usr/bin/env bash
# torcheval 0.0.7, multiclass_binned_auroc and MulticlassBinnedAUROC: sums run over the classes of each image, not over
# the images of each class. It is the AUROC of an image's own label among its scores, averaged over the images, so
# classes that are common in training carry it: scores that do not depend on the image pass for a good model.
# The documentation: "'macro': Calculate metrics for each class separately, and return their unweighted mean. None:
# Calculate the metric for each class separately, and return the metric for every class." (Its example has five numbers
# for three classes, one for each of its five images.)
#
# Seen: 5,000 images, five classes, 90 % in the first. Scores of chance around the class frequencies: 0.94 binned, 0.50
# by multiclass_auroc and by scikit-learn. Scores that rank the images of every class all but perfectly: 0.97 binned,
# 1.00 by the others. average=None returns 5,000 numbers. No warning. binary_binned_auroc is right.
# Expected: what multiclass_auroc of the same library returns, up to the width of the 200 bins.
# It matters for unbalanced image folders: the binned metric, advised to save memory, hides that a model learnt nothing.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  torcheval==0.0.7 torch==2.15.0 numpy==2.4.6 scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import torch
from sklearn.metrics import roc_auc_score
from torcheval.metrics import MulticlassBinnedAUROC
from torcheval.metrics.functional import binary_binned_auroc, multiclass_auroc, multiclass_binned_auroc

assert "each class separately, and return their unweighted mean" in " ".join(multiclass_binned_auroc.__doc__.split())
torch.manual_seed(0)
frequencies = torch.tensor([0.9, 0.04, 0.03, 0.02, 0.01])
labels = torch.multinomial(frequencies, 5000, replacement=True)
true = torch.nn.functional.one_hot(labels)
found = {}
for name, signal in (("chance", 0), ("good", 1.5)):
    scores = (frequencies.log() + 0.3 * torch.randn(5000, 5) + signal * true).softmax(1)
    exact = multiclass_auroc(scores, labels, num_classes=5, average=None)
    classes = torch.tensor([roc_auc_score(true[:, number], scores[:, number]) for number in range(5)])
    assert torch.allclose(exact.double(), classes.double(), atol=1e-3)
    every, _ = multiclass_binned_auroc(scores, labels, num_classes=5, average=None)
    binned, _ = multiclass_binned_auroc(scores, labels, num_classes=5)
    metric = MulticlassBinnedAUROC(num_classes=5)
    metric.update(scores, labels)
    first, _ = binary_binned_auroc(scores[:, 0], true[:, 0])
    print(f"{name}: exact {exact.mean():.3f}, binned {binned:.3f}; average=None: {len(every)} numbers;", end=" ")
    print(f"first class alone: exact {exact[0]:.3f}, binned {first.item():.3f}")
    assert len(every) == 5000 and metric.compute()[0] == binned and abs(first - exact[0]) < 0.01
    found[name] = exact.mean(), binned
assert abs(found["chance"][0] - 0.5) < 0.01 and found["chance"][1] > 0.93
assert found["good"][0] > 0.999 and found["good"][1] < 0.98
P
echo "as described: scores that know nothing of the image have a macro AUROC of 0.94"
