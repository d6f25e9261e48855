#!/usr/bin/env bash
# dython 0.7.12, metric_graph(y_true, y_pred, "roc"): the "estimated optimal threshold" is, by its docstring, "the
# closest computed threshold with (fpr,tpr) values closest to (0,1)", and by Youden's J "Maximizing TPR - FPR". Points
# with equal coordinates, such as (0,0), are taken out before the best is looked for, and its index is then used for the
# list that still has them: the threshold returned and drawn is that of the point before.
#
# Seen: 2,000 images that are told apart without an error, AUC 1.000: the optimal threshold is 0.9996, the score of
# the surest image, and it finds 1 of 1,000. 40 images with an AUC of 0.98: J 0.80 where 0.90 is possible. 200 random
# sets of 30 images: never the best threshold, on average J is 0.37 too low. No warning.
# Expected: sklearn's roc_curve with argmax(tpr - fpr).
# It matters because the number is returned to be used: the better the model, the fewer positives it finds with it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  dython==0.7.12 scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1 matplotlib==3.11.2
cd "$work"
MPLBACKEND=Agg "$work/env/bin/python" -W ignore - <<'P'
import inspect

import matplotlib.pyplot as plt
import numpy as np
from dython.model_utils import metric_graph
from sklearn.metrics import roc_auc_score, roc_curve

described = " ".join(inspect.getdoc(metric_graph).split())
assert "threshold is the closest computed threshold with (fpr,tpr) values closest to (0,1)" in described
assert "Youden's J: Maximizing $TPR - FPR$" in described


def youden(classes, scores, threshold):
    return (scores[classes == 1] >= threshold).mean() - (scores[classes == 0] >= threshold).mean()


def distance(classes, scores, threshold):
    found, false = (scores[classes == 1] >= threshold).mean(), (scores[classes == 0] >= threshold).mean()
    return np.hypot(false, 1 - found)


def compare(images, separation, seed):
    draw = np.random.default_rng(seed)
    classes = draw.permutation(np.arange(images) % 2)
    scores = 1 / (1 + np.exp(-separation * (classes - 0.5) - draw.normal(size=images)))
    given = metric_graph(classes, scores, "roc", plot=False)["metrics"]
    plt.close("all")
    thresholds = roc_curve(classes, scores)[2]
    best = max(thresholds, key=lambda threshold: youden(classes, scores, threshold))
    nearest = min(thresholds, key=lambda threshold: distance(classes, scores, threshold))
    return classes, scores, given, best, nearest


for images, separation in ((2000, 10), (40, 3)):
    classes, scores, given, best, nearest = compare(images, separation, 0)
    marked = given["youden_j"]["val"]
    reached = youden(classes, scores, marked)
    print(f"{images} images, AUC {roc_auc_score(classes, scores):.3f}: optimal threshold {marked:.4f}", end=", ")
    print(f"which finds {np.sum(scores[classes == 1] >= marked)} of {classes.sum()}: J {reached:.3f};", end=" ")
    print(f"the best is {best:.4f}: J {youden(classes, scores, best):.3f}")
    assert np.isclose(given["auc"]["val"], roc_auc_score(classes, scores))
    assert youden(classes, scores, best) - reached > 0.05
    for name, right in (("youden_j", best), ("geo", nearest)):
        place = np.flatnonzero(np.isclose(roc_curve(classes, scores)[2], given[name]["val"]))[0]
        assert np.isclose(roc_curve(classes, scores)[2][place + 1], right)
    if images == 2000:
        assert roc_auc_score(classes, scores) == 1 and np.sum(scores[classes == 1] >= marked) == 1

lost, farther = [], []
for seed in range(200):
    classes, scores, given, best, nearest = compare(30, 2, seed)
    lost.append(youden(classes, scores, best) - youden(classes, scores, given["youden_j"]["val"]))
    farther.append(distance(classes, scores, given["geo"]["val"]) - distance(classes, scores, nearest))
print(f"200 sets of 30 images: the best J in {np.mean(np.isclose(lost, 0)):.0%}, {np.mean(lost):.3f} lost on average;")
print(f"the point nearest to (0,1) in {np.mean(np.isclose(farther, 0)):.0%}, {np.mean(farther):.3f} farther on average")
assert np.mean(np.isclose(lost, 0)) < 0.05 and np.mean(lost) > 0.2
assert np.mean(np.isclose(farther, 0)) < 0.05
P
echo "as described: the threshold called optimal is that of the point before"
