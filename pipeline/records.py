"""A record is the truth of one fine-tune: one JSON file, written whole or not at all.

What is unknown is null, never a guess. A run that failed or diverged has no metrics at all. To add
a field, add it below with a default: it is then written, read and checked, and older records have
the default.
"""

import base64
import dataclasses
import math
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pipeline.core.errors import PipelineError
from pipeline.core.files import WrongType, build, checked, plain, read_json, write_json

FORMAT = 2
MOST_IMAGES = 10_000_000
MOST_BYTES = 32 << 20  # of a record's file; a larger one is not read
MOST_PREDICTED = 4 << 20  # characters of valid_predictions; what packs to more is left out
FEWEST_EPOCHS = 3  # of a phase, to say what its first one took beyond the others
Status = Literal["ok", "failed", "diverged"]


@dataclass(frozen=True)
class Metrics:
    """Of the last epoch. For several labels error_rate = 1 - accuracy over all (image, tag) pairs.

    fbeta2 is of several labels only.
    """

    error_rate: float | None = None
    accuracy: float | None = None
    fbeta2: float | None = None
    valid_loss: float | None = None
    train_loss: float | None = None


@dataclass(frozen=True)
class Cost:
    """What a run took. Reserved and allocated memory are CUDA's, rss is the host's.

    fit_seconds is start_up_seconds, what the first steps took beyond the pace of later ones, and
    steady_fit_seconds, the rest, which models are ranked by. warm: the process had made a run of
    the architecture before, so its start-up is not the model's and the peak of its rss not known.
    """

    fit_seconds: float | None = None
    start_up_seconds: float | None = None
    steady_fit_seconds: float | None = None
    cpu_seconds: float | None = None
    seconds_per_epoch: float | None = None  # the median
    images_per_second: float | None = None
    peak_memory_reserved_gib: float | None = None
    peak_memory_allocated_gib: float | None = None
    peak_rss_gib: float | None = None
    energy_wh: float | None = None
    warm: bool | None = None  # of older records: they were not


@dataclass(frozen=True)
class Device:
    """What a run was on; of a GPU also its driver, limits and whether it is a slice (MIG)."""

    kind: str | None = None  # cpu or cuda
    name: str | None = None
    uuid: str | None = None
    mig: bool | None = None
    driver: str | None = None
    power_limit_w: float | None = None
    max_sm_clock_mhz: float | None = None
    cuda: str | None = None
    cpu: str | None = None
    cores: int | None = None
    cores_allowed: int | None = None
    threads: int | None = None
    precision: str | None = None
    step: str | None = None  # CUDA: captured (as a graph), or uncaptured and why
    shared: bool | None = None  # were others on it during the run?

    @property
    def is_cuda(self) -> bool:
        return self.kind == "cuda"

    @property
    def compared(self) -> "Device":
        """What times can be compared on: the name, of a CPU also the number of threads."""
        threads = self.threads if self.kind == "cpu" else None
        return Device(kind=self.kind, name=self.name, threads=threads)

    @property
    def label(self) -> str | None:
        """`compared` in words: `AMD EPYC, 2 threads`; None where nothing is known."""
        name = self.name or self.kind
        if name is None or self.kind != "cpu" or self.threads is None:
            return name
        return f"{name}, {self.threads} thread{'' if self.threads == 1 else 's'}"


@dataclass(frozen=True)
class Data:
    """What was learned from, and what a constant guess would score on it.

    median_side     pixels of the source images' shorter side
    n_valid_rarest  validation images of the class that has the fewest
    """

    fingerprint: str | None = None
    kind: str | None = None  # single or multi
    image_size: int | None = None
    n_classes: int | None = None
    n_train: int | None = None
    n_valid: int | None = None
    n_test: int | None = None
    n_rejected: int | None = None
    chance_error_rate: float | None = None
    median_side: int | None = None
    n_valid_rarest: int | None = None


@dataclass(frozen=True)
class Record:
    """One fine-tune: which cell of the study it is, how it went, what it cost and on what.

    test_metrics  on the test part, where the dataset has one; never used to choose
    history       one row per epoch: epoch, train_loss, valid_loss, error_rate, seconds
    telemetry     what the hardware did meanwhile: utilisation, clocks, temperature, load, others
    not_for_speed why its times rank nothing (the device was shared, the batch halved); else None
    valid_wrong   wrong answers on each validation image, in index order: see `pack_counts`
    valid_predictions  what was predicted on each of them, in index order: see `pack_predictions`
    weights       source, origin (a file or a repository), sha256, and left_out: the share of
                  pretrained parameters (without the classifier's) that the features leave out
    fit           batch_size, epochs and steps, as the recipe and the training part's size gave them
    probe         of a baseline: the head's l2, seconds of the pass and of the head, the error rate
                  of the nearest neighbours
    config        the resolved configuration of the run
    """

    status: Status
    dataset: str
    model: str
    recipe: str
    seed: int
    reason: str | None = None
    metrics: Metrics = Metrics()
    test_metrics: Metrics = Metrics()
    history: list[dict[str, Any]] = field(default_factory=list)
    cost: Cost = Cost()
    device: Device = Device()
    telemetry: dict[str, Any] = field(default_factory=dict)
    not_for_speed: str | None = None
    valid_wrong: str | None = None
    valid_predictions: str | None = None
    versions: dict[str, str | None] = field(default_factory=dict)
    weights: dict[str, str | float | None] = field(default_factory=dict)
    fit: dict[str, int] = field(default_factory=dict)
    probe: dict[str, float] = field(default_factory=dict)
    data: Data = Data()
    config: dict[str, Any] = field(default_factory=dict)
    started_at: str | None = None
    format: int = FORMAT

    @property
    def image_size(self) -> int | None:
        """Pixels, as the configuration says."""
        size: int | None = self.config.get("image_size")
        return size

    @property
    def start_up_seconds(self) -> float | None:
        """As measured per batch; of an older record by its epochs, or None where they are few."""
        if self.cost.start_up_seconds is not None or self.cost.fit_seconds is None:
            return self.cost.start_up_seconds
        recipe = self.config.get("recipe")
        frozen = recipe.get("frozen_epochs", 0) if isinstance(recipe, dict) else 0
        found = start_up_of_epochs(self.history, frozen)
        return None if found is None else min(found, self.cost.fit_seconds)

    @property
    def steady_fit_seconds(self) -> float | None:
        """The fit without its start-up; None where that is unknown."""
        if self.cost.steady_fit_seconds is not None:
            return self.cost.steady_fit_seconds
        if self.cost.fit_seconds is None or self.start_up_seconds is None:
            return None
        return self.cost.fit_seconds - self.start_up_seconds


