#!/usr/bin/env bash
# DVCLive 3.49.1, Live(resume=True): "DVCLive will try to read the previous step from the metrics_file and start from
# that point". After two epochs or more it goes on at the next step. After one it starts at 0 again: a stored
# step of 0 is taken for none. The curve then has two values at step 0, each later epoch stands one step too
# early, and the last step of metrics.json is one less than that of a run that was not interrupted, so that
# interrupted and uninterrupted runs are compared at different epochs. There is no warning.
#
# Seen: runs of four epochs with accuracies 0.1 to 0.4, interrupted after one, two and three of them. After two and
# three: steps 0 1 2 3. After one: steps 0 0 1 2, and step 2 in metrics.json.
# Expected: 0 1 2 3 in each.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check dvclive==3.49.1
cd "$work"
env/bin/python -W ignore - <<'P' 2>&1 | tee said
import csv
import json
from pathlib import Path

from dvclive import Live


def epochs(folder, numbers, resume):
    with Live(folder, resume=resume, save_dvc_exp=False, dvcyaml=None) as live:
        for number in numbers:
            live.log_metric("accuracy", (number + 1) / 10)
            live.next_step()


for done in (1, 2, 3):
    folder = Path(f"after{done}")
    epochs(str(folder), range(done), resume=False)
    assert json.loads((folder / "metrics.json").read_text())["step"] == done - 1
    epochs(str(folder), range(done, 4), resume=True)
    with (folder / "plots/metrics/accuracy.tsv").open() as file:
        rows = [(int(row["step"]), float(row["accuracy"])) for row in csv.DictReader(file, delimiter="\t")]
    last = json.loads((folder / "metrics.json").read_text())["step"]
    print(f"interrupted after {done}: (step, accuracy) {rows}, last step {last}")
    assert [accuracy for _, accuracy in rows] == [0.1, 0.2, 0.3, 0.4]
    assert [step for step, _ in rows] == ([0, 0, 1, 2] if done == 1 else [0, 1, 2, 3])
    assert last == rows[-1][0]
P
if grep -qi warn said; then echo "a warning"; exit 1; fi
echo "as described: the second epoch is logged as the first"
