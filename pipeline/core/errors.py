"""Errors that users see, as one line: what is wrong, where, and what to do.

    PipelineError        exit 1   the user must change something
    └── TryAgain         exit 75  nothing is wrong with the input: network down, preempted, busy

Errors of the operating system (a full disk, missing permissions) are reported in the same way.
Any other exception is a bug of ours and keeps its traceback.
"""

import difflib
import errno
from collections.abc import Iterable

REMEDIES = {  # errors of the operating system that a user can solve, and how
    errno.ENOSPC: "free some space, then run again",
    errno.EDQUOT: "free some of your quota, then run again",
    errno.EFBIG: "raise the limit of a file's size (`ulimit -f`), then run again",
    errno.EROFS: "write to another place, or make it writable",
    errno.EACCES: "change its permissions or its owner",
    errno.EPERM: "change its permissions or its owner",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`), then run again",
    errno.ENFILE: "close other programs, then run again",
    errno.EIO: "the disk or the network drive has a fault: look at the system's log",
    errno.ENOTDIR: "a file is where a folder is needed: move it away",
    errno.EISDIR: "a folder is where a file is needed: move it away",
    errno.ENXIO: "write to another place",
    errno.ENAMETOOLONG: "choose a shorter name",
}


class PipelineError(Exception):
    """Something the user must change. The message is one line that names the file, row or key."""

    exit_code = 1


class TryAgain(PipelineError):
    """A temporary failure outside this project (exit code 75, EX_TEMPFAIL): try again later."""

    exit_code = 75


def system_error(error: OSError) -> PipelineError | None:
    """The error line for an OSError; None if it may be a bug of ours."""
    if error.errno not in REMEDIES or (isinstance(error, PermissionError) and not error.filename):
        return None
    where = f"{error.filename}: " if error.filename is not None else ""
    return PipelineError(f"{where}{error.strerror}: {REMEDIES[error.errno]}")


def first_line(said: object) -> str:
    """The first line with text of an error or a text, else its repr."""
    return next((line.strip() for line in str(said).splitlines() if line.strip()), repr(said))


def near_matches(name: str, choices: Iterable[str]) -> str:
    """The end of an error line about an unknown `name`: the closest choices, else all if few."""
    choices = sorted(choices)
    longer = [choice for choice in choices if name and choice.startswith(name)]
    close = longer[:3] or difflib.get_close_matches(name, choices, n=3, cutoff=0.62)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(choices) <= 12:
        return f"choose from {', '.join(choices) or '(none)'}"
    return f"none of the {len(choices)} known names is close"
