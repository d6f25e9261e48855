#!/usr/bin/env bash
# torchbearer 0.5.5, callbacks WeightDecay, L1WeightDecay, L2WeightDecay and GradientNormClipping: without `params` "the
# parameters will be retrieved from the model". They keep model.parameters(), which can be gone through once: the first
# batch uses it up, and from the second batch on there is nothing to decay or to clip.
#
# Seen: four epochs of four batches. The penalty is added to the loss of the first batch alone; the norm of the
# gradients is clipped to 0.01 in the first batch and is 5 to 7 in the other 15. With params=list(model.parameters())
# there is a penalty or a limit in all of them, and so with GradientClipping, which makes a list. No warning.
# Expected: each batch.
# It matters because a study of weight decay or of clipping by these callbacks compares trainings without either.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  torchbearer==0.5.5 torch==2.15.0 numpy==2.4.6 packaging==26.3
cd "$work"
"$work/env/bin/python" - <<'P'
import inspect
import warnings

import torch
import torchbearer
from torchbearer import Trial, callbacks

for kind in (callbacks.WeightDecay, callbacks.L1WeightDecay, callbacks.L2WeightDecay):
    assert "then the parameters will be retrieved from the model" in " ".join(inspect.getdoc(kind).split())
clipping = " ".join(inspect.getdoc(callbacks.GradientNormClipping).split())
assert "If params is None they will be retrieved from state" in clipping


def train(kind, *options, listed=False):
    """By batch: the loss less the cross-entropy, and the norm of the gradients that the optimizer is given."""
    torch.manual_seed(0)
    model = torch.nn.Linear(16, 4)
    images, classes = torch.randn(64, 16) * 5, torch.randint(4, (64,))
    added, norms, plain = [], [], []

    def criterion(state):
        plain.append(torch.nn.functional.cross_entropy(state[torchbearer.Y_PRED], state[torchbearer.Y_TRUE]))
        return plain[-1]

    @callbacks.on_backward
    def record(state):
        added.append(state[torchbearer.LOSS].item() - unchanged[len(added)] if unchanged else 0.0)
        norms.append(torch.cat([p.grad.flatten() for p in model.parameters()]).norm().item())

    unchanged = []

    @callbacks.on_forward
    def before(state):
        loss = torch.nn.functional.cross_entropy(state[torchbearer.Y_PRED], state[torchbearer.Y_TRUE])
        unchanged.append(loss.item())

    callback = kind(*options, params=list(model.parameters())) if listed else kind(*options)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001)
    trial = Trial(model, optimizer, criterion, callbacks=[before, callback, record], verbose=0)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        trial.with_train_data(images, classes, batch_size=16, shuffle=False).run(4)
    said = [str(one.message) for one in warned if "param" in str(one.message) or "clip" in str(one.message)]
    assert len(norms) == 16 and not said
    return torch.tensor(added), torch.tensor(norms)


for name in ("WeightDecay", "L1WeightDecay", "L2WeightDecay"):
    counts = [int((train(getattr(callbacks, name), 0.1, listed=listed)[0] > 1e-3).sum()) for listed in (False, True)]
    print(f"{name}: adds to the loss in {counts[0]} of 16 batches; with a list of parameters in {counts[1]}")
    assert counts == [1, 16]
for name in ("GradientNormClipping", "GradientClipping"):
    norms = [train(getattr(callbacks, name), 0.01, listed=listed)[1] for listed in (False, True)]
    limit = 0.01 * (1 if "Norm" in name else 68**0.5) + 1e-4
    counts = [int((norm < limit).sum()) for norm in norms]
    print(f"{name}: clips in {counts[0]} of 16 batches; with a list of parameters in {counts[1]};", end=" ")
    print(f"the norms of the others are {norms[0][1:].min():.2g} to {norms[0][1:].max():.2g}")
    assert counts == ([1, 16] if "Norm" in name else [16, 16])
P
echo "as described: only the first batch is decayed and clipped"
