#!/usr/bin/env bash
# MAPIE 1.6.0: VennAbersCalibrator(model, cv="prefit") with a class of which the calibration set has no image.
# It numbers the classes that it finds among the calibration labels, and takes those numbers for the columns of
# the model's probabilities: each class after the missing one is calibrated on the scores of the one before it.
# predict_proba returns a column less than there are classes, and predict looks it up among all classes of the
# model, which moves the answers once more. No message, where SplitConformalClassifier warns of that set.
# The docstring: predict_proba returns an array of shape (n_samples, n_classes).
#
# Seen: five classes, 1,000 test images, a model that is right on 84 %; calibrated with images of all five, on
# 84 % as well. Without images of the second class: on 18 %, and on 22 % of those of the other four classes.
# Expected: some 80 % of the images of the other four classes, or a refusal.
# It matters where a class is rare: many classes and a small calibration set.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  mapie==1.6.0 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import warnings

import numpy as np
from mapie.calibration import VennAbersCalibrator
from mapie.classification import SplitConformalClassifier
from sklearn.linear_model import LogisticRegression

draw = np.random.default_rng(0)
centres = 3 * draw.normal(size=(5, 2))
labels = draw.integers(5, size=4000)
images = centres[labels] + draw.normal(size=(4000, 2))
train, calibration, test = slice(2000), slice(2000, 3000), slice(3000, None)
model = LogisticRegression().fit(images[train], labels[train])
truth = labels[test]


def calibrated(without):
    keep = labels[calibration] != without
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        venn = VennAbersCalibrator(model, cv="prefit")
        venn.fit(images[calibration][keep], labels[calibration][keep])
        answers, probabilities = venn.predict(images[test]), venn.predict_proba(images[test])
        split = SplitConformalClassifier(model)
        told = len(caught)
        split.conformalize(images[calibration][keep], labels[calibration][keep])
    about = [str(one.message) for one in caught]
    assert not any("label" in text or "class" in text for text in about[:told]), about
    print(f"without class {without}: {probabilities.shape[1]} columns, right {(answers == truth).mean():.3f};", end=" ")
    print("SplitConformalClassifier:", about[told:], f"right {(split.predict(images[test]) == truth).mean():.3f}")
    return answers, probabilities, about[told:]


assert "(n_samples, n_classes)" in VennAbersCalibrator.predict_proba.__doc__
own = model.predict(images[test])
answers, probabilities, told = calibrated(None)
assert abs((answers == truth).mean() - (own == truth).mean()) < 0.02 and probabilities.shape[1] == 5 and not told

answers, probabilities, told = calibrated(1)
right, before = ((one == truth)[truth != 1].mean() for one in (answers, own))
meant = np.array([0, 2, 3, 4])[probabilities.argmax(axis=1)]
print(f"images of the other classes: right {right:.2f}, by the model {before:.2f};", end=" ")
print("column's class -> answer:", sorted(set(zip(meant.tolist(), answers.tolist()))))
assert (answers == truth).mean() < 0.3 and right < 0.3 and before > 0.7
assert probabilities.shape[1] == 4 and (4, 3) in zip(meant, answers) and "less labels" in told[0]
P
echo "as described: without a class in the calibration set the answers are other classes"
