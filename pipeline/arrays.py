"""Every image decoded once, on all cores, and written as one uint8 array per resize and size.

Arrays are streamed to disk image by image, so memory does not grow with the dataset.
`squish-S.npy` is [images, 3, S, S]. `crop-S.npy` holds images of several shapes end to end, each
[3, height, width], and `crop-S-shapes.npy` their heights and widths.
"""

import hashlib
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from pipeline.images import RESIZES, NotAnImage, decode
from pipeline.sources import Source

Array = tuple[str, int]  # resize, image size


@dataclass(frozen=True)
class Decoded:
    """What one file turned out to be; `reason` says why it cannot be used, else it is empty."""

    sha256: str
    pixels_sha256: str = ""
    peculiar: str = ""
    reason: str = ""


def array_name(array: Array) -> str:
    return f"{array[0]}-{array[1]}"


def decode_all(source: Source, arrays: Sequence[Array], folder: Path) -> list[Decoded]:
    """Decode each image once and write the arrays of those that could be decoded, in order."""
    writers = [RowWriter(folder / f"{array_name(array)}.npy", array) for array in arrays]
    files = [image.file for image in source.images]
    decoded = []
    for facts, rows in _on_all_cores(source, files, arrays):
        decoded.append(facts)
        for writer, row in zip(writers, rows, strict=False):
            writer.append(row)
    for writer in writers:
        writer.close()
    return decoded


def keep_rows(folder: Path, array: Array, keep: Sequence[bool]) -> None:
    """Rewrite one array of `folder` with only the rows to keep."""
    path = folder / f"{array_name(array)}.npy"
    beside = path.with_name(f"all-{path.name}")
    path.rename(beside)
    writer = RowWriter(path, array)
    for row, kept in zip(read_rows(beside, array), keep, strict=True):
        if kept:
            writer.append(row)
    writer.close()
    beside.unlink()


class RowWriter:
    """Appends images to a .npy file whose header is known only at the end."""

    def __init__(self, path: Path, array: Array) -> None:
        self.path, (self.resize, self.size) = path, array
        self.shapes: list[tuple[int, int]] = []
        self.file = path.open("wb")
        self._write_header()

    def append(self, row: np.ndarray) -> None:
        self.shapes.append(row.shape[1:])
        self.file.write(row.data)

    def close(self) -> None:
        self.file.seek(0)
        self._write_header()
        self.file.close()
        if self.resize == "crop":
            shapes = np.array(self.shapes, dtype=np.int32).reshape(-1, 2)
            np.save(shapes_path(self.path), shapes)

    def _write_header(self) -> None:
        """numpy pads its header so that the first number may grow: its length never changes."""
        shape: tuple[int, ...] = (len(self.shapes), 3, self.size, self.size)
        if self.resize == "crop":
            shape = (sum(3 * height * width for height, width in self.shapes),)
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(self.file, header)


def shapes_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}-shapes.npy")


def read_rows(path: Path, array: Array) -> Iterator[np.ndarray]:
    """The images of an array file, one after the other, memory-mapped."""
    pixels = np.load(path, mmap_mode="r")
    if array[0] != "crop":
        yield from pixels
        return
    start = 0
    for height, width in np.load(shapes_path(path)).tolist():
        end = start + 3 * height * width
        yield pixels[start:end].reshape(3, height, width)
        start = end


def _on_all_cores(
    source: Source, files: Sequence[str], arrays: Sequence[Array]
) -> Iterator[tuple[Decoded, list[np.ndarray]]]:
    """Decode ahead by a bounded number of images, yield in order. Pillow releases the GIL."""

    def one(file: str) -> tuple[Decoded, list[np.ndarray]]:
        return _decode_one(source.read(file), arrays)

    n_workers = _free_cores()
    ahead: deque[Future[tuple[Decoded, list[np.ndarray]]]] = deque()
    with ThreadPoolExecutor(n_workers) as pool:
        for file in _with_progress(files):
            ahead.append(pool.submit(one, file))
            if len(ahead) > 4 * n_workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _decode_one(data: bytes, arrays: Sequence[Array]) -> tuple[Decoded, list[np.ndarray]]:
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        picture = decode(data)
    except NotAnImage as error:
        return Decoded(sha256, reason=str(error)), []
    rows = [RESIZES[resize](picture.pixels, size) for resize, size in arrays]
    pixels_sha256 = hashlib.sha256(rows[0].data).hexdigest()
    return Decoded(sha256, pixels_sha256, " ".join(picture.peculiar)), rows


def _with_progress(files: Sequence[str]) -> Iterable[str]:
    console = Console(stderr=True)
    return track(files, "decode", console=console, disable=not console.is_terminal)


def _free_cores() -> int:
    """The cores this process may run on (fewer than the machine's in a container)."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1
