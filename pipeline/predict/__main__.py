"""Command `predict`: what an exported model says of any images.

Reads a folder that `export` wrote (predict/exported.py says what is in it), and images: files, or
folders with all images below them. Writes a CSV with a row per image: its class and how probable it
is, or its labels by their thresholds, and the probability of every class. Files that cannot be read
stop nothing: they have no row, NAME-unreadable.csv next to the CSV lists them, and the exit code
is 1.

Every core decodes some images at a time. On a CPU the workers run the model too, with one thread
each, so that no pixels travel between processes and no two workers wait for a core. On CUDA the
pixels come back, and this process runs the model.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from pipeline.core.command import number_of, run
from pipeline.core.errors import PipelineError
from pipeline.core.files import STDOUT, is_special
from pipeline.dataset.arrays import IMAGES_PER_TASK, decode_in_order
from pipeline.dataset.images import (
    BITS_NEARLY_BLACK,
    RESIZES,
    SUFFIXES,
    NotAnImage,
    Picture,
    bits_used,
    decode,
)
from pipeline.dataset.sources import not_data
from pipeline.results import write_result

SEPARATOR = "|"  # between the labels of an image
LogitsOf = Callable[[np.ndarray], np.ndarray]  # of pixels, uint8 [images, 3, size, size]


def main(folder: Path, *images: Path, out: Path = Path("predictions.csv")) -> None:
    """Write what an exported model says of images.

    Files that cannot be read have no row; they are named, and the exit code is then 1.

    Args:
        folder: the model, as `python -m pipeline.export` wrote it
        images: files, or folders of them
        out: the table to write, - for standard output
    """
    _check_paths(folder, out)  # before torch is loaded
    files = image_files(images)
    import torch

    from pipeline.predict.exported import on_cpu, open_exported

    torch.set_num_threads(1)  # every worker has one core, and the model with it
    model = open_exported(folder)
    cuda = torch.cuda.is_available()
    logits_of = None if cuda else on_cpu(model)
    batches = decoded_batches(files, model.resize, model.image_size, logits_of)
    if cuda:
        model.net.to("cuda")
    logits: list[np.ndarray] = []
    reasons: list[str] = []
    peculiar: list[str] = []
    for batch in _with_progress(batches, len(files)):
        reasons += batch.reasons
        peculiar += batch.peculiar
        if len(batch.output):
            logits.append(model.logits(batch.output) if cuda else batch.output)
    read = [file for file, reason in zip(files, reasons, strict=True) if not reason]
    _report_unreadable(files, reasons, out)
    _report_dim(peculiar)
    if not read:
        of = number_of(len(files), "file", "files")
        raise PipelineError(f"none of the {of} is an image that can be read")
    probabilities = model.probabilities(np.concatenate(logits))
    write_result(out, table(read, probabilities, model.classes, model.thresholds))
    to = sys.stderr if out == STDOUT else sys.stdout
    where = "standard output" if out == STDOUT else out
    print(f"{where}: {number_of(len(read), 'image', 'images')}", file=to, flush=True)
    if n_bad := len(files) - len(read):
        why = f": {_unreadable_csv(out)} says why" if _is_file(out) else ""
        of = number_of(len(files), "file", "files")
        cannot = "cannot be read and have no row"
        cannot = "cannot be read and has no row" if n_bad == 1 else cannot
        raise PipelineError(f"{n_bad:,} of {of} {cannot}{why}")


def _check_paths(folder: Path, out: Path) -> None:
    if out.is_dir():
        raise PipelineError(
            f"{out}: a folder: give --out a file, such as {out / 'predictions.csv'}"
        )
    if not (folder / "config.json").is_file():
        what = "no exported model here" if folder.is_dir() else "no such folder"
        raise PipelineError(f"{folder}: {what}: give one that `python -m pipeline.export` wrote")


def image_files(given: Sequence[Path]) -> list[Path]:
    """The files among `given`, and every image below its folders, each once, in order.

    Below folders, stage `dataset` and this leave out the same hidden files.

    Raises `PipelineError` where a path does not exist, or none holds an image.
    """
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            below = [each for each in sorted(path.rglob("*")) if not each.is_dir()]
            named = [each for each in below if each.suffix.lower() in SUFFIXES]
            images = [
                each for each in named if not any(map(not_data, each.relative_to(path).parts))
            ]
            files += images  # links to nothing too: they are listed as unreadable
            if not images:
                print(f"{path}: no images in it", file=sys.stderr)
            elif n_others := len(below) - len(images):
                others = number_of(n_others, "other file is", "other files are")
                hidden = "hidden, or " if len(images) < len(named) else ""
                print(f"{path}: {others} left out: {hidden}no image by name", file=sys.stderr)
        elif path.exists() or path.is_symlink():
            files.append(path)
        else:
            raise PipelineError(f"{path}: no such file or folder")
    if not files:
        where = f"no images in {', '.join(map(str, given))}" if given else "no images were named"
        raise PipelineError(f"{where}: give image files, or folders that hold some")
    return list(dict.fromkeys(files))


@dataclass(frozen=True)
class Batch:
    """Some of the files, in their order.

    reasons   of each file: why it cannot be read, or ""
    peculiar  of each file that was read: the words of `Picture.peculiar`
    output    of the files that were read: logits [files, classes] or, where no model was given, the
              pixels, uint8 [files, 3, size, size]
    """

    files: Sequence[Path]
    reasons: list[str]
    peculiar: list[str]
    output: np.ndarray


def decoded_batches(
    files: Sequence[Path], resize: str, size: int, logits_of: LogitsOf | None
) -> Iterator[Batch]:
    """All files in batches, decoded and given to the model `logits_of` by one process per core."""
    batches = [files[at : at + IMAGES_PER_TASK] for at in range(0, len(files), IMAGES_PER_TASK)]
    work = partial(_decoded_batch, resize, size, logits_of)
    return decode_in_order(work, batches, "fork")  # the processes share the model


def _decoded_batch(
    resize: str, size: int, logits_of: LogitsOf | None, files: Sequence[Path]
) -> Batch:
    pixels = np.empty((len(files), 3, size, size), dtype=np.uint8)
    reasons: list[str] = []
    peculiar: list[str] = []
    for file in files:
        picture, reason = _decoded(file)
        reasons.append(reason)
        if picture:
            pixels[len(peculiar)] = centre_crop(RESIZES[resize](picture.pixels, size), size)
            peculiar.append(" ".join(picture.peculiar))
    pixels = pixels[: len(peculiar)]
    output = logits_of(pixels) if logits_of and peculiar else pixels
    return Batch(files, reasons, peculiar, output)


def _decoded(file: Path) -> tuple[Picture | None, str]:
    """The picture, or why there is none."""
    try:
        data = file.read_bytes()
    except OSError as error:
        return None, f"cannot be read: {error.strerror or os.strerror(error.errno or 0)}"
    try:
        return decode(data), ""
    except NotAnImage as error:
        return None, str(error)


def centre_crop(pixels: np.ndarray, size: int) -> np.ndarray:
    """The square in the middle of [3, height, width], as validation images of a crop are cut."""
    top, left = (int(0.5 * (length - size)) for length in pixels.shape[1:])
    return pixels[:, top : top + size, left : left + size]


def _with_progress(batches: Iterator[Batch], n_files: int) -> Iterator[Batch]:
    """The batches, with a progress bar on a terminal."""
    console = Console(stderr=True)
    total = -(-n_files // IMAGES_PER_TASK)
    quiet = not console.is_terminal
    yield from track(batches, "predict", total=total, console=console, disable=quiet)


def _report_unreadable(files: Sequence[Path], reasons: Sequence[str], out: Path) -> None:
    bad = [(str(file), reason) for file, reason in zip(files, reasons, strict=True) if reason]
    path = _unreadable_csv(out)
    if _is_file(out) and not bad:
        path.unlink(missing_ok=True)  # of an earlier call
    if _is_file(out) and bad:
        write_result(path, pd.DataFrame(bad, columns=["file", "reason"]))
    for file, reason in bad:
        print(f"{file}: {reason}", file=sys.stderr)


def _report_dim(peculiar: Sequence[str]) -> None:
    """Say where 16-bit images hold 12 bits or fewer, as of cameras and scanners."""
    known = bits_used(peculiar)
    if known and known[1] <= BITS_NEARLY_BLACK:
        them = "it" if known[0] == 1 else "them"
        print(
            f"{number_of(known[0], 'image of 16 bits uses', 'images of 16 bits use')} the lower "
            f"{known[1]} alone, so the model saw {them} nearly black: scale {them}, or convert "
            f"{them} to 8 bits",
            file=sys.stderr,
        )


def table(
    files: Sequence[Path],
    probabilities: np.ndarray,
    classes: list[str],
    thresholds: np.ndarray | None,
) -> pd.DataFrame:
    """A row per image, from probabilities [images, classes].

    An image has the labels above their `thresholds` [classes]; without thresholds it has one class.
    """
    rows: dict[str, Any] = {"file": [str(each) for each in files]}
    if thresholds is None:
        chosen = probabilities.argmax(axis=1)
        rows["class"] = [classes[each] for each in chosen]
        rows["probability"] = probabilities[np.arange(len(chosen)), chosen].round(6)
    else:
        rows["labels"] = [
            SEPARATOR.join(np.array(classes, dtype=object)[each])
            for each in probabilities > thresholds
        ]
    each_class = {f"p({name})": probabilities[:, n].round(6) for n, name in enumerate(classes)}
    return pd.DataFrame({**rows, **each_class})


def _is_file(out: Path) -> bool:
    return out != STDOUT and not is_special(out)


def _unreadable_csv(out: Path) -> Path:
    return out.with_name(f"{out.stem}-unreadable.csv")


if __name__ == "__main__":
    run(main)
