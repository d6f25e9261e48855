#!/usr/bin/env bash
# codecarbon 3.3.2: start_task of a tracker that runs already, by start(), sets the clock of the whole run to now. What
# was used since the last periodic measurement, up to measure_power_secs (15 s), belongs to no task and is
# not added to the run either, and the run's duration is from then on that since the last start_task. Where
# epochs are tasks and validation or loading between them takes less than 15 s, all of that is missing, epoch after
# epoch. The row in emissions.csv looks complete. The two are meant to be used together: start_task pauses the
# periodic measurement of a running tracker, and stop_task resumes it.
#
# Seen: three epochs of 2 s of validation and 0.5 s of training, memory at a constant 10 W. Without tasks the row has
# 7.5 s and about 20 mWh of memory; with a task for each training 0.5 s and a fifth of the energy.
# Expected: one duration and one energy for the run, with tasks or without.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check codecarbon==3.3.2 pandas==3.1.1
cd "$work"
HOME="$work" env/bin/python -W ignore - <<'P' 2>said || { cat said >&2; exit 1; }
import csv
import time

from codecarbon import OfflineEmissionsTracker


def run(name, tasks):
    tracker = OfflineEmissionsTracker(
        country_iso_code="FRA", project_name=name, output_file=f"{name}.csv", log_level="warning",
        force_cpu_power=100, force_ram_power=10,
    )  # fmt: skip
    tracker.start()  # looks for the hardware first
    started = time.perf_counter()
    in_tasks = 0
    for epoch in range(3):
        time.sleep(2)  # validation
        if tasks:
            tracker.start_task(f"epoch {epoch}")
        time.sleep(0.5)  # training
        if tasks:
            in_tasks += tracker.stop_task().ram_energy
    tracker.stop()
    elapsed = time.perf_counter() - started
    with open(f"{name}.csv") as file:
        (row,) = csv.DictReader(file)
    duration, memory = float(row["duration"]), float(row["ram_energy"])
    share = memory / (10 * elapsed / 3.6e6)
    print(f"{name}: {elapsed:.1f} s, in the row {duration:.1f} s; memory {memory:.1e} kWh, {share:.0%} of 10 W")
    return duration / elapsed, share, in_tasks / memory


whole, energy, _ = run("plain", False)
assert whole > 0.7 and energy > 0.7
part, left, in_tasks = run("tasks", True)
assert part < 0.3 and left < 0.5 and in_tasks > 0.9
P
if grep -iE "task|dropped|lost" said; then echo "a warning"; exit 1; fi
echo "as described: what was used before and between the tasks is not in the run"
