#!/usr/bin/env bash
# mosaicml 0.32.1 (composer), GradientClipping("adaptive", ...): scales a gradient down where the ratio of its norm to
# that of the parameter exceeds the threshold, with norms "as described in Brock et al, 2021". There, the parameter's
# norm counts as 1e-3 at least, lest parameters that start at 0 should have no gradient for ever. Composer leaves that
# out: a parameter of norm 0 has its gradient multiplied by 0, in each step anew.
#
# Seen: torchvision's VisionTransformer, whose head starts at 0, 100 steps on images that are easy to learn: the head
# does not change, and so nothing else does either; the loss is ln(4) = 1.3863 at the end as at the beginning. With
# timm's adaptive_clip_grad and the same threshold it ends at 0.01, with composer's clipping by norm at 0.07. Of
# resnet18, the 20 biases of its batch normalisations stay at 0. No warning.
# Expected: as in the paper and in timm, a lower bound on the parameter's norm.
# It matters because a new head that starts at 0 is usual for fine-tuning: the run completes, and has learned nothing.
# With a random head it does learn, but without any of the biases that started at 0.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  mosaicml==0.32.1 torch==2.7.0 torchvision==0.22.0 timm==1.0.31 numpy==2.2.6 'setuptools<81'
cd "$work"
"$work/env/bin/python" -W ignore - 2>log <<'P' || { cat log; exit 1; }
import inspect
import math
import warnings

import torch
from composer.algorithms.gradient_clipping import apply_gradient_clipping, gradient_clipping
from timm.utils.agc import adaptive_clip_grad
from torchvision.models import VisionTransformer, resnet18

described = " ".join(inspect.getdoc(apply_gradient_clipping).split())
assert "'adaptive', which clips all gradients based on gradient norm:parameter norm ratio" in described
assert "unitwise norm as described in Brock et al, 2021" in inspect.getdoc(gradient_clipping._unitwise_norm)
assert inspect.signature(adaptive_clip_grad).parameters["eps"].default == 1e-3

CLIP = {
    "composer, adaptive": lambda network: apply_gradient_clipping(network, "adaptive", 0.1, fsdp_enabled=False),
    "composer, norm": lambda network: apply_gradient_clipping(network, "norm", 1.0, fsdp_enabled=False),
    "timm, adaptive": lambda network: adaptive_clip_grad(network.parameters(), 0.1),
}


def train(network, clip, images, classes, steps):
    """The losses, and which parameters that were 0 before still are."""
    zero = [name for name, one in network.named_parameters() if not one.any()]
    optimizer, losses = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0), []
    for _ in range(steps):
        loss = torch.nn.functional.cross_entropy(network(images), classes)
        optimizer.zero_grad()
        loss.backward()
        clip(network)
        optimizer.step()
        losses.append(loss.item())
    return losses, zero, [name for name in zero if not network.get_parameter(name).any()]


torch.set_num_threads(1)
torch.manual_seed(0)
classes = torch.arange(16) % 4
images = torch.randn(16, 3, 32, 32) / 2 + torch.randn(4, 3, 32, 32)[classes]
found = {}
for name, clip in CLIP.items():
    torch.manual_seed(1)
    sizes = {"num_layers": 2, "num_heads": 2, "hidden_dim": 32, "mlp_dim": 64, "num_classes": 4}
    network = VisionTransformer(image_size=32, patch_size=8, **sizes)
    first = {key: value.clone() for key, value in network.state_dict().items()}
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        losses, zero, still = train(network, clip, images, classes, 100)
    changed = [key for key, value in network.state_dict().items() if not torch.equal(value, first[key])]
    found[name] = losses[-1]
    print(f"{name}: loss {losses[0]:.4f}, then {losses[-1]:.4f}; {len(changed)} of {len(first)} parameters changed")
    assert "heads.head.weight" in zero
    if name == "composer, adaptive":
        assert not changed and still == zero and math.isclose(losses[-1], math.log(4), rel_tol=1e-5)
        assert not [one for one in warned if "clip" in str(one.message).lower()]
    else:
        assert not still and losses[-1] < 0.3

for name, clip in CLIP.items():
    torch.manual_seed(1)
    _, zero, still = train(resnet18(num_classes=4), clip, images, classes, 3)
    print(f"{name}: resnet18, {len(still)} of {len(zero)} parameters that start at 0 are still 0 after 3 steps")
    assert len(zero) == 20 and len(still) == (20 if name == "composer, adaptive" else 0)
P
echo "as described: parameters that start at 0 stay there"
