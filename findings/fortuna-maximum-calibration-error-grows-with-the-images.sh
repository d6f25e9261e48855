#!/usr/bin/env bash
# aws-fortuna 0.2.0, maximum_calibration_error: "Compute the Maximum Calibration Error (MCE) (see Naeini et al., 2015)",
# which is the largest difference between accuracy and confidence in a bin, a number from 0 to 1. The function
# multiplies each difference by the number of images in its bin and does not divide.
#
# Seen: one classifier, 0.1 too sure of each image, right value 0.10 to 0.13: fortuna gives 3.4 on 100 images, 29 on
# 1,000 and 285 on 10,000. Two classifiers on 1,000 images, one 0.1 off in a bin of 900, the other 0.5 off in a bin of
# 50: 90 and 25, so the second seems the better one; the right values are 0.10 and 0.51. No warning.
# Expected: max(|accuracy - confidence|) over the bins, as torchmetrics' and netcal's MCE.
# It matters because the number compares sizes of test sets, not models, and hides the rare bin that MCE is there for.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  jax==0.4.38 jaxlib==0.4.38 flax==0.8.5 optax==0.1.9 numpy==1.26.4 matplotlib==3.9.4 tqdm
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-deps aws-fortuna==0.2.0  # without TensorFlow
cd "$work"
cat >error.py <<'P'
import numpy as np
from fortuna.metric.classification import expected_calibration_error, maximum_calibration_error

described = " ".join(maximum_calibration_error.__doc__.split())
assert "Compute the Maximum Calibration Error (MCE) (see `Naeini et al., 2015" in described


def compare(name, confidences, right):
    """Fortuna's number and the largest difference in its own ten bins, from 1 / images to 1."""
    predictions, targets = np.zeros(len(right), dtype=int), 1 - right
    probabilities = np.stack([confidences, 1 - confidences], axis=1)
    given = float(maximum_calibration_error(predictions, probabilities, targets))
    bins = np.digitize(confidences, np.linspace(1 / len(right), 1, 10), right=True)
    differences = {one: abs(right[bins == one].mean() - confidences[bins == one].mean()) for one in np.unique(bins)}
    expected = sum(np.sum(bins == one) * by for one, by in differences.items()) / len(right)
    assert np.isclose(float(expected_calibration_error(predictions, probabilities, targets)), expected, atol=1e-4)
    print(f"{name}: {given:.2f}, right {max(differences.values()):.3f}")
    return given, max(differences.values())


def too_sure(count):
    """Confidences that are spread evenly, with accuracies 0.1 below them, as exactly as the number of images allows."""
    confidences = np.linspace(0.6, 0.99, count)
    return confidences, np.diff(np.floor(np.append(0, np.cumsum(confidences - 0.1)))).astype(int)


found = [compare(f"{count} images, 0.1 too sure", *too_sure(count)) for count in (100, 1000, 10000)]
assert all(given > 1 for given, _ in found) and found[2][0] > 8 * found[1][0] > 50 * found[0][0]
assert all(0.09 < right < 0.15 for _, right in found)
steady = compare(
    "900 images 0.1 off", np.repeat([0.95, 0.75], [900, 100]), np.repeat([1, 0, 1, 0], [765, 135, 75, 25])
)
rare = compare("50 images 0.5 off", np.repeat([0.95, 0.75], [950, 50]), np.repeat([1, 0, 1, 0], [903, 47, 12, 38]))
assert steady[0] > 3 * rare[0] and steady[1] < 0.25 * rare[1]
P
env/bin/python -W ignore error.py 2>log || { cat log; exit 1; }
echo "as described: the error is multiplied by the number of images"
