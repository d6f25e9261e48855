#!/usr/bin/env bash
# dython 0.7.12, weighted_sampling: "Return k numbers from a weighted-sampling over the supplied numbers", and
# boltzmann_sampling: "... from a boltzmann-sampling over the supplied numbers". Both end in np.random.choice without
# its p, so every number is as likely as the next. boltzmann_sampling also returns the probabilities, not the numbers.
# Issue 81 (2021), on what boltzmann_sampling is good for, does not notice.
#
# Seen: 1,000 uncertainties, drawn from a beta distribution, 50 drawn at a time, 400 times: their mean is 0.17, that of
# all of them, where a draw by weight has 0.28. Of the numbers 1, 2 and 7, one at a time, 9,000 draws: 33 % each, where
# 10, 20 and 70 % are right. boltzmann_sampling of the same: 0.0025, 0.0067 and 0.9909, 33 % each, where 7 is to come in
# 99 % of the draws.
# Expected: the shares of np.random.choice(numbers, p=numbers / sum) and of its softmax.
# It matters where images to label are drawn by their uncertainty, or classes by their weight: it is a random draw.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  dython==0.7.12 scikit-learn==1.9.1 numpy==2.4.6 pandas==3.1.1 matplotlib==3.11.2
cd "$work"
MPLBACKEND=Agg "$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from dython.sampling import boltzmann_sampling, weighted_sampling

for function, name in ((weighted_sampling, "weighted"), (boltzmann_sampling, "boltzmann")):
    described = " ".join(inspect.getdoc(function).split())
    assert f"Return k numbers from a {name}-sampling over the supplied numbers" in described
np.random.seed(0)
numbers = np.array([1.0, 2.0, 7.0])
softmax = np.exp(numbers) / np.exp(numbers).sum()
for function, right in ((weighted_sampling, numbers / numbers.sum()), (boltzmann_sampling, softmax)):
    drawn = np.concatenate([function(numbers, k=1) for _ in range(9000)])
    values, counts = np.unique(drawn, return_counts=True)
    print(f"{function.__name__}: {dict(zip(values.round(4).tolist(), (counts / 9000).round(3).tolist()))},", end=" ")
    print(f"right {dict(zip(numbers.tolist(), right.round(3).tolist()))}")
    assert np.all(np.abs(counts / 9000 - 1 / 3) < 0.03)
    assert np.allclose(values, numbers if function is weighted_sampling else softmax)

uncertainties = np.random.default_rng(0).beta(1, 5, 1000)
drawn = np.mean([weighted_sampling(uncertainties, k=50) for _ in range(400)])
shares = uncertainties / uncertainties.sum()
right = np.mean([np.random.choice(uncertainties, 50, replace=False, p=shares) for _ in range(400)])
print(f"uncertainties: mean of all {uncertainties.mean():.3f}, of those drawn {drawn:.3f}, drawn by weight {right:.3f}")
assert abs(drawn - uncertainties.mean()) < 0.005 and right > 1.4 * uncertainties.mean()
P
echo "as described: every number is drawn as often as the others"
