#!/usr/bin/env bash
# scikit-optimize 0.10.2, callbacks.StdStopper(threshold): "Stop the optimization when the standard deviation of the
# Gaussian process is lower than the threshold". The code takes y_train_std_, which is the spread of the values found so
# far, by which the process scales them: it is small if the first points happen to be alike and stays large once a bad
# point has been tried, whatever the process knows.
#
# Seen: an error between 0.10 and 0.18 by the logarithm of the learning rate. Threshold 0.01: from the sixth point on
# the process is sure to 0.009 or less everywhere, but the search goes on to the last of 30 points. Threshold 0.02: it
# stops at the fifth point, the first with a model, where the process is unsure by 0.041. Thresholds 0.015 and 0.018,
# 20 % apart: 30 points and 5. No warning.
# Expected: the predicted standard deviation, which is below 0.01 and 0.02 at the sixth point.
# It matters because the callback either never saves a training or ends the search before it has begun.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  scikit-optimize==0.10.2 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.17.1
cd "$work"
OMP_NUM_THREADS=1 "$work/env/bin/python" - <<'P'
import inspect
import warnings

import numpy as np
from skopt import gp_minimize
from skopt.callbacks import StdStopper

described = " ".join(inspect.getdoc(StdStopper).split())
assert "Stop the optimization when the standard deviation of the Gaussian process is lower than" in described
places = np.linspace(-5, -1, 200)


def error(point):
    return 0.1 + 0.02 * (point[0] + 3) ** 2


def search(threshold):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The objective has been evaluated at point")
        warnings.filterwarnings("ignore", ".*lbfgs|.*close to the specified (lower|upper) bound")
        found = gp_minimize(
            error,
            [(-5.0, -1.0)],
            n_calls=30,
            n_initial_points=5,
            noise=1e-8,
            random_state=0,
            callback=[StdStopper(threshold, log_interval=1000)],
        )
    points = found.space.transform([[place] for place in places])
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Predicted variances smaller than 0")
        return found, [model.predict(points, return_std=True)[1].max() for model in found.models]


found, unsure = search(0.01)
print(f"threshold 0.01: {len(found.func_vals)} points, values spread by {np.std(found.func_vals):.3f};", end=" ")
print("the process is unsure by at most", *(f"{one:.4f}" for one in unsure))
assert len(found.func_vals) == 30 and unsure[0] > 0.02 and max(unsure[1:]) < 0.01
assert all(np.isclose(m.y_train_std_, np.std(found.func_vals[: len(m.y_train_)])) for m in found.models)

for threshold, points in ((0.015, 30), (0.018, 5), (0.02, 5)):
    found, unsure = search(threshold)
    print(f"threshold {threshold}: {len(found.func_vals)} points, unsure by {unsure[-1]:.4f} at the end", end="; ")
    print(f"found {found.fun:.4f}, the lowest error is 0.1")
    assert len(found.func_vals) == points and (unsure[-1] > threshold) == (points == 5)
P
echo "as described: the spread of the values decides, not that of the process"
