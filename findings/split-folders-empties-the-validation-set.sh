#!/usr/bin/env bash
# split-folders 0.6.1: ratio=(0.8, 0.1, 0.1) is applied to each class, and both the training and the validation part
# are rounded down; what is left over goes to the test part. Of nine images per class none is for validation, of
# 19 one, with three for the test. The error is the same in every class, so more classes do not even it out. And
# images in folders within a class folder, which ImageFolder and others read, are in no part. No word about either.
#
# Seen: 102 classes of 19 images, 0.8:0.1:0.1: 78.9 %, 5.3 % and 15.8 % of the images. 9 images: 77.8 %, 0 and
# 22.2 %. Two folders of five in a class: none of them is anywhere, and torchvision counts 10 images more.
# Expected: shares near those asked for over all classes, and every image in one part or an error.
# It matters to whoever chooses among models: that is done on validation images, and they are half of what was
# asked for, or none.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check split-folders==0.6.1
cd "$work"
"$work/env/bin/python" - <<'P'
from pathlib import Path

import splitfolders


def shares(classes, images, nested=0):
    folder = f"{classes}_{images}_{nested}"
    files = [Path(folder, f"class{c:03}", f"{number}.jpg") for c in range(classes) for number in range(images)]
    files += [Path(folder, f"class{c:03}", "more", f"{number}.jpg") for c in range(classes) for number in range(nested)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"image")
    splitfolders.ratio(folder, output=f"{folder}_split", seed=0, ratio=(0.8, 0.1, 0.1))
    parts = ("train", "val", "test")
    found = {part: sum(f.is_file() for f in Path(f"{folder}_split", part).rglob("*")) for part in parts}
    print(f"{classes} classes of {images} + {nested} images:", end=" ")
    print(", ".join(f"{part} {count} ({count / len(files):.1%})" for part, count in found.items()), "of", len(files))
    return [found[part] for part in parts]


assert shares(102, 19) == [102 * 15, 102, 102 * 3]
assert shares(102, 9) == [102 * 7, 0, 102 * 2]
assert shares(102, 20) == [102 * 16, 102 * 2, 102 * 2]
assert shares(2, 10, nested=5) == [16, 2, 2]
P
echo "as described: images for validation go to the test part, and nested ones to none"
