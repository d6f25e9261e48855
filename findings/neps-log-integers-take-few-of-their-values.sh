#!/usr/bin/env bash
# neural-pipeline-search 0.17.0 (NePS), Integer(lower, upper, log=True): "a domain representing a range of integer
# values", "log: Whether to sample values on a logarithmic scale"; the example is Integer(1, 1000, log=True).
# Where a space has nothing but numbers and choices, NePS turns it into its older form, in which such an integer has
# round(ln(upper) - ln(lower)) + 1 values, one for each factor of e. With an Operation in the space it has all of them
# except the upper bound: the number drawn is rounded down.
#
# Seen: a width from 16 to 1024, drawn 200 times by "random_search": 16, 45, 128, 362 or 1024, nothing between. The same
# parameter in a space with an Operation: more than 100 different widths. Integer(1, 1000, log=True) has 8 values, and
# Integer(1, 8, log=True) is 1, 3 or 8 in the one space, 1 to 7 in the other. No warning.
# Expected: every integer of the range, the small ones more often. Float(log=True) is drawn that way.
# It matters because the best batch size, width or depth cannot be found if it is not among these, as 64 and 256 here.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  neural-pipeline-search==0.17.0 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 pandas==2.3.3
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
import logging
import random

import neps
import numpy as np
import torch
from neps.optimizers.algorithms import random_search

logging.disable(logging.CRITICAL)
described = " ".join(inspect.getdoc(neps.Integer).split())
assert "A domain representing a range of integer values" in described
assert "log: Whether to sample values on a logarithmic scale" in described


class Numbers(neps.PipelineSpace):
    rate = neps.Float(1e-5, 1e-1, log=True)
    width = neps.Integer(16, 1024, log=True)
    depth = neps.Integer(1, 1000, log=True)
    blocks = neps.Integer(1, 8, log=True)


class WithOperation(neps.PipelineSpace):
    rate, width = neps.Float(1e-5, 1e-1, log=True), neps.Integer(16, 1024, log=True)
    depth, blocks = neps.Integer(1, 1000, log=True), neps.Integer(1, 8, log=True)
    layer = neps.Categorical((neps.Operation("convolution"), neps.Operation("attention")))


def draw(space):
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    ask = neps.AskAndTell(random_search(space))
    trials = [ask.ask() for _ in range(200)]
    return {
        name: sorted({value for trial in trials for key, value in trial.config.items() if name in key})
        for name in ("rate", "width", "depth", "blocks")
    }


found = draw(Numbers())
for name, values in found.items():
    print(f"numbers alone, {name}: {len(values)} different values of 200", values if len(values) < 10 else "")
assert found["width"] == [16, 45, 128, 362, 1024] and found["blocks"] == [1, 3, 8]
assert len(found["depth"]) == 8 and len(found["rate"]) == 200
found = draw(WithOperation())
for name, values in found.items():
    print(f"with an Operation, {name}: {len(values)} different values of 200")
assert len(found["width"]) > 100 and len(found["depth"]) > 80 and found["blocks"] == list(range(1, 8))
P
echo "as described: an integer on a log scale has one value for each factor of e, or lacks its upper bound"
