"""Stage `dataset`: images and labels, whatever their shape on disk, as one prepared folder.

Reads what `conf/dataset/NAME.yaml` names; writes index.csv, meta.json, decoded.csv, rejected.csv
and one uint8 array per resize and image size (`prepared.py` says what is in them), whole
or not at all. The same input gives the same bytes: no time, no path of this machine is written.
"""

import runpy
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from pipeline.configuration import hydra_app
from pipeline.core.command import number_of
from pipeline.core.errors import PipelineError
from pipeline.core.files import replacing_folder, write_json, write_table
from pipeline.dataset.arrays import Array, Decoded, array_name, decode_all, keep_rows
from pipeline.dataset.checks import (
    Chosen,
    Faulty,
    Preparation,
    choose,
    contradictions,
    read_config,
    unlike_labels,
)
from pipeline.dataset.find_images import find_images
from pipeline.dataset.folder_names import odd_labels
from pipeline.dataset.images import BITS_NEARLY_BLACK, bits_used
from pipeline.dataset.meta import (
    across_parts,
    array_meta,
    config_sha256,
    decoded_table,
    describe,
    find_earlier,
    same_pixels,
    still_valid,
)
from pipeline.dataset.prepared import LABEL_SEPARATOR, PARTS
from pipeline.dataset.sources import Fault, Source

SHOWN_FAULTS = 50


def main(config: DictConfig) -> None:
    """Read, check, split and resize a dataset's images, once for all runs.

    Where they have faults, all are listed in a file and the first on screen. For images of your
    own: python -m pipeline.dataset --new NAME PATH (--new --help says more).
    """
    wanted = read_config(config)
    listing = wanted.out.with_name(f"{wanted.out.name}.faults.csv")
    try:
        meta = prepare(wanted)
    except Faulty as error:
        write_table(listing, _fault_table(error.faults))
        for fault in error.faults[:SHOWN_FAULTS]:
            print(f"{fault.file}: {fault.reason}", file=sys.stderr)
        n = len(error.faults)
        which = "it is" if n == 1 else f"all {n} are"
        raise PipelineError(f"{error}: {which} listed in {listing}") from None
    listing.unlink(missing_ok=True)
    _print_summary(wanted.out, meta)


def prepare(wanted: Preparation) -> dict[str, Any]:
    """Find, decode, check, split and write one dataset; returns its meta.json."""
    if wanted.source is not None and not wanted.source.exists():
        return _keep_prepared(wanted, wanted.source)
    root, archive_sha256 = wanted.root()
    source = find_images(wanted.images, root)
    with replacing_folder(wanted.out) as folder:
        decoded, chosen = _write_arrays(wanted, source, folder)
        facts = [decoded[row] for row in chosen.rows]
        alike = same_pixels(chosen, folder, wanted.arrays[0])
        notes = [*_notes_of_16_bits(wanted, facts), *_notes_of_labels(source, chosen, alike)]
        write_table(folder / "decoded.csv", decoded_table(source, decoded))
        write_table(folder / "index.csv", _index(chosen, facts))
        write_table(folder / "rejected.csv", _fault_table(chosen.rejected))
        meta = {
            **describe(wanted.policy.name, wanted.policy.kind, chosen, facts),
            "notes": [*chosen.notes, *notes],
            "duplicates_across_parts": across_parts(chosen, alike),
            "split": vars(wanted.split),
            "archive_sha256": archive_sha256,
            "asked": config_sha256(wanted),
            "arrays": {array_name(array): array_meta(folder, array) for array in wanted.arrays},
        }
        write_json(folder / "meta.json", meta)
    return meta


def _keep_prepared(wanted: Preparation, source: Path) -> dict[str, Any]:
    """Where the source is gone, what was prepared of it is as good as ever."""
    meta = still_valid(wanted)
    if meta is None:
        raise PipelineError(
            f"dataset.source: {source} is not there, and {wanted.out} holds nothing that was "
            "prepared from it just so: put it back, or correct `source` in "
            f"conf/dataset/{wanted.policy.name}.yaml"
        )
    print(f"note: {source} is not there: {wanted.out} stays as it was prepared")
    return meta


def _write_arrays(
    wanted: Preparation, source: Source, folder: Path
) -> tuple[list[Decoded], Chosen]:
    """The arrays of the images to use; of what was prepared before, only the rest is decoded."""
    missing = wanted.arrays
    if earlier := find_earlier(wanted.out, source):
        chosen = _choose(wanted, source, earlier.decoded)
        if [image.file for image in chosen.images] == earlier.files:
            missing = [array for array in missing if not earlier.link(array, folder)]
            if not missing:
                return earlier.decoded, chosen
    decoded = decode_all(source, missing, folder)
    chosen = _choose(wanted, source, decoded)
    _leave_out(folder, missing, decoded, chosen)
    return decoded, chosen


def _choose(wanted: Preparation, source: Source, decoded: Sequence[Decoded]) -> Chosen:
    unlike = contradictions(source.images, [each.sha256 for each in decoded])
    reasons = [each.reason or unlike.get(row, "") for row, each in enumerate(decoded)]
    return choose(source.images, reasons, source.faults, wanted.policy, wanted.split)


def _leave_out(
    folder: Path, arrays: Sequence[Array], decoded: Sequence[Decoded], chosen: Chosen
) -> None:
    """Drop from the arrays the images that were decoded but not chosen."""
    rows = set(chosen.rows)
    keep = [row in rows for row, facts in enumerate(decoded) if not facts.reason]
    if not all(keep):
        for array in arrays:
            keep_rows(folder, array, keep)


def _notes_of_16_bits(wanted: Preparation, facts: Sequence[Decoded]) -> list[str]:
    """What to say of images of 16 bits that leave the upper ones empty; too dark is an error."""
    found = bits_used(each.peculiar for each in facts)
    if found is None or found[1] == 16:
        return []
    n_images, bits = found
    holding = number_of(n_images, "image of 16 bits holds", "images of 16 bits hold")
    said = f"{holding} at most {2**bits - 1:,} of 65,535"
    if bits > BITS_NEARLY_BLACK:
        return [f"{said}, so {'it is' if n_images == 1 else 'they are'} dark"]
    raise PipelineError(
        f"{wanted.policy.name}: {said}, nearly black: 16 shades of grey at most would be left: "
        f"multiply the pixels by {2 ** (16 - bits)}, or convert the files to 8 bits"
    )


def _notes_of_labels(
    source: Source, chosen: Chosen, alike: Sequence[Sequence[int]]
) -> Iterator[str]:
    """What to say of images without a label, labels alike, and pictures with several labels."""
    if source.unlabelled:
        none = "image has no label and is", "images have no label and are"
        n_unlabelled = number_of(len(source.unlabelled), *none)
        yield f"{n_unlabelled} not used (first: {source.unlabelled[0]})"
    yield from odd_labels(set(chosen.classes))
    yield from unlike_labels([chosen.images[row] for row in rows] for rows in alike)


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


def _print_summary(out: Path, meta: dict[str, Any]) -> None:
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
            f"warning: {number_of(len(alike), 'picture is', 'pictures are')} in more than one "
            f"part, which flatters the error: see duplicates_across_parts in {out}/meta.json "
            f"(first: {' = '.join(alike[0][:2])})"
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--new"]:  # a program of its own, on which no output of this one depends
        del sys.argv[1]
        runpy.run_module("pipeline.dataset.new", run_name="__main__", alter_sys=True)
    else:
        hydra_app.run(main, "dataset")
