#!/usr/bin/env bash
# hpbandster 0.7.4, Result.get_incumbent_id: "Find the config_id of the incumbent. The incumbent here is the
# configuration with the smallest loss among all runs on the maximum budget!" It takes Python's min of the losses, and
# no number is smaller than NaN: where the first of these runs diverged, it stays the smallest. Elsewhere the package
# does handle this: successive halving counts a loss that is not finite as a crash, and
# get_incumbent_trajectory of the same result passes over it.
#
# Seen: the logs of twelve searches of 12 runs each on the full budget, whose loss is NaN for learning rates above 0.6,
# as after an overflow. Where the first run diverged, it is the incumbent; the trajectory ends at the run with the
# smallest finite loss. Where the first run is fine and later ones diverged, the incumbent is right. No warning.
# Expected: the configuration with the smallest loss, as in the trajectory.
# It matters because the incumbent is what one then trains for long and reports: it is the one setting known to fail.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  hpbandster==0.7.4 ConfigSpace==1.2.2 numpy==2.4.6 scipy==1.16.3 pandas==3.0.6 statsmodels==0.15.0
cd "$work"
"$work/env/bin/python" - <<'P'
import inspect
import json
import math
import random
import warnings
from pathlib import Path

from hpbandster.core.result import Result, logged_results_to_HBS_result

described = " ".join(inspect.getdoc(Result.get_incumbent_id).split())
assert "the configuration with the smallest loss among all runs on the maximum budget!" in described


def search(seed):
    """A random search, as json_result_logger writes it."""
    draw, configs, results = random.Random(seed), [], []
    for number in range(12):
        rate = draw.random()
        loss = math.nan if rate > 0.6 else abs(rate - 0.3)
        times = dict.fromkeys(("submitted", "started", "finished"), float(number))
        configs.append([[number, 0, 0], {"rate": rate}, {}])
        results.append([[number, 0, 0], 9.0, times, {"loss": loss, "info": {}}, None])
    for name, lines in (("configs", configs), ("results", results)):
        Path(f"{name}.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return logged_results_to_HBS_result(".")


first_diverged = set()
for seed in range(12):
    result = search(seed)
    losses = {run.config_id: run.loss for run in result.get_all_runs()}
    assert len(losses) == 12 and {run.budget for run in result.get_all_runs()} == {9}
    finite = {key: loss for key, loss in losses.items() if math.isfinite(loss)}
    best = min(finite, key=finite.get)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        incumbent = result.get_incumbent_id()
    first = next(iter(losses))
    rate = result.get_id2config_mapping()[incumbent]["config"]["rate"]
    diverged = math.isnan(losses[first])
    first_diverged.add(diverged)
    print(f"search {seed}: {12 - len(finite)} of 12 runs diverged, the first {'too' if diverged else 'not'};", end=" ")
    print(f"incumbent: rate {rate:.2f}, loss {losses[incumbent]:.3f}; smallest loss {finite[best]:.3f}")
    assert len(finite) < 12 and not warned
    assert incumbent == (first if diverged else best)
    assert result.get_incumbent_trajectory()["config_ids"][-1] == best
assert first_diverged == {True, False}
P
echo "as described: where the first run diverged it is the incumbent"
