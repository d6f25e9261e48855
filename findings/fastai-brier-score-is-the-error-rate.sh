#!/usr/bin/env bash
# fastai 2.8.12, BrierScore: "Brier score for single-label classification problems", made from sklearn's
# brier_score_loss, the "mean squared difference between the predicted probability and the actual outcome". It is given
# the predicted class, 0 or 1, in place of the probability: the squared difference is then 1 for an error and 0
# otherwise. APScoreBinary and RocAucBinary, from the same module, do take the probability.
#
# Seen: 1,000 images of two classes and three networks that differ only in how sure they are: one that always says about
# a half, one that is calibrated and one that is far too sure. BrierScore() is 0.218 for each, and so is error_rate.
# Their true Brier scores are 0.235, 0.147 and 0.203. No warning.
# Expected: sklearn's brier_score_loss of the probabilities, lowest for the calibrated network.
# It matters because one watches a Brier score in order to see overconfidence: this one cannot see it, and a sweep or
# SaveModelCallback that monitors it chooses by the error rate.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  fastai==2.8.12 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
import warnings

import numpy as np
import torch
from fastai.data.core import DataLoaders
from fastai.data.load import DataLoader
from fastai.learner import Learner
from fastai.metrics import BrierScore, RocAucBinary, error_rate
from sklearn.metrics import brier_score_loss, roc_auc_score

assert inspect.getdoc(BrierScore) == "Brier score for single-label classification problems"
assert "mean squared difference between the predicted probability and the actual outcome" in " ".join(
    inspect.getdoc(brier_score_loss).split()
)


class Network(torch.nn.Module):
    """Two logits that are `sureness` apart for each unit of the input."""

    def __init__(self, sureness):
        super().__init__()
        self.sureness = torch.nn.Parameter(torch.tensor(float(sureness)))

    def forward(self, images):
        return torch.cat([torch.zeros_like(images), self.sureness * images], dim=1)


torch.manual_seed(0)
images = torch.randn(1000, 1)
classes = (torch.rand(1000) < torch.sigmoid(2 * images[:, 0])).long()
data = list(zip(images, classes))
loaders = DataLoaders(DataLoader(data, bs=100), DataLoader(data, bs=100))
truth, found = classes.numpy(), {}
for name, sureness in (("unsure", 0.1), ("calibrated", 2), ("too sure", 20)):
    options = {"loss_func": torch.nn.CrossEntropyLoss(), "metrics": [error_rate, BrierScore(), RocAucBinary()]}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        _, error, given, area = Learner(loaders, Network(sureness), **options).validate()
    probability = torch.sigmoid(sureness * images[:, 0]).numpy().astype(float)
    expected = np.mean((probability - truth) ** 2)
    found[name] = expected
    print(f"\r{name:10}: error rate {error:.3f}, BrierScore {given:.3f}, true Brier score {expected:.3f}")
    assert np.isclose(given, error) and np.isclose(expected, brier_score_loss(truth, probability))
    assert np.isclose(area, roc_auc_score(truth, probability), atol=1e-3)
    assert not [one for one in warned if "brier" in str(one.message).lower()]
assert min(found, key=found.get) == "calibrated" and found["unsure"] - found["calibrated"] > 0.05
P
echo "as described: the Brier score is the error rate"
