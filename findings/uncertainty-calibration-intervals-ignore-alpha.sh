#!/usr/bin/env bash
# uncertainty-calibration 0.1.4, get_calibration_error_uncertainties: "[lower, mid, upper]: 1-alpha confidence intervals
# produced by bootstrap resampling", alpha=0.1 by default. The bootstrap behind it takes alpha in percent (10.0 by
# default, "1 - alpha percent") and gets the fraction, so the limits are the percentiles 0.05 and 99.95 of 100
# resamples: their lowest and highest, whatever alpha is asked for. The same holds for
# get_top_calibration_error_uncertainties.
#
# Seen: top-label ECE of 1,000 images: the 95 %, 90 %, 50 % and 10 % intervals are each -0.012 to 0.042. With alpha=10,
# as percent, the interval is -0.001 to 0.030, which the percentiles 5 and 95 of the same resamples give too. No
# warning.
# Expected: a 50 % interval less than half as wide as a 90 % one.
# It matters for comparisons: the default says 90 % and is 1.7 times too wide, so models that differ appear equally well
# calibrated. Pass alpha=10 for 90 %.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  uncertainty-calibration==0.1.4 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 parameterized==0.9.0
cd "$work"
"$work/env/bin/python" -W error - <<'P'
import inspect

import calibration
import numpy as np
from calibration import get_calibration_error, get_calibration_error_uncertainties

described = " ".join(inspect.getdoc(get_calibration_error_uncertainties).split())
assert "[lower, mid, upper]: 1-alpha confidence intervals produced by bootstrap resampling." in described
assert inspect.signature(get_calibration_error_uncertainties).parameters["alpha"].default == 0.1
draw = np.random.default_rng(0)
odds = np.exp(2 * draw.normal(size=(1000, 5)))
probabilities = odds / odds.sum(axis=1, keepdims=True)
labels = (probabilities.cumsum(axis=1) > draw.random((1000, 1))).argmax(axis=1)


def interval(alpha):
    np.random.seed(0)
    low, _, high = get_calibration_error_uncertainties(probabilities, labels, p=1, alpha=alpha, mode="top-label")
    print(f"alpha={alpha}: {low:.4f} to {high:.4f}, width {high - low:.4f}")
    return low, high


def ece(rows):
    return get_calibration_error(probabilities[rows], labels[rows], p=1, debias=False, mode="top-label")


np.random.seed(0)
resampled = [ece(np.random.choice(1000, size=1000)) for _ in range(100)]
own = 2 * ece(np.arange(1000)) - np.percentile(resampled, [95, 5])
print(f"percentiles 5 and 95 of the same resamples: {own[0]:.4f} to {own[1]:.4f}")
width = {alpha: np.diff(interval(alpha))[0] for alpha in (0.05, 0.1, 0.5, 0.9)}
assert width[0.9] > 0.95 * width[0.05] and width[0.5] > 0.95 * (max(resampled) - min(resampled))
assert width[0.1] > 1.5 * (own[1] - own[0])
assert np.allclose(interval(10), own)
P
echo "as described: the 90 % interval and the 10 % interval are one and the same"
