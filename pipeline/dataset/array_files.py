"""The .npy files of a prepared dataset: written image by image, read image by image.

`squish-S.npy` is [images, 3, S, S]. `crop-S.npy` holds images of several shapes end to end, each
[3, height, width], and `crop-S-shapes.npy` their heights and widths.
"""

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.dataset.prepared import Ragged

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
