"""Command `predict`: what an exported model says of any images.

Reads a folder that `export` wrote (predict/exported.py says what is in it), and images: files, or
folders with all images below them. Writes a CSV with a row per image: its class and how probable it
is, or its labels by their thresholds, and the probability of every class. Files that cannot be
read have no row: they are listed beside it, in NAME-unreadable.csv where that is
a file, stop nothing, and make the exit code 1.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.core.files import STDOUT, is_special
from pipeline.dataset.images import SUFFIXES, dim
from pipeline.predict.decoding import IMAGES_PER_TASK, answers
from pipeline.results import write_result

SEPARATOR = "|"  # between the labels of an image
MOST_DIM_BITS = 12  # of 16: a sixteenth of full brightness, as stage `dataset` has it


def main(folder: Path, *images: Path, out: Path = Path("predictions.csv")) -> None:
    """Write what an exported model says of images.

    Files that cannot be read have no row; they are named, and the exit code is then 1.

    Args:
        folder: the model, as `python -m pipeline.export` wrote it
        images: files, or folders of them
        out: the table to write, - for standard output
    """
    if out.is_dir():
        raise PipelineError(
            f"{out}: a folder: give --out a file, such as {out / 'predictions.csv'}"
        )
    files = found(images)
    import torch

    from pipeline.predict.exported import on_cpu, open_exported

    torch.set_num_threads(1)  # every worker has one core, and the model with it
    model = open_exported(folder)
    cuda = torch.cuda.is_available()
    parts = answers(files, model.resize, model.image_size, None if cuda else on_cpu(model))
    if cuda:
        model.net.to("cuda")
    logits: list[np.ndarray] = []
    reasons: list[str] = []
    peculiar: list[str] = []
    for part in _shown(parts, len(files)):
        reasons += part.reasons
        peculiar += part.peculiar
        if len(part.given):
            logits.append(model.logits(part.given) if cuda else part.given)
    read = [file for file, reason in zip(files, reasons, strict=True) if not reason]
    _tell_unreadable(files, reasons, out)
    _tell_dim(peculiar)
    if not read:
        raise PipelineError(f"none of the {len(files)} files is an image that can be read")
    probabilities = model.probabilities(np.concatenate(logits))
    write_result(out, table(read, probabilities, model.classes, model.thresholds))
    print(
        f"{out}: {len(read):,} images",
        file=sys.stderr if out == STDOUT else sys.stdout,
        flush=True,
    )
    if n_bad := len(files) - len(read):
        why = f": {_beside(out).name} says why" if _is_file(out) else ""
        raise PipelineError(
            f"{n_bad:,} of {len(files):,} files cannot be read and have no row{why}"
        )


def found(given: Sequence[Path]) -> list[Path]:
    """The files among `given`, and every image below its folders, each once, in order."""
    files: list[Path] = []
    for path in given:
        if path.is_dir():
            below = sorted(each for each in path.rglob("*") if each.suffix.lower() in SUFFIXES)
            files += [each for each in below if not each.is_dir()]  # links to nothing are listed
            if not below:
                print(f"{path}: no images in it", file=sys.stderr)
        elif path.exists() or path.is_symlink():
            files.append(path)
        else:
            raise PipelineError(f"{path}: no such file or folder")
    if not files:
        where = ", ".join(map(str, given)) or "nothing was given"
        raise PipelineError(f"no images ({where}): give image files, or folders that hold some")
    return list(dict.fromkeys(files))


def table(
    files: Sequence[Path], probabilities: np.ndarray, classes: list[str], thresholds: Any
) -> pd.DataFrame:
    """A row per image; `thresholds` [classes] decide on labels, None means one class per image."""
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


def _shown(parts: Iterator[Any], total: int) -> Iterator[Any]:
    """`parts` with a bar where somebody watches."""
    console = Console(stderr=True)
    batches = -(-total // IMAGES_PER_TASK)
    quiet = not console.is_terminal
    yield from track(parts, "predict", total=batches, console=console, disable=quiet)


def _tell_unreadable(files: Sequence[Path], reasons: Sequence[str], out: Path) -> None:
    bad = [(str(file), reason) for file, reason in zip(files, reasons, strict=True) if reason]
    path = _beside(out)
    if _is_file(out) and not bad:
        path.unlink(missing_ok=True)  # of an earlier call
    if _is_file(out) and bad:
        write_result(path, pd.DataFrame(bad, columns=["file", "reason"]))
    for file, reason in bad:
        print(f"{file}: {reason}", file=sys.stderr)


def _is_file(out: Path) -> bool:
    return out != STDOUT and not is_special(out)


def _beside(out: Path) -> Path:
    return out.with_name(f"{out.stem}-unreadable.csv")


def _tell_dim(peculiar: Sequence[str]) -> None:
    """Say where 16-bit images hold 12 bits or fewer, as of cameras and scanners."""
    known = dim(peculiar)
    if known and known[1] <= MOST_DIM_BITS:
        print(
            f"{known[0]:,} images of 16 bits use the lower {known[1]} alone, so the model saw them "
            "nearly black: scale them, or convert them to 8 bits",
            file=sys.stderr,
        )


if __name__ == "__main__":
    run(main)
