"""Every image decoded once, on all cores, and written as one uint8 array per resize and size.

Worker processes write a few images at a time to files of their own, which are put together in
order: memory does not grow with the dataset, and no pixels travel between processes. The workers
(`decode_in_order`) are those of `predict` too.
"""

import hashlib
import multiprocessing
import shutil
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from pipeline.core.errors import PipelineError
from pipeline.core.processes import end_with_parent, usable_cores
from pipeline.dataset.images import NO_MEMORY, RESIZES, NotAnImage, decode
from pipeline.dataset.prepared import Ragged
from pipeline.dataset.sources import Source

Array = tuple[str, int]  # resize, image size


def array_name(array: Array) -> str:
    return f"{array[0]}-{array[1]}"


def array_files(folder: Path, array: Array) -> list[Path]:
    """The files of one array; the pixels' comes first."""
    names = [array_name(array)] + [f"{array_name(array)}-shapes"] * (array[0] == "crop")
    return [folder / f"{name}.npy" for name in names]


def keep_rows(folder: Path, array: Array, keep: Sequence[bool]) -> None:
    """Rewrite one array of `folder` with only the rows to keep."""
    everything = folder / "everything"
    everything.mkdir()
    for path in array_files(folder, array):
        path.rename(everything / path.name)
    writer = ArrayWriter(folder, array)
    for pixels, kept in zip(stream_rows(everything, array), keep, strict=True):
        if kept:
            writer.append(pixels)
    writer.close()
    shutil.rmtree(everything)


class ArrayWriter:
    """Appends images to a .npy file whose header is known only at the end."""

    def __init__(self, folder: Path, array: Array) -> None:
        self.paths, (self.resize, self.size) = array_files(folder, array), array
        self.shapes: list[tuple[int, int]] = []  # heights and widths
        self.file = self.paths[0].open("wb")
        self._write_header()

    def append(self, pixels: np.ndarray) -> None:
        self.shapes.append((pixels.shape[1], pixels.shape[2]))
        self.file.write(pixels.data)

    def append_file(self, pixels: Path, shapes: Sequence[tuple[int, int]]) -> None:
        """Append images that lie end to end in a file."""
        self.shapes.extend(shapes)
        with pixels.open("rb") as file:
            shutil.copyfileobj(file, self.file, 1 << 20)

    def close(self) -> None:
        self.file.seek(0)
        self._write_header()
        self.file.close()
        if self.resize == "crop":
            np.save(self.paths[1], np.array(self.shapes, dtype=np.int32).reshape(-1, 2))

    def _write_header(self) -> None:
        """numpy pads its header so that the first number may grow: its length never changes."""
        shape: tuple[int, ...] = (len(self.shapes), 3, self.size, self.size)
        if self.resize == "crop":
            shape = (sum(3 * height * width for height, width in self.shapes),)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, header)


def array_rows(folder: Path, array: Array) -> np.ndarray | Ragged:
    """The images of an array in a folder, [3, height, width] each, memory-mapped."""
    pixels, *shapes = [np.load(path, mmap_mode="r") for path in array_files(folder, array)]
    return Ragged(pixels, shapes[0]) if shapes else pixels


def stream_rows(folder: Path, array: Array) -> Iterator[np.ndarray]:
    """The same one after the other, read: pages of a mapped file would count as memory used."""
    rows = array_rows(folder, array)
    shapes = rows.shapes.tolist() if isinstance(rows, Ragged) else [rows.shape[2:]] * len(rows)
    with array_files(folder, array)[0].open("rb") as file:
        np.lib.format.read_magic(file)
        np.lib.format.read_array_header_1_0(file)
        for height, width in shapes:
            pixels = np.frombuffer(file.read(3 * height * width), dtype=np.uint8)
            yield pixels.reshape(3, height, width)


IMAGES_PER_TASK = 32
TASKS_AHEAD = 3  # per worker, whose results nobody has fetched yet
T = TypeVar("T")
R = TypeVar("R")
_work: Callable[[Any], Any]  # what a worker process does with a task, set when it starts


@dataclass(frozen=True)
class Decoded:
    """What one file turned out to be; `reason` says why it cannot be used, else it is empty.

    `side` is the shorter side of the picture in pixels, 0 where it cannot be used.
    """

    sha256: str
    peculiar: str = ""
    reason: str = ""
    side: int = 0


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
    console = Console(stderr=True)
    results = decode_in_order(partial(_decode_task, source.read), tasks, place=f"{folder}: ")
    quiet = not console.is_terminal
    try:
        for done in track(results, "decode", len(tasks), console=console, disable=quiet):
            decoded += done.decoded
            for writer, shapes, pixels in zip(writers, done.shapes, done.pixels, strict=True):
                writer.append_file(pixels, shapes)
                pixels.unlink()
    except MemoryError:
        raise PipelineError(NO_MEMORY) from None
    for writer in writers:
        writer.close()
    return decoded


def decode_in_order(
    work: Callable[[T], R], tasks: Sequence[T], start_method: str | None = None, place: str = ""
) -> Iterator[R]:
    """Yield `work(task)` of each task, in order, computed by one process per usable core.

    At most TASKS_AHEAD results per process wait to be fetched, so memory does not grow with the
    number of tasks. Processes of the start method "fork" share what `work` holds; others may get a
    pickled copy. Raises `PipelineError` where a process is killed, with `place` before its words,
    or runs out of memory.
    """
    n_workers = min(usable_cores(), len(tasks))
    context = multiprocessing.get_context(start_method)
    ahead: deque[Future[R]] = deque()
    with ProcessPoolExecutor(n_workers, context, _start_worker, (work,)) as pool:
        try:
            for task in tasks:
                ahead.append(pool.submit(_run, task))
                if len(ahead) > TASKS_AHEAD * n_workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool:
            raise PipelineError(f"{place}a decoding process was killed: is memory short?") from None
        except MemoryError:
            raise PipelineError(NO_MEMORY) from None
        finally:
            pool.shutdown(cancel_futures=True)


def _start_worker(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    warnings.simplefilter("ignore")  # of Pillow: what is wrong with a file raises
    end_with_parent()  # or a killed parent leaves its workers waiting for ever


def _run(task: Any) -> Any:
    return _work(task)


def _decode_task(read: Callable[[str], bytes], task: _Task) -> _Done:
    """Decode a task's files and write their pixels to one file per array."""
    paths = [Path(task.prefix + array_name(array)) for array in task.arrays]
    outputs = [path.open("wb") for path in paths]
    done = _Done([], [[] for _ in paths], paths)
    for file in task.files:
        decoded, images = _decode_one(read, file, task.arrays)
        done.decoded.append(decoded)
        for output, shapes, pixels in zip(outputs, done.shapes, images, strict=False):
            shapes.append((pixels.shape[1], pixels.shape[2]))
            output.write(pixels.data)
    for output in outputs:
        output.close()
    return done


def _decode_one(
    read: Callable[[str], bytes], file: str, arrays: Sequence[Array]
) -> tuple[Decoded, list[np.ndarray]]:
    """What a file turned out to be, and its pixels for each array; none if it is no image."""
    try:
        data = read(file)
    except OSError as error:
        return Decoded(sha256="", reason=f"cannot be read: {error.strerror}"), []
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        picture = decode(data)
    except NotAnImage as error:
        return Decoded(sha256, reason=str(error)), []
    images = [RESIZES[resize](picture.pixels, size) for resize, size in arrays]
    return Decoded(sha256, " ".join(picture.peculiar), side=min(picture.pixels.size)), images
