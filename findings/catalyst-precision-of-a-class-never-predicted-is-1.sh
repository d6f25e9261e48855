#!/usr/bin/env bash
# catalyst 22.4, metrics.precision, recall, fbeta_score and precision_recall_fbeta_support, with zero_division: "should
# be one of 0 or 1; used for precision_val and recall computation", 0 if left out. The option is not used: a small
# number is added above and below the line, so that a class that is never predicted has a precision of 1 and a class
# that is neither predicted nor in the set has 1 in all three. metrics.binary_average_precision(weights=...), the
# "importance for each sample", weighs the precisions but adds them up and divides them as if all weights were 1.
#
# Seen: 10 classes of 100 images, all taken for class 0: mean precision 0.91 with zero_division 0 and with 1. Five of
# the ten classes in the test set, a model at random: mean F1 of 0.60. Average precision with a weight of 10 for the
# images that are easy: 0.90, the same images written out ten times: 0.95. No warning.
# Expected: sklearn's 0.01, 0.10 and 0.95; catalyst's MulticlassPrecisionRecallF1SupportMetric gives the first two.
# It matters because a collapsed network, and each class that a small test set lacks, raise the score.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  catalyst==22.4 torch==2.15.0 scikit-learn==1.9.1 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
import warnings

import numpy as np
import torch
from catalyst import metrics
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

described = " ".join(inspect.getdoc(metrics.precision_recall_fbeta_support).split())
assert "zero_division: int value, should be one of 0 or 1; used for precision_val and recall computation" in described
assert inspect.signature(metrics.precision_recall_fbeta_support).parameters["zero_division"].default == 0
assert "weights: importance for each sample" in inspect.getdoc(metrics.binary_average_precision)
warnings.simplefilter("error")
draw = np.random.default_rng(0)


def compare(name, predicted, classes):
    """The means over ten classes of precision, recall and F1: catalyst's functions, sklearn and catalyst's metric."""
    given = {}
    for zero in (0, 1):
        four = metrics.precision_recall_fbeta_support(
            torch.tensor(predicted), torch.tensor(classes), num_classes=10, zero_division=zero
        )
        given[zero] = [one.double().mean().item() for one in four[:3]]
    right = precision_recall_fscore_support(classes, predicted, labels=range(10), zero_division=0)
    right = [one.mean() for one in right[:3]]
    metric = metrics.MulticlassPrecisionRecallF1SupportMetric(num_classes=10, zero_division=0)
    metric.update(torch.tensor(predicted), torch.tensor(classes))
    other = metric.compute_key_value()
    other = [other[f"{one}/_macro"] for one in ("precision", "recall", "f1")]
    for title, numbers in (("zero_division=0", given[0]), ("zero_division=1", given[1]), ("sklearn", right)):
        print(f"{name}, {title}: precision {numbers[0]:.2f}, recall {numbers[1]:.2f}, F1 {numbers[2]:.2f}")
    assert np.allclose(given[0], given[1]) and np.allclose(other, right, atol=1e-4)
    return given[0], right


given, right = compare("all taken for class 0", np.zeros(1000, dtype=int), np.arange(1000) % 10)
assert given[0] > 0.9 and np.isclose(right[0], 0.01)
single = metrics.precision(torch.zeros(1000, dtype=int), torch.arange(1000) % 10, num_classes=10)
assert (single[1:] == 1).all()

given, right = compare("five of ten classes, at random", draw.integers(0, 5, 1000), draw.integers(0, 5, 1000))
assert np.isclose(given[2] - right[2], 0.5, atol=1e-3) and right[2] < 0.15

classes = (draw.random(500) < 0.3).astype(int)
scores = classes + draw.normal(size=500)
weights = np.where((classes == 1) & (scores > np.quantile(scores, 0.8)), 10, 1)


def by_catalyst(classes, scores, weights=None):
    arguments = [torch.tensor(scores), torch.tensor(classes).float()]
    arguments += [] if weights is None else [torch.tensor(weights).double()]
    return metrics.binary_average_precision(*arguments).item()


given = by_catalyst(classes, scores, weights)
written_out = by_catalyst(np.repeat(classes, weights), np.repeat(scores, weights))
right = average_precision_score(classes, scores, sample_weight=weights)
print(f"average precision: by weights {given:.3f}, images written out {written_out:.3f}, sklearn {right:.3f}")
assert np.isclose(by_catalyst(classes, scores), average_precision_score(classes, scores))
assert right - given > 0.04 and abs(written_out - right) < 0.01
P
echo "as described: a class that is never predicted has a precision of 1"
