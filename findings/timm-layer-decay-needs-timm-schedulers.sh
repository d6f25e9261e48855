#!/usr/bin/env bash
# timm 1.0.31: create_optimizer_v2(..., lr=..., layer_decay=...) gives an optimizer of torch whose groups all have
# the full learning rate. The decay is in a key "lr_scale" of each group, and nothing but timm's own schedulers reads
# that. Without a scheduler, or with one of torch, fastai or transformers, all layers are trained at the rate of the
# head: the argument has no effect, without a word. "layer-wise learning rate decay factor", its docstring says.
#
# Seen: vit_tiny_patch16_224, AdamW, lr 0.001, layer_decay 0.5: the patch embedding should have 0.001 * 0.5^13.
# It has 0.001 without a scheduler and with torch's ConstantLR; one step moves its weights by 0.001, as those of the
# head. With timm's scheduler it moves by 1.2e-7.
# Expected: learning rates that decay, or an error from whatever ignores the key.
# It matters to those who fine-tune: pretrained first layers are trained 8,192 times faster than was asked for.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 timm==1.0.31
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import timm
import torch
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch.optim.lr_scheduler import ConstantLR

SCHEDULERS = {
    "none": lambda optimizer: None,
    "torch": lambda optimizer: ConstantLR(optimizer, factor=1.0),
    "timm": lambda optimizer: create_scheduler_v2(optimizer, sched="cosine", num_epochs=10),
}
moved = {}
for name, schedule in SCHEDULERS.items():
    torch.manual_seed(0)
    model = timm.create_model("vit_tiny_patch16_224", num_classes=2)
    torch.nn.init.normal_(model.head.weight)
    optimizer = create_optimizer_v2(model, opt="adamw", lr=0.001, weight_decay=0.0, layer_decay=0.5)
    schedule(optimizer)
    layers = {"patch embedding": model.patch_embed.proj.weight, "head": model.head.weight}
    before = {key: weight.detach().clone() for key, weight in layers.items()}
    model(torch.rand(2, 3, 224, 224)).logsumexp(1).sum().backward()
    optimizer.step()
    moved[name] = {key: (weight - before[key]).abs().median().item() for key, weight in layers.items()}
    scales = [group["lr_scale"] for group in optimizer.param_groups]
    rates = [group["lr"] for group in optimizer.param_groups]
    print(f"scheduler {name:5}: lr_scale from {min(scales):.2g}, lr from {min(rates):.2g};", end=" ")
    print("one step moves", ", ".join(f"{key} {step:.2g}" for key, step in moved[name].items()))
    assert abs(min(scales) - 0.5**13) < 1e-9 and max(scales) == 1
for name in ("none", "torch"):
    assert 0.9 < moved[name]["patch embedding"] / moved[name]["head"] < 1.1
assert moved["timm"]["patch embedding"] / moved["timm"]["head"] < 0.001
P
echo "as described: layer decay does nothing unless one of timm's schedulers is used"
