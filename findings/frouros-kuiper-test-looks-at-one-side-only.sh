#!/usr/bin/env bash
# frouros 0.9.0, KuiperTest, a detector of drift in one variable: "Kuiper's test", after Kuiper 1960. Its statistic is
# the sum of the largest distances in both directions, V = D+ + D-, by which it sees changes of the spread that the test
# of Kolmogorov and Smirnov sees badly. Here the larger of the two is taken, the statistic of Kolmogorov and Smirnov,
# and then looked up in Kuiper's table.
#
# Seen: 200 confidences before and after their spread grows by a half: 0.215 with p = 0.0025; Kuiper's statistic is
# 0.335 with p = 0.000000007. In 300 pairs of 200 values whose spread grows by a third the test finds 5 % at 0.05,
# Kuiper's test 74 %. Without a drift it alarms in 1 % of the pairs, Kuiper's test in 4 %. No warning.
# Expected: D+ + D-, as scipy's one-sided ks_2samp gives them.
# It matters because confidences that spread out around the same mean are what a model does on unknown images, and the
# test that is chosen for it hardly sees them.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check frouros==0.9.0 numpy==2.1.3 scipy==1.14.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from frouros.detectors.data_drift import KSTest, KuiperTest
from scipy.stats import ks_2samp

described = inspect.getdoc(KuiperTest)
assert "Kuiper's test" in described and '"Tests concerning random points on a circle."' in described


def given(before, after, kind=KuiperTest):
    detector = kind()
    detector.fit(X=before)
    found = detector.compare(X=after)[0]
    return found.statistic, found.p_value


def kuiper(before, after):
    """D+ + D- and, by the limit of Kuiper 1960 with the correction of Stephens 1970, its p-value."""
    statistic = sum(ks_2samp(before, after, alternative=side).statistic for side in ("greater", "less"))
    root = np.sqrt(len(before) * len(after) / (len(before) + len(after)))
    scaled = (root + 0.155 + 0.24 / root) * statistic
    terms = 2 * np.arange(1, 200)[:, None] ** 2 * scaled**2
    return statistic, ((2 * terms - 1) * np.exp(-terms)).sum() * 2


def permuted(before, after, times=2000):
    """The p-value of the same statistic without any formula, by mixing the two."""
    both = np.concatenate([before, after])
    wanted = kuiper(before, after)[0]
    above = 0
    for _ in range(times):
        draw.shuffle(both)
        above += kuiper(both[: len(before)], both[len(before) :])[0] >= wanted - 1e-12
    return (above + 1) / (times + 1)


draw = np.random.default_rng(0)
for spread in (1.0, 1.25, 1.5):
    before, after = draw.normal(size=200), draw.normal(scale=spread, size=200)
    statistic, value = given(before, after)
    right, probability = kuiper(before, after)
    mixed = permuted(before, after)
    print(f"spread times {spread}: given {statistic:.3f}, p = {value:.1e};", end=" ")
    print(f"D+ + D- {right:.3f}, p = {probability:.1e}, by 2,000 permutations {mixed:.4f}")
    assert np.isclose(statistic, given(before, after, KSTest)[0]) and right > statistic
    assert value > 2 * max(probability, 1e-9) and abs(mixed - probability) < 0.05

alarms = {}
for spread in (1.0, 1.33):
    pairs = [(draw.normal(size=200), draw.normal(scale=spread, size=200)) for _ in range(300)]
    alarms[spread] = np.mean([(given(*pair)[1] < 0.05, kuiper(*pair)[1] < 0.05) for pair in pairs], axis=0)
    print(
        f"spread times {spread}, 300 pairs: {alarms[spread][0]:.0%} below 0.05, Kuiper's test {alarms[spread][1]:.0%}"
    )
assert alarms[1.0][0] < 0.03 < alarms[1.0][1] < 0.09
assert alarms[1.33][0] < 0.3 and alarms[1.33][1] > 0.6
P
echo "as described: the statistic is that of Kolmogorov and Smirnov"
