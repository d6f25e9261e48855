#!/usr/bin/env bash
# statkit 1.1.0, metrics: sensitivity counts an image as positive at probability >= threshold, specificity at
# probability > threshold; the docstrings of both say "exceeds". An image at the threshold is right for both, whatever
# its label, and youden_j adds the two up. Probabilities that stand at a threshold are the rule for votes of a few
# models, k nearest neighbours and trees, and for any threshold that youden_j_threshold returns, since it is one of the
# scores.
#
# Seen: a classifier that says 0.5 for every image has sensitivity 1, specificity 1 and Youden's J 1. The share of
# votes of four models that are right 60 % of the time: J 0.67, of either rule alone 0.33 and 0.35; at the threshold
# that youden_j_threshold returns for them 0.46, where no threshold reaches more than 0.35.
# Expected: J 0, and 0.33 or 0.35: scikit-learn's confusion matrix, by either rule.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  statkit==1.1.0 numpy==2.4.6 pandas==3.1.1 scikit-learn==1.9.1
cd "$work"
env/bin/python - <<'P'
import numpy as np
from sklearn.metrics import balanced_accuracy_score
from statkit.metrics import sensitivity, specificity, youden_j, youden_j_threshold

draw = np.random.default_rng(0)
labels = draw.integers(0, 2, 1000)


def of_one_rule(predicted):
    return 2 * balanced_accuracy_score(labels, predicted) - 1


coin = np.full(1000, 0.5)
print("0.5 for all:", sensitivity(labels, coin), specificity(labels, coin), youden_j(labels, coin))
assert sensitivity(labels, coin) == specificity(labels, coin) == youden_j(labels, coin) == 1
assert of_one_rule(coin >= 0.5) == of_one_rule(coin > 0.5) == 0

votes = np.mean([np.where(draw.random(1000) < 0.6, labels, 1 - labels) for _ in range(4)], axis=0)
rules = of_one_rule(votes >= 0.5), of_one_rule(votes > 0.5)
print(f"four votes: J {youden_j(labels, votes):.3f}; >= {rules[0]:.3f}, > {rules[1]:.3f}")
assert youden_j(labels, votes) > 0.6 and max(rules) < 0.4

threshold = youden_j_threshold(labels, votes)
found = sensitivity(labels, votes, threshold) + specificity(labels, votes, threshold) - 1
best = max(of_one_rule(votes >= at) for at in np.unique(votes))
print(f"at its own threshold, {threshold}: J {found:.3f}; the highest of any threshold {best:.3f}")
assert found > best + 0.08
P
echo "as described: a classifier that always says 0.5 is perfect"
