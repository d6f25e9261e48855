"""The overhead of a sweep per run, compared with plain `dvc repro`, on runs that do nothing.

    python -m benchmarks.sweep_overhead [--cells 48 150] [--jobs 2] [--sweep-only]

Each size gets two fresh copies of the project in which stage `finetune` writes a record and ends;
one is made by the sweep, the other by `dvc repro finetune`, unless --sweep-only. dvc.lock must come
out equal. Seconds are whole commands with all they start; CPU seconds are of the whole process
tree, and the ratio to trust on a machine that does other things too. Linux only: processes that
outlive their parent (the sweep's fork server) become children of this one, or their time were lost.
"""

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.project_copy import copy_project

PR_SET_CHILD_SUBREAPER = 36
COLUMNS = ["cells", "sweep s", "CPU s", "ms/cell", "CPU ms/cell", "no-op s", "CPU s"]
OF_DVC = ["dvc repro s", "CPU s", "ratio", "CPU ratio"]
WORK = """
import sys
from pathlib import Path

given = dict(each.split("=", 1) for each in sys.argv[1:])
out = Path(given["out"])
out = out if out.suffix else out / "meta.json"
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text("{}")
"""


@dataclass(frozen=True)
class Took:
    """Wall and CPU seconds of one command."""

    seconds: float
    cpu_seconds: float


PRELOADED = "from pipeline.core.processes import end_with_parent\n\nend_with_parent()\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[48, 150])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--sweep-only", action="store_true")
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    table = Table(*COLUMNS, *([] if arguments.sweep_only else OF_DVC))
    for n_cells in arguments.cells:
        table.add_row(*measured(n_cells, arguments.jobs, arguments.sweep_only))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    Console(width=120).print(table, f"{os.cpu_count()} cores, load average {load}, n = 1")


def measured(n_cells: int, jobs: int, sweep_only: bool) -> list[str]:
    """One row: each command once, and what `dvc repro finetune` takes when all is done."""
    with tempfile.TemporaryDirectory() as folder:
        by_sweep, by_dvc = Path(folder) / "sweep", Path(folder) / "dvc"
        for place in (by_sweep, by_dvc):
            make_workspace(place, n_cells)
        sweep = timed(by_sweep, "pipeline.sweep", "--jobs", str(jobs))
        no_op = timed(by_sweep, "dvc", "repro", "--quiet", "finetune")
        row = [
            str(n_cells),
            *(f"{sweep.seconds:.1f}", f"{sweep.cpu_seconds:.1f}"),
            f"{1000 * sweep.seconds / n_cells:.0f}",
            f"{1000 * sweep.cpu_seconds / n_cells:.0f}",
            *(f"{no_op.seconds:.1f}", f"{no_op.cpu_seconds:.1f}"),
        ]
        if sweep_only:
            return row
        dvc = timed(by_dvc, "dvc", "repro", "--quiet", "finetune")
        locks = [(place / "dvc.lock").read_bytes() for place in (by_dvc, by_sweep)]
        assert locks[0] == locks[1], "the two made different things"
    return [
        *row,
        *(f"{dvc.seconds:.1f}", f"{dvc.cpu_seconds:.1f}"),
        f"{dvc.seconds / sweep.seconds:.1f}",
        f"{dvc.cpu_seconds / sweep.cpu_seconds:.1f}",
    ]


def timed(place: Path, *words: str) -> Took:
    """What `python -m WORDS` takes in that folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cpu, begin = _children_cpu_seconds(), time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", *words],
        cwd=place,
        env={**os.environ, "PATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    seconds = time.perf_counter() - begin
    with suppress(ChildProcessError):  # none is left
        while True:
            os.wait()
    return Took(seconds, _children_cpu_seconds() - cpu)


def _children_cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def make_workspace(folder: Path, n_cells: int) -> None:
    """The project with one dataset, one model, one recipe, as many seeds, and no work."""
    copy_project(folder)
    for name, text in {
        "dataset/__main__.py": WORK,
        "baseline/__main__.py": WORK,
        "finetune/__main__.py": WORK,
        "sweep/preloaded.py": PRELOADED,
    }.items():
        (folder / "pipeline" / name).write_text(text)
    params = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
    models = params["grid"]["models"][:1]
    params["grid"].update(datasets=["digits"], models=models, seeds=list(range(n_cells)))
    (folder / "params.yaml").write_text(yaml.safe_dump(params), encoding="utf-8")


if __name__ == "__main__":
    main()
