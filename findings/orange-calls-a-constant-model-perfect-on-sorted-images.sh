#!/usr/bin/env bash
# orange3 3.40.0, Orange.evaluation.performance_curves.Curves, also behind the threshold curves of its Calibration Plot.
# By its docstring the curves are of a model that takes an image for positive "if it equals or exceeds the threshold in
# `probs`", and "sensitivity[i]" is that of such a model at probs[i]. Images of equal probability thus change sides
# together. The code counts them one by one, in the order in which they come.
#
# Seen: MajorityLearner, which gives every image the same probability. 1,000 images sorted by class, as folders give
# them: accuracy 1.00, sensitivity and specificity 1.00 at once. The same images in reverse: 0.50. Five nearest
# neighbours, of 100 images, 6 different probabilities: best accuracy 0.68 or 0.64, while no threshold reaches more than
# 0.63. No warning.
# Expected: 0.50 and 0.63 in both orders, as counted with probability >= threshold and by sklearn's roc_curve.
# It matters because trees, nearest neighbours and rounded probabilities tie often, and a threshold is chosen by these
# curves: what they promise cannot be reached.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  orange3==3.40.0 numpy==2.3.5 scipy==1.17.1 scikit-learn==1.9.1 pandas==2.3.3
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from Orange.classification import KNNLearner, MajorityLearner
from Orange.data import ContinuousVariable, DiscreteVariable, Domain, Table
from Orange.evaluation import TestOnTestData
from Orange.evaluation.performance_curves import Curves
from sklearn.metrics import roc_curve

described = " ".join(inspect.getdoc(Curves).split())
assert "classified as positive if it equals or exceeds the threshold in `probs`" in described
assert "if the probability of being positive is at least `probs[i]`" in described

draw = np.random.default_rng(0)
features = [ContinuousVariable("first"), ContinuousVariable("second")]
domain = Domain(features, DiscreteVariable("class", values=("good", "defective")))


def sorted_images(count):
    classes = np.repeat([0, 1], count // 2)
    return Table.from_numpy(domain, draw.normal(size=(count, 2)) + 0.5 * classes[:, None], classes)


def compare(count):
    train, test = sorted_images(count), sorted_images(count)
    seen = {}
    for order, images in (("sorted", test), ("reversed", test[::-1])):
        results = TestOnTestData()(train, images, [MajorityLearner(), KNNLearner(n_neighbors=5)])
        for index, name in enumerate(("majority", "neighbours")):
            curves = Curves.from_results(results, model_index=index)
            probabilities, actual = results.probabilities[index, :, 1], results.actual
            reached = max(((probabilities >= threshold) == actual).mean() for threshold in np.unique(probabilities))
            false, found, _ = roc_curve(actual, probabilities, drop_intermediate=False)
            assert np.isclose(max(reached, 0.5), ((found + 1 - false) / 2).max())
            informed = (curves.sensitivity() + curves.specificity()).max() - 1
            print(f"{count} images, {order}, {name}: accuracy up to {curves.ca().max():.3f}", end=", ")
            print(f"J up to {informed:.3f}; by any threshold {reached:.3f} and {(found - false).max():.3f}")
            seen[order, name] = curves.ca().max(), reached
    return seen


for count in (100, 1000):
    seen = compare(count)
    assert seen["sorted", "majority"] == (1.0, 0.5) and seen["reversed", "majority"] == (0.5, 0.5)
    assert seen["sorted", "neighbours"][1] == seen["reversed", "neighbours"][1]
    assert seen["sorted", "neighbours"][0] != seen["reversed", "neighbours"][0]
    assert max(seen["sorted", "neighbours"][0], seen["reversed", "neighbours"][0]) > seen["sorted", "neighbours"][1]
P
echo "as described: images of one probability are split by their order"
