#!/usr/bin/env bash
# perun 1.0.0, processEnergyData: "Calculate total energy and average power from an energy or power time series." Of an
# energy counter, as processors have, the energy between two readings is their difference. perun turns the differences
# into powers, one for each second, takes them for the powers at the readings, and integrates with the trapezoid rule:
# each second has half of its own power and half of that of the second before.
#
# Seen: readings of 0, 50 and 350 J in two seconds: 225 J and 133 W, where the counter says 350 J and 175 W. Readings
# that are late, as on a busy machine, 0, 50, 2750 and 2800 J after 0, 1, 10 and 11 s: 1800 J of 2800 J. A function of
# two seconds at 300 W after one at 50 W: 475 J of 600 J, and the next one at 50 W has 225 J of 100 J. No warning.
# Expected: the counter's last reading less its first; it is exact at each reading, so nothing has to be guessed.
# It matters because short functions are compared with it, an inference or an epoch of a small head: each is charged for
# the one before.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check perun==1.0.0 numpy==2.4.6 pandas==3.1.1 h5py==3.16.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from perun.data_model.data import RawData
from perun.data_model.measurement_type import Magnitude, MetricMetaData, Unit
from perun.processing import processEnergyData

described = " ".join(inspect.getdoc(processEnergyData).split())
assert "Calculate total energy and average power from an energy or power time series." in described
assert "Tuple with total energy in joules and avg power in watts." in described
TIME = MetricMetaData(Unit.SECOND, Magnitude.ONE, np.dtype("float32"), np.float32(0), np.float32(1e9), np.float32(-1))
LARGEST = np.uint64(262143328850)
COUNTER = MetricMetaData(Unit.JOULE, Magnitude.MICRO, np.dtype("uint64"), np.uint64(0), LARGEST, np.uint64(0))


def measured(times, joules, *region):
    """What perun makes of a counter of microjoules, such as /sys/class/powercap has."""
    readings = (1e6 * np.asarray(joules)).astype("uint64")
    energy, power = processEnergyData(RawData(np.asarray(times, dtype="float32"), readings, TIME, COUNTER), *region)
    return float(energy), float(power)


for name, times, joules in (
    ("two seconds", [0, 1, 2], [0, 50, 350]),
    ("a late reading", [0, 1, 10, 11], [0, 50, 2750, 2800]),
    ("constant 100 W", [0, 1, 2, 3], [0, 100, 200, 300]),
):
    energy, power = measured(times, joules)
    print(f"{name}: {energy:.0f} J and {power:.0f} W, the counter says", end=" ")
    print(f"{joules[-1]} J and {joules[-1] / times[-1]:.0f} W")
    powers = np.diff(joules) / np.diff(times)
    assert np.isclose(energy, np.trapezoid([powers[0], *powers], times))
    assert np.isclose(energy, joules[-1]) == (name == "constant 100 W")
    assert name == "constant 100 W" or energy < 0.7 * joules[-1]

times = np.arange(1, 16)
joules = np.cumsum([0, *[50] * 4, *[300] * 2, *[50] * 8])
for name, start, end in (("at 50 W before", 3, 5), ("at 300 W", 5, 7), ("at 50 W after", 7, 9)):
    energy, _ = measured(times, joules, start, end)
    right = joules[end - 1] - joules[start - 1]
    print(f"a function {name}, from {start} to {end} s: {energy:.0f} J, the counter says {right} J")
    assert np.isclose(energy, {3: 100, 5: 475, 7: 225}[start]) and right == {3: 100, 5: 600, 7: 100}[start]
P
echo "as described: half of a second's energy is counted for the next"
