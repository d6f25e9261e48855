#!/usr/bin/env bash
# pytorch-toolbelt 0.8.0, test-time augmentation: d4_image2label "averages predictions of all D4 augmentations applied
# to input image" (four rotations of the image and of its mirror image). d4_labels_deaugment, which averages them,
# stacks b1, b2, b3, b4, b5, b7, b7, b8: the sixth view is left out and the seventh counts twice. With reduction=None,
# "de-augmented tensor of [8, B, C] shape", row 5 is row 6. The function for masks, d4_image_deaugment, has all eight.
#
# Seen: an average over D4 gives a turned image the same answer as the image. 200 images, a ResNet-18 of random weights:
# with torch's mean of the eight views so it is, to 0.00001 of the logits' spread. By d4_image2label other classes come
# first for 16 of the turned images. The sixth view can be NaN without any effect. No warning.
# Expected: the mean of eight different views.
# It matters where orientation has no meaning (aerial images, microscopy): the reported gain of D4 is of another
# average. Call d4_image_augment and take the mean of the eight chunks.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 timm==1.0.31 \
  numpy==2.4.6 scipy==1.17.1 opencv-python-headless==5.0.0.93
"$work/env/bin/pip" install --quiet --disable-pip-version-check --no-deps pytorch-toolbelt==0.8.0  # headless OpenCV
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import timm
import torch
from pytorch_toolbelt.inference import tta

documented = " ".join((tta.d4_image2label.__doc__ + tta.d4_labels_deaugment.__doc__).split())
assert "averages predictions of all D4 augmentations applied to input image" in documented
assert "otherwise returns de-augmented tensor of [8, B, C] shape" in documented
torch.manual_seed(0)
torch.set_num_threads(1)
net = timm.create_model("resnet18", num_classes=10).eval()
images = torch.rand(200, 3, 32, 32)
turned = images.rot90(1, (2, 3))


def by_mean(net, images):
    return torch.stack(net(tta.d4_image_augment(images)).chunk(8)).mean(0)


with torch.no_grad():
    difference, moved = {}, {}
    for average in (by_mean, tta.d4_image2label):
        before, after = average(net, images), average(net, turned)
        difference[average] = ((before - after).abs().max() / before.std(0).mean()).item()
        moved[average] = (before.argmax(1) != after.argmax(1)).sum().item()
        print(f"{average.__name__}: the turned images differ by {difference[average]:.5f} of the spread,", end=" ")
        print(f"another class first for {moved[average]} of {len(images)}")
assert difference[by_mean] < 0.001 and moved[by_mean] == 0
assert difference[tta.d4_image2label] > 0.1 and moved[tta.d4_image2label] > 4

views = torch.arange(8.0)[:, None]
rows = tta.d4_labels_deaugment(views, reduction=None).flatten().tolist()
print(f"eight views by number: {rows}, mean {tta.d4_labels_deaugment(views).item()}")
assert rows == [0, 1, 2, 3, 4, 6, 6, 7]
views[5] = torch.nan
assert tta.d4_labels_deaugment(views).isfinite().all()
P
echo "as described: of eight views one is left out and one counts twice"
