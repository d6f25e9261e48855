#!/usr/bin/env bash
# neural-pipeline-search 0.17.0 (NePS), optimizer "asha": "an exponentially decreasing amount of configurations
# promoted, relative to those in the rung below"; the bracket says "When any of the top_k configs in a rung can be
# promoted and have not been promoted yet, they will be. Here k = len(rung) // eta". The configurations that have been
# promoted are taken out of the rung first, and k is counted among the rest. So the best third of what is left goes up
# again and again, until two are left. "async_hb", "moasha" and the asynchronous forms of priorband take the same step;
# "successive_halving" and "hyperband" do not.
#
# Seen: one worker, eta 3, 1 to 27 epochs, 80 evaluations: 23 at 1 epoch, 21 at 3, 19 at 9 and 17 at 27. Of 23
# configurations the best 17 are trained to the end; 716 epochs in all, 459 of them for these evaluations.
# "successive_halving", to compare: 54, 18, 6 and 2, 216 epochs. "async_hb": more at 27 epochs (27) than at 1 (13).
# Expected: of 23 configurations no more than 7, 2 and 0 are promoted, as in the paper (Li et al., 2020, algorithm 2).
# It matters because the search costs as much as one without early stopping and tries a third of the configurations.
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
from collections import Counter

import neps
import numpy as np
import torch
from neps.optimizers import algorithms
from neps.optimizers.utils import brackets

logging.disable(logging.CRITICAL)
described = " ".join(inspect.getdoc(algorithms.asha).replace("#", "").split())
assert "exponentially decreasing amount of configurations promoted, relative to those in the rung below" in described
assert "eta: The reduction factor used for building brackets" in described
assert "Here `k = len(rung) // eta`" in inspect.getsource(brackets.Async)


class Space(neps.PipelineSpace):
    rate = neps.Float(1e-5, 1e-1, log=True)
    epochs = neps.IntegerFidelity(1, 27)


def search(optimizer):
    tried = []

    def loss(rate, epochs):
        error = abs(math.log10(rate) + 3) + 1 / epochs  # the ranking is the same at each number of epochs
        tried.append((error - 1 / epochs, epochs))
        return error

    np.random.seed(0)
    torch.manual_seed(0)
    neps.run(loss, Space(), root_directory=optimizer, optimizer=optimizer, worker_evaluations_to_spend=80)
    return tried


found = {}
for optimizer in ("successive_halving", "asha", "async_hb"):
    tried = search(optimizer)
    found[optimizer] = count = Counter(epochs for _, epochs in tried)
    print(f"{optimizer}: evaluations per number of epochs", dict(sorted(count.items())), end=", ")
    print(f"{sum(epochs for _, epochs in tried)} epochs")
    if optimizer == "asha":
        ranking = sorted({round(error, 9) for error, _ in tried})
        ended = sorted(ranking.index(round(error, 9)) + 1 for error, epochs in tried if epochs == 27)
        print(f"of {len(ranking)} configurations these were trained for 27 epochs, by rank: {ended}")

assert [found["successive_halving"][epochs] for epochs in (1, 3, 9, 27)] == [54, 18, 6, 2]
halved = found["asha"]
assert [halved[epochs] for epochs in (1, 3, 9, 27)] == [23, 21, 19, 17]
assert all(halved[high] > 0.85 * halved[low] for low, high in ((1, 3), (3, 9), (9, 27)))
assert ended == list(range(1, 18)) and len(ranking) == 23
assert found["async_hb"][27] > found["async_hb"][1]
P
echo "as described: configurations are promoted until two are left in each rung"
