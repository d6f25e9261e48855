#!/usr/bin/env bash
# menelaus 0.2.0, PageHinkley, "designed to detect changes in a sequential Gaussian signal": threshold is the "Threshold
# for sounding alarm. Corresponds with PH lambda", which the distance of the sum from its smallest value has to exceed.
# The code multiplies it by the running mean of the values, which is told nowhere, so that the same signal has another
# threshold for each number that is added to it.
#
# Seen: noise of spread 1 that goes up by 2 after 500 values, the same numbers each time, around another mean, threshold
# 20. Around 0 there are 10 alarms before anything has changed, around -10 there are 16. Around 1 the change is found
# after 13 values, around 10 after 169, around 100 never. No warning.
# Expected: the same for each mean; with the threshold as documented that is one alarm, after 12 values.
# It matters because an error rate of 0.02 and an accuracy in percent are given to it alike: the one alarms at nothing,
# the other never.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  menelaus==0.2.0 numpy==2.1.3 scipy==1.14.1 pandas==3.1.1 scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from menelaus.change_detection import PageHinkley

described = " ".join(inspect.getdoc(PageHinkley).split())
assert "designed to detect changes in a sequential Gaussian signal" in described
meant = " ".join(inspect.getdoc(PageHinkley.__init__).split())
assert "Threshold for sounding alarm. Corresponds with PH lambda." in meant


def given(values):
    detector, found = PageHinkley(delta=0.5, threshold=20, burn_in=30), []
    for index, value in enumerate(values):
        detector.update(np.array([[value]]))
        if detector.drift_state == "drift":
            found.append(index)
    return found


def by_hand(values):
    """Page's sum against its smallest value, with the threshold as it is; a new start after each alarm."""
    mean, total, least, since, found = 0.0, 0.0, 0.0, 0, []
    for index, value in enumerate(values):
        since += 1
        mean += (value - mean) / since
        total += value - mean - 0.5
        least = min(least, total)
        if since > 30 and total - least > 20:
            found.append(index)
            mean, total, least, since = 0.0, 0.0, 0.0, 0
    return found


draw = np.random.default_rng(0)
signal = draw.normal(size=1000) + 2 * (np.arange(1000) >= 500)
right = by_hand(signal)
print("by hand, around any mean:", right)
assert len(right) == 1 and 500 < right[0] < 530
seen = {}
for mean in (-10, 0, 1, 10, 100):
    assert by_hand(signal + mean) == right
    seen[mean] = found = given(signal + mean)
    late = [index - 500 for index in found if index >= 500]
    print(f"around {mean}: {sum(index < 500 for index in found)} alarms before the change,", end=" ")
    print(f"the first after it {late[0] if late else 'never'} values late")
assert min(len([index for index in seen[mean] if index < 500]) for mean in (-10, 0)) >= 10
assert seen[100] == []
P
echo "as described: the threshold grows with the mean of the values"
