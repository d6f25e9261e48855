"""Files that travel through Ray's object store: put there once, written once on each host.

A parcel is named by the hash of its content. A host keeps it in a folder of that name, which is
whole or not there at all, and links each run to it: all runs of a host map the same pages. Ray
brings this module to hosts by value, so it imports nothing of the project, and Ray itself late:
what `ray_cluster.join` sets must be set by then.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

PIECE_BYTES = 64 * 2**20
LEFT_OUT = ("__pycache__", "*.pyc", ".*.lock", ".*.writing-*")  # as in .dvcignore
State = tuple[tuple[str, int, int], ...]  # of each file: path, bytes, time of the last change


@dataclass(frozen=True)
class Parcel:
    """Files with their sizes, and their bytes end to end as objects in Ray's store."""

    digest: str
    files: tuple[tuple[str, int], ...]
    pieces: tuple[Any, ...]


class Parcels:
    """The sweep's side: packs what changed, remembers the rest."""

    def __init__(self) -> None:
        self._packed: dict[tuple[Path, ...], tuple[State, Parcel]] = {}

    def of(self, root: Path, *names: str) -> Parcel:
        """These files and folders of `root`, each file under its path there."""
        key = tuple(root / name for name in names)
        files = [file for path in key for file in _files(path)]
        state = tuple((str(file), file.stat().st_size, file.stat().st_mtime_ns) for file in files)
        known = self._packed.get(key)
        if known is None or known[0] != state:
            self._packed[key] = known = (state, _pack(root, files))
        return known[1]


def unpack(parcel: Parcel, store: Path) -> Path:
    """The host's side: the parcel's folder in `store`, written unless it is there."""
    import ray

    folder = store / parcel.digest
    store.mkdir(parents=True, exist_ok=True)
    with _alone(store / f"{parcel.digest}.lock"):
        if folder.is_dir():
            os.utime(folder)  # in use: see `forget_unused`
            return folder
        beside = store / f"{parcel.digest}.writing"
        shutil.rmtree(beside, ignore_errors=True)  # of a killed host
        digest = _start_digest(parcel.files)
        pieces = _Stream(ray.get(piece) for piece in parcel.pieces)
        for name, size in parcel.files:
            path = beside / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for part in pieces.read(size):
                    digest.update(part)
                    file.write(part)
                file.flush()
                os.fsync(file.fileno())
        if digest.hexdigest() != parcel.digest:
            raise OSError(f"{beside}: came other than it was sent")
        beside.rename(folder)
    return folder


def forget_unused(store: Path, before: float) -> None:
    """Remove parcels that no run was linked to since `before` (seconds since the epoch)."""
    for folder in store.glob("?" * 64):
        if folder.stat().st_mtime < before:
            shutil.rmtree(folder, ignore_errors=True)


def _files(path: Path) -> list[Path]:
    """The file, or all files below the folder but those that are nobody's input."""
    if path.is_file():
        return [path]
    found = [
        file
        for file in sorted(path.rglob("*"))
        if file.is_file()
        and not any(fnmatch(p, each) for p in file.relative_to(path).parts for each in LEFT_OUT)
    ]
    if not found:
        raise FileNotFoundError(f"{path}: nothing here to send to a host")
    return found


def _pack(root: Path, files: list[Path]) -> Parcel:
    import ray

    sizes = tuple((file.relative_to(root).as_posix(), file.stat().st_size) for file in files)
    digest = _start_digest(sizes)
    pieces, piece = [], bytearray()
    for file in files:
        with file.open("rb") as stream:
            while block := stream.read(PIECE_BYTES - len(piece)):
                digest.update(block)
                piece += block
                if len(piece) == PIECE_BYTES:
                    pieces.append(ray.put(bytes(piece)))
                    piece.clear()
    if piece:
        pieces.append(ray.put(bytes(piece)))
    return Parcel(digest.hexdigest(), sizes, tuple(pieces))


def _start_digest(files: tuple[tuple[str, int], ...]) -> Any:
    return hashlib.sha256(json.dumps(files).encode())


class _Stream:
    """Pieces as one run of bytes."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")

    def read(self, size: int) -> Iterator[memoryview]:
        while size:
            if not self._rest:
                self._rest = memoryview(next(self._pieces))
            part, self._rest = self._rest[:size], self._rest[size:]
            size -= len(part)
            yield part


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Several processes of a host may want the same parcel: one writes it."""
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
