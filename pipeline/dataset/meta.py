"""What is known about a prepared dataset (meta.json), and what is reused of an earlier one.

An image whose bytes, size, resize, filter and decoder are the same is not decoded again, so a new
split or a second size costs only itself.
"""

import hashlib
import json
import os
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.files import sha256
from pipeline.dataset.arrays import Array, Decoded, array_files, array_name, stream_rows
from pipeline.dataset.checks import Chosen, Preparation
from pipeline.dataset.images import decoder
from pipeline.dataset.prepared import FORMAT, PARTS, label_array
from pipeline.dataset.sources import Source, grouped


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
        "median_side": int(np.median([each.side for each in facts])),
    }


def fingerprint(kind: str, chosen: Chosen, facts: Sequence[Decoded]) -> str:
    """SHA-256 of what is learned from: the files' bytes, labels, classes and split."""
    rows = [
        [image.file, each.sha256, list(image.labels), part]
        for image, each, part in zip(chosen.images, facts, chosen.parts, strict=True)
    ]
    text = json.dumps([kind, chosen.classes, rows], ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def config_sha256(wanted: Preparation) -> str:
    """SHA-256 of what the configuration asks for, wherever the files are."""
    text = json.dumps([asdict(wanted.policy), vars(wanted.split), wanted.images], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def still_valid(wanted: Preparation) -> dict[str, Any] | None:
    """meta.json of the folder there is, if just this was asked for; None if it was not."""
    try:
        meta: dict[str, Any] = json.loads((wanted.out / "meta.json").read_text(encoding="utf-8"))
        names = {array_name(array) for array in wanted.arrays}
        whole = meta["format"] == FORMAT and meta["asked"] == config_sha256(wanted)
        here = all(
            path.is_file() for array in wanted.arrays for path in array_files(wanted.out, array)
        )
    except (OSError, ValueError, TypeError, LookupError):  # not there, damaged or older
        return None
    return meta if whole and here and names <= meta["arrays"].keys() else None


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


def same_pixels(chosen: Chosen, folder: Path, array: Array) -> list[list[int]]:
    """The rows that give the same pixels at the size learned from, where there are several."""
    hashes = [hashlib.sha256(pixels.data).digest() for pixels in stream_rows(folder, array)]
    alike = grouped(range(len(hashes)), hashes.__getitem__)
    return [rows for rows in alike.values() if len(rows) > 1]


def across_parts(chosen: Chosen, alike: Sequence[Sequence[int]]) -> list[list[str]]:
    """Files with the same pixels in different parts; `alike` is what `same_pixels` found."""
    return [
        [f"{chosen.parts[row]}: {chosen.images[row].file}" for row in rows]
        for rows in alike
        if len({chosen.parts[row] for row in rows}) > 1
    ]


def array_meta(folder: Path, array: Array) -> dict[str, Any]:
    path = array_files(folder, array)[0]
    shape = np.load(path, mmap_mode="r").shape
    return {"shape": list(shape), "sha256": sha256(path), **decoder()}


@dataclass(frozen=True)
class Earlier:
    """A prepared folder whose files still have the same bytes and would be decoded the same."""

    folder: Path
    decoded: list[Decoded]
    files: list[str]  # of the index, in the arrays' order
    arrays: dict[str, Any]

    def link(self, array: Array, folder: Path) -> bool:
        """Put this array into `folder` too, if it is here and undamaged."""
        known = self.arrays.get(array_name(array))
        paths = array_files(self.folder, array)
        if known is None or not all(path.is_file() for path in paths):
            return False
        if sha256(paths[0]) != known["sha256"]:
            return False
        for path in paths:
            try:
                os.link(path, folder / path.name)
            except OSError:  # another file system, or one without links
                shutil.copyfile(path, folder / path.name)
        return True


def find_earlier(folder: Path, source: Source) -> Earlier | None:
    """What `folder` holds of these very bytes; None if there is nothing to save."""
    try:
        return _find_earlier(folder, source)
    except (OSError, ValueError, TypeError, LookupError):  # not there, or damaged
        return None


def _find_earlier(folder: Path, source: Source) -> Earlier | None:
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    if meta["format"] != FORMAT or meta["decoder"] != decoder() or "asked" not in meta:
        return None  # the last: of a version that did not say how many of 16 bits are used
    table = pd.read_csv(folder / "decoded.csv", dtype=str, keep_default_na=False)
    files = [image.file for image in source.images]
    if table["file"].tolist() != files:
        return None
    hashes = [hashlib.sha256(source.read(file)).hexdigest() for file in files]
    if table["sha256"].tolist() != hashes:
        return None
    facts = table[["sha256", "peculiar", "reason", "side"]].to_numpy().tolist()
    decoded = [Decoded(sha, peculiar, why, int(side)) for sha, peculiar, why, side in facts]
    index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False)
    return Earlier(folder, decoded, index["file"].tolist(), meta["arrays"])


def decoded_table(source: Source, decoded: Sequence[Decoded]) -> pd.DataFrame:
    """decoded.csv: file, sha256, peculiar, reason, side; one row per file found."""
    names = [each.name for each in fields(Decoded)]
    table = pd.DataFrame([vars(each) for each in decoded], columns=names)
    table.insert(0, "file", [image.file for image in source.images])
    return table
