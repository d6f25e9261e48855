#!/usr/bin/env bash
# torchmetrics 1.9.0: a class that has no image in the test set has no AUROC and no average precision. In a macro
# average MulticlassAveragePrecision leaves it out, and says so. MultilabelAveragePrecision, MulticlassAUROC and
# MultilabelAUROC count it as 0, with a warning that does not mention the average. With thresholds=500 (bins, to save
# memory) all four count it as 0, and without any warning. The code that leaves out NaN is there in each of them, but
# NaN does not reach it. The documentation: "calculate score for each class and average them".
#
# Seen: 2,000 images, six classes, of which the sixth does not occur. Macro AP is 0.50, as over the five classes,
# with thresholds=500 0.42, and 0.42 by the multi-label metric on the same scores; macro AUROC is 0.66, less than any
# of the five has (0.77 to 0.80). The weighted averages are right in all of them.
# Expected: one convention; the absent class left out, or NaN, as scikit-learn's roc_auc_score gives for it.
# It matters for rare labels: the score of a model drops by 1/6 because a tag is missing from the split, and two
# splits or two ways to compute the same score are not comparable.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  torchmetrics==1.9.0 torch==2.15.0 numpy==2.4.6 scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import warnings

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score
from torchmetrics.classification import (
    MulticlassAUROC,
    MulticlassAveragePrecision,
    MultilabelAUROC,
    MultilabelAveragePrecision,
)

torch.manual_seed(0)
classes = torch.randint(5, (2000,))
labels = torch.nn.functional.one_hot(classes, 6)
scores = (torch.randn(2000, 6) + labels).softmax(1)
true = {}
for name, score in (("AUROC", roc_auc_score), ("AveragePrecision", average_precision_score)):
    true[name] = [score(labels[:, number], scores[:, number]) for number in range(5)]
    print(f"{name} of the five classes: {min(true[name]):.2f} to {max(true[name]):.2f}, mean {np.mean(true[name]):.3f}")

METRICS = [(MulticlassAveragePrecision, classes), (MultilabelAveragePrecision, labels)]
METRICS += [(MulticlassAUROC, classes), (MultilabelAUROC, labels)]
left_out = []
for kind, target in METRICS:
    for thresholds in (None, 500):
        found = {}
        for average in ("macro", "weighted"):
            with warnings.catch_warnings(record=True) as said:
                warnings.simplefilter("always")
                metric = kind(6, average=average, thresholds=thresholds)
                metric.update(scores, target)
                found[average] = metric.compute().item()
            said = [str(one.message) for one in said if "buffer" not in str(one.message)]
            assert bool(said) == (thresholds is None)
        mean = np.mean(true[kind.__name__.removeprefix("Multiclass").removeprefix("Multilabel")])
        zero = np.isclose(found["macro"], mean * 5 / 6, atol=0.002)
        assert zero or np.isclose(found["macro"], mean, atol=0.002)
        assert np.isclose(found["weighted"], mean, atol=0.01)
        left_out += [] if zero else [(kind.__name__, thresholds)]
        print(f"{kind.__name__}, thresholds={thresholds}: macro {found['macro']:.3f},", end=" ")
        print(f"weighted {found['weighted']:.3f}; absent class {'counted as 0' if zero else 'left out'};", end=" ")
        print(said[0] if said else "no warning")
assert left_out == [("MulticlassAveragePrecision", None)]
P
echo "as described: an absent class lowers most macro scores, and one it does not"
