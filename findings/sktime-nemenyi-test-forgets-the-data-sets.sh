#!/usr/bin/env bash
# sktime 1.2.0, sktime.benchmarking.analysis.NemenyiTest: "Pairwise post-hoc test, typically run after a significant
# FriedmanTest result". Friedman's test compares the models within each data set. Here the post-hoc test of the
# Kruskal-Wallis test is called, for independent groups: it forgets which scores belong to one data set, so that hard
# and easy data sets drown the difference of the models. The docstring gives the function's name, not that it is
# another.
#
# Seen: four models on twenty data sets, accuracies of 0.5 to 0.99, each model 0.004 better than the next on every one
# of them. Friedman p = 6e-13; NemenyiTest: no pair below 0.92. The critical-difference diagram of the same package,
# from the same table, joins neighbours only. No warning.
# Expected: below 0.00002 for all but neighbours, 0.068 for these, as by posthoc_nemenyi_friedman of the same package
# that is called.
# It matters because the two steps of one comparison contradict each other, and the last word is "no difference".
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  sktime==1.2.0 matplotlib==3.11.2 scikit-posthocs==0.17.1 numpy==2.4.6 pandas==3.0.6 scipy==1.17.1 \
  scikit-learn==1.9.1 scikit-base==1.1.1
cd "$work"
MPLBACKEND=Agg "$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
import pandas as pd
from scikit_posthocs import posthoc_nemenyi_friedman
from scipy.stats import rankdata, studentized_range
from sktime.benchmarking.analysis import CriticalDifferenceDiagram, FriedmanTest, NemenyiTest

described = " ".join(inspect.getdoc(NemenyiTest).replace("`", "").split())
assert "Pairwise post-hoc test, typically run after a significant FriedmanTest result" in described
assert "usual precondition for running a post-hoc test such as NemenyiTest" in " ".join(
    inspect.getdoc(FriedmanTest).replace("`", "").split()
)

draw = np.random.default_rng(0)
names = ["a", "b", "c", "d"]
accuracy = draw.uniform(0.5, 0.98, (20, 1)) - 0.004 * np.arange(4)
table = pd.DataFrame(accuracy, columns=names).rename_axis("validation_id").reset_index()
results = table.melt("validation_id", var_name="model_id", value_name="accuracy_mean")
options = {"metric": "accuracy", "lower_is_better": False}

friedman = FriedmanTest(**options).evaluate(results).p_value[0]
given = NemenyiTest(**options).evaluate(results).to_numpy()
right = posthoc_nemenyi_friedman(accuracy).to_numpy()
ranks = rankdata(-accuracy, axis=1).mean(axis=0)
by_hand = studentized_range.sf(np.abs(ranks[:, None] - ranks) / np.sqrt(4 * 5 / (6 * 20)) * np.sqrt(2), 4, np.inf)
pairs = np.triu_indices(4, 1)
print(f"Friedman p = {friedman:.0e}")
for name, values in (("NemenyiTest", given), ("posthoc_nemenyi_friedman", right), ("by hand", by_hand)):
    print(f"{name}: p of the six pairs", " ".join(f"{value:.5f}" for value in values[pairs]))
assert friedman < 1e-10 and given[pairs].min() > 0.9
assert np.allclose(right[pairs], by_hand[pairs], atol=1e-4) and right[0, 3] < 1e-6 and right[pairs].max() < 0.1
figure, axes = CriticalDifferenceDiagram(**options).plot(results)
joined = sum(line.get_linewidth() == 4 for line in axes.lines)
print(f"bars in the critical-difference diagram: {joined}, so not all models are alike there")
assert joined == 3
P
echo "as described: the post-hoc test is not that of Friedman's test"
