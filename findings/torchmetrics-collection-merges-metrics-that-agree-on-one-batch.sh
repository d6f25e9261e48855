#!/usr/bin/env bash
# torchmetrics 1.9.0: MetricCollection (compute_groups=True, the default) looks at the states of its metrics
# after the first batch, and those that are equal share one state from then on. How the metrics were set up is
# not compared. Two scores at two thresholds, or with and without ignore_index, are equal as soon as the first
# batch does not tell them apart: from then on one of the two is counted, also after reset(), and its value is
# given for both. The documentation calls metrics a group that "are only different in their compute step".
#
# Seen: a validation set in the order of its five classes, as class folders are read, the last one "unknown".
# Macro F1 without "unknown" is 0.63 in a collection, as with it, and 0.54 by itself; AUROC 0.88 and 0.71. With
# thresholds 0.3 and 0.5 and no score between them in the first batch, multi-label F1 at 0.5 is 0.71, as at 0.3,
# and 0.63 by itself. The next epoch, in another order, is as wrong. No warning.
# Expected: what each metric gives by itself, as with compute_groups=False.
# It matters to whoever compares models, thresholds or classes by several scores: one of them is another one.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torchmetrics==1.9.0 torch==2.15.0 numpy==2.4.6
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import torch
from torchmetrics import MetricCollection
from torchmetrics.classification import MulticlassAUROC, MulticlassF1Score, MultilabelF1Score

torch.manual_seed(0)
classes = torch.arange(5).repeat_interleave(80)
scores = (torch.randn(400, 5) + 1.5 * torch.nn.functional.one_hot(classes, 5)).softmax(1)
labels = torch.randint(2, (400, 6))
several = torch.rand(400, 6) * 0.8 + labels * 0.2
several[:16] = several[:16].round() * 0.8 + 0.1


def f1():
    return {"all": MulticlassF1Score(5), "without unknown": MulticlassF1Score(5, ignore_index=4)}


def auroc():
    return {"all": MulticlassAUROC(5), "without unknown": MulticlassAUROC(5, ignore_index=4)}


def thresholds():
    return {f"at 0_{t}": MultilabelF1Score(6, threshold=t / 10) for t in (3, 5)}


def epoch(collection, metrics, data):
    for batch in zip(*(part.split(16) for part in data)):
        collection.update(*batch)
        for metric in metrics.values():
            metric.update(*batch)
    found = [{name: value.item() for name, value in collection.compute().items()}]
    found += [{name: metric.compute().item() for name, metric in metrics.items()}]
    for metric in (collection, *metrics.values()):
        metric.reset()
    return found


for metrics, data in ((f1, (scores, classes)), (auroc, (scores, classes)), (thresholds, (several, labels))):
    order = torch.randperm(400)
    shuffled = [part[order] for part in data]
    for groups in (True, False):
        collection, alone = MetricCollection(metrics(), compute_groups=groups), metrics()
        for name, images in (("in order", data), ("shuffled", shuffled)):
            together, one = epoch(collection, alone, images)
            print(f"{metrics.__name__}, compute_groups={groups}, {name}:", end=" ")
            print(", ".join(f"{key} {together[key]:.2f} (alone {one[key]:.2f})" for key in one))
            first, second = one
            assert abs(one[first] - one[second]) > 0.02
            if groups:
                assert together[first] == together[second] == one[first]
            else:
                assert together == one
    collection = MetricCollection(metrics())
    together, one = epoch(collection, alone, shuffled)
    assert together == one, "a first batch that tells them apart"
P
echo "as described: metrics that one batch does not tell apart are merged for good"
