"""How long `fetch` (from a local git repository) and `merge` take on all of timm's tables.

Reads a folder of timm's CSVs, writes nothing that stays: a repository of them is made in a
temporary folder. Whole commands are timed, start of Python included, as a user waits for them.

    python -m benchmarks.tables_speed ../shared/timm-results

The target was under 10 s for both together on 2 cores. On 2026-11-22 they took less; since `merge`
asks timm's registry they take longer, as measured on 2026-12-01: see docs/decisions.md.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipeline.core.command import run
from pipeline.core.errors import PipelineError

TARGET_SECONDS = 10


def main(tables: Path, *, repeats: int = 5) -> None:
    """Time fetch and merge of the CSVs in folder TABLES, REPEATS times each."""
    files = sorted(tables.glob("*.csv"))
    if not files:
        raise PipelineError(f"{tables}: no *.csv; give the folder of timm's results")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        _repository(files, work / "timm")
        fetches, merges = [], []
        for turn in range(repeats):
            out = work / f"out{turn}"
            fetches.append(_seconds("pipeline.fetch", work / "timm", "main", out))
            merges.append(_seconds("pipeline.merge", out, work / "i.csv", work / "u.csv"))
    both = [fetch + merge for fetch, merge in zip(fetches, merges, strict=True)]
    print(f"{len(files)} tables, {repeats} repeats, {os.cpu_count()} cores, load {_load()}")
    for what, seconds in (("fetch", fetches), ("merge", merges), ("both", both)):
        low, middle, high = min(seconds), statistics.median(seconds), max(seconds)
        print(f"{what:6} median {middle:.2f} s   min {low:.2f}   max {high:.2f}")
    verdict = "under" if statistics.median(both) < TARGET_SECONDS else "OVER"
    print(f"{verdict} the target of {TARGET_SECONDS} s")


def _repository(files: list[Path], path: Path) -> None:
    """A git repository at `path` with `files` in its results/ folder, on branch main."""
    (path / "results").mkdir(parents=True)
    for file in files:
        shutil.copyfile(file, path / "results" / file.name)
    who = [
        "-c",
        "user.name=bench",
        "-c",
        "user.email=bench@localhost",
        "-c",
        "commit.gpgsign=false",
    ]
    for arguments in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "tables"]):
        subprocess.run(["git", *who, *arguments], cwd=path, check=True)


def _seconds(module: str, *arguments: Path | str) -> float:
    began = time.perf_counter()
    command = [sys.executable, "-m", module, *map(str, arguments)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


if __name__ == "__main__":
    run(main)
