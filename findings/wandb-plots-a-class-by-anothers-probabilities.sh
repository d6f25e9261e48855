#!/usr/bin/env bash
# wandb 0.31.0, plot.roc_curve and plot.pr_curve: the column of probabilities is the position of a class among those
# that occur in y_true. Where the validation images hold none of a class, which is common with rare classes and with
# batches, each later class is drawn with the column of another one, under its right name. `labels` is indexed by
# the class itself, so nothing is out of place but the curve. The docstring asks for probabilities of the shape
# (num_samples, num_classes) and says nothing of classes that do not occur; there is no warning either.
# plot.confusion_matrix without class_names moves names: Class_2 is class 1, but class 2 where class 1 is missing.
#
# Seen: 300 images, four classes, a classifier that gives the true class over 0.8. With all classes there each curve
# has the area 1. Without a cow: cat 1.00, dog 0.47 and owl 0.23, the latter by the probabilities of a dog.
# Expected: 1 for each class, or an error about the classes that are missing.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  wandb==0.31.0 numpy==2.4.6 pandas==3.1.1 scikit-learn==1.9.1
cd "$work"
env/bin/python -W error - <<'P' 2>&1 | tee said
import numpy as np
import wandb
from sklearn.metrics import roc_auc_score

LABELS = ["cat", "cow", "dog", "owl"]
draw = np.random.default_rng(0)


def areas(plot, classes):
    """The areas under the curves of a perfect classifier on images of these classes."""
    true = draw.choice(classes, 300)
    probabilities = draw.dirichlet(np.ones(4), 300) * 0.2
    probabilities[np.arange(300), true] += 0.8
    for each in classes:
        assert roc_auc_score(true == each, probabilities[:, each]) == 1
    table = plot(true, probabilities, labels=LABELS).table.get_dataframe()
    found = {}
    for name, curve in table.groupby("class"):
        x, y = (("fpr", "tpr") if "fpr" in curve else ("recall", "precision"))
        curve = curve.sort_values([x, y])
        found[name] = float(np.trapezoid(curve[y], curve[x]))
    print(plot.__name__, {name: round(area, 2) for name, area in found.items()})
    return found


for plot in (wandb.plot.roc_curve, wandb.plot.pr_curve):
    assert areas(plot, [0, 1, 2, 3]) == dict.fromkeys(LABELS, 1.0)
    without = areas(plot, [0, 2, 3])
    assert without.keys() == {"cat", "dog", "owl"}
    assert without["dog"] < 0.7 and without["owl"] < 0.6

names = {}
for classes in ([0, 1, 2], [0, 2]):
    matrix = wandb.plot.confusion_matrix(y_true=classes, preds=classes).table.get_dataframe()
    names[len(classes)] = list(matrix["Actual"].unique())
print("rows of the confusion matrix of classes 0, 1, 2 and of 0, 2:", names[3], names[2])
assert names == {3: ["Class_1", "Class_2", "Class_3"], 2: ["Class_1", "Class_2"]}
P
if grep -qiE 'warn|missing' said; then echo "a warning"; exit 1; fi
echo "as described: the owl's curve is drawn by the probabilities of a dog"
