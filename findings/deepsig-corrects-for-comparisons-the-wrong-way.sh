#!/usr/bin/env bash
# deep-significance (deepsig) 1.2.8: the correction for several comparisons is not Bonferroni's, in three places.
# aso and multi_aso add (1 - level) / comparisons to the confidence level: the more comparisons, the weaker the
# correction. 0.95 becomes 0.9505 for 100, where Bonferroni's is 0.9995. For one comparison it becomes 1.0, and
# multi_aso, which corrects by default, gives two models an epsilon of 1 ("not better") whatever their scores.
# bonferroni_correction corrects the sorted p-values and gives them back in another order than they came.
# The README: "dividing it by the number of comparisons, which corresponds to the Bonferroni correction".
#
# Seen: ten runs each of a and b: aso gives 0.14, which the README takes for "better" (below 0.2), multi_aso 1.0
# for a over b and for b over a. With 10 comparisons aso still gives 0.15, with 1,000 again 0.14; at the levels
# of Bonferroni it gives 0.21 and 0.31. p-values 0.5, 0.001, 0.04 come back as 0.08, 0.5, 0.003: the second is
# no longer significant, the third is.
# Expected: what aso gives at 1 - 0.05 / comparisons, and 1, 0.003, 0.12 in the order of the input.
# bootstrap_test, "paired bootstrap test", draws the runs of a and of b apart: a better than b on each of 20
# datasets by 0.01 gives p = 0.4, where its own permutation_test gives 0.001.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  deepsig==1.2.8 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
from importlib.metadata import metadata

import numpy as np
from deepsig import aso, bonferroni_correction, bootstrap_test, multi_aso, permutation_test

QUIET = {"seed": 0, "show_progress": False}
readme = " ".join(metadata("deepsig").get_payload().split())
assert "by dividing it by the number of comparisons, which corresponds to the Bonferroni correction" in readme
assert "Applies Bonferroni correction to confidence level by default" in " ".join(multi_aso.__doc__.split())
draw = np.random.default_rng(2)
a, b = (mean + 0.01 * draw.normal(size=10) for mean in (0.91, 0.90))
alone, pair = aso(a, b, **QUIET), multi_aso({"a": a, "b": b}, **QUIET)
print(f"a {a.mean():.3f}, b {b.mean():.3f}: aso {alone:.3f}; multi_aso {pair[0, 1]} and {pair[1, 0]}")
assert alone < 0.2 and (pair == 1).all()

for comparisons in (10, 1000):
    given = aso(a, b, num_comparisons=comparisons, **QUIET)
    true = aso(a, b, confidence_level=1 - 0.05 / comparisons, **QUIET)
    print(f"{comparisons} comparisons: {given:.4f}, at the level {1 - 0.05 / comparisons}: {true:.4f}")
    assert given < 0.2 < true
assert abs(given - alone) < 1e-3

corrected = bonferroni_correction(np.array([0.5, 0.001, 0.04]))
print("p-values 0.5, 0.001, 0.04 corrected:", corrected)
assert np.allclose(corrected, [0.08, 0.5, 0.003])

datasets = draw.uniform(0.5, 0.95, 20)
better = datasets + 0.01 + 0.002 * draw.normal(size=20)
paired, permuted = (test(better, datasets, seed=0) for test in (bootstrap_test, permutation_test))
print(f"a better on {(better > datasets).sum()} of 20 datasets: bootstrap {paired}, permutation {permuted:.3f}")
assert "paired bootstrap test" in bootstrap_test.__doc__
assert (better > datasets).all() and paired > 0.2 and permuted < 0.002
P
echo "as described: the corrections for several comparisons are not Bonferroni's"
