#!/usr/bin/env bash
# torchsampler 0.1.2, ImbalancedDatasetSampler(dataset, labels, indices): README: "rebalance the class distributions
# when sampling from the imbalanced dataset". indices are "a list of indices"; the weights are sorted by index, the
# indices are not, so with indices in any other order, as train_test_split, KFold(shuffle=True) or torch.randperm give
# them, each image is drawn by the weight of another.
#
# Seen: 1,000 images, 10 % of the rare class, 800 of them for training. Indices in ascending order: 50 % of the images
# drawn are of the rare class. The same indices shuffled: 11 %, as without a sampler, though a tenth of the images is
# drawn nine times as often as the rest: the wrong tenth. All 1,000 in shuffled order: 9 %. No warning.
# Expected: half and half, in any order.
# It matters because the fit runs as before: a study "with balanced sampling" is one without. Sort the indices, or use
# torch's WeightedRandomSampler on a Subset.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  torchsampler==0.1.2 torch==2.15.0 torchvision==0.29.2 pandas==3.1.1 numpy==2.4.6 scikit-learn==1.9.1
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
from importlib.metadata import metadata

import torch
from sklearn.model_selection import train_test_split
from torch.utils.data import TensorDataset
from torchsampler import ImbalancedDatasetSampler

assert "rebalance the class distributions" in " ".join(metadata("torchsampler").get_payload().split())
assert "indices: a list of indices" in " ".join(ImbalancedDatasetSampler.__doc__.split())
torch.manual_seed(0)
classes = torch.cat([torch.zeros(900, dtype=torch.long), torch.ones(100, dtype=torch.long)])
images = TensorDataset(torch.arange(1000), classes)
chosen, _ = train_test_split(range(1000), test_size=0.2, stratify=classes, random_state=0)


def rare_share(indices):
    labels = classes[indices].tolist()
    drawn = list(ImbalancedDatasetSampler(images, labels=labels, indices=indices, num_samples=20000))
    assert set(drawn) <= set(indices)
    return classes[drawn].float().mean().item()


ascending, shuffled = rare_share(sorted(chosen)), rare_share(chosen)
print(f"rare class: {classes[chosen].float().mean():.3f} of the training images", end="; ")
print(f"of those drawn {ascending:.3f} by ascending indices, {shuffled:.3f} by shuffled ones")
assert 0.47 < ascending < 0.53 and shuffled < 0.2

everything = torch.randperm(1000).tolist()
drawn = list(ImbalancedDatasetSampler(images, indices=everything, labels=classes[everything].tolist()))
print(f"all 1,000, shuffled: {classes[drawn].float().mean():.3f}")
assert classes[drawn].float().mean() < 0.2
P
echo "as described: a shuffled list of indices takes the balance away"
