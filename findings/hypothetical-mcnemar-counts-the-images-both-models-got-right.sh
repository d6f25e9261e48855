#!/usr/bin/env bash
# hypothetical 0.3.0, McNemarTest(table): whether the off-diagonal cells, the images that only one of two models got
# right, differ: by its documentation (n12 - n21)^2 / (n12 + n21). The code subtracts n22 from n11, the images that
# both models got wrong from those that both got right. WilcoxonTest(y1, y2) sums the ranks of the differences that
# are above 0; the code tests whether the rank is above 0, which it always is, so that p depends on the number of
# pairs only.
#
# Seen: 1,000 images, 10 right by the first model only and 10 by the second only: p = 0. 60 and 10: p = 0.97. Of 500
# pairs of equally good models 500 differ at 0.05. The exact p of McNemar is 2.0 if the models are swapped. Wilcoxon
# on 20 scores of each model: p = 0.00009, with a difference, without and with the reverse. The documentation's own
# example of McNemar gives 20.05 where 4.55 is printed there. No warning.
# Expected: statsmodels' mcnemar and scipy's wilcoxon: p = 1 and p < 0.000001; about 25 of 500; at most 1.
# It matters because these are the two tests for two models on one test set: each pair of models that is right more
# often than wrong differs significantly.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  hypothetical==0.3.0 numpy-indexed==0.3.7 numpy==1.26.4 pandas==2.2.3 scipy==1.13.1 statsmodels==0.14.4
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
import warnings

import numpy as np
from hypothetical.contingency import McNemarTest
from hypothetical.nonparametric import WilcoxonTest
from scipy.stats import wilcoxon
from statsmodels.stats.contingency_tables import mcnemar

described = inspect.getdoc(McNemarTest)
assert r"\chi^2 = \frac{(n_{12} - n_{21})^2}{n_{12} + n_{21}}" in described
assert "McNemarTest([[59, 6], [16, 80]])" in described and "'McNemar x2-statistic': 4.545" in described
assert "1` for ranked values where the corresponding matched pair difference is positive" in " ".join(
    inspect.getdoc(WilcoxonTest).split()
)
warnings.simplefilter("error")

given = McNemarTest([[59, 6], [16, 80]], continuity=False).mcnemar_x2_statistic
print(f"the documentation's example: {given:.2f}, {mcnemar([[59, 6], [16, 80]], False, False).statistic:.2f} is right")
assert np.isclose(given, (59 - 80) ** 2 / (6 + 16))

for table in ([[900, 10], [10, 80]], [[465, 60], [10, 465]]):
    given, right = McNemarTest(table).mcnemar_p_value, mcnemar(table, exact=True).pvalue
    print(f"alone right on {table[0][1]} and {table[1][0]} images: p = {given:.2g}, {right:.2g} is right")
    assert (given < 1e-6) == (right > 0.9) and (given > 0.9) == (right < 1e-6)

swapped = McNemarTest(np.transpose([[59, 6], [16, 80]])).exact_p_value
print(f"exact p of the example, its models swapped: {swapped:.2f}, {mcnemar([[59, 6], [16, 80]]).pvalue:.2f} is right")
assert swapped > 1.9

draw = np.random.default_rng(0)
found = right = 0
for _ in range(500):
    easy = draw.normal(size=1000)
    first, second = ((easy + draw.normal(size=1000) > -1) for _ in range(2))
    table = [[np.sum((first == a) & (second == b)) for b in (True, False)] for a in (True, False)]
    found += McNemarTest(table).mcnemar_p_value < 0.05
    right += mcnemar(table, exact=False).pvalue < 0.05
print(f"500 pairs of equally good models: {found} differ at 0.05, {right} by statsmodels")
assert found == 500 and right < 50

for shift in (0, 1, -1):
    first, second = draw.normal(shift, 1, 20), draw.normal(0, 1, 20)
    given, right = WilcoxonTest(first, second), wilcoxon(first, second)
    print(f"Wilcoxon, difference {shift}: V {given.V:g}, p = {given.p:.5f}; {right.pvalue:.5f} is right")
    assert given.V == 210 and 0.00008 < given.p < 0.00009
    assert (right.pvalue > 0.05) == (shift == 0)
P
echo "as described: McNemar's test is of the images on which the models agree"
