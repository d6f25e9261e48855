#!/usr/bin/env bash
# scikit-activeml 1.0.1, TypiClust: "selects the most typical sample (highest local density / smallest mean kNN
# distance) from up to batch_size uncovered clusters, ensuring diversity". With candidates, "the indices of the samples"
# that may be asked for, it still clusters all of them, and takes the largest clusters whether they hold a candidate or
# not. For one without, every candidate has a typicality of minus infinity, and it draws one at random, among them those
# already taken.
#
# Seen: 600 samples in ten groups, of which five groups are candidates; 20 batches of 10. Without candidates, and where
# only those five groups are passed in, no pick is at random, and at most 4 of 200 lie in the least dense quarter of
# their group. With candidates 97 of 200 are at random, 23 lie in that quarter, and 3 are asked for twice in a batch. No
# warning.
# Expected: the most typical candidates of the clusters that hold some, each once.
# It matters because a pool where only some images may be labelled (those with consent, or of this month) is just where
# candidates is used, and the first labels, which this method is for, are then those of a random draw.
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
from skactiveml.pool import TypiClust

described = " ".join(inspect.getdoc(TypiClust).split())
assert "It then selects the most typical sample (highest local density" in described
assert "from up to `batch_size` uncovered clusters, ensuring diversity" in described
assert "`candidates` is considered as the indices of the samples" in " ".join(inspect.getdoc(TypiClust.query).split())
warnings.simplefilter("error")
draw = np.random.default_rng(0)
group = np.repeat(np.arange(10), 60)
features = draw.normal(size=(10, 16))[group] * 4 + draw.normal(size=(600, 16))
away = [np.linalg.norm(features[group == group[i]] - features[i], axis=1) for i in range(600)]
near = [np.sort(distances)[1:6].mean() for distances in away]
sparse = np.array([near[i] > np.quantile(np.array(near)[group == group[i]], 0.75) for i in range(600)])
allowed = np.flatnonzero(group < 5)


def batches(pool, candidates):
    """Of 20 batches of 10: how many picks had no typical candidate, were asked for twice, and lie sparsely."""
    at_random = twice = thin = 0
    among = np.arange(len(pool)) if candidates is None else candidates
    for seed in range(20):
        query = TypiClust(random_state=seed)
        unlabelled = np.full(len(pool), np.nan)
        chosen, utilities = query.query(
            features[pool], unlabelled, candidates=candidates, batch_size=10, return_utilities=True
        )
        at_random += sum(not np.isfinite(row[among]).any() for row in utilities)
        twice += 10 - len(set(chosen.tolist()))
        thin += int(sparse[pool][chosen].sum())
    return at_random, twice, thin


everything = batches(np.arange(600), None)
among_all = batches(np.arange(600), allowed)
alone = batches(allowed, None)
for name, (at_random, twice, thin) in (
    ("all 600 samples", everything),
    ("all 600, of which 300 are candidates", among_all),
    ("the 300 candidates alone", alone),
):
    print(f"{name}: of 200 picks {at_random} at random, {twice} asked for twice in a batch,", end=" ")
    print(f"{thin} of the least dense quarter")
assert everything[:2] == alone[:2] == (0, 0)
assert 60 < among_all[0] < 140 and among_all[1] > 0 and among_all[2] > 3 * max(everything[2], alone[2])
P
echo "as described: for a cluster without candidates a sample is drawn at random, some of them twice"
