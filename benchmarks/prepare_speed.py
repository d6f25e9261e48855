"""Speed and peak memory of preparing a dataset, compared with Pillow alone on the same files.

    python -m benchmarks.prepare_speed ../shared/datasets

For each folder of images below the argument: images per CPU second of Pillow alone and of the
stage, both on all cores at once (two busy threads of one core slow each other down), what a second
size adds, and the peak memory of the stage's processes, also for ten copies of the images: it must
not grow. Rounds are interleaved and the best counts.
"""

import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from PIL import Image

from pipeline.core.processes import usable_cores
from pipeline.dataset.__main__ import prepare
from pipeline.dataset.arrays import Array, decode_all
from pipeline.dataset.checks import Policy, Preparation
from pipeline.dataset.images import SUFFIXES
from pipeline.dataset.sources import FolderReader, LabelledImage, Source
from pipeline.dataset.splits import Split

REPEATS = 7
ONE: list[Array] = [("squish", 224)]
TWO: list[Array] = [("squish", 160), ("squish", 224)]


def cpu_seconds() -> float:
    """Of this process and the workers it has waited for."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measured(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall seconds."""
    cpu, wall = cpu_seconds(), time.perf_counter()
    work()
    return cpu_seconds() - cpu, time.perf_counter() - wall


def pillow_alone(root: Path, files: list[str]) -> None:
    """Decode and resize, keep nothing: one process per core, an equal share of the files each."""
    n_workers = usable_cores()
    shares = [files[first::n_workers] for first in range(n_workers)]
    with ProcessPoolExecutor(n_workers) as pool:
        list(pool.map(_pillow_share, [root] * n_workers, shares))


def _pillow_share(root: Path, files: list[str]) -> None:
    for file in files:
        image = Image.open(root / file).convert("RGB")
        image.resize((224, 224), Image.Resampling.BILINEAR)


def stage(source: Source, arrays: list[Array]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        decode_all(source, arrays, Path(folder))


def peak_mib(root: Path, files: list[str], copies: int) -> int:
    """Of the whole stage: the main process and, on every core, the biggest worker."""
    with tempfile.TemporaryDirectory() as folder:
        for number in range(copies):
            (Path(folder) / "in" / str(number)).mkdir(parents=True)
            for place, file in enumerate(files):
                link = Path(folder) / "in" / str(number) / f"{place}{Path(file).suffix}"
                link.symlink_to((root / file).resolve())
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            return pool.submit(_prepare_and_report, Path(folder)).result()


def _prepare_and_report(folder: Path) -> int:
    prepare(
        Preparation(
            policy=Policy("copies", "single", None, bad="fail", rare="keep", min_class_images=1),
            split=Split("stratified", valid_pct=0.2, test_pct=0, split_seed=42),
            images={"_target_": "pipeline.dataset.sources.in_class_folders"},
            source=folder / "in",
            archive=None,
            arrays=ONE,
            out=folder / "out",
        )
    )
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    worker = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + worker * usable_cores()) // 1024


def main(root: Path) -> None:
    files = sorted(
        path.relative_to(root).as_posix()
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES
    )
    source = Source([LabelledImage(file, ("x",)) for file in files], FolderReader(root))
    rounds = [
        [
            measured(lambda: pillow_alone(root, files)),
            measured(lambda: stage(source, ONE)),
            measured(lambda: stage(source, TWO)),
        ]
        for _ in range(REPEATS)
    ]
    alone, one, two = (
        [min(column) for column in zip(*each, strict=True)] for each in zip(*rounds, strict=True)
    )
    n = len(files)
    print(f"{root.name}: {n} images, best of {REPEATS} interleaved rounds, {usable_cores()} cores")
    for name, (cpu, wall) in {"Pillow alone": alone, "the stage": one}.items():
        print(f"  {name:13s} {n / cpu:5.0f} images per CPU second, {n / wall:5.0f} per second")
    print(f"  the stage does {alone[0] / one[0]:.0%} of Pillow alone per CPU second")
    print(f"  a second size +{(two[0] - one[0]) / one[0]:.0%} CPU time")
    for copies in (1, 10):
        print(f"  {copies * n} images: peak memory {peak_mib(root, files, copies)} MiB")


if __name__ == "__main__":
    for folder in sorted(path for path in Path(sys.argv[1]).iterdir() if path.is_dir()):
        main(folder)
