#!/usr/bin/env bash
# DESlib 0.3.7, DESKNN and DESClustering: the "more diverse classifiers" of the most accurate are chosen, with
# more_diverse=True, the default, by double fault ("DF"), "ratio" or Q-statistic ("Q"). "Classifiers that tend to
# classify the same object correctly will have positive values of Q": a low Q is diverse. The classifiers of the highest
# value are taken whatever the measure; the double fault is negated for it, Q is not.
#
# Seen: ten models, each right on 80 % of the images. Five err on nearly the same images, five each on their own. The
# five chosen by "DF" and by "ratio" are those that err on their own: accuracy 0.94. By "Q" they are the five that err
# together: 0.80, no more than one model. With more_diverse=False, which is to choose the least diverse, "Q" gives 0.94.
# Expected: the five that err on their own for each of the three, and the others with more_diverse=False.
# It matters because an ensemble chosen for its diversity is the least diverse one of the pool.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  deslib==0.3.7 scikit-learn==1.5.2 numpy==1.26.4 scipy==1.13.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
from itertools import combinations

import numpy as np
from deslib.des import DESKNN, DESClustering
from deslib.util.diversity import Q_statistic
from sklearn.base import BaseEstimator, ClassifierMixin

described = " ".join(inspect.getdoc(DESClustering).split()) + " ".join(inspect.getdoc(DESKNN).split())
assert (
    "more_diverse : Boolean (Default = True) Whether we select the most or the least diverse classifiers" in described
)
assert "J more diverse classifiers from the N most accurate classifiers are selected" in described
meant = " ".join(inspect.getdoc(Q_statistic).split())
assert "tend to classify the same object correctly will have positive values of Q" in meant


class Column(ClassifierMixin, BaseEstimator):
    """A model whose prediction for an image is known, as that of a network that has been run already."""

    def __init__(self, column):
        self.column, self.classes_ = column, np.array([0, 1])

    def fit(self, X, y):
        return self

    def predict(self, X):
        return X[:, self.column].astype(int)


draw = np.random.default_rng(0)


def images(count):
    """Where an image lies in the space of features, and the ten predictions: the first five models err together."""
    classes = draw.integers(2, size=count)
    together = draw.random((count, 1)) < 0.2
    together = together ^ (draw.random((count, 5)) < 0.01)
    alone = draw.random((count, 5)) < 0.2
    predictions = classes[:, None] ^ np.hstack([together, alone])
    return np.hstack([predictions, draw.uniform(0, 1000, (count, 2))]), classes


def pairwise(chosen, X, y):
    return np.mean([Q_statistic(y, X[:, a].astype(int), X[:, b].astype(int)) for a, b in combinations(chosen, 2)])


X, y = images(2000)
new, truth = images(2000)
pool = [Column(column) for column in range(10)]
print("accuracy of each model:", *(f"{(new[:, column] == truth).mean():.2f}" for column in range(10)))
options = {"pct_accuracy": 1.0, "pct_diversity": 0.5, "random_state": 0, "n_jobs": 1}
accuracy, alone = {}, {}
for measure in ("DF", "ratio", "Q"):
    for more in (True, False):
        model = DESClustering(pool, n_clusters=1, metric_diversity=measure, more_diverse=more, **options).fit(X, y)
        chosen = sorted(model.indices_[0])
        accuracy[measure, more] = model.score(new, truth)
        alone[measure, more] = sum(index >= 5 for index in chosen)
        near = DESKNN(pool, k=200, metric=measure, more_diverse=more, **options).fit(X, y).score(new[:300], truth[:300])
        print(f"{measure}, more_diverse={more}: {alone[measure, more]} of 5 err on their own, pairwise Q", end=" ")
        print(f"{pairwise(chosen, X, y):.2f}, accuracy {accuracy[measure, more]:.3f}, DESKNN {near:.3f}")
        right = more if measure != "Q" else not more
        assert alone[measure, more] == (5 if right else 0)
        assert (accuracy[measure, more] > 0.92) == right and (near > 0.87) == right
assert pairwise(range(5), X, y) > 0.9 > 0.2 > pairwise(range(5, 10), X, y)
P
echo "as described: the Q-statistic chooses the models that err together"
