#!/usr/bin/env bash
# autogluon.core 1.6.3, the metric balanced_accuracy, by which eval_metric="balanced_accuracy" chooses models, weights
# ensembles and fills leaderboards. For the meaning of the names the predictor's documentation refers to
# scikit-learn. With three classes or more it is the mean recall of all classes that are in the labels or in the
# predictions. A class that is predicted but has no image has no recall; here it is 1e-15 / 1e-15 = 1. So each absent
# class, though all its predictions are wrong, counts as one that is found completely.
#
# Seen: 20 images of classes 0 and 1, of a fold or a test set in which classes 2 to 9 have no image. Eight images of
# class 0 taken for 1: 0.6. The same eight taken for eight absent classes, one each: 0.92. The recalls are 0.2 and 1.0
# in both cases, and scikit-learn's balanced_accuracy_score gives 0.6. All 20 taken for absent classes, none right: 0.8.
# With as many wrong answers, the model whose errors are spread over more absent classes wins. No warning.
# Expected: the mean over the classes with images, scikit-learn's definition.
# It matters where classes are rare, as in fine-grained data: most small test sets lack some of them. Use scikit-learn's
# function with autogluon.core.metrics.make_scorer(..., needs_class=True).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check autogluon.core==1.6.3 autogluon.common==1.6.3 \
  autogluon.features==1.6.3 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pandas==2.3.3
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import warnings

import numpy as np
from autogluon.core.metrics import balanced_accuracy, make_scorer
from sklearn.metrics import balanced_accuracy_score

by_sklearn = make_scorer("by_sklearn", balanced_accuracy_score, needs_class=True)
truth = np.repeat([0, 1], 10)
one, many, none = truth.copy(), truth.copy(), np.arange(20) % 8 + 2
one[:8], many[:8] = 1, range(2, 10)


def by_hand(answers):
    return np.mean([(answers[truth == label] == label).mean() for label in (0, 1)])


for said, answers in {"errors in one class": one, "in eight absent ones": many, "all in absent ones": none}.items():
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        found = balanced_accuracy(truth, answers)
    right = (answers == truth).mean()
    print(f"{said}: {right:.2f} right, autogluon {found:.2f}, scikit-learn {by_sklearn(truth, answers):.2f}")
    assert not warned and np.isclose(by_sklearn(truth, answers), by_hand(answers))
assert np.isclose(balanced_accuracy(truth, one), 0.6) and np.isclose(by_hand(one), 0.6)
assert np.isclose(balanced_accuracy(truth, many), 0.92) and np.isclose(by_hand(many), 0.6)
assert np.isclose(balanced_accuracy(truth, none), 0.8) and by_hand(none) == 0
P
echo "as described: a class without images that is predicted counts as found"
