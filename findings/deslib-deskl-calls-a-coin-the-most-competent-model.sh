#!/usr/bin/env bash
# DESlib 0.3.7, DESKL: a model's competence at an image is "the KL divergence between the vector of class supports
# produced by the base classifier and the outputs of a random classifier", which is 1/L for each class, and "negative if
# the base classifier misclassified": entropy_func says "inverse proportional to the normalized entropy". The normalized
# entropy itself is added to 1 or -1: the less a model knows, the more competent it is, and it is never negative.
#
# Seen: two classes. A right answer with 0.5 to 0.5 has a competence of 2, one with 0.999 to 0.001 of 1.01; wrong ones 0
# and -0.99. A model that is sure and right on 90 % of the images and two that toss a coin, with 0.51 for what they
# guess: the coins have a competence of 0.98 and 1.00, the good model of 0.81, and DESKL is right on 0.70 of the images.
# Logarithmic, its sibling, gives them 0 and the good model 0.80, and is right on 0.90. No warning.
# Expected: a competence of 0 for a coin, 0.79 for the good model, and an accuracy of 0.90.
# It matters because the ensemble is led by the models that know nothing.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  deslib==0.3.7 scikit-learn==1.5.2 numpy==1.26.4 scipy==1.13.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from deslib.des import DESKL, Logarithmic
from deslib.util.prob_functions import entropy_func
from scipy.special import rel_entr
from sklearn.base import BaseEstimator, ClassifierMixin

described = " ".join(inspect.getdoc(DESKL.source_competence).split())
assert "The value of C_src is negative if the base classifier misclassified the instance" in described
assert (
    "calculated by the KL divergence between the vector of class supports produced by the base classifier" in described
)
assert "inverse proportional to the normalized entropy" in " ".join(inspect.getdoc(entropy_func).split())


class Column(ClassifierMixin, BaseEstimator):
    """A model whose probability for an image is known, as that of a network that has been run already."""

    def __init__(self, column):
        self.column, self.classes_ = column, np.array([0, 1])

    def fit(self, X, y):
        return self

    def predict_proba(self, X):
        return np.stack([1 - X[:, self.column], X[:, self.column]], axis=1)

    def predict(self, X):
        return self.predict_proba(X).argmax(axis=1)


def competence(supports, is_correct):
    """KL divergence from 1/L to each class, over its maximum, with the sign of the answer."""
    classes = supports.shape[1]
    divergence = rel_entr(supports, 1 / classes).sum(axis=1) / np.log(classes)
    return np.where(is_correct, divergence, -divergence)


supports = np.array([[0.5, 0.5], [0.7, 0.3], [0.999, 0.001]])
for is_correct in (1, 0):
    given = entropy_func(2, supports.copy(), np.full(3, is_correct))
    right = competence(supports, np.full(3, is_correct))
    print(f"{'right' if is_correct else 'wrong'} answers with 0.5, 0.7 and 0.999: given {given.round(2)},", end=" ")
    print(f"by the KL divergence {right.round(2)}")
    assert np.all(np.diff(given) < 0) and np.isclose(given[0], 2 * is_correct)
    assert np.isclose(right[0], 0) and np.all(np.sign(right[1:]) == (1 if is_correct else -1))

draw = np.random.default_rng(0)


def images(count):
    """The probability of class 1 by a good model and by two coins, and where the image lies."""
    classes = draw.integers(2, size=count)
    good = np.where(draw.random(count) < 0.9, classes, 1 - classes)
    coins = draw.integers(2, size=(count, 2))
    columns = [0.999 * good + 0.001 * (1 - good), 0.51 * coins[:, 0] + 0.49 * (1 - coins[:, 0])]
    columns += [0.51 * coins[:, 1] + 0.49 * (1 - coins[:, 1])]
    return np.column_stack([*columns, draw.normal(size=(count, 2))]), classes


X, y = images(2000)
new, truth = images(2000)
pool = [Column(column) for column in range(3)]
print("accuracy of the good model and the coins:", *(f"{model.score(new, truth):.2f}" for model in pool))
accuracy = {}
for kind in (DESKL, Logarithmic):
    for mode in ("weighting", "selection"):
        model = kind(pool, mode=mode, k=200, random_state=0, n_jobs=1).fit(X, y)
        accuracy[kind.__name__, mode] = model.score(new, truth)
        print(f"{kind.__name__}, {mode}: competences {model.C_src_.mean(axis=0).round(2)},", end=" ")
        print(f"accuracy {accuracy[kind.__name__, mode]:.2f}")
        assert (model.C_src_.mean(axis=0)[0] > model.C_src_.mean(axis=0)[1:].max()) == (kind is Logarithmic)
right = [competence(model.predict_proba(X), model.predict(X) == y).mean() for model in pool]
print("competences by the KL divergence:", np.round(right, 2))
assert right[0] > 0.7 and max(np.abs(right[1:])) < 0.01
assert max(accuracy["DESKL", mode] for mode in ("weighting", "selection")) < 0.8
assert accuracy["Logarithmic", "weighting"] > 0.88
P
echo "as described: the competence is the entropy, not its opposite"
