"""Which names the installed timm knows, and which it calls by another name today.

Reads timm's source files, because importing timm (and torch with it) takes longer than all of
`merge`. A test holds this reading against timm's own registry, name by name.
"""

import ast
import importlib.util
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_ENTRY = re.compile(r"^@register_model\s*\n(?:[@#].*\n)*def (\w+)\(", re.MULTILINE)


@dataclass(frozen=True)
class Registry:
    """timm's architectures, and its former names with what each is called today."""

    architectures: frozenset[str]
    renamed: dict[str, str]


@cache
def registry() -> Registry:
    """What the installed timm registers."""
    found = importlib.util.find_spec("timm")
    assert found is not None
    assert found.origin is not None
    architectures: set[str] = set()
    renamed: dict[str, str] = {}
    for path in sorted((Path(found.origin).parent / "models").glob("*.py")):
        source = path.read_text(encoding="utf-8")
        architectures.update(_ENTRY.findall(source))
        renamed.update(_deprecations(source))
    return Registry(frozenset(architectures), renamed)


def _deprecations(source: str) -> dict[str, str]:
    """The literal in `register_model_deprecations(__name__, {old: new})`; "" for no heir."""
    start = source.find("\nregister_model_deprecations(__name__, {")
    if start < 0:
        return {}
    opened = source.index("{", start)
    literal = ast.literal_eval(source[opened : source.index("}", opened) + 1])
    return {old: new or "" for old, new in literal.items()}
