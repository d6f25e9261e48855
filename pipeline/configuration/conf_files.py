"""A file of conf/ that somebody else wrote is data: it sets keys of its own group, and no more.

Hydra would let it do more. With `@package _global_` or a defaults list it sets `hydra.callbacks`,
and Hydra calls whatever a `_target_` there names; `${oc.env:TOKEN}` would put a secret into the
record. Neither is needed here, so a file that has one is refused before Hydra reads it.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.core.yaml_files import read_yaml

_RESOLVER = re.compile(r"(?<!\\)(?:\\\\)*(\$\{[^}]*:)")  # `\${` is text to OmegaConf


def check_conf_file(path: Path) -> None:
    """Raise `PipelineError` if `path` is no YAML mapping of plain data."""
    value, text = read_yaml(path), path.read_text(encoding="utf-8")
    if not isinstance(value, dict):
        raise PipelineError(f"{path}: holds {type(value).__name__}, not `key: value` lines")
    if re.search(r"^\s*#\s*@package", text, flags=re.MULTILINE) or "defaults" in value:
        raise PipelineError(
            f"{path}: `@package` and `defaults` reach beyond this file: leave them out"
        )
    for said in _texts(value):
        if found := _RESOLVER.search(said):
            raise PipelineError(
                f"{path}: {found[1]}...}} asks for more than a key: write the value"
            )


def _texts(value: Any) -> Iterator[str]:
    """Every text in a YAML file's value, keys too."""
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list):
        for each in value:
            yield from _texts(each)
    elif isinstance(value, str):
        yield value
