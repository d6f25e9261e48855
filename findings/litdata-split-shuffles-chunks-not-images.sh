#!/usr/bin/env bash
# litdata 0.2.76: train_test_split(dataset, splits, seed=42, shuffle=True), "shuffle: A boolean indicating whether to
# shuffle the data before splitting", shuffles the list of chunks (files, of 64 MB in the README) and cuts it; within a
# chunk the order stays. Images are mostly written class by class, as folders are read, and a chunk has one class or a
# few. If one chunk has them all, nothing is shuffled and the seed has no effect. StreamingDataset(subsample=0.1), the
# "fraction of the dataset to be randomly sampled (e.g., 0.1 => 10% of dataset)", takes whole chunks in the same way.
#
# Seen: ten classes of 100 images, 80:20. In one chunk all of three seeds train on the classes 0 to 7 and test on 8 and
# 9, so that no network can be right once; a fifth of it with subsample=0.2 and shuffle=True has the classes 0 and 1. In
# 20 chunks of 50 the test sets have 3 or 4 of the 10 classes. The sizes are those asked for, and there is no warning.
# Expected: images drawn at random: ten classes in each part, another one for each seed.
# It matters because a split that leaves out classes looks like a network that has learned little, or is never noticed.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check litdata==0.2.76 torch==2.15.0 numpy==2.4.6
cd "$work"
cat >split.py <<'P'
from collections import Counter

import litdata
from torch.utils.data import DataLoader


def image(number):
    return {"number": number, "label": number // 100}


def classes(dataset):
    rows = list(DataLoader(dataset, batch_size=None))
    return len({row["number"] for row in rows}), Counter(row["label"] for row in rows)


if __name__ == "__main__":
    for folder, size in (("one", {"chunk_bytes": "64MB"}), ("twenty", {"chunk_size": 50})):
        litdata.optimize(image, list(range(1000)), output_dir=folder, num_workers=1, **size)
        for seed in (0, 1, 2):
            parts = litdata.train_test_split(litdata.StreamingDataset(folder), [0.8, 0.2], seed=seed)
            (train, in_train), (test, in_test) = (classes(part) for part in parts)
            print(f"{folder}, seed {seed}: {train} for training, {test} to test: {dict(sorted(in_test.items()))}")
            assert (train, test) == (800, 200)
            if folder == "one":
                assert in_test == {8: 100, 9: 100} and sorted(in_train) == list(range(8))
            assert len(in_test) <= 4
    some, in_some = classes(litdata.StreamingDataset("one", subsample=0.2, shuffle=True))
    print(f"one, subsample 0.2: {some} images: {dict(sorted(in_some.items()))}")
    assert (some, in_some) == (200, {0: 100, 1: 100})
P
HOME="$work" env/bin/python split.py >out 2>log || { cat out log; exit 1; }
if grep -i shuffl log; then exit 1; fi
grep -E ' (seed|subsample) ' out
echo "as described: chunks are shuffled and the images in them are not"
