#!/usr/bin/env bash
# modAL 0.4.2.1, active learning with several labels per image. The strategy SVM_binary_minimum asks for the image that
# is nearest to a boundary. random_tie_break=True "can be used to break the tie when the highest utility score is not
# unique"; but with it the largest distance is taken: the image of which the model is surest. avg_confidence, after
# Esuli and Sebastiani, takes the largest mean where they take the smallest, and of the labels' probabilities, not of
# the decisions' confidences: it asks for the images that surely have all labels.
#
# Seen: three labels, 200 labelled images and 500 others. Distance to the nearest boundary: SVM_binary_minimum asks for
# the smallest of all, 0.00; with random_tie_break=True for the largest of all, 5.4. There are no ties. Ten images by
# avg_confidence: the least sure of the three decisions has a confidence of 0.86 to 0.98, where half of all images have
# less than 0.73. No warning.
# Expected: another image only among equals; the least sure images.
# It matters because the labels that are paid for teach nothing, and a comparison of strategies shows that "active
# learning is no better than chance". Take numpy.argmin of the distances, or of the mean of |p - 0.5|.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pandas==3.1.1
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-deps modAL-python==0.4.2.1  # these need no skorch
cd "$work"
"$work/env/bin/python" -W error::UserWarning -W error::RuntimeWarning - <<'P'
import inspect

import numpy as np
from modAL.models import ActiveLearner
from modAL.multilabel import SVM_binary_minimum, avg_confidence
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.svm import SVC

described = " ".join(inspect.getdoc(SVM_binary_minimum).split())
assert "can be used to break the tie when the highest utility score is not unique" in described
assert "The Minimum absolute distance metric of the chosen instance" in described
assert "Esuli and Sebastiani" in inspect.getdoc(avg_confidence)
draw = np.random.default_rng(0)
labelled, others = draw.normal(size=(200, 3)), draw.normal(size=(500, 3))
labels = (labelled + 0.3 * draw.normal(size=(200, 3)) > 0).astype(int)


def learner(model, strategy):
    return ActiveLearner(
        OneVsRestClassifier(model), query_strategy=strategy, X_training=labelled, y_training=labels
    )


asks = learner(SVC(kernel="linear"), SVM_binary_minimum)
distances = np.abs([each.decision_function(others) for each in asks.estimator.estimators_]).min(0)
assert len(np.unique(distances)) == 500
plain = int(asks.query(others)[0])
(with_tie_break,) = asks.query(others, random_tie_break=True)[0]
print(f"distance: without tie-break {distances[plain]:.2f}, with it {distances[with_tie_break]:.2f}", end="; ")
print(f"of all images {distances.min():.2f} to {distances.max():.2f}")
assert plain == distances.argmin() and with_tie_break == distances.argmax()

asks = learner(LogisticRegression(), avg_confidence)
chosen = asks.query(others, n_instances=10)[0]
probabilities = asks.predict_proba(others)
least_sure = np.maximum(probabilities, 1 - probabilities).min(1)
print("avg_confidence: the least sure decision of each image", np.sort(least_sure[chosen]).round(2), end="; ")
print(f"median of all images {np.median(least_sure):.2f}")
assert least_sure[chosen].min() > 0.8 and np.median(least_sure) < 0.78
assert set(chosen) == set(probabilities.mean(1).argsort()[-10:])
P
echo "as described: with the tie-break it is the surest image that is to be labelled"
