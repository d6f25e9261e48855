#!/usr/bin/env bash
# sklearn-genetic-opt 0.12.0, GASearchCV(criteria="min"): "`max` if a higher scoring metric is better, `min` otherwise",
# and best_params_ is the "Parameter setting that gave the best results on the hold out data". The search does go down,
# but the table of results ranks the highest score first, whatever the criteria, and the first rank is refitted.
#
# Seen: a decision tree on digits, scored by its error rate: 5 searches of 10 + 12 generations go from a mean of 0.59 to
# 0.37 and find settings of 0.33 to 0.37, and each returns as best_params_ the worst of all that it tried: 0.79 to 0.81.
# The first place of the hall of fame is overwritten with it too. Scored by accuracy with "max": the best. No warning.
# Expected: the row with the lowest mean_test_score.
# It matters because best_estimator_ is the model that is used from there on, refitted with the worst setting found.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  sklearn-genetic-opt==0.12.0 deap==1.4.4 scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1
cd "$work"
"$work/env/bin/python" - 2>log <<'P' || { cat log; exit 1; }
import inspect
import random
import warnings

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import cross_val_score
from sklearn.tree import DecisionTreeClassifier
from sklearn_genetic import GASearchCV
from sklearn_genetic.space import Integer

described = " ".join(inspect.getdoc(GASearchCV).split())
assert "``max`` if a higher scoring metric is better, ``min`` otherwise" in described
assert "best_params_ : dict Parameter setting that gave the best results on the hold out data" in described
images, classes = (part[::6] for part in load_digits(return_X_y=True))


def error(model, images, classes):
    return 1 - np.mean(model.predict(images) == classes)


def search(criteria, scoring, seed):
    random.seed(seed)
    np.random.seed(seed)
    grid = {"max_depth": Integer(1, 12), "min_samples_leaf": Integer(1, 60)}
    tree = DecisionTreeClassifier(random_state=0)
    sizes = {"population_size": 10, "generations": 12, "cv": 3, "verbose": False}
    given = GASearchCV(tree, param_grid=grid, scoring=scoring, criteria=criteria, **sizes)
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        given.fit(images, classes)
    return given, np.asarray(given.cv_results_["mean_test_score"]), given.history["fitness"]


for seed in range(5):
    given, tried, mean = search("min", error, seed)
    again = cross_val_score(DecisionTreeClassifier(random_state=0, **given.best_params_), images, classes, cv=3)
    print(f"error rate, min: mean of the generations {mean[0]:.2f} to {mean[-1]:.2f},", end=" ")
    print(f"tried {tried.min():.2f} to {tried.max():.2f}, best_params_ {given.best_params_}: {1 - again.mean():.2f}")
    assert mean[-1] < mean[0] - 0.05
    assert np.isclose(given.best_score_, tried.max()) and np.isclose(1 - again.mean(), tried.max())
    assert tried.max() > tried.min() + 0.3
    assert given.best_estimator_.get_params()["max_depth"] == given.best_params_["max_depth"]
    assert given.hof[0] == given.best_params_

given, tried, mean = search("max", "accuracy", 0)
print(f"accuracy, max: tried {tried.min():.2f} to {tried.max():.2f}, best_params_: {given.best_score_:.2f}")
assert np.isclose(given.best_score_, tried.max())
P
echo "as described: a search for the lowest score returns the highest"
