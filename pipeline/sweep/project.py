"""What becomes of the study's stages: which are done, which DVC's caches have, what to commit.

A record counts as made from a stage's inputs only if a receipt says so: its configuration could be
equal and the trainer's code another.
"""

import json
from pathlib import Path

from pipeline.core.files import read_yaml, sha256
from pipeline.study.params import RUNS, Cell, read_study, threads_of
from pipeline.sweep.dvc_private import (
    Inputs,
    Stage,
    Workspace,
    command_of,
    deps_of,
    is_cached,
    name_of,
    outs_of,
)
from pipeline.sweep.jobs import Job
from pipeline.sweep.lockfile import add_entries

BENCHMARK = "benchmark@"


class Project(Workspace):
    """A workspace of whose stages one can ask, and commit, inside `locked`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.inputs = Inputs()
        params = self.root / "params.yaml"
        self._cells = {cell.path(RUNS).as_posix(): cell for cell in read_study(params).cells()}
        self._threads = threads_of(read_yaml(params))

    def cell_of(self, stage: Stage) -> Cell | None:
        """The cell whose record the stage makes; None of a stage that is no fine-tune."""
        return next((self._cells.get(out) for out in outs_of(stage)), None)

    def threads_of(self, stage: Stage) -> int:
        """How many threads the stage computes with."""
        computes = self.cell_of(stage) is not None or name_of(stage).startswith(BENCHMARK)
        return self._threads if computes else 1

    def inputs_changed(self, stage: Stage) -> bool:
        """Are command, parameters or dependencies other than dvc.lock says? Asked once a stage."""
        return self.inputs.changed(stage)

    def job(self, stage: Stage) -> Job:
        """How to make the stage, as its inputs are now (after `inputs_changed`)."""
        name = name_of(stage)
        plain = name.replace("/", "_")
        return Job(
            name=name,
            command=command_of(stage),
            key=self.inputs.key(stage),
            deps=deps_of(stage),
            outs=outs_of(stage),
            root=self.root,
            log=self.folder / "logs" / f"{plain}.log",
            receipt=self.folder / "receipts" / f"{plain}.json",
            cell=self.cell_of(stage),
            threads=self.threads_of(stage),
        )

    def is_made(self, job: Job) -> bool:
        """Are the outputs there, made from this very key, and only not committed?"""
        try:
            receipt = json.loads(job.receipt.read_text(encoding="utf-8"))
            hashes = {out: sha256(self.root / out) for out in job.outs}
        except (OSError, ValueError):
            return False
        return bool(receipt == {"key": job.key, "outs": hashes})

    def cached(self, stage: Stage, inputs_changed: bool) -> Stage | None:
        """That version, if DVC's cache has its outputs; see `dvc_private.restore`."""
        version = self.version(stage, inputs_changed)
        return version if version and is_cached(version) else None

    def commit(self, stages: list[Stage], order: list[str]) -> list[Stage]:
        """Commit outputs to the cache and dvc.lock; returns the stages whose inputs have moved.

        Those are left alone: what they made belongs to inputs that are no longer here.
        """
        keys = {name_of(stage): self.inputs.key(stage) for stage in stages}
        self.inputs.forget()
        moved, entries = [], {}
        for stage in stages:
            self.inputs_changed(stage)
            if self.inputs.key(stage) != keys[name_of(stage)]:
                moved.append(stage)
                continue
            entries[name_of(stage)] = self.commit_outs(stage)
        if entries:
            add_entries(self.root / "dvc.lock", entries, order)
        for name in entries:
            (self.folder / "receipts" / f"{name.replace('/', '_')}.json").unlink(missing_ok=True)
        return moved
