#!/usr/bin/env bash
# torch-uncertainty 0.13.0, VariationRatio: its documentation takes probabilities of shape (images, models, classes), as
# Disagreement and MutualInformation beside it do. The code treats the first axis as the models and the second as the
# images: it averages over the images and compares these, so it measures how many classes the images have. (The result
# in the example of the docstring, 0.45, is that one; the definition above it gives 0.35.)
#
# Seen: an ensemble of four copies of one sure model, 200 images of ten classes. Disagreement and mutual information are
# 0, VariationRatio(probabilistic=False) is 0.87. Of images of a single class it is 0, though half of the models say
# another class (Disagreement 0.67). reduction="none", "returns score per sample", has four scores for 200 images. With
# the axes swapped all values are as defined. No warning.
# Expected: 0 where all models agree on every image, and 0.5 where half of them say another class.
# It matters because the ratio ranks images to look at, and models by how sure they are.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  'torch-uncertainty[cpu]==0.13.0' torch==2.15.0 torchvision==0.29.2 timm==1.0.31 lightning==2.6.6 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import torch
from torch_uncertainty.metrics.classification import Disagreement, MutualInformation, VariationRatio


def measure(metric, probabilities):
    metric.update(probabilities)
    return metric.compute()


def ratio(probabilities, **options):
    return measure(VariationRatio(probabilistic=False, **options), probabilities)


described = " ".join(VariationRatio.__init__.__doc__.split())
assert "where :math:`B` is the batch size, :math:`C` is the number of classes" in described
assert ":math:`(B, N, C)`" in described and "``'none'`` or ``None``: Returns score per sample" in described

torch.manual_seed(0)
sure = 0.9 * torch.eye(10) + 0.01
agree = sure[torch.randint(10, (200,))][:, None].repeat(1, 4, 1)
split = sure[torch.tensor([3, 3, 7, 7])].repeat(200, 1, 1)
for name, images in (("all agree", agree), ("half disagree", split)):
    values = ratio(images), ratio(images.transpose(0, 1))
    disagreement, information = measure(Disagreement(), images), measure(MutualInformation(), images)
    print(f"{name}: variation ratio {values[0]:.3f}, with the axes swapped {values[1]:.3f};", end=" ")
    print(f"disagreement {disagreement:.3f}, mutual information {information:.3f}")
    if name == "all agree":
        assert values[0] > 0.8 and values[1] == 0 and disagreement == 0 and information < 1e-6
    else:
        assert values[0] == 0 and values[1] == 0.5 and disagreement > 0.6 and information > 0.2
scores = ratio(agree, reduction="none")
print("scores of 200 images:", len(scores))
assert len(scores) == 4
example = torch.tensor([[[0.7, 0.3], [0.6, 0.4], [0.8, 0.2]], [[0.4, 0.6], [0.5, 0.5], [0.3, 0.7]]])
probable = measure(VariationRatio(), example), 1 - example.mean(1).max(1).values.mean()
print(f"example of the docstring: {probable[0]:.2f}, as defined {probable[1]:.2f}")
assert "tensor(0.4500)" in described and torch.allclose(torch.stack(probable), torch.tensor([0.45, 0.35]))
P
echo "as described: models that agree on every image have a variation ratio of 0.87"
