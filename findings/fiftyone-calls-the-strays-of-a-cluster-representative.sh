#!/usr/bin/env bash
# fiftyone 1.22.1 (fiftyone-brain 0.25.0), compute_representativeness: "scoring how representative of nearby samples it
# is"; with the method "cluster-center" the score is "proportional to it's proximity to cluster centers". What is stored
# is the distance to the centre, divided by the longest distance in the cluster: the image farthest out has the score 1.
# The closeness 1 / (1 + distance), which is also calculated, is overwritten. "cluster-center-downweight" starts from
# the same scores.
#
# Seen: 20 groups of 49 images and one stray each, three times as far out: the 20 highest scores, 1.0 each, are those of
# the 20 strays, and the image nearest to its centre has the lowest score of its group in 20 of 20. The rank correlation
# of score and distance within a group is 1.00, for either method. No warning.
# Expected: a rank correlation of -1, and the strays last.
# It matters because the field is there to choose a few typical images to label, review or show: sorted by it, one gets
# the outliers, the mislabelled and the broken ones.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  fiftyone==1.22.1 fiftyone-brain==0.25.0 numpy==1.26.4 scikit-learn==1.9.1 scipy==1.17.1
cd "$work"
# The scores are calculated from the embeddings alone: no dataset, and so no database, is needed.
HOME="$work" "$work/env/bin/python" -W ignore - 2>log <<'P' || { cat log; exit 1; }
import inspect

import fiftyone.brain
import numpy as np
from fiftyone.brain.internal.core import representativeness
from scipy.stats import spearmanr

described = " ".join(inspect.getdoc(fiftyone.brain.compute_representativeness).split())
assert "scoring how representative of nearby samples it is" in described
assert "make a sample's representativeness proportional to it's proximity to cluster centers" in described
assert "_compute_representativeness(embeddings, method=method)" in inspect.getsource(representativeness)

draw = np.random.default_rng(0)
group = np.repeat(np.arange(20), 50)
offset = draw.normal(size=(1000, 16))
offset /= np.linalg.norm(offset, axis=1, keepdims=True)
offset *= draw.uniform(0.5, 1, size=(1000, 1))
stray = np.arange(1000) % 50 == 0
offset[stray] *= 3 / np.linalg.norm(offset[stray], axis=1, keepdims=True)
images = 40 * draw.normal(size=(20, 16))[group] + offset
distance = np.empty(1000)
for one in range(20):
    members = images[group == one]
    distance[group == one] = np.linalg.norm(members - members.mean(axis=0), axis=1)

for method in ("cluster-center", "cluster-center-downweight"):
    score = np.asarray(representativeness._compute_representativeness(images.copy(), method=method))
    highest = np.argsort(-score)[:20]
    within = [spearmanr(score[group == one], distance[group == one])[0] for one in range(20)]
    last = [score[group == one].argmin() == distance[group == one].argmin() for one in range(20)]
    print(f"{method}: {stray[highest].sum()} of the 20 highest scores are strays, the lowest {score[stray].min()};")
    print(f"the nearest to its centre is last in {np.sum(last)} of 20 groups;", end=" ")
    print(f"rank correlation with the distance {np.mean(within):.2f}")
    assert stray[highest].all() and np.isclose(score[stray], 1).all() and np.mean(within) > 0.9
    assert np.sum(last) == 20 or method == "cluster-center-downweight"
P
echo "as described: the farther from the centre of its cluster, the more representative"
