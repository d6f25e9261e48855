#!/usr/bin/env bash
# scikit-optimize 0.10.2, initial_point_generator="grid": "a uniform grid sequence"; of Grid: "a full factorial design
# is generated and missing points are taken from the next larger full factorial design". The number of values per
# dimension is the square root of the number of points, whatever the number of dimensions. With one dimension the grid
# is too coarse and a second one that shares its values is added, which leaves too few points, some of which are then
# tried again; with three and more the grid has too many points, of which some are drawn at random.
#
# Seen: 16 initial points for a learning rate are 6 values, four of them tried three or four times: 10 of 16 trainings
# are repeats. 25 points: 13 values. Three dimensions and 64 points, which is 4 x 4 x 4: 64 drawn from 8 x 8 x 8, so
# that of the 64 pairs of the first two values 25 are missing and others are there up to 4 times. Four dimensions and
# 16: drawn from 4 x 4 x 4 x 4. Two dimensions are right. No warning.
# Expected: 16 and 25 values; the 4 x 4 x 4 and the 2 x 2 x 2 x 2 points.
# It matters because a grid is asked for so that each value is tried once: of the budget for the start, most is spent
# on trainings whose result is known.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  scikit-optimize==0.10.2 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cd "$work"
OMP_NUM_THREADS=1 "$work/env/bin/python" - <<'P'
import collections
import inspect
import warnings

import numpy as np
from skopt import Optimizer, gp_minimize
from skopt.sampler import Grid

assert '"grid"` for a uniform grid sequence' in inspect.getdoc(Optimizer)
described = " ".join(inspect.getdoc(Grid).split())
assert "a full factorial design is generated and missing points are taken from the next larger full" in described


def points(dimensions, number):
    """The points that a search of nothing but initial points tries, and the warnings."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        options = {"n_initial_points": number, "initial_point_generator": "grid", "random_state": 0}
        tried = gp_minimize(lambda point: sum(point), dimensions, n_calls=number, **options).x_iters
    assert len(tried) == number
    return [tuple(round(value, 9) for value in point) for point in tried], [str(one.message) for one in warned]


for number, values in ((16, 6), (25, 13)):
    tried, warned = points([(1e-5, 1e-1, "log-uniform")], number)
    counted = collections.Counter(round(float(np.log10(rate)), 2) for (rate,) in tried)
    print(f"{number} learning rates: {len(counted)} values, {dict(sorted(counted.items()))}; warnings: {len(warned)}")
    assert len(counted) == values and not warned

tried, warned = points([(0.0, 1.0)] * 2, 64)
assert len(set(tried)) == 64 and all(len({point[i] for point in tried}) == 8 for i in range(2))
print("2 dimensions, 64 points: the full 8 x 8")

for dimensions, number, levels in ((3, 64, 4), (4, 16, 2)):
    tried, warned = points([(0.0, 1.0)] * dimensions, number)
    seen = [len({point[i] for point in tried}) for i in range(dimensions)]
    pairs = collections.Counter(point[:2] for point in tried)
    print(f"{dimensions} dimensions, {number} points, {levels}**{dimensions}: values per dimension {seen},", end=" ")
    print(f"{len(pairs)} of {seen[0] * seen[1]} pairs of the first two, the most frequent {max(pairs.values())} times;")
    print("warnings:", len(warned))
    assert all(one > levels for one in seen) and len(pairs) < seen[0] * seen[1] and not warned
P
echo "as described: the grid has the square root of the number of points per dimension"
