#!/usr/bin/env bash
# datasets 5.2.0, builder "imagefolder": labels that stand as text in metadata.csv are typed by
# pandas. "00" and "03" become the integers 0 and 3, and a class called NA (Namibia, sodium, "not
# affected") becomes None, so its images have no label. No warning.
#
# Seen: metadata.csv with the labels 00, 01 gives int64 values 0 and 1; with the labels NA, ZA it
# gives None and "ZA". The same folders as class folders (no CSV) give the names "NA" and "ZA".
# Expected: the text of the file, as class folders give it.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check datasets==5.2.0 pillow==12.3.0
cd "$work"
HF_HUB_OFFLINE=1 HF_HOME="$work/home" "$work/env/bin/python" - <<'P'
from pathlib import Path

from datasets import load_dataset
from PIL import Image


def labels(folder, names, csv):
    for number, name in enumerate(names * 2):
        file = Path(folder, *([] if csv else [name]), f"{number}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (40 * number, 9, 9)).save(file)
    if csv:
        rows = [f"{number}.png,{name}" for number, name in enumerate(names * 2)]
        Path(folder, "metadata.csv").write_text("\n".join(["file_name,label", *rows]) + "\n")
    read = load_dataset("imagefolder", data_dir=folder, split="train")
    feature = read.features["label"]
    return [feature.int2str(each) if hasattr(feature, "int2str") else each for each in read["label"]]


numbers, countries = labels("numbers", ["00", "01"], True), labels("countries", ["NA", "ZA"], True)
folders = labels("folders", ["NA", "ZA"], False)
print("00, 01 in metadata.csv:", numbers)
print("NA, ZA in metadata.csv:", countries)
print("NA, ZA as class folders:", folders)
assert numbers == [0, 1, 0, 1]
assert countries == [None, "ZA", None, "ZA"]
assert sorted(folders) == ["NA", "NA", "ZA", "ZA"]
P
echo "as described: 00 is 0 and NA is None"
