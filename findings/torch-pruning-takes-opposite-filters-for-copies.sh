#!/usr/bin/env bash
# torch-pruning 1.6.1, FPGMImportance: "Filter Pruning via Geometric Median". The paper prunes the filters that are
# closest to the others in Euclidean distance, because the others can stand in for them. The code squares the weights
# (|w| to the power p, which is 2) before it takes distances, so signs are lost: a filter and its negative, the most
# different pair there is, have distance 0 and count as copies.
#
# Seen: seven filters, three nearly equal and four that point in four directions, at right angles. Asked for four to
# prune, it takes the four that differ and keeps the three that are nearly equal; by the paper's distances it is the
# three and one of the others. 64 filters as PyTorch initializes them: the correlation of the scores with the paper's is
# 0.7 (0.2 with p=1), and they are the same for a filter and its negative.
# Expected: distances between the filters.
# It matters because edge detectors of a first layer come in such pairs, and a benchmark of pruning criteria compares
# another one than the paper's.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch-pruning==1.6.1 torch==2.15.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import torch
import torch_pruning
from torch.nn import Conv2d, ReLU, Sequential

assert "Filter Pruning via Geometric Median" in torch_pruning.importance.FPGMImportance.__doc__


def layers(filters):
    """Two convolutions; the weights of the first one are `filters`."""
    count, channels, size, _ = filters.shape
    model = Sequential(Conv2d(channels, count, size, bias=False), ReLU(), Conv2d(count, 5, 1, bias=False))
    model[0].weight.data = filters.clone()
    return model, torch.zeros(1, channels, 8, 8)


def scores(filters, p=2):
    model, images = layers(filters)
    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=images)
    group = graph.get_pruning_group(model[0], torch_pruning.prune_conv_out_channels, idxs=list(range(len(filters))))
    return torch_pruning.importance.FPGMImportance(p=p, group_reduction="first", normalizer=None)(group).detach()


def by_paper(filters):
    flat = filters.flatten(1)
    return (flat[:, None] - flat[None]).norm(dim=2).sum(1)


angles = torch.deg2rad(torch.tensor([0.0, 5, 10, 45, 135, 225, 315]))
filters = torch.stack([angles.cos(), angles.sin()], 1)[:, :, None, None]
model, images = layers(filters)
importance = torch_pruning.importance.FPGMImportance(group_reduction="first")
options = {"importance": importance, "pruning_ratio": 4 / 7, "ignored_layers": [model[2]]}
torch_pruning.pruner.BasePruner(model, images, **options).step()
kept = torch.rad2deg(torch.atan2(model[0].weight[:, 1, 0, 0], model[0].weight[:, 0, 0, 0])).round().int().tolist()
right = by_paper(filters).argsort()[:4].tolist()
print("filters that point to", torch.rad2deg(angles).round().int().tolist(), "degrees; kept", kept, end="; ")
print("by the paper", sorted(set(range(7)) - set(right)), "of 0 to 6 stay")
assert kept == [0, 5, 10] and set(right) > {0, 1, 2}

torch.manual_seed(0)
filters = Conv2d(3, 64, 3).weight.detach().clone()
filters[1] = -filters[0]
for p, least, most in ((2, 0.4, 0.9), (1, -0.1, 0.6)):
    found = scores(filters, p)
    agreement = torch.corrcoef(torch.stack([found, by_paper(filters)]))[0, 1].item()
    print(f"64 random filters, p={p}: correlation with the paper's {agreement:.2f}", end=", ")
    print(f"a filter {found[0]:.3f}, its negative {found[1]:.3f}")
    assert least < agreement < most and torch.isclose(found[0], found[1])
    assert torch.allclose(found, by_paper(filters.abs() ** p), rtol=1e-3)
P
echo "as described: opposite filters count as copies, and copies are kept"
