#!/usr/bin/env bash
# doubtlab 0.2.4, benchmark, which measures whether doubtful labels are found: both steps take other rows.
# shuffle_labels, "shuffles subset of labels", moves "everything over by one index" (a comment in it): it
# moves the indices, and writes them where the labels were.
# calculate_precision_recall_at_k takes "the dataframe with predicates from `ensemble.get_predicates`" and sets
# the array of wrong labels beside it by place: get_predicates has sorted the rows by doubt, the array has not.
#
# Seen: the docstring's example, 10,000 labels of mean 0 and spread 1, of which 100 are shuffled: these are row
# numbers then, up to 9,9xx. 1,000 labels of three classes: 100 of them become 100 new classes. With 100 labels
# flipped and a reason that doubts just those, precision at 50 is 0.08, as of a random choice; of the same table,
# put back into the order of the images, it is 1.0. Nothing is said.
# Expected: labels of other images of the same set; precision 1.0 for a reason that is always right.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  doubtlab==0.2.4 cleanlab==2.9.0 numpy==2.4.6 pandas==3.1.1 scikit-learn==1.9.1 scipy==1.17.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import numpy as np
from doubtlab.benchmark import calculate_precision_recall_at_k, flip_labels, shuffle_labels
from doubtlab.ensemble import DoubtEnsemble

draw = np.random.default_rng(0)
labels = draw.integers(3, size=1000)

assert "Shuffles subset of labels" in shuffle_labels.__doc__
for kind, given in (("numbers", draw.normal(size=10_000)), ("classes", labels)):
    shuffled, changed = shuffle_labels(given, n=100)
    rows = np.flatnonzero(changed)
    new = np.setdiff1d(shuffled, given)
    print(f"{kind} {given.min():.1f} to {given.max():.1f}, 100 shuffled: {len(new)} new ones, up to {new.max():.0f}")
    assert len(new) >= 95 and set(shuffled[rows]) == set(rows)

flipped, wrong = flip_labels(labels, n=100)


def doubts_the_flipped(images, given):
    return (given != labels).astype(float)


def precision(table, at=50):
    found = calculate_precision_recall_at_k(table, wrong, max_k=at + 1)
    return found[(found["k"] == at) & (found["variable"] == "precision_at_k")]["value"].item()


table = DoubtEnsemble(flipped=doubts_the_flipped).get_predicates(np.zeros((1000, 1)), flipped)
assert "the dataframe with predicates from `ensemble.get_predicates`" in calculate_precision_recall_at_k.__doc__
print(f"precision at 50 of a reason that is always right: {precision(table):.2f},", end=" ")
print(f"of the table in the order of the images: {precision(table.sort_index()):.2f}")
assert wrong[table.index[:100]].all(), "the first hundred rows of the table are the flipped ones"
assert precision(table) < 0.3 and precision(table.sort_index()) == 1
P
echo "as described: the benchmark makes row numbers of labels and looks at other rows"
