#!/usr/bin/env bash
# fiftyone 1.22.1, fiftyone.utils.random.weighted_sample: "a random sample of size k from the given collection such that
# the probability of selecting each sample is proportional to the given per-sample weights". With exact=True, the
# default, it takes the k smallest of random number - k * weight / sum: whatever is short of k, by chance or because a
# weight is so large that its image is certain to be drawn, is made up equally from all images, also those of weight 0.
#
# Seen: 900 images of weight 0 and 100 with weights from a Pareto distribution, as losses have: of a sample of 50, 40 on
# average have the weight 0. With the weights 0 and 1 it is 1.9 on average, and one or more in 46% of the samples.
# balanced_sample of 600 from classes of 5,000, 500 and 20 images, "such that the expected histogram of path values in
# the sample is uniform": 364, 216 and 20, where 290, 290 and 20 are possible. No warning.
# Expected: none of weight 0, as with numpy's choice(p=..., replace=False).
# It matters because a weight of 0 is how one leaves images out, those of the test set or those that have a label: they
# are drawn all the same.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  fiftyone==1.22.1 numpy==1.26.4 scikit-learn==1.9.1 scipy==1.17.1
cd "$work"
# The functions need no more of a collection than its identifiers and labels: a list will do instead of a database.
HOME="$work" "$work/env/bin/python" -W ignore - 2>log <<'P' || { cat log; exit 1; }
import inspect
from collections import Counter

import numpy as np
from fiftyone.utils.random import balanced_sample, weighted_sample

described = " ".join(inspect.getdoc(weighted_sample).split())
assert "probability of selecting each sample is proportional to the given per-sample weights" in described
assert "the expected histogram of ``path`` values in the sample is uniform" in " ".join(
    inspect.getdoc(balanced_sample).split()
)


class Collection(list):
    """Stands in for a collection of samples whose labels are the items of this list."""

    def values(self, path):
        return list(range(len(self))) if path == "id" else list(self)

    def count_values(self, path):
        return Counter(self)

    def __getitem__(self, ids):
        return list(ids)


def drawn(weights, size):
    """How many images of weight 0 each of 200 samples has, by fiftyone and by numpy."""
    given, expected = [], []
    for seed in range(200):
        sample = weighted_sample(Collection(weights), size, weights, seed=seed)
        assert len(set(sample)) == size
        given.append(np.sum(weights[sample] == 0))
        other = np.random.default_rng(seed).choice(len(weights), size, replace=False, p=weights / weights.sum())
        expected.append(np.sum(weights[other] == 0))
    return np.array(given), np.array(expected)


zeros = np.zeros(900)
for name, weights in (
    ("0 and 1", np.ones(100)),
    ("0 and of a Pareto distribution", np.random.default_rng(1).pareto(1, 100)),
):
    given, expected = drawn(np.concatenate([zeros, weights]), 50)
    print(f"weights {name}: of 50 drawn, {given.mean():.1f} have the weight 0,", end=" ")
    print(f"one or more in {np.mean(given > 0):.0%} of the samples; with numpy {expected.mean():.1f}")
    assert expected.max() == 0 and np.mean(given > 0) > 0.3
assert given.mean() > 30

classes = Collection(["a"] * 5000 + ["b"] * 500 + ["c"] * 20)
counts = Counter(list(classes)[i] for seed in range(50) for i in balanced_sample(classes, 600, "label", seed=seed))
counts = {name: counts[name] / 50 for name in "abc"}
print(f"balanced sample of 600 from 5,000, 500 and 20: {counts}")
assert counts["c"] == 20 and counts["a"] > 1.5 * counts["b"]
P
echo "as described: images of weight 0 are drawn"
