"""A record is the complete result of one fine-tune: one JSON file, written whole or not at all.

Unknown values are null, never guesses. A run that failed or diverged has no metrics at all. To add
a field, add it below with a default. It is then written, read and checked, and older records get
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
MOST_BYTES = 32 << 20  # size of a record's file; a larger one is not read
MOST_PREDICTED = 4 << 20  # characters of valid_predictions; longer ones are left out
FEWEST_EPOCHS = 3  # of a phase, to tell how much longer its first one took than the others
Status = Literal["ok", "failed", "diverged"]


@dataclass(frozen=True)
class Metrics:
    """Metrics of the last epoch.

    If images have several labels, error_rate is 1 - accuracy over all (image, tag) pairs; only then
    is there an fbeta2.
    """

    error_rate: float | None = None
    accuracy: float | None = None
    fbeta2: float | None = None
    valid_loss: float | None = None
    train_loss: float | None = None


@dataclass(frozen=True)
class Cost:
    """The cost of a run. Reserved and allocated memory are on the GPU; rss is that of the host.

    fit_seconds is the sum of start_up_seconds, the extra time that the first steps took compared
    with later ones, and steady_fit_seconds, by which models are ranked. If warm, the process had
    run a fit of the architecture before, so its start-up time is not typical of the model and its
    peak rss is unknown.
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
    warm: bool | None = None  # older records lack it: their runs were not warm


@dataclass(frozen=True)
class Device:
    """What a run was made on; for a GPU, also its driver, limits and whether it is a MIG slice."""

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
    step: str | None = None  # on CUDA: captured (as a CUDA graph), or uncaptured and why
    shared: bool | None = None  # whether others used it during the run

    @property
    def is_cuda(self) -> bool:
        return self.kind == "cuda"

    @property
    def compared(self) -> "Device":
        """What must be equal for times to be compared: the name, and on a CPU the threads."""
        threads = self.threads if self.kind == "cpu" else None
        return Device(kind=self.kind, name=self.name, threads=threads)

    @property
    def label(self) -> str | None:
        """`compared` in words: `AMD EPYC, 2 threads`; None if nothing is known."""
        name = self.name or self.kind
        if name is None or self.kind != "cpu" or self.threads is None:
            return name
        return f"{name}, {self.threads} thread{'' if self.threads == 1 else 's'}"


@dataclass(frozen=True)
class Data:
    """The dataset, and the error rate of a constant guess on it.

    median_side     median of the source images' shorter sides, in pixels
    n_valid_rarest  number of validation images of the class that has the fewest
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
    """One fine-tune: which cell of the study it is, how it ended, its cost and its device.

    test_metrics  on the test part, if the dataset has one; never used to choose a model
    history       one row per epoch: epoch, train_loss, valid_loss, error_rate, train_seconds,
                  seconds
    telemetry     what the hardware did during the fit: utilisation, clocks, temperature, load,
                  other processes
    not_for_speed why its times are not used to rank models (the device was shared, the batch was
                  halved), or None
    valid_wrong   wrong answers on each validation image, in index order: see `pack_counts`
    valid_predictions  predictions for each validation image, in index order: see
                  `pack_predictions`
    weights       source, origin (for example a repository), sha256, and left_out: the share of
                  pretrained parameters (without the classifier's) that the features leave out
    fit           batch_size, epochs and steps, from the recipe and the size of the training part
    probe         for a baseline: the head's l2, the seconds of the pass and of the head, and the
                  error rate of the nearest neighbours
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
        """The image size of the configuration, in pixels."""
        size: int | None = self.config.get("image_size")
        return size

    @property
    def start_up_seconds(self) -> float | None:
        """As measured per batch; for older records, estimated from the epochs.

        None if there are too few epochs for that.
        """
        if self.cost.start_up_seconds is not None or self.cost.fit_seconds is None:
            return self.cost.start_up_seconds
        recipe = self.config.get("recipe")
        frozen = recipe.get("frozen_epochs", 0) if isinstance(recipe, dict) else 0
        found = start_up_of_epochs(self.history, frozen)
        return None if found is None else min(found, self.cost.fit_seconds)

    @property
    def steady_fit_seconds(self) -> float | None:
        """The time of the fit without its start-up; None if that is unknown."""
        if self.cost.steady_fit_seconds is not None:
            return self.cost.steady_fit_seconds
        if self.cost.fit_seconds is None or self.start_up_seconds is None:
            return None
        return self.cost.fit_seconds - self.start_up_seconds


def start_up_of_epochs(history: list[dict[str, Any]], frozen: int) -> float | None:
    """How much longer than its phase's median the first epoch of each phase took, in seconds.

    The phases are training in the `frozen` epochs, training in the other epochs, and validation. If
    only whole epochs were timed, they are the frozen epochs and the others. A phase with few epochs
    is compared with the median of the training of the other epochs, because frozen epochs are no
    slower. None if there are few other epochs.
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
    """Whether `value` is a valid number of seconds; records from elsewhere may contain anything."""
    return isinstance(value, int | float) and math.isfinite(value) and value >= 0


METRICS = tuple(each.name for each in dataclasses.fields(Metrics))


def pack_counts(counts: np.ndarray) -> str:
    """Pack the number of wrong answers on each image (0 or 1 with one label), [images], as text.

    The text is compressed: 1,478 images with one label take a few hundred characters.
    """
    return base64.b64encode(zlib.compress(counts.astype(np.uint8).tobytes(), 9)).decode("ascii")


def unpack_counts(text: str) -> np.ndarray:
    """Unpack the text of `pack_counts` to uint8 [images]. Raises ValueError for any other text."""
    return np.frombuffer(_unpack(text, MOST_IMAGES), dtype=np.uint8)


def pack_predictions(predictions: np.ndarray) -> str | None:
    """Pack the predictions for each image, uint8 [images, columns], as text; None if too long.

    With one label, there are three columns: the low and the high byte of the predicted class, and
    its probability. With several labels, there is one column per label, its probability.
    Probabilities are in steps of 1/255, and above 127 exactly if they are above 0.5. 10,000 images
    of 37 classes take about 30 kB, and of 17 labels at most 230 kB.
    """
    packed = zlib.compress(np.ascontiguousarray(predictions.T).tobytes(), 9)
    text = base64.b64encode(packed).decode("ascii")
    return text if len(text) <= MOST_PREDICTED else None


def unpack_predictions(text: str, n_images: int, columns: int) -> np.ndarray:
    """Unpack the text of `pack_predictions` to uint8 [images, columns].

    Raises ValueError for any other text.
    """
    if len(text) > MOST_PREDICTED:
        raise ValueError(f"{len(text)} characters, more than {MOST_PREDICTED}")
    content = _unpack(text, n_images * columns)
    if len(content) != n_images * columns:
        raise ValueError(f"{len(content)} bytes, not {n_images} images x {columns}")
    return np.frombuffer(content, dtype=np.uint8).reshape(columns, n_images).T


def _unpack(text: str, most: int) -> bytes:
    """Decode and decompress `text` to at most `most` bytes."""
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
    """Read and check one record; raises `PipelineError` if the file is not a complete record."""
    again = "delete it to run again"
    if (size := path.stat().st_size) > MOST_BYTES:
        raise PipelineError(
            f"{path}: {size:,} bytes, but a record has at most {MOST_BYTES:,}: {again}"
        )
    return read_json(path, record_of, "record", again)


def record_of(value: Any) -> Record:
    """The record in a JSON value; raises `WrongType` or TypeError, as `build` does.

    A successful run must have an error rate, and any other run no metrics at all.
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
