#!/usr/bin/env bash
# timm 1.0.31: pretrained_cfg.fixed_input_size says that a model takes images of one size only. It is
# True for the 83 pretrained models of seven families (crossvit, efficientvit_m, mvitv2, resnet*_clip,
# sequencer2d, twins, xcit) of which the one tried here takes another size as it is, and as well for
# those that refuse it (vit, swin, ...). A list of candidates for another size that goes by it loses
# models that would have run, XCiT and Twins among them.
#
# Seen: of each family one network with random weights; is it called fixed, and does it give logits at
# 64 pixels fewer than its size? vit_tiny_patch16_224 beside them refuses.
# Expected: False for what takes any size.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 timm==1.0.31
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import timm
import torch

RUN = ["crossvit_9_240", "efficientvit_m0", "mvitv2_tiny", "resnet50_clip", "sequencer2d_s"]
RUN += ["twins_svt_small", "xcit_nano_12_p16_224"]
found = {}
for name in [*RUN, "vit_tiny_patch16_224"]:
    model = timm.create_model(name, num_classes=10).eval()
    config = model.pretrained_cfg
    size = config["input_size"][-1] - 64
    try:
        with torch.inference_mode():
            logits = model(torch.rand(2, 3, size, size))
        runs = tuple(logits.shape) == (2, 10) and bool(logits.isfinite().all())
    except AssertionError:
        runs = False
    found[name] = (config["fixed_input_size"], runs)
    print(f"{name}: fixed_input_size {found[name][0]}, runs at {size} pixels: {runs}")
assert all(found[name] == (True, True) for name in RUN)
assert found["vit_tiny_patch16_224"] == (True, False)
P
echo "as described: networks that take any size are called fixed"
