#!/usr/bin/env bash
# sklearn-genetic-opt 0.12.0, Categorical(choices, priors): a "List with the probability of sampling each element of the
# choices, if not set gives equals probability". They must sum to 1 and be as many as the choices, and are never read
# again. random_state is "int or None", a "state used for random dimension sampling"; 0 is taken for None.
#
# Seen: priors [0.9, 0.1, 0.0]: 3,000 draws give each of the three choices about 1,000 times, that of probability 0
# too, and the first 100 models of a search have about a third of each. Two spaces Integer(1, 100, random_state=0) draw
# different numbers, two with random_state=1 the same. No warning.
# Expected: shares 0.9, 0.1 and 0, and the same draws from the same seed.
# It matters because priors are set to keep the expensive or unwanted choices rare, and seed 0 to repeat a search.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  sklearn-genetic-opt==0.12.0 deap==1.4.4 scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1
cd "$work"
"$work/env/bin/python" - 2>log <<'P' || { cat log; exit 1; }
import inspect
import random
import warnings
from collections import Counter

import numpy as np
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier
from sklearn_genetic import GASearchCV
from sklearn_genetic.space import Categorical, Continuous, Integer

warnings.filterwarnings("error", category=UserWarning)
described = " ".join(inspect.getdoc(Categorical.__init__).split())
assert 'List with the probability of sampling each element of the "choices"' in described
described = " ".join(inspect.getdoc(Integer.__init__).split())
assert "random_state : int or None" in described and "state used for random dimension sampling" in described

names, priors = ["gini", "entropy", "log_loss"], [0.9, 0.1, 0.0]
try:
    Categorical(names, priors=[0.9, 0.2, 0.0])
except ValueError as error:
    print("priors that sum to 1.1:", error)
else:
    raise AssertionError("the priors are not checked")

random.seed(0)
np.random.seed(0)
for seed in (None, 1):
    space = Categorical(names, priors=priors, random_state=seed)
    shares = Counter(str(space.sample()) for _ in range(3000))
    right = Counter(np.random.default_rng(0).choice(names, 3000, p=priors).tolist())
    print(f"random_state={seed}:", {name: (shares[name], f"asked for {right[name]}") for name in names})
    assert all(abs(shares[name] - 1000) < 120 for name in names) and right["log_loss"] == 0

search = GASearchCV(
    DecisionTreeClassifier(),
    param_grid={"criterion": Categorical(names, priors=priors), "max_depth": Integer(1, 9)},
    population_size=100,
    generations=1,
    use_cache=False,
    verbose=False,
)
search.fit(*load_iris(return_X_y=True))
first = Counter(str(setting["criterion"]) for setting in search.cv_results_["params"][:100])
print("the first 100 models of a search:", dict(first))
assert all(first[name] > 20 for name in names)

for kind in (Integer, Continuous):
    for seed in (0, 1, 2):
        spaces = kind(1, 100, random_state=seed), kind(1, 100, random_state=seed)
        one, other = ([float(space.sample()) for _ in range(20)] for space in spaces)
        print(f"{kind.__name__}, random_state={seed}: two spaces draw the same: {one == other}")
        assert (one == other) == (seed != 0)
P
echo "as described: priors and random_state=0 are not used"
