#!/usr/bin/env bash
# combo 0.1.3, SimpleClassifierAggregator: combines "base classifiers" by "average", "maximization", "majority_vote" or
# "median"; `predict` gives "Class labels for each data sample". `fit` counts the classes and predict_proba has a column
# for each. `predict` combines the numbers of the classes as if they were scores and returns whether the result is at
# least the threshold, 0.5: 0 or 1, also after a majority vote. The only hint is the threshold, "to convert scores into
# binary labels".
#
# Seen: four classes of digits, three classifiers, right on 0.99, 0.91 and 1.00: the answers are 0 and 1 only, accuracy
# 0.46 or 0.47 by each of the four methods. The largest of predict_proba is right on 0.96 to 1.00, and so is the vote
# itself before `predict` compares it with 0.5. No warning.
# Expected: the class of most votes, or of the largest average probability, as by sklearn's VotingClassifier.
# It matters because classes 2, 3 and on are never predicted, and an ensemble looks worse than any of its members.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  combo==0.1.3 pyod==3.6.7 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
import warnings

import numpy as np
from combo.models.classifier_comb import SimpleClassifierAggregator
from combo.models.score_comb import majority_vote
from sklearn.datasets import load_digits
from sklearn.ensemble import VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

described = " ".join(inspect.getdoc(SimpleClassifierAggregator.predict).split())
assert "Class labels for each data sample." in described
assert "n_classes : int" in " ".join(inspect.getdoc(majority_vote).split())

images, digits = load_digits(n_class=4, return_X_y=True)
order = np.random.default_rng(0).permutation(len(digits))
train, test = order[:400], order[400:]


def classifiers():
    return [LogisticRegression(max_iter=500), DecisionTreeClassifier(random_state=0), KNeighborsClassifier()]


alone = [one.fit(images[train], digits[train]).score(images[test], digits[test]) for one in classifiers()]
print("accuracy of each alone:", np.round(alone, 3))
named = [(str(place), one) for place, one in enumerate(classifiers())]
right = VotingClassifier(named).fit(images[train], digits[train]).score(images[test], digits[test])
for method in ("average", "maximization", "majority_vote", "median"):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        ensemble = SimpleClassifierAggregator(classifiers(), method=method)
        ensemble.fit(images[train], digits[train])
        answers, probabilities = ensemble.predict(images[test]), ensemble.predict_proba(images[test])
    given = (answers == digits[test]).mean()
    likeliest = (probabilities.argmax(axis=1) == digits[test]).mean()
    print(f"{method}: answers {sorted(set(answers.tolist()))}, accuracy {given:.3f};", end=" ")
    print(f"by predict_proba {likeliest:.3f}, VotingClassifier {right:.3f}")
    assert set(answers) == {0, 1} and probabilities.shape[1] == 4
    assert given < 0.5 < 0.9 < min(likeliest, right, *alone)
    assert not any(issubclass(one.category, UserWarning) for one in warned)
    votes = np.stack([one.predict(images[test]) for one in ensemble.base_estimators], axis=1)
    if method == "majority_vote":  # the vote itself is right, what predict does with it is not
        assert np.array_equal(answers, (majority_vote(votes, n_classes=4) >= 0.5).astype(int))
        assert (majority_vote(votes, n_classes=4) == digits[test]).mean() > 0.95
P
echo "as described: the answers are whether the class is above 0"
