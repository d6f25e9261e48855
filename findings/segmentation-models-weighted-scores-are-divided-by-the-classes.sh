#!/usr/bin/env bash
# segmentation-models-pytorch 0.6.0, its metrics (f1_score, iou_score, accuracy, recall and the rest) for
# reduction="weighted-imagewise": "Compute score for each image and for each class on that image separately, then
# compute weighted average score on each image over labels and average image scores over dataset." The weights are
# normalized to a sum of 1; the weighted scores are then averaged over the classes instead of summed, so the result is
# the right one divided by the number of classes. ("weighted" had this, too, until pull request 659 of 2022.)
#
# Seen: predictions that are all right score 1 / 4 of 4 classes, 0.05 of 20, in each of the metrics; "weighted" gives 1.
# Predictions that are 80 % right: 0.20, not 0.80. With equal weights it is not "macro-imagewise", which it should be.
# Expected: 1, and the weighted average of each image.
# It matters because such a score cannot exceed 1 / classes, and does not compare with that of another set of classes.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  segmentation-models-pytorch==0.6.0 torch==2.15.0 torchvision==0.29.2 timm==1.0.31 numpy==2.4.6 pillow==12.3.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import segmentation_models_pytorch as smp
import torch

METRICS = ("f1_score", "iou_score", "accuracy", "precision", "recall", "balanced_accuracy")
for metric in METRICS:
    described = " ".join(getattr(smp.metrics, metric).__doc__.split())
    assert "then compute weighted average score on each image over labels and average image scores" in described
torch.manual_seed(0)


def scores(metric, truth, predicted, classes, weights):
    stats = smp.metrics.get_stats(predicted, truth, mode="multiclass", num_classes=classes)
    function = getattr(smp.metrics, metric)
    per_image = function(*stats, reduction="none")
    normalized = torch.tensor(weights) / sum(weights)
    reductions = ("weighted", "weighted-imagewise")
    by_library = [function(*stats, reduction=one, class_weights=weights).item() for one in reductions]
    macro = function(*stats, reduction="macro-imagewise").item()
    return *by_library, (per_image * normalized).sum(1).mean().item(), macro


for classes in (4, 20):
    truth = torch.randint(0, classes, (16, 64, 64))
    weights = [1.0 + number for number in range(classes)]
    for metric in METRICS:
        weighted, imagewise, right, _ = scores(metric, truth, truth.clone(), classes, weights)
        assert abs(weighted - 1) < 1e-6 and abs(right - 1) < 1e-6 and abs(imagewise - 1 / classes) < 1e-6
    print(f"{classes} classes, all right: weighted {weighted:.3f}, weighted-imagewise {imagewise:.3f} in each metric")

    changed = torch.rand(truth.shape) < 0.2
    predicted = torch.where(changed, (truth + 1) % classes, truth)
    _, imagewise, right, _ = scores("recall", truth, predicted, classes, weights)
    _, equal, _, macro = scores("recall", truth, predicted, classes, [1.0] * classes)
    print(f"  80 % right: recall {imagewise:.3f}, expected {right:.3f}; with equal weights {equal:.3f}", end=", ")
    print(f"macro-imagewise {macro:.3f}")
    assert abs(imagewise * classes - right) < 1e-5 and abs(equal * classes - macro) < 1e-5 and right > 0.78
P
echo "as described: the weighted score per image is divided by the number of classes"
