"""The workspace as DVC knows it: its stages and what each needs, its lock and its busy paths."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException
from dvc.lock import LockError
from dvc.repo import Repo
from dvc.repo.reproduce import get_active_graph, plan_repro
from dvc.rwlock import rwlock
from dvc.utils.strictyaml import YAMLSyntaxError

from pipeline.core.errors import PipelineError, TryAgain, near_matches
from pipeline.sweeping.lockfile import mend_rwlock, not_whole

PROGRESS_BARS = ("dvc.progress", "dvc_data.callbacks")
Stage = Any  # dvc.stage.PipelineStage; DVC has no types for others


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
        named: dict[str, list[Stage]] = {}
        for each in graph:
            for name in {each.addressing, each.addressing.partition("@")[0]}:
                named.setdefault(name, []).append(each)
        found: list[Stage] = []
        for target in targets:
            try:  # DVC's own collect loads every stage once more
                found.extend(named.get(target) or self.repo.stage.collect(target))
            except DvcException as error:
                raise PipelineError(f"{first_line(error)} {near_matches(target, named)}") from None
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
                raise TryAgain(
                    f"another DVC command is at work here: {first_line(error)}"
                ) from None
            yield


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
            else PipelineError(f"{name}: not YAML: {first_line(error.exc.__cause__ or error)}")
        ) from None
    except DvcException as error:
        raise PipelineError(f"DVC: {first_line(error)}") from None


def command_of(stage: Stage) -> str:
    """The stage's command; of several, which DVC runs one after the other, a line each."""
    return stage.cmd if isinstance(stage.cmd, str) else "\n".join(stage.cmd)


def first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
