#!/usr/bin/env bash
# menelaus 0.2.0, DDM: drift "if p_i + s_i >= p_min + self.drift_scale * s_min", p the error rate and s its standard
# deviation, both at image i and where their sum was smallest. The code compares with drift_scale times s_i, and its s
# is no standard deviation of the rate: at each image the root is taken and goes into the next sum as if it were a
# square. One error makes s several times as large as one right answer.
#
# Seen: a model that never changes, errors drawn at random, n_threshold=1000, 4,000 images, 30 streams each. 5 %, 10 %
# and 20 % errors: drift in 30, 30 and 20 of 30. By the documented rule: in 2, 1 and 2. After 1,000 images with 10 %
# errors s is 0.004 after a right answer and 0.029 after an error; sqrt(p (1 - p) / i) is 0.0095. No warning.
# Expected: alarms as by the documented rule, with the standard deviation of a binomial rate.
# It matters because an alarm asks for training anew, and here it comes before there is anything to detect.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  menelaus==0.2.0 numpy==2.1.3 scipy==1.14.1 pandas==3.1.1 scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from menelaus.concept_drift import DDM

described = " ".join(inspect.getdoc(DDM).replace("`", "").split())
assert 'If p_i + s_i >= p_min + self.drift_scale * s_min, the detector\'s state is set to "drift"' in described
assert "uses a binary classifier's error rate, which is binomially distributed" in described


def given(errors):
    detector = DDM(n_threshold=1000, warning_scale=2, drift_scale=3)
    for image, error in enumerate(errors):
        detector.update(1, 1 - int(error))
        if detector.drift_state == "drift":
            return image
    return None


def by_rule(errors):
    images = np.arange(1, len(errors) + 1)
    rate = np.cumsum(errors) / images
    spread = np.sqrt(rate * (1 - rate) / images)
    best, least = np.inf, (np.inf, np.inf)
    for image in range(999, len(errors)):
        if rate[image] + spread[image] <= best:
            best, least = rate[image] + spread[image], (rate[image], spread[image])
        if rate[image] + spread[image] > least[0] + 3 * least[1]:
            return image
    return None


draw = np.random.default_rng(0)
for share in (0.05, 0.1, 0.2):
    streams = draw.random((30, 4000)) < share
    found = [image for image in map(given, streams) if image is not None]
    right = [image for image in map(by_rule, streams) if image is not None]
    print(f"{share:.0%} errors, nothing changes: drift in {len(found)} of 30 streams, half of these by image", end=" ")
    print(f"{np.median(found):.0f}; by the documented rule in {len(right)}")
    assert len(found) > 15 and len(right) < 7

spreads = {}
errors = np.arange(1000) % 10 == 9
for last in (0, 1):
    detector = DDM(drift_scale=1000, warning_scale=1000)
    for error in [*errors[:-1], last]:
        detector.update(1, 1 - int(error))
    spreads[last] = detector._error_std
print(
    f"1,000 images, 10 % errors: s is {spreads[0]:.4f} after a right answer, {spreads[1]:.4f} after an error;", end=" "
)
print(f"sqrt(p (1 - p) / i) is {np.sqrt(0.1 * 0.9 / 1000):.4f}")
assert spreads[1] > 3 * spreads[0] and spreads[0] < 0.8 * np.sqrt(0.09 / 1000)
P
echo "as described: a model that never changes is called drifting"
