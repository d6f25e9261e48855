#!/usr/bin/env bash
# autorank 1.3.0 reports more significant differences than the tests that it names.
# Three or more normal models: the report says that models differ where their Tukey intervals do not
# overlap, and then counts those as different whose means are more than one half-width apart, not two.
# And alpha does not reach Tukey's test: it is run at 0.05 whatever was asked for.
# Two models that are not normal: Wilcoxon's test is one-sided, towards the model with the larger median
# in the same data, and the report holds that p-value against alpha.
#
# Seen: five models on 20 datasets: seven pairs are reported as different, two of them by Tukey's test;
# c and e are among the others, with p = 0.52 and overlapping intervals. With alpha 0.001 the intervals
# are those of 0.05. Two models that do not differ: 95 of 1,000 reports say that they do, 54 by the
# two-sided test.
# Expected: what the tests say, at the alpha that was asked for.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  autorank==1.3.0 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 statsmodels==0.15.0
cd "$work"
MPLBACKEND=Agg "$work/env/bin/python" -W ignore - <<'P'
import io
from contextlib import redirect_stdout

import numpy as np
import pandas as pd
from autorank import autorank, create_report
from scipy import stats


def ranked(data, alpha=0.05):
    with redirect_stdout(io.StringIO()) as text:
        result = autorank(data, alpha=alpha)
        create_report(result)
    return result, text.getvalue()


draw = np.random.default_rng(3)
five = pd.DataFrame(draw.normal(size=(20, 5)) + [0, 0.6, 0.7, 0.8, 1.6], columns=list("abcde"))
result, report = ranked(five)
intervals = result.rankdf[["ci_lower", "ci_upper"]].astype(float)
tukey = pd.DataFrame(stats.tukey_hsd(*five.to_numpy().T).pvalue, five.columns, five.columns)
print(report.strip().splitlines()[-1])
others = ["ab", "ac", "ad", "ae", "be", "ce", "de"]
print("by Tukey's test:", ", ".join(f"{one}-{two} p {tukey.loc[one, two]:.2f}" for one, two in others))
assert (result.omnibus, result.posthoc) == ("anova", "tukeyhsd")
assert "significantly different if their confidence intervals are not overlapping" in report
assert "within the following groups: b, d, and c. All other differences are significant." in report
assert [pair for pair in others if tukey.loc[pair[0], pair[1]] < 0.05] == ["ac", "ae"]
assert tukey.loc["c", "e"] > 0.5 and intervals.loc["c", "ci_upper"] > intervals.loc["e", "ci_lower"]
assert intervals.equals(ranked(five, 0.001)[0].rankdf[["ci_lower", "ci_upper"]].astype(float))

draw = np.random.default_rng(0)
said = found = runs = 0
while runs < 1000:
    two = pd.DataFrame(draw.standard_exponential((30, 2)) ** 2, columns=["a", "b"])
    result, report = ranked(two)
    if result.omnibus == "wilcoxon":
        runs += 1
        said += "We reject the null hypothesis" in report
        found += stats.wilcoxon(two["a"], two["b"]).pvalue < 0.05
print(f"two models that do not differ: {said} of {runs} reports say they do, {found} by the two-sided test")
assert 80 <= said <= 120 and 30 <= found <= 70
P
echo "as described: autorank reports differences that its tests do not find"
