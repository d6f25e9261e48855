#!/usr/bin/env bash
# Parameters of timm 1.0.31's and torchvision 0.29.2's networks by three counters, called as their READMEs say. thop
# 0.1.1 counts the parameters of those modules alone whose class it knows, and not of subclasses: a standardised
# convolution (StdConv2d), timm's BatchNormAct2d, an nn.MultiheadAttention, a bare nn.Parameter have none. torchsummary
# 1.5.1 counts "weight" and "bias" of modules that are called, so no weight that a forward uses by itself. ptflops 0.7.5
# counts what is trained: a frozen backbone has no parameters.
#
# Seen, of all parameters:   thop  torchsummary  ptflops  ptflops, all but the head frozen
#   resnet18 (torchvision)   1.00      1.00        1.00     0.04
#   vit_b_16 (torchvision)   0.67                  1.00     0.01
#   swin_t (torchvision)     0.69      0.69        1.00     0.03
#   resnetv2_50x1_bit        0.08      1.00        1.00     0.08
#   mobilenetv4_conv_small   0.65      1.00        1.00     0.34
#   beitv2_base_patch16_224  0.75      0.75        1.00     0.01
# No warning unless thop is called with report_missing=True; thop's MACs lack the same layers.
# Expected: the numbers of sum(p.numel() for p in model.parameters()), as torchinfo 1.8.0 gives them.
# It matters in tables of accuracy against size: networks of one size differ tenfold there, and linear probes look tiny.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 timm==1.0.31 \
  numpy==2.4.6 thop==0.1.1.post2209072238 torchsummary==1.5.1 ptflops==0.7.5 torchinfo==1.8.0
cd "$work"
"$work/env/bin/python" -W error::UserWarning - <<'P'
import contextlib
import io

import timm
import torch
import torchinfo
import torchvision
from ptflops import get_model_complexity_info
from thop import profile
from torchsummary import summary

size = (3, 224, 224)


def by_torchsummary(model):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        summary(model, size, device="cpu")
    (line,) = [line for line in printed.getvalue().splitlines() if line.startswith("Total params")]
    return int(line.split()[-1].replace(",", ""))


def by_ptflops(model):
    return get_model_complexity_info(model, size, as_strings=False, print_per_layer_stat=False, verbose=False)[1]


expected = {
    "resnet18": (1, 1, 0.04),
    "vit_b_16": (0.67, None, 0.01),
    "swin_t": (0.69, 0.69, 0.03),
    "resnetv2_50x1_bit": (0.08, 1, 0.08),
    "mobilenetv4_conv_small": (0.65, 1, 0.34),
    "beitv2_base_patch16_224": (0.75, 0.75, 0.01),
}
for name, shares in expected.items():
    create = getattr(torchvision.models, name, None) or (lambda name=name: timm.create_model(name))
    model = create().eval()
    number = sum(p.numel() for p in model.parameters())
    assert torchinfo.summary(model, (1, *size), verbose=0).total_params == number
    head = model.get_classifier() if hasattr(model, "get_classifier") else list(model.modules())[-1]
    found = [by_ptflops(create().eval())]
    for p in model.parameters():
        p.requires_grad_(False)
    head.requires_grad_(True)
    found.append(by_ptflops(model))
    assert found == [number, sum(p.numel() for p in head.parameters())]
    found.insert(0, None if shares[1] is None else by_torchsummary(create().eval()))  # it cannot call vit_b_16
    found.insert(0, profile(create().eval(), (torch.randn(1, *size),), verbose=False)[1])
    found = [each and round(each / number, 2) for each in found]
    print(f"{name}: {number / 1e6:.1f} million; thop, torchsummary, ptflops, ptflops frozen:", *found)
    assert (found[0], found[1], found[3]) == shares and found[2] == 1
P
echo "as described: the counters leave out up to nine tenths of a network"
