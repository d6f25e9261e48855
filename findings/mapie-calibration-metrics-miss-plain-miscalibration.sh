#!/usr/bin/env bash
# MAPIE 1.6.0, mapie.metrics.calibration: two metrics find nothing where the scores are plainly off.
# expected_calibration_error(split_strategy="array split") cuts the scores into bins of equal size in the order
# of the rows, without sorting them, and takes the highest score of each as the edge of a bin. In any random
# order all edges are near 1 and nearly every image is in the first bin. ("array split" sounds like bins of equal
# size; the docstring names the strategies and says no more.) num_bins=n gives n - 1 bins in the other two.
# spiegelhalter_p_value, "the probability of the observed statistic under the null hypothesis of perfect
# calibration", is one-sided: a model that is too unsure of itself gets 1. "The closer to zero, the better the
# scores are calibrated", says spiegelhalter_statistic.
#
# Seen: 10,000 scores whose true calibration error is 0.12. Over- and under-confident: "uniform" and "quantile"
# say 0.13, "array split" 0.012 and 0.003, and 0.12 and 0.13 of the same rows, sorted. Under-confident:
# statistic -33, p = 1.0, where the p-values of Kolmogorov-Smirnov and of Kuiper are 0.
# Expected: 0.12 to 0.13 in any order of the rows, and a p-value near 0 for a z-score of -33.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  mapie==1.6.0 numpy==2.4.6 scikit-learn==1.9.1 scipy==1.17.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import numpy as np
from mapie.metrics import calibration
from scipy.stats import norm

draw = np.random.default_rng(0)
scores = draw.uniform(0.01, 0.99, 10_000)
logits = np.log(scores / (1 - scores))
ordered = np.argsort(scores)


def says(function, words):
    return words in " ".join(function.__doc__.split())


assert says(calibration.spiegelhalter_p_value, "under the null hypothesis of perfect calibration")
assert says(calibration.spiegelhalter_statistic, "The closer to zero, the better the scores are calibrated")
assert says(calibration.top_label_ece, 'The allowed split strategies are "uniform", "quantile" and "array split"')
assert "sort" not in calibration.expected_calibration_error.__doc__

for name, slope in (("over-confident", 0.4), ("under-confident", 2.5)):
    true = 1 / (1 + np.exp(-slope * logits))
    labels = (draw.random(10_000) < true).astype(int)

    def error(strategy, rows=slice(None), bins=15):
        return calibration.expected_calibration_error(labels[rows], scores[rows], bins, strategy)

    uniform, quantile, split = (error(strategy) for strategy in ("uniform", "quantile", "array split"))
    split_sorted, two = error("array split", ordered), error("uniform", bins=2)
    z, p = calibration.spiegelhalter_statistic(labels, scores), calibration.spiegelhalter_p_value(labels, scores)
    others = [calibration.kolmogorov_smirnov_p_value(labels, scores), calibration.kuiper_p_value(labels, scores)]
    gap = np.mean(np.abs(true - scores))
    print(f"{name}: true error {gap:.3f}; uniform {uniform:.3f}, quantile {quantile:.3f}, two bins {two:.4f};", end=" ")
    print(f"array split {split:.4f}, of sorted rows {split_sorted:.3f}")
    print(f"  Spiegelhalter {z:.1f}, p {p:.3g}, two-sided {2 * norm.sf(abs(z)):.2g}; others {max(others):.2g}")
    assert max(abs(np.array([uniform, quantile, split_sorted]) - gap)) < 0.01
    assert max(split, two) < gap / 9 and abs(z) > 30 and max(others) < 1e-6
    if name == "under-confident":
        assert p == 1 and z < 0
P
echo "as described: two calibration metrics find nothing wrong with scores that are"
