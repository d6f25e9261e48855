#!/usr/bin/env bash
# quantus 0.6.0, Completeness: "that the attributions add up to the difference between the model output F at the input x
# and the baseline b". It compares the two sums of float32 numbers with ==. And of images with channels it sets to the
# baseline as many numbers as the map has, which are those of the first channel.
#
# Seen: a linear model and weights times pixels, which is its Integrated Gradients and exact. Grey images: 0 of 200
# "complete", while all are within 1e-7 of the difference. With integers for weights and pixels, where float32 makes no
# error: 200 of 200. The same with three channels: 0 of 200; a map of the red channel alone, which leaves out two thirds
# of the output: 200 of 200. No warning.
# Expected: 200 of 200 in each case but the last, there 0.
# It matters because the metric says of every explainer of a photograph, the exact ones included, that it is not
# complete: a comparison by it is a row of zeros.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  quantus==0.6.0 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 scikit-learn==1.9.1 scikit-image==0.26.0 torch==2.15.0
cd "$work"
"$work/env/bin/python" -W ignore - 2>log <<'P' || { cat log; exit 1; }
import inspect

import numpy as np
import quantus
import torch

described = " ".join(inspect.getdoc(quantus.Completeness).split())
assert "add up to the difference between the model output F at the input x and the baseline b" in described
draw = np.random.default_rng(0)


def complete(channels, whole, only_first=False):
    """Images that the metric calls complete, and the largest relative gap between the sum of a map and the output."""
    shape = (200, channels, 16, 16)
    images = draw.integers(0, 9, shape) if whole else draw.random(shape)
    weights = draw.integers(-4, 5, (3, *shape[1:])) if whole else draw.normal(size=(3, *shape[1:]))
    images, weights = images.astype(np.float32), weights.astype(np.float32)
    classes = np.arange(200) % 3
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(channels * 256, 3, bias=False))
    model[1].weight.data = torch.from_numpy(weights.reshape(3, -1))
    maps = images * weights[classes]
    maps = maps[:, :1] if only_first else maps.sum(1, keepdims=True)
    metric = quantus.Completeness(normalise=False, disable_warnings=True)
    found = metric(model=model.eval(), x_batch=images.copy(), y_batch=classes, a_batch=maps.copy(), device="cpu")
    exact = np.einsum("nchw,nchw->n", images.astype(float), weights[classes].astype(float))
    gap = np.abs(maps.sum((1, 2, 3), dtype=float) - exact).max() / np.abs(exact).max()
    return int(np.sum(found)), gap


for name, channels, whole, only_first, expected in (
    ("grey images, exact maps", 1, False, False, range(20)),
    ("grey images of integers, exact maps", 1, True, False, [200]),
    ("three channels of integers, exact maps", 3, True, False, [0]),
    ("three channels of integers, maps of the first alone", 3, True, True, [200]),
):
    found, gap = complete(channels, whole, only_first)
    print(f"{name}: {found} of 200 complete, sums within {gap:.0e} of the output")
    assert found in expected and (gap < 1e-6) == (not only_first)
P
echo "as described: exact maps are called incomplete"
