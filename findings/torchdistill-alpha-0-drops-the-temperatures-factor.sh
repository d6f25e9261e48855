#!/usr/bin/env bash
# torchdistill 1.1.5, KDLoss, "a standard knowledge distillation (KD) loss module": alpha * CE + beta * tau ** 2 * KL,
# with beta = 1 - alpha by default. With alpha=0 (or None, or a batch without labels) it is KL alone: neither the factor
# tau ** 2 nor beta is applied, which the documentation does not say.
#
# Seen: temperature 4, logits of 64 images and ten classes: alpha=0: 0.27; alpha=0.000001: 4.38, 16 times as much, the
# gradients too. alpha=0 with beta=1 and with beta=100: the same. At temperature 1 there is no step. No warning.
# Expected: the formula; alpha is a balance, and its ends are ordinary values of it.
# It matters in a sweep over alpha: with the same learning rate "pure distillation", alpha=0, trains with a sixteenth of
# the gradient of its neighbours (of temperature 10: a hundredth), and looks bad. An unlabelled set is distilled with
# other weights than a labelled one. Take 0.000001 for 0, or multiply by tau ** 2.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  torchdistill==1.1.5 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W error::UserWarning - <<'P'
import inspect

import torch
from torch.nn.functional import cross_entropy, kl_div
from torchdistill.losses.mid_level import KDLoss

described = inspect.getdoc(KDLoss)
assert r"L_{KD} = \alpha \cdot L_{CE} + (1 - \alpha) \cdot \tau^2 \cdot L_{KL}" in described
assert "default: :math:`1 - \\alpha`" in described
torch.manual_seed(0)
student, teacher = torch.randn(64, 10, requires_grad=True), 3 * torch.randn(64, 10)
labels = torch.randint(10, (64,))


def by_formula(alpha, temperature, beta=None):
    soft = kl_div((student / temperature).log_softmax(1), (teacher / temperature).softmax(1), reduction="batchmean")
    beta = 1 - alpha if beta is None else beta
    return (alpha * cross_entropy(student, labels) + beta * temperature**2 * soft).item()


def found(alpha, temperature, beta=None, targets=labels):
    criterion = KDLoss(".", "output", ".", "output", temperature, alpha=alpha, beta=beta)
    student.grad = None
    loss = criterion({".": {"output": student}}, {".": {"output": teacher}}, targets)
    loss.backward()
    return loss.item(), student.grad.norm().item()


for alpha, temperature in ((0, 4), (1e-6, 4), (0.5, 4), (0, 10), (1e-6, 10), (0, 1), (1e-6, 1)):
    loss, gradient = found(alpha, temperature)
    right = by_formula(alpha, temperature)
    print(f"alpha {alpha:g}, temperature {temperature}: {loss:.3f}, formula {right:.3f}; gradient {gradient:.4f}")
    factor = temperature**2 if alpha == 0 else 1
    assert abs(loss * factor / right - 1) < 1e-4
    if alpha == 0:
        assert abs(found(1e-6, temperature)[1] / gradient / factor - 1) < 1e-3
assert found(0, 4, beta=1) == found(0, 4, beta=100) == found(0.5, 4, targets=None)
P
echo "as described: at alpha = 0 the loss is tau ** 2 times smaller than beside it"