def start_up_of_epochs(history: list[dict[str, Any]], frozen: int) -> float | None:
    """What the first epoch of each phase took beyond the phase's median, in seconds.

    Phases are the training of `frozen` epochs, of the others, and validation; where only whole
    epochs were timed, frozen and other ones. A frozen phase of few epochs is held against the
    others' median, and is no slower. None where the others are few.
    """
    whole: list[Any] = [each.get("seconds") for each in history]
    train: list[Any] = [each.get("train_seconds") for each in history]
    if not all(_is_time(each) for each in whole) or type(frozen) is not int or frozen < 0:
        return None
    phases = [whole[:frozen], whole[frozen:]]
    if all(_is_time(each) for each in train):
        valid = [one - other for one, other in zip(whole, train, strict=True)]
        phases = [train[:frozen], train[frozen:], valid]
    if len(phases[1]) < FEWEST_EPOCHS:
        return None
    start_up = 0.0
    for phase in phases:
        known = phase if len(phase) >= FEWEST_EPOCHS else phases[1]
        start_up += max(0.0, phase[0] - float(np.median(known))) if phase else 0.0
    return start_up


def _is_time(value: Any) -> bool:
    """Whether it is a number of seconds; others may have written anything."""
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


METRICS = tuple(each.name for each in dataclasses.fields(Metrics))


def pack_counts(counts: np.ndarray) -> str:
    """Wrong answers of each image (0 or 1; of several labels, how many), [images], as text.

    It is compressed: 1,478 images with one label take a few hundred characters.
    """
    return base64.b64encode(zlib.compress(counts.astype(np.uint8).tobytes(), 9)).decode("ascii")


def unpack_counts(text: str) -> np.ndarray:
    """What `pack_counts` packed: uint8 [images]. Raises ValueError where it is anything else."""
    return np.frombuffer(_unpack(text, MOST_IMAGES), dtype=np.uint8)


def pack_predictions(predictions: np.ndarray) -> str | None:
    """What was predicted on each image, uint8 [images, columns], as text; None where it is too big.

    One label: three columns, the low and the high byte of the class and the probability of that
    class. Several labels: the probability of each. A probability is in steps of 1/255, and above
    127 exactly where it is above a half. 10,000 images of 37 classes take about 30 kB, of 17 labels
    at most 230 kB.
    """
    packed = zlib.compress(np.ascontiguousarray(predictions.T).tobytes(), 9)
    text = base64.b64encode(packed).decode("ascii")
    return text if len(text) <= MOST_PREDICTED else None


def unpack_predictions(text: str, n_images: int, columns: int) -> np.ndarray:
    """What `pack_predictions` packed: uint8 [images, columns]. Raises ValueError otherwise."""
    if len(text) > MOST_PREDICTED:
        raise ValueError(f"{len(text)} characters, more than {MOST_PREDICTED}")
    content = _unpack(text, n_images * columns)
    if len(content) != n_images * columns:
        raise ValueError(f"{len(content)} bytes, not {n_images} images x {columns}")
    return np.frombuffer(content, dtype=np.uint8).reshape(columns, n_images).T


def _unpack(text: str, most: int) -> bytes:
    """The bytes behind `text`, at most so many."""
    try:
        unpacking = zlib.decompressobj()
        content = unpacking.decompress(base64.b64decode(text, validate=True), most + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if len(content) > most or not unpacking.eof:
        raise ValueError(f"more than {most} bytes, or cut off")
    return content


def write_record(path: Path, record: Record) -> None:
    write_json(path, plain(record))


def read_record(path: Path) -> Record:
    """Read and check one record; a damaged or foreign file is one clear line."""
    again = "delete it to run again"
    if (size := path.stat().st_size) > MOST_BYTES:
        raise PipelineError(
            f"{path}: {size:,} bytes, and no record has more than {MOST_BYTES:,}: {again}"
        )
    return read_json(path, record_of, "record", again)


def record_of(value: Any) -> Record:
    """The record in a JSON value; raises `WrongType` and TypeError as `build` does.

    A run that ended well has an error rate, any other has no metrics at all.
    """
    if not isinstance(value, dict) or value.get("format") != FORMAT:
        found = value.get("format") if isinstance(value, dict) else type(value).__name__
        raise WrongType(f"record format {found!r}, expected {FORMAT}")
    if unknown := sorted(set(value) - set(Record.__dataclass_fields__)):
        raise WrongType(f"unknown fields {unknown}")
    record = build(Record, value)
    checked(int | None, record.image_size, "config.image_size")
    if record.status == "ok" and record.metrics.error_rate is None:
        raise WrongType("status is ok but metrics.error_rate is absent")
    if record.status != "ok" and record.metrics != Metrics():
        raise WrongType(f"status is {record.status} but it has metrics")
    return record
