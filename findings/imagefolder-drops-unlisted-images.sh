#!/usr/bin/env bash
# datasets 5.2.0, builder "imagefolder": an image that metadata.csv does not list is left out without
# a warning, and class folders lose their labels as soon as a metadata.csv without a label column
# (say, one with licences or camera names) lies in the same folder.
#
# Seen: five images in two class folders. Without metadata.csv all five are read, with labels ant and
# bee. With a metadata.csv of four rows and the column `camera`, four are read, no column `label` is
# left, and nothing is logged above the level INFO.
# Expected: a warning or an error that names the image without a row, and labels as before.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pillow==12.3.0
cd "$work"
HF_HUB_OFFLINE=1 HF_HOME="$work/home" "$work/env/bin/python" -W error::UserWarning - <<'P'
import logging
from pathlib import Path

from datasets import load_dataset
from PIL import Image

warnings = []
handler = logging.Handler(logging.WARNING)
handler.emit = lambda record: warnings.append(record.getMessage())
logging.getLogger("datasets").addHandler(handler)


def build(folder, metadata):
    for number in range(5):
        file = Path(folder, ["ant", "bee"][number % 2], f"{number}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (40 * number, 9, 9)).save(file)
    if metadata:
        rows = [f"{['ant', 'bee'][n % 2]}/{n}.png,camera {n}" for n in range(4)]
        Path(folder, "metadata.csv").write_text("\n".join(["file_name,camera", *rows]) + "\n")
    return load_dataset("imagefolder", data_dir=folder, split="train")


plain, described = build("plain", False), build("described", True)
print("without metadata.csv:", plain.num_rows, plain.column_names, plain.features["label"].names)
print("with metadata.csv:   ", described.num_rows, described.column_names)
print("warnings:", warnings)
assert plain.num_rows == 5 and plain.features["label"].names == ["ant", "bee"]
assert described.num_rows == 4 and "label" not in described.column_names
assert not warnings
P
echo "as described: one image of five is gone, and so are the labels, in silence"
