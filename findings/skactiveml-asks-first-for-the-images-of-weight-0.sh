#!/usr/bin/env bash
# scikit-activeml 1.0.1, UncertaintySampling: "utility_weight: Weight for each candidate (multiplied with utilities).
# Usually, this is to be the density of a candidate", and "for the least confident and margin sampling cost-sensitive
# variants are implemented considering a user-defined cost matrix". With a cost matrix, margin sampling returns minus
# the margin, which is never above 0. A weight of 0 then gives the highest utility there is, and a high weight a low
# one.
#
# Seen: 340 unlabelled samples, of which 100 have weight 0 (copies, or outliers of no density), and the cost matrix that
# counts each mistake as 1. The 50 samples asked for: with least_confident none of the 100, with margin_sampling and no
# matrix none, with margin_sampling and the matrix all 50. With densities as weights the mean density of those asked for
# falls below that of the pool instead of rising above it. No warning.
# Expected: none of the 100, as without the matrix: this matrix has no effect on which sample is the least certain.
# It matters because the labels are paid for, and all of them go to the images that were to be left out.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  scikit-activeml==1.0.1 scikit-learn==1.9.1 numpy==2.4.6 scipy==1.16.3
cd "$work"
"$work/env/bin/python" - <<'P'
import inspect
import warnings

import numpy as np
from skactiveml.classifier import SklearnClassifier
from skactiveml.pool import UncertaintySampling
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression

described = " ".join(inspect.getdoc(UncertaintySampling.query).split())
assert "Weight for each candidate (multiplied with utilities). Usually, this is to be the density" in described
described = " ".join(inspect.getdoc(UncertaintySampling).split())
assert "cost-sensitive variants are implemented considering a user-defined cost matrix" in described
warnings.simplefilter("error")
features, truth = make_classification(400, 10, n_informative=6, n_classes=3, random_state=0)
labels = np.where(np.arange(400) < 60, truth, np.nan)
of_weight_0 = np.arange(100, 200)
weights = np.ones(400)
weights[of_weight_0] = 0
density = np.random.default_rng(0).random(400)
equal_costs = 1 - np.eye(3)


def asked(method, costs, weight):
    query = UncertaintySampling(method=method, cost_matrix=costs, random_state=0)
    model = SklearnClassifier(LogisticRegression(), classes=[0, 1, 2])
    return query.query(features, labels, model, batch_size=50, utility_weight=weight)


# by the definition: the margin between the two likeliest classes, smallest first, without those of weight 0
ordered = np.sort(LogisticRegression().fit(features[:60], truth[:60]).predict_proba(features), axis=1)
margin = ordered[:, -1] - ordered[:, -2]
margin[:60] = margin[of_weight_0] = np.inf
right = set(np.argsort(margin)[:50].tolist())

for method, costs, expected in (
    ("least_confident", None, 0),
    ("least_confident", equal_costs, 0),
    ("margin_sampling", None, 0),
    ("margin_sampling", equal_costs, 50),
):
    chosen = asked(method, costs, weights)
    found = np.isin(chosen, of_weight_0).sum()
    dense = density[asked(method, costs, density)].mean() - density[60:].mean()
    named = "no cost matrix" if costs is None else "equal costs"
    print(f"{method}, {named}: {found} of 50 have weight 0; mean density {dense:+.2f} from that of the pool")
    assert found == expected and (dense < 0) == (expected == 50)
    if method == "margin_sampling":
        assert (set(chosen.tolist()) == right) == (costs is None)
P
echo "as described: with a cost matrix the samples of weight 0 are asked for first"
