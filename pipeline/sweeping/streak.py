"""Run after run that fails for one and the same reason: then the machine is at fault, not the runs.

One sick host once burned 470 of a study's 500 runs. A sweep therefore stops where `LIMIT` runs in a
row end for one reason: without a record, or with a record that says `failed` and of as many
different models. What diverged is a result of its recipe and never counts.
"""

import json
import re
import shlex
from pathlib import Path

from pipeline.sweeping.jobs import Ended

LIMIT = 5


class Streak:
    """Counts the ends of runs that failed for one reason, one directly after the other."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._same: str | None = None
        self._who: set[str] = set()

    def hear(self, end: Ended) -> None:
        """Count this end, or start anew if it is a good one or has another reason."""
        failed_itself = end.exit_code == 0
        reason = _recorded_failure(end) if failed_itself else end.reason
        same = None if reason is None else without_names(reason, end.job.command)
        if same != self._same:
            self._who = set()
        self._same, self.reason = same, reason
        if same is not None:
            self._who.add(_model(end.job.command) if failed_itself else end.job.name)

    @property
    def is_long(self) -> bool:
        return len(self._who) >= LIMIT


def without_names(reason: str, command: str) -> str:
    """The reason without what differs from run to run: the run's own words, and numbers."""
    words = {word.rpartition("=")[2] for word in shlex.split(command)}
    for word in sorted(words, key=len, reverse=True):
        if len(word) > 2:
            reason = reason.replace(word, "...")
    return re.sub(r"\d+", "0", reason)


def _recorded_failure(end: Ended) -> str | None:
    """The reason in the record that the run made, if it says `failed`."""
    for out in end.job.outs:
        try:
            record = json.loads((end.job.root / Path(out)).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # a folder, or no record
            continue
        if isinstance(record, dict) and record.get("status") == "failed":
            return str(record.get("reason"))
    return None


def _model(command: str) -> str:
    return next((word for word in shlex.split(command) if word.startswith("model=")), command)
