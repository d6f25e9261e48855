#!/usr/bin/env bash
# evidently 0.7.23, ValueDrift and DataDriftPreset: for a column of categories and at most 1,000 reference rows they use
# a chi-square test by default, "Chisquare test of two samples", with a threshold of 0.05 on the p-value. The code
# scales the reference's counts to the size of the current sample and passes them to SciPy's chisquare() as the expected
# counts, as if the reference were the true distribution. It is a sample with noise of its own.
#
# Seen: predicted classes, both samples from the same distribution over 10 classes, 500 rows each: "drift" in about 50 %
# of 200 pairs instead of 5 %. With 300 rows in the reference and 1,000 in the current sample, about 90 %. With 2,000
# current rows nearly all. scipy.stats.chi2_contingency on the same counts: about 5 % each time.
# Closed form, for samples of equal size: the statistic is twice the right one, so P(chi2 with 9 degrees of freedom >
# 16.92 / 2) = 49 %.
# Expected: 5 %, from the test of two samples.
# It matters because a monitor on predicted classes raises an alarm every other day where nothing has changed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  evidently==0.7.23 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pydantic==2.14.4
cd "$work"
DO_NOT_TRACK=1 "$work/env/bin/python" -W ignore - <<'P'
import numpy as np
import pandas as pd
from evidently import Report
from evidently.legacy.calculations.stattests import chisquare_stattest
from evidently.metrics import ValueDrift
from scipy.stats import chi2, chi2_contingency

assert chisquare_stattest.__doc__.startswith("Chisquare test of two samples.")
draw = np.random.default_rng(0)
CLASSES = np.array([f"class {number}" for number in range(10)])


def compare(reference_rows, current_rows):
    reference, current = draw.choice(CLASSES, reference_rows), draw.choice(CLASSES, current_rows)
    report = Report([ValueDrift(column="class")])
    run = report.run(pd.DataFrame({"class": current}), pd.DataFrame({"class": reference}))
    found = run.dict()["metrics"][0]
    assert "method=chi-square p_value,threshold=0.05" in found["metric_name"], found["metric_name"]
    counts = [[(sample == name).sum() for name in CLASSES] for sample in (reference, current)]
    return float(found["value"]) < 0.05, chi2_contingency(counts).pvalue < 0.05


expected = chi2.sf(chi2.isf(0.05, 9) / 2, 9)
print(f"expected with samples of equal size: {expected:.3f}")
for reference_rows, current_rows, least, most in ((500, 500, 0.4, 0.6), (300, 1000, 0.8, 0.98), (300, 2000, 0.94, 1)):
    drifts, right = np.mean([compare(reference_rows, current_rows) for _ in range(200)], axis=0)
    print(f"{reference_rows} reference, {current_rows} current rows, one distribution: drift in {drifts:.1%}", end=" ")
    print(f"of 200 pairs, by chi2_contingency in {right:.1%}")
    assert least <= drifts <= most and right < 0.1
P
echo "as described: the chi-square test of two samples gives many times its share of false alarms"
