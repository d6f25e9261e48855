#!/usr/bin/env bash
# roc-utils 0.2.2, compute_roc(objective="chi2"): "The optimal cut-off c* maximizes the standard chi-square statistic
# with one degree of freedom", with J = (tpr-fpr)^2 / (q * (1-q) * (1/P+1/N)) and q the share called positive. The code
# has no brackets around the divisor: it divides by q alone and multiplies by 1-q, so the fewer are called positive, the
# better.
#
# Seen: tpr 0.6, fpr 0.1, 200 of each class: J = 2.9e-8, by the formula 109.9. 1,000 images, 950 of them positive,
# scores 4 standard deviations apart: the threshold called optimal finds 53 % of the positives, chi-square 53; all of
# them can be found with a chi-square of 886. Balanced classes, 1.5 apart: 48 % found, possible are 78 %. In none of 60
# sets is it the best threshold. No warning.
# Expected: the threshold with the largest statistic, as scipy's chi2_contingency computes it.
# It matters because the threshold is returned to be used, with its name for a proof of its quality.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  roc-utils==0.2.2 scipy==1.11.4 numpy==1.26.4 pandas==2.2.3 matplotlib==3.11.2
cd "$work"
OMP_NUM_THREADS=1 "$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from roc_utils import compute_roc, get_objective
from scipy.stats import chi2_contingency

described = " ".join(inspect.getdoc(get_objective).split())
assert "The optimal cut-off c* maximizes the standard chi-square statistic with one degree of freedom" in described
formula = "J = (tpr-fpr)^2 / ( (P*tpr+N*fpr) / (P+N) * (1 - (P*tpr+N*fpr) / (P+N)) * (1/P+1/N) )"
assert formula in described


def chi_square(classes, called):
    table = [[np.sum((classes == a) & (called == b)) for b in (0, 1)] for a in (0, 1)]
    return chi2_contingency(table, correction=False)[0] if 0 < called.sum() < len(called) else 0.0


given, right = get_objective("chi2", N=200, P=200)(0.1, 0.6), 0.5**2 / (0.35 * 0.65 * (1 / 200 + 1 / 200))
table = [[120, 80], [20, 180]]
print(f"tpr 0.6 and fpr 0.1 of 200 each: J = {given:.2g}, by the formula {right:.1f}")
assert np.isclose(right, chi2_contingency(table, correction=False)[0]) and given < 1e-6

cases = ((400, 0.5, 1.5), (400, 0.5, 4), (400, 0.8, 1.5), (400, 0.8, 4), (1000, 0.95, 1.5), (1000, 0.95, 4))
for images, share, apart in cases:
    rows = []
    for seed in range(10):
        draw = np.random.default_rng(seed)
        classes = draw.permutation(np.arange(images) < share * images).astype(int)
        scores = draw.normal(size=images) + apart * classes
        threshold = compute_roc(scores, classes, 1, objective="chi2").opd["chi2"].opt
        best = max(np.unique(scores), key=lambda value: chi_square(classes, (scores > value).astype(int)))
        row = []
        for value in (threshold, best):
            called = (scores > value).astype(int)
            row += [chi_square(classes, called), called[classes == 1].mean(), (called == classes).mean()]
        rows.append(row)
        assert row[0] < row[3]
    mean = np.mean(rows, axis=0)
    print(f"{images} images, {share:.0%} positive, {apart} apart: chi-square {mean[0]:.0f},", end=" ")
    print(f"{mean[1]:.0%} found,", end=" ")
    print(f"accuracy {mean[2]:.2f}; best threshold: {mean[3]:.0f}, {mean[4]:.0%} and {mean[5]:.2f}")
    assert mean[0] < 0.95 * mean[3] and mean[1] < mean[4] - 0.05
    if (share, apart) == (0.95, 4):
        assert mean[1] < 0.65 and mean[4] > 0.98 and mean[0] < 0.1 * mean[3]
P
echo "as described: the objective multiplies by what it should divide by"
