#!/usr/bin/env bash
# catalyst 22.4, metrics.auc and AUCMetric: "Computes ROC-AUC". Images with equal scores are gone through one by one,
# in the order of the set, instead of together. The "weighted" mean over classes divides the positives of a class by the
# number of images and not by the number of all positives.
#
# Seen: a model that gives each image the same probability has an AUC of 1.00 if the images are sorted by class, 0.00 in
# the reverse order and 0.49 shuffled. Votes of five networks: 0.84, 0.80 and 0.83 by the order. Images with two labels
# each: a weighted AUC of 1.99. No warning.
# Expected: sklearn's roc_auc_score, 0.5 in any order, and at most 1.
# It matters because a folder of images is sorted by class, and a network that has learned nothing looks perfect.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  catalyst==22.4 torch==2.15.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
import torch
from catalyst import metrics
from sklearn.metrics import roc_auc_score

assert "Computes ROC-AUC" in inspect.getdoc(metrics.auc)
draw = np.random.default_rng(0)
classes = np.repeat([0, 1], 1000)


def both(scores, order):
    scores, labels = scores[order], classes[order]
    one = metrics.auc(torch.tensor(scores[:, None]), torch.tensor(labels[:, None])).item()
    metric = metrics.AUCMetric()
    metric.update(torch.tensor(scores[:, None]), torch.tensor(labels[:, None]))
    assert np.isclose(metric.compute_key_value()["auc"], one)
    return one, roc_auc_score(labels, scores)


votes = draw.binomial(5, np.where(classes, 0.65, 0.35)) / 5
orders = np.arange(2000), np.arange(2000)[::-1], draw.permutation(2000)
for name, scores, spread in (("always 0.3", np.full(2000, 0.3), 0.9), ("votes of five networks", votes, 0.02)):
    given, right = zip(*(both(scores, order) for order in orders))
    print(f"{name}: {given[0]:.3f} sorted by class, {given[1]:.3f} in reverse order, {given[2]:.3f} shuffled;", end=" ")
    print(f"sklearn {right[0]:.3f}")
    assert np.ptp(right) < 1e-9 and abs(given[1] - given[0]) > spread
    assert min(given[:2]) < right[0] < max(given[:2])
assert np.allclose(given[2], right[2], atol=0.02)

labels = np.array([draw.permutation([1, 1, 0, 0, 0]) for _ in range(1000)])
scores = draw.normal(size=(1000, 5)) + 4 * labels
metric = metrics.AUCMetric()
metric.update(torch.tensor(scores), torch.tensor(labels))
given, right = metric.compute_key_value(), roc_auc_score(labels, scores, average="weighted")
print(f"two labels of five per image: weighted AUC {given['auc/_weighted']:.2f}, sklearn {right:.2f};", end=" ")
print(f"macro {given['auc/_macro']:.2f}, sklearn {roc_auc_score(labels, scores):.2f}")
assert given["auc/_weighted"] > 1.9 and np.isclose(given["auc/_weighted"], 2 * right, atol=0.01)
assert np.isclose(given["auc/_macro"], roc_auc_score(labels, scores), atol=1e-6)
P
echo "as described: the AUC depends on the order, and the weighted one exceeds 1"
