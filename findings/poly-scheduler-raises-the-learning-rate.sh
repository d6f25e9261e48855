#!/usr/bin/env bash
# pytorch_optimizer 4.1.0, PolyScheduler: "Polynomial learning rate schedule after linear warmup", with max_lr,
# "Learning rate at the end of warmup", min_lr and t_max, "Total number of scheduler steps". After the warm-up it is
# min_lr + (max_lr - min_lr) * elapsed_steps ** poly_order, in steps, not in a share of t_max, and of those that are
# over, not of those that remain. So the rate rises from max_lr on without bound; t_max has no effect.
#
# Seen: max_lr=0.01, min_lr=0, t_max=100, warm-up of 10 steps. The last rate with poly_order=0.9: 0.57; with 0.5, the
# default: 0.094; with 2.0: 79. LinearScheduler and CosineScheduler, the two beside it with the same arguments, end at
# 0.0001 and 0.000003. With 1,000 steps after the warm-up and 0.9: 5.0. No warning.
# Expected: min_lr + (max_lr - min_lr) * (1 - elapsed / total) ** poly_order; torch's PolynomialLR is at 0.0002 then.
# The formula stands in the docstring, so that the code does what it says; but no rate of this shape is called "poly"
# elsewhere, and no rate above max_lr is announced.
# It matters because a fit that diverges is taken for the optimiser's or the backbone's fault, and one with clipping or
# an adaptive optimiser does not even diverge. Use torch's PolynomialLR.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 numpy==2.4.6 pytorch_optimizer==4.1.0
cd "$work"
"$work/env/bin/python" -W error::UserWarning - <<'P'
import inspect

import torch
from pytorch_optimizer.lr_scheduler import CosineScheduler, LinearScheduler, PolyScheduler, load_lr_scheduler

assert "Polynomial learning rate schedule after linear warmup" in inspect.getdoc(PolyScheduler)
assert "max_lr: Learning rate at the end of warmup" in inspect.getdoc(LinearScheduler)
assert load_lr_scheduler("poly") is PolyScheduler


def rates(scheduler, steps=100, **options):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.01)
    planned = scheduler(optimizer, t_max=steps, max_lr=0.01, min_lr=0.0, warmup_steps=10, **options)
    found = []
    for _ in range(steps):
        planned.step()
        found.append(float(optimizer.param_groups[0]["lr"]))
    return found


optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.01)
planned = torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=90, power=0.9)
for _ in range(89):
    optimizer.step()
    planned.step()
print(f"after 100 steps, torch: {planned.get_last_lr()[0]:.2g}", end="; ")
assert planned.get_last_lr()[0] < 0.0002
for scheduler in (LinearScheduler, CosineScheduler):
    found = rates(scheduler)
    print(f"{scheduler.__name__} {found[-1]:.2g}", end="; ")
    assert max(found) == 0.01 and found[-1] < 0.0002
for power, least in ((0.5, 0.09), (0.9, 0.5), (2.0, 70)):
    found = rates(PolyScheduler, poly_order=power)
    print(f"poly of {power}: {found[-1]:.2g}", end="; ")
    assert found[-1] == max(found) > least and found[11:] == sorted(found[11:])
longer = rates(PolyScheduler, steps=1010, poly_order=0.9)
print(f"after 1,010 steps {longer[-1]:.2g}")
assert longer[-1] > 4 and longer[:100] == rates(PolyScheduler, poly_order=0.9)
P
echo "as described: the rate rises above max_lr and never falls"
