#!/usr/bin/env bash
# DESlib 0.3.7, Oracle, which "always selects the base classifier that predicts the correct label if such classifier
# exists" and is used "to measure the upper-limit performance". The labels of the test images are turned into 0 and 1,
# the predictions of the models are not, and the prediction chosen is then taken for an index of the list of labels.
#
# Seen: six trees, at least one of them right on 0.99 of 200 test images, the best of them on 0.82. Labels 0 and 1:
# Oracle's accuracy is 0.99. The same images and trees with the labels -1 and 1: every image is called 1, accuracy 0.52,
# less than each of several trees. No warning. SingleBest, from the same package, gives 0.82 for both.
# Expected: the share of images on which any tree is right, 0.99, whatever the labels are called.
# It matters because the upper limit tells whether choosing among the models is worth while: here it says that it is
# not.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  deslib==0.3.7 scikit-learn==1.5.2 numpy==1.26.4 scipy==1.13.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from deslib.static import Oracle, SingleBest
from sklearn.datasets import make_classification
from sklearn.tree import DecisionTreeClassifier

described = " ".join(inspect.getdoc(Oracle).split())
assert "always selects the base classifier that predicts the correct label if such classifier exists" in described
assert "used to measure the upper-limit performance" in described

X, truth = make_classification(600, 10, n_informative=5, random_state=0)
seen = {}
for names in ((0, 1), (-1, 1)):
    y = np.array(names)[truth]
    trees = [DecisionTreeClassifier(max_depth=2, max_features=2, random_state=seed) for seed in range(6)]
    trees = [tree.fit(X[:200], y[:200]) for tree in trees]
    oracle = Oracle(trees).fit(X[200:400], y[200:400])
    answers = oracle.predict(X[400:], y[400:])
    each = np.array([tree.predict(X[400:]) == y[400:] for tree in trees])
    single = SingleBest(trees, n_jobs=1).fit(X[200:400], y[200:400]).score(X[400:], y[400:])
    seen[names] = given, right = oracle.score(X[400:], y[400:]), each.any(axis=0).mean()
    print(f"labels {names}: Oracle {given:.3f}, answers {sorted(set(answers.tolist()))};", end=" ")
    print(f"some tree is right on {right:.3f}, each on {each.mean(axis=1)}; SingleBest {single:.3f}")
    assert single in each.mean(axis=1)
assert np.isclose(*seen[0, 1])
assert seen[-1, 1][1] == seen[0, 1][1] > 0.95 and set(answers) == {1}
assert np.isclose(seen[-1, 1][0], truth[400:].mean()) and seen[-1, 1][0] < np.median(each.mean(axis=1))
P
echo "as described: with the labels -1 and 1 Oracle calls every image 1"
