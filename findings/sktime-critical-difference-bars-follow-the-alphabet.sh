#!/usr/bin/env bash
# sktime 1.2.0, sktime.benchmarking.analysis.CriticalDifferenceDiagram: it "computes average ranks and statistically
# similar cliques" from a table of results and draws them. plot_critical_difference, which draws, asks for the "best
# strategy" in the "most left column"; the diagram hands it the models in the order of the alphabet. Bars are then left
# out, and drawn from the first to the last of their models by the alphabet instead of by rank.
#
# Seen: four models on 40 data sets, average ranks 1.8, 2.3, 2.5 and 3.3, critical difference 0.74. Named "a" to "d"
# from best to worst: one bar, from 1.8 to 2.5. With the same scores and the names in another order: other bars in 21 of
# the 24 orders, such as one from 1.8 to 2.3 and one from 2.3 to 2.5, by which the first and the third differ. No
# warning.
# Expected: the same bar whatever the models are called.
# It matters because renaming a model changes which models are said to be alike.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  sktime==1.2.0 matplotlib==3.11.2 scikit-posthocs==0.17.1 numpy==2.4.6 pandas==3.0.6 scipy==1.17.1 \
  scikit-learn==1.9.1 scikit-base==1.1.1
cd "$work"
MPLBACKEND=Agg "$work/env/bin/python" -W ignore - <<'P'
import inspect
from itertools import permutations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import rankdata
from sktime.benchmarking.analysis import CriticalDifferenceDiagram
from sktime.benchmarking.critical_difference import plot_critical_difference

described = " ".join(inspect.getdoc(CriticalDifferenceDiagram).split())
assert "computes average ranks and statistically similar cliques (Friedman + Nemenyi)" in described
assert "(best strategy is in most left column)" in " ".join(inspect.getdoc(plot_critical_difference).split())

draw = np.random.default_rng(0)
errors = np.array([0.1000, 0.1008, 0.1012, 0.1050]) + draw.uniform(0, 0.01, (40, 4))
errors = errors[:, np.argsort(rankdata(errors, axis=1).mean(axis=0))]
ranks = rankdata(errors, axis=1).mean(axis=0)


def bars(figure, axes):
    """The average ranks from which to which each bar goes, the heaviest lines of the diagram."""
    plt.close(figure)
    ends = [np.sort(line.get_xdata()) * 10 for line in axes.lines if line.get_linewidth() == 4]
    return sorted(tuple((4 - (place[::-1] - 2.5) / 5 * 3).tolist()) for place in ends)


right = bars(*plot_critical_difference(errors, ["a", "b", "c", "d"], return_fig=True))
print(f"average ranks {ranks}, bars of the ordered table {np.round(right, 1).tolist()}")
other = {}
for names in permutations("abcd"):
    table = pd.DataFrame(errors, columns=list(names)).rename_axis("validation_id").reset_index()
    results = table.melt("validation_id", var_name="model_id", value_name="error_mean")
    diagram = CriticalDifferenceDiagram(metric="error")
    given = bars(*diagram.plot(results))
    assert np.allclose(diagram.evaluate(results)["rank"], ranks)  # the ranks themselves are right
    if len(given) != len(right) or not np.allclose(given, right, atol=0.03):
        other["".join(names)] = given
for names in list(other)[:4]:
    print(f"named {names} from best to worst: bars {np.round(other[names], 1).tolist()}")
print(f"other bars in {len(other)} of 24 orders")
assert len(right) == 1 and "abcd" not in other and len(other) >= 12
P
echo "as described: the bars depend on what the models are called"
