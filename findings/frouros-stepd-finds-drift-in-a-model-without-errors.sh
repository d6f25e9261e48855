#!/usr/bin/env bash
# frouros 0.9.0, STEPD, "Statistical test of equal proportions" of Nishida 2007: the accuracy of the last 30 images
# against that of all before, with a correction for continuity, and drift where p < alpha_d, by default 0.003. Equal
# accuracies make the corrected statistic negative and p greater than 0.5. The code takes its absolute value: the surer
# it is that nothing has changed, the smaller is p.
#
# Seen: a model that is right on every one of 5,000 images: drift at all of the 4,941 that are tested. One that errs
# once in 1,000, evenly: drift at 2,335. 13 errors at random places: drift at 210. With 2 % or 10 % errors the alarms
# are those of the test.
# Expected: no drift at a steady accuracy of 1, and p as scipy's chi2_contingency with its correction gives it.
# It matters because it is the good model that is reported, and each alarm asks for training it anew.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check frouros==0.9.0 numpy==2.1.3 scipy==1.14.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
from frouros.detectors.concept_drift import STEPD, STEPDConfig
from scipy.stats import chi2_contingency

described = " ".join(inspect.getdoc(STEPD).split())
assert "STEPD (Statistical test of equal proportions)" in described
assert "Detecting concept drift using statistical testing." in described


def right_p(values, image):
    """One-sided p of equal proportions with the correction for continuity, which scipy never lets change the sign."""
    last, before = values[image - 29 : image + 1], values[: image - 29]
    table = np.array([[last.sum(), 30 - last.sum()], [before.sum(), len(before) - before.sum()]])
    if (table.sum(0) == 0).any():  # no error at all, or nothing but errors
        return 1.0
    return chi2_contingency(table, correction=True).pvalue / 2


def alarms(values):
    detector, found, expected = STEPD(config=STEPDConfig(alpha_d=0.003, alpha_w=0.05)), 0, 0
    for image, value in enumerate(values):
        detector.update(value=int(value))
        if image >= 59:
            found += detector.drift
            expected += right_p(values, image) < 0.003
        else:
            assert not detector.drift
    return found, expected


draw = np.random.default_rng(0)
count = 5000
streams = {
    "no error": np.zeros(count, dtype=int),
    "one error in 1,000": (np.arange(count) % 1000 == 500).astype(int),
    "0.2 % errors": (draw.random(count) < 0.002).astype(int),
    "2 % errors": (draw.random(count) < 0.02).astype(int),
    "10 % errors": (draw.random(count) < 0.1).astype(int),
}
seen = {}
for name, errors in streams.items():
    seen[name] = found, expected = alarms(1 - errors)
    assert alarms(errors) == (found, expected)  # the same whether 1 stands for a right answer or for an error
    print(f"{name}, of {count} images {errors.sum()}: drift at {found}, by the corrected test at {expected}")
assert seen["no error"] == (count - 59, 0)
assert seen["one error in 1,000"][0] > 2000 and seen["one error in 1,000"][1] == 0
assert seen["0.2 % errors"][0] > 10 * (1 + seen["0.2 % errors"][1])
assert all(seen[name][0] == seen[name][1] for name in ("2 % errors", "10 % errors"))
P
echo "as described: the steadier a good model, the more drift is found"
