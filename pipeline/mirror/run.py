"""A record as trackers want it: an id, flat settings, numbers per epoch, final numbers."""

import hashlib
import math
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.core.files import flat
from pipeline.records import Record, read_record

ID_DIGITS = 16  # of the record's SHA-256
Numbers = dict[str, float]


@dataclass(frozen=True)
class Run:
    """One record. `id` is a hash of the file, so a record that is sent twice is one run.

    `epochs` has, per epoch, its number from 1 and the numbers that the record has of it.
    """

    id: str
    name: str
    record: Record
    settings: dict[str, Any]
    epochs: list[tuple[int, Numbers]]
    results: Numbers

    @property
    def file_name(self) -> str:
        """`name` and `id` as a file's name: names in other people's records may hold anything."""
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '-', self.name).strip('.-')}-{self.id}"


class Mirror(Protocol):
    """One tracker. `add` adds a run, `has` says whether it is there; any exception means that the
    tracker cannot be reached now.
    """

    def has(self, run: Run) -> bool: ...
    def add(self, run: Run) -> None: ...


def run_of(path: Path) -> Run:
    """Read a record as a run; a damaged one raises `PipelineError`."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:ID_DIGITS]
    record = read_record(path)
    settings = {
        **record.config,
        "status": record.status,
        "reason": record.reason,
        "not_for_speed": record.not_for_speed,
        "started_at": record.started_at,
        "record": digest,
        "device": asdict(record.device),
        "versions": record.versions,
        "weights": record.weights,
        "data": asdict(record.data),
    }
    tested = _numbers(asdict(record.test_metrics))
    return Run(
        id=digest,
        name=f"{record.dataset} {record.model} {record.recipe} seed {record.seed}",
        record=record,
        settings={key: value for key, value in flat(settings).items() if value is not None},
        epochs=[(at, _numbers(row)) for at, row in enumerate(record.history, start=1)],
        results={
            **_numbers(asdict(record.metrics)),
            **{f"test_{name}": value for name, value in tested.items()},
            **_numbers(asdict(record.cost)),
        },
    )


def _numbers(row: dict[str, Any]) -> Numbers:
    return {
        name: float(value)
        for name, value in row.items()
        if name != "epoch" and isinstance(value, int | float) and math.isfinite(value)
    }
