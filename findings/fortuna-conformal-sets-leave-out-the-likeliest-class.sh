#!/usr/bin/env bash
# aws-fortuna 0.2.0, SimplePredictionConformalClassifier, AdaptivePredictionConformalClassifier and their CV+ forms: the
# scores are those of the papers (1 - p of the class; the probability of all classes down to it): high where a class
# does not fit. A class then belongs into the set if its score is low, at most the 1 - error quantile of the
# scores of the true classes. Fortuna puts those in that fewer than (1 - error)(n + 1) of these scores are above: the
# high ones. So the sets hold every improbable class, and it is the most probable ones that are left out.
#
# Seen: 10 classes, a classifier with an accuracy of 0.97 and true probabilities, 1,000 images for the calibration and
# 2,000 for the test, error 0.1. Simple sets hold 9.9 classes where 0.9 are enough; 0.90 of them hold the true class. Of
# the 200 surest images none has its likeliest class in the set, and all have the unlikeliest one. Adaptive sets: 9.8
# classes where the score allows 4.2. Coverage alone is right, so a check of the coverage does not show it.
# Expected: classes with a score of at most the quantile, as in Sadinle et al. (2019) and Romano et al. (2020).
# It matters because a set of nine of ten classes reads as a model that knows nothing, and the class it lacks is the
# answer. With two classes the sets look normal in size.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  jax==0.4.38 jaxlib==0.4.38 flax==0.8.5 optax==0.1.9 numpy==1.26.4 matplotlib==3.9.4 tqdm
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-deps aws-fortuna==0.2.0  # without TensorFlow
cd "$work"
cat >sets.py <<'P'
import inspect

import numpy as np
from fortuna.conformal import AdaptivePredictionConformalClassifier, SimplePredictionConformalClassifier
from fortuna.conformal.classification import simple_prediction

assert "return 1 - probs[target]" in inspect.getsource(simple_prediction)
CLASSES, ERROR = 10, 0.1
draw = np.random.default_rng(0)


def images(count):
    logits = 7 * np.eye(CLASSES)[draw.integers(0, CLASSES, count)] + 1.2 * draw.normal(size=(count, CLASSES))
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    return probabilities, np.array([draw.choice(CLASSES, p=row) for row in probabilities])


def simple(probabilities):
    return 1 - probabilities


def adaptive(probabilities):
    order = np.argsort(-probabilities, axis=1)
    summed = np.take_along_axis(probabilities, order, axis=1).cumsum(axis=1)
    return np.take_along_axis(summed, np.argsort(order, axis=1), axis=1)


known, classes = images(1000)
test, answers = images(2000)
rows, surest = np.arange(2000), np.argsort(-test.max(axis=1))[:200]
print(f"accuracy {np.mean(test.argmax(axis=1) == answers):.3f}")
for score, kind in ((simple, SimplePredictionConformalClassifier), (adaptive, AdaptivePredictionConformalClassifier)):
    sets = kind().conformal_set(val_probs=known, val_targets=classes, test_probs=test, error=ERROR)
    given = np.array([[name in chosen for name in range(CLASSES)] for chosen in sets])
    limit = np.sort(score(known)[np.arange(1000), classes])[int(np.ceil((1 - ERROR) * 1001)) - 1]
    right = score(test) <= limit
    for name, held in ((kind.__name__, given), ("by the paper", right)):
        likeliest, unlikeliest = held[rows, test.argmax(axis=1)], held[rows, test.argmin(axis=1)]
        print(f"{name}: {held.sum(axis=1).mean():.2f} classes in a set, true class in", end=" ")
        print(f"{held[rows, answers].mean():.3f},")
        print(f"  likeliest class in {likeliest.mean():.2f} and, of the surest 200 images, in", end=" ")
        print(f"{likeliest[surest].mean():.2f}; unlikeliest class in {unlikeliest.mean():.2f}")
        assert held[rows, answers].mean() > 0.88
    assert given.sum(axis=1).mean() > 8 and given[rows, test.argmin(axis=1)].mean() > 0.95
    assert right.sum(axis=1).mean() < 5 and right[rows, test.argmin(axis=1)].mean() < 0.05
    if kind is SimplePredictionConformalClassifier:
        assert not given[surest, test.argmax(axis=1)[surest]].any() and right[surest, test.argmax(axis=1)[surest]].all()
P
env/bin/python -W ignore sets.py 2>log || { cat log; exit 1; }
echo "as described: the sets hold the improbable classes"
