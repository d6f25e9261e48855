"""Time from the start of a run's process to the end of its first batch, in a sweep.

    python -m benchmarks.first_batch

Takes the quickstart's cells in a fresh copy of the project, one at a time, and ends each after its
first batch. The fork server's own start, which reads timm's registry, is not in these numbers. CPU
seconds are the ones to trust on a machine that does other things too. Seconds are counted since the
boot, because /proc/stat rounds the time of the boot, on which psutil's start of a process rests,
down to a second. Linux only.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.project_copy import copy_project

STOP_AFTER_ONE_BATCH = """

import os, time
from fastai.learner import Learner

one_batch = Learner.one_batch


def one_batch_only(self, *arguments):
    one_batch(self, *arguments)
    with open("/proc/self/stat") as file:
        started = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    seconds = time.clock_gettime(time.CLOCK_BOOTTIME) - started
    with open("first_batches.log", "a") as log:
        log.write(f"{os.environ['DVC_STAGE']} {seconds:.2f} {time.process_time():.2f}\\n")
    os._exit(1)


Learner.one_batch = one_batch_only
"""


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "project"
        make_workspace(folder)
        sweep(folder, "dataset")
        sweep(folder, "finetune")
        lines = (folder / "first_batches.log").read_text().splitlines()
    table = Table("run", "s", "CPU s")
    for line in lines:
        table.add_row(*line.split())
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    Console(width=120).print(table, f"{os.cpu_count()} cores, load average {load}, n = 1")


def make_workspace(folder: Path) -> None:
    """The project as it is, whose runs end after one batch."""
    copy_project(folder)
    shutil.copy(folder / "studies/quickstart.yaml", folder / "params.yaml")
    with (folder / "pipeline/sweep/preloaded.py").open("a", encoding="utf-8") as preloaded:
        preloaded.write(STOP_AFTER_ONE_BATCH)


def sweep(folder: Path, target: str) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    subprocess.run(
        [sys.executable, "-m", "pipeline.sweep", target, "--jobs", "1", "--order", "grid"],
        cwd=folder,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        check=target != "finetune",  # those end badly on purpose
    )


if __name__ == "__main__":
    main()
