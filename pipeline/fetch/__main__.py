"""Stage `fetch`: timm's published result tables, at one commit.

Reads a git repository (URL or folder) at a commit, tag or branch, or a plain folder that holds
`results/`. Writes OUT, whole or not at all: the CSVs, and `source.json` (origin, commit, date,
SHA-256 and rows of each file). If upstream has lost the commit or cannot be reached, an intact copy
of exactly that commit is kept, and the stage succeeds.
"""

import json
import re
import shutil
from dataclasses import asdict
from datetime import datetime
from pathlib import Path

from rich.console import Console

from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.core.files import replacing_folder, write_json
from pipeline.fetch.git import Results, is_bare, results_at, shown
from pipeline.timm_results.published_tables import NAME, Source, read_source, table_file

NO_REV = "-"  # a plain folder has no revisions
QUOTED_FROM = "quoted_from.json"  # in a plain folder: the commit its tables are copied from
LEAST_SHARE = 0.8  # of a table's former rows; a table with fewer may be truncated
_URL = re.compile(r"(file|git|https?|ssh)://\S+")
_SSH = re.compile(r"[A-Za-z0-9_.@-]+:[^:\s][^\s]*")  # user@host:path
_REV = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./+-]*")


def main(source: str, rev: str, out: Path, *, accept_fewer_rows: bool = False) -> None:
    """Fetch timm's published result tables.

    Args:
        source: a git repository, or a plain folder
        rev: a commit, or - for a plain folder
        out: the folder that the tables are written to
        accept_fewer_rows: go on where a table has lost many rows since the last time
    """
    if out.exists() and not (out / NAME).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise PipelineError(f"{out}: not a folder that `fetch` made, and it would be replaced")
    held = held_copy(out)
    try:
        with replacing_folder(out) as folder:
            fetched = fetch(source, rev, folder)
            if held and not accept_fewer_rows:
                refuse_fewer_rows(held, fetched, out)
    except PipelineError as error:
        if held is None or (held.origin, held.commit) != (shown(source), rev):
            raise
        print(f"{out}: kept, as it holds that very commit intact; but {error}")
        return
    if held and (lost := sorted(set(held.files) - set(fetched.files))):
        print(f"{out}: no longer there: {', '.join(lost)}")
    rows = sum(file.rows for file in fetched.files.values())
    at = f" at {fetched.commit[:12]} ({fetched.date})" if fetched.commit else ""
    print(f"{out}: {len(fetched.files)} tables, {rows} rows, of {fetched.origin}{at}")


def fetch(source: str, rev: str, folder: Path) -> Source:
    """Fill `folder` with the tables of `source` at `rev` and their source.json."""
    url = git_url(source)
    origin = shown(source)
    found = _plain(Path(source), rev) if url is None else _committed(url, origin, rev, folder)
    files = {
        name: table_file(content, f"{origin}: results/{name}")
        for name, content in sorted(found.files.items())
    }
    for name, content in found.files.items():
        (folder / name).write_bytes(content)
    fetched = Source(origin, rev, found.id, found.date, files)
    write_json(folder / NAME, asdict(fetched))
    return fetched


def git_url(source: str) -> str | None:
    """The address for git, or None if `source` is a plain folder."""
    path = Path(source)
    if path.is_dir():
        return path.resolve().as_uri() if is_bare(path) or (path / ".git").exists() else None
    if _URL.fullmatch(source) or (_SSH.fullmatch(source) and not source.startswith("-")):
        return source
    raise PipelineError(f"{shown(source)[:200]}: neither a folder nor a git URL")


def held_copy(out: Path) -> Source | None:
    """The copy of an earlier `fetch` in `out`, if it is intact."""
    if not (out / NAME).is_file():
        return None
    try:
        return read_source(out)
    except PipelineError:
        return None


def refuse_fewer_rows(held: Source, new: Source, out: Path) -> None:
    """Raise where a table has a fifth fewer rows, unless it is older or of another origin."""
    if held.origin != new.origin or _is_older(new.date, held.date):
        return
    for name, file in new.files.items():
        before = held.files[name].rows if name in held.files else 0
        if file.rows < LEAST_SHARE * before:
            raise PipelineError(
                f"{name}: {file.rows} rows, {before} in the copy at {out};"
                " if that is right, fetch once with --accept-fewer-rows"
            )


def _is_older(date: str | None, than: str | None) -> bool:
    if date is None or than is None:
        return False
    return datetime.fromisoformat(date).timestamp() < datetime.fromisoformat(than).timestamp()


def _plain(folder: Path, rev: str) -> Results:
    """The tables of a folder that is no repository."""
    if rev != NO_REV:
        raise PipelineError(f"{folder}: a plain folder has no revision {rev[:80]}; write - for it")
    paths = sorted(path for path in (folder / "results").glob("*.csv") if path.is_file())
    if not paths:
        raise PipelineError(f"{folder}: no results/*.csv in it")
    commit, date = _quoted_from(folder / QUOTED_FROM)
    return Results(commit, date, {path.name: path.read_bytes() for path in paths})


def _quoted_from(path: Path) -> tuple[str | None, str | None]:
    """The commit and date that a plain folder states for its tables; None where it states none."""
    if not path.is_file():
        return None, None
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        commit, date = value["commit"], value["date"]
        datetime.fromisoformat(date)
        if not re.fullmatch(r"[0-9a-f]{7,64}", commit):
            raise ValueError(f"{commit!r} is no commit")
    except (ValueError, KeyError, TypeError) as error:
        raise PipelineError(f"{path}: must give commit and date (ISO 8601); {error}") from None
    return commit, date


def _committed(url: str, origin: str, rev: str, folder: Path) -> Results:
    """The tables of a git repository at `rev`; `folder` is for temporary files."""
    if rev == NO_REV:
        raise PipelineError(f"{origin}: a git repository; name a commit, tag or branch, not -")
    if not _REV.fullmatch(rev) or ".." in rev:
        raise PipelineError(f"revision {rev[:80]!r}: not the name of a commit, tag or branch")
    scratch = folder / ".git-scratch"
    with Console(stderr=True).status(f"fetching {origin} at {rev}"):
        results = results_at(url, origin, rev, scratch)
    shutil.rmtree(scratch)
    return results


if __name__ == "__main__":
    run(main)
