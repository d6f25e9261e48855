#!/usr/bin/env bash
# scikit-optimize 0.10.2, acq_func="EIps": "negated expected improvement per second to take into account the function
# compute time"; the objective returns its value and the time in seconds. The improvement is to be over the best value
# so far. The code takes the smallest number of all pairs of value and logarithm of the time, and where a logarithm is
# smaller than all values, that is the best value to beat.
#
# Seen: every training takes 30 seconds, so that EIps has to propose what EI does. An error as a share: it does, in 9 of
# 10 searches. The same error in percent: in 1 of 10, as 3.4, the logarithm of 30, counts as an error of 3.4 % that was
# reached; the searches end 0.82 % above the optimum of 17.4 % instead of 0.00 %. As a share and with trainings of 0.01
# seconds, logarithm -4.6: 0 of 10, and 1.31 % above. No warning.
# Expected: the same points in all of these.
# It matters because a loss of 2.3 or an error in percent is what one minimizes, and the option that is to save time
# turns the search into one that hardly looks at what it has found.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  scikit-optimize==0.10.2 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cd "$work"
OMP_NUM_THREADS=1 "$work/env/bin/python" -W ignore - <<'P'
import inspect
import math

import numpy as np
from skopt import gp_minimize

described = " ".join(inspect.getdoc(gp_minimize).split())
assert '"EIps"` for negated expected improvement per second' in described
assert "two values, the first being the objective value and the second being the time taken in seconds" in described


def error(x):
    """In percent, of a learning rate and a weight decay, both scaled to 0 to 1: 17.4 at best."""
    return 20 + 60 * ((x[0] - 0.3) ** 2 + (x[1] - 0.6) ** 2) + 3 * math.sin(12 * x[0])


best = min(error((x, 0.6)) for x in np.linspace(0, 1, 100_001))


def searches(unit, seconds=None):
    """Ten searches of 20 trainings: the first point that each proposes, and how far their best is from the optimum."""
    points, distances = [], []
    for seed in range(10):
        objective = lambda x: error(x) * unit if seconds is None else (error(x) * unit, seconds)
        result = gp_minimize(
            objective,
            [(0.0, 1.0), (0.0, 1.0)],
            n_calls=20,
            n_initial_points=8,
            acq_func="EI" if seconds is None else "EIps",
            xi=0.0,
            random_state=seed,
        )
        points.append(result.x_iters[8])
        distances.append(result.fun / unit - best)
    return points, np.mean(distances)


for name, unit, seconds, right in (
    ("share, 30 seconds", 0.01, 30, True),
    ("percent, 30 seconds", 1, 30, False),
    ("share, 0.01 seconds", 0.01, 0.01, False),
):
    wanted, wanted_distance = searches(unit)
    given, distance = searches(unit, seconds)
    same = sum(np.allclose(a, b, atol=0.01) for a, b in zip(wanted, given))
    print(f"{name}: {same} of 10 propose the point of EI; above the optimum by {distance:.2f} %,", end=" ")
    print(f"EI by {wanted_distance:.2f} %")
    assert same >= 8 if right else same <= 3
    assert distance <= wanted_distance + 0.05 if right else distance > wanted_distance + 0.2
P
echo "as described: the logarithm of the time is taken for the best value"
