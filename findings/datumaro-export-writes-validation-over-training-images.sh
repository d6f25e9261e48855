#!/usr/bin/env bash
# datumaro 1.13.12: train/ant/0.png and val/ant/0.png are two images, and datumaro keeps them apart (an
# item is known by id and subset). Its exports to voc, voc_classification, imagenet_txt and cvat put the
# images of all subsets into one folder under the id alone: the second one is written over the first, and
# the annotations go on naming both. Validation images are then trained on. Numbers as file names, as most
# tools that write class folders give them, are enough.
#
# Seen: 6 training images (dark) and 6 validation images (bright) of the same names. After the export 6
# image files are left of 12; read back, there are 12 items in train and val as before, and the 6 of train
# are bright. Nothing is logged. coco, datumaro and imagenet_with_subset_dirs keep the 12 apart.
# Expected: a folder for each subset, names that differ, or an error.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check datumaro==1.13.12 pillow==12.3.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import logging
from pathlib import Path

from datumaro import Dataset
from PIL import Image

logged = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: logged.append(record.getMessage())
logging.getLogger().addHandler(handler)

for subset, grey in (("train", 20), ("val", 200)):
    for label in ("ant", "bee"):
        for number in range(3):
            file = Path("folders", subset, label, f"{number}.png")
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (16, 16), (grey + number,) * 3).save(file)

source = Dataset.import_from("folders", "imagenet_with_subset_dirs")
MIXED = ["voc", "voc_classification", "imagenet_txt", "cvat"]
for name in [*MIXED, "coco", "datumaro", "imagenet_with_subset_dirs"]:
    source.export(name, name, save_media=True)
    files = [file for file in Path(name).rglob("*") if file.suffix in (".png", ".jpg")]
    grey = {"train": [], "val": []}
    for item in Dataset.import_from(name, name):
        grey[item.subset].append(round(item.media.data.mean()))
    print(f"{name:26} {len(files):2} files, train {sorted(grey['train'])}, val {sorted(grey['val'])}")
    assert len(grey["train"]) == len(grey["val"]) == 6 and min(grey["val"]) > 150
    assert len(files) == (6 if name in MIXED else 12)
    assert (min(grey["train"]) > 150) if name in MIXED else (max(grey["train"]) < 50)
assert not logged, logged
P
echo "as described: the training images of the export are the validation images"
