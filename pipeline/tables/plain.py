"""`python -m pipeline.tables.plain params.yaml`: every value of the study is one plain word.

DVC puts such values into shell commands and file names as they are. Studies come from other people,
so each stage that uses one runs this command first, and DVC's shell never sees a value that could
be anything but a word: no space, quote, `$`, `;`, newline, no option, no `..` for a folder.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.core.yaml_files import read_yaml

_WORD = re.compile(r"-|[\w./~][\w.:/@%+,=~-]*")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
MAX_CHARACTERS = 200


def main(params: Path) -> None:
    """Refuse PARAMS (params.yaml) if a value in it is more than a word, a number or a list."""
    refuse_odd_words(params)


def refuse_odd_words(path: Path) -> None:
    """`refuse_odd_values` of what the file at `path` holds."""
    refuse_odd_values(path, read_yaml(path))


def refuse_odd_values(path: Path, params: Any) -> None:
    """Raise for the first text that a shell or a file system could take for more than a word."""
    for key, text in _texts(params, ""):
        rule = _NAME if key.startswith(("grid.", "benchmark.")) else _WORD
        if not rule.fullmatch(text) or len(text) > MAX_CHARACTERS:
            allowed = "letters, digits and _ . -" + ("" if rule is _NAME else " / : @ % + , = ~")
            raise PipelineError(
                f"{path}: {key} has {_shown(text)}, which becomes part of a shell command: write "
                f"{allowed} only, {MAX_CHARACTERS} of them at most"
            )


def _texts(value: Any, key: str) -> Iterator[tuple[str, str]]:
    """Every text in `value` with the key it stands under."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from _texts(each, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for each in value:
            yield from _texts(each, key)
    elif isinstance(value, str):
        yield key, value


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:60]}...")


if __name__ == "__main__":
    run(main)
