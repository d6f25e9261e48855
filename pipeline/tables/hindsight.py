"""estimates.csv: each finished run's fit time beside what each source would have said before it.

The estimates are those of `python -m pipeline.sweep --dry-run`, made from all other runs of the
grid on the run's device (a table of speeds is scaled by the other models alone).
"""

from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd

from pipeline.records import Record
from pipeline.tables.estimates import Timed, measured_by_estimated, timed
from pipeline.tables.known_speeds import sources
from pipeline.tables.results import ESTIMATES
from pipeline.tables.runs import Records, device_label
from pipeline.tables.study import Study


def estimates_table(study: Study, records: Records, imagenet: pd.DataFrame) -> pd.DataFrame:
    """One row per finished run and source that knows something of it."""
    rows = [
        row
        for (device, cuda), runs in by_device(records.values()).items()
        for row in _rows(study, imagenet, device, cuda, runs)
    ]
    return pd.DataFrame(rows, columns=list(ESTIMATES))


def by_device(
    records: Iterable[Record], whatever_ran_beside: bool = False
) -> dict[tuple[str, bool], list[Timed]]:
    """The runs whose times count, or all of them, by device and whether it is CUDA's."""
    found: dict[tuple[str, bool], list[Timed]] = {}
    for record in records:
        run, device = timed(record), device_label(record.device)
        counts = whatever_ran_beside or _counts(record)
        if run is not None and device is not None and counts:
            key = (device, record.device.get("kind") == "cuda")
            found.setdefault(key, []).append(run)
    return found


def _counts(record: Record) -> bool:
    return record.not_for_speed is None and not record.device.get("shared")


def _rows(
    study: Study, imagenet: pd.DataFrame, device: str, cuda: bool, runs: list[Timed]
) -> Iterator[dict[str, Any]]:
    for source in sources(study, imagenet, device, cuda, runs):
        for run, ratio in measured_by_estimated(source, runs).items():
            yield {
                "dataset": run.work.dataset,
                "recipe": run.work.recipe,
                "model": run.work.model,
                "seed": run.seed,
                "device": device,
                "source": source.name,
                "estimated_seconds": run.fit_seconds / ratio,
                "fit_seconds": run.fit_seconds,
                "ratio": ratio,
            }
