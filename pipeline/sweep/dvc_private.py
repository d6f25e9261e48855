"""The functions of DVC that this project calls, here and in `dvc_loading`. None of them is public.

They were tested with DVC 3.67.1, and pyproject.toml allows no other. tests/test_dvc_private.py
fails where one of them is gone or takes other arguments. To move to a newer DVC, change PROVED and
pyproject.toml, then run that test and those of the sweep.
"""

import hashlib
import json
import logging
import os
import sys
import time
from collections.abc import Callable, Container, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dvc.dependency import ParamsDependency
from dvc.exceptions import CollectCacheError, DvcException
from dvc.fs import get_cloud_fs
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.rwlock import rwlock
from dvc.stage.cache import _can_hash, _get_cache_hash
from dvc.stage.serialize import to_single_stage_lockfile
from dvc.utils.serialize import YAMLFileCorruptedError, dumps_yaml, parse_yaml_for_update
from dvc.utils.strictyaml import YAMLSyntaxError, YAMLValidationError

from pipeline.core.errors import PipelineError, TryAgain, first_line, near_matches
from pipeline.sweep.dvc_loading import loading_stages

__all__ = ["YAMLFileCorruptedError", "dumps_yaml", "parse_yaml_for_update"]
PROVED = "3.67.1"
PATIENCE_SECONDS = 600.0  # for another DVC command that holds the workspace
MOST_CHARACTERS = 500  # of what DVC says of an error
PROGRESS_BARS = ("dvc.progress", "dvc_data.callbacks")
Stage = Any  # dvc.stage.PipelineStage; DVC has no types for others
Entry = dict[str, Any]  # what dvc.lock says of a stage: cmd, deps, params, outs


