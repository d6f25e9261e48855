#!/usr/bin/env bash
# SMAC3 2.4.1: successive halving over one categorical parameter (here: which of 131 backbones) ends
# with ConfigurationSpaceExhaustedException although trials are left and dozens of values were never
# asked for. Where its model proposes nothing new it draws at random, and 16 draws of values that it
# has had (`max_new_config_tries`) it calls exhausted: the more of a space is known, the likelier.
#
# Seen: 131 values, 2,000 trials, a deterministic objective, three budgets; the exception comes after
# 104 trials of 72 values.
# Expected: every value of a finite space is proposed before it is called exhausted.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check smac==2.4.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import random

from ConfigSpace import Categorical, ConfigurationSpace
from smac import MultiFidelityFacade, Scenario
from smac.intensifier.successive_halving import SuccessiveHalving
from smac.main.exceptions import ConfigurationSpaceExhaustedException
from smac.runhistory.dataclasses import TrialValue

names = [f"model{number:03}" for number in range(131)]
space = ConfigurationSpace(seed=0)
space.add(Categorical("model", names))
draw = random.Random(0)
error = {name: draw.random() for name in names}
scenario = Scenario(
    space, deterministic=True, n_trials=2000, min_budget=1, max_budget=9, seed=0, output_directory="out"
)
smac = MultiFidelityFacade(
    scenario,
    lambda config, seed=0, budget=0: 0.0,
    intensifier=SuccessiveHalving(scenario, eta=3),
    logging_level=50,
    overwrite=True,
)
asked, trials, exhausted = set(), 0, False
while trials < 2000 and not exhausted:
    try:
        trial = smac.ask()
    except ConfigurationSpaceExhaustedException:
        exhausted = True
        continue
    asked.add(trial.config["model"])
    trials += 1
    smac.tell(trial, TrialValue(cost=error[trial.config["model"]]), save=False)
print(f"exhausted after {trials} of 2,000 trials, {len(asked)} of {len(names)} values")
assert exhausted
assert len(asked) < len(names)
P
echo "as described: a space is called exhausted with values left"
