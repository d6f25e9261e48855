#!/usr/bin/env bash
# Syne Tune 0.16.0, MedianStoppingRule around another scheduler. "The mode of the wrapped scheduler is used",
# its docstring says; in fact it minimises unless do_minimize=False is given once more, to the rule itself.
# Around a scheduler that maximises accuracy it stops the trials above the median and lets the rest run on.
# And it does not pass on that a trial has finished (on_trial_complete), from which alone TPE, BORE and
# regularised evolution learn: inside the rule each of them is a random search, without a word.
#
# Seen: eight trials of accuracy 0.50 to 0.85, each better than the last: 0.50 to 0.65 go on, 0.70 to 0.85
# are stopped. Evolution, told to maximise in both places, with 200 trials that all finish: the mean accuracy
# of the last 100 is 0.45, as of random points, and the population is empty; without the rule it is 0.68.
# Expected: the best go on, and the wrapped scheduler hears of every finished trial.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  syne-tune==0.16.0 numpy==2.4.6 pandas==3.1.1 scikit-learn==1.9.1 statsmodels==0.15.0
cd "$work"
HOME="$work" "$work/env/bin/python" -W ignore - <<'P'
import datetime

import numpy as np
from syne_tune.backend.trial_status import Trial
from syne_tune.config_space import uniform
from syne_tune.optimizer.baselines import REA, RandomSearch
from syne_tune.optimizer.schedulers import MedianStoppingRule

SPACE = {"x": uniform(0, 1), "y": uniform(0, 1)}
np.random.seed(0)  # REA draws its first points from here, not from its own random_seed


def run(scheduler, accuracy_of, trials):
    """Trials of one epoch, with the calls that Tuner makes."""
    seen, decisions = [], []
    for number in range(trials):
        trial = Trial(number, scheduler.suggest().config, datetime.datetime.now())
        scheduler.on_trial_add(trial)
        result = {"epoch": 1, "accuracy": accuracy_of(trial)}
        seen.append(result["accuracy"])
        decisions.append(scheduler.on_trial_result(trial, result))
        if decisions[-1] == "CONTINUE":
            scheduler.on_trial_complete(trial, result)
    return seen, decisions


assert "mode of the wrapped scheduler is used" in MedianStoppingRule.__doc__
search = RandomSearch(SPACE, metrics=["accuracy"], do_minimize=False, random_seed=0)
rule = MedianStoppingRule(search, time_attr="epoch", metric="accuracy")
rising, decisions = run(rule, lambda trial: (50 + 5 * trial.trial_id) / 100, 8)
print(f"wrapped scheduler: {search.metric_mode()}, rule: {rule.metric_mode()};", dict(zip(rising, decisions)))
assert (search.metric_mode(), rule.metric_mode()) == ("max", "min")
assert decisions == ["CONTINUE"] * 4 + ["STOP"] * 4


def accuracy(trial):
    return 1 - abs(trial.config["x"] - 0.3) - abs(trial.config["y"] - 0.6)


small = {"population_size": 10, "sample_size": 5, "random_seed": 0}
bare, wrapped = (REA(SPACE, metric="accuracy", do_minimize=False, **small) for _ in range(2))
alone = np.mean(run(bare, accuracy, 200)[0][100:])
rule = MedianStoppingRule(wrapped, time_attr="epoch", metric="accuracy", grace_time=2, do_minimize=False)
seen, decisions = run(rule, accuracy, 200)
inside = np.mean(seen[100:])
print(f"evolution: last 100 trials {alone:.2f}, inside the rule {inside:.2f};", end=" ")
print(f"population {len(bare.searcher.population)} and {len(wrapped.searcher.population)}")
assert set(decisions) == {"CONTINUE"} and alone > 0.6 and 0.35 < inside < 0.55
assert len(bare.searcher.population) == 10 and len(wrapped.searcher.population) == 0
P
echo "as described: the median rule stops the best trials, and what it wraps never learns"
