"""Where the 2022 study's CSV comes from: a file, or URL@COMMIT:FILE of a git repository.

Reads a file that is there, or fetches that one commit. The study's public repository keeps its runs
at its root (fastai_timm.csv, unchanged from 15 June 2022 on); nothing but the commit's CSVs there
is transferred.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from pipeline.core.errors import PipelineError
from pipeline.core.files import sha256
from pipeline.fetch import git_url
from pipeline.timm_results.git import is_full_id, shown
from pipeline.timm_results.git_results import results_at

_IN_GIT = re.compile(
    r"(?P<url>\S+)@(?P<commit>[0-9A-Za-z]+):(?P<file>[A-Za-z0-9][A-Za-z0-9._-]*\.csv)"
)


@dataclass(frozen=True)
class Source:
    """Where the runs came from; commit, date and file are None for a plain file."""

    origin: str
    commit: str | None
    date: str | None
    file: str | None
    sha256: str

    @property
    def title(self) -> str:
        return self.origin if self.commit is None else f"{self.origin}@{self.commit}:{self.file}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


@contextmanager
def sweep_file(given: str) -> Iterator[tuple[Path, Source]]:
    """The CSV as a file, for as long as the block lasts, and where it came from."""
    path = Path(given)
    if path.is_file():
        yield path, Source(str(path), None, None, None, sha256(path))
        return
    asked = _IN_GIT.fullmatch(given)
    if asked is None:
        raise PipelineError(f"{given[:200]}: no such file, and not URL@COMMIT:FILE.csv either")
    with tempfile.TemporaryDirectory(prefix="study2022-") as folder:
        path, commit, date = _fetch(asked["url"], asked["commit"], asked["file"], Path(folder))
        yield path, Source(shown(asked["url"]), commit, date, asked["file"], sha256(path))


def _fetch(url: str, commit: str, file: str, folder: Path) -> tuple[Path, str | None, str | None]:
    name = shown(url)
    remote = git_url(url)
    if remote is None:
        raise PipelineError(f"{name}: a folder, but no git repository")
    if not is_full_id(commit):
        raise PipelineError(f"{name}@{commit}: name the commit by its full id, 40 digits")
    with Console(stderr=True).status(f"fetching {file} of {name}"):
        found = results_at(remote, name, commit, folder / "git", folder="")
    if file not in found.files:
        raise PipelineError(f"{name}: no {file} at {commit[:12]}")
    path = folder / file
    path.write_bytes(found.files[file])
    return path, found.id, found.date
