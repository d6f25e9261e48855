"""The overhead of a sweep, side by side with an earlier build, `dvc repro` and Snakemake.

    python -m benchmarks.sweep_overhead [--cells 48 150] [--jobs 2] [--repeats 3]
        [--against CHECKOUT] [--snakemake PYTHON] [--sweep-only]

Stage `finetune` writes a record and ends. Each build makes all cells in a fresh workspace, once;
then the commands with nothing to do take turns, REPEATS times, and medians are shown. A full look
is a sweep with nothing to do that no earlier one has left a snapshot for. CHECKOUT is another
checkout of this project (git worktree), PYTHON that of an environment with Snakemake (its own:
`pip install snakemake`), which starts one small Python process a cell. `dvc repro finetune` makes
all cells unless --sweep-only, and dvc.lock must come out equal. Seconds are whole commands with all
they start; CPU seconds are of the whole process tree, and the ratio to trust on a machine that does
other things too. Linux only: processes that outlive their parent (the sweep's fork server) become
children of this one, or their time were lost.
"""

import argparse
import ctypes
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import yaml
from rich.console import Console
from rich.table import Table

from benchmarks.project_copy import PRELOADED, ROOT, copy_project
from pipeline.sweep.snapshot import FILE as SNAPSHOT

PR_SET_CHILD_SUBREAPER = 36
NO_OP, DRY_RUN, FULL_LOOK = "no-op", "dry run", "full look"
WORK = """
import sys
from pathlib import Path

given = dict(each.split("=", 1) for each in sys.argv[1:])
out = Path(given["out"])
out = out if out.suffix else out / "meta.json"
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text("{}")
"""
COPY = """
import sys
from pathlib import Path

from benchmarks.project_copy import copy_project

copy_project(Path(sys.argv[1]))
"""
SNAKEFILE = """
rule all:
    input: expand("made/{{seed}}.json", seed=range({n_cells}))

rule finetune:
    input: "conf/finetune.yaml"
    output: "made/{{seed}}.json"
    shell: "{python} work.py out={{output}} seed={{wildcards.seed}}"
"""


@dataclass(frozen=True)
class Took:
    """Wall and CPU seconds of one command."""

    seconds: float
    cpu_seconds: float


@dataclass(frozen=True)
class Build:
    """What makes all cells of a workspace, and its commands when nothing is to do, by column."""

    name: str
    place: Path
    make: list[str] | None  # None: its workspace is made by an earlier build
    idle: Mapping[str, list[str]]
    took: dict[str, list[Took]] = field(default_factory=dict)

    def measure(self, column: str, command: list[str]) -> None:
        if column == FULL_LOOK:
            (self.place / SNAPSHOT).unlink(missing_ok=True)
        self.took.setdefault(column, []).append(timed(self.place, command))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cells", type=int, nargs="+", default=[48, 150])
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--against", type=Path)
    parser.add_argument("--snakemake", type=Path)
    parser.add_argument("--sweep-only", action="store_true")
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    console = Console(width=120)
    for n_cells in arguments.cells:
        with tempfile.TemporaryDirectory() as folder:
            builds = [*sweeps(Path(folder), n_cells, arguments)]
            if arguments.snakemake:
                builds.append(snakemake(Path(folder), n_cells, arguments))
            measure(builds, arguments.repeats)
            compare_locks(builds)
        console.print(table(builds, n_cells))
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    n = arguments.repeats
    console.print(f"{os.cpu_count()} cores, load average {load}, n = 1 (all cells) and {n} (idle)")


def sweeps(folder: Path, n_cells: int, arguments: argparse.Namespace) -> list[Build]:
    """This project's sweep and `dvc repro`, and the sweep of the other checkout."""
    sweep = [sys.executable, "-m", "pipeline.sweep", "--jobs", str(arguments.jobs)]
    idle = {NO_OP: sweep, DRY_RUN: [*sweep, "--dry-run"], FULL_LOOK: sweep}
    repro = [sys.executable, "-m", "dvc", "repro", "--quiet", "finetune"]
    builds = [Build("sweep", folder / "sweep", sweep, idle)]
    make_workspace(folder / "sweep", n_cells, ROOT)
    if arguments.against:
        place = folder / "against"
        make_workspace(place, n_cells, arguments.against)
        builds.append(Build(f"sweep of {arguments.against.name}", place, sweep, idle))
    if arguments.sweep_only:
        builds.append(Build("dvc repro", folder / "sweep", None, {NO_OP: repro}))
    else:
        make_workspace(folder / "dvc", n_cells, ROOT)
        builds.append(Build("dvc repro", folder / "dvc", repro, {NO_OP: repro}))
    return builds


def snakemake(folder: Path, n_cells: int, arguments: argparse.Namespace) -> Build:
    """One rule, whose cells have a process each, as Snakemake's rules have."""
    place = folder / "snakemake"
    copy_project(place)
    (place / "work.py").write_text(WORK, encoding="utf-8")
    rules = SNAKEFILE.format(n_cells=n_cells, python=sys.executable)
    (place / "Snakefile").write_text(rules, encoding="utf-8")
    command = [str(arguments.snakemake), "-m", "snakemake", "--quiet", "all"]
    command += ["--cores", str(arguments.jobs)]
    return Build("Snakemake", place, command, {NO_OP: command, DRY_RUN: [*command, "--dry-run"]})


def measure(builds: list[Build], repeats: int) -> None:
    """Each build makes its cells; then the idle commands take turns."""
    for build in builds:
        if build.make:
            build.measure("all cells", build.make)
    for _ in range(repeats):
        for build in builds:
            for column, command in build.idle.items():
                build.measure(column, command)


def compare_locks(builds: list[Build]) -> None:
    """Sweep and `dvc repro` must have made the same; another checkout's stages may be others."""
    places = {build.name: build.place for build in builds}
    ours, theirs = ((places[name] / "dvc.lock").read_bytes() for name in ("sweep", "dvc repro"))
    assert ours == theirs, "the two made different things"


def table(builds: list[Build], n_cells: int) -> Table:
    """Wall and CPU seconds, medians; of making all cells also CPU milliseconds a cell."""
    columns = ["all cells", NO_OP, DRY_RUN, FULL_LOOK]
    shown = Table(f"{n_cells} cells", *(f"{each}, s (CPU s)" for each in columns), "CPU ms/cell")
    for build in builds:
        row = [_shown(build.took.get(column, [])) for column in columns]
        made = build.took.get("all cells")
        row.append(f"{1000 * made[0].cpu_seconds / n_cells:.0f}" if made else "")
        shown.add_row(build.name, *row)
    return shown


def _shown(took: list[Took]) -> str:
    if not took:
        return ""
    seconds, cpu = (median(each.seconds for each in took), median(e.cpu_seconds for e in took))
    return f"{seconds:.2f} ({cpu:.2f})"


def timed(place: Path, command: list[str]) -> Took:
    """What a command takes in that folder."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    cpu, begin = _children_cpu_seconds(), time.perf_counter()
    subprocess.run(
        command,
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


def make_workspace(folder: Path, n_cells: int, root: Path) -> None:
    """A checkout with one dataset, one model, one recipe, as many seeds, and no work."""
    subprocess.run([sys.executable, "-c", COPY, folder], cwd=root, check=True)
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
