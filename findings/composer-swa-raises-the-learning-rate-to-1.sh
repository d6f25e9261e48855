#!/usr/bin/env bash
# mosaicml 0.32.1 (composer), SWA(schedule_swa_lr=True, swa_lr=...): swa_lr is "The final learning rate to anneal
# towards with the SWA LR scheduler". It is replaced before its first use by the learning rate that the trainer's
# scheduler has at that time, and by 1.0 if the trainer has no scheduler.
#
# Seen: SGD with a learning rate of 0.1, 10 epochs, averaging from the 4th on, annealing over 3 epochs. Without a
# scheduler the rate rises to 1.0 for swa_lr=0.01, 0.001 and None alike, ten times that of the run and a thousand times
# what was asked for; the weights averaged are those. With a constant schedule it stays at 0.1, and with a cosine
# schedule the epochs end at the 0.073 that it had when averaging began. No warning.
# Expected: 0.01 and 0.001 at the end of the annealing, as with torch's SWALR alone.
# It matters because the averages are taken at a rate that nobody chose, and a sweep over swa_lr compares equal runs.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  mosaicml==0.32.1 torch==2.7.0 torchvision==0.22.0 numpy==2.2.6 'setuptools<81'
cd "$work"
"$work/env/bin/python" -W ignore - 2>log <<'P' || { cat log; exit 1; }
import inspect
import warnings

import numpy as np
import torch
from composer import Callback, Trainer
from composer.algorithms import SWA
from composer.models import ComposerClassifier
from composer.optim import ConstantScheduler, CosineAnnealingScheduler
from torch.utils.data import DataLoader, TensorDataset

described = " ".join(inspect.getdoc(SWA).split())
assert "swa_lr (float, optional): The final learning rate to anneal towards with the SWA LR scheduler" in described


class Rates(Callback):
    """Notes the learning rate at the end of each epoch."""

    def __init__(self):
        self.seen = []

    def epoch_end(self, state, logger):
        self.seen.append(state.optimizers[0].param_groups[0]["lr"])


def train(swa_lr, schedulers):
    torch.manual_seed(0)
    data = TensorDataset(torch.randn(32, 3, 2, 2), torch.randint(3, (32,)))
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    model, rates = ComposerClassifier(network, num_classes=3), Rates()
    times = {"swa_start": "4ep", "swa_end": "9ep", "anneal_steps": 3}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        Trainer(
            model=model,
            optimizers=torch.optim.SGD(model.parameters(), lr=0.1),
            train_dataloader=DataLoader(data, batch_size=16),
            max_duration="10ep",
            schedulers=schedulers,
            algorithms=[SWA(schedule_swa_lr=True, swa_lr=swa_lr, **times)],
            callbacks=[rates],
            progress_bar=False,
        ).fit()
    return rates.seen, [text for text in (str(one.message) for one in warned) if "swa_lr" in text]


def by_torch(swa_lr):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    schedule = torch.optim.swa_utils.SWALR(optimizer, swa_lr=swa_lr, anneal_epochs=3, anneal_strategy="linear")
    for _ in range(5):
        optimizer.step()
        schedule.step()
    return optimizer.param_groups[0]["lr"]


for name, schedulers in (
    ("no scheduler", lambda: None),
    ("constant", lambda: [ConstantScheduler()]),
    ("cosine", lambda: [CosineAnnealingScheduler()]),
):
    runs = {swa_lr: train(swa_lr, schedulers()) for swa_lr in (0.01, 0.001, None)}
    for swa_lr, (rates, warned) in runs.items():
        print(f"{name}, swa_lr={swa_lr}: {' '.join(f'{rate:.3f}' for rate in rates)}")
        assert np.allclose(rates, runs[None][0]) and not warned
    if name == "no scheduler":
        assert np.isclose(rates[-1], 1) and np.allclose(rates[:3], 0.1)
    else:
        assert np.isclose(rates[-2], 0.1 if name == "constant" else 0.0727, atol=1e-4)
print(f"by torch's SWALR: {by_torch(0.01):.3f}, {by_torch(0.001):.3f}")
assert np.isclose(by_torch(0.01), 0.01) and np.isclose(by_torch(0.001), 0.001)
P
echo "as described: whatever is asked for, the averaging's learning rate is another"
