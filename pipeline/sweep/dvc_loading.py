"""Load DVC's stages in half the time: what many of them share is parsed and checked once.

The cells of a study have most dependencies, parameters and lines of dvc.lock in common. DVC's own
functions do the work; a dvc.lock that looks unusual is left to them whole.
"""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dvc import output
from dvc.exceptions import DvcException
from dvc.utils import strictyaml

LOCK = "dvc.lock"
HEAD = "schema: '2.0'\nstages:\n"
STAGE = re.compile(r"  ([a-z]\w*(?:@[\w.@-]+)?):\n((?: {4}.*\n)+)", re.ASCII)
PART = re.compile(r" {4}(cmd|deps|params|outs):.*\n(?: {4}[- ].*\n)*")
REFERENCE = re.compile(r"[:-] +[&*!]")  # YAML's anchors, aliases and tags


@contextmanager
def loading_stages() -> Iterator[None]:
    """While the block lasts, DVC loads stages without repeating work.

    Equal parts of dvc.lock are parsed and validated once, and the file system of a path without a
    scheme is looked up once.
    """
    load, file_system = strictyaml.load, output.get_cloud_fs
    known: dict[int, Any] = {}

    def load_once(path: str, schema: Any = None, fs: Any = None, **options: Any) -> Any:
        found = None if options or not path.endswith(LOCK) else _lock_at(path, schema, fs)
        return found or load(path, schema, fs, **options)

    def file_system_once(config: Any, url: str, **options: Any) -> Any:
        if options or "://" in url:
            return file_system(config, url=url, **options)
        if id(config) not in known:  # which stays alive, and its number its own, in `known`
            known[id(config)] = config, file_system(config, url=url)
        kind, settings, _ = known[id(config)][1]
        return kind, dict(settings), kind._strip_protocol(url)

    strictyaml.load, output.get_cloud_fs = load_once, file_system_once
    try:
        yield
    finally:
        strictyaml.load, output.get_cloud_fs = load, file_system


def _lock_at(path: str, schema: Any, fs: Any) -> tuple[Any, str] | None:
    """What `strictyaml.load` returns; None of a file that it should read, or refuse, itself."""
    try:
        with fs.open(path, encoding="utf-8") as file:
            text = file.read()
        found = parsed_lock(text, strictyaml.parse_yaml)
        if found is None:
            return None
        strictyaml.validate(_each_part_once(found), schema)
    except (DvcException, OSError, UnicodeDecodeError):
        return None
    return found, text


def parsed_lock(text: str, parse: Callable[[str, str], Any]) -> dict[str, Any] | None:
    """dvc.lock's content by `parse`, which gets each distinct part (cmd, deps, ...) of stages once.

    None where the text is not as DVC writes it: the parts might mean something else together.
    """
    if not text.startswith(HEAD) or len(text.splitlines()) != text.count("\n"):
        return None
    if REFERENCE.search(text):
        return None
    stages: dict[str, dict[str, int]] = {}  # the number of each part
    numbers: dict[str, int] = {}
    for stage in _matches(STAGE, text, len(HEAD)):
        parts = list(_matches(PART, stage[2], 0)) if stage else []
        if not stage or not all(parts) or stage[1] in stages:
            return None
        own = {part[1]: numbers.setdefault(part[0], len(numbers)) for part in parts if part}
        if len(own) != len(parts):
            return None
        stages[stage[1]] = own
    joined = "".join(f"part{number}:\n{lines}" for lines, number in numbers.items())
    found = list(parse(joined, LOCK).values())
    keys = [lines.strip().partition(":")[0] for lines in numbers]
    if [list(each) if isinstance(each, dict) else None for each in found] != [[k] for k in keys]:
        return None
    content = {
        name: {key: found[number][key] for key, number in own.items()}
        for name, own in stages.items()
    }
    return {"schema": "2.0", "stages": content}


def _matches(pattern: re.Pattern[str], text: str, start: int) -> Iterator[re.Match[str] | None]:
    """Matches that follow one another from `start` to the end; None in the place of other text."""
    while start < len(text):
        match = pattern.match(text, start)
        yield match
        if match is None:
            return
        start = match.end()


def _each_part_once(lock: dict[str, Any]) -> dict[str, Any]:
    """The same without parts that an earlier stage has; each keeps its command, as it must."""
    seen: set[int] = set()
    stages = {}
    for name, parts in lock["stages"].items():
        stages[name] = {k: v for k, v in parts.items() if k == "cmd" or id(v) not in seen}
        seen |= set(map(id, parts.values()))
    return {**lock, "stages": stages}
