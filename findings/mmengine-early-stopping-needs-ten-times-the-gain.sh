#!/usr/bin/env bash
# mmengine 0.10.7, EarlyStoppingHook: "min_delta (float, optional): Minimum difference to continue the training.
# Defaults to 0.01." The default is 0.1. The metric has to rise by that much within patience (5) validations. Most
# metrics put an accuracy between 0 and 1: ten points in five epochs.
#
# Seen: a fit of up to 60 epochs whose validation accuracy rises from 0.60 towards 0.90, 0.9 - 0.3 exp(-epoch / 8). With
# the hook's defaults it ends after 10 epochs, at 0.80, while the accuracy still rises by a point an epoch; with
# min_delta=0.01, the documented default, after 31, at 0.89. No warning; the log, which the hook writes at level INFO,
# says that the metric "did not improve in the last 5 records".
# Expected: the documented default.
# It matters because fine-tuning from a good start, or at a low rate, gains less than that: the slower of two backbones
# or recipes is cut off first, and the comparison is one of their first epochs. Give min_delta.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6 matplotlib==3.11.2 \
  addict==2.4.0 termcolor==3.3.0 yapf==0.43.0 rich==15.0.0 pyyaml==6.0.4 opencv-python-headless==5.0.0.93
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-deps mmengine==0.10.7  # it asks for another OpenCV
cd "$work"
MPLBACKEND=agg MPLCONFIGDIR="$work" "$work/env/bin/python" -W ignore - <<'P'
import inspect
import math

import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import EarlyStoppingHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import DataLoader, TensorDataset

described = " ".join(inspect.getdoc(EarlyStoppingHook).split())
assert "Minimum difference to continue the training. Defaults to 0.01." in described
assert "with no improvement after which training will be stopped. Defaults to 5." in described
images = DataLoader(TensorDataset(torch.randn(4, 2)), batch_size=4)


class Net(BaseModel):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def forward(self, inputs, mode="tensor"):
        return {"loss": self.layer(inputs).square().mean()} if mode == "loss" else [{}]


class Accuracy(BaseMetric):
    default_prefix = "validation"
    seen = ()

    def process(self, data_batch, data_samples):
        self.results.append({})

    def compute_metrics(self, results):
        self.seen += (0.9 - 0.3 * math.exp(-len(self.seen) / 8),)
        return {"accuracy": self.seen[-1]}


def accuracies(name, **options):
    net, metric = Net(), Accuracy()
    runner = Runner(
        model=net,
        work_dir="work",
        train_dataloader=images,
        val_dataloader=images,
        train_cfg={"by_epoch": True, "max_epochs": 60},
        val_cfg={},
        val_evaluator=Evaluator(metric),
        optim_wrapper={"optimizer": torch.optim.SGD(net.parameters(), lr=0.01)},
        custom_hooks=[EarlyStoppingHook(monitor="validation/accuracy", **options)],
        default_hooks={"checkpoint": None},
        experiment_name=name,
        log_level="ERROR",
    )
    runner.train()
    return metric.seen


default = accuracies("default")
for threshold, epochs in ((0.01, 31), (0.1, 10)):
    seen = accuracies(f"by_{threshold}", min_delta=threshold)
    print(f"min_delta {threshold}: {len(seen)} epochs, accuracy {seen[-1]:.2f}")
    assert len(seen) == epochs
print(f"by default: {len(default)} epochs, accuracy {default[-1]:.2f}; last gain {default[-1] - default[-2]:.3f}")
assert default == seen
P
echo "as described: the default is ten times the documented one"
