#!/usr/bin/env bash
# sktime 1.2.0, plot_critical_difference: "Compute critical differences using Nemenyi post-hoc test", after Demsar 2006,
# and the bars of "statistically similar cliques". The table of q starts with 0 for one model and 1.960 for two, and is
# read at the number of models, counted from 0: for three models the value of four is taken, and so on.
#
# Seen: three models on ten data sets, average ranks 1.0, 2.1 and 2.9. The critical difference is 1.05, the first model
# differs from the second, p = 0.037, but the two are joined by a bar. In 150 random tables of 3, 5 and 10 models the
# bars are always those of one model more, and in 36 of them not those of the test.
# Expected: q as in Demsar's table, 2.343 for three models, which is scipy's studentized range divided by the root of 2.
# It matters because a model that is significantly better is drawn as no different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  sktime==1.2.0 matplotlib==3.11.2 scikit-posthocs==0.17.1 numpy==2.4.6 pandas==3.0.6 scipy==1.17.1 \
  scikit-learn==1.9.1 scikit-base==1.1.1
cd "$work"
MPLBACKEND=Agg "$work/env/bin/python" -W ignore - <<'P'
import inspect

import matplotlib.pyplot as plt
import numpy as np
from scikit_posthocs import posthoc_nemenyi_friedman
from scipy.stats import rankdata, studentized_range
from sktime.benchmarking.critical_difference import plot_critical_difference

described = " ".join(inspect.getdoc(plot_critical_difference).split())
assert "Compute critical differences using Nemenyi post-hoc test" in described
assert "See Janez Demsar, Statistical Comparisons of Classifiers over Multiple Data Sets" in described
assert "(best strategy is in most left column)" in described


def bars(errors):
    """The number of bars that join two or more models, the heaviest lines of the diagram."""
    names = [f"model {index}" for index in range(errors.shape[1])]
    figure, axes = plot_critical_difference(errors, names, alpha=0.05, return_fig=True)
    heavy = [line for line in axes.lines if line.get_linewidth() == 4]
    plt.close(figure)
    return len(heavy)


def critical(models, datasets, q_models):
    q = studentized_range.ppf(0.95, q_models, np.inf) / np.sqrt(2)
    return q * np.sqrt(models * (models + 1) / (6 * datasets))


def cliques(ranks, difference):
    """How many groups of neighbours lie within the difference and are not part of a larger one."""
    ends = [np.flatnonzero(ranks - low < difference).max() for low in ranks]
    return sum(last > first and (first == 0 or ends[first - 1] < last) for first, last in enumerate(ends))


errors = np.tile([0.1, 0.2, 0.3], (10, 1))
errors[0] = [0.1, 0.3, 0.2]
ranks = rankdata(errors, axis=1).mean(axis=0)
p = posthoc_nemenyi_friedman(errors).iloc[0, 1]
print(f"average ranks {ranks}, critical difference {critical(3, 10, 3):.3f}, with q of four models", end=" ")
print(f"{critical(3, 10, 4):.3f}; p of the first two {p:.3f}; bars drawn {bars(errors)}, expected", end=" ")
print(cliques(ranks, critical(3, 10, 3)))
assert p < 0.05 and critical(3, 10, 3) < ranks[1] - ranks[0] < critical(3, 10, 4)
assert bars(errors) == 2 and cliques(ranks, critical(3, 10, 3)) == 1

draw, other, count = np.random.default_rng(0), 0, 0
for models in (3, 5, 10):
    wanted = count + 50
    while count < wanted:
        errors = draw.normal(size=(20, models)) + np.linspace(0, 2, models)
        ranks = rankdata(errors, axis=1).mean(axis=0)
        errors, ranks = errors[:, np.argsort(ranks)], np.sort(ranks)
        if np.ptp(ranks) < 1.5 * critical(models, 20, models):
            continue  # Friedman's test may find no difference, and the q is not looked up
        count += 1
        assert bars(errors) == cliques(ranks, critical(models, 20, models + 1))
        other += bars(errors) != cliques(ranks, critical(models, 20, models))
print(f"of {count} random tables all have the bars of one model more, {other} other bars than the test gives")
assert other > 10
P
echo "as described: the critical difference is that of one model more"
