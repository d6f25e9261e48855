#!/usr/bin/env bash
# pycalib 0.1.0.dev6, ECE(y_true, probs), by default with ece_full: "Calculate ECE score based on model output
# probabilities and true labels", of "all the classes with a shape of (samples, classes)". For two classes the
# label_binarize of scikit-learn makes one column, not two: one label per image is paired with two probabilities per
# image, first with first, second with second and so on, and the second half of the probabilities is never read.
# MCE(mce_full=True) does the same.
#
# Seen, 10,000 images of two classes: a classifier that is always right and sure of it has an ECE of 0.25, one that says
# 0.5 to everything has 0.00, and one that says 0.99 and is right in half of the cases 0.24 instead of 0.49. The
# probabilities of the last 5,000 images may be anything. With a third class that never occurs ECE is right, and so is
# conf_ECE. No warning.
# Expected: 0.00, 0.00 and 0.49.
# It matters because two classes, defect or not, are the most common case, and a model is calibrated for no reason.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  pycalib==0.1.0.dev6 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 matplotlib==3.11.2
cd "$work"
"$work/env/bin/python" - <<'P'
import inspect
import warnings

import numpy as np
from pycalib.metrics import ECE, MCE, conf_ECE

warnings.simplefilter("error")
described = " ".join(inspect.getdoc(ECE).split())
assert "Calculate ECE score based on model output probabilities and true labels" in described
assert "probabilities for all the classes with a shape of (samples, classes)" in described
draw = np.random.default_rng(0)
classes = draw.permutation(10_000) % 2
both = np.eye(2)


def right(labels, probabilities, bins=15):
    """Over both classes: in each bin the share of the class less the mean probability, weighted by its size."""
    hits, given = both[labels].ravel(), probabilities.ravel()
    places = np.clip(np.ceil(given * bins).astype(int), 1, bins)
    gaps = [abs(hits[places == i].mean() - given[places == i].mean()) * np.mean(places == i) for i in set(places)]
    return sum(gaps)


sure = both[classes]
undecided = np.full((10_000, 2), 0.5)
guesses = 0.01 + 0.98 * both[draw.integers(2, size=10_000)]
cases = {"always right and sure": sure, "always 0.5": undecided, "0.99 and right in half": guesses}
for (name, probabilities), expected in zip(cases.items(), (0.25, 0.0, 0.24)):
    given = ECE(classes, probabilities)
    one_hot = ECE(both[classes], probabilities)
    third = ECE(classes, np.column_stack([probabilities, np.zeros(10_000)])) * 3 / 2  # a mean over three, not two
    true = right(classes, probabilities)
    print(f"{name}: ECE {given:.3f}, right is {true:.3f}, with a class that never occurs {third:.3f};", end=" ")
    print(f"conf_ECE {conf_ECE(classes, probabilities):.3f}")
    assert abs(given - expected) < 0.01 and given == one_hot
    assert abs(third - true) < 1e-6 and abs(conf_ECE(classes, probabilities) - true) < 0.02

assert abs(MCE(classes, sure, mce_full=True) - 0.5) < 0.02 and right(classes, sure) == 0
replaced = guesses.copy()
replaced[5000:] = [0.3, 0.7]
assert ECE(classes, replaced) == ECE(classes, guesses) and right(classes, replaced) < right(classes, guesses) - 0.1
print("with other probabilities for the last 5,000 images: the same")
P
echo "as described: with two classes half of the probabilities are compared with labels of other images"
