#!/usr/bin/env bash
# netcal 1.4.0, metrics.confidence.MMCE with a vector of probabilities, "1-D for binary classification": it holds the
# probability of the class 1 against whether the prediction is right. A negative of probability 0.02 counts as
# right with a confidence of 0.02, an error of 0.98, so the better a classifier knows its negatives, the worse it is
# called. ECE, MCE and ACE beside it take the same vector against the label, and MMCE itself does with two columns.
#
# Seen: 2,000 labels drawn with the very probabilities that are scored: MMCE 0.29 as a vector, 0.005 as two columns;
# ECE 0.02 and 0.02. Probabilities of 0 and 1 that are all right: MMCE 0.49, and 0 as two columns. After the negatives
# have been made worse on purpose, all 0.5, it is better than for the true probabilities.
# Expected: near 0 in both forms.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  netcal==1.4.0 torch==2.13.0 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
cd "$work"
env/bin/python -W ignore - <<'P'
import numpy as np
from netcal.metrics import ECE, MMCE


def both(metric, probabilities, labels):
    two_columns = np.stack([1 - probabilities, probabilities], axis=1)
    return metric.measure(probabilities, labels), metric.measure(two_columns, labels)


draw = np.random.default_rng(0)
true = draw.beta(0.5, 0.5, 2000)
labels = (draw.random(2000) < true).astype(int)
vector, columns = both(MMCE(), true, labels)
ece = both(ECE(10), true, labels)
print(f"true probabilities: MMCE {vector:.3f}, as two columns {columns:.3f}; ECE {ece[0]:.3f}, {ece[1]:.3f}")
assert "1-D for binary classification" in MMCE.measure.__doc__
assert vector > 0.25 and columns < 0.02 and max(ece) < 0.03

vector, columns = both(MMCE(), labels.astype(float), labels)
print(f"the labels themselves: MMCE {vector:.3f}, as two columns {columns:.3f}")
assert vector > 0.4 and columns < 1e-6

worse = np.where(true < 0.5, 0.5, true)
blurred, before = MMCE().measure(worse, labels), MMCE().measure(true, labels)
print(f"negatives of 0.5: MMCE {blurred:.3f}, before {before:.3f}; ECE {ECE(10).measure(worse, labels):.3f}")
assert blurred < before and ECE(10).measure(worse, labels) > 0.15
P
echo "as described: true probabilities are called miscalibrated"
