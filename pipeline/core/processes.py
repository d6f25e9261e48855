"""Locks between processes, and ending a process with its parent.

The kernel releases a lock when its process ends in any way; the file's text only names the holder.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import TextIO

from pipeline.core.errors import TryAgain
from pipeline.core.typed import WrongType, build

_PR_SET_PDEATHSIG = 1
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # Linux's; looked up before any fork


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when its parent ends (Linux; elsewhere no effect)."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, by)


@dataclass(frozen=True)
class Holder:
    """The process that holds a lock, as recorded in the lock file."""

    pid: int
    host: str
    since: str
    what: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since},"


def holder_of(file: Path) -> Holder | None:
    """The last writer of the lock file; None if the file is absent or unreadable."""
    try:
        return build(Holder, json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, WrongType):
        return None


@contextmanager
def hold(file: Path, what: str | Path) -> Iterator[None]:
    """Hold `what` by locking `file`, which exists only meanwhile; `TryAgain` if it is locked."""
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with file.open("a+", encoding="utf-8") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                who = holder_of(file) or "another process"  # it has not written its name yet
                raise TryAgain(f"{what}: {who} is at work on it: wait for it or end it") from None
            if not _is_still_at(file, opened):
                continue  # the holder has just released and removed it
            since = datetime.now().astimezone().isoformat(timespec="seconds")
            holder = Holder(os.getpid(), socket.gethostname(), since, str(what))
            opened.truncate(0)
            opened.write(json.dumps(asdict(holder)) + "\n")
            opened.flush()
            try:
                yield
            finally:
                file.unlink(missing_ok=True)
            return


def _is_still_at(file: Path, opened: TextIO) -> bool:
    try:
        return os.path.samestat(file.stat(), os.fstat(opened.fileno()))
    except FileNotFoundError:
        return False
