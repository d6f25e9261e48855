#!/usr/bin/env bash
# DEHB 0.1.2: get_incumbents(), incumbent.json and the log give the lowest score at any fidelity, without its
# fidelity. Where a score at a low fidelity is a noisier one (here: the error of a net on so many images), that
# is a configuration that was lucky on the fewest images, not the best of those measured in full: scores of
# 10 and of 810 images are compared as if they were one quantity. The docstring does not say so.
#
# Seen: one parameter, errors from 0.10 up, fidelities of 10 to 810 images, 20 searches of 200 evaluations:
# all 20 return a score of 0.0 from 10 images, an error that no configuration has. Its true error is 0.150
# on average; that of the best of each search's 810-image measurements is 0.104.
# Expected: the best at max_fidelity, as HpBandSter gives, or the fidelity beside the score.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  dehb==0.1.2 ConfigSpace==1.2.2 dask==2026.8.0 distributed==2026.8.0 numpy==1.26.4 pandas==2.3.3 pyarrow==21.0.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import ConfigSpace
import numpy as np
from dehb import DEHB


def true_error(configuration):
    return 0.1 + 0.5 * abs(configuration["x"] - 0.3)


def search(seed):
    space = ConfigSpace.ConfigurationSpace({"x": (0.0, 1.0)}, seed=seed)
    images = np.random.default_rng(seed)
    optimizer = DEHB(
        cs=space, min_fidelity=10, max_fidelity=810, eta=3, n_workers=1, seed=seed, output_path=f"run{seed}"
    )
    measured = []
    for _ in range(200):
        job = optimizer.ask()
        count = int(job["fidelity"])
        error = images.binomial(count, true_error(job["config"])) / count
        measured.append((count, error, true_error(job["config"])))
        optimizer.tell(job, {"fitness": error, "cost": count})
    configuration, score = optimizer.get_incumbents()
    where = next(count for count, *rest in measured if rest == [score, true_error(configuration)])
    full = [(error, true) for count, error, true in measured if count == 810]
    return score, where, true_error(configuration), min(full)


runs = [search(seed) for seed in range(20)]
scores, where, returned, full = zip(*runs)
print("incumbents' scores:", set(scores), "images they come from:", set(where))
print(f"lowest error on 810 images: {min(full)[0]:.3f} to {max(full)[0]:.3f}")
print(f"true error, mean: incumbent {np.mean(returned):.3f}, best on 810 images {np.mean(full, axis=0)[1]:.3f}")
assert set(scores) == {0.0} and set(where) == {10}
assert min(full)[0] > 0.05
assert np.mean(returned) > np.mean(full, axis=0)[1] + 0.02
P
echo "as described: DEHB returns the luckiest score of the lowest fidelity as its incumbent"
