#!/usr/bin/env bash
# roc-utils 0.2.2, compute_roc(objective=[...], auto_flip=True): the objective "can also be a list of identifiers", and
# "Set True if an inverted predictor should be flipped automatically upon detection". The rates are exchanged once on
# detection, and once again after each objective of the list: the first is computed for the flipped predictor, the
# second for the one that was not flipped, the third is right again.
#
# Seen: 1,000 images whose scores fall with the class, AUC 0.80 after the flip. objective=["youden", "acc"]: the best
# accuracy is 0.500, at the threshold infinity; ["acc"] alone, 0.730 at -0.80. ["acc", "youden"]: now youden is at
# infinity. The curve that is returned with the AUC of 0.80 has an area of 0.20 for an odd number of objectives, 0.80
# for an even one. With auto_flip=False and the scores reversed by hand all is right. No warning.
# Expected: the result of an objective does not depend on its place in a list.
# It matters because a distance or a loss is an inverted score, and the threshold returned calls every image negative.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  roc-utils==0.2.2 scipy==1.11.4 numpy==1.26.4 pandas==2.2.3 matplotlib==3.11.2
cd "$work"
OMP_NUM_THREADS=1 "$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from roc_utils import compute_roc

described = " ".join(inspect.getdoc(compute_roc).split())
assert "can also be a list of identifiers" in described
assert "Set True if an inverted predictor should be flipped automatically upon detection" in described
draw = np.random.default_rng(0)
classes = np.arange(1000) % 2
scores = draw.normal(size=1000) - 1.2 * classes
pairs = np.mean(scores[classes == 0][:, None] > scores[classes == 1])
best = max(np.mean((scores < value) == classes) for value in scores)


def threshold(objective, name):
    given = compute_roc(scores, classes, 1, objective=objective, auto_flip=True).opd[name]
    return given.opt, given.opa


for objective in (["acc"], ["youden", "acc"], ["acc", "youden"], ["youden", "minopt", "acc"]):
    value, accuracy = threshold(objective, "acc")
    given = compute_roc(scores, classes, 1, objective=objective, auto_flip=True)
    area = np.trapz(given.tpr, given.fpr)
    print(f"{objective}: best accuracy {accuracy:.3f} at {value:.2f}, possible {best:.3f};", end=" ")
    print(f"AUC {given.auc:.2f}, area of the curve returned {area:.2f}")
    assert given.inv and np.isclose(given.auc, pairs)
    assert np.isclose(area, pairs if len(objective) % 2 == 0 else 1 - pairs)
    if objective.index("acc") % 2:
        assert np.isinf(value) and np.isclose(accuracy, 0.5)
    else:
        assert abs(accuracy - best) < 0.005 and best > 0.7
assert np.isinf(threshold(["acc", "youden"], "youden")[0]) and np.isfinite(threshold(["youden", "acc"], "youden")[0])

by_hand = compute_roc(-scores, classes, 1, objective=["youden", "acc"], auto_flip=False)
print(f"reversed by hand: best accuracy {by_hand.opd['acc'].opa:.3f}, area {np.trapz(by_hand.tpr, by_hand.fpr):.2f}")
assert abs(by_hand.opd["acc"].opa - best) < 0.005 and np.isclose(np.trapz(by_hand.tpr, by_hand.fpr), pairs)
P
echo "as described: every second objective sees the predictor that was not flipped"
