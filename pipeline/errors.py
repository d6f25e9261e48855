"""What a user can meet, as one line: what is wrong, where, and what to do.

    PipelineError        exit 1   the user must change something
    └── TryAgain         exit 75  nothing is wrong with the input: network down, preempted, busy

Anything else that escapes is a bug of ours and keeps its traceback.
"""

import difflib
from collections.abc import Iterable


class PipelineError(Exception):
    """Something the user must change. The message is one line that names the file, row or key."""

    exit_code = 1


class TryAgain(PipelineError):
    """Something outside failed for now (exit code 75, EX_TEMPFAIL): call again later."""

    exit_code = 75


def near_matches(name: str, choices: Iterable[str]) -> str:
    """The end of an error line about an unknown `name`: the closest choices, else all if few."""
    choices = sorted(choices)
    close = difflib.get_close_matches(name, choices, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    if len(choices) <= 12:
        return f"choose from {', '.join(choices) or '(none)'}"
    return f"none of the {len(choices)} known names is close"
