#!/usr/bin/env bash
# dlordinal 2.7.0, metrics for ordered classes (grades, ages, stages): accuracy_off1, "allowing errors if they occur in
# an adjacent class", amae and mmae, the mean and the largest mean absolute error of a class. The distance of two
# classes is that of their rows in the confusion matrix, which has no row for a class that no image has. A class that is
# missing in a small validation set or a fold moves those on both sides of it together. amae and mmae cannot be told the
# classes.
#
# Seen: grades 0 to 4, a fold with images of 0 and 4 only, half of them taken for the other: accuracy_off1 1.0, amae and
# mmae 0.5. The errors are four grades, so 0.5 and 2.0 are right, which accuracy_off1 gives with labels=range(5). With
# one image of each other grade, rightly predicted, mmae is 2.0. A wrong prediction of a grade that no image has leaves
# accuracy_off1 altogether: of four images of 0 and 1, one taken for 3, all are right. No warning.
# Expected: distances of the labels themselves, which are integers.
# It matters for folds and small sets: those with fewer grades look better, and a mean over folds mixes both scales.
# Give accuracy_off1 its labels and compute the other two from numpy.abs(y_true - y_pred).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-deps dlordinal==2.7.0  # its metrics need no torch
cd "$work"
"$work/env/bin/python" -W error - <<'P'
import inspect

import numpy as np
from dlordinal.metrics import accuracy_off1, amae, mmae

described = " ".join(inspect.getdoc(accuracy_off1).split())
assert "allowing errors if they occur in an adjacent class" in described
assert "Average mean absolute error" in inspect.getdoc(amae) and "Maximum mean absolute error" in inspect.getdoc(mmae)
truth = np.repeat([0, 4], 10)
answers = np.tile([0, 4], 10)


def by_definition(truth, answers):
    distance = np.abs(truth - answers)
    errors = [distance[truth == grade].mean() for grade in np.unique(truth)]
    return (distance <= 1).mean(), np.mean(errors), np.max(errors)


def by_dlordinal(truth, answers):
    return accuracy_off1(truth, answers), amae(truth, answers), mmae(truth, answers)


found, own = by_dlordinal(truth, answers), by_definition(truth, answers)
print("grades 0 and 4, off-1 accuracy, amae, mmae:", *found, "by definition:", *own)
assert found == (1, 0.5, 0.5) and own == (0.5, 2, 2)
assert accuracy_off1(truth, answers, labels=range(5)) == 0.5
more = [np.concatenate([part, [1, 2, 3]]) for part in (truth, answers)]
print("with one image of each other grade:", *by_dlordinal(*more), "by definition:", *by_definition(*more))
assert np.allclose(by_dlordinal(*more), by_definition(*more))
assert accuracy_off1(np.array([0, 0, 1, 1]), np.array([0, 3, 1, 1])) == 1
P
echo "as described: without the grades between, 0 and 4 are neighbours"
