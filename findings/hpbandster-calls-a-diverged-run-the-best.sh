#!/usr/bin/env bash
# hpbandster 0.7.4, Result.get_incumbent_id: "Find the config_id of the incumbent. The incumbent here is the
# configuration with the smallest loss among all runs on the maximum budget!" It takes Python's min of the losses, and
# no number is smaller than NaN: where the first of these runs diverged, it stays the smallest. Elsewhere the package
# does handle this: successive halving counts a loss that is not finite as a crash, and
# get_incumbent_trajectory of the same result passes over it.
#
# Seen: RandomSearch, 12 runs on the full budget, whose loss is NaN for learning rates above 0.6, as after an overflow.
# The first run diverged, and is the incumbent, with a learning rate above 0.6; the trajectory ends at the run with the
# smallest finite loss. In a search whose first run is fine and a later one diverged, the incumbent is right. No warning.
# Expected: the configuration with the smallest loss, as in the trajectory.
# It matters because the incumbent is what one then trains for long and reports: it is the one setting known to fail.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  hpbandster==0.7.4 ConfigSpace==1.2.2 numpy==2.4.6 scipy==1.16.3 pandas==3.0.6 statsmodels==0.15.0
cd "$work"
timeout 300 "$work/env/bin/python" - <<'P'
import inspect
import logging
import math
import warnings

import ConfigSpace
from hpbandster.core.nameserver import NameServer
from hpbandster.core.result import Result
from hpbandster.core.worker import Worker
from hpbandster.optimizers import RandomSearch

logging.disable(logging.CRITICAL)
described = " ".join(inspect.getdoc(Result.get_incumbent_id).split())
assert "the configuration with the smallest loss among all runs on the maximum budget!" in described


class Training(Worker):
    def compute(self, config, budget, **_):
        return {"loss": math.nan if config["rate"] > 0.6 else abs(config["rate"] - 0.3), "info": {}}


def search(seed):
    space = ConfigSpace.ConfigurationSpace(seed=seed)
    space.add(ConfigSpace.Float("rate", (0.0, 1.0)))
    server = NameServer(run_id="search", host="127.0.0.1", port=0)
    where = dict(zip(("nameserver", "nameserver_port"), server.start()))
    Training(run_id="search", **where).run(background=True)
    optimizer = RandomSearch(configspace=space, run_id="search", min_budget=1, max_budget=9, **where)
    result = optimizer.run(n_iterations=4)
    optimizer.shutdown(shutdown_workers=True)
    server.shutdown()
    return result


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
