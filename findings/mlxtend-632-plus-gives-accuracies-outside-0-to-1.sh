#!/usr/bin/env bash
# mlxtend 0.25.0, bootstrap_point632_score(method=".632+"): "Implementation of the .632 [1] and .632+ [2] bootstrap",
# [2] Efron and Tibshirani 1997. Their relative overfitting rate R lies in 0 to 1: the test error is cut at the
# no-information rate, and R is 0 where there is no overfitting. Here R is not bounded, so that the weight
# 0.632 / (1 - 0.368 R) goes to infinity at R = 2.7 and is negative beyond.
#
# Seen: an SVC with scikit-learn's defaults, labels that do not depend on the features, 30 % of the second class. 200
# scores of ".632+": from -4.7 to 3.3, their 95 % interval, taken as in the docstring's example, -0.53 to 1.36. ".632":
# 0.56 to 0.80. ".632+" with the paper's bounds: 0.58 to 0.80. A tree of depth 2: -20 to 5.5. The only warning is
# numpy's, of a division by zero where a model answers with one class alone.
# Expected: accuracies.
# It matters where a model is weak, as the first fits on few images of unbalanced classes are: the mean of the scores is
# then that of a few wild ones. Use ".632", or compute R with its bounds.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  mlxtend==0.25.0 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pandas==3.1.1
cd "$work"
"$work/env/bin/python" -W error::UserWarning -W ignore::RuntimeWarning - <<'P'
import inspect

import numpy as np
from mlxtend.evaluate import BootstrapOutOfBag, bootstrap_point632_score
from sklearn.base import clone
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

described = " ".join(inspect.getdoc(bootstrap_point632_score).split())
assert "Implementation of the .632 [1] and .632+ [2] bootstrap" in described
assert "Improvements on Cross-Validation: The .632+ Bootstrap Method" in described
draw = np.random.default_rng(0)


def bounded(model, features, classes):
    scores = []
    for chosen, left in BootstrapOutOfBag(n_splits=200, random_seed=0).split(features):
        answers = clone(model).fit(features[chosen], classes[chosen]).predict(features)
        test, train = (answers[left] != classes[left]).mean(), (answers != classes).mean()
        no_information = (answers[:, None] != classes[None]).mean()
        test = min(test, no_information)
        overfitting = (test - train) / (no_information - train) if test > train and no_information > train else 0
        weight = 0.632 / (1 - 0.368 * overfitting)
        scores.append(1 - (weight * test + (1 - weight) * train))
    return np.array(scores)


for model in (SVC(), DecisionTreeClassifier(max_depth=2, random_state=0)):
    features, classes = draw.normal(size=(100, 5)), (draw.random(100) < 0.3).astype(int)
    scores = {
        method: bootstrap_point632_score(model, features, classes, n_splits=200, method=method, random_seed=0)
        for method in (".632", ".632+")
    }
    scores["bounded"] = bounded(model, features, classes)
    for method, values in scores.items():
        interval = np.percentile(values, [2.5, 97.5]).round(2)
        print(f"{model}, {method}: {values.min():.2f} to {values.max():.2f}, 95 % interval {interval}")
    assert scores[".632+"].min() < -0.5 and scores[".632+"].max() > 1.5
    for method in (".632", "bounded"):
        assert 0.2 < scores[method].min() and scores[method].max() < 0.95
P
echo "as described: the accuracies of .632+ are below 0 and above 1"
