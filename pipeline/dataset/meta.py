"""What is known about a prepared dataset: counts, chance, fingerprint, duplicates: meta.json."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import sha256
from pipeline.dataset.array_files import Array, array_files, stream_rows
from pipeline.dataset.arrays import Decoded
from pipeline.dataset.checks import Chosen
from pipeline.dataset.images import decoder
from pipeline.dataset.prepared import FORMAT, PARTS, label_array


def describe(name: str, kind: str, chosen: Chosen, facts: Sequence[Decoded]) -> dict[str, Any]:
    """meta.json, but for the arrays; `facts` are those of the chosen images."""
    parts = np.array(chosen.parts)
    labels = label_array(kind, chosen.classes, [image.labels for image in chosen.images])
    return {
        "format": FORMAT,
        "name": name,
        "kind": kind,
        "classes": chosen.classes,
        "n_images": len(parts),
        "n_classes": len(chosen.classes),
        **{f"n_{part}": int((parts == part).sum()) for part in PARTS},
        "n_rejected": len(chosen.rejected),
        "chance_error_rate": chance_error_rate(kind, labels, parts),
        "fingerprint": fingerprint(kind, chosen, facts),
        "images_per_class": images_per_class(chosen),
        "notes": chosen.notes,
        "peculiar": dict(Counter(word for each in facts for word in each.peculiar.split())),
        "decoder": decoder(),
    }


def fingerprint(kind: str, chosen: Chosen, facts: Sequence[Decoded]) -> str:
    """SHA-256 of what is learned from: the files' bytes, labels, classes and split."""
    rows = [
        [image.file, each.sha256, list(image.labels), part]
        for image, each, part in zip(chosen.images, facts, chosen.parts, strict=True)
    ]
    text = json.dumps([kind, chosen.classes, rows], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def chance_error_rate(kind: str, labels: np.ndarray, parts: np.ndarray) -> float:
    """The valid part's error of the best constant guess that the train part teaches."""
    train, valid = labels[parts == "train"], labels[parts == "valid"]
    if kind == "single":
        return float((valid != np.bincount(train).argmax()).mean())
    return float((valid != (train.mean(axis=0) > 0.5)).mean())


def images_per_class(chosen: Chosen) -> dict[str, dict[str, int]]:
    counts = {label: dict.fromkeys(PARTS, 0) for label in chosen.classes}
    for image, part in zip(chosen.images, chosen.parts, strict=True):
        for label in image.labels:
            counts[label][part] += 1
    return counts


def duplicates_across_parts(chosen: Chosen, folder: Path, array: Array) -> list[list[str]]:
    """Files in different parts that give the same pixels at the size learned from."""
    alike: dict[bytes, list[int]] = {}
    for row, pixels in enumerate(stream_rows(folder, array)):
        alike.setdefault(hashlib.sha256(pixels.data).digest(), []).append(row)
    return [
        [f"{chosen.parts[row]}: {chosen.images[row].file}" for row in rows]
        for rows in alike.values()
        if len({chosen.parts[row] for row in rows}) > 1
    ]


def array_meta(folder: Path, array: Array) -> dict[str, Any]:
    path = array_files(folder, array)[0]
    shape = np.load(path, mmap_mode="r").shape
    return {"shape": list(shape), "sha256": sha256(path), **decoder()}
