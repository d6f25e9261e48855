#!/usr/bin/env bash
# holisticai 1.0.14, multiclassification_efficacy_metrics(y_pred, y_true): "computes all the relevant
# multiclassification efficacy metrics", among them Accuracy with 1 as its reference. The classes are taken from y_pred
# alone and numbered from 0. In y_true a class that was never predicted has no number: it keeps its label, which by then
# is the number of the next class.
#
# Seen: 2,000 images of grades 0 to 4 and a model that never says grade 1, as is usual for mild cases. Accuracy 0.76,
# balanced accuracy 0.73; sklearn: 0.65 and 0.62. 300 images of three classes, all 100 of class 1 taken for class 2:
# accuracy 1.0 instead of 0.67. No warning.
# Expected: sklearn's accuracy_score and balanced_accuracy_score of the same two columns.
# It matters because a model that misses a whole class looks better for it, up to perfect.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  holisticai==1.0.14 scikit-learn==1.9.1 numpy==2.4.6 pandas==2.3.3 scipy==1.17.1
cd "$work"
"$work/env/bin/python" - 2>log <<'P' || { cat log; exit 1; }
import inspect
import warnings

import numpy as np
from holisticai.efficacy.metrics import multiclassification_efficacy_metrics
from sklearn.metrics import accuracy_score, balanced_accuracy_score

described = " ".join(inspect.getdoc(multiclassification_efficacy_metrics).split())
assert "computes all the relevant multiclassification efficacy metrics" in described
assert "y_pred : array-like Predictions vector y_true (optional) : array-like Target vector" in described


def scores(what, predicted, true):
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        table = multiclassification_efficacy_metrics(predicted, true)["Value"]
    right = accuracy_score(true, predicted), balanced_accuracy_score(true, predicted)
    print(f"{what}: accuracy {table['Accuracy']:.2f}, sklearn {right[0]:.2f};", end=" ")
    print(f"balanced {table['Balanced Accuracy']:.2f}, sklearn {right[1]:.2f}")
    assert np.isclose(right[0], np.mean(predicted == true))
    return table["Accuracy"], table["Balanced Accuracy"], *right


draw = np.random.default_rng(0)
grades = draw.choice(5, size=2000, p=[0.4, 0.25, 0.2, 0.1, 0.05])
felt = grades + draw.normal(scale=0.6, size=2000)
said = np.array([0, 2, 3, 4])[np.abs(felt[:, None] - np.array([0.0, 2, 3, 4])).argmin(axis=1)]
assert set(said) == {0, 2, 3, 4}

every = np.where(felt < 1.5, np.where(felt < 0.5, 0, 1), said)
given = scores("grades 0 to 4, all of them predicted", every, grades)
assert np.allclose(given[:2], given[2:])

given = scores("grades 0 to 4, 1 never predicted", said, grades)
assert given[0] > given[2] + 0.1 and given[1] > given[3] + 0.1
as_if_right = np.mean((said == grades) | ((said == 2) & (grades == 1)))
assert np.isclose(given[0], as_if_right)
print(f"  the share right if a 2 were right for grade 1: {as_if_right:.2f}")

classes = np.repeat([0, 1, 2], 100)
given = scores("three classes, 1 taken for 2", np.where(classes == 1, 2, classes), classes)
assert given[:2] == (1, 1) and np.allclose(given[2:], 2 / 3)
P
echo "as described: a class never predicted is taken for the next one"
