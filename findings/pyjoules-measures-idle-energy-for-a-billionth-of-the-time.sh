#!/usr/bin/env bash
# pyJoules 0.5.1, EnergyMeter.gen_idle(trace): "for each sample, wait for the duraction of a sample and measure the
# energy consumed during this period", to be taken off the trace with remove_idle. A sample's duration is "in seconds",
# but gen_idle divides it by a thousand million before it sleeps, as if it were in nanoseconds.
#
# Seen: a device that draws 100 W at rest and 300 W in a training of two seconds, 600 J. gen_idle returns after a few
# milliseconds with less than 5 J, where 200 J are spent at rest, and remove_idle leaves about 600 J, where 400 J belong
# to the training: half as much again. No warning.
# Expected: 200 J, as measured below with the same meter over the duration in seconds.
# It matters because a small and a large model differ less by an energy that is mostly that of the idle machine.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check pyJoules==0.5.1
cd "$work"
"$work/env/bin/python" - 2>log <<'P' || { cat log; exit 1; }
import inspect
import time

from pyJoules.device import Device, Domain
from pyJoules.energy_meter import EnergyMeter
from pyJoules.energy_trace import EnergySample

described = " ".join(inspect.getdoc(EnergyMeter.gen_idle).split())
assert "wait for the duraction of a sample and measure the energy consumed during this period" in described
assert "duration: duration of the sample in seconds" in " ".join(inspect.getdoc(EnergySample).split())
IDLE, BUSY = 100, 300


class Board(Domain):
    def __repr__(self):
        return "board"


class Supply(Device):
    """A counter of joules, as those of a processor or a graphics card are."""

    def __init__(self):
        super().__init__()
        self.watts, self.joules, self.since = IDLE, 0.0, time.time()

    @staticmethod
    def available_domains():
        return [Board()]

    def draw(self, watts):
        self.get_energy()
        self.watts = watts

    def get_energy(self):
        now = time.time()
        self.joules, self.since = self.joules + self.watts * (now - self.since), now
        return [self.joules]


supply = Supply()
supply.configure()
meter = EnergyMeter([supply])
supply.draw(BUSY)
meter.start("training")
time.sleep(2)
meter.stop()
supply.draw(IDLE)
trace = meter.get_trace()
total, seconds = trace["training"].energy["board"], trace["training"].duration
print(f"training: {seconds:.2f} s, {total:.0f} J")
assert abs(total - BUSY * seconds) < 5 and seconds > 1.9

began = time.time()
idle = meter.gen_idle(trace)
waited = time.time() - began
trace.remove_idle(idle)
left = trace["training"].energy["board"]

rest = EnergyMeter([supply])
rest.start("rest")
time.sleep(seconds)
rest.stop()
right = rest.get_trace()["rest"].energy["board"]
given = idle[0]["board"]
print(f"at rest for as long: gen_idle gives {given:.1f} J after {waited * 1000:.0f} ms, measured {right:.0f} J")
print(f"of the training alone: {left:.0f} J, right is {total - right:.0f} J")
assert abs(right - IDLE * seconds) < 0.2 * IDLE * seconds
assert waited < seconds / 10 and given < right / 10
assert left > 1.3 * (total - right)
P
echo "as described: seconds are taken for nanoseconds"
