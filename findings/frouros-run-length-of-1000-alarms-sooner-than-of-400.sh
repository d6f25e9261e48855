#!/usr/bin/env bash
# frouros 0.9.0, ECDDWT: average_run_length is the "expected time between false positive detections [100, 400 or 1000]",
# for which the control limit is taken from a formula of the error rate each. The one for 1,000 gives limits that are
# not above those for 400, but below, and at low error rates below those for 100.
#
# Seen: errors at a steady rate, mean time to the first alarm of 200 streams. At a rate of 0.05: 89 images for 100, 302
# for 400 and 64 for 1,000. At 0.1: 80, 351 and 87. At 0.2: 53, 347 and 217. At 0.1 the limit for 1,000 is 1.9; for
# about 1,000 images it takes one of 4.0. No warning.
# Expected: the fewest false alarms of the three for 1,000, one in about 1,000 images.
# It matters because whoever asks for fewer false alarms gets several times as many.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check frouros==0.9.0 numpy==2.1.3 scipy==1.14.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from frouros.detectors.concept_drift import ECDDWT, ECDDWTConfig

described = " ".join(inspect.getdoc(ECDDWTConfig).split())
assert "average_run_length: expected time between false positive detections [100, 400 or 1000]" in described
draw = np.random.default_rng(0)
LENGTH = 6000


def given(rate, run_length):
    """How many images the detector takes to its first alarm, the mean of 200 streams."""
    times = []
    for _ in range(200):
        detector = ECDDWT(config=ECDDWTConfig(average_run_length=run_length))
        for image, error in enumerate((draw.random(LENGTH) < rate).tolist()):
            detector.update(value=int(error))
            if detector.drift:
                break
        times.append(image + 1)
    return np.mean(times)


def by_hand(rate, limit):
    """The same chart with a limit given outright: 0.2 of the newest error, the running mean, 30 images at first."""
    errors = draw.random((LENGTH, 400)) < rate
    mean, newest, first = np.zeros(400), np.zeros(400), np.full(400, LENGTH)
    for image, error in enumerate(errors, 1):
        mean += (error - mean) / image
        newest = 0.2 * error + 0.8 * newest
        spread = np.sqrt(0.2 / 1.8 * (1 - 0.8 ** (2 * image)) * mean * (1 - mean))
        alarm = (newest > mean + limit * spread) & (first == LENGTH) & (image >= 30)
        first[alarm] = image
    return first.mean()


seen = {}
for rate in (0.05, 0.1, 0.2):
    seen[rate] = [given(rate, run_length) for run_length in (100, 400, 1000)]
    limits = [ECDDWTConfig(average_run_length=run_length).control_limit_func(p=rate) for run_length in (100, 400, 1000)]
    again = [by_hand(rate, limit) for limit in limits]
    print(f"error rate {rate}: first alarm after", " ".join(f"{time:.0f}" for time in seen[rate]), end=" ")
    print("images for 100, 400 and 1000, limits", " ".join(f"{limit:.2f}" for limit in limits), end="; ")
    print("by hand with these limits", " ".join(f"{time:.0f}" for time in again))
    assert np.allclose(again, seen[rate], rtol=0.35) and limits[2] < limits[1] and seen[rate][2] < seen[rate][1]
assert seen[0.05][2] < seen[0.05][0] and max(seen[rate][2] for rate in seen) < 300
assert all(seen[rate][2] < 0.8 * seen[rate][1] for rate in seen)
for limit in (3.4, 4.0):
    print(f"error rate 0.1, limit {limit}: first alarm after {by_hand(0.1, limit):.0f} images by hand")
P
echo "as described: a longer run length brings more false alarms, not fewer"
