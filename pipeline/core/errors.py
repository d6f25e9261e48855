"""Errors that users see, as one line: what is wrong, where, and what to do.

    PipelineError        exit 1   the user must change something
    └── TryAgain         exit 75  nothing is wrong with the input: network down, preempted, busy

Errors of the operating system (a full disk, missing permissions) are reported in the same way.
Any other exception is a bug in this project and keeps its traceback.
"""

import difflib
import errno
import re
from collections.abc import Iterable

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of a terminal; torch's ONNX exporter writes them

REMEDIES = {  # what the user can do about an error of the operating system
    errno.ENOSPC: "free some space, then run again",
    errno.EDQUOT: "free some of your quota, then run again",
    errno.EFBIG: "raise the file size limit (`ulimit -f`), then run again",
    errno.EROFS: "write somewhere else, or make it writable",
    errno.EACCES: "change its permissions or its owner",
    errno.EPERM: "change its permissions or its owner",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`), then run again",
    errno.ENFILE: "close other programs, then run again",
    errno.EIO: "the disk or network drive is faulty: check the system log",
    errno.ENOTDIR: "a file is where a folder is needed: move it away",
    errno.EISDIR: "a folder is where a file is needed: move it away",
    errno.ENXIO: "write somewhere else",
    errno.ENAMETOOLONG: "choose a shorter name",
}


class PipelineError(Exception):
    """Something the user must change. The message is one line that names the file, row or key."""

    exit_code = 1


class TryAgain(PipelineError):
    """A temporary failure outside this project (exit code 75, EX_TEMPFAIL): try again later."""

    exit_code = 75


def system_error(error: OSError) -> PipelineError | None:
    """The error to show for an OSError; None if it may be a bug in this project."""
    if error.errno not in REMEDIES or (isinstance(error, PermissionError) and not error.filename):
        return None
    where = f"{error.filename}: " if error.filename is not None else ""
    return PipelineError(f"{where}{error.strerror}: {REMEDIES[error.errno]}")


def first_line(message: object) -> str:
    """The first non-blank line of an error or text, without colours; its repr if there is none."""
    plain = _COLOURS.sub("", str(message))
    lines = (line.strip() for line in plain.splitlines() if line.strip())
    return next(lines, repr(message))


def near_matches(name: str, choices: Iterable[str]) -> str:
    """The end of a message about an unknown `name`: the closest choices, or all if they are few."""
    choices = sorted(choices)
    longer = [choice for choice in choices if name and choice.startswith(name)]
    close = longer[:3] or difflib.get_close_matches(name, choices, n=3, cutoff=0.62)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(choices) <= 12:
        return f"choose from {', '.join(choices) or '(none)'}"
    return f"none of the {len(choices)} known names is close"
