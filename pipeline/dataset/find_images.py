"""The functions that a dataset's YAML can name to find its images, and two bundled datasets.

Those need no network: scikit-learn's 1,797 real handwritten digits (UCI, CC BY 4.0), and mosaics.
"""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.hugging_face import huggingface
from pipeline.dataset.image_files import in_listed_parts
from pipeline.dataset.label_tables import in_table
from pipeline.dataset.sources import Found, Source, by_name, in_class_folders
from pipeline.dataset.splits import Split, stratified


def digits() -> Source:
    """1,797 images of one digit each."""
    images, targets = _bundled()
    found = [Found(f"digit-{row:04d}.pgm", (str(target),)) for row, target in enumerate(targets)]
    files = (image.file for image in found)
    return Source(found, Drawn(dict(zip(files, images, strict=True))))


def mosaics(count: int, valid_pct: float, seed: int) -> Source:
    """`count` images of four digits each, a `valid_pct` share of them for the valid part."""
    images, targets = _bundled()
    parts = np.array(stratified(digits().images, Split("stratified", valid_pct, 0.0, seed)))
    random = np.random.RandomState(seed)
    n_valid = round(count * valid_pct)
    found: list[Found] = []
    pixels = {}
    for part, n_images in {"train": count - n_valid, "valid": n_valid}.items():
        for four in _fours(np.flatnonzero(parts == part), n_images, random):
            file = f"mosaic-{len(found):04d}.pgm"
            labels = sorted({str(targets[row]) for row in four})
            found.append(Found(file, tuple(labels), part))
            pixels[file] = np.block([[images[a] for a in four[:2]], [images[b] for b in four[2:]]])
    return Source(found, Drawn(pixels))


@dataclass(frozen=True)
class Drawn:
    """Gives grey images that exist nowhere else the bytes of a PGM file."""

    pixels: dict[str, np.ndarray]

    def __call__(self, file: str) -> bytes:
        height, width = self.pixels[file].shape
        return b"P5 %d %d 255\n" % (width, height) + self.pixels[file].tobytes()


@cache
def _bundled() -> tuple[np.ndarray, np.ndarray]:
    """uint8 [1797, 8, 8] of 0 to 255 (the originals count 0 to 16), and the digit shown."""
    from sklearn.datasets import load_digits  # takes a second or two

    bunch = load_digits()
    return np.rint(bunch.images * 255 / 16).astype(np.uint8), bunch.target


def _fours(rows: np.ndarray, n_images: int, random: np.random.RandomState) -> np.ndarray:
    """[n_images, 4] rows; every digit is used equally often, give or take one."""
    n_rounds = -(-4 * n_images // len(rows))
    shuffled = np.concatenate([random.permutation(rows) for _ in range(n_rounds)])
    return shuffled[: 4 * n_images].reshape(n_images, 4)


_ALL: tuple[Callable[..., Source], ...] = (
    in_class_folders,
    by_name,
    in_table,
    huggingface,
    digits,
    mosaics,
)
FINDERS = {f"{each.__module__}.{each.__name__}": each for each in _ALL}
FINDER_OF = {each.__name__: target for target, each in FINDERS.items()}


def find_images(recipe: Mapping[str, Any], root: Path | None) -> Source:
    """Call the function that `recipe` names with its other keys; `root` holds the files.

    The key `lists`, of any function that reads files, names lists of the images of each part.
    """
    target = str(recipe.get("_target_", ""))
    if target.startswith("pipeline.dataset") and target.endswith(".in_csv"):  # its earlier name
        target = FINDER_OF["in_table"]
        recipe = {"table" if key == "csv" else key: value for key, value in recipe.items()}
    elif target.startswith("pipeline.dataset"):
        target = FINDER_OF.get(target.rpartition(".")[2], target)
    if target not in FINDERS:
        raise PipelineError(f"images._target_ {target!r}: {near_matches(target, FINDERS)}")
    arguments = {str(key): value for key, value in recipe.items() if key != "_target_"}
    lists = arguments.pop("lists", None)
    known = inspect.signature(FINDERS[target]).parameters
    if "root" in known:
        if root is None:
            raise PipelineError(f"{target} reads files: give dataset.source or dataset.archive")
        arguments["root"] = root
    for key in arguments.keys() - known.keys():
        raise PipelineError(f"images.{key} is no key of {target}: {near_matches(key, known)}")
    for key, parameter in known.items():
        if parameter.default is parameter.empty and key not in arguments:
            raise PipelineError(f"images.{key} is missing: {target} needs it")
    source = FINDERS[target](**arguments)
    if lists and root is not None:
        source = in_listed_parts(source, root, lists)
    if not source.images:
        first = f" ({source.faults[0].file}: {source.faults[0].reason})" if source.faults else ""
        raise PipelineError(f"{root}: {target} found no images that can be used{first}")
    return source
