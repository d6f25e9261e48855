#!/usr/bin/env bash
# openskill 6.2.0, PlackettLuce.rate(teams, ranks=...): "ranks: A list of floats where the lower values represent
# winners". Before it compares them the model rounds every rank down to a whole number, so that 0.05 and 0.60 are equal.
# The four other models of the package, which are given the same argument, compare the numbers as they are.
#
# Seen: three models with test errors of 0.05, 0.30 and 0.60 as ranks: a draw of all three. With 5, 30 and 60 the first
# wins. Five models on 200 data sets, errors from 0.05 to 0.45: all five are rated 25.0, and ever more surely so. With 1
# - error as scores they are rated 80 to -42. Ranks of 1, 1.5 and 1.9 are a draw as well. No warning.
# Expected: lower values win, whatever the unit, as in BradleyTerryFull.
# It matters because an error, a loss or a mean rank is what one has in order to rank models: no difference is found.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check openskill==6.2.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W error - <<'P'
import pathlib

import numpy as np
import openskill
from openskill import models

source = pathlib.Path(openskill.__file__).parent / "models/weng_lin/plackett_luce.py"
described = " ".join(source.read_text().split())
assert "ranks: A list of floats where the lower values represent winners" in described
others = [models.BradleyTerryFull, models.BradleyTerryPart]
others += [models.ThurstoneMostellerFull, models.ThurstoneMostellerPart]


def once(kind, **outcome):
    model = kind()
    return [player.mu for (player,) in model.rate([[model.rating()] for _ in range(3)], **outcome)]


for ranks in ([0.05, 0.30, 0.60], [1, 1.5, 1.9], [5, 30, 60]):
    means = once(models.PlackettLuce, ranks=ranks)
    print(f"ranks {ranks}: PlackettLuce {[round(mean, 1) for mean in means]},", end=" ")
    print(f"BradleyTerryFull {[round(mean, 1) for mean in once(models.BradleyTerryFull, ranks=ranks)]}")
    assert np.allclose(means, 25) == (ranks != [5, 30, 60])
    assert all(first > second > third for first, second, third in [once(kind, ranks=ranks) for kind in others])
right = once(models.PlackettLuce, ranks=[5, 30, 60])
assert np.allclose(right, once(models.PlackettLuce, scores=[0.95, 0.70, 0.40])) and right[0] > right[1] > right[2]


def league(kind, outcome):
    """Five models on 200 data sets: the ratings, and how uncertain they are said to be."""
    draw = np.random.default_rng(0)
    model = kind()
    players = [model.rating() for _ in range(5)]
    for _ in range(200):
        errors = np.clip([0.05, 0.10, 0.15, 0.25, 0.45] + draw.normal(0, 0.03, 5), 0, 0.99)
        order = draw.permutation(5).tolist()
        rated = model.rate([[players[i]] for i in order], **outcome([float(errors[i]) for i in order]))
        for i, (player,) in zip(order, rated):
            players[i] = player
    return [player.mu for player in players], players[0].sigma


for name, outcome in (
    ("errors as ranks", lambda errors: {"ranks": errors}),
    ("1 - error as scores", lambda errors: {"scores": [1 - error for error in errors]}),
):
    means, spread = league(models.PlackettLuce, outcome)
    print(f"200 data sets, {name}: {[round(mean, 1) for mean in means]}, sigma {spread:.1f} of {25 / 3:.1f}")
    if name == "errors as ranks":
        assert np.allclose(means, 25) and spread < 5
    else:
        assert all(better > worse + 10 for better, worse in zip(means, means[1:]))
means, _ = league(models.BradleyTerryFull, lambda errors: {"ranks": errors})
assert all(better > worse for better, worse in zip(means, means[1:]))
P
echo "as described: ranks are rounded down before they are compared"
