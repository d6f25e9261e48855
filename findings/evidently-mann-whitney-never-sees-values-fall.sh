#!/usr/bin/env bash
# evidently 0.7.23, ValueDrift(method="mannw"), and the same test in data drift reports: by its docstring it returns
# "the two-tailed p-value". The code asks SciPy for alternative="less", so it only tests whether the current values are
# larger than the reference. Where they have fallen, the p-value is close to 1.
#
# Seen: 500 reference and 500 current confidences of a classifier. Current ones 0.1 higher, one standard deviation:
# p < 1e-20. Current ones 0.1 lower: p = 1, "no drift"; SciPy's two-sided test gives p < 1e-20 both times. Of 100 pairs
# of samples that differ by a fall of half a standard deviation none is reported at 0.05, of rises that size all are.
# Expected: a p-value that does not depend on the direction.
# It matters because a falling confidence, similarity or score is what one watches a deployed classifier for. Its other
# tests, such as "ks" or "t_test", are two-sided.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  evidently==0.7.23 pandas==2.3.3 numpy==2.4.6 scipy==1.17.1 scikit-learn==1.9.1 pydantic==2.14.4
cd "$work"
DO_NOT_TRACK=1 "$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
import pandas as pd
from evidently import Report
from evidently.legacy.calculations.stattests import mann_whitney_urank_stattest
from evidently.metrics import ValueDrift
from scipy.stats import mannwhitneyu

assert "pvalue: the two-tailed p-value" in inspect.getsource(mann_whitney_urank_stattest)
draw = np.random.default_rng(0)


def confidences(mean):
    return draw.normal(mean, 0.1, 500)


def drift(reference, current, method="mannw"):
    report = Report([ValueDrift(column="confidence", method=method)])
    run = report.run(pd.DataFrame({"confidence": current}), pd.DataFrame({"confidence": reference}))
    return float(run.dict()["metrics"][0]["value"])


reference = confidences(0.6)
for name, mean in (("rises", 0.7), ("falls", 0.5)):
    current = confidences(mean)
    found = {method: drift(reference, current, method) for method in ("mannw", "ks", "t_test")}
    right = mannwhitneyu(reference, current).pvalue
    print(f"confidence {name} by 0.1:", {method: f"{p:.1e}" for method, p in found.items()}, f"SciPy {right:.1e}")
    assert right < 1e-20 and found["ks"] < 1e-20 and found["t_test"] < 1e-20
    assert found["mannw"] > 0.999 if name == "falls" else found["mannw"] < 1e-20

for name, mean in (("rise", 0.65), ("fall", 0.55)):
    reported = [drift(confidences(0.6), confidences(mean)) < 0.05 for _ in range(100)]
    print(f"a {name} of half a standard deviation is reported in {np.mean(reported):.0%} of 100 pairs of samples")
    assert np.mean(reported) > 0.99 if name == "rise" else not any(reported)
P
echo "as described: the two-sided test does not see values fall"
