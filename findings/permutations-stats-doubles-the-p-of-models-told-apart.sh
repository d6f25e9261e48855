#!/usr/bin/env bash
# permutations-stats 0.2, permutation_test(x, y, test="brunner_munzel"), the test that the package is written for:
# "the Brunner Munzel test is implemented in scipy but not with an exact calculation". If every value of one sample is
# above every value of the other, the statistic is infinite, and infinity and minus infinity are counted as equal: the
# arrangement at the other end of a one-sided test is taken for one as extreme.
#
# Seen: accuracies of 3 runs against 3 runs, all of the second above all of the first, alternative "less": p 0.10. Of
# the 20 arrangements one is as extreme: 0.05. 4 against 4: 0.029 instead of 0.014. 5 against 5: 0.0079 instead of
# 0.0040, which are the two-sided p. Samples that overlap are right, and so is test="mann_whitney". No warning.
# Expected: the share of arrangements whose statistic is as low.
# It matters because the clearest result that 3 runs can give, all better, is reported as twice as likely by chance.
#
# `coverage`, which the package asks for in a version that numba refuses, is for its own tests and left out here.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check numba==0.68.1 numpy==2.4.6 scipy==1.17.1
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-deps permutations-stats==0.2
cd "$work"
"$work/env/bin/python" - 2>log <<'P' || { cat log; exit 1; }
import itertools
import warnings
from importlib.metadata import metadata

import numpy as np
from permutations_stats.permutations import permutation_test
from scipy.stats import brunnermunzel, mannwhitneyu

described = " ".join(str(metadata("permutations-stats")).split())
assert "is implemented in `scipy` but not with an exact calculation" in described


def statistic(first, second):
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        return -brunnermunzel(first, second).statistic


def counted(first, second):
    """The share of arrangements with a statistic as low, by scipy's statistic, whose sign is the other way."""
    together, places = np.concatenate([first, second]), set(range(len(first) + len(second)))
    of_all = []
    for chosen in itertools.combinations(range(len(together)), len(first)):
        others = sorted(places - set(chosen))
        of_all.append(statistic(together[list(chosen)], together[others]))
    return np.mean(np.array(of_all) <= statistic(first, second) + 1e-9)


def compare(what, first, second):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        given, ranks = (
            permutation_test(first, second, test=test, alternative="less").pvalue
            for test in ("brunner_munzel", "mann_whitney")
        )
    known = mannwhitneyu(first, second, alternative="less", method="exact").pvalue
    right = counted(first, second)
    print(f"{what}: p {given:.4f}, counted {right:.4f}; mann_whitney {ranks:.4f}, scipy {known:.4f}")
    assert np.isclose(ranks, known)
    return given, right


accuracies = np.array([0.901, 0.904, 0.908, 0.910, 0.913, 0.921, 0.923, 0.926, 0.929, 0.934])
for runs, arrangements in ((3, 20), (4, 70), (5, 252)):
    given, right = compare(f"{runs} runs all below {runs} others", accuracies[:runs], accuracies[-runs:])
    assert np.isclose(right, 1 / arrangements) and np.isclose(given, 2 / arrangements)
    mixed = accuracies[[*range(runs - 1), runs]], accuracies[[runs - 1, *range(runs + 1, 2 * runs)]]
    given, right = compare("  one of them above one other", *mixed)
    assert np.isclose(given, right)
P
echo "as described: samples without overlap have twice the p-value of a one-sided test"
