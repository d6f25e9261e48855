#!/usr/bin/env bash
# scikit-plot 0.3.7, plot_calibration_curve: "Plots calibration curves for a set of classifier probability estimates",
# from "the outputs of binary classifiers' predict_proba method or decision_function method". Each is first stretched
# to 0 to 1 by its own minimum and maximum, probabilities too, which the documentation does not say. The curve is that
# of other probabilities, under the axis label "Mean predicted value" and beside the line "Perfectly calibrated".
#
# Seen: 20,000 labels drawn with the probabilities that are plotted, so perfectly calibrated, between 0.3 and 0.7: the
# curve goes from (0.05, 0.32) to (0.95, 0.68), up to 0.28 from the diagonal; scikit-learn's calibration_curve of the
# same is within 0.01 of it. Between 0 and 0.2, a rare class: up to 0.77 away. A model that is much too bold, with 0 to
# 1 for these labels, has the very same curve. No warning.
# Expected: probabilities as they are, and the stretch for decision_function only.
# It matters because it is calibration that is to be judged: a well calibrated cautious model looks worse than a bold
# one. Use scikit-learn's CalibrationDisplay.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  scikit-plot==0.3.7 six==1.17.0 scikit-learn==1.3.2 scipy==1.10.1 numpy==1.26.4 matplotlib==3.7.5
cd "$work"
MPLBACKEND=agg MPLCONFIGDIR="$work" "$work/env/bin/python" -W ignore - <<'P'
import inspect
import warnings

import numpy as np
from scikitplot.metrics import plot_calibration_curve
from sklearn.calibration import calibration_curve

described = " ".join(inspect.getdoc(plot_calibration_curve).split())
assert "Plots calibration curves for a set of classifier probability estimates" in described
assert "outputs of binary classifiers' :func:`predict_proba` method or :func:`decision_function` method" in described
assert not any(word in described for word in ("stretch", "rescale", "normaliz", "minimum"))
draw = np.random.default_rng(0)


def plotted(labels, probabilities):
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        axes = plot_calibration_curve(labels, [np.column_stack([1 - probabilities, probabilities])])
    assert not [each for each in warned if each.category is UserWarning]
    assert axes.get_xlabel() == "Mean predicted value" and axes.lines[0].get_label() == "Perfectly calibrated"
    return axes.lines[1].get_xdata(), axes.lines[1].get_ydata()


def off(curve):
    return np.abs(np.subtract(*curve)).max()


for low, high in ((0.3, 0.7), (0, 0.2)):
    probabilities = draw.uniform(low, high, 20000)
    labels = draw.random(20000) < probabilities
    found = plotted(labels, probabilities)
    truth = calibration_curve(labels, probabilities, n_bins=10)[::-1]
    ends = [tuple(np.round([found[0][end], found[1][end]], 2)) for end in (0, -1)]
    print(f"{low} to {high}: from {ends[0]} to {ends[1]}, off {off(found):.2f}; scikit-learn off {off(truth):.2f}")
    assert off(truth) < 0.04 and off(found) > 0.2
    bold = (probabilities - low) / (high - low)
    assert off(calibration_curve(labels, bold, n_bins=10)[::-1]) > 0.2
    assert np.allclose(plotted(labels, bold), found, atol=0.01)
P
echo "as described: the curve is not that of the probabilities"
