"""What `python -m pipeline.calibrate` measures on a device, and the speeds that follow from it.

A training step is taken to cost a constant, something for each parameter tensor (the host starts
kernels for each) and something for its pixels, in units of what timm publishes for inference. The
three prices, none of them negative, are fitted to a few timed steps. The surprising fact: without
the tensors, two thirds to nine tenths of the 2022 study's fits are estimated within a factor of
1.5, with them nine tenths and more (docs/hardware.md). parameter_tensors.csv has their numbers, by
`python -m benchmarks.parameter_tensors` with timm 1.0.31.
"""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.files import build, plain, read_json, write_json
from pipeline.records import Device, Record
from pipeline.study.params import Study
from pipeline.timm_results.families import arch_of
from pipeline.timm_results.imagenet import at_nearest_size
from pipeline.timm_results.published_tables import short_name

FOLDER = Path("data/calibration")
TENSORS = Path(__file__).with_name("parameter_tensors.csv")
FEWEST = 4  # timed architectures, to fit three prices


@dataclass(frozen=True)
class Step:
    """The training step of one architecture: mean seconds of the `steps` after warm-up."""

    arch: str
    image_size: int
    batch_size: int
    seconds: float
    steps: int
    not_for_speed: str | None = None

    @property
    def megapixels(self) -> float:
        return self.batch_size * self.image_size**2 / 1e6


@dataclass(frozen=True)
class Calibration:
    """Timed steps on one device.

    `batch_size` is the recipe's; a CPU's steps may be of fewer images. `left_out` says why other
    architectures were not timed.
    """

    device: Device
    recipe: str
    batch_size: int
    steps: list[Step]
    left_out: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str | None] = field(default_factory=dict)
    started_at: str | None = None
    format: Literal[1] = 1

    @property
    def disturbed(self) -> bool:
        """Whether others used the device meanwhile: then fits that run alone are quicker."""
        return any(step.not_for_speed for step in self.steps)


def read_calibration(root: Path, device: Device) -> Calibration | None:
    """The calibration of this device; None where there is none, or one of a device like it."""
    path = file_of(root, device)
    if not path.is_file():
        return None
    found = _read(path)
    return found if found.device.compared == device.compared else None


def _read(path: Path) -> Calibration:
    again = "run `python -m pipeline.calibrate` again"
    return read_json(path, lambda value: build(Calibration, value), "calibration", again)


def write_calibration(path: Path, found: Calibration) -> None:
    write_json(path, plain(found))


def file_of(root: Path, device: Device) -> Path:
    """The file for the calibration of a device, of a CPU with so many threads."""
    return root / FOLDER / f"{short_name_of(device)}.json"


def short_name_of(device: Device) -> str:
    """A device as timm's file names have it, of a CPU with its threads: rtx4090, amd_epyc-cpu2."""
    name = short_name(device.name or str(device.kind))
    threads = device.compared.threads
    return name if threads is None else f"{name}-cpu{threads}"


def device_named(
    name: str, root: Path, records: Iterable[Record], imagenet: pd.DataFrame | None
) -> Device:
    """The device of that name among those of the records and calibrations and, of `imagenet`, the
    GPUs that were benchmarked. It may be written in full or as `short_name_of` has it.

    Raises `PipelineError` for a name that none of them has.
    """
    found: dict[str, Device] = {}
    if imagenet is not None:
        gpus = imagenet[(imagenet["device"] != "") & ~imagenet["backend"].str.startswith("cpu")]
        found = {each: Device(kind="cuda", name=each) for each in sorted(set(gpus["device"]))}
    devices = {record.device.compared for record in records}
    found |= {short_name_of(each): each for each in devices if each.label is not None}
    for path in (root / FOLDER).glob("*.json"):
        found[path.stem] = _read(path).device.compared
    for device in found.values():
        if name == device.label:
            return device
    if (short := short_name_of(Device(kind="cuda", name=name))) in found:
        return found[short]
    if name in found:
        return found[name]
    said = ["no speed of it is known"] + ([near_matches(name, found)] if found else [])
    if imagenet is None:
        said.append("`dvc repro merge` brings the GPUs of timm's benchmark files")
    said.append(
        f"`python -m pipeline.calibrate` on such a machine writes a file for {FOLDER}/ here"
    )
    raise PipelineError(f"--fit-on {name}: {'; '.join(said)}")


def calibrated_speeds(found: Calibration, study: Study, imagenet: pd.DataFrame) -> dict[str, float]:
    """Megapixels per second of training, by model of the study that is published."""
    pace = published_pace(imagenet, study.charts["infer"], study.image_size)
    price = prices(found.steps, pace)
    if price is None:
        return {}
    megapixels = found.batch_size * study.image_size**2 / 1e6
    speeds = {}
    for model in study.models:
        arch = arch_of(model)
        if arch in pace and arch in parameter_tensors():
            speeds[model] = megapixels / float(price @ _costs(arch, megapixels, pace))
    return speeds


def published_pace(
    imagenet: pd.DataFrame, benchmark_file: str, image_size: int
) -> dict[str, float]:
    """Seconds of inference per megapixel by architecture, at the published size nearest to this."""
    rows = imagenet[
        (imagenet["benchmark_file"] == benchmark_file) & (imagenet["samples_per_second"] > 0)
    ]
    rows = at_nearest_size(rows, image_size).drop_duplicates("arch")
    pace = 1e6 / (rows["samples_per_second"] * rows["img_size"].astype(float) ** 2)
    return dict(zip(rows["arch"], pace.astype(float), strict=True))


def prices(steps: Sequence[Step], pace: Mapping[str, float]) -> np.ndarray | None:
    """Seconds per step, per parameter tensor, and per second of published inference.

    By least squares of the relative errors; None where fewer than FEWEST steps are of architectures
    with a published `pace` (see `published_pace`).
    """
    from scipy.optimize import nnls  # half a second, and a sweep mostly has nothing to fit

    known = [step for step in steps if step.arch in pace and step.arch in parameter_tensors()]
    if len(known) < FEWEST:
        return None
    costs = np.array([_costs(step.arch, step.megapixels, pace) for step in known])
    seconds = np.array([step.seconds for step in known])
    found, _ = nnls(costs / seconds[:, None], np.ones(len(known)))
    return np.asarray(found)


def _costs(arch: str, megapixels: float, pace: Mapping[str, float]) -> list[float]:
    return [1.0, float(parameter_tensors()[arch]), megapixels * pace[arch]]


@cache
def parameter_tensors() -> dict[str, int]:
    """The number of parameter tensors of timm's architectures that have pretrained weights."""
    with TENSORS.open(encoding="utf-8", newline="") as file:
        return {row["arch"]: int(row["tensors"]) for row in csv.DictReader(file)}
