#!/usr/bin/env bash
# menelaus 0.2.0, CUSUM, which "tests for changes in the mean of a time series". After an alarm the mean and the spread
# are taken from the last `burn_in` values and the count starts from 0. The list of all values is kept, and the value to
# be compared is looked up in it by the new count: from then on the first values of the stream are compared with the
# mean after the drift, and those that come in are not looked at.
#
# Seen: 300 values around 0, then 2,700 around 3; target 0 and spread 1 are given. The change is found at value 308.
# From 635 on there is an alarm every 31 values, 78 in all, though nothing changes any more. If the mean goes to 8 at
# value 1,000, the 78 alarms come at the same places.
# Expected: the same sums over the values that come in: alarms at 308 and 339 only, and at 1,002 and 1,033 for the
# second.
# It matters because each alarm stands for an accuracy that has changed, and after the first none of them does.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  menelaus==0.2.0 numpy==2.1.3 scipy==1.14.1 pandas==3.1.1 scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from menelaus.change_detection import CUSUM

described = " ".join(inspect.getdoc(CUSUM).split())
assert "This detector tests for changes in the mean of a time series" in described
meant = " ".join(inspect.getdoc(CUSUM.__init__).split())
assert "how many prior samples are used to calculate new estimates for mean and SD after drift occurs" in meant

OPTIONS = {"burn_in": 30, "delta": 0.5, "threshold": 20}


def given(values):
    detector, found = CUSUM(target=0.0, sd_hat=1.0, **OPTIONS), []
    for index, value in enumerate(values):
        detector.update(np.array([[value]]))
        if detector.drift_state == "drift":
            found.append(index)
    return found


def by_hand(values):
    """The same sums, of the values that come in; after an alarm the mean and spread of the last 30."""
    target, spread, above, below, since, found = 0.0, 1.0, 0.0, 0.0, 0, []
    for index, value in enumerate(values):
        since += 1
        step = (value - target) / spread
        above, below = max(0, above + step - 0.5), max(0, below - step - 0.5)
        if since > 30 and max(above, below) > 20:
            found.append(index)
            last = values[index - 29 : index + 1]
            target, spread, above, below, since = last.mean(), last.std(), 0.0, 0.0, 0
    return found


draw = np.random.default_rng(0)
noise = draw.normal(size=3000)
once = noise + 3 * (np.arange(3000) >= 300)
twice = once + 5 * (np.arange(3000) >= 1000)
seen = {}
for name, values in (("one change, at 300", once), ("a second one at 1,000", twice)):
    seen[name] = found, right = given(values), by_hand(values)
    print(f"{name}: {len(found)} alarms at {found[:6]}; by hand {len(right)} at {right[:6]}")
assert seen["one change, at 300"][0][0] == seen["one change, at 300"][1][0]
found, right = seen["one change, at 300"]
assert len(found) > 50 and len(right) < 5 and set(np.diff(found[1:])) == {31}
assert seen["a second one at 1,000"][0] == found
assert [index for index in seen["a second one at 1,000"][1] if index >= 340][0] < 1010
P
echo "as described: after the first alarm the alarms come from the start of the stream"
