#!/usr/bin/env bash
# fiftyone 1.22.1, evaluate_classifications(method="binary"): "Any missing ground truth or prediction labels are assumed
# to be examples of the negative class (with zero confidence, for predictions)". The report and the confusion matrix do
# count them so. Precision-recall and ROC curves and average_precision() take 1 - confidence as the score of a negative
# prediction, and so 1 - 0 = 1 for a missing one: more positive than any image that the model calls positive.
#
# Seen: 1,000 images of which 100 are positive, a good model (average precision 0.99, area under the curve 1.00). If 100
# of the negatives have no prediction, these are 0.31 and 0.89; with the least score for them, not the highest, 0.99.
# A prediction without a confidence is turned round in the same way: labels that are all right have an average precision
# of 0.10 and an area of 0. No warning.
# Expected: a missing prediction comes last in the ranking, not first.
# It matters because a model that abstains on, or a pipeline that skips, images that are clearly negative is compared by
# these curves with one that does not, and loses.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  fiftyone==1.22.1 numpy==1.26.4 scikit-learn==1.9.1 scipy==1.17.1
cd "$work"
# The results are made here as evaluate_classifications makes them: no dataset, and so no database, is needed.
HOME="$work" "$work/env/bin/python" -W ignore - 2>log <<'P' || { cat log; exit 1; }
import inspect
import warnings

import fiftyone.utils.eval.classification as evaluation
import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

for described in (evaluation.BinaryEvaluation, evaluation.BinaryClassificationResults):
    text = " ".join(inspect.getdoc(described).split())
    assert "negative class (with zero confidence, for predictions)" in text

draw = np.random.default_rng(0)
truth = np.arange(1000) < 100
score = 1 / (1 + np.exp(-2.5 * (draw.normal(size=1000) + 4 * truth - 2)))
missing = np.zeros(1000, dtype=bool)
missing[np.flatnonzero(~truth)[np.argsort(score[~truth])[:100]]] = True


def evaluate(labels, confidences):
    config = evaluation.BinaryEvaluationConfig("prediction", "truth")
    names = ["yes" if one else "no" for one in truth]
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        results = evaluation.BinaryClassificationResults(
            None, config, None, names, labels, confidences, classes=["no", "yes"]
        )
        precision = results.average_precision()
    return results, precision, roc_auc_score(truth, results.scores), warned


labels = ["yes" if one > 0.5 else "no" for one in score]
confidences = [max(one, 1 - one) for one in score]
results, whole, area, _ = evaluate(labels, confidences)
assert np.allclose(results.scores, score) and np.isclose(whole, average_precision_score(truth, score))
print(f"all predicted: average precision {whole:.2f}, area {area:.2f}")

some = [None if absent else label for absent, label in zip(missing, labels)]
none = [None if absent else value for absent, value in zip(missing, confidences)]
results, given, area, warned = evaluate(some, none)
expected = average_precision_score(truth, np.where(missing, 0, score))
matrix = results.confusion_matrix()
print(f"100 negatives without a prediction: average precision {given:.2f}, area {area:.2f};", end=" ")
print(f"with the least score {expected:.2f}; their scores {set(results.scores[missing])};", end=" ")
print(f"of them {np.sum(results.ypred[missing] == 'no')} count as negatives in the matrix {matrix.tolist()}")
assert (results.scores[missing] == 1).all() and results.scores[~missing].max() < 1 and not warned
assert (results.ypred[missing] == "no").all() and matrix.sum() == 1000
assert given < expected - 0.3 and np.isclose(expected, whole)

perfect, precision, area, warned = evaluate(["yes" if one else "no" for one in truth], [None] * 1000)
print(f"right labels without confidences: average precision {precision:.2f}, area {area:.2f}")
assert area == 0 and precision < 0.2 and perfect.metrics()["accuracy"] == 1 and not warned
P
echo "as described: in the ranking, an image without a prediction is the surest positive"
