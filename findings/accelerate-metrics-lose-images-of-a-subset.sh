#!/usr/bin/env bash
# accelerate 1.15.0, gather_for_metrics: "potentially drops duplicates in the last batch if on a distributed system". It
# cuts the last batch to len(dataset) % batch_size, also in one process, and also where a sampler draws another number
# of images than the dataset has. So the last batch of a validation set given by a sampler, as in a split by
# SubsetRandomSampler or a fold of cross-validation, loses images that are no duplicates.
#
# Seen, one process on a CPU, 1,000 images of which a SubsetRandomSampler takes 192, in batches of 64: 168 reach the
# metric, the other 24 do not (1,000 % 64 = 40 of the last 64). 33 images, in one batch of 333: one is left. The
# accuracy of the 33 is 0.82, the reported one 1.0. With Subset instead of the sampler all arrive. No warning.
# Expected: 192 and 33 images; there are no duplicates to drop.
# It matters for small validation sets: the images left out differ by batch size, so do the scores, and with an
# unshuffled sampler they are always the last ones, often one class. Use torch.utils.data.Subset, never a sampler.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  accelerate==1.15.0 torch==2.15.0 numpy==2.4.6 huggingface-hub==2.4.0 safetensors==0.8.0
cd "$work"
HF_HUB_OFFLINE=1 "$work/env/bin/python" -W ignore - <<'P'
import torch
from accelerate import Accelerator
from torch.utils.data import DataLoader, Subset, SubsetRandomSampler, TensorDataset

described = " ".join(Accelerator.gather_for_metrics.__doc__.split())
assert "potentially drops duplicates in the last batch if on a distributed system" in described
torch.manual_seed(0)
accelerator = Accelerator(cpu=True)
assert accelerator.num_processes == 1
images = TensorDataset(torch.arange(1000))
right = torch.rand(1000) < 0.8


def counted(loader):
    loader = accelerator.prepare(loader)
    return torch.cat([accelerator.gather_for_metrics(batch) for (batch,) in loader])


for chosen, batch_size, left in ((range(192), 64, 168), (range(33), 333, 1)):
    by_sampler = counted(DataLoader(images, batch_size=batch_size, sampler=SubsetRandomSampler(chosen)))
    by_subset = counted(DataLoader(Subset(images, chosen), batch_size=batch_size, shuffle=True))
    print(f"{len(chosen)} images in batches of {batch_size}: {len(by_sampler)} by a sampler,", end=" ")
    print(f"accuracy {right[by_sampler].float().mean():.3f}; {len(by_subset)} by Subset,", end=" ")
    print(f"accuracy {right[by_subset].float().mean():.3f}")
    assert sorted(by_subset.tolist()) == list(chosen)
    assert len(by_sampler) == left and set(by_sampler.tolist()) < set(chosen)
P
echo "as described: without any duplicate, the last batch loses images"
