#!/usr/bin/env bash
# pytorch-accelerated 0.1.61, CosineLrScheduler: "total_num_epochs: the total number of training epochs, inclusive of
# any warmup and cooldown epochs", "Between any warmup or cooldown epochs, the cosine annealing strategy will be used".
# The cosine is laid out over the epochs without warm-up and cool-down, but ends at update total - warm-up - cool-down,
# counted from the first update of the warm-up. So it stops early by as many epochs as the warm-up had, and the rate
# falls to lr_min at once. timm's scheduler, which it names as its source, does not.
#
# Seen: 10 epochs, rate 1. No warm-up: a cosine to the end. 3 of warm-up: a cosine from epoch 3 to 7, where the rate is
# 0.39, then lr_min (0.000001) for the last three epochs. 5 of warm-up: no cosine, half of the training at lr_min. 1 of
# warm-up and none of cool-down: the last epoch at lr_min. No warning.
# Expected: a cosine from the end of the warm-up to the beginning of the cool-down.
# It matters for short fine-tunes, where a warm-up of 3 of 10 epochs is usual: the last three train nothing, and the end
# of the schedule, where most of the gain comes, is missing. Use timm's or torch's schedulers (SequentialLR).
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check pytorch-accelerated==0.1.61 accelerate==1.15.0 \
  torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import math

import torch
from pytorch_accelerated.schedulers import CosineLrScheduler
from timm.scheduler import CosineLRScheduler

described = " ".join((CosineLrScheduler.__doc__ + CosineLrScheduler.__init__.__doc__).split())
assert "total_num_epochs: the total number of training epochs, inclusive of any warmup and cooldown epochs" in described
assert "If cooldown epochs are specified, the learning rate will be fixed at the minimum lr value given." in described
documented = " ".join(CosineLrScheduler.get_updated_values.__doc__.split())
assert "Between any warmup or cooldown epochs, the cosine annealing strategy will be used." in documented
EPOCHS, UPDATES = 10, 100


def rates(warmup, cooldown, by_timm=False):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    if by_timm:
        epochs = EPOCHS - cooldown - warmup
        scheduler = CosineLRScheduler(
            optimizer, epochs * UPDATES, lr_min=1e-6, warmup_t=warmup * UPDATES, warmup_lr_init=1e-6,
            warmup_prefix=True, t_in_epochs=False,
        )  # fmt: skip
    else:
        scheduler = CosineLrScheduler(
            optimizer, EPOCHS, UPDATES, num_warmup_epochs=warmup, num_cooldown_epochs=cooldown
        )
    found = []
    for update in range(EPOCHS * UPDATES):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step_update(update + 1) if by_timm else scheduler.step()
    return found


for warmup, cooldown in ((0, 0), (1, 0), (3, 0), (5, 0), (2, 2)):
    found, timm = rates(warmup, cooldown), rates(warmup, cooldown, by_timm=True)
    own = [(1 + math.cos(math.pi * (epoch - warmup) / (EPOCHS - warmup - cooldown))) / 2 for epoch in range(EPOCHS)]
    print(f"warm-up {warmup}, cool-down {cooldown}: rate at the start of each epoch", end=" ")
    print([round(rate, 2) for rate in found[::UPDATES]], "timm", [round(rate, 2) for rate in timm[::UPDATES]])
    end = EPOCHS - cooldown
    for epoch in range(warmup, end):  # the first updates of an epoch differ by one or two
        late = found[epoch * UPDATES + 2]
        assert abs(timm[epoch * UPDATES + 2] - own[epoch]) < 0.02
        assert abs(late - own[epoch]) < 0.02 if epoch < end - warmup else late == 1e-6
P
echo "as described: after a warm-up of three epochs the last three have no learning rate"
