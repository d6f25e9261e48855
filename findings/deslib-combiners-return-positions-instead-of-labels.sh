#!/usr/bin/env bash
# DESlib 0.3.7, deslib.util.aggregation: average_combiner, product_combiner, maximum_combiner, minimum_combiner and
# median_combiner return the "predicted_label" of each image, "The label of each query sample", as majority_voting does.
# They return the position of the class among the classes.
#
# Seen: ten trees on five classes of digits, numbered from 1, as in many sets of images: majority_voting is right on
# 0.95, average_combiner on 0.01, as each of its labels is that of the class before. The same images numbered from 0:
# 0.95 and 0.95. Labels -1 and 1: no image is called -1. No warning.
# Expected: the classes that the models were fitted with, as sklearn's VotingClassifier gives them.
# It matters because the ensembles are compared by their accuracy, and with other numbers for the classes the better
# rule is worse than chance.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  deslib==0.3.7 scikit-learn==1.5.2 numpy==1.26.4 scipy==1.13.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from deslib.util import aggregation
from sklearn.datasets import load_digits
from sklearn.tree import DecisionTreeClassifier

RULES = ("average", "product", "maximum", "minimum", "median")
for rule in RULES:
    described = " ".join(inspect.getdoc(getattr(aggregation, f"{rule}_combiner")).split())
    assert "Returns ------- predicted_label : array" in described
assert "The label of each query sample predicted" in " ".join(inspect.getdoc(aggregation.average_combiner).split())

images, digits = load_digits(n_class=5, return_X_y=True)
order = np.random.default_rng(0).permutation(len(digits))
train, test = order[:450], order[450:]
seen = {}
for name, classes in (("0 to 4", digits), ("1 to 5", digits + 1), ("-1 and 1", np.where(digits > 2, 1, -1))):
    trees = []
    for seed in range(10):
        part = np.random.default_rng(seed).choice(train, len(train))
        tree = DecisionTreeClassifier(max_depth=6, max_features=16, min_samples_leaf=5, random_state=seed)
        trees.append(tree.fit(images[part], classes[part]))
    votes = aggregation.majority_voting(trees, images[test])
    seen[name] = {"majority": (votes == classes[test]).mean()}
    for rule in RULES:
        given = getattr(aggregation, f"{rule}_combiner")(trees, images[test])
        seen[name][rule] = (given == classes[test]).mean()
        assert set(given) <= set(range(len(set(classes))))
    probabilities = np.mean([tree.predict_proba(images[test]) for tree in trees], axis=0)
    labels = trees[0].classes_[probabilities.argmax(axis=1)]
    given = aggregation.average_combiner(trees, images[test])
    assert np.array_equal(trees[0].classes_[given], labels)
    seen[name]["by hand"] = (labels == classes[test]).mean()
    print(f"labels {name}:", ", ".join(f"{rule} {accuracy:.3f}" for rule, accuracy in seen[name].items()), end="; ")
    print(f"average_combiner gives the labels {sorted(set(given.tolist()))}")
assert seen["0 to 4"]["average"] == seen["0 to 4"]["by hand"] > 0.85
assert seen["1 to 5"]["by hand"] > 0.85 and max(seen["1 to 5"][rule] for rule in RULES) < 0.3
assert seen["1 to 5"]["majority"] > 0.85
assert seen["-1 and 1"]["by hand"] > 0.85 and seen["-1 and 1"]["average"] < 0.6
P
echo "as described: the combiners give the positions of the classes"
