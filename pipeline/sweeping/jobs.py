"""What the sweep asks of whatever runs its jobs, on this machine or on many.

Engine.start(job)   begin it now; only while `free` is above zero
Engine.wait(s)      the jobs that ended within s seconds, with their exit code and last words
Engine.stop()       end every job and come back when all are gone
"""

import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

FINE_TUNE = ["python", "-m", "pipeline.finetune"]

TRY_AGAIN = 75  # the exit code of a run that asks for another try


@dataclass(frozen=True)
class Job:
    """One stage's command (of several, a line each), and the files that tell of it.

    `key` is what the stage's inputs were when the job was planned. After success the worker writes
    it into `receipt`, with the SHA-256 of every output: proof that the outputs are this key's.
    """

    name: str
    command: str
    key: str
    deps: tuple[str, ...]
    outs: tuple[str, ...]
    root: Path
    log: Path
    receipt: Path


@dataclass(frozen=True)
class Ended:
    """How a job ended; `reason` is the last line it printed, None where it printed none.

    An exit code below zero is the signal that killed it.
    """

    job: Job
    exit_code: int
    reason: str | None

    @property
    def again(self) -> bool:
        """Was it killed, or does it ask for another try?"""
        return self.exit_code < 0 or self.exit_code == TRY_AGAIN

    @property
    def why(self) -> str:
        """Why it failed, in a few words."""
        if self.exit_code == -signal.SIGKILL:
            return "killed by SIGKILL, as the kernel does where memory runs out: try fewer --jobs"
        if self.exit_code < 0:
            return f"killed by {signal.Signals(-self.exit_code).name}"
        return self.reason or f"exit code {self.exit_code}"


class Engine(Protocol):
    """Where jobs run. Whatever happens to this process, no job may outlive it."""

    @property
    def free(self) -> int: ...
    @property
    def running(self) -> list[Job]: ...
    def start(self, job: Job) -> None: ...
    def wait(self, seconds: float) -> list[Ended]: ...
    def stop(self) -> None: ...


def fine_tune_words(command: str) -> dict[str, str]:
    """The KEY=VALUE words of a fine-tune's command; none of another stage's."""
    for words in map(str.split, command.splitlines()):
        if words[:3] == FINE_TUNE:
            return dict(word.split("=", 1) for word in words[3:] if "=" in word)
    return {}


def last_line(log: Path) -> str | None:
    """The last line with text in a job's log."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 4000))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return None
    return next((line.strip() for line in reversed(lines) if line.strip()), None)
