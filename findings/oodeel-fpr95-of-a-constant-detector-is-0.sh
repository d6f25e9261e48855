#!/usr/bin/env bash
# oodeel 0.4.0, bench_metrics, "fpr95tpr": the false positive rate where the true positive rate is 95 %. The code takes
# the first point of the curve at which the true positive rate is already below 95 %. Where images have equal scores,
# that point is far below, and for a detector that gives all the same score it is the last one, (0, 0).
#
# Seen: a detector that says the same of each image: FPR95 0.00, the best value there is, at an AUROC of 0.50. Maximum
# softmax probability in float32, which is exactly 1 for 20 % of the unknown and 90 % of the known images: 0.10 instead
# of 1.00. The share of five networks that disagree: 0.41 instead of 1.00. The AUROC is right in all three, and so is
# FPR95 where no two images have the same score. No warning.
# Expected: sklearn's roc_curve and the first point with a true positive rate of at least 95 %: 1.00 for the constant.
# It matters because the number is the one that detectors are ranked by, and fine-tuned networks saturate: the more sure
# a backbone is of unknown images, the better it looks.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  oodeel==0.4.0 numpy==1.26.4 scikit-learn==1.9.1 scipy==1.17.1 pandas==2.3.3 torch==2.15.0 torchvision==0.29.2
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from oodeel.eval.metrics import bench_metrics
from sklearn.metrics import roc_auc_score, roc_curve

described = " ".join(inspect.getdoc(bench_metrics).split())
assert '"<aaa><XX><bbb>" where <aaa> and <bbb> are in ["fpr", "tpr", "fnr", "tnr"]' in described


def compare(known, unknown):
    """AUROC and FPR95 as given, and by sklearn."""
    given = bench_metrics((known, unknown), metrics=["auroc", "fpr95tpr"])
    labels, scores = np.repeat([0, 1], [len(known), len(unknown)]), np.concatenate([known, unknown])
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    return given["auroc"], given["fpr95tpr"], roc_auc_score(labels, scores), false[true >= 0.95].min()


draw = np.random.default_rng(0)
constant = np.full(1000, 0.3)
auroc, given, right_auroc, right = compare(constant, constant)
print(f"always the same score: FPR95 {given:.2f}, right is {right:.2f}; AUROC {auroc:.2f}, right is {right_auroc:.2f}")
assert given == 0 and right == 1 and np.isclose(auroc, 0.5) and right_auroc == 0.5

logits = draw.normal(size=(2, 1000, 10))
logits[0, :, 0] += np.where(np.arange(1000) < 900, 40, 4)
logits[1, :, 0] += np.where(np.arange(1000) < 200, 40, 1)
exponents = np.exp((logits - logits.max(-1, keepdims=True)).astype(np.float32))
known, unknown = -(exponents.max(-1) / exponents.sum(-1))
assert (known == -1).mean() >= 0.9 and 0.2 <= (unknown == -1).mean() < 0.25
auroc, given, right_auroc, right = compare(known, unknown)
print(f"saturated softmax: FPR95 {given:.2f}, right is {right:.2f}; AUROC {auroc:.3f}, right is {right_auroc:.3f}")
assert given < 0.2 and right == 1 and np.isclose(auroc, right_auroc, atol=0.01)

votes = draw.binomial(5, [0.1], 1000) / 5, draw.binomial(5, draw.uniform(0.2, 0.9, 1000)) / 5
auroc, given, right_auroc, right = compare(*votes)
print(f"share of five networks that disagree: FPR95 {given:.2f}, right is {right:.2f};", end=" ")
print(f"AUROC {auroc:.3f}, right is {right_auroc:.3f}")
assert given < right - 0.2 and np.isclose(auroc, right_auroc, atol=0.01)

auroc, given, right_auroc, right = compare(draw.normal(size=1000), draw.normal(2, 1, 1000))
print(f"no two scores are the same: FPR95 {given:.2f}, right is {right:.2f}")
assert np.isclose(given, right, atol=0.01)
P
echo "as described: the rate is taken below 95 %"
