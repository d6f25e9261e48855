#!/usr/bin/env bash
# quantus 0.6.0, PointingGame: "a check whether the point of maximal attribution is on target, denoted by a binary
# mask. High scores are desired". The code says "Return NaN if segmentation is empty", but writes the NaN into an array
# of truth values, where it becomes True. RelevanceRankAccuracy, from the same package, does give NaN for such an image.
#
# Seen: random maps, an object of a quarter of the image. All 200 images with an object: 0.22 hits. Half of them
# without: 0.63. None with an object: 1.00, the best score there is, for maps that point at nothing. No warning.
# Expected: NaN for those without an object, so that nanmean gives about 0.25 in each case.
# It matters because images without an object are ordinary, flawless parts in a set of defects for one: the fewer
# objects, the better every explainer looks, and all look alike.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check \
  quantus==0.6.0 numpy==2.4.6 pandas==3.1.1 scipy==1.17.1 scikit-learn==1.9.1 scikit-image==0.26.0 torch==2.15.0
cd "$work"
"$work/env/bin/python" - 2>log <<'P' || { cat log; exit 1; }
import inspect
import logging
import warnings

import numpy as np
import quantus
import torch

described = " ".join(inspect.getdoc(quantus.PointingGame).split())
assert "a check whether the point of maximal attribution is on target, denoted by a binary mask" in described
said = []
logging.getLogger().addHandler(type("Said", (logging.Handler,), {"emit": lambda _, record: said.append(record)})())
draw = np.random.default_rng(0)
images = draw.random((200, 3, 32, 32)).astype(np.float32)
maps = draw.random((200, 1, 32, 32)).astype(np.float32)


def scores(kind, without):
    """The metric where the masks of the first images are empty and the others hold a quarter of the image."""
    masks = np.zeros((200, 1, 32, 32), dtype=int)
    masks[without:, :, :16, :16] = 1
    metric = kind(display_progressbar=False)
    said.clear()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        given = metric(
            model=torch.nn.Flatten(),
            x_batch=images,
            y_batch=np.zeros(200, dtype=int),
            a_batch=maps.copy(),
            s_batch=masks,
        )
    texts = [str(one.message) for one in warned] + [record.getMessage() for record in said]
    return np.asarray(given, dtype=float), [text for text in texts if "empty" in text.lower() or "nan" in text.lower()]


for without in (0, 100, 200):
    given, warned = scores(quantus.PointingGame, without)
    hits = [maps[i].argmax() % 1024 // 32 < 16 and maps[i].argmax() % 32 < 16 for i in range(without, 200)]
    others, _ = scores(quantus.RelevanceRankAccuracy, without)
    print(f"{without} of 200 images without an object: score {given.mean():.2f},", end=" ")
    print(f"of those with one {np.mean(hits) if hits else np.nan:.2f} are hits;", end=" ")
    print(f"RelevanceRankAccuracy is NaN for {np.isnan(others).sum()}")
    assert not np.isnan(given).any() and given[:without].all() and not warned
    assert np.array_equal(given[without:], np.asarray(hits, dtype=float))
    assert np.isnan(others).sum() == without
P
echo "as described: an image without an object counts as a hit"
