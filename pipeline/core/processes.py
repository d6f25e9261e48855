"""Processes: the cores they may use, ending with their parent, locks, and the progress of a fit.

The progress of a fit is written to the file that `WB_PROGRESS` names, one JSON object per epoch.
The fit writes it, and the sweep's display reads it.
"""

import ctypes
import fcntl
import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import TextIO

from pipeline.core.command import duration
from pipeline.core.errors import TryAgain
from pipeline.core.files import WrongType, build

_PR_SET_PDEATHSIG = 1
_PRCTL = getattr(ctypes.CDLL(None), "prctl", None)  # Linux's; looked up before any fork


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to end this process when its parent ends (Linux; elsewhere no effect)."""
    if _PRCTL is not None:
        _PRCTL(_PR_SET_PDEATHSIG, by)


def usable_cores() -> int:
    """How many cores this process can keep busy: those in its affinity, within its cgroup's quota.

    A sweep, a batch system or a container may have reduced either.
    """
    if hasattr(os, "sched_getaffinity"):
        n_cores = len(os.sched_getaffinity(0))
    else:  # macOS
        n_cores = os.cpu_count() or 1
    quota = cpu_quota()
    return n_cores if quota is None else max(1, min(n_cores, int(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """The CPU quota of the process's cgroups (v1 or v2), in cores; None if there is no limit.

    Inside a container, the group's path may be that of the host. The limit is then found at the
    root of the container's own cgroup file system.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    found: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = ("", "unified") if not controllers else (controllers, "cpu", "cpu,cpuacct")
        for mount in mounts:
            group = PurePosixPath(path)
            for each in (group, *group.parents):
                where = root / "sys/fs/cgroup" / mount / str(each).lstrip("/")
                found += _quota_in(where)
    return min(found, default=None)


def _quota_in(group: Path) -> list[float]:
    """The quota of one cgroup, in cores, as a list of one; empty if it has no limit."""
    with suppress(OSError, ValueError):
        if (v2 := group / "cpu.max").is_file():
            quota, period = v2.read_text(encoding="utf-8").split()
        else:
            quota = (group / "cpu.cfs_quota_us").read_text(encoding="utf-8")
            period = (group / "cpu.cfs_period_us").read_text(encoding="utf-8")
        if quota != "max" and int(quota) > 0:
            return [int(quota) / int(period)]
    return []


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
    """Hold a lock on `what`; `file` exists for as long as the lock is held.

    Raises `TryAgain` if another process holds it.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    while True:
        with file.open("a+", encoding="utf-8") as opened:
            try:
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                who = holder_of(file) or "another process"  # it has not written its name yet
                raise TryAgain(f"{what}: {who} is working on it: wait for it or end it") from None
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


PROGRESS_FILE = "WB_PROGRESS"
LINE_BYTES = 1000  # longer than any line


@dataclass(frozen=True)
class Progress:
    """How far a fit is after an epoch; `seconds` is the time since the fit began."""

    epoch: int
    epochs: int
    train_loss: float
    valid_loss: float
    error_rate: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"epoch {self.epoch}/{self.epochs}  train loss {self.train_loss:.3f}  "
            f"valid loss {self.valid_loss:.3f}  error {self.error_rate:.4f}  "
            f"{duration(self.seconds)}"
        )

    @property
    def brief(self) -> str:
        """A shorter form, for a table of runs."""
        where = f"epoch {self.epoch}/{self.epochs}"
        return f"{where}, loss {self.valid_loss:.3f}, error {self.error_rate:.4f}"


def report_progress(progress: Progress) -> None:
    """Append to the progress file, if `WB_PROGRESS` names one."""
    if path := os.environ.get(PROGRESS_FILE):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(progress)) + "\n")


def last_progress(path: Path) -> Progress | None:
    """The last entry of the progress file; None until the first epoch has ended."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LINE_BYTES))
            whole = file.read().rpartition(b"\n")[0]
        return build(Progress, json.loads(whole.rpartition(b"\n")[2]))
    except (OSError, ValueError, TypeError, WrongType):
        return None
