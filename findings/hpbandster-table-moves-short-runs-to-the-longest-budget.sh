#!/usr/bin/env bash
# hpbandster 0.7.4, Result.get_pandas_dataframe: the runs of a search as two tables, their settings with a column
# "budget", and their losses. The rows of one configuration share one dictionary, into which each run writes its budget:
# all of them end with the last, which is the largest, as get_all_runs gives the runs of a configuration by ascending
# budget.
#
# Seen: the log of a successive halving of 9 configurations with budgets of 1, 3 and 9 epochs: 13 runs, of which 9 had 1
# epoch, 3 had 3 and 1 had 9. By the table 6 had 1 epoch, 4 had 3 and 3 had 9. Where the loss of every run is 1 /
# epochs, so that 9 epochs give 0.11, the mean loss of 9 epochs is 0.48 by the table, and its largest 1. loss_fn is
# ignored as well: asked for an error kept in info, the table has the loss of the run. No warning.
# Expected: the budgets that get_all_runs gives, and the loss that loss_fn gives.
# It matters because the table answers how much a longer training gains, and whether short runs rank settings as long
# ones do: here the scores of one epoch are taken for those of the full training.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  hpbandster==0.7.4 ConfigSpace==1.2.2 numpy==2.4.6 scipy==1.16.3 pandas==3.0.6 statsmodels==0.15.0
cd "$work"
"$work/env/bin/python" - <<'P'
import inspect
import json
import warnings
from collections import Counter
from pathlib import Path

from hpbandster.core.result import Result, logged_results_to_HBS_result

described = " ".join(inspect.getdoc(Result.get_runs_by_id).split())
assert "The runs are sorted by ascending budget" in described
assert list(inspect.signature(Result.get_pandas_dataframe).parameters) == ["self", "budgets", "loss_fn"]

# as json_result_logger writes it: successive halving of 9 configurations, of which 3 go on to 3 epochs and 1 to 9
configs, results = [], []
for number in range(9):
    configs.append([[0, 0, number], {"rate": number / 10}, {}])
    for epochs in (1.0, 3.0, 9.0)[: 3 if number == 0 else 2 if number < 3 else 1]:
        times = dict.fromkeys(("submitted", "started", "finished"), number + epochs)
        results.append([[0, 0, number], epochs, times, {"loss": 1 / epochs, "info": {"error": 5.0}}, None])
for name, lines in (("configs", configs), ("results", results)):
    Path(f"{name}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
result = logged_results_to_HBS_result(".")

runs = result.get_all_runs()
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    settings, losses = result.get_pandas_dataframe()
    _, others = result.get_pandas_dataframe(loss_fn=lambda run: run.info["error"])
true = Counter(float(run.budget) for run in runs)
table = Counter(settings["budget"].astype(float))
print(f"{len(runs)} runs by budget: {dict(sorted(true.items()))}; by the table: {dict(sorted(table.items()))}")
largest = {run.config_id: run.budget for run in runs}
assert settings["budget"].tolist() == [largest[run.config_id] for run in runs] and true != table
assert losses["loss"].tolist() == [run.loss for run in runs] and not warned
full = losses["loss"][settings["budget"] == 9]
print(f"loss of 9 epochs: {1 / 9:.2f}; by the table: mean {full.mean():.2f}, largest {full.max():.2f}")
assert full.max() == 1 and full.mean() > 0.4
print(f"losses with loss_fn: {sorted(set(others['loss'].round(2)))}, where it gives 5 for each run")
assert others["loss"].tolist() == losses["loss"].tolist()
P
echo "as described: all runs of a configuration have its largest budget in the table"
