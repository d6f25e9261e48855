#!/usr/bin/env bash
# openskill 6.2.0, rate(teams, tau=..., limit_sigma=...): options of one call. "tau: Additive dynamics parameter that
# prevents sigma from getting too small", 25/300 for the model; 0 is right for players that do not change, as trained
# networks do not. "limit_sigma: Boolean that determines whether to restrict the value of sigma from increasing." The
# code reads tau=0 as not given, and writes limit_sigma into the model, for all later calls.
#
# Seen: two networks, 2,000 comparisons, three quarters won. rate(..., tau=0) is the model's own tau to the last digit,
# sigma 1.6 where PlackettLuce(tau=0) and tau=1e-12 give 0.7: the doubt about a rating is twice as large. One call with
# limit_sigma=True, and a later call without it gives another sigma than in a fresh model. All five models. No warning.
# Expected: what is given for a call holds for that call.
# It matters because leaders are ranked by mu - 3 sigma: more comparisons never settle which network is better.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check openskill==6.2.0
cd "$work"
"$work/env/bin/python" -W error - <<'P'
import math
import pathlib

import openskill
from openskill import models

described = (pathlib.Path(openskill.__file__).parent / "models/weng_lin/plackett_luce.py").read_text()
described = " ".join(described[described.index("def rate(") : described.index("def _c(")].split())
assert "tau: Additive dynamics parameter that prevents sigma from getting too small" in described
assert "limit_sigma: Boolean that determines whether to restrict the value of sigma from increasing." in described


def league(model, **options):
    """The ratings of two networks after 2,000 comparisons, of which the first wins three in four."""
    first, second = model.rating(), model.rating()
    for turn in range(2000):
        if turn % 4:
            [[first], [second]] = model.rate([[first], [second]], **options)
        else:
            [[second], [first]] = model.rate([[second], [first]], **options)
    return first.mu, first.sigma


for kind in (
    models.PlackettLuce,
    models.BradleyTerryFull,
    models.BradleyTerryPart,
    models.ThurstoneMostellerFull,
    models.ThurstoneMostellerPart,
):
    usual, asked = league(kind()), league(kind(), tau=0)
    right, nearly = league(kind(tau=0)), league(kind(), tau=1e-12)
    print(f"{kind.__name__}: sigma {usual[1]:.2f}, with tau=0 in the call {asked[1]:.2f},", end=" ")
    print(f"in the model {right[1]:.2f}, with tau=1e-12 in the call {nearly[1]:.2f}")
    assert asked == usual and all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(right, nearly))
    assert asked[1] > 1.5 * right[1]

    fresh, used = kind(tau=1), kind(tau=1)
    used.rate([[used.rating()], [used.rating()]], limit_sigma=True)
    sure = [[fresh.rating(40, 1)], [fresh.rating(10, 1)]]
    without, after = fresh.rate(sure)[0][0].sigma, used.rate(sure)[0][0].sigma
    print(f"  sigma of 1 after a foregone win: {without:.3f}, after one call with limit_sigma=True: {after:.3f}")
    assert without > 1.2 and after <= 1
P
echo "as described: tau=0 is ignored, and limit_sigma stays"
