"""Something breaks on purpose, KIND@POINT, so that a test can see what becomes of it.

`install("kill@in_loader:3")` wraps the one function that the point names, in this process: the
third batch kills it. For a whole command:

    PYTHONPATH=tests python -m fault kill@in_loader:3 pipeline.finetune ...

Kinds and points are in the two tables below.
"""

import errno
import functools
import importlib
import os
import re
import runpy
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Point:
    """A function, by module and name, and whether the fault comes before it or after it."""

    module: str
    function: str
    when: str = "before"


POINTS = {
    "after_load": Point("pipeline.finetune.training", "learner", "after"),  # weights are in
    "in_loader": Point("pipeline.finetune.loading", "ArrayLoader.create_batch"),
    "epoch_end": Point("pipeline.finetune.callbacks", "Epochs.after_epoch"),
    "before_replace": Point("pipeline.core.files", "_put"),  # each file and folder that is written
    "after_replace": Point("pipeline.core.files", "_put", "after"),
    "in_commit": Point("pipeline.sweep.project", "LockFile.add"),  # cache done, dvc.lock not
    "in_extract": Point("pipeline.dataset.download", "_write"),  # each member of an archive
    "in_fetch": Point("pipeline.fetch.git", "contents"),  # git has all, we nothing
}


def _out_of_memory(point: str, result: Any) -> None:
    import torch

    raise torch.cuda.OutOfMemoryError(f"injected at {point}")


def _not_a_number(point: str, result: Any) -> None:
    """At `after_load`: every parameter of the learner's model becomes NaN."""
    for parameter in result.model.parameters():
        parameter.data.fill_(float("nan"))


def _raise(point: str, result: Any) -> None:
    raise RuntimeError(f"injected at {point}")


def _no_space(point: str, result: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _sleep(point: str, result: Any) -> None:
    """Say so, then hang: whoever waits for that line can send a signal at this very point."""
    print(f"asleep at {point}", file=sys.stderr, flush=True)
    time.sleep(3600)


KINDS: dict[str, Callable[[str, Any], None]] = {
    "kill": lambda point, result: os.kill(os.getpid(), signal.SIGKILL),
    "term": lambda point, result: os.kill(os.getpid(), signal.SIGTERM),
    "raise": _raise,
    "oom": _out_of_memory,
    "nan": _not_a_number,
    "enospc": _no_space,
    "sleep": _sleep,
}


@functools.cache
def install(text: str) -> None:
    """Let KIND@POINT or KIND@POINT:N happen in this process, the Nth time that it is there."""
    match = re.fullmatch(r"(\w+)@(\w+)(?::([1-9]\d*))?", text)
    assert match is not None, f"{text}: write KIND@POINT or KIND@POINT:N"
    kind, point = match[1], match[2]
    owner, name = _place_of(POINTS[point])
    wrapped = _breaking(getattr(owner, name), KINDS[kind], point, int(match[3] or 1))
    setattr(owner, name, wrapped)


def _place_of(point: Point) -> tuple[Any, str]:
    """The module or class that holds the function, and the function's name there."""
    owner: Any = importlib.import_module(point.module)
    *classes, name = point.function.split(".")
    for each in classes:
        owner = getattr(owner, each)
    return owner, name


def _breaking(
    function: Callable[..., Any], happen: Callable[[str, Any], None], point: str, at: int
) -> Callable[..., Any]:
    n_calls = 0

    @functools.wraps(function)
    def wrapper(*arguments: Any, **options: Any) -> Any:
        nonlocal n_calls
        n_calls += 1
        if n_calls == at and POINTS[point].when == "before":
            happen(point, None)
        result = function(*arguments, **options)
        if n_calls == at and POINTS[point].when == "after":
            happen(point, result)
        return result

    return wrapper


if __name__ == "__main__":
    install(sys.argv[1])
    sys.argv = sys.argv[2:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
