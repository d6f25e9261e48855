#!/usr/bin/env bash
# carbontracker 2.4.7 takes the mean of the power of all devices of a kind where it should take the sum: the
# readings of all GPUs are put into one flat list, and np.mean(..., axis=0) of that list, once a mean per
# device, is one number. Time × that is the energy. So a run on eight GPUs is reported with the energy of one,
# and a machine with a busy and an idle GPU with less than the busy one draws. CPU sockets are treated alike.
# The log names all devices; "all available devices are measured", the README says. With one device all is well.
#
# Seen: one GPU that draws 300 W for 2 s, four of them, and one of 400 W beside one of 100 W: energies
# 1 : 1.0 : 0.83. NVML's readings are replaced by these constants, so that the script needs no GPU.
# Expected: 1 : 4 : 1.67.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  carbontracker==2.4.7 nvidia-ml-py==13.615.71 numpy==2.4.6 pandas==3.1.1
cat >"$work/fit.py" <<'P'
import sys
import time

import pynvml
from carbontracker import parser
from carbontracker.tracker import CarbonTracker

folder, *watts = sys.argv[1:]
pynvml.nvmlInit = pynvml.nvmlShutdown = lambda: None
pynvml.nvmlDeviceGetCount = lambda: len(watts)
pynvml.nvmlDeviceGetHandleByIndex = int
pynvml.nvmlDeviceGetName = lambda device: f"GPU {device}"
pynvml.nvmlDeviceGetPowerUsage = lambda device: int(watts[device]) * 1000  # in mW

tracker = CarbonTracker(
    epochs=1, epochs_before_pred=0, components="gpu", update_interval=0.1, log_dir=folder, verbose=0
)
tracker.epoch_start()
time.sleep(2)
tracker.epoch_end()
(log,) = parser.parse_all_logs(folder)
assert len(log["components"]["gpu"]["devices"]) == len(watts)
print(log["actual"]["energy (kWh)"], flush=True)
P
cd "$work"
energy() {
  env -u CUDA_VISIBLE_DEVICES env/bin/python fit.py "$@" >"$1.out" 2>&1 || { cat "$1.out" >&2; return 1; }
  tail -n 1 "$1.out"
}
one=$(energy one 300); four=$(energy four 300 300 300 300); mixed=$(energy mixed 400 100)
env/bin/python - "$one" "$four" "$mixed" <<'P'
import sys

one, four, mixed = map(float, sys.argv[1:])
print(f"300 W: {one:.2e} kWh; four of 300 W: {four / one:.2f} times that; 400 and 100 W: {mixed / one:.2f} times")
assert 0.9 < one / (300 * 2 / 3.6e6 * 1.58) < 1.5  # its factor for the data centre
assert 0.75 < four / one < 1.35
assert 0.6 < mixed / one < 1.15
P
echo "as described: four GPUs are reported with the energy of one"
