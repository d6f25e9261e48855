#!/usr/bin/env bash
# dlordinal 2.7.0, metrics for ordered classes: mes and gmes, mean and geometric mean of the sensitivity of the first
# and the last class. "y_pred : array-like. Predicted probabilities or labels." Both turn what they get into integers
# before they take the largest, so every probability below 1 becomes 0 and each image is predicted as the first class.
# gmsec, by its text the same number as gmes, does not.
#
# Seen: a model that gives the true class of five 0.8, on 1,000 images: mes 0.5 and gmes 0 from its probabilities, 1 and
# 1 from the labels of the same probabilities; gmsec 1 from both. A model that always gives the last class the most gets
# the same 0.5 and 0. No warning.
# Expected: the same from probabilities as from labels.
# It matters because every model gets the same score, and a search by it chooses at random. Pass the labels.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-deps dlordinal==2.7.0  # its metrics need no torch
cd "$work"
"$work/env/bin/python" -W error - <<'P'
import inspect

import numpy as np
from dlordinal.metrics import gmes, gmsec, mes
from sklearn.metrics import recall_score

CLASSES, IMAGES = 5, 1000
for metric in (gmes, gmsec, mes):
    described = " ".join(inspect.getdoc(metric).split())
    assert "y_pred : array-like Predicted probabilities or labels." in described
truth = np.random.default_rng(0).integers(CLASSES, size=IMAGES)


def probabilities(classes):
    given = np.full((IMAGES, CLASSES), 0.05)
    given[np.arange(IMAGES), classes] = 0.8
    return given


for name, answers in (("always right", truth), ("always the last class", np.full(IMAGES, CLASSES - 1))):
    given = probabilities(answers)
    recall = recall_score(truth, given.argmax(axis=1), average=None)
    own = {mes: (recall[0] + recall[-1]) / 2, gmes: np.sqrt(recall[0] * recall[-1])}
    own[gmsec] = own[gmes]
    found = {metric: (metric(truth, given), metric(truth, given.argmax(axis=1))) for metric in own}
    for metric, (of_probabilities, of_labels) in found.items():
        print(f"{name}: {metric.__name__} {of_probabilities:.2f} of probabilities, {of_labels:.2f} of labels")
        assert np.isclose(of_labels, own[metric])
    assert found[gmsec][0] == found[gmsec][1]
    assert found[mes][0] == 0.5 and found[gmes][0] == 0
assert np.isclose(mes(truth, probabilities(truth).argmax(axis=1)), 1)
P
echo "as described: whatever the probabilities, they count as the first class"
