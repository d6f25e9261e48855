"""dvc.lock, written whole or not at all, and only where it changes.

DVC parses and writes the whole file after each stage, in place: at hundreds of stages that is most
of its time, and a kill in the middle leaves half a file. Here each stage's lines are kept as text,
new ones are made by DVC's own writer, and the result takes the file's place in one step.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pipeline.core.errors import PipelineError
from pipeline.core.files import write_text
from pipeline.sweep.dvc_private import dumps_yaml, not_whole

HEAD = ["schema: '2.0'", "stages:"]
Entry = dict[str, Any]


def add_entries(path: Path, entries: dict[str, Entry], order: list[str]) -> None:
    """Put `entries` (stage: what dvc.lock says of it) into the file `path`.

    A stage that is new there goes behind the one that comes before it in `order`: the file is the
    same, in whatever order runs end.
    """
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    old = split_stages(path, text)
    new = {
        name: dumps_yaml({"stages": {name: entry}}).splitlines()[1:]
        for name, entry in entries.items()
    }
    both = old | new
    lines = [line for name in merged(list(old), new, order) for line in both[name]]
    if (whole := "\n".join([*HEAD, *lines]) + "\n") != text:
        write_text(path, whole)


def merged(present: list[str], new: Iterable[str], order: list[str]) -> list[str]:
    """`present` as it stands, with each of `new` behind its nearest predecessor in `order`."""
    there, missing = set(present), set(new) - set(present)
    behind: dict[str | None, list[str]] = {}
    place = None
    for name in order:
        if name in there:
            place = name
        elif name in missing:
            behind.setdefault(place, []).append(name)
    known = set(order)
    first = next((name for name in present if name in known), None)
    names: list[str] = []
    for name in present:
        names += [*(behind.get(None, []) if name == first else []), name, *behind.get(name, [])]
    return names if first is not None else [*names, *behind.get(None, [])]


def split_stages(path: Path, text: str) -> dict[str, list[str]]:
    """The lines of each stage in dvc.lock's text; the text of a killed DVC is refused."""
    try:
        value = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)) or {}
        stages = dict(value.get("stages") or {})
    except (yaml.YAMLError, AttributeError, ValueError):
        raise not_whole(path) from None
    if unknown := set(value) - {"schema", "stages"}:
        raise PipelineError(f"{path}: has {', '.join(sorted(unknown))}, which a sweep cannot keep")
    lines = text.splitlines()
    starts = [
        number
        for number, line in enumerate(lines)
        if number >= len(HEAD) and line.startswith("  ") and not line.startswith("   ")
    ]
    if lines[: len(HEAD)] == HEAD and len(starts) == len(stages):
        ends = [*starts[1:], len(lines)]
        blocks = [lines[start:end] for start, end in zip(starts, ends, strict=True)]
        return dict(zip(stages, blocks, strict=True))
    return {
        name: dumps_yaml({"stages": {name: entry}}).splitlines()[1:]
        for name, entry in stages.items()
    }
