"""What stage `benchmark` writes and `merge` reads: the timings of one model on one machine.

One JSON file a model, written whole or not at all. What is unknown is null; a timing that failed
has its reason and no numbers.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pipeline.core.files import build, plain, read_json, write_json
from pipeline.records import Device

Mode = Literal["infer", "train"]
Layout = Literal["nchw", "nhwc"]


@dataclass(frozen=True)
class Timing:
    """One architecture in one mode at one image size.

    batch_size          what was used; below `batch_size_asked` only where batch_decay is on
    samples_per_second  of the median repeat; `repeats_samples_per_second` has all of them
    joules_per_sample   of the GPU; null where it was shared, or has no counter and no power meter
    """

    mode: Mode
    img_size: int
    batch_size_asked: int
    batch_size: int | None = None
    samples_per_second: float | None = None
    step_ms: float | None = None
    repeats_samples_per_second: list[float] = field(default_factory=list)
    params_m: float | None = None
    peak_memory_allocated_gib: float | None = None
    peak_memory_reserved_gib: float | None = None
    peak_rss_gib: float | None = None
    joules_per_sample: float | None = None
    failed: str | None = None
    not_for_speed: str | None = None
    telemetry: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelTimings:
    """Every timing of one model, on one device (the record's `device`), in one memory layout."""

    model: str
    layout: Layout
    device: Device
    versions: dict[str, str | None]
    started_at: str
    timings: list[Timing]
    format: Literal[1] = 1


def write_timings(path: Path, found: ModelTimings) -> None:
    write_json(path, plain(found))


def read_timings(path: Path) -> ModelTimings:
    """Read and check one file; a missing, damaged or foreign one is one clear line."""
    again = f"run `dvc repro --force --single-item benchmark@{path.stem}`"
    return read_json(path, lambda value: build(ModelTimings, value), "file of timings", again)
