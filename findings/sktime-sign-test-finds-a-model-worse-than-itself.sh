#!/usr/bin/env bash
# sktime 1.2.0, sktime.benchmarking.analysis.SignTest: "Sign test for consistent differences between estimator pairs",
# "counting the number of datasets on which one estimator beats another". A data set on which both score alike is
# counted as one that the first has lost; the sign test leaves it out.
#
# Seen: a model against itself on ten data sets: p = 0.002. Two models that score alike on nine and differ on one: 0.002
# in the one order, 0.021 in the other. One that wins five, with five ties, p = 0.0625 by the test: 1.0, and 0.002 in
# the other order. No warning.
# Expected: 1, 1 and 0.0625, the same in both orders, as by scipy's binomtest of the wins among the data sets that
# differ.
# It matters because models that are alike, as the same network from two sources, are called significantly different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  sktime==1.2.0 matplotlib==3.11.2 scikit-posthocs==0.17.1 numpy==2.4.6 pandas==3.0.6 scipy==1.17.1 \
  scikit-learn==1.9.1 scikit-base==1.1.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sktime.benchmarking.analysis import SignTest

described = " ".join(inspect.getdoc(SignTest).split())
assert "Sign test for consistent differences between estimator pairs." in described
assert "counting the number of datasets on which one estimator beats another" in described


def given(first, second):
    table = pd.DataFrame({"a": first, "b": second}).rename_axis("validation_id").reset_index()
    results = table.melt("validation_id", var_name="model_id", value_name="accuracy_mean")
    found = SignTest(metric="accuracy", lower_is_better=False).evaluate(results)
    return found.set_index(["estimator_1", "estimator_2"]).p_val


def right(first, second):
    wins, losses = int(np.sum(first > second)), int(np.sum(first < second))
    return binomtest(wins, wins + losses).pvalue if wins + losses else 1.0


scores = np.round(np.random.default_rng(0).uniform(0.7, 0.9, 10), 3)
cases = {
    "alike on all ten": np.zeros(10),
    "better on one, alike on nine": np.eye(10)[0],
    "better on five, alike on five": np.repeat([1, 0], 5),
    "better on eight, worse on two": np.repeat([1, -1], (8, 2)),
}
seen = {}
for name, gain in cases.items():
    better = scores + 0.01 * gain
    p = given(better, scores)
    seen[name] = p["a", "b"], p["b", "a"], right(better, scores)
    assert np.isclose(right(better, scores), right(scores, better)) and p["a", "a"] < 0.01
    print(f"{name}: p = {p['a', 'b']:.4f}, the other way round {p['b', 'a']:.4f}, against itself", end=" ")
    print(f"{p['a', 'a']:.4f}; by the sign test {right(better, scores):.4f}")
assert max(seen["alike on all ten"][:2]) < 0.01 and seen["alike on all ten"][2] == 1
assert max(seen["better on one, alike on nine"][:2]) < 0.05 and seen["better on one, alike on nine"][2] == 1
assert seen["better on five, alike on five"][1] < 0.01 < 0.05 < seen["better on five, alike on five"][2] < 0.1
assert np.isclose(*seen["better on eight, worse on two"][::2])
P
echo "as described: a tie counts as a data set that the first model has lost"
