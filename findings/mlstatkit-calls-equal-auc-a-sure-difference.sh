#!/usr/bin/env bash
# MLstatkit 0.1.91: Delong_test of two models that order the images alike has variance 0 and goes over to a
# bootstrap whose p-value is 2 * min(share of differences <= 0, share of differences > 0). If every difference
# is 0, that is 2 * min(1, 0) = 0: the surest difference there can be, reported with z = 0. The docstring
# promises "automatic fallback to bootstrap when degeneracy is detected" and "a two-sided p-value".
#
# Seen: a model against itself after temperature scaling, and two models that both separate the classes: AUCs
# equal, z = 0.0, p = 0.0. A model against itself with one pair of images in another order: p = 0.48.
# Expected: 1.0, as the package's own permutation test says, or NaN, as DeLong's z is 0 / 0.
# It matters to whoever goes through a table of p-values below 0.05: the pairs that do not differ are in it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  MLstatkit==0.1.91 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
cd "$work"
TQDM_DISABLE=1 "$work/env/bin/python" -W ignore - <<'P'
import numpy as np
from MLstatkit import Delong_test, Permutation_test

draw = np.random.default_rng(0)
labels = draw.integers(0, 2, 400)
logits = draw.normal(size=400) + 1.5 * labels


def probability(logits, temperature=1.0):
    return 1 / (1 + np.exp(-logits / temperature))


def compare(name, one, other):
    z, p, _, _, *aucs, info = Delong_test(labels, one, other, random_state=0)
    permuted = Permutation_test(labels, one, other, "roc_auc", n_bootstraps=200)[2]
    print(f"{name}: AUC {aucs[0]:.5f} and {aucs[1]:.5f}, z {z:.2f}, p {p:.2f} ({info['method']});", end=" ")
    print(f"by permutation p {permuted:.2f}")
    return aucs, z, p, info["method"], permuted


def words(name):
    return name in " ".join(Delong_test.__doc__.split())


assert words("automatic fallback to bootstrap when degeneracy is detected") and words("two-sided p-value")
perfect = [labels + 0.9 * draw.random(400) for _ in range(2)]
for name, pair in (
    ("temperature 1.7", [probability(logits), probability(logits, 1.7)]),
    ("the same scores", [logits, logits]),
    ("both perfect", perfect),
):
    aucs, z, p, method, permuted = compare(name, *pair)
    assert aucs[0] == aucs[1] and (z, p, method) == (0.0, 0.0, "bootstrap") and permuted > 0.9

order = np.argsort(logits)
first = next(n for n in range(150, 399) if labels[order[n]] != labels[order[n + 1]])
one, other = order[first], order[first + 1]
swapped = logits.copy()
swapped[[one, other]] = logits[[other, one]]
aucs, z, p, method, _ = compare("one pair swapped", logits, swapped)
assert 0 < abs(aucs[0] - aucs[1]) < 1e-4 and method == "delong" and 0.2 < p < 0.5
P
echo "as described: two models of one AUC differ with p = 0"
