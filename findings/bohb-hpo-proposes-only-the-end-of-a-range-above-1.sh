#!/usr/bin/env bash
# bohb-hpo 0.5.2: an "implementation for BOHB", which proposes settings near the good ones it has seen. It draws them
# from a normal distribution that it cuts off at 0 and 1, as the method does for parameters that were scaled to that
# range. Here they are not scaled: of UniformHyperparameter and IntegerUniformHyperparameter the values themselves are
# drawn, so that each proposal lies between 0 and 1, and is then moved to the nearer end of the range.
#
# Seen: one parameter whose best value is at 0.7 of its range, 199 evaluations. Range 0 to 1: 34 different proposals of
# the model, all within 0.1 of the best. Range 1 to 5: all 34 are 1. 2 to 12, integers: all are 2. -5 to -1: all are -1.
# Not one is in the half of the range where the best is, other than by its end. No warning.
# Expected: the same search in each range, since only the unit of the parameter differs.
# It matters because the search is then random search that spends a sixth of its runs on one bad setting, for the number
# of epochs, the width, the depth, the strength of an augmentation or the exponent of a learning rate alike.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  bohb-hpo==0.5.2 numpy==2.4.6 scipy==1.16.3 pandas==3.0.6 statsmodels==0.15.0 dask==2026.8.0
cd "$work"
"$work/env/bin/python" - <<'P'
import importlib.metadata
import warnings

import bohb.configspace as cs
import numpy as np
from bohb import BOHB

assert "Implementation for [BOHB]" in importlib.metadata.distribution("bohb-hpo").read_text("METADATA")
warnings.simplefilter("error")
warnings.simplefilter("ignore", FutureWarning)  # of statsmodels, about its generator in versions to come


class Watched(BOHB):
    """BOHB that keeps what its model proposes, without what it draws at random or runs again."""

    def get_sample(self):
        modelled, kept = self.kde_good is not None, len(self.samples)
        spaces, drawn = self.configspace.sample_configuration, []
        self.configspace.sample_configuration = lambda: drawn.append(1) or spaces()
        sample = super().get_sample()
        self.configspace.sample_configuration = spaces
        if modelled and not drawn and len(self.samples) == kept:
            proposed.append(sample.to_dict()["value"])
        return sample


for kind, low, high in (
    (cs.UniformHyperparameter, 0, 1),
    (cs.UniformHyperparameter, 1, 5),
    (cs.IntegerUniformHyperparameter, 2, 12),
    (cs.UniformHyperparameter, -5, -1),
):
    proposed, tried = [], []
    best = low + 0.7 * (high - low)

    def loss(setting, epochs, best=best, tried=tried, width=high - low):
        tried.append(setting["value"])
        return abs(setting["value"] - best) / width + 0.01 / epochs

    np.random.seed(2)
    Watched(cs.ConfigurationSpace([kind("value", low, high)], seed=2), loss, max_budget=81, min_budget=1).optimize()
    apart = np.abs(np.array(proposed) - best) / (high - low)
    print(f"{kind.__name__} from {low} to {high}: {len(tried)} evaluations,", end=" ")
    print(f"{len(proposed)} proposals of the model, {len(set(proposed))} different,", end=" ")
    print(f"from {min(proposed):.3g} to {max(proposed):.3g}, best {best:.3g}")
    assert len(tried) == 199 and len(proposed) > 30
    if (low, high) == (0, 1):
        assert len(set(proposed)) == len(proposed) and apart.max() < 0.1
    else:
        assert set(proposed) == {low if low >= 1 else high} and apart.min() > 0.29
P
echo "as described: outside 0 to 1 the model proposes one end of the range and nothing else"
