#!/usr/bin/env bash
# frouros 0.9.0, PageHinkley: "Page Hinkley [page1954continuous] detector". The test sums what each value is above the
# running mean and the tolerance delta, and alarms where the sum has risen by more than lambda_ above the least value
# that it has had. Here the sum itself is compared with lambda_. As long as nothing changes it falls by delta with each
# value, and all that it has fallen has to be made up first.
#
# Seen: errors at a rate of 0.05 that goes to 0.4, delta 0.1, lambda_ 20, medians of ten streams. After 1,000 images at
# the low rate the change is found 694 images late, after 5,000 it is 1,898, after 20,000 it is 3,374. By the test: 89,
# 66 and 58. CUSUM of the same package, with the same settings: 96, 72 and 86. No warning.
# Expected: the test, whose delay does not grow with the time before the change.
# It matters because a model in use is good for a long time: the longer, the later it is seen to have failed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check frouros==0.9.0 numpy==2.1.3 scipy==1.14.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from frouros.detectors.concept_drift import CUSUM, CUSUMConfig, PageHinkley, PageHinkleyConfig

described = inspect.getdoc(PageHinkley)
assert "Page Hinkley [page1954continuous]_ detector" in described and '"Continuous inspection schemes."' in described


def given(values, kind, config):
    detector = kind(config=config(delta=0.1, lambda_=20.0, min_num_instances=30))
    for index, value in enumerate(values):
        detector.update(value=float(value))
        if detector.drift:
            return index
    return None


def by_hand(values, forget=0.9999):
    """The sum, forgetting as the detector does, against the least value that it has had."""
    mean = total = least = 0.0
    for index, value in enumerate(values):
        mean += (value - mean) / (index + 1)
        total = forget * total + value - mean - 0.1
        least = min(least, total)
        if index >= 29 and total - least > 20:
            return index
    return None


draw = np.random.default_rng(0)
late = {}
for good in (1000, 5000, 20000):
    delays = []
    for _ in range(10):
        errors = np.concatenate([draw.random(good) < 0.05, draw.random(8000) < 0.4])
        found = given(errors, PageHinkley, PageHinkleyConfig), given(errors, CUSUM, CUSUMConfig), by_hand(errors)
        assert None not in found and min(found) >= good
        delays.append([index - good for index in found])
    late[good] = np.median(delays, axis=0)
    print(
        f"{good} images before the change, median of ten streams: found {late[good][0]:.0f} images after it,", end=" "
    )
    print(f"by CUSUM {late[good][1]:.0f}, by the test {late[good][2]:.0f}")
assert late[1000][0] < late[5000][0] < late[20000][0] and late[20000][0] > 2000
assert max(late[good][place] for good in late for place in (1, 2)) < 200
P
echo "as described: the delay grows with the time before the change"
