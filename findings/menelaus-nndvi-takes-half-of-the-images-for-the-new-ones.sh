#!/usr/bin/env bash
# menelaus 0.2.0, NNDVI, which compares a reference batch with a new one by their nearest neighbours: it "analyzes
# distance changes in the reference and test sections" of the two. The batches are stacked and the stack is cut in the
# middle, however long either is. Beside a new batch of 40 images, 180 of a reference of 400 are taken for new ones.
#
# Seen: two features, drift by one standard deviation in both. 200 images against 200: found in 20 of 20 batches. A new
# batch of 40 against 400: in 6 of 20, and 400 against 40: in 2 of 20. By the same distance, with the stack cut where
# the batches meet, 19 and 20 of 20. No warning.
# Expected: the sections are the two batches.
# It matters because a reference is as a rule larger than a new batch, and the drift looked for is then not found.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  menelaus==0.2.0 numpy==2.1.3 scipy==1.14.1 pandas==3.1.1 scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from menelaus.data_drift import NNDVI
from menelaus.partitioners import NNSpacePartitioner
from scipy.stats import norm
from sklearn.neighbors import NearestNeighbors

described = " ".join(inspect.getdoc(NNSpacePartitioner).split())
assert "v1 (numpy.array): indices of first sample data within ``D``" in described
assert "v2 (numpy.array): indices of second sample data within ``D``" in described
assert "analyzes distance changes in the reference and test sections" in " ".join(inspect.getdoc(NNDVI).split())


def given(reference, new):
    detector = NNDVI(k_nn=10, sampling_times=100, alpha=0.01)
    detector.set_reference(reference)
    detector.update(new)
    return detector.drift_state == "drift"


def by_hand(reference, new):
    """The distance of NN-DVI between the two batches, against 100 random divisions into the same sizes."""
    both = np.vstack([reference, new])
    graph = NearestNeighbors(n_neighbors=10).fit(both).kneighbors_graph(both).toarray()
    first = np.arange(len(both)) < len(reference)

    def distance(first):
        one, other = graph[first].sum(axis=0) / first.sum(), graph[~first].sum(axis=0) / (~first).sum()
        return np.mean(np.abs(one - other) / (one + other))

    mixed = [distance(draw.permutation(first)) for _ in range(100)]
    return distance(first) > norm.ppf(0.99, *norm.fit(mixed))


np.random.seed(0)
draw = np.random.default_rng(0)
part = NNSpacePartitioner(10)
part.build(draw.normal(size=(400, 2)), draw.normal(size=(40, 2)))
print(f"reference of 400, new batch of 40: taken for the reference {part.v1.sum():.0f}, for new {part.v2.sum():.0f}")
assert part.v1.sum() == part.v2.sum() == 220

seen = {}
for sizes in ((200, 200), (400, 40), (40, 400)):
    for shift in (0.0, 1.0):
        batches = [(draw.normal(size=(sizes[0], 2)), draw.normal(size=(sizes[1], 2)) + shift) for _ in range(20)]
        seen[sizes, shift] = found, right = np.sum([(given(*pair), by_hand(*pair)) for pair in batches], axis=0)
        print(
            f"{sizes[0]} against {sizes[1]}, shift {shift}: drift in {found} of 20, cut where they meet {right} of 20"
        )
        assert right >= 18 if shift else right <= 2
assert seen[(200, 200), 1.0][0] >= 18
assert max(seen[sizes, 1.0][0] for sizes in ((400, 40), (40, 400))) <= 6
P
echo "as described: unequal batches are cut in the middle of the two"
