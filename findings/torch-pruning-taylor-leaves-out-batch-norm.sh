#!/usr/bin/env bash
# torch-pruning 1.6.1, TaylorImportance and GroupTaylorImportance: "target_types: the target types for importance
# calculation", and batch norm is one of the types they name. The paper that they cite takes the criterion there, at
# the scale that follows a convolution. The code asks for group norm in its place ("# BN elif prune_fn ==
# prune_groupnorm_out_channels"), which is none of the types, so that batch norm never counts.
#
# Seen: a convolution, batch norm and another convolution. The scores are the same, to the last bit, with batch norm
# among the types and without; those of MagnitudeImportance and HessianImportance are not. With batch norm as the only
# type there is no score at all, and a pruner that is asked for half of the channels leaves all 64; by magnitude it
# leaves 32. No warning.
# Expected: the mean over the three layers, and 32 channels.
# It matters because nearly every convolutional backbone has batch norm: the criterion is not the one of the paper, and
# who chooses the paper's own, at batch norm, benchmarks a network that was not pruned.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch-pruning==1.6.1 torch==2.15.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
import warnings

import torch
import torch_pruning
from torch.nn import BatchNorm2d, Conv2d, Linear, ReLU, Sequential
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

importance = torch_pruning.importance
documented = " ".join(importance.GroupMagnitudeImportance.__doc__.split())
assert "target_types (list): the target types for importance calculation" in documented
others, options = [_ConvNd, Linear], {"group_reduction": "mean", "normalizer": None}


def network():
    torch.manual_seed(0)
    model = Sequential(Conv2d(3, 64, 3, bias=False), BatchNorm2d(64), ReLU(), Conv2d(64, 10, 3))
    torch.nn.init.uniform_(model[1].weight, 0, 5)
    images, classes = torch.randn(32, 3, 5, 5), torch.randint(10, (32,))
    torch.nn.functional.cross_entropy(model(images).flatten(1), classes).backward()
    return model, images


def scores(kind, types=None):
    model, images = network()
    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=images)
    group = graph.get_pruning_group(model[0], torch_pruning.prune_conv_out_channels, idxs=list(range(64)))
    return getattr(importance, kind)(**options, **({} if types is None else {"target_types": types}))(group)


for kind in ("TaylorImportance", "GroupTaylorImportance", "MagnitudeImportance", "HessianImportance"):
    assert _BatchNorm in inspect.signature(getattr(importance, kind).__init__).parameters["target_types"].default
    same = torch.equal(scores(kind), scores(kind, others))
    print(f"{kind}: the scores with and without batch norm are {'the same' if same else 'different'}")
    assert same == ("Taylor" in kind)

model, _ = network()
products = [layer.weight * layer.weight.grad for layer in (model[0], model[1], model[3])]
parts = [products[0].abs().flatten(1).sum(1), products[1].abs(), products[2].abs().sum((0, 2, 3))]
given, right, without = scores("TaylorImportance"), sum(parts) / 3, (parts[0] + parts[2]) / 2
assert torch.allclose(given, without) and not torch.allclose(given, right)
halves = [set(score.argsort()[:32].tolist()) for score in (given, right, parts[1])]
print(f"of the 32 channels to prune {len(halves[0] - halves[1])} would stay if batch norm counted,", end=" ")
print(f"{len(halves[0] - halves[2])} by batch norm alone")
assert halves[0] != halves[2]

assert scores("TaylorImportance", [_BatchNorm]) is None
left = {}
for kind in ("TaylorImportance", "MagnitudeImportance"):
    model, images = network()
    chosen = getattr(importance, kind)(**options, target_types=[_BatchNorm])
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        pruner = torch_pruning.pruner.BasePruner(
            model, images, importance=chosen, pruning_ratio=0.5, ignored_layers=[model[3]]
        )
        pruner.step()
    left[kind] = model[0].out_channels
    print(f"{kind} at batch norm, half of 64 channels to prune: {left[kind]} left, warnings: {len(warned)}")
    assert not warned
assert left == {"TaylorImportance": 64, "MagnitudeImportance": 32}
P
echo "as described: batch norm does not count"
