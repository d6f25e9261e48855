"""One job in a fresh child of the fork server: the stage's own commands, and a receipt at the end.

`python -m pipeline.X ...` runs right here, its imports already made; any other command goes to the
shell, as under DVC. When the sweep is killed the kernel ends the fork server, and then the child.
"""

import multiprocessing
import os
import runpy
import shlex
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.core.files import sha256, write_json
from pipeline.core.parent import end_with_parent
from pipeline.sweeping.jobs import Job

if TYPE_CHECKING:
    from pipeline.sweeping.engine import Place

PYTHON = ["python", "-m"]
SHARED = "WB_SHARED_DEVICE"  # tells the run that its times will rank nothing


def work(job: Job, place: "Place") -> None:
    """Run `job` in its place; the process's exit code is the command's."""
    _end_with_parent()
    os.setpgid(0, 0)  # what the command starts ends with it; Ctrl-C reaches the sweep alone
    for signal_number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, signal.SIG_DFL)
    os.sched_setaffinity(0, place.cores)
    if place.gpu is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = place.gpu
    if place.shared:
        os.environ[SHARED] = "1"
    os.chdir(job.root)
    os.environ.setdefault("DVC_ROOT", str(job.root))
    os.environ["DVC_STAGE"] = job.name
    _write_to(job.log)
    exit_codes = map(_run, job.command.splitlines())  # the first that fails is the last
    exit_code = next((code for code in exit_codes if code != 0), 0)
    if exit_code == 0:
        write_receipt(job)
    sys.exit(exit_code)


def write_receipt(job: Job) -> None:
    """Say which outputs came from which inputs. Outputs that are folders get no receipt."""
    outs = [job.root / out for out in job.outs]
    if all(out.is_file() for out in outs):
        hashes = {name: sha256(out) for name, out in zip(job.outs, outs, strict=True)}
        write_json(job.receipt, {"key": job.key, "outs": hashes})


def _run(command: str) -> int:
    words = shlex.split(command)
    if words[:2] != PYTHON or len(words) < 3 or not words[2].startswith("pipeline."):
        return subprocess.run(
            command, shell=True, preexec_fn=end_with_parent, check=False
        ).returncode
    sys.argv = words[2:]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*found in sys.modules.*", RuntimeWarning)
        try:
            runpy.run_module(words[2], run_name="__main__", alter_sys=True)
        except SystemExit as end:
            if isinstance(end.code, str):
                print(end.code, file=sys.stderr)
            return end.code if isinstance(end.code, int) else int(end.code is not None)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
    return 0


def _end_with_parent() -> None:
    end_with_parent()
    parent = multiprocessing.parent_process()
    if parent is None or not parent.is_alive():  # it was killed before we asked
        os._exit(1)


def _write_to(log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
