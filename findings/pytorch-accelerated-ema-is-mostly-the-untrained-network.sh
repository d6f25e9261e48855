#!/usr/bin/env bash
# pytorch-accelerated 0.1.61, ModelEmaCallback: "maintains and saves an exponential moving average of the weights of the
# model that is currently being trained", with decay=0.99. The average starts as a copy of the untrained network and is
# updated once in an epoch, not after a step: after 10 epochs it still is 0.99**10 = 90% of the weights that training
# started with. ModelEma's documentation recommends decays of 0.999 and 0.9999, which with this callback leave the first
# weights nearly untouched for a hundred epochs.
#
# Seen: 10 epochs of 40 steps on a task that the network learns: the network is right for 100% of the images, with a
# loss of 0.01; the averaged network, whose "best" epoch is saved, for 80%, with a loss of 0.57. Its weights are those
# of an average by hand after each epoch. Averaged after each of the 400 steps with the same decay, as torch does: 100%
# and 0.02. No warning.
# Expected: an average over the last hundred or so steps, as with timm or torch.optim.swa_utils.
# It matters because the file ema_model.pt is what one exports, and its scores are what one compares with runs without.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  pytorch-accelerated==0.1.61 torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 'setuptools<81'
cd "$work"
"$work/env/bin/python" -W ignore - 2>log <<'P' || { cat log; exit 1; }
import inspect
import warnings
from copy import deepcopy

import torch
from pytorch_accelerated import Trainer
from pytorch_accelerated.callbacks import ModelEmaCallback, TrainerCallback
from pytorch_accelerated.utils import ModelEma
from torch.utils.data import TensorDataset

described = " ".join(inspect.getdoc(ModelEmaCallback).split())
assert "maintains and saves an exponential moving average of the weights of the model" in described
assert "typically in the multiple-nines range: 0.999, 0.9999" in " ".join(inspect.getdoc(ModelEma.__init__).split())
assert inspect.signature(ModelEmaCallback).parameters["decay"].default == 0.99

torch.manual_seed(0)
images = torch.randn(640, 8)
data = TensorDataset(images, (images[:, :2].sum(dim=1) > 0).long())
network = torch.nn.Sequential(torch.nn.Linear(8, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2))
first = deepcopy(network.state_dict())
by_step = torch.optim.swa_utils.AveragedModel(
    network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
)
steps = []
by_step.update_parameters(network)
by_epoch = deepcopy(first)


class ByHand(TrainerCallback):
    """Averages after each step, and after each epoch, next to the callback."""

    def on_train_step_end(self, trainer, **options):
        steps.append(1)
        by_step.update_parameters(network)

    def on_train_epoch_end(self, trainer, **options):
        for name, weight in network.state_dict().items():
            by_epoch[name] = 0.99 * by_epoch[name] + 0.01 * weight


average = ModelEmaCallback()
optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
loss = torch.nn.CrossEntropyLoss()
trainer = Trainer(network, loss, optimizer, callbacks=[average, ByHand()])
with warnings.catch_warnings(record=True) as warned:
    warnings.simplefilter("always")
    trainer.train(data, num_epochs=10, eval_dataset=data, per_device_batch_size=16)


def score(model):
    with torch.no_grad():
        logits = model.eval()(data.tensors[0])
    return loss(logits, data.tensors[1]).item(), (logits.argmax(dim=1) == data.tensors[1]).float().mean().item()


found = {}
for name, model in (("network", network), ("its average", average.ema_model.module), ("averaged by step", by_step)):
    found[name] = score(model)
    print(f"{name}, {len(steps)} steps: loss {found[name][0]:.2f}, right {found[name][1]:.1%}")
left = average.ema_model.module.state_dict()
assert all(torch.allclose(left[name], by_epoch[name], atol=1e-5) for name in left)
print(f"share of the first weights: {0.99**10:.1%} after 10 epochs, {0.99 ** len(steps):.1%} if updated by step")
assert len(steps) == 400 and not [one for one in warned if "ema" in str(one.message).lower()]
assert found["its average"][0] > 0.4 and found["network"][0] < 0.1 and found["averaged by step"][0] < 0.1
P
echo "as described: after 10 epochs the average is mostly the network before training"
