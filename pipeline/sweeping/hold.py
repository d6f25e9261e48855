"""One sweep per workspace: the second is told who holds it.

The kernel drops the hold when its process ends, however it ends; the file's text only tells who.
"""

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from pipeline.errors import TryAgain


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Hold the workspace whose sweep keeps its files in `folder`, or raise `TryAgain`."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "holder.json").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise TryAgain(f"{_who(file.read())} sweeps here: wait for it or end it") from None
        since = datetime.now().astimezone().isoformat(timespec="seconds")
        file.truncate(0)
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": since}, file)
        file.flush()
        yield


def _who(text: str) -> str:
    try:
        holder = json.loads(text)
    except json.JSONDecodeError:  # it is just writing who it is
        return "another process"
    return f"process {holder['pid']} on {holder['host']}, since {holder['since']},"
