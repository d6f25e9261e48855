"""`source.json` of a folder of timm's tables: their origin, and the hash and rows of each file.

A folder without it (such as a checkout of timm) has no known commit and is not checked.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.core.files import sha256
from pipeline.timm_results.published_tables import parse_cells

NAME = "source.json"


@dataclass(frozen=True)
class TableFile:
    """One CSV: its SHA-256, and its rows without the header."""

    sha256: str
    rows: int


@dataclass(frozen=True)
class Source:
    """Where a folder of tables came from; commit and date are None if unknown."""

    origin: str
    rev: str
    commit: str | None
    date: str | None
    files: dict[str, TableFile]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def table_file(content: bytes, where: str) -> TableFile:
    """Hash and rows of a CSV; content that is no table is an error that begins with `where`."""
    return TableFile(hashlib.sha256(content).hexdigest(), len(parse_cells(content, where)[1]))


def read_source(folder: Path) -> Source:
    """Where `folder` came from, its files checked against it."""
    if not folder.is_dir():
        raise PipelineError(f"{folder}: no such folder; run `dvc repro fetch`")
    if not (folder / NAME).is_file():
        return Source(str(folder), "-", None, None, {})
    source = _parse(folder / NAME)
    if name := damaged_file(folder, source):
        raise PipelineError(
            f"{folder / name}: not what {NAME} says was fetched; run `dvc repro --force fetch`"
        )
    return source


def damaged_file(folder: Path, source: Source) -> str | None:
    """The first CSV of `folder` that is changed, missing or extra, by its SHA-256."""
    for name in sorted({path.name for path in folder.glob("*.csv")} | set(source.files)):
        path = folder / name
        if name not in source.files or not path.is_file():
            return name
        if sha256(path) != source.files[name].sha256:
            return name
    return None


def _parse(path: Path) -> Source:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        files = {name: TableFile(**entry) for name, entry in value.pop("files").items()}
        return Source(**value, files=files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PipelineError(f"{path}: not a {NAME} of `fetch` ({error}); fetch again") from None
