#!/usr/bin/env bash
# neural-pipeline-search 0.17.0 (NePS), optimizer "grid_search": "discretizes the search space and evaluates all
# possible configurations". A parameter with log=True is "on a logarithmic scale", and in a space of numbers and choices
# so is the grid. If the space has an Operation, as an architecture search has, the points are evenly spaced.
#
# Seen: Float(1e-5, 1e-1, log=True), 5 points. Without an Operation: 1e-5, 1e-4, 1e-3, 1e-2 and 1e-1. With one: 1e-5,
# 0.025, 0.05, 0.075 and 0.1: of 50 configurations 40 have a learning rate above 0.02, and a search whose optimum is
# 1e-3 ends at 0.025. No warning.
# Expected: the same five points in both spaces.
# It matters because the grid of a learning rate leaves out every value that one would fine-tune with.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  neural-pipeline-search==0.17.0 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 pandas==2.3.3
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
import logging
import math

import neps
import numpy as np
from neps.optimizers import algorithms

logging.disable(logging.CRITICAL)
described = " ".join(inspect.getdoc(algorithms.grid_search).split())
assert "discretizes the search space and evaluates all possible configurations" in described
assert "log: Whether to sample values on a logarithmic scale" in " ".join(inspect.getdoc(neps.Float).split())


class Plain(neps.PipelineSpace):
    rate = neps.Float(1e-5, 1e-1, log=True)
    width = neps.Integer(16, 1024)
    layer = neps.Categorical(("convolution", "attention"))


class WithOperation(neps.PipelineSpace):
    rate = neps.Float(1e-5, 1e-1, log=True)
    width = neps.Integer(16, 1024)
    layer = neps.Categorical((neps.Operation("convolution"), neps.Operation("attention")))


def search(space):
    tried = []

    def error(rate, width, layer):
        tried.append((abs(math.log10(rate) + 3), rate))
        return tried[-1][0]

    options = {"optimizer": "grid_search", "worker_evaluations_to_spend": 50}
    neps.run(error, space, root_directory=type(space).__name__, **options)
    rates = sorted({rate for _, rate in tried})
    print(f"{type(space).__name__}: {len(tried)} configurations, rates {[f'{rate:.2g}' for rate in rates]},", end=" ")
    print(f"above 0.02 in {sum(rate > 0.02 for _, rate in tried)}, best {min(tried)[1]:.1g}")
    return rates, min(tried)[1]


rates, best = search(Plain())
assert np.allclose(rates, np.logspace(-5, -1, 5)) and np.isclose(best, 1e-3)
rates, best = search(WithOperation())
assert np.allclose(rates, np.linspace(1e-5, 1e-1, 5)) and not np.isclose(best, 1e-3)
P
echo "as described: with an Operation in the space the grid is linear"
