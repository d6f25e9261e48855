#!/usr/bin/env bash
# holisticai 1.0.14, classification_efficacy_metrics(y_pred, y_true, y_proba): "computes all the relevant classification
# efficacy metrics" of a "Predictions vector", a "Target vector" and a "Probability Matrix". It hands the predictions to
# sklearn as the truth and the truth as the predictions, and AUC and Log Loss never read the probabilities.
#
# Seen: 2,000 images, 21 % positive, a model that finds 92 % of them and is right in 47 % of its alarms. The table says
# precision 0.92, recall 0.47, balanced accuracy 0.72 (sklearn: 0.82), AUC 0.72 (0.92), Log Loss 8.6 (0.41). With the
# probabilities replaced by noise, or turned round, every number stays what it was. No warning.
# Expected: sklearn's scores of (y_true, y_pred), and AUC and log loss of the second column of y_proba.
# It matters because a cautious detector is reported as a precise one, and a model's probabilities as worthless.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  holisticai==1.0.14 scikit-learn==1.9.1 numpy==2.4.6 pandas==2.3.3 scipy==1.17.1
cd "$work"
"$work/env/bin/python" - 2>log <<'P' || { cat log; exit 1; }
import inspect
import warnings

import numpy as np
from holisticai.efficacy.metrics import classification_efficacy_metrics
from sklearn.metrics import balanced_accuracy_score, log_loss, precision_score, recall_score, roc_auc_score

described = " ".join(inspect.getdoc(classification_efficacy_metrics).split())
assert "y_pred : array-like Predictions vector (binary) y_true (optional) : numpy array Target vector" in described
assert "y_proba (optional) : array-like Probability Matrix estimates (num_examples, 2)" in described
assert list(inspect.signature(classification_efficacy_metrics).parameters) == ["y_pred", "y_true", "y_proba"]

draw = np.random.default_rng(0)
true = (draw.random(2000) < 0.2).astype(int)
share = 1 / (1 + np.exp(-(2 * true - 1 + draw.normal(size=2000))))
said = (share > 0.4).astype(int)

right = {
    "Precision": precision_score(true, said),
    "Recall": recall_score(true, said),
    "Balanced Accuracy": balanced_accuracy_score(true, said),
    "AUC": roc_auc_score(true, share),
    "Log Loss": log_loss(true, share),
}
found, alarms = np.sum(true & said), said.sum()
assert np.isclose(right["Precision"], found / alarms) and np.isclose(right["Recall"], found / true.sum())
print(f"{true.sum()} positive images, {alarms} alarms, {found} of them right")


def table(probabilities):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return classification_efficacy_metrics(y_pred=said, y_true=true, y_proba=probabilities)["Value"]


given = table(np.column_stack([1 - share, share]))
for name, value in right.items():
    print(f"{name}: {given[name]:.2f}, sklearn {value:.2f}")
assert np.isclose(given["Precision"], right["Recall"]) and np.isclose(given["Recall"], right["Precision"])
assert right["Balanced Accuracy"] - given["Balanced Accuracy"] > 0.1
assert np.isclose(given["Balanced Accuracy"], balanced_accuracy_score(said, true))
assert right["AUC"] - given["AUC"] > 0.1 and np.isclose(given["AUC"], roc_auc_score(said, true))
assert given["Log Loss"] > 10 * right["Log Loss"] and np.isclose(given["Log Loss"], log_loss(said, true))

noise = draw.random(2000)
for what, other in (("noise", noise), ("turned round", 1 - share)):
    again = table(np.column_stack([1 - other, other]))
    print(f"probabilities {what}: AUC {again['AUC']:.2f}, sklearn {roc_auc_score(true, other):.2f};", end=" ")
    print(f"Log Loss {again['Log Loss']:.2f}, sklearn {log_loss(true, other):.2f}")
    assert again.equals(given)
P
echo "as described: precision and recall are swapped and the probabilities are not read"
