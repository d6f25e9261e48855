#!/usr/bin/env bash
# calzone-tool 0.1.0, CalibrationMetrics(class_to_calculate=...): "The class index to calculate the metrics for". The
# slope and the intercept of Cox's regression ("COX coef", "COX intercept", with their intervals) are those of class 1
# for every index, and "COX ICI" bends the probabilities of the class asked for by the curve of class 1. Called
# directly, cox_regression_analysis(class_to_calculate=2) does compare the labels with class 2, but with the
# probabilities of class 1.
#
# Seen: 5,000 images of three classes, exact probabilities for class 1, overconfident ones for 0 and 2, where the
# slope is 0.46. For each of the three: slope 1.03, interval 0.97 to 1.10, ICI 0.009, as of a well-calibrated model;
# the ECE, Spiegelhalter's Z and the smoothed ICI of the same call do see it. Exact probabilities for all three,
# called directly: slope 1.03 for class 1, -0.37 and -0.33 for 0 and 2: the more probable a class, the less often it
# is there. No warning.
# Expected: per class a logistic regression of "is the class" on the logit of its probability.
# It matters because "Multiclass extension by 1-vs-rest" is a feature of the package and the slope is what tells
# overconfidence from bad luck: the classes to be recalibrated pass.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  calzone-tool==0.1.0 numpy==2.4.6 scipy==1.17.1 statsmodels==0.15.0 matplotlib==3.11.2
cd "$work"
MPLBACKEND=Agg "$work/env/bin/python" - <<'P'
import inspect
import warnings

import numpy as np
from calzone.metrics import CalibrationMetrics, cal_ICI_func, cox_regression_analysis, logit_func
from scipy.optimize import minimize
from scipy.special import expit, logit

described = " ".join(inspect.getdoc(CalibrationMetrics.__init__).split())
assert "class_to_calculate (int, optional): The class index to calculate the metrics for" in described
described = " ".join(inspect.getdoc(cox_regression_analysis).split())
assert "converts the problem to binary classification based on the specified class_to_calculate" in described

draw = np.random.default_rng(0)
exact = draw.dirichlet([1, 1, 1], 5000)
classes = (draw.random((5000, 1)) > exact.cumsum(axis=1)).sum(axis=1)
overconfident = exact.copy()
share = expit(3 * logit(exact[:, 2] / (1 - exact[:, 1])))
overconfident[:, 2] = (1 - exact[:, 1]) * share
overconfident[:, 0] = (1 - exact[:, 1]) * (1 - share)
assert np.allclose(overconfident.sum(axis=1), 1) and overconfident.min() > 0


def slope(probabilities, wanted):
    """The logistic regression of one class against the rest, by its likelihood."""
    here, there = logit(np.clip(probabilities[:, wanted], 1e-7, 1 - 1e-7)), classes == wanted
    return minimize(lambda both: np.mean(np.logaddexp(0, (1 - 2 * there) * (both[0] * here + both[1]))), [1, 0]).x


warnings.simplefilter("error")
for wanted in range(3):
    metrics = CalibrationMetrics(class_to_calculate=wanted)
    given = metrics.calculate_metrics(classes, overconfident, ["COX", "SpiegelhalterZ", "ECE-H", "Loess"])
    coefficient, intercept = slope(overconfident, wanted)
    ici = cal_ICI_func(logit_func(coefficient, intercept), overconfident, wanted)
    print(f"class {wanted}: COX slope {given['COX coef']:.3f}", end=" ")
    print(f"[{given['COX coef lowerci']:.2f}, {given['COX coef upperci']:.2f}]", end=", ")
    print(f"intercept {given['COX intercept']:.3f}, ICI {given['COX ICI']:.3f};", end=" ")
    print(f"right are {coefficient:.3f}, {intercept:.3f} and {ici:.3f};", end=" ")
    print(f"ECE {given['ECE-H']:.3f}, smoothed ICI {given['Loess ICI']:.3f}, Z {given['SpiegelhalterZ score']:.1f}")
    assert np.allclose((given["COX coef"], given["COX intercept"]), slope(overconfident, 1), atol=1e-3)
    assert given["COX coef lowerci"] < 1 < given["COX coef upperci"] and given["COX ICI"] < 0.01
    if wanted != 1:
        assert coefficient < 0.7 and ici > 0.03 and given["Loess ICI"] > 0.03 and given["SpiegelhalterZ p-value"] < 1e-6

for wanted in range(3):
    given = cox_regression_analysis(classes, exact, class_to_calculate=wanted)[0]
    print(f"exact probabilities, class {wanted}: slope {given:.2f}, {slope(exact, wanted)[0]:.2f} is right")
    assert 0.9 < slope(exact, wanted)[0] < 1.1 and (given > 0.9 if wanted == 1 else given < -0.3)
P
echo "as described: the slope is that of class 1 whatever class is asked for"
