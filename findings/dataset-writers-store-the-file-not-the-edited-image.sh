#!/usr/bin/env bash
# datasets 5.2.0, litdata 0.2.76 and mosaicml-streaming 0.13.0: a Pillow image that was edited in place is
# written as the file that it was opened from. Image.thumbnail, ImageDraw, paste and putpixel leave the
# attribute `filename` on the image, and where it is set all three take the file for the pixels (datasets
# in any format, the other two for JPEG). The shrinking is undone, and so is a face or a caption that was
# painted over: the original goes into the export, without a warning.
#
# Seen: a white JPEG of 640 x 480 is cut to 64 x 48 by thumbnail and painted black. What is read back from
# Dataset.map, litdata.optimize and MDSWriter is 640 x 480 and white. The same edits on image.copy(),
# which has no `filename`, are stored: 64 x 48 and black.
# Expected: the pixels of the object that was handed over.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
# Two environments: streaming needs transformers, which wants an older huggingface-hub than datasets does.
python3 -m venv "$work/hub"
"$work/hub/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pillow==13.0.0
python3 -m venv "$work/torch"
"$work/torch/bin/pip" install --quiet --disable-pip-version-check torch==2.15.0 torchvision==0.29.2 \
  litdata==0.2.76 mosaicml-streaming==0.13.0 pillow==13.0.0
mkdir -p "$work/images/ant"; cd "$work"
cat >common.py <<'P'
import numpy
from PIL import Image, ImageDraw


def edit(image, copy):
    image = image.copy() if copy else image
    image.thumbnail((64, 64))
    ImageDraw.Draw(image).rectangle((0, 0, *image.size), fill="black")
    assert image.size == (64, 48) and numpy.asarray(image).max() == 0
    return {"image": image}


def edited(copy):
    return edit(Image.open("images/ant/0.jpg"), copy)


def check(library, copy, stored):
    pixels = numpy.asarray(stored)
    print(f"{library:9} {'copy' if copy else 'in place':8} {pixels.shape} mean {pixels.mean():.0f}")
    assert sorted(pixels.shape) == ([3, 48, 64] if copy else [3, 480, 640])
    assert pixels.mean() < 5 if copy else pixels.mean() > 250
P
cat >in_hub.py <<'P'
from common import check, edit
from datasets import load_dataset

rows = load_dataset("imagefolder", data_dir="images", split="train")
for copy in (False, True):
    check("datasets", copy, rows.map(lambda row: edit(row["image"], copy))[0]["image"])
P
cat >in_torch.py <<'P'
import litdata
import streaming
from common import check, edited

if __name__ == "__main__":
    for copy in (False, True):
        litdata.optimize(edited, [copy], output_dir=f"lit{copy}", chunk_bytes="1MB", num_workers=1)
        check("litdata", copy, litdata.StreamingDataset(f"lit{copy}")[0]["image"])
        with streaming.MDSWriter(out=f"mds{copy}", columns={"image": "jpeg"}) as writer:
            writer.write(edited(copy))
        check("streaming", copy, streaming.StreamingDataset(local=f"mds{copy}", batch_size=1)[0]["image"])
P
hub/bin/python -c 'from PIL import Image; Image.new("RGB", (640, 480), "white").save("images/ant/0.jpg")'
for env in hub torch; do
  HOME="$work" HF_HOME="$work" HF_HUB_OFFLINE=1 "$env/bin/python" "in_$env.py" >out 2>log || { cat out log; exit 1; }
  grep -E ' (in place|copy) ' out
done
echo "as described: three dataset writers store the file, not the edited image"
