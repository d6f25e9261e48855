#!/usr/bin/env bash
# timm 1.0.31, ModelEmaV3: use_warmup=True and update_after_step=N do nothing where update is called as in ModelEma and
# ModelEmaV2, ema.update(model). Its second argument, step, is optional; without it the full decay of 0.9999 applies
# from the first step. Neither the docstring, which explains the warm-up at length, nor a warning says so.
#
# Seen: 500 steps of a small network, from an accuracy of 0.12 to 1.00. The average with use_warmup=True has 0.26 by
# ema.update(model), the very one without warm-up: it keeps 0.9999 ** 500 = 95 % of the first weights. By
# ema.update(model, step=i) it has 1.00. update_after_step=400: 0.26 and 0.99. Nothing is logged.
# Expected: a count of its own, as torch's AveragedModel has (n_averaged), or an error.
# It matters for fine-tuning, where the fits are short and the head begins at random: the averaged model is the one that
# is validated and exported, and it looks as if averaging did not suit the data.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  timm==1.0.31 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W error::UserWarning - <<'P'
import inspect
import logging

import torch
from timm.utils import ModelEmaV3
from torch import nn
from torch.nn.functional import cross_entropy

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logging.getLogger("timm").addHandler(handler)
assert "Decay warmup" in ModelEmaV3.__doc__ and "step=" not in ModelEmaV3.__doc__ and ModelEmaV3.update.__doc__ is None
assert inspect.signature(ModelEmaV3.update).parameters["step"].default is None
torch.manual_seed(0)
data = torch.randn(2000, 20)
classes = data[:, :8].argmax(1)
net = nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 8))
start = {name: value.clone() for name, value in net.state_dict().items()}


def accuracy(model):
    with torch.no_grad():
        return (model(data).argmax(1) == classes).float().mean().item()


def fit(counted, **options):
    torch.manual_seed(1)
    net.load_state_dict(start)
    average, optimizer = ModelEmaV3(net, **options), torch.optim.Adam(net.parameters(), lr=0.01)
    for step in range(500):
        optimizer.zero_grad()
        rows = torch.randint(2000, (64,))
        cross_entropy(net(data[rows]), classes[rows]).backward()
        optimizer.step()
        average.update(net, step=step) if counted else average.update(net)
    return accuracy(net), accuracy(average)


first = accuracy(net)
for options in ({}, {"use_warmup": True}, {"update_after_step": 400}):
    (trained, plain), (_, counted) = fit(False, **options), fit(True, **options)
    print(f"{options}: trained {trained:.2f}, average by update(model) {plain:.2f}, with step {counted:.2f}")
    assert trained > 0.95 and plain < 0.4
    assert not options or counted > 0.95
print(f"untrained {first:.2f}; logged: {said}")
assert not said
P
echo "as described: without step the average of a short fit is the untrained model, warm-up or not"
