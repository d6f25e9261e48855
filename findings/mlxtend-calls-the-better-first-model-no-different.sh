#!/usr/bin/env bash
# mlxtend 0.25.0: evaluate.proportion_difference, "difference of proportions test for classifiers", returns
# norm.cdf(z), the lower tail alone. If the first model is the better one, p is near 1 however large the
# gap; if it is the worse one, p is half of what a test of a difference gives. The docstring does not say
# so; the user guide rejects at z = 1.96, and then calls its example with z = -1.754 significant.
#
# Seen: accuracies 0.95 and 0.85 of 1,000 images give p = 1.0, in the other order 2e-14. The guide's
# 0.84 and 0.92 of 100 give 0.040, in the other order 0.960. mcnemar and cochrans_q, beside it in the same
# module, give one p-value for both orders.
# Expected: 4e-14 and 0.079 in either order, or an argument that names the alternative.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check mlxtend==0.25.0 statsmodels==0.15.0
cd "$work"
"$work/env/bin/python" - <<'P'
import numpy as np
from mlxtend.evaluate import cochrans_q, mcnemar, mcnemar_table, proportion_difference
from statsmodels.stats.proportion import test_proportions_2indep


def two_tailed(one, other, images):
    return test_proportions_2indep(one * images, images, other * images, images, method="wald").pvalue


def both_orders(first, second, images):
    p, swapped = (proportion_difference(*pair, images)[1] for pair in [(first, second), (second, first)])
    true = two_tailed(first, second, images)
    print(f"{first} and {second} of {images}: p {p:.3g}, swapped {swapped:.3g}; statsmodels {true:.2g}")
    assert np.isclose(true, two_tailed(second, first, images), rtol=1e-6, atol=0)
    assert np.isclose(2 * min(p, swapped), true, rtol=1e-3, atol=0)
    assert np.isclose(p + swapped, 1)
    return p, true


p, true = both_orders(0.95, 0.85, 1000)
assert p > 0.999 and true < 1e-12
p, true = both_orders(0.84, 0.92, 100)
assert round(p, 3) == 0.040 and round(true, 3) == 0.079

labels = np.zeros(100, int)
one, other = (np.arange(100) < 16).astype(int), (np.arange(100) % 12 == 3).astype(int)
tables = mcnemar_table(labels, one, other), mcnemar_table(labels, other, one)
assert mcnemar(tables[0])[1] == mcnemar(tables[1])[1]
assert np.isclose(cochrans_q(labels, one, other)[1], cochrans_q(labels, other, one)[1])
P
echo "as described: the p-value of a difference is near 1 where the first model is better"
