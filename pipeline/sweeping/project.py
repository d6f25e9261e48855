"""What becomes of stages: which are done, which DVC's caches have, what to commit.

A record counts as made from a stage's inputs only if a receipt says so: its configuration could be
equal and the trainer's code another.
"""

import json
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.exceptions import CollectCacheError
from dvc.stage.cache import _can_hash
from dvc.stage.serialize import to_single_stage_lockfile

from pipeline.core.files import sha256
from pipeline.sweeping.inputs import Inputs
from pipeline.sweeping.jobs import Job
from pipeline.sweeping.lockfile import add_entries
from pipeline.sweeping.workspace import Stage, Workspace, command_of


class Project(Workspace):
    """A workspace of whose stages one can ask, and commit, inside `locked`."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.inputs = Inputs()

    def inputs_changed(self, stage: Stage) -> bool:
        """Are command, parameters or dependencies other than dvc.lock says? Asked once a stage."""
        return self.inputs.changed(stage)

    def outs_changed(self, stage: Stage) -> bool:
        """Are outputs missing, or other than dvc.lock says?"""
        return any(out.workspace_status() for out in stage.outs)

    def job(self, stage: Stage) -> Job:
        """How to make the stage, as its inputs are now (after `inputs_changed`)."""
        name = stage.addressing
        plain = name.replace("/", "_")
        return Job(
            name=name,
            command=command_of(stage),
            key=self.inputs.key(stage),
            deps=tuple(dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)),
            outs=tuple(out.def_path for out in stage.outs),
            root=self.root,
            log=self.folder / "logs" / f"{plain}.log",
            receipt=self.folder / "receipts" / f"{plain}.json",
        )

    def is_made(self, job: Job) -> bool:
        """Are the outputs there, made from this very key, and only not committed?"""
        try:
            receipt = json.loads(job.receipt.read_text(encoding="utf-8"))
            hashes = {out: sha256(self.root / out) for out in job.outs}
        except (OSError, ValueError):
            return False
        return bool(receipt == {"key": job.key, "outs": hashes})

    def version(self, stage: Stage, inputs_changed: bool) -> Stage | None:
        """The stage as dvc.lock or the run-cache knows its outputs for these inputs, if they do.

        A persistent output that is there is the stage's own to go on from, and never replaced.
        """
        runs = self.repo.stage_cache
        if any(out.persist and out.exists for out in stage.outs):
            return None
        if not inputs_changed and all(out.hash_info for out in stage.outs):
            entry = to_single_stage_lockfile(stage)
        else:
            entry = runs._load(stage) if _can_hash(stage) else None
        return runs._create_stage(entry, wdir=stage.wdir) if entry else None

    def cached(self, stage: Stage, inputs_changed: bool) -> Stage | None:
        """That version, if DVC's cache has its outputs; see `restore`."""
        version = self.version(stage, inputs_changed)
        return version if version and version.outs_cached() else None

    def pull_run_cache(self) -> None:
        """Which outputs belong to which inputs, as the DVC remote knows; not the outputs."""
        self.repo.stage_cache.pull(None)

    def pull_outs(self, versions: list[Stage]) -> None:
        """Bring what the DVC remote has of these outputs into DVC's cache, all in one go."""
        objects = set()
        for version in versions:
            try:
                objects |= {each for found in version.get_used_objs().values() for each in found}
            except CollectCacheError:  # the list of a folder's files is nowhere
                continue
        if objects:
            self.repo.cloud.pull(objects)

    def restore(self, stage: Stage, version: Stage) -> None:
        """Put the outputs into the workspace from DVC's cache."""
        self.remove_outs(stage)
        version.checkout()

    def remove_outs(self, stage: Stage) -> None:
        """As DVC does before it runs a stage."""
        for out in stage.outs:
            if out.persist:
                out.unprotect()
            else:
                out.remove(ignore_remove=False)

    def commit(self, stages: list[Stage], order: list[str]) -> list[Stage]:
        """Commit outputs to the cache and dvc.lock; returns the stages whose inputs have moved.

        Those are left alone: what they made belongs to inputs that are no longer here.
        """
        keys = {stage.addressing: self.inputs.key(stage) for stage in stages}
        self.inputs.forget()
        moved, entries = [], {}
        for stage in stages:
            self.inputs_changed(stage)
            if self.inputs.key(stage) != keys[stage.addressing]:
                moved.append(stage)
                continue
            stage.save_outs()
            stage.md5 = stage.compute_md5()
            if all(out.use_cache or out.metric or out.plot for out in stage.outs):
                self.repo.stage_cache.save(stage)
            for out in stage.outs:
                out.commit()
            entries[stage.addressing] = _plain(to_single_stage_lockfile(stage))
        if entries:
            add_entries(self.root / "dvc.lock", entries, order)
        for name in entries:
            (self.folder / "receipts" / f"{name.replace('/', '_')}.json").unlink(missing_ok=True)
        return moved


def _plain(value: Any) -> Any:
    """Only dicts, lists and numbers: DVC's writer marks shared objects with anchors."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
