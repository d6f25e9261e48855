#!/usr/bin/env bash
# ema-pytorch 0.8.3, EMA.forward_eval: "handy function for invoking ema model with no grad + eval". It keeps the mode
# and restores it afterwards, but does not call eval() in between. The averaged network is a copy of the one that is
# trained, so it is in training mode unless ema.eval() was called, and ema.train() after it sets it back.
#
# Seen: two calls with the same images give two answers (dropout). With 64 images of one class batch norm takes the mean
# of that batch: accuracy 0.44 where the network has 0.98 in evaluation mode. Each call changes the running mean and
# variance of the averaged network: after 20 such validation batches its accuracy in evaluation mode is 0.88. Gradients
# are off, as promised. No warning.
# Expected: evaluation mode during the call.
# It matters because validation with it gives a wrong score and spoils the averaged network, which is the one that is
# kept. Call ema.eval() and then ema.ema_model(images) in torch.no_grad().
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check ema-pytorch==0.8.3 torch==2.15.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect

import torch
from ema_pytorch import EMA
from torch import nn
from torch.nn.functional import cross_entropy

assert "handy function for invoking ema model with no grad + eval" in inspect.getsource(EMA.forward_eval)
torch.manual_seed(0)
images = torch.randn(4000, 20)
classes = (images[:, 0] > 0).long()
validation = torch.randn(1280, 20)
truth = (validation[:, 0] > 0).long()
validation, truth = validation[truth.argsort()], truth.sort().values
net = nn.Sequential(nn.Linear(20, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 2))
ema = EMA(net, beta=0.99, update_after_step=0, update_every=1)
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
for _ in range(600):
    rows = torch.randint(len(images), (64,))
    optimizer.zero_grad()
    cross_entropy(net(images[rows]), classes[rows]).backward()
    optimizer.step()
    ema.update()


def accuracy(predict):
    answers = torch.cat([predict(batch).argmax(1) for batch in validation.split(64)])
    return (answers == truth).float().mean().item()


def in_evaluation_mode():
    ema.eval()
    with torch.no_grad():
        found = accuracy(ema.ema_model)
    ema.train()
    return found


before = in_evaluation_mode()
assert not ema.forward_eval(validation[:64]).requires_grad
assert not torch.equal(ema.forward_eval(validation[:64]), ema.forward_eval(validation[:64]))
validated = accuracy(ema.forward_eval)
after = in_evaluation_mode()
print(f"in evaluation mode {before:.3f}, by forward_eval {validated:.3f}, then in evaluation mode {after:.3f}")
assert before > 0.95 and validated < 0.75 and after < before - 0.03
ema.eval()
assert torch.equal(ema.forward_eval(validation[:64]), ema.forward_eval(validation[:64]))
P
echo "as described: forward_eval runs in training mode"
