"""What is known of fit times on a device: its own runs, its own benchmark, published speeds.

`sources` are what `python -m pipeline.sweep --dry-run` asks. `estimates_table` is estimates.csv:
each finished run's fit time next to what each source would have estimated without that run.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from pipeline.estimates.estimate import (
    OtherCells,
    OtherSeeds,
    Scaled,
    Source,
    Timed,
    measured_by_estimated,
    speed_by_model,
    timed,
)
from pipeline.records import Device, Record
from pipeline.results import ESTIMATES
from pipeline.study.params import MODES, Study
from pipeline.timm_results.imagenet import OWN, at_nearest_size
from pipeline.timm_results.published_tables import short_name

TRAINING_PASSES = {"train": 1, "infer": 3}  # forward alone is a third of a step
# Factors that 9 of 10 fits stay within. SCALED is measured on the 2022 study (docs/decisions.md).
BENCHMARK, SCALED, UNSCALED = 2.0, 3.0, 10.0
NAMES = {"train": "training", "infer": "inference"}


def training_speeds(study: Study, rows: pd.DataFrame) -> dict[str, float]:
    """Megapixels per second by model, from one benchmark file's `rows`, at the nearest size."""
    rows = rows[rows["model"].isin(study.models) & (rows["samples_per_second"] > 0)]
    nearest = at_nearest_size(rows, study.image_size).drop_duplicates("model")
    passes = nearest["mode"].map(TRAINING_PASSES).astype(float)
    speeds = nearest["samples_per_second"] * nearest["img_size"] ** 2 / 1e6 / passes
    return dict(zip(nearest["model"], speeds.astype(float), strict=True))


def rows_of_device(imagenet: pd.DataFrame, mode: str, device: Device) -> pd.DataFrame:
    """The rows of the largest benchmark file for `mode` that was measured on `device`, if any.

    An AMD EPYC with 2 threads is amd_epyc with the backend cpu2 there.
    """
    rows = imagenet[(imagenet["mode"] == mode) & (imagenet["compile"] == "eager")]
    rows = rows[rows["device"] == short_name(device.name or str(device.kind))]
    if device.compared.threads is not None:
        rows = rows[rows["backend"] == f"cpu{device.threads}"]
    if rows.empty:
        return rows
    return rows[rows["benchmark_file"] == rows["benchmark_file"].value_counts().index[0]]


def sources(
    study: Study, imagenet: pd.DataFrame | None, device: Device, runs: list[Timed]
) -> list[Source]:
    """What can be asked about `device`; `runs` are those it finished."""
    records: list[Source] = [OtherSeeds(runs), OtherCells(runs)]
    if imagenet is None:
        return records
    rows = {mode: rows_of_device(imagenet, mode, device) for mode in MODES}
    here = {mode: training_speeds(study, rows[mode]) for mode in MODES}
    by_runs = speed_by_model(runs)
    own = Scaled("a benchmark of this device", here["train"], by_runs, BENCHMARK, SCALED)
    known = [by_runs, here["train"], here["infer"]]
    others = imagenet[~imagenet["benchmark_file"].isin(rows["train"]["benchmark_file"])]
    return [own, *records, *_published(study, others, device.is_cuda, known)]


def _published(
    study: Study, imagenet: pd.DataFrame, cuda: bool, known: Sequence[Mapping[str, float]]
) -> list[Source]:
    """The two files of the charts; unscaled they say something of GPUs, of CPUs nothing."""
    found: list[Source] = []
    for mode in ("train", "infer"):
        rows = imagenet[imagenet["benchmark_file"] == study.charts[mode]]
        if len(rows):
            first = rows.iloc[0]
            table = training_speeds(study, rows)
            scale: Mapping[str, float] = next(
                (speeds for speeds in known if speeds.keys() & table.keys()), {}
            )
            whose = "own" if first["measured_by"] == OWN else "timm's"
            name = f"{whose} {NAMES[mode]} speeds on {first['device']}"
            name += "" if scale else ", unscaled"
            found.append(Scaled(name, table, scale, SCALED, UNSCALED if cuda else None))
    return found


def estimates_table(
    study: Study, records: Iterable[Record], imagenet: pd.DataFrame
) -> pd.DataFrame:
    """One row per finished run and source that knows something of it."""
    rows = [
        row
        for device, runs in by_device(records).items()
        for row in _rows(study, imagenet, device, runs)
    ]
    return pd.DataFrame(rows, columns=list(ESTIMATES))


def by_device(
    records: Iterable[Record], whatever_ran_beside: bool = False
) -> dict[Device, list[Timed]]:
    """The runs whose times count, or all of them, by what their times compare on."""
    found: dict[Device, list[Timed]] = {}
    for record in records:
        run, device = timed(record), record.device.compared
        counts = whatever_ran_beside or _counts(record)
        if run is not None and device.label is not None and counts:
            found.setdefault(device, []).append(run)
    return found


def _counts(record: Record) -> bool:
    return record.not_for_speed is None and not record.device.shared


def _rows(
    study: Study, imagenet: pd.DataFrame, device: Device, runs: list[Timed]
) -> Iterator[dict[str, Any]]:
    for source in sources(study, imagenet, device, runs):
        for run, ratio in measured_by_estimated(source, runs).items():
            yield {
                "dataset": run.work.dataset,
                "recipe": run.work.recipe,
                "model": run.work.model,
                "seed": run.seed,
                "device": device.label,
                "source": source.name,
                "estimated_seconds": run.fit_seconds / ratio,
                "fit_seconds": run.fit_seconds,
                "ratio": ratio,
            }
