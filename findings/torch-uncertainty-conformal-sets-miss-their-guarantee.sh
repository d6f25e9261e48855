#!/usr/bin/env bash
# torch-uncertainty 0.13.0, ConformalClsTHR, ConformalClsAPS and ConformalClsRAPS: "builds prediction sets with the
# marginal coverage guarantee" P(Y in C(X)) >= 1 - alpha, "provided that the calibration and test points are
# exchangeable". The threshold is torch.quantile(scores, 1 - alpha), interpolated between two scores. The proof needs
# the ceil((n + 1) * (1 - alpha))-th lowest of the n scores, a higher one.
#
# Seen: ten classes, probabilities that are exactly right, alpha=0.1, the mean of 500 calibrations. From 9 images the
# three cover 0.82 to 0.83, from 19 images 0.85 to 0.86, as interpolation has it (0.82 and 0.86). THR with the threshold
# of the proof and the same scores covers 0.90 both times. No warning.
# Expected: 0.90 or more, or sets of all classes where the images are too few.
# It matters for small validation sets, and for each class or each fold calibrated by itself: 90 % sets that miss the
# true class of every sixth image.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  'torch-uncertainty[cpu]==0.13.0' torch==2.15.0 torchvision==0.29.2 timm==1.0.31 lightning==2.6.6 numpy==2.4.6 \
  scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import math

import torch
from torch_uncertainty.post_processing import ConformalClsAPS, ConformalClsRAPS, ConformalClsTHR
from torch_uncertainty.post_processing.conformal.abstract import Conformal

described = " ".join(Conformal.__init__.__doc__.split())
assert "marginal coverage guarantee" in described and r"\geq 1 - \alpha" in described
assert "guaranteeing marginal coverage of :math:`1 - \\alpha`" in " ".join(ConformalClsTHR.__init__.__doc__.split())
torch.manual_seed(0)
torch.set_num_threads(1)


def images(number):
    logits = 2 * torch.randn(number, 10)
    return logits, torch.distributions.Categorical(logits=logits).sample()


def coverage(kind, number, corrected=False):
    covered = []
    for _ in range(500):
        predictor = kind(alpha=0.1, model=torch.nn.Identity(), enable_ts=False)
        logits, labels = images(number)
        predictor.fit([(logits, labels)])
        if corrected:
            scores = 1 - logits.softmax(1)[torch.arange(number), labels]
            predictor.q_hat = scores.sort().values[math.ceil((number + 1) * 0.9) - 1]
        logits, labels = images(100)
        covered.append(predictor(logits)[torch.arange(100), labels] > 0)
    return torch.cat(covered).float().mean().item()


for number in (9, 19):
    plain = [coverage(kind, number) for kind in (ConformalClsTHR, ConformalClsAPS, ConformalClsRAPS)]
    proof = coverage(ConformalClsTHR, number, corrected=True)
    rank = (0.9 * (number - 1) + 1) / (number + 1)
    print(f"{number} images: THR, APS, RAPS {' '.join(f'{share:.3f}' for share in plain)};", end=" ")
    print(f"by the rank {rank:.3f}; THR with the threshold of the proof {proof:.3f}")
    assert max(plain) < 0.885 and proof > 0.885
P
echo "as described: sets guaranteed to hold the true class in 90 % of images hold it in 82 %"
