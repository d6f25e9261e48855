#!/usr/bin/env bash
# pingouin 0.7.0, intraclass_corr: "F, pval: F-test results for detecting systematic differences (bias) between raters.
# A significant p-value suggests that rater means differ". F is the mean square of the targets over that of the error:
# it tests whether the targets differ, in all six rows, and says nothing about the raters. Issue 485 (January 2026)
# asks which ICC is which; it is not about F.
#
# Seen: 200 simulated tables of 30 images that three raters score without any bias: p below 0.05 in all of them, where
# 5 % would be chance. With a true bias of three standard deviations, on images that are all alike: in 0 to 2 %.
# Expected: the F of the raters, which rm_anova of the same package has: 5 % in the first case, 100 % in the second.
# It matters because the advice that follows is to discard ICC(1,1) as invalid where p is small. That is nearly always,
# for annotators of images as for seeds of a model, and a true bias is hidden if images are alike.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  pingouin==0.7.0 scipy==1.17.1 numpy==2.4.6 pandas==3.1.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import numpy as np
import pandas as pd
import pingouin
from scipy.stats import f

described = " ".join(inspect.getdoc(pingouin.intraclass_corr).split())
assert "F-test results for detecting systematic differences (bias) between raters" in described
assert "The F statistic and p-value in the output provide a formal test of whether rater means differ" in described
IMAGES, RATERS, TABLES = 30, 3, 200


def p_of_raters(scores):
    """The two-way analysis of variance by hand: mean square of the raters over that of the error."""
    between_raters = IMAGES * ((scores.mean(axis=0) - scores.mean()) ** 2).sum() / (RATERS - 1)
    left = scores - scores.mean(axis=0) - scores.mean(axis=1, keepdims=True) + scores.mean()
    freedom = (IMAGES - 1) * (RATERS - 1)
    return f.sf(between_raters / ((left**2).sum() / freedom), RATERS - 1, freedom)


def share_below_005(spread_of_images, bias):
    draw = np.random.default_rng(0)
    given, right = [], []
    for table in range(TABLES):
        images = draw.normal(0, spread_of_images, (IMAGES, 1))
        scores = images + bias * np.arange(RATERS) / (RATERS - 1) + draw.normal(size=(IMAGES, RATERS))
        long = pd.DataFrame(scores).melt(ignore_index=False, var_name="rater").reset_index(names="image")
        result = pingouin.intraclass_corr(long, targets="image", raters="rater", ratings="value")
        if table == 0:
            own = pingouin.rm_anova(long, dv="value", within="rater", subject="image", correction=False)
            assert np.isclose(own.loc[0, "p_unc"], p_of_raters(scores))
        given.append((result["pval"] < 0.05).to_numpy())
        right.append(p_of_raters(scores) < 0.05)
    print(f"images vary by {spread_of_images}, bias {bias}: p below 0.05 in", end=" ")
    print(f"{np.mean(given, axis=0).round(3).tolist()} of the tables, by the raters' F in {np.mean(right):.3f}")
    return np.mean(given, axis=0), np.mean(right)


given, right = share_below_005(spread_of_images=2, bias=0)
assert given.min() == 1 and 0.02 < right < 0.08
given, right = share_below_005(spread_of_images=0, bias=3)
assert right == 1 and given.max() < 0.07
P
echo "as described: the test of the raters tests the images"
