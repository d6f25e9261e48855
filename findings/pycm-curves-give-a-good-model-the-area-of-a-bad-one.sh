#!/usr/bin/env bash
# PyCM 4.6: ROCCurve.area and PRCurve.area integrate between the points that the thresholds give, and leave out
# the ends of the curve. ROCCurve adds the point (0, 0), not (1, 1): with thresholds of one's own, what is left
# of the false-positive rate at the lowest of them counts as zero. PRCurve adds neither end: what recall the
# highest threshold has is cut off. The surer and better a model is, the fewer and further apart its points are,
# and the more is cut off. The README, of both: "a larger area under the curve represents better performance".
#
# Seen: 200 images of two classes. A model that is always right and says 0.999: ROC area 0.0 with the thresholds
# 0.1, 0.2 .. 0.9, and 1.0 with those of its own scores; PR area 0.0 with either. A good model (ROC area 0.91):
# 0.09 and 0.13 for its two classes with those thresholds, and PR areas 0.81 and 0.48. A mediocre one (0.76): 0.73
# and 0.70, and PR areas 0.71 and 0.75. For the first two there is no message.
# Expected: ROC areas 1.0, 0.91 and 0.76, as by scikit-learn, whose average precisions are 1.0, 0.90 and 0.73.
# The two ROC areas of a problem of two classes, equal by definition, differ as well.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  pycm==4.6 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
cd "$work"
"$work/env/bin/python" - <<'P'
import warnings
from importlib.metadata import metadata

import numpy as np
from pycm import PRCurve, ROCCurve
from sklearn.metrics import average_precision_score, roc_auc_score

readme = " ".join(metadata("pycm").get_payload().split())
assert readme.count("a larger area under the curve represents better performance") >= 2

draw = np.random.default_rng(0)
labels = draw.integers(0, 2, 200)
noise = draw.normal(size=200)
MODELS = {
    "sure and right": np.where(labels == 1, 0.999, 0.001),
    "good": 1 / (1 + np.exp(-16 * (2 * labels - 1 + noise))).astype(np.float32).astype(float),
    "mediocre": 1 / (1 + np.exp(0.5 - labels - noise)),
}


def areas(curve, scores, thresholds=None):
    """The area for each of the two classes, and the messages."""
    data = {"actual_vector": labels.tolist(), "probs": np.stack([1 - scores, scores], 1).tolist()}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        both = curve(**data, classes=[0, 1], thresholds=thresholds).area()
    return [both[0], both[1]], [str(one.message) for one in caught]


tenths = [tenth / 10 for tenth in range(1, 10)]
seen = {}
for name, scores in MODELS.items():
    true = roc_auc_score(labels, scores)
    precision = [average_precision_score(labels == kind, abs(1 - kind - scores)) for kind in (0, 1)]
    (own, _), (chosen, told), (recall, told_too) = (
        areas(ROCCurve, scores),
        areas(ROCCurve, scores, tenths),
        areas(PRCurve, scores),
    )
    print(f"{name}: ROC {np.round(own, 3)} (scikit-learn {true:.3f}), by tenths {np.round(chosen, 3)};", end=" ")
    print(f"PR {np.round(recall, 3)} (average precision {np.round(precision, 3)}); told {told + told_too}")
    assert np.allclose(own, true) and min(precision) > 0.7
    seen[name] = chosen, recall
    assert name == "mediocre" or not told + told_too
assert seen["sure and right"] == ([0, 0], [0, 0])
assert max(seen["good"][0]) < 0.2 and seen["good"][0][0] != seen["good"][0][1]
assert min(seen["mediocre"][0]) > 0.6 and seen["mediocre"][1][1] > seen["good"][1][1] + 0.2
P
echo "as described: the ends of the curves are cut off, and the better model has the smaller area"
