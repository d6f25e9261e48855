"""Every image decoded once, on all cores, and written as one uint8 array per resize and size.

Worker processes write a few images at a time to files of their own, which are put together in
order: memory does not grow with the dataset, and no pixels travel between processes.
"""

import hashlib
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from pipeline.core.errors import PipelineError
from pipeline.core.processes import end_with_parent
from pipeline.dataset.array_files import Array, ArrayWriter, array_name
from pipeline.dataset.images import RESIZES, NotAnImage, decode
from pipeline.dataset.sources import Source

IMAGES_PER_TASK = 32
_read: Callable[[str], bytes]  # set once in each worker


@dataclass(frozen=True)
class Decoded:
    """What one file turned out to be; `reason` says why it cannot be used, else it is empty."""

    sha256: str
    peculiar: str = ""
    reason: str = ""


@dataclass(frozen=True)
class _Task:
    """Some files to decode, and where their pixels go: `prefix` + the array's name."""

    files: list[str]
    arrays: Sequence[Array]
    prefix: str


@dataclass(frozen=True)
class _Done:
    decoded: list[Decoded]
    shapes: list[list[tuple[int, int]]]  # of each array, of the images that could be decoded
    pixels: list[Path]


def decode_all(source: Source, arrays: Sequence[Array], folder: Path) -> list[Decoded]:
    """Decode each image once and write the arrays of those that could be decoded, in order."""
    files = [image.file for image in source.images]
    starts = range(0, len(files), IMAGES_PER_TASK)
    tasks = [
        _Task(files[start : start + IMAGES_PER_TASK], arrays, str(folder / f"{start}-"))
        for start in starts
    ]
    writers = [ArrayWriter(folder, array) for array in arrays]
    decoded: list[Decoded] = []
    try:
        for done in _in_order(source.read, tasks):
            decoded += done.decoded
            for writer, shapes, pixels in zip(writers, done.shapes, done.pixels, strict=True):
                writer.append_file(pixels, shapes)
                pixels.unlink()
    except BrokenProcessPool:
        raise PipelineError(f"{folder}: a decoding process was killed: is memory short?") from None
    for writer in writers:
        writer.close()
    return decoded


def _in_order(read: Callable[[str], bytes], tasks: Sequence[_Task]) -> Iterator[_Done]:
    """Work ahead by a bounded number of tasks, yield in order."""
    console = Console(stderr=True)
    n_workers = min(free_cores(), len(tasks))
    ahead: deque[Future[_Done]] = deque()
    with ProcessPoolExecutor(n_workers, initializer=_start_worker, initargs=(read,)) as pool:
        for task in track(tasks, "decode", console=console, disable=not console.is_terminal):
            ahead.append(pool.submit(_work, task))
            if len(ahead) > 2 * n_workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _start_worker(read: Callable[[str], bytes]) -> None:
    global _read
    _read = read
    warnings.simplefilter("ignore")  # of Pillow: what is wrong with a file raises
    end_with_parent()  # or a killed parent leaves its workers waiting for ever


def _work(task: _Task) -> _Done:
    paths = [Path(task.prefix + array_name(array)) for array in task.arrays]
    outputs = [path.open("wb") for path in paths]
    done = _Done([], [[] for _ in paths], paths)
    for file in task.files:
        decoded, images = _decode_one(file, task.arrays)
        done.decoded.append(decoded)
        for output, shapes, pixels in zip(outputs, done.shapes, images, strict=False):
            shapes.append((pixels.shape[1], pixels.shape[2]))
            output.write(pixels.data)
    for output in outputs:
        output.close()
    return done


def _decode_one(file: str, arrays: Sequence[Array]) -> tuple[Decoded, list[np.ndarray]]:
    try:
        data = _read(file)
    except OSError as error:
        return Decoded(sha256="", reason=f"cannot be read: {error.strerror}"), []
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        picture = decode(data)
    except NotAnImage as error:
        return Decoded(sha256, reason=str(error)), []
    images = [RESIZES[resize](picture.pixels, size) for resize, size in arrays]
    return Decoded(sha256, " ".join(picture.peculiar)), images


def free_cores() -> int:
    """The cores this process may run on (fewer than the machine's in a container)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
