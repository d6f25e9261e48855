#!/usr/bin/env bash
# LAMDA-SSL 1.0.2, Cross_Entropy(use_hard_labels=False): "Whether to use hard labels in the consistency regularization".
# The labels are turned into whole numbers first, so that of soft labels, probabilities below 1, nothing but 0 is left:
# the loss is 0 and so is its gradient. UDA, MixMatch, ReMixMatch and ICT, and FlexMatch by option, take it for the part
# of their loss that is to learn from soft labels.
#
# Seen: 64 soft labels of ten classes: 0.000 where torch has 2.776. UDA: the loss is the same to the last digit whether
# the two views of the unlabelled images agree or contradict each other, and no gradient reaches them. MixMatch: the
# loss of the labelled images, whose labels are mixed, is 0.000 instead of 2.8. No warning.
# Expected: torch's cross_entropy with probabilities; hard labels written as vectors of 0 and 1 are right in both.
# It matters because the toolkit is there to compare such algorithms: UDA is plain training on the few labelled images,
# and MixMatch learns from a label only where two images of one class were mixed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  scikit-learn==1.4.2 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 scipy==1.17.1 pandas==3.1.1 matplotlib==3.11.2
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-deps LAMDA-SSL==1.0.2
cd "$work"
OMP_NUM_THREADS=1 "$work/env/bin/python" -W ignore - <<'P'
import inspect
import warnings

import torch
import torch.nn.functional as functional
from LAMDA_SSL.Algorithm.Classification.MixMatch import MixMatch
from LAMDA_SSL.Algorithm.Classification.UDA import UDA
from LAMDA_SSL.Loss.Cross_Entropy import Cross_Entropy

described = inspect.getsource(Cross_Entropy)
assert "use_hard_labels: Whether to use hard labels in the consistency regularization" in described
warnings.simplefilter("error")
torch.manual_seed(0)
logits = torch.randn(64, 10, requires_grad=True)
soft = torch.softmax(3 * torch.randn(64, 10), dim=1)
hard = functional.one_hot(soft.argmax(dim=1), 10).float()
for name, labels in (("soft", soft), ("hard", hard)):
    given, right = Cross_Entropy(use_hard_labels=False)(logits, labels), functional.cross_entropy(logits, labels)
    (gradient,) = torch.autograd.grad(given, logits)
    print(f"{name} labels: loss {given:.3f}, torch {right:.3f}; the greatest gradient {gradient.abs().max():.3f}")
    assert right > 2
    assert (given == 0 and not gradient.any()) if name == "soft" else torch.isclose(given, right)

uda = UDA(threshold=0.8, lambda_u=1.0, T=0.4, num_classes=10, tsa_schedule=None)
labelled, classes = torch.randn(8, 10), torch.arange(8)
weak = 4 * hard + torch.randn(64, 10)
losses = {}
for name, strong in (("agree", weak.clone()), ("contradict", -weak)):
    strong.requires_grad_()
    losses[name] = uda.get_loss((labelled.requires_grad_(), classes, weak, strong))
    (gradient,) = torch.autograd.grad(losses[name], strong)
    sure = (torch.softmax(weak, dim=1).amax(dim=1) >= 0.8).float()
    soft_weak = torch.softmax(weak / 0.4, dim=1)
    right = (functional.cross_entropy(strong, soft_weak, reduction="none") * sure).mean()
    print(f"UDA, the views {name}: loss {losses[name]:.6f}, of which consistency should be {right:.3f};", end=" ")
    print(f"{int(sure.sum())} of 64 images count, the greatest gradient of them is {gradient.abs().max():.3f}")
    assert not gradient.any() and sure.sum() > 20
assert losses["agree"] == losses["contradict"] and right > 1

mixmatch = MixMatch(lambda_u=0.0, warmup=1.0, num_classes=10)
mixmatch.it_total, mixmatch.num_it_total = 0, 1
mixed = 0.75 * hard + 0.25 * hard.roll(1, dims=0)
mixed, kept = mixed[mixed.amax(dim=1) < 1], logits[mixed.amax(dim=1) < 1]
given = mixmatch.get_loss((kept, mixed, kept, mixed))
print(f"MixMatch, {len(mixed)} labelled images with mixed labels: loss {given:.3f},", end=" ")
print(f"{functional.cross_entropy(kept, mixed):.3f} is right")
assert given == 0 and functional.cross_entropy(kept, mixed) > 2
P
echo "as described: soft labels have a loss of 0"
