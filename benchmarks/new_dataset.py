"""What it costs to look at a large dataset, and to see that none of its files has changed.

    python -m benchmarks.new_dataset --files 100000

Makes that many tiny files in 100 folders, once as class folders and once with a table that names
them, and prints seconds of wall and CPU time and the peak memory of `--new`'s reading (medians of
three), and of the look at 10,000 of them before a sweep.
"""

import argparse
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from pipeline.dataset.file_column import Hints
from pipeline.dataset.recognise import recognise
from pipeline.source.__main__ import fault_of

REPEATS = 3
FOLDERS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=100_000)
    n_files = parser.parse_args().files
    with tempfile.TemporaryDirectory() as folder:
        project, classes, table = (Path(folder, name) for name in ("project", "classes", "table"))
        files = [f"d{n % FOLDERS:02d}x/p{n:06d}.jpg" for n in range(n_files)]
        for root in (classes, table):
            for number in range(FOLDERS):
                (root / f"d{number:02d}x").mkdir(parents=True)
            for file in files:
                (root / file).write_bytes(file.encode())
        rows = [f"{Path(file).name},c{n % 7},q{n // 3}" for n, file in enumerate(files)]
        text = "\n".join(["file,label,patient_id", *rows])
        (table / "labels.csv").write_text(text, encoding="utf-8")
        tell(f"{n_files:,} files in class folders", lambda: recognise(classes))
        hints = Hints(table="labels.csv")
        tell(f"{n_files:,} files named by a table", lambda: recognise(table, hints))
        tell(f"the look at {n_files:,} files before a sweep", lambda: fault_of(project, classes))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory of all: {peak:.0f} MiB")


def tell(what: str, work: Callable[[], object]) -> None:
    walls, cpus = [], []
    for _ in range(REPEATS):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    print(f"{what}: {statistics.median(walls):.1f} s wall, {statistics.median(cpus):.1f} s CPU")


if __name__ == "__main__":
    main()
