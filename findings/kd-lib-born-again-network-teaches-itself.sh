#!/usr/bin/env bash
# KD-Lib 0.0.32, BANN, 'Implementation of paper "Born Again Neural Networks"': each generation is taught by the one
# before. The teacher is the very object that is the student (BANN hands student_model to its base class for both), so
# that resetting the student to its first weights resets the teacher too. From the second generation on the network is
# taught by itself: the distillation term and its gradient are 0, and what is left is cross-entropy times
# 1 - distil_weight. The reset follows the last generation as well: the network that is passed in ends untrained.
#
# Seen: two generations of three epochs on 400 points of four classes. In the 24 steps of the second generation the
# teacher's logits are the student's, to the last bit. Accuracy as printed at the end of the generations: 0.72 and 0.73;
# of the network after train_student: 0.18, and its weights are the first ones. (Those of each generation are in the
# files that it saves.) With bann.teacher_model = copy.deepcopy(network) before train_student the logits differ by up to
# 3.5, and teacher_model is the last generation at the end. No warning.
# Expected: a teacher that is the generation before, and a trained network, as the package's other methods leave it.
# It matters because "born again" shows the gain of a smaller loss at best, and an export of the network is one of
# random weights. Use that copy.
# Its text methods need transformers 4.6 and are left out here, as are the package's pins of 2021.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  torch==2.15.0 torchvision==0.29.2 numpy==2.4.6 matplotlib==3.11.2 tensorboard==2.21.0
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-deps KD-Lib==0.0.32
cd "$work"
MPLBACKEND=agg MPLCONFIGDIR="$work" "$work/env/bin/python" -W ignore - <<'P'
import copy
import inspect
import sys
import types
import warnings

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

sys.modules["KD_Lib.KD.text"] = types.SimpleNamespace(BERT2LSTM=None, get_essentials=None)
from KD_Lib.KD import BANN  # noqa: E402

assert 'Implementation of paper "Born Again Neural Networks"' in inspect.getdoc(BANN)
torch.manual_seed(0)
points = torch.randn(600, 10)
classes = (points @ torch.randn(10, 4) + torch.randn(600, 4)).argmax(1)
train = DataLoader(TensorDataset(points[:400], classes[:400]), batch_size=50, shuffle=True)
test = DataLoader(TensorDataset(points[400:], classes[400:]), batch_size=50)
net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 4))
first = copy.deepcopy(net.state_dict())


def accuracy(model):
    with torch.no_grad():
        return (model(points[400:]).argmax(1) == classes[400:]).float().mean().item()


class Watched(BANN):
    apart = []

    def calculate_kd_loss(self, student, teacher, labels):
        loss = super().calculate_kd_loss(student, teacher, labels)
        if self.gen:
            own = (1 - self.distil_weight) * nn.functional.cross_entropy(student, labels)
            self.apart.append(((student - teacher).abs().max().item(), (loss - own).abs().item()))
        return loss


def train_twice(copied):
    net.load_state_dict(first)
    Watched.apart = []
    born_again = Watched(net, train, test, torch.optim.Adam(net.parameters(), 0.01), num_gen=2, temp=4.0)
    assert born_again.teacher_model is net
    if copied:
        born_again.teacher_model = copy.deepcopy(net)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", UserWarning)
        born_again.train_student(epochs=3, save_model_pth="models/student-{}.pth")
    assert not [each for each in warned if "KD_Lib" in each.filename]
    logits, term = map(max, zip(*Watched.apart, strict=True))
    after, teacher = accuracy(net), accuracy(born_again.teacher_model)
    print(f"copied: {copied}, second generation, {len(Watched.apart)} steps: logits of teacher and student", end=" ")
    print(f"differ by {logits:.1f}, the distillation term is {term:.0e}; accuracy afterwards: {after:.2f}", end=", ")
    print(f"of the teacher {teacher:.2f}, of the best weights", end=" ")
    untrained = all(torch.equal(first[name], value) for name, value in net.state_dict().items())
    net.load_state_dict(born_again.best_student_model_weights)
    print(f"{accuracy(net):.2f}")
    assert untrained and after < 0.4 and accuracy(net) > 0.6 and len(Watched.apart) == 24
    return logits, term, teacher


logits, term, teacher = train_twice(copied=False)
assert logits == 0 and term < 1e-6 and teacher < 0.4
logits, term, teacher = train_twice(copied=True)
assert logits > 1 and term > 0.01 and teacher > 0.6
P
echo "as described: the teacher is the student, and the network ends untrained"
