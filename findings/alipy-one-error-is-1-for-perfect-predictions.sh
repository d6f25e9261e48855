#!/usr/bin/env bash
# alipy 1.2.5, metrics.one_error: "Compute the one_error,similar to 0/1-loss", of several labels per image. It is the
# share of the images whose labels sum up to as many as were predicted, whichever they are, so that right predictions
# have 1. metrics.zero_one_loss(normalize=False): "the number of misclassifications" is the number of images minus the
# accuracy, a share.
#
# Seen: 1,000 images with one to three of five labels. All labels right: one-error 1.000. None right, as each is taken
# for its opposite: 0.000. As many labels as there are, but others: 1.000. 1,000 images with 100 errors:
# 999.1 misclassifications; with none 999, with nothing right 1,000. AlExperiment takes both by name. No warning.
# Expected: 0 for right labels, by the share of images with a label wrong or with a wrong first label; 100, 0 and 1,000.
# It matters because of two models, or of two ways to choose images, the one with most errors has the lowest error.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  alipy==1.2.5 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1 matplotlib==3.11.2 prettytable==3.16.0
cd "$work"
MPLBACKEND=Agg "$work/env/bin/python" -W ignore - <<'P'
import inspect
import warnings

import numpy as np
import sklearn.metrics
from alipy import metrics

assert "Compute the one_error,similar to 0/1-loss" in inspect.getdoc(metrics.one_error)
assert "If ``False``, return the number of misclassifications" in inspect.getdoc(metrics.zero_one_loss)
warnings.simplefilter("error")
draw = np.random.default_rng(0)
labels = np.zeros((1000, 5), dtype=int)
for one in labels:
    one[draw.permutation(5)[: draw.integers(1, 4)]] = 1

others = labels[:, [1, 2, 3, 4, 0]]
for name, predicted in (("all right", labels), ("each the opposite", 1 - labels), ("moved by one", others)):
    given = metrics.one_error(labels, predicted)
    right = sklearn.metrics.zero_one_loss(labels, predicted)
    first = 1 - np.mean(labels[np.arange(1000), predicted.argmax(axis=1)])
    print(f"labels {name}: one-error {given:.3f}; a label is wrong in {right:.3f}, the first label in {first:.3f}")
    assert given == np.mean(labels.sum(axis=1) == predicted.sum(axis=1))
assert metrics.one_error(labels, labels) == 1 == metrics.one_error(labels, others)
assert metrics.one_error(labels, 1 - labels) == 0

classes = np.arange(1000) % 2
for errors in (0, 100, 1000):
    predicted = np.where(np.arange(1000) < errors, 1 - classes, classes)
    given = metrics.zero_one_loss(classes, predicted, normalize=False)
    right = sklearn.metrics.zero_one_loss(classes, predicted, normalize=False)
    print(f"{errors} errors in 1,000 images: {given:g} misclassifications, {right:g} by sklearn")
    assert right == errors and np.isclose(given, 1000 - (1000 - errors) / 1000)
    assert np.isclose(metrics.zero_one_loss(classes, predicted), errors / 1000)
P
echo "as described: the error of right predictions is 1"
