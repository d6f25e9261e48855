"""What the workspace looked like when a sweep found or made everything up to date.

While no file has another time, size or inode since, the next sweep has nothing to do and need not
even load DVC, which trusts the same three. What is looked at: every input and output of the stages,
all code, and every file by which DVC or git could mean something else (dvc.yaml, *.dvc, .dvcignore,
DVC's configuration). A snapshot is kept only where all this stayed the same from before the first
look to the end; what the sweep itself wrote must be as it was right after it was committed.

Nothing is imported here that a sweep has not loaded for its options: that is the point.
"""

import hashlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.core.files import write_text

FILE = ".dvc/tmp/sweep/up_to_date.json"
FORMAT = 1
OF_DVC = ("dvc.yaml", "dvc.lock", ".dvcignore")
OWN = ("pipeline", "params.yaml", ".dvc/config", ".dvc/config.local")
NOT_INPUTS = ("__pycache__",)  # as .dvcignore has it; a changed .dvcignore is a change
PASSED = (".git", ".dvc", ".venv", "__pycache__", "node_modules")
CLOCK_TICK_NS = 20_000_000  # a file written later than this after another has a later time


class Snapshot:
    """Built while a sweep runs: `watch` before the first look at a file, `wrote` after a write."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._seen = {path: signature(root / path) for path in own_files(root)}

    def watch(self, paths: Iterable[str]) -> None:
        """Remember how these look, before anything is read of them."""
        for path in {os.path.relpath(self.root / each, self.root) for each in paths}:
            if path not in self._seen:
                self._seen[path] = signature(self.root / path)

    def first(self, path: str) -> str:
        """The signature of one of the project's own files before anything was read of it."""
        return self._seen[path]

    def wrote(self, paths: Iterable[str]) -> None:
        """What the sweep has just written and verified."""
        for each in paths:
            path = os.path.relpath(self.root / each, self.root)
            self._seen[path] = signature(self.root / path)

    def keep(self, targets: Sequence[str], n_stages: int) -> None:
        """Write it, if everything still looks as remembered; else there is none."""
        _wait_a_tick()
        same = set(own_files(self.root)) <= set(self._seen) and _same(self.root, self._seen)
        path = self.root / FILE
        if not same:
            path.unlink(missing_ok=True)
            return
        content = {"format": FORMAT, "targets": list(targets), "stages": n_stages}
        write_text(path, json.dumps({**content, "files": self._seen}))


def nothing_to_do(root: Path, targets: Sequence[str]) -> int | None:
    """How many stages are up to date as nothing has changed since; None if that is not known."""
    try:
        kept: dict[str, Any] = json.loads((root / FILE).read_text(encoding="utf-8"))
        if (kept["format"], kept["targets"]) != (FORMAT, list(targets)):
            return None
        files: dict[str, str] = kept["files"]
        if not set(own_files(root)) <= set(files) or not _same(root, files):
            return None
        return int(kept["stages"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def signature(path: Path) -> str:
    """Time, size and inode of a file; of a folder the hash of those of all that is in it."""
    try:
        found = path.stat()
    except OSError:
        return "missing"
    if not path.is_dir():
        return _of(found)
    digest = hashlib.sha256()
    for line in sorted(_below(str(path), "")):
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def own_files(root: Path) -> list[str]:
    """The project's own code and configuration, and all files that tell DVC what there is."""
    found = list(OWN)
    for place, folders, names in os.walk(root):
        folders[:] = [each for each in folders if each not in PASSED]
        for name in names:
            if name in OF_DVC or name.endswith(".dvc"):
                found.append(os.path.relpath(os.path.join(place, name), root))  # noqa: PTH118
    return found


def _same(root: Path, files: Mapping[str, str]) -> bool:
    return all(signature(root / path) == known for path, known in files.items())


def _below(folder: str, inside: str) -> Iterator[str]:
    """A line for each file below; links to folders are not followed, as DVC does not watch them."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name in NOT_INPUTS:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield f"{inside}{entry.name}/\0"
                yield from _below(entry.path, f"{inside}{entry.name}/")
                continue
            try:
                found = _of(entry.stat())
            except OSError:
                found = "broken link"
            yield f"{inside}{entry.name}\0{found}\0"


def _of(found: os.stat_result) -> str:
    return f"{found.st_mtime_ns} {found.st_size} {found.st_ino}"


def _wait_a_tick() -> None:
    """So that what is written after the last look has another time than what was looked at."""
    time.sleep(CLOCK_TICK_NS / 1e9)
