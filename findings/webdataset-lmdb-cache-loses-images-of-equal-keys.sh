#!/usr/bin/env bash
# webdataset 1.0.2, LMDBCached (.lmdb_cached): "This stage will cache all samples that pass through it in an LMDB
# database, allowing subsequent iterations to use the cached data". The database has one entry for each __key__, so a
# sample replaces the one before it with the same key, as images of two shards have that are each numbered from 0, which
# the reader takes without a word. And a database returns its entries in the order of the keys.
#
# Seen: two shards of 100 images, numbered from 000000 in each, cats in the first and dogs in the second. The first
# epoch has 200 images, half of them cats; every later one has 100, here 62 dogs and 38 cats. With keys that are unique,
# cat000 and so on, all later epochs are sorted, in spite of the shuffle before the cache: 100 cats, then 100 dogs. The
# stage Cached, the same in memory, gives all 200 in the first epoch's order. No warning.
# Expected: what Cached does.
# It matters because the first epoch is right, and the others train on half of the data, or on one class at a time.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  webdataset==1.0.2 lmdb==3.0.0 numpy==2.4.6 pillow==13.0.0
cd "$work"
"$work/env/bin/python" -W ignore - <<'P'
import inspect
from collections import Counter

import numpy as np
import webdataset as wds

described = " ".join(inspect.getdoc(wds.LMDBCached).split())
assert "This stage will cache all samples that pass through it in an LMDB database" in described
for names in ("numbers", "classes"):
    for number, kind in enumerate(("cat", "dog")):
        with wds.TarWriter(f"{names}{number}.tar") as shard:
            for i in range(100):
                image = np.full((8, 8, 3), 100 * number + i, dtype=np.uint8)
                key = f"{i:06d}" if names == "numbers" else f"{kind}{i:03d}"
                shard.write({"__key__": key, "png": image, "txt": kind})


def epochs(names, cache):
    """The classes and brightnesses of the images, in their order, in three epochs."""
    shards = [f"{names}0.tar", f"{names}1.tar"]
    stages = (wds.tarfile_to_samples(), wds.shuffle(1000, seed=0), wds.decode("rgb8"), cache)
    data = wds.DataPipeline(wds.SimpleShardList(shards), *stages)
    return [[(sample["txt"], int(sample["png"][0, 0, 0])) for sample in data] for _ in range(3)]


for names in ("numbers", "classes"):
    memory = epochs(names, wds.Cached())
    first, second, third = epochs(names, wds.LMDBCached(f"{names}.lmdb", map_size=1e8))
    kinds = [kind for kind, _ in second]
    changes = sum(before != after for before, after in zip(kinds, kinds[1:]))
    print(f"{names}: {dict(Counter(kind for kind, _ in first))} in the first epoch,", end=" ")
    print(f"{dict(Counter(kinds))} in the second, {changes} changes of class;", end=" ")
    print(f"Cached: {len(memory[1])}, {sum(a[0] != b[0] for a, b in zip(memory[1], memory[1][1:]))} changes")
    assert memory[0] == memory[1] == memory[2] and len(set(memory[0])) == 200
    assert sorted(first) == sorted(memory[0]) and second == third
    if names == "numbers":
        assert len(second) == 100 and len(set(second)) == 100
    else:
        assert sorted(first) == sorted(second) and kinds == ["cat"] * 100 + ["dog"] * 100
P
echo "as described: of images with one key the cache keeps one, and sorts them"
