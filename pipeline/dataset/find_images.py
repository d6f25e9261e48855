"""The functions that a dataset's YAML can name to find its images: `images: {_target_: ...}`."""

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.digits import digits, mosaics
from pipeline.dataset.label_tables import huggingface, in_csv
from pipeline.dataset.sources import Source, by_name, in_class_folders

_ALL: tuple[Callable[..., Source], ...] = (
    *(in_class_folders, by_name, in_csv, huggingface),
    *(digits, mosaics),
)
FINDERS = {f"{each.__module__}.{each.__name__}": each for each in _ALL}


def find_images(recipe: Mapping[str, Any], root: Path | None) -> Source:
    """Call the function that `recipe` names with its other keys; `root` holds the files."""
    target = str(recipe.get("_target_", ""))
    if target not in FINDERS:
        raise PipelineError(f"images._target_ {target!r}: {near_matches(target, FINDERS)}")
    arguments = {str(key): value for key, value in recipe.items() if key != "_target_"}
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
    if not source.images:
        raise PipelineError(f"{root}: {target} found no images")
    return source
