#!/usr/bin/env bash
# ood-metrics 1.1.2, detection_error: "Return the misclassification probability when TPR is 95%". That is the share of
# positives times the share of them that are missed, plus the share of negatives times their false positives. The code
# multiplies the missed positives by the share of the negatives and the false positives by that of the positives.
#
# Seen: the example of the README, where one of five images is misclassified (0.20): 0.05. A detector that lets through
# every second image of unknown classes, with 10,000 images of known classes and 500 of others: 0.48 instead of 0.02.
# With 500 known and 10,000 others: 0.02 instead of 0.48. Equal numbers: right. No warning.
# Expected: the share of images that are misclassified at the threshold.
# It matters because the sets of unknown images are smaller or larger than the test set: the same detector looks worse
# or better by a factor of 20.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  ood-metrics==1.1.2 numpy==1.26.4 scikit-learn==1.9.1 matplotlib==3.10.9
cd "$work"
"$work/env/bin/python" - <<'P'
import inspect
from importlib.metadata import metadata

import numpy as np
from ood_metrics import calc_metrics, detection_error, fpr_at_95_tpr

assert "Return the misclassification probability when TPR is 95%" in inspect.getdoc(detection_error)
readme = metadata("ood-metrics").get_payload() or metadata("ood-metrics")["Description"]
assert "assert detection_error(scores, labels) == 0.05" in readme


def right(scores, labels):
    """The least share of misclassified images by a threshold that finds at least 95 % of the positives."""
    shares = []
    for threshold in np.unique(scores):
        positive = scores >= threshold
        if positive[labels == 1].mean() >= 0.95:
            shares.append(np.mean(positive != (labels == 1)))
    return min(shares)


labels, scores = np.array([0, 0, 0, 1, 0]), np.array([0.1, 0.3, 0.6, 0.9, 1.3])
given, true = detection_error(scores, labels), right(scores, labels)
print(f"the README's example: {given:.2f}, one of five is {true:.2f}")
assert np.isclose(given, 0.05) and true == 0.2

draw = np.random.default_rng(0)
ratios = {}
for known, others in ((10_000, 500), (500, 10_000), (5000, 5000)):
    labels = np.repeat([1, 0], [known, others])
    through = np.arange(others) % 2 == 0
    scores = np.concatenate([draw.uniform(0.5, 1, known), np.where(through, 0.9999, 0) + draw.uniform(0, 1e-4, others)])
    given, true = detection_error(scores, labels), right(scores, labels)
    print(f"{known} known, {others} others: {given:.3f}, misclassified are {true:.3f}", end=" ")
    print(f"(FPR at a TPR of 95 %: {fpr_at_95_tpr(scores, labels):.2f})")
    assert calc_metrics(scores, labels)["detection_error"] == given
    ratios[known] = given / true
assert ratios[10_000] > 5 and ratios[500] < 0.3 and abs(ratios[5000] - 1) < 0.05
P
echo "as described: the shares of the two kinds of images are swapped"
