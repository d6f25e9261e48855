"""The progress of a fit: a file with one JSON object per epoch, named by `WB_PROGRESS`.

The fit writes it, the sweep's view reads it.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.core.typed import WrongType, build

FILE = "WB_PROGRESS"
LINE_BYTES = 1000  # more than a line has


@dataclass(frozen=True)
class Progress:
    """A fit after one of its epochs; `seconds` count from its start."""

    epoch: int
    epochs: int
    train_loss: float
    valid_loss: float
    error_rate: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}/{self.epochs}  train loss {self.train_loss:.3f}  "
            f"valid loss {self.valid_loss:.3f}  error {self.error_rate:.4f}  {self.seconds:.0f} s"
        )


def report_progress(progress: Progress) -> None:
    """Append to the progress file, if `WB_PROGRESS` names one."""
    if path := os.environ.get(FILE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(progress)) + "\n")


def last_progress(path: Path) -> Progress | None:
    """The last entry of the progress file; None before the end of the first epoch."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LINE_BYTES))
            whole = file.read().rpartition(b"\n")[0]
        return build(Progress, json.loads(whole.rpartition(b"\n")[2]))
    except (OSError, ValueError, TypeError, WrongType):
        return None
