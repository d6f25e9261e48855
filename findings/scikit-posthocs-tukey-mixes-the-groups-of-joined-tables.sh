#!/usr/bin/env bash
# scikit-posthocs 0.17.1, posthoc_tukey_hsd with a table: it takes the rows of a group by their index labels. In a table
# that was joined of several, pd.concat([of_one_model, of_another]), each label occurs once in every group, so each
# group gets the rows of all groups. All groups are then the same, all p-values 1, and no warning is given. Of the
# functions that take such a table the others do not look at the index. concat keeps the labels unless it
# is told ignore_index=True, and so does explode.
#
# Seen: three models with ten scores each, one better by 1.5 standard deviations: p = 4e-5 and 3e-5 for that one,
# 0.99 between the other two; of the joined table 1.0 for all three pairs, sorted or not. posthoc_tukey, the other
# implementation of the same test, gives the same of both tables, and so do posthoc_ttest, dunn, conover and scheffe.
# Expected: the same p-values, whatever the index.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  scikit-posthocs==0.17.1 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 statsmodels==0.15.0
cd "$work"
OMP_NUM_THREADS=1 MPLBACKEND=Agg env/bin/python -W error::UserWarning - <<'P'
import numpy as np
import pandas as pd
import scikit_posthocs
from scipy.stats import tukey_hsd

MODELS = {"a": 0.0, "b": 0.5, "c": 2.0}
draw = np.random.default_rng(0)
tables = [pd.DataFrame({"score": draw.normal(mean, 1, 10), "model": name}) for name, mean in MODELS.items()]
joined, numbered = pd.concat(tables), pd.concat(tables, ignore_index=True)
assert joined.to_numpy().tolist() == numbered.to_numpy().tolist()


def p_values(name, table, **options):
    test = getattr(scikit_posthocs, f"posthoc_{name}")
    return test(table, val_col="score", group_col="model", **options).loc[list(MODELS), list(MODELS)].to_numpy()


true = tukey_hsd(*(table["score"] for table in tables)).pvalue
for options in ({}, {"sort": False}):
    right, wrong = (p_values("tukey_hsd", table, **options) for table in (numbered, joined))
    pairs = np.triu_indices(3, 1)
    print(f"a-b, a-c, b-c: {right[pairs].round(5)}; of the joined table {wrong[pairs]}")
    assert np.allclose(right, true) and right[0, 2] < 1e-3 and right[1, 2] < 1e-3
    assert np.allclose(wrong, 1)
for name in ("tukey", "ttest", "dunn", "conover", "scheffe"):
    assert np.allclose(p_values(name, joined), p_values(name, numbered)), name
P
echo "as described: Tukey's test finds no difference in a joined table"
