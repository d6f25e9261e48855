"""A record is the truth of one fine-tune: one JSON file, written whole or not at all.

What is unknown is null, never a guess. A run that failed or diverged has no metrics at all.
"""

import base64
import dataclasses
import json
import math
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any, Literal

import numpy as np

from pipeline.core.errors import PipelineError
from pipeline.core.files import write_json

FORMAT = 2
MOST_IMAGES = 10_000_000
Status = Literal["ok", "failed", "diverged"]
METRICS = ("error_rate", "accuracy", "fbeta2", "valid_loss", "train_loss")


@dataclass(frozen=True)
class Record:
    """One fine-tune: which cell of the study it is, how it went, what it cost and on what.

    metrics       error_rate, accuracy, fbeta2 (multi-label only), valid_loss, train_loss; for
                  multi-label, error_rate = 1 - accuracy over all (image, tag) pairs
    test_metrics  the same on the test part, where the dataset has one; never used to choose
    history       one row per epoch: epoch, train_loss, valid_loss, error_rate, seconds
    cost          fit_seconds, seconds_per_epoch (median), images_per_second, cpu_seconds,
                  peak_memory_reserved_gib and peak_memory_allocated_gib (CUDA),
                  peak_rss_gib (host), energy_wh
    device        kind (cpu or cuda), name, threads, shared (were others on it during the run?)
    telemetry     what the hardware did meanwhile: utilisation, clocks, temperature, load, others
    not_for_speed why its times rank nothing (the device was shared, the batch halved); else None
    valid_wrong   wrong answers on each validation image, in index order: see `pack_counts`
    fit           batch_size, epochs and steps, as the recipe and the training part's size gave them
    weights       source, sha256, file or repository, and left_out: the share of the pretrained
                  parameters, the classifier's apart, that the recipe's features do not use
    data          fingerprint, kind, n_train, n_valid, n_test, n_classes, n_rejected,
                  chance_error_rate
    config        the resolved configuration of the run
    """

    status: Status
    dataset: str
    model: str
    recipe: str
    seed: int
    reason: str | None = None
    metrics: dict[str, float | None] = field(default_factory=dict)
    test_metrics: dict[str, float | None] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    cost: dict[str, float | None] = field(default_factory=dict)
    device: dict[str, Any] = field(default_factory=dict)
    telemetry: dict[str, Any] = field(default_factory=dict)
    not_for_speed: str | None = None
    valid_wrong: str | None = None
    versions: dict[str, str | None] = field(default_factory=dict)
    weights: dict[str, Any] = field(default_factory=dict)
    fit: dict[str, int] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    config: dict[str, Any] = field(default_factory=dict)
    started_at: str | None = None
    format: int = FORMAT


def pack_counts(counts: np.ndarray) -> str:
    """Wrong answers of each image (0 or 1; of several labels, how many), [images], as text.

    It is compressed: 1,478 images with one label take a few hundred characters.
    """
    return base64.b64encode(zlib.compress(counts.astype(np.uint8).tobytes(), 9)).decode("ascii")


def unpack_counts(text: str) -> np.ndarray:
    """What `pack_counts` packed: uint8 [images]. Raises ValueError where it is anything else."""
    try:
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(base64.b64decode(text, validate=True), MOST_IMAGES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not unpacking.eof:
        raise ValueError(f"more than {MOST_IMAGES} images, or cut off")
    return np.frombuffer(content, dtype=np.uint8)


def write_record(path: Path, record: Record) -> None:
    write_json(path, dataclasses.asdict(record))


def read_record(path: Path) -> Record:
    """Read and check one record; a damaged or foreign file is one clear line."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise PipelineError(
            f"{path}: not a whole record ({error}): delete it to run again"
        ) from None
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise PipelineError(
            f"{path}: record format {found!r}, expected {FORMAT}: delete it to run again"
        )
    known = {each.name for each in dataclasses.fields(Record)}
    if unknown := set(value) - known:
        raise PipelineError(f"{path}: unknown fields {sorted(unknown)}")
    try:
        record = Record(**value)
    except TypeError as error:
        raise PipelineError(f"{path}: {error}: delete it to run again") from None
    _check(path, record)
    return record


def _check(path: Path, record: Record) -> None:
    _check_kinds(path, record)
    if record.status not in ("ok", "failed", "diverged"):
        raise PipelineError(f"{path}: status is {record.status!r}")
    numbers = {name: value for name, value in record.metrics.items() if value is not None}
    for name, value in numbers.items():
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise PipelineError(f"{path}: metrics.{name} is {value!r}, not a finite number")
    if record.status == "ok" and "error_rate" not in numbers:
        raise PipelineError(f"{path}: status is ok but metrics.error_rate is absent")
    if record.status != "ok" and numbers:
        raise PipelineError(f"{path}: status is {record.status} but it has metrics")


KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("dataset", "model", "recipe"), (str,)),
    **dict.fromkeys(("reason", "not_for_speed", "valid_wrong", "started_at"), (str, NoneType)),
    **dict.fromkeys(("metrics", "test_metrics", "cost", "device", "telemetry"), (dict,)),
    **dict.fromkeys(("versions", "weights", "fit", "data", "config"), (dict,)),
    **{"seed": (int,), "history": (list,)},
}
NESTED: dict[str, dict[str, tuple[type, ...]]] = {  # each may be null or absent
    "config": {"image_size": (int,)},
    "data": {
        **dict.fromkeys(("n_train", "n_valid"), (int,)),
        **dict.fromkeys(("fingerprint", "kind"), (str,)),
        "chance_error_rate": (float, int),
    },
    "device": {"name": (str,), "kind": (str,), "threads": (int,)},
    "fit": dict.fromkeys(("batch_size", "epochs", "steps"), (int,)),
    "weights": {
        **dict.fromkeys(("source", "origin", "sha256"), (str,)),
        "left_out": (float, int),
    },
}


def _check_kinds(path: Path, record: Record) -> None:
    """Others made the file: what every reader takes for granted is checked once, here."""
    for name, kinds in KINDS.items():
        value = getattr(record, name)
        if not isinstance(value, kinds) or isinstance(value, bool):
            found = type(value).__name__
            raise PipelineError(f"{path}: {name} is of type {found}: delete it to run again")
    for name, kinds_of in NESTED.items():
        for key, kinds in kinds_of.items():
            value = getattr(record, name).get(key)
            if value is not None and not isinstance(value, kinds):
                found = type(value).__name__
                raise PipelineError(
                    f"{path}: {name}.{key} is of type {found}: delete it to run again"
                )
    if not all(isinstance(row, dict) for row in record.history):
        raise PipelineError(f"{path}: history has a row without names: delete it to run again")
    for name, value in record.cost.items():
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            raise PipelineError(f"{path}: cost.{name} is {value!r}, not a finite number")


def device_label(device: dict[str, Any]) -> str | None:
    """What times can be compared on: the device's name, for a CPU with its number of threads."""
    name = device.get("name") or device.get("kind")
    if name is None or device.get("kind") != "cpu" or device.get("threads") is None:
        return name
    return f"{name}, {device['threads']} thread{'' if device['threads'] == 1 else 's'}"
