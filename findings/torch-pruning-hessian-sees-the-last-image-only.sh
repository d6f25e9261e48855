#!/usr/bin/env bash
# torch-pruning 1.6.1, HessianImportance: the example in its docstring goes through a batch with
# "scorer.accumulate_grad(model) # accumulate gradients of each sample", which are to be squared and averaged (optimal
# brain damage). The method looks up the name of a parameter in a dictionary whose keys are the parameters, never finds
# it, and so starts anew with each sample: what is left is the last one.
#
# Seen: 200 images. The scores are, to the last bit, those of the last image alone; their correlation with those of all
# images is 0.27, and of the 32 channels of 64 that are to be pruned 14 would stay. The same images in another order:
# other scores, other channels. No warning.
# Expected: the mean of the squared gradients, in any order.
# It matters because one gradient per image is the slow part: an hour of it ends in a choice by one image.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch-pruning==1.6.1 torch==2.15.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import torch
import torch_pruning
from torch.nn import Conv2d, ReLU, Sequential

described = " ".join(torch_pruning.importance.GroupHessianImportance.__doc__.split())
assert "scorer.accumulate_grad(model) # accumulate gradients of each sample" in described
torch.manual_seed(0)
model = Sequential(Conv2d(3, 64, 3, bias=False), ReLU(), Conv2d(64, 10, 3, bias=False))
images, classes = torch.randn(200, 3, 5, 5), torch.randint(10, (200,))
graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=images[:1])
group = graph.get_pruning_group(model[0], torch_pruning.prune_conv_out_channels, idxs=list(range(64)))


def gradients(order):
    for i in order:
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(images[i : i + 1]).flatten(1), classes[i : i + 1]).backward()
        yield


def given(order):
    scorer = torch_pruning.importance.HessianImportance(normalizer=None)
    scorer.zero_grad()
    for _ in gradients(order):
        scorer.accumulate_grad(model)
    return scorer(group)


def right(order):
    """Weights squared times the mean of the squared gradients, summed within a channel, averaged over the layers."""
    squares = [torch.zeros_like(layer.weight.data) for layer in (model[0], model[2])]
    for _ in gradients(order):
        squares[0] += model[0].weight.grad.square() / len(order)
        squares[1] += model[2].weight.grad.square() / len(order)
    first, second = model[0].weight.detach().square() * squares[0], model[2].weight.detach().square() * squares[1]
    return (first.sum((1, 2, 3)) + second.sum((0, 2, 3))) / 2


order = torch.arange(200)
all_images, last = given(order), given(order[-1:])
assert torch.equal(all_images, last) and torch.allclose(last, right(order[-1:]), rtol=1e-4)
expected = right(order)
correlation = torch.corrcoef(torch.stack([all_images, expected]))[0, 1].item()
pruned, reverse, meant = (set(s.argsort()[:32].tolist()) for s in (all_images, given(order.flip(0)), expected))
print(f"200 images: the scores are those of the last one; correlation with those of all {correlation:.2f};", end=" ")
print(f"of 32 channels to prune {len(pruned - meant)} would stay, {len(pruned - reverse)} do if the order is reversed")
assert torch.allclose(right(order.flip(0)), expected, rtol=1e-3) and correlation < 0.8
assert pruned != meant and pruned != reverse
P
echo "as described: all images but the last are forgotten"
