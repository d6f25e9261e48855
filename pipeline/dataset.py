"""Stage `dataset`: images and labels, whatever their shape on disk, as one prepared folder.

Reads what `conf/dataset/NAME.yaml` names; writes index.csv, meta.json, rejected.csv and one uint8
array per resize and image size (`pipeline.prepared` says what is in them), whole or not at all. The
same input gives the same bytes: no time, no path of this machine is written.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from omegaconf import DictConfig

from pipeline import hydra_app
from pipeline.arrays import Array, Decoded, array_name, decode_all, keep_rows
from pipeline.checks import Chosen, Faulty, choose
from pipeline.dataset_config import Preparation, read_config
from pipeline.errors import PipelineError
from pipeline.files import replacing_folder, sha256, write_json, write_table
from pipeline.images import decoder
from pipeline.prepared import FORMAT, LABEL_SEPARATOR, PARTS, label_array
from pipeline.sources import Fault, find_images

SHOWN_FAULTS = 50


def main(config: DictConfig) -> None:
    """Prepare; where the data have faults, list all of them in a file and the first on screen."""
    wanted = read_config(config)
    listing = wanted.out.with_name(f"{wanted.out.name}.faults.csv")
    try:
        prepare(wanted)
    except Faulty as error:
        write_table(listing, _fault_table(error.faults))
        for fault in error.faults[:SHOWN_FAULTS]:
            print(f"{fault.file}: {fault.reason}", file=sys.stderr)
        raise PipelineError(f"{error}: all {len(error.faults)} are listed in {listing}") from None
    listing.unlink(missing_ok=True)


def prepare(wanted: Preparation) -> None:
    """Find, decode, check, split and write one dataset."""
    root, archive_sha256 = wanted.root()
    source = find_images(wanted.images, root)
    with replacing_folder(wanted.out) as folder:
        decoded = decode_all(source, wanted.arrays, folder)
        reasons = [facts.reason for facts in decoded]
        chosen = choose(source.images, reasons, source.faults, wanted.policy, wanted.split)
        _leave_out(folder, wanted.arrays, decoded, chosen)
        facts = [decoded[row] for row in chosen.rows]
        write_table(folder / "index.csv", _index(chosen, facts))
        write_table(folder / "rejected.csv", _fault_table(chosen.rejected))
        meta = _meta(wanted, chosen, facts) | {"archive_sha256": archive_sha256}
        meta["arrays"] = {array_name(each): _array_meta(folder, each) for each in wanted.arrays}
        write_json(folder / "meta.json", meta)
    _tell(wanted.out, meta)


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


def duplicates_across_parts(chosen: Chosen, facts: Sequence[Decoded]) -> list[list[str]]:
    """Files in different parts with the same bytes, or the same pixels once resized."""
    alike: dict[str, list[int]] = {}
    for row, each in enumerate(facts):
        alike.setdefault(each.pixels_sha256, []).append(row)
    return [
        [f"{chosen.parts[row]}: {chosen.images[row].file}" for row in rows]
        for rows in alike.values()
        if len({chosen.parts[row] for row in rows}) > 1
    ]


def _leave_out(
    folder: Path, arrays: Sequence[Array], decoded: Sequence[Decoded], chosen: Chosen
) -> None:
    """Drop from the arrays the images that were decoded but not chosen."""
    wanted = set(chosen.rows)
    keep = [row in wanted for row, facts in enumerate(decoded) if not facts.reason]
    if not all(keep):
        for array in arrays:
            keep_rows(folder, array, keep)


def _index(chosen: Chosen, facts: Sequence[Decoded]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "file": [image.file for image in chosen.images],
            "labels": [LABEL_SEPARATOR.join(image.labels) for image in chosen.images],
            "part": chosen.parts,
            "sha256": [each.sha256 for each in facts],
        }
    )


def _fault_table(faults: Sequence[Fault]) -> pd.DataFrame:
    return pd.DataFrame([(each.file, each.reason) for each in faults], columns=["file", "reason"])


def _meta(wanted: Preparation, chosen: Chosen, facts: Sequence[Decoded]) -> dict[str, Any]:
    parts = np.array(chosen.parts)
    labels = label_array(wanted.policy.kind, chosen.classes, [i.labels for i in chosen.images])
    return {
        "format": FORMAT,
        "name": wanted.policy.name,
        "kind": wanted.policy.kind,
        "classes": chosen.classes,
        "n_images": len(parts),
        "n_classes": len(chosen.classes),
        **{f"n_{part}": int((parts == part).sum()) for part in PARTS},
        "n_rejected": len(chosen.rejected),
        "chance_error_rate": chance_error_rate(wanted.policy.kind, labels, parts),
        "fingerprint": fingerprint(wanted.policy.kind, chosen, facts),
        "split": vars(wanted.split),
        "images_per_class": _images_per_class(chosen),
        "notes": chosen.notes,
        "duplicates_across_parts": duplicates_across_parts(chosen, facts),
        "peculiar": dict(Counter(word for each in facts for word in each.peculiar.split())),
        "decoder": decoder(),
    }


def _images_per_class(chosen: Chosen) -> dict[str, dict[str, int]]:
    counts = {label: dict.fromkeys(PARTS, 0) for label in chosen.classes}
    for image, part in zip(chosen.images, chosen.parts, strict=True):
        for label in image.labels:
            counts[label][part] += 1
    return counts


def _array_meta(folder: Path, array: Array) -> dict[str, Any]:
    path = folder / f"{array_name(array)}.npy"
    shape = np.load(path, mmap_mode="r").shape
    return {"shape": list(shape), "sha256": sha256(path), **decoder()}


def _tell(out: Path, meta: dict[str, Any]) -> None:
    parts = ", ".join(f"{meta[f'n_{part}']} {part}" for part in PARTS if meta[f"n_{part}"])
    print(
        f"{out}: {meta['n_images']} images ({parts}), {meta['n_classes']} classes, "
        f"{meta['kind']}-label, {meta['n_rejected']} rejected, "
        f"chance error {meta['chance_error_rate']:.3f}"
    )
    for note in meta["notes"]:
        print(f"note: {note}")
    if alike := meta["duplicates_across_parts"]:
        print(
            f"warning: {len(alike)} images are in more than one part, so the error is too low: "
            f"see duplicates_across_parts in {out}/meta.json (first: {' = '.join(alike[0])})"
        )


if __name__ == "__main__":
    hydra_app.run(main, "dataset")
