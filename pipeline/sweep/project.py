"""The study's stages in DVC: what is done, what DVC's caches have, and the entries in dvc.lock.

A record counts as made from a stage's inputs only if a receipt says so: its configuration could be
equal and the trainer's code another.

DVC parses and writes all of dvc.lock after each stage, in place: at hundreds of stages that is most
of its time, and a kill in the middle leaves half a file. Here each stage's lines are kept as text,
new ones are made by DVC's own writer, and the result takes the file's place in one step.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml, sha256, write_json, write_text
from pipeline.study.params import RUNS, Cell, read_study, threads_of
from pipeline.sweep.dvc_private import (
    Inputs,
    Stage,
    Workspace,
    command_of,
    deps_of,
    dumps_yaml,
    folders_of,
    is_cached,
    name_of,
    not_whole,
    outs_of,
)
from pipeline.sweep.jobs import Job
from pipeline.sweep.snapshot import Snapshot

HEAD = ["schema: '2.0'", "stages:"]
Entry = dict[str, Any]
BENCHMARK = "benchmark@"


class Project(Workspace):
    """A workspace of whose stages one can ask, and commit, inside `locked`."""

    def __init__(self, root: Path, snapshot: Snapshot | None = None) -> None:
        super().__init__(root)
        self.inputs = Inputs()
        self._noted: set[str] = set()  # hashes of folders
        self._snapshot = snapshot  # of a sweep, which commits
        params = self.root / "params.yaml"
        self._cells = {cell.path(RUNS).as_posix(): cell for cell in read_study(params).cells()}
        self._threads = threads_of(read_yaml(params))

    @property
    def cells(self) -> list[Cell]:
        """Every cell of the study."""
        return list(self._cells.values())

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

    def noted(self, folder_hash: str) -> Path:
        """Where a sweep keeps the list of files of a folder that stages depend on."""
        return self.folder / "folders" / f"{folder_hash}.json"

    def noted_files(self, folder_hash: str) -> dict[str, str] | None:
        """The MD5 of each file of such a folder; None where no sweep has committed with it."""
        try:
            files: dict[str, str] = json.loads(self.noted(folder_hash).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return files

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
            if self._snapshot is not None:
                self._snapshot.wrote(outs_of(stage))
            self._note_files(stage)
        if entries:
            add_entries(self.root / "dvc.lock", entries, order)
            if self._snapshot is not None:
                self._snapshot.wrote(["dvc.lock"])
        for name in entries:
            (self.folder / "receipts" / f"{name.replace('/', '_')}.json").unlink(missing_ok=True)
        return moved

    def _note_files(self, stage: Stage) -> None:
        """Keep the list of files of each folder that the stage depends on, by the folder's hash."""
        for value, files in folders_of(stage, self._noted).items():
            if not self.noted(value).exists():
                write_json(self.noted(value), files)
            self._noted.add(value)


def add_entries(path: Path, entries: dict[str, Entry], order: list[str]) -> None:
    """Put `entries` (stage: what dvc.lock says of it) into the file `path`.

    A stage that is new there goes behind the one that comes before it in `order`: the file is the
    same, in whatever order runs end.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    old = split_stages(path, text)
    new = {
        name: dumps_yaml({"stages": {name: entry}}).splitlines()[1:]
        for name, entry in entries.items()
    }
    both = old | new
    lines = [line for name in merged(list(old), new, order) for line in both[name]]
    if (whole := "\n".join([*HEAD, *lines]) + "\n") != text:
        write_text(path, whole)


def merged(present: list[str], new: Iterable[str], order: list[str]) -> list[str]:
    """`present` as it stands, with each of `new` behind its nearest predecessor in `order`."""
    there, missing = set(present), set(new) - set(present)
    behind: dict[str | None, list[str]] = {}
    place = None
    for name in order:
        if name in there:
            place = name
        elif name in missing:
            behind.setdefault(place, []).append(name)
    known = set(order)
    first = next((name for name in present if name in known), None)
    names: list[str] = []
    for name in present:
        names += [*(behind.get(None, []) if name == first else []), name, *behind.get(name, [])]
    return names if first is not None else [*names, *behind.get(None, [])]


def split_stages(path: Path, text: str) -> dict[str, list[str]]:
    """The lines of each stage in dvc.lock's text; the text of a killed DVC is refused."""
    try:
        value = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
        stages = dict(value.get("stages") or {})
    except (yaml.YAMLError, AttributeError, ValueError):
        raise not_whole(path) from None
    if unknown := set(value) - {"schema", "stages"}:
        raise PipelineError(f"{path}: has {', '.join(sorted(unknown))}, which a sweep cannot keep")
    lines = text.splitlines()
    starts = [
        number
        for number, line in enumerate(lines)
        if number >= len(HEAD) and line.startswith("  ") and not line.startswith("   ")
    ]
    if lines[: len(HEAD)] == HEAD and len(starts) == len(stages):
        ends = [*starts[1:], len(lines)]
        blocks = [lines[start:end] for start, end in zip(starts, ends, strict=True)]
        return dict(zip(stages, blocks, strict=True))
    return {
        name: dumps_yaml({"stages": {name: entry}}).splitlines()[1:]
        for name, entry in stages.items()
    }
