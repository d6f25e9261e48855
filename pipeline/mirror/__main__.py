"""`python -m pipeline.mirror TRACKER`: copies records to W&B, MLflow, trackio or DVCLive.

Reads records and writes to the tracker only: no result is read back, no run waits for a tracker,
and a tracker that cannot be reached costs a warning.
"""

import importlib
import sys
import time
from pathlib import Path

from pipeline.core.command import run
from pipeline.core.errors import PipelineError, first_line, near_matches
from pipeline.mirror.run import Mirror, Run, run_of

TRACKERS = ("dvclive", "mlflow", "trackio", "wandb")
EVERY_SECONDS = 5.0


def main(
    tracker: str,
    *,
    records: Path = Path("data/runs"),
    project: str = "which-backbone",
    watch: bool = False,
) -> None:
    """Copy to an experiment tracker the records that it lacks.

    Args:
        tracker: dvclive, mlflow, trackio or wandb
        records: the folder with the records
        project: what the tracker files them under
        watch: go on with records as they come, until Ctrl-C
    """
    if tracker not in TRACKERS:
        raise PipelineError(f"unknown tracker {tracker!r}: {near_matches(tracker, TRACKERS)}")
    if not records.is_dir():
        raise PipelineError(f"{records}: no folder of records")
    mirror = Mirroring(tracker, project)
    try:
        mirror.copy(records)
        while watch:
            time.sleep(EVERY_SECONDS)
            mirror.copy(records)
    except KeyboardInterrupt:
        pass
    print(f"{tracker}: {mirror.n_added} runs added, {mirror.n_known} were there")


class Mirroring:
    """Copies records to one tracker, each once; a failure is reported once."""

    def __init__(self, tracker: str, project: str) -> None:
        self.tracker, self.project = tracker, project
        self.n_added = self.n_known = 0
        self._mirror: Mirror | None = None
        self._done: set[str] = set()
        self._warned = False

    def copy(self, folder: Path) -> None:
        """Add the records below `folder` that the tracker lacks; where it fails, warn once."""
        for path in sorted(folder.rglob("*.json")):
            try:
                made = run_of(path)
            except FileNotFoundError:  # a sweep has just removed it
                continue
            if made.id in self._done:
                continue
            try:
                self._add(made)
            except PipelineError:
                raise
            except Exception as error:  # of any kind: trackers have error classes of their own
                self._warn(error)
                return
            self._done.add(made.id)

    def _add(self, made: Run) -> None:
        self._mirror = self._mirror or mirror_of(self.tracker, self.project)
        if self._mirror.has(made):
            self.n_known += 1
        else:
            self._mirror.add(made)
            self.n_added += 1

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            print(
                f"warning: {self.tracker}: {type(error).__name__}: {first_line(error)[:200]}: "
                "records are complete without it; call again later",
                file=sys.stderr,
            )
        self._warned = True


def mirror_of(tracker: str, project: str) -> Mirror:
    """Raises `PipelineError` where the tracker's package is not installed."""
    try:
        module = importlib.import_module(f"pipeline.mirror.to_{tracker}")
    except ModuleNotFoundError as error:
        raise PipelineError(
            f"{tracker}: {error.name} is not installed: install the extra {tracker!r} of "
            "pyproject.toml"
        ) from None
    mirror: Mirror = module.Mirror(project)
    return mirror


if __name__ == "__main__":
    run(main)
