"""A host of the cluster: the actor that the sweep has on each, and the files that travel to it.

Ray brings this module by value, so it imports nothing of the project, and Ray itself late: what
`ray_engine.join` sets must be set by then. The actor unpacks the project's code as the sweep has it
and starts `pipeline.sweep.host` there. Each run has a folder of its own with links to the code and
to its inputs; its outputs go back as values, its folder goes.

Files are put into Ray's object store once and written once on each host. A parcel is named by the
hash of its content. A host keeps it in a folder of that name, which is whole or not there at all,
and links each run to it: all runs of a host map the same pages.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

HEAR_SECONDS = 1.0
KEEP_SECONDS = 7 * 24 * 3600.0  # what no run used for so long is removed
LOG_BYTES = 2**20  # of one run's log in one answer
FOLDER = "WB_HOST_FOLDER"  # set before `ray start`: where this host keeps what it is sent
PIECE_BYTES = 64 * 2**20
LEFT_OUT = ("__pycache__", "*.pyc", ".*.lock", ".*.writing-*")  # as in .dvcignore
State = tuple[tuple[str, int, int], ...]  # of each file: path, bytes, time of the last change


@dataclass(frozen=True)
class Parcel:
    """Files with their sizes, and their bytes end to end as objects in Ray's store."""

    digest: str
    files: tuple[tuple[str, int], ...]
    pieces: tuple[Any, ...]


Inputs = dict[str, tuple[Parcel, str]]  # path in the run's folder: a parcel, and the path in it


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


class Host:
    """Runs jobs on this host. Ray calls `start` and `poll` on two threads, each once at a time."""

    def __init__(self, code: Parcel, settings: dict[str, Any], variables: dict[str, str]) -> None:
        folder = _folder()
        self._store, self._runs = folder / "store", folder / "runs" / str(os.getpid())
        self._jobs: dict[str, dict[str, Any]] = {}
        self._read: dict[str, int] = {}  # bytes of each run's log that went out
        self._stopping = False
        _remove_dead(self._runs.parent)
        self._runs.mkdir(parents=True)
        forget_unused(self._store, time.time() - KEEP_SECONDS)
        self._code = unpack(code, self._store)
        self._connection, theirs = Pipe()
        with (self._runs / "host.log").open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pipeline.sweep.host", str(theirs.fileno())],
                cwd=self._code,
                env=environment(os.environ, variables),
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        theirs.close()
        self._connection.send(settings)
        self._places = self._receive()

    def start(self, job: dict[str, Any], inputs: Inputs, files: dict[str, str]) -> None:
        """Begin a job, with these inputs and these small files in its folder."""
        root = Path(tempfile.mkdtemp(dir=self._runs))
        links = {each.name: each for each in self._code.iterdir()}
        for path, (parcel, name) in inputs.items():
            links[path] = unpack(parcel, self._store) / name
        for path, target in links.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).symlink_to(target)
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text, encoding="utf-8")
        places = {"root": root, "log": root / "run.log", "receipt": root / "receipt.json"}
        self._read[job["name"]], self._jobs[job["name"]] = 0, job | places
        self._connection.send(job | places)

    def poll(self) -> dict[str, Any]:
        """Comes back after a second, or when a run ended.

        `places` for runs; `logs`: what each run printed since; `progress`: what each has reported;
        `ended`: name, exit code, reason, and the outputs' bytes by path.
        """
        ends = []
        seconds = HEAR_SECONDS
        while self._connection.poll(seconds) and not self._stopping:
            ends.append(self._receive())
            seconds = 0
        logs = {name: self._printed(name) for name in list(self._jobs)}
        progress = {name: self._reported(name) for name in list(self._jobs)}
        ended = [(*end, self._outs(end[0])) for end in ends]
        for name, *_ in ends:
            logs[name] += self._printed(name)
            shutil.rmtree(self._jobs.pop(name)["root"], ignore_errors=True)
        return {"places": self._places, "logs": logs, "progress": progress, "ended": ended}

    def stop(self) -> None:
        """End all runs; comes back when they are gone."""
        self._stopping = True
        self._connection.send(None)
        self._process.wait()
        shutil.rmtree(self._runs, ignore_errors=True)

    def _receive(self) -> Any:
        try:
            return self._connection.recv()
        except (EOFError, OSError):
            said = (self._runs / "host.log").read_text("utf-8", "replace").strip().splitlines()
            code = self._process.wait()
            reason = said[-1] if said else "it printed nothing"
            raise RuntimeError(f"the runs' process ended with code {code}: {reason}") from None

    def _printed(self, name: str) -> bytes:
        try:
            with self._jobs[name]["log"].open("rb") as log:
                log.seek(self._read[name])
                text: bytes = log.read(LOG_BYTES)
        except FileNotFoundError:  # it has not begun
            return b""
        self._read[name] += len(text)
        return text

    def _reported(self, name: str) -> bytes:
        path = self._jobs[name]["log"].with_suffix(".progress")
        return path.read_bytes() if path.exists() else b""

    def _outs(self, name: str) -> dict[str, bytes]:
        root, outs = self._jobs[name]["root"], self._jobs[name]["outs"]
        return {out: (root / out).read_bytes() for out in outs if (root / out).is_file()}


def environment(here: Mapping[str, str], variables: dict[str, str]) -> dict[str, str]:
    """The host's own variables without what Ray set for its workers, and the sweep's few."""
    ours = {key: value for key, value in here.items() if not key.startswith(("RAY_", "OMP_"))}
    return {**ours, **variables}


def _folder() -> Path:
    default = Path(tempfile.gettempdir()) / f"which-backbone-{os.getuid()}"
    return Path(os.environ.get(FOLDER, default)).absolute()


def _remove_dead(runs: Path) -> None:
    """Remove the folders of actors that were killed."""
    for folder in runs.glob("*"):
        if not Path(f"/proc/{folder.name}").exists():
            shutil.rmtree(folder, ignore_errors=True)
