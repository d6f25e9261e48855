#!/usr/bin/env bash
# openskill 6.2.0, rate(teams, weights=...): "each inner list represents the contribution of each player to the team's
# performance", and weight_bounds: "bounds for normalizing player weights within a team", 1 to 2. Equal weights in a
# team of two become 1, which is as good as none. The one weight of a team of one becomes 2, whatever it was: the winner
# gains twice as much, and the loser loses half, since a loss is divided by the weight.
#
# Seen: two single players, weights [[1], [1]]: +5.3 and -1.3, without weights +2.6 and -2.6. 0.1 or 10 give the same,
# and so do [[5], [1]] and [[1], [5]]. Four equally good networks in 1,000 comparisons: 149 to 152, without weights 23
# to 26. A fifth that is as good and new, at 25, is foretold to win none against them. No warning.
# Expected: a sole contribution is a whole one, so that these weights change nothing.
# It matters because two networks at a time is how networks are compared: a rating counts the comparisons, not the
# skill.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check openskill==6.2.0
cd "$work"
"$work/env/bin/python" -W error - <<'P'
import math
import pathlib
import random

import openskill
from openskill.models import PlackettLuce

described = (pathlib.Path(openskill.__file__).parent / "models/weng_lin/plackett_luce.py").read_text()
described = " ".join(described.split())
assert "where each inner list represents the contribution of each player to the team's performance" in described
assert "bounds for normalizing player weights within a team" in described
model = PlackettLuce()


def gains(sizes, weights=None):
    rated = model.rate([[model.rating() for _ in range(size)] for size in sizes], weights=weights)
    return [[player.mu - 25 for player in team] for team in rated]


def same(first, second):
    return all(math.isclose(a, b) for one, two in zip(first, second) for a, b in zip(one, two))


plain, weighted = gains([1, 1]), gains([1, 1], [[1], [1]])
print(f"one against one: winner {plain[0][0]:+.1f}, loser {plain[1][0]:+.1f};", end=" ")
print(f"with weights of 1: {weighted[0][0]:+.1f}, {weighted[1][0]:+.1f}")
assert math.isclose(weighted[0][0], 2 * plain[0][0]) and math.isclose(weighted[1][0], plain[1][0] / 2)
for weights in ([[0.1], [0.1]], [[10], [10]], [[5], [1]], [[1], [5]]):
    assert same(gains([1, 1], weights), weighted)
assert same(gains([2, 2], [[1, 1], [1, 1]]), gains([2, 2]))


def league(**options):
    """Four networks, equally good, in 1,000 comparisons of two that are won at random."""
    draw = random.Random(0)
    ratings = [model.rating() for _ in range(4)]
    for _ in range(1000):
        first, second = draw.sample(range(4), 2)
        [ratings[first]], [ratings[second]] = model.rate([[ratings[first]], [ratings[second]]], **options)
    return ratings


for name, options in (("without weights", {}), ("with weights of 1", {"weights": [[1], [1]]})):
    ratings = league(**options)
    means = [round(rating.mu) for rating in ratings]
    chance = model.predict_win([[model.rating()], [ratings[0]]])[0]
    print(f"four equal networks {name}: {means}; a new one against the first: {chance:.2f}")
    if options:
        assert min(means) > 100 and chance < 0.001
    else:
        assert 20 < min(means) and max(means) < 30 and 0.4 < chance < 0.6
P
echo "as described: the weight of a single player is 2, whatever it is"
