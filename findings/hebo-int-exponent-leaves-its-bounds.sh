#!/usr/bin/env bash
# HEBO 0.3.6, parameters of type "int_exponent": "Integer value, search in log-scale, and the exponent must be integer",
# such as a batch size, within "lb" and "ub" as every other type. The exponents of the bounds are rounded to the nearest
# whole number, not inwards: the lower one may end below "lb", the upper one above "ub".
#
# Seen: lb 10, ub 100, base 2: 8, 16, 32, 64 and 128 are suggested, a quarter of the first 200 suggestions is out of
# bounds. A search whose objective falls as the batch grows ends at 128, with a best_x outside of its own space. No
# warning. "int", "pow_int" and "step_int" keep within the same bounds.
# Expected: 16, 32 and 64.
# It matters because the upper bound is the batch that the graphics card still takes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  HEBO==0.3.6 GPy==1.13.2 numpy==1.24.4 scipy==1.12.0 pandas==2.3.3 scikit-learn==1.9.1 pymoo==0.6.0 torch==2.15.0 \
  gpytorch==1.15.2 catboost==1.2.10
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
import torch
from hebo.design_space.design_space import DesignSpace
from hebo.design_space.int_exponent_param import IntExponentPara
from hebo.optimizers.abstract_optimizer import AbstractOptimizer
from hebo.optimizers.hebo import HEBO

described = " ".join(inspect.getdoc(IntExponentPara.__init__).split())
assert "Integer value, search in log-scale, and the exponent must be integer." in described
assert "The design space defining the bounds of the optimization problem" in inspect.getdoc(AbstractOptimizer.__init__)


def suggested(**parameter):
    space = DesignSpace().parse([{"name": "batch", **parameter}])
    return HEBO(space, scramble_seed=0).suggest(200).batch.to_numpy().astype(int)


np.random.seed(0)
torch.manual_seed(0)
for low, high in ((10, 100), (16, 64)):
    values = suggested(type="int_exponent", lb=low, ub=high, base=2)
    within = [2**power for power in range(12) if low <= 2**power <= high]
    outside = np.mean((values < low) | (values > high))
    print(f"lb {low}, ub {high}: suggested {sorted(set(values.tolist()))}, within the bounds are {within};", end=" ")
    print(f"{outside:.0%} of 200 suggestions are outside")
    assert (outside > 0) == ((low, high) != (16, 64)) and set(within) <= set(values.tolist())
for kind in ({"type": "int"}, {"type": "pow_int", "base": 2}, {"type": "step_int", "step": 8}):
    values = suggested(lb=10, ub=100, **kind)
    print(f"{kind['type']}, lb 10, ub 100: from {values.min()} to {values.max()}")
    assert values.min() >= 10 and values.max() <= 100

space = DesignSpace().parse([{"name": "batch", "type": "int_exponent", "lb": 10, "ub": 100, "base": 2}])
search = HEBO(space, rand_sample=20, scramble_seed=0)
for _ in range(20):
    trial = search.suggest()
    search.observe(trial, 1 / trial.batch.to_numpy(dtype=float).reshape(-1, 1))
print("a search that gains by larger batches ends at", int(search.best_x.batch.iloc[0]))
assert int(search.best_x.batch.iloc[0]) == 128
P
echo "as described: the suggestions leave the bounds"