class Workspace:
    """A folder with DVC in it. Only DVC's lock is held here, never while something trains."""

    def __init__(self, root: Path) -> None:
        logging.getLogger("dvc").setLevel(logging.ERROR)
        for name in PROGRESS_BARS:  # a terminal is the view's alone
            logging.getLogger(name).setLevel(logging.CRITICAL)
        with one_line():
            self.repo = Repo(str(root))
        self.root = Path(self.repo.root_dir)
        self.folder = Path(str(self.repo.tmp_dir)) / "sweep"

    @contextmanager
    def locked(self, patience_seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
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
        with one_line(), loading_stages():
            graph = get_active_graph(self.repo.index.graph)
        named: dict[str, list[Stage]] = {}
        for each in graph:
            for name in {each.addressing, each.addressing.partition("@")[0]}:
                named.setdefault(name, []).append(each)
        found: list[Stage] = []
        for target in targets:
            try:  # DVC's own collect loads every stage once more
                of_target = named.get(target) or self.repo.stage.collect(target)
            except DvcException as error:
                raise PipelineError(f"{first_line(error)}: {near_matches(target, named)}") from None
            if not of_target:  # DVC would take that for all stages
                raise PipelineError(f"{target}: nothing to do: its list in params.yaml is empty")
            found.extend(of_target)
        stages = plan_repro(graph, list(dict.fromkeys(found)))
        needs = {
            each.addressing: {up.addressing for up in graph.successors(each)} for each in stages
        }
        return stages, needs

    def files_of(self, folder_hash: str) -> dict[str, str] | None:
        """The MD5 of each file of a folder that DVC's cache has the list of; else None."""
        path = Path(self.repo.cache.local.oid_to_path(folder_hash))
        try:
            return _files(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return None

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
                raise TryAgain(
                    f"another DVC command is at work here: {first_line(error)}"
                ) from None
            yield

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

    def pull_run_cache(self) -> None:
        """Which outputs belong to which inputs, as the DVC remote knows; not the outputs."""
        if not self.repo.config["core"].get("remote"):
            raise PipelineError(
                "--pull: this repository has no default DVC remote to take runs from: name one "
                "with `dvc remote add --default NAME URL`, or leave --pull out"
            )
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

    def commit_outs(self, stage: Stage, text_of: Callable[[Entry], str]) -> Entry:
        """Commit the stage's outputs to DVC's caches; its part of dvc.lock, YAML by `text_of`."""
        stage.save_outs()
        entry: Entry = to_single_stage_lockfile(stage)
        if _can_hash(stage) and all(out.use_cache or out.metric or out.plot for out in stage.outs):
            self._remember(stage, entry, text_of)
        for out in stage.outs:
            out.commit()
        return entry

    def _remember(self, stage: Stage, entry: Entry, text_of: Callable[[Entry], str]) -> None:
        """Put it into the run-cache, as `StageCache.save` does."""
        runs, cache = self.repo.stage_cache, self.repo.cache.legacy
        value = _get_cache_hash(entry)
        path = Path(runs._get_cache_path(_get_cache_hash(dict(entry), key=True), value))
        if path.exists() or not all(out.use_cache for out in stage.outs):
            runs.save(stage)  # which replaces what is no YAML, and caches what is not otherwise
            return
        cache.makedirs(str(path.parent))
        temporary = path.with_name(f".{value}.{os.getpid()}.tmp")
        temporary.write_text(text_of(entry), encoding="utf-8")
        cache.move(str(temporary), str(path))


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
            else PipelineError(f"{name}: not YAML: {_whole(error.exc.__cause__ or error)}")
        ) from None
    except DvcException as error:
        if isinstance(error, YAMLValidationError) and Path(error.path).name == "dvc.lock":
            raise not_whole(Path("dvc.lock")) from None
        raise PipelineError(f"DVC: {_whole(error)}") from None


def _whole(error: BaseException) -> str:
    """All that DVC says in one line: its first line often ends before the reason."""
    return " ".join(str(error).split())[:MOST_CHARACTERS] or repr(error)


def name_of(stage: Stage) -> str:
    """As dvc.yaml and dvc.lock name it: `finetune@digits-...`."""
    return str(stage.addressing)


def command_of(stage: Stage) -> str:
    """The stage's command; of several, which DVC runs one after the other, a line each."""
    return stage.cmd if isinstance(stage.cmd, str) else "\n".join(stage.cmd)


def deps_of(stage: Stage) -> tuple[str, ...]:
    """Its dependencies but for the parameters, as dvc.yaml writes them."""
    return tuple(dep.def_path for dep in stage.deps if not isinstance(dep, ParamsDependency))


def outs_of(stage: Stage) -> tuple[str, ...]:
    return tuple(out.def_path for out in stage.outs)


def inputs_of(stage: Stage) -> set[str]:
    """The paths of its dependencies and of the files of its parameters."""
    return {dep.fs_path for dep in stage.deps}


def folders_of(stage: Stage, known: Container[str]) -> dict[str, dict[str, str]]:
    """The MD5 of each file of the folders that it depends on, by DVC's hash, as last hashed.

    Without the `known` hashes: listing thousands of files for each cell would cost more than it.
    """
    trees = {str(dep.hash_info.value): dep.obj for dep in stage.deps if dep.obj is not None}
    new = {value: tree for value, tree in trees.items() if value not in known}
    return {value: _files(tree.as_list()) for value, tree in new.items() if value.endswith(".dir")}


def _files(listed: Iterable[dict[str, str]]) -> dict[str, str]:
    """The MD5 of each file, by its path, of DVC's list of a folder's files."""
    return {each["relpath"]: each["md5"] for each in listed}


def remote_at(url: str) -> tuple[Any, str]:
    """The file system of a DVC remote, and its root there; `ValueError` where it is none."""
    try:
        kind, settings, root = get_cloud_fs({}, url=url)
        return kind(**settings), root
    except ImportError:
        package = f"dvc[{url.partition('://')[0]}]=={PROVED}"
        needs = f"needs a package that is not installed: pip install '{package}'"
        raise ValueError(needs) from None
    except DvcException as error:
        raise ValueError(f"not a DVC remote: {error}") from None


def missing_inputs(stage: Stage) -> list[str]:
    return [dep.def_path for dep in stage.deps if not dep.exists]


def changed_inputs(stage: Stage) -> set[str]:
    """The dependencies and files of parameters that are other than dvc.lock says."""
    return {dep.def_path for dep in stage.deps if dep.workspace_status()}


def md5_of(content: bytes) -> str:
    """What DVC calls a file with this content."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def changed_outs(stage: Stage) -> dict[str, str]:
    """The outputs that are not as dvc.lock says, and how: deleted, modified, new."""
    return {out.def_path: how for out in stage.outs for how in out.workspace_status().values()}


def command_changed(stage: Stage) -> bool:
    """Has dvc.yaml another command than dvc.lock? False of a stage that dvc.lock does not know."""
    return bool(stage.cmd_changed)


def remove_outs(stage: Stage) -> None:
    """As DVC does before it runs a stage."""
    for out in stage.outs:
        if out.persist:
            out.unprotect()
        else:
            out.remove(ignore_remove=False)


def restore(stage: Stage, version: Stage) -> None:
    """Put the outputs into the workspace from DVC's cache."""
    remove_outs(stage)
    version.checkout()


def is_cached(version: Stage) -> bool:
    """Does DVC's cache have all outputs of this version of a stage?"""
    return bool(version.outs_cached())


@dataclass(frozen=True)
class Difference:
    """An input that is other than dvc.lock says.

    `before` and `now` are hashes, of parameters the values by their dotted keys; `before` is None
    where dvc.lock knows nothing of it. `tree` has the files of a folder as they are now.
    """

    path: str
    before: Any
    now: Any
    tree: Any = None

    @property
    def files_now(self) -> dict[str, str] | None:
        """The MD5 of each file of a folder; None of a file."""
        if not str(self.now).endswith(".dir") or self.tree is None:
            return None
        return _files(self.tree.as_list())


class Inputs:
    """The inputs of stages as they are now; `forget` when something may have changed them."""

    def __init__(self) -> None:
        self._hashes: dict[str, Any] = {}
        self.differences: dict[str, list[Difference]] = {}  # by stage, as last looked at

    def changed(self, stage: Stage) -> bool:
        """Are command, parameters or dependencies other than dvc.lock says? Asked once a stage.

        Dependencies that stages share are hashed once, until `forget`.
        """
        changed = bool(stage.always_changed or stage.changed_stage())
        different = self.differences[name_of(stage)] = []
        for dep in stage.deps:
            before = dep.hash_info.value
            if isinstance(dep, ParamsDependency):
                self._read_once(dep)
                differs = bool(dep.workspace_status())
                dep.save()
            else:
                known = dep.hash_info
                self._save_once(dep)
                differs = known != dep.hash_info
            if differs:
                changed = True
                different.append(Difference(dep.def_path, before, dep.hash_info.value, dep.obj))
        return changed and not stage.frozen

    def key(self, stage: Stage) -> str:
        """The hash of the stage's command, parameters and dependencies, as last hashed."""
        inputs = [[dep.def_path, dep.hash_info.value] for dep in stage.deps]
        text = json.dumps([stage.cmd, sorted(inputs, key=str)], sort_keys=True, default=str)
        return hashlib.sha256(text.encode()).hexdigest()

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
            dep.hash_name, dep.hash_info, dep.meta, dep.obj = self._hashes[dep.fs_path]
        else:
            dep.save()
            self._hashes[dep.fs_path] = dep.hash_name, dep.hash_info, dep.meta, dep.obj
        dep.get_hash = lambda: dep.hash_info  # DVC's run-cache would hash it again


def not_whole(path: Path) -> PipelineError:
    return PipelineError(
        f"{path}: not whole, as DVC leaves it when it is killed while writing: `git checkout "
        f"{path.name}`, or delete it and sweep again: the run-cache has what is done"
    )


def mend_rwlock(path: Path) -> bool:
    """Remove DVC's list of busy paths if a killed process left half of it; was it so?"""
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except ValueError:
        path.unlink()
        return True
    return False
