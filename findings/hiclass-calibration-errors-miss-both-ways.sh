#!/usr/bin/env bash
# hiclass 5.0.8, hierarchical classification: the calibration errors of hiclass.metrics. static_calibration_error and
# adaptive_calibration_error compare the probability of each class with how often the model's first answer was right, on
# any class; their paper (Nixon et al. 2019) with how often that class was the true one. And expected_calibration_error
# puts a probability of exactly 1 into a bin after the last (numpy.digitize), which is not counted.
#
# Seen: six species of two genera, 20,000 images, probabilities that are exactly right. Static and adaptive error 0.45;
# by the definition 0.01. A model that gives one species probability 1 each time and is right on 17 % of the images:
# expected calibration error 0. With 0.999 instead of 1 it is 0.83. No warning.
# Expected: near 0 for true probabilities, and 0.83 twice.
# It matters because forests, neighbours and saturated networks do give 1, and their worst errors leave the average.
# Compute these errors from the probabilities of a level without hiclass.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  hiclass==5.0.8 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W error::UserWarning - <<'P'
import inspect

import numpy as np
from hiclass import LocalClassifierPerLevel
from hiclass.metrics import adaptive_calibration_error, expected_calibration_error, static_calibration_error
from sklearn.linear_model import LogisticRegression

for metric in (static_calibration_error, adaptive_calibration_error, expected_calibration_error):
    assert f"Compute the {metric.__name__.replace('_', ' ')}" in inspect.getdoc(metric)
SPECIES = np.array(["carp", "pike", "tench", "finch", "hawk", "wren"])
GENUS = np.array(["fish", "fish", "fish", "bird", "bird", "bird"])
order = np.argsort(SPECIES)
draw = np.random.default_rng(0)
IMAGES = 20000
odds = np.exp(2 * draw.normal(size=(IMAGES, 6)))
probabilities = odds / odds.sum(axis=1, keepdims=True)
truth = (probabilities.cumsum(axis=1) > draw.random((IMAGES, 1))).argmax(axis=1)


def named(classes):
    return np.column_stack([GENUS[classes], SPECIES[classes]])


every = np.repeat(np.arange(6), 10)
model = LocalClassifierPerLevel(LogisticRegression()).fit(draw.normal(size=(60, 2)), named(every))
assert list(model.classes_[1]) == list(SPECIES[order])


def error(metric, given):
    return metric(model, named(truth), given[:, order], named(given.argmax(axis=1)), level=1)


def by_definition(given):
    errors = []
    for number in range(6):
        scores, is_true = given[:, number], truth == number
        bins = np.minimum((scores * 10).astype(int), 9)
        gaps = [abs((scores - is_true)[bins == one].sum()) for one in range(10)]
        errors.append(sum(gaps) / IMAGES)
    return np.mean(errors)


static, adaptive = (error(metric, probabilities) for metric in (static_calibration_error, adaptive_calibration_error))
own = by_definition(probabilities)
print(f"true probabilities: static {static:.3f}, adaptive {adaptive:.3f}, by definition {own:.3f}")
assert static > 0.4 and adaptive > 0.4 and own < 0.01
assert error(expected_calibration_error, probabilities) < 0.01

sure = np.eye(6)[draw.integers(6, size=IMAGES)]
nearly = 0.999 * sure + 0.001 / 6
right = (sure.argmax(axis=1) == truth).mean()
errors = [error(expected_calibration_error, given) for given in (sure, nearly)]
print(f"right on {right:.3f}: expected calibration error with 1 {errors[0]:.3f}, with 0.999 {errors[1]:.3f}")
assert right < 0.2 and errors[0] == 0 and errors[1] > 0.8
P
echo "as described: true probabilities have an error of 0.45, a model sure and wrong one of 0"
