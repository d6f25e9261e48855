#!/usr/bin/env bash
# pymoo 0.6.2, HighTradeoffPoints(epsilon=0.125): picks those points of a front where one gives up the most for the
# least gain, compared with the neighbours "in a specific radius of that solution", as the code says of epsilon. The
# class keeps the epsilon that it is given, and then searches with 0.125 whatever that is.
#
# Seen: six fronts of 60 models each, error against cost, both from 0 to 1. The points picked are the same for every
# epsilon from 0.01 to 1.4, the last of which takes in the whole front. By the same rule with the epsilon given, 0.03
# picks other points on all six fronts, without one in common; 0.125 picks what pymoo picks, which confirms the rule.
# No warning.
# Expected: the points of the radius asked for.
# It matters because these are the models one is told to choose, and a look at how far the choice depends on the radius
# always ends with the answer that it does not.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check pymoo==0.6.2 numpy==2.4.6 scipy==1.16.3
cd "$work"
"$work/env/bin/python" - <<'P'
import inspect
import warnings

import numpy as np
from pymoo.core.decision_making import NeighborFinder
from pymoo.mcdm.high_tradeoff import HighTradeoffPoints

assert inspect.signature(HighTradeoffPoints).parameters["epsilon"].default == 0.125
assert "for each neighbour in a specific radius of that solution" in inspect.getsource(NeighborFinder)


def by_the_rule(front, radius):
    """The points whose least sacrifice per gain is two deviations above the mean, or the highest if one above."""
    distances = np.linalg.norm(front[:, None] - front[None], axis=2)
    least = []
    for point, away in zip(front, distances):
        near = np.flatnonzero(away <= radius)
        if len(near) < 4:  # at least twice as many as there are objectives, beside the point itself
            near = np.argsort(away)[:5]
        change = front[near] - point
        sacrifice, gain = np.maximum(change, 0).sum(axis=1), np.maximum(-change, 0).sum(axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            least.append(np.nanmin(sacrifice / gain))
    least = np.array(least)
    usable = np.flatnonzero(np.isfinite(least))
    score = (least[usable] - least[usable].mean()) / least[usable].std()
    if (score >= 2).any():
        return usable[score >= 2].tolist()
    return [int(usable[score.argmax()])] if score.max() > 1 else []


for seed in range(6):
    cost = np.sort(np.random.default_rng(seed).random(60))
    front = np.column_stack([cost, 1 - cost**0.4])
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        given = [HighTradeoffPoints(epsilon=epsilon).do(front).tolist() for epsilon in (0.01, 0.03, 0.125, 0.5, 1.4)]
    expected = by_the_rule(front, 0.03)
    print(f"front {seed}: pymoo picks {given[1]} with epsilon 0.03, by the rule {expected};", end=" ")
    print(f"with 0.125 {given[2]}, by the rule {by_the_rule(front, 0.125)}")
    assert all(points == given[0] for points in given) and given[2] == by_the_rule(front, 0.125)
    assert expected and not set(expected) & set(given[1])
    assert not [one for one in warned if "epsilon" in str(one.message)]
P
echo "as described: the points are those of the radius 0.125, whatever epsilon is given"
