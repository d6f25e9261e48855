#!/usr/bin/env bash
# carbontracker 2.4.7, parser.aggregate_consumption and print_aggregate, "aggregating all log files in a directory
# to a single estimate", in a sentence made for papers. Where a run's logs hold a prediction and a measurement of
# as many epochs, it means to take the measurement. But the parser gives every measurement 1 epoch: it looks for
# "for N epochs", where the tracker writes "for N epoch(s)", and does not keep N. So for every complete run of
# more than one epoch, and with the defaults, it takes the prediction that was made after the first epoch, which
# is the longest one: caches are cold, kernels are compiled, and head-only epochs or early ends are not foreseen.
#
# Seen: five epochs of a device of constant 400 W, the first of 3 s, four of 0.5 s. The log has a measured energy
# for 5 epochs, and after the first epoch a prediction three times as high. parse_all_logs says 'epochs': 1 of the
# measurement; print_aggregate reports the prediction.
# Expected: the measured energy, that of 5 epochs.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  carbontracker==2.4.7 nvidia-ml-py==13.615.71 numpy==2.4.6 pandas==3.1.1
cd "$work"
env/bin/python -W ignore - <<'P'
import re
import time
from pathlib import Path

from carbontracker import parser
from carbontracker.tracker import CarbonTracker

tracker = CarbonTracker(
    epochs=5, components="gpu", update_interval=0.1, log_dir="logs", verbose=0,
    sim_gpu="GPU", sim_gpu_watts=400, sim_gpu_util=1.0,
)  # fmt: skip
for seconds in (3, 0.5, 0.5, 0.5, 0.5):
    tracker.epoch_start()
    time.sleep(seconds)
    tracker.epoch_end()

(written,) = Path("logs").glob("*_output.log")
assert re.search(r"Actual consumption for 5 epoch\(s\)", written.read_text())
(run,) = parser.parse_all_logs("logs")
measured, predicted = run["actual"], run["pred"]
total, _, _ = parser.aggregate_consumption("logs")
print("measured:", {key: measured[key] for key in ("epochs", "energy (kWh)")})
print("predicted:", {key: predicted[key] for key in ("epochs", "energy (kWh)")})
parser.print_aggregate("logs")
assert not run["early_stop"]
assert (measured["epochs"], predicted["epochs"]) == (1, 5)
assert predicted["energy (kWh)"] > 2.5 * measured["energy (kWh)"]
assert total == predicted["energy (kWh)"]
P
echo "as described: of a run that was measured to its end the prediction is reported"
