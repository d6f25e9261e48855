"""The workspace as DVC knows it: which stages are stale, what its cache has, what to commit.

Only DVC's lock is held here, never while something trains. A stage's `key` is the hash of its
command, parameters and dependencies. A record counts as made from a key only if a receipt says so:
its configuration could be equal and the trainer's code another.
"""

import hashlib
import json
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.rwlock import rwlock
from dvc.stage.cache import _can_hash
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.strictyaml import YAMLSyntaxError

from pipeline.errors import PipelineError, TryAgain, near_matches
from pipeline.files import sha256
from pipeline.sweeping.jobs import Job
from pipeline.sweeping.lockfile import add_entries, mend_rwlock, not_whole

Stage = Any  # dvc.stage.PipelineStage; DVC has no types for others


class Project:
    """A DVC workspace. Methods that read or write what DVC manages are called inside `locked`."""

    def __init__(self, root: Path) -> None:
        logging.getLogger("dvc").setLevel(
            logging.ERROR
        )  # its progress and warnings, not its faults
        with one_line():
            self.repo = Repo(str(root))
        self.root = Path(self.repo.root_dir)
        self.folder = Path(str(self.repo.tmp_dir)) / "sweep"
        self._hashes: dict[str, Any] = {}

    @contextmanager
    def locked(self, patience_seconds: float) -> Iterator[None]:
        """DVC's own lock; `TryAgain` if another DVC keeps it longer than that."""
        until = time.monotonic() + patience_seconds
        while True:
            try:
                self.repo.lock.lock()
                break
            except LockError:
                if time.monotonic() > until:
                    raise TryAgain("another DVC command holds this workspace: let it end") from None
        try:
            with one_line(), self.repo.scm_context:
                yield
        finally:
            self.repo.lock.unlock()

    def collect(self, targets: Iterable[str]) -> tuple[list[Stage], dict[str, set[str]]]:
        """The targets and all they need, what is needed first; and the needs of each by name."""
        with one_line():
            graph = get_active_graph(self.repo.index.graph)
        found: list[Stage] = []
        for target in targets:
            try:
                found.extend(self.repo.stage.collect(target))
            except DvcException as error:
                names = {each.addressing for each in graph}
                known = names | {name.partition("@")[0] for name in names}
                raise PipelineError(f"{_first(error)} {near_matches(target, known)}") from None
        stages = plan_repro(graph, list(dict.fromkeys(found)))
        needs = {
            each.addressing: {up.addressing for up in graph.successors(each)} for each in stages
        }
        return stages, needs

    @contextmanager
    def busy(self, stages: list[Stage]) -> Iterator[None]:
        """Tell other DVC commands that these stages are being made, until the block ends."""
        rwlock_file = Path(str(self.repo.tmp_dir)) / "rwlock"
        if mend_rwlock(rwlock_file):
            print(f"{rwlock_file}: removed, a killed process left half of it", file=sys.stderr)
        reads = sorted({dep.fs_path for stage in stages for dep in stage.deps})
        writes = sorted({out.fs_path for stage in stages for out in stage.outs})
        with ExitStack() as stack:
            try:
                arguments = (self.repo.tmp_dir, self.repo.fs, " ".join(sys.argv), reads, writes)
                stack.enter_context(rwlock(*arguments, False))
            except LockError as error:
                raise TryAgain(f"another DVC command is at work here: {_first(error)}") from None
            yield

    def inputs_changed(self, stage: Stage) -> bool:
        """Are command, parameters or dependencies other than dvc.lock says? Asked once a stage.

        Dependencies that stages share are hashed once, until `forget`.
        """
        changed = bool(stage.always_changed or stage.changed_stage())
        for dep in stage.deps:
            if isinstance(dep, ParamsDependency):
                self._read_once(dep)
                changed = bool(dep.workspace_status()) or changed
                dep.save()
                continue
            known = dep.hash_info
            self._save_once(dep)
            changed = known != dep.hash_info or changed
        return changed and not stage.frozen

    def outs_changed(self, stage: Stage) -> bool:
        """Are outputs missing, or other than dvc.lock says?"""
        return any(out.workspace_status() for out in stage.outs)

    def job(self, stage: Stage) -> Job:
        """How to make the stage, as its inputs are now (after `inputs_changed`)."""
        name = stage.addressing
        plain = name.replace("/", "_")
        return Job(
            name=name,
            command=stage.cmd,
            key=self.key(stage),
            deps=tuple(dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency)),
            outs=tuple(out.def_path for out in stage.outs),
            root=self.root,
            log=self.folder / "logs" / f"{plain}.log",
            receipt=self.folder / "receipts" / f"{plain}.json",
        )

    def key(self, stage: Stage) -> str:
        """The hash of the stage's command, parameters and dependencies, as last hashed."""
        inputs = [[dep.def_path, dep.hash_info.value] for dep in stage.deps]
        text = json.dumps([stage.cmd, sorted(inputs, key=str)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

    def is_made(self, job: Job) -> bool:
        """Are the outputs there, made from this very key, and only not committed?"""
        try:
            receipt = json.loads(job.receipt.read_text(encoding="utf-8"))
            hashes = {out: sha256(self.root / out) for out in job.outs}
        except (OSError, ValueError):
            return False
        return bool(receipt == {"key": job.key, "outs": hashes})

    def cached(self, stage: Stage, inputs_changed: bool) -> Stage | None:
        """The stage as DVC's cache has it for these inputs, if it has; see `restore`."""
        runs = self.repo.stage_cache
        if not _can_hash(stage):
            return None
        if not inputs_changed and all(out.hash_info for out in stage.outs):
            entry = to_single_stage_lockfile(stage)
        else:
            entry = runs._load(stage)
        version = entry and runs._create_stage(entry, wdir=stage.wdir)
        return version if version and version.outs_cached() else None

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
        keys = {stage.addressing: self.key(stage) for stage in stages}
        self.forget()
        moved, entries = [], {}
        for stage in stages:
            self.inputs_changed(stage)
            if self.key(stage) != keys[stage.addressing]:
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

    def forget(self) -> None:
        """Hash dependencies anew from now on: something may have changed them."""
        self._hashes.clear()

    def _read_once(self, dep: Any) -> None:
        """Let `dep` share what is read of its YAML file: DVC parses it six times for each stage."""
        read, hashes = type(dep).read_params, self._hashes

        def read_params(flatten: bool = True, **options: Any) -> dict[str, Any]:
            key = f"{dep.fs_path} {dep.params} {flatten} {options}"
            if key not in hashes:
                hashes[key] = read(dep, flatten, **options)
            return dict(hashes[key])

        dep.read_params = read_params

    def _save_once(self, dep: Any) -> None:
        if dep.fs_path in self._hashes:
            dep.hash_info, dep.meta, dep.obj = self._hashes[dep.fs_path]
        else:
            dep.save()
            self._hashes[dep.fs_path] = dep.hash_info, dep.meta, dep.obj


@contextmanager
def one_line() -> Iterator[None]:
    """DVC's own errors as ours."""
    try:
        yield
    except YAMLSyntaxError as error:
        name = Path(error.path).name
        raise (
            not_whole(Path(name))
            if name == "dvc.lock"
            else PipelineError(f"{name}: not YAML: {_first(error.exc.__cause__ or error)}")
        ) from None
    except DvcException as error:
        raise PipelineError(f"DVC: {_first(error)}") from None


def _first(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))


def _plain(value: Any) -> Any:
    """Only dicts, lists and numbers: DVC's writer marks shared objects with anchors."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value
