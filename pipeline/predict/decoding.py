"""Files to answers on all cores: every worker decodes some images at a time by the one rule.

On a CPU it asks the model too, with one thread, so that no pixels travel between processes and no
two of them wait for a core. On CUDA the pixels come back, and this process asks the model.
"""

import multiprocessing
import os
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.core.errors import PipelineError
from pipeline.core.processes import end_with_parent, usable_cores
from pipeline.dataset.images import NO_MEMORY, RESIZES, NotAnImage, Picture, decode

IMAGES_PER_TASK = 32
AHEAD = 3  # tasks per worker that wait to be fetched
Ask = Callable[[np.ndarray], np.ndarray]
_ask: Ask | None  # set once in each worker
_shape: tuple[str, int]


@dataclass(frozen=True)
class Answered:
    """Some files in their order: why one could not be read, else "", and the answers of the rest.

    `peculiar` has the words of `Picture.peculiar` of each file that was read. `given` is what `ask`
    gave, [read files, ...]; without one the pixels, uint8 [read files, 3, size, size].
    """

    files: Sequence[Path]
    reasons: list[str]
    peculiar: list[str]
    given: np.ndarray


def answers(files: Sequence[Path], resize: str, size: int, ask: Ask | None) -> Iterator[Answered]:
    """Decode, and ask where `ask` is given; in the files' order, with a bounded number ahead."""
    tasks = [files[at : at + IMAGES_PER_TASK] for at in range(0, len(files), IMAGES_PER_TASK)]
    workers = min(usable_cores(), len(tasks))
    ahead: deque[Future[Answered]] = deque()
    context = multiprocessing.get_context("fork")  # the model is shared, not sent
    settings = (ask, resize, size)
    with ProcessPoolExecutor(workers, context, _start_worker, settings) as pool:
        try:
            for task in tasks:
                ahead.append(pool.submit(_work, task))
                if len(ahead) > AHEAD * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool:
            raise PipelineError("a decoding process was killed: is memory short?") from None
        except MemoryError:
            raise PipelineError(NO_MEMORY) from None
        finally:
            pool.shutdown(cancel_futures=True)


def square(pixels: np.ndarray, size: int) -> np.ndarray:
    """The square in the middle of [3, height, width], as validation images of a crop are cut."""
    top, left = (int(0.5 * (length - size)) for length in pixels.shape[1:])
    return pixels[:, top : top + size, left : left + size]


def _start_worker(ask: Ask | None, resize: str, size: int) -> None:
    global _ask, _shape
    _ask, _shape = ask, (resize, size)
    warnings.simplefilter("ignore")  # of Pillow: what is wrong with a file raises
    end_with_parent()


def _work(files: Sequence[Path]) -> Answered:
    resize, size = _shape
    pixels = np.empty((len(files), 3, size, size), dtype=np.uint8)
    reasons: list[str] = []
    peculiar: list[str] = []
    for file in files:
        picture, reason = _decoded(file)
        reasons.append(reason)
        if picture:
            pixels[len(peculiar)] = square(RESIZES[resize](picture.pixels, size), size)
            peculiar.append(" ".join(picture.peculiar))
    given = pixels[: len(peculiar)]
    asked = given if _ask is None or not peculiar else _ask(given)
    return Answered(files, reasons, peculiar, asked)


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
