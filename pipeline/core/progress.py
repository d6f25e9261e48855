"""How far a fit is, from its process to whoever shows it: a file with one JSON object per epoch.

A sweep names the file in the variable `WB_PROGRESS`. People read the same in the printed lines.
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
    """A fit after one of its epochs; `seconds` are those since it began."""

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
    """Add it to the file that this process was given, if it was."""
    if path := os.environ.get(FILE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(progress)) + "\n")


def last_progress(path: Path) -> Progress | None:
    """The last that a fit reported to the file; None before its first epoch has ended."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LINE_BYTES))
            whole = file.read().rpartition(b"\n")[0]
        return build(Progress, json.loads(whole.rpartition(b"\n")[2]))
    except (OSError, ValueError, TypeError, WrongType):
        return None
