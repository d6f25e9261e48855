"""The CSVs under `results/`, or another folder, of one commit of a git repository, and no more.

Only the commit, its trees and those files are transferred (depth 1, no other blobs), and nothing is
checked out: files are read from git's objects, so no filter or attribute of the repository applies.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PipelineError
from pipeline.timm_results.git import Git, is_full_id

_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.csv")


@dataclass(frozen=True)
class Results:
    """The CSVs of one folder; the commit and its date (ISO 8601) if known."""

    id: str | None
    date: str | None
    files: dict[str, bytes]


def results_at(url: str, name: str, rev: str, work: Path, folder: str = "results/") -> Results:
    """The results of `rev` (a full commit id, a tag or a branch) of `url`, called `name`.

    `folder` of the repository ends with a slash; "" is its root.
    """
    work.mkdir()
    git = Git(url, name, rev, work)
    commit = rev if is_full_id(rev) else _resolve(git, rev)
    object_format = "sha256" if len(commit) == 64 else "sha1"
    git("init", "-q", "--bare", "--template=", f"--object-format={object_format}")
    git("config", "remote.origin.url", url)
    _transfer(git, ["--depth=1"], commit)
    commit = git("rev-parse", "--verify", f"{commit}^{{commit}}").decode().strip()
    blobs = _csv_blobs(git, commit, folder)
    objects = git("rev-list", "--objects", "--missing=print", commit).decode().splitlines()
    if absent := {line[1:] for line in objects if line.startswith("?")} & set(blobs.values()):
        _transfer(git, [], *absent)
    date = git("log", "-1", "--no-show-signature", "--format=%cI", commit).decode().strip()
    return Results(commit, date, _contents(git, blobs))


def _resolve(git: Git, rev: str) -> str:
    """The id that a tag or branch of the remote stands for."""
    names = [rev, f"refs/tags/{rev}^{{}}", f"refs/tags/{rev}", f"refs/heads/{rev}"]
    listed = git("ls-remote", "-q", "--", git.url, *names).decode().split("\n")
    found = {name: id for id, _, name in (line.partition("\t") for line in listed)}
    for name in names:
        if name in found:
            return found[name]
    raise git.gone()


def _transfer(git: Git, options: list[str], *objects: str) -> None:
    """Fetch objects by their ids; blobs only where they are named, if the server can do that."""
    options = [*options, "--no-tags", "--no-write-fetch-head", "--recurse-submodules=no"]
    noop = "fetch.negotiationAlgorithm=noop"  # what we have is no help to the server
    arguments = ["fetch", "-q", *options, "--filter=blob:none", "--stdin", "origin"]
    git("-c", noop, *arguments, stdin="\n".join(objects))


def _csv_blobs(git: Git, commit: str, folder: str) -> dict[str, str]:
    """file name -> blob id of the CSVs in `folder`."""
    blobs = {}
    where = ["--", folder] if folder else []
    listed = git("ls-tree", "-z", commit, *where).decode(errors="replace")
    for mode_kind_id, _, path in (entry.partition("\t") for entry in listed.split("\0")):
        name = path.removeprefix(folder)
        if not name.endswith(".csv"):
            continue
        mode, _, blob = mode_kind_id.split()
        if not mode.startswith("100") or not _FILE_NAME.fullmatch(name):
            raise PipelineError(
                f"{git.name}: {folder or 'its root'} holds {name[:80]!r}, which is no plain file"
            )
        blobs[name] = blob
    if not blobs:
        whose = "; it is not timm's repository" if folder else ""
        raise PipelineError(f"{git.name}: no {folder}*.csv at {git.rev}{whose}")
    return blobs


def _contents(git: Git, blobs: dict[str, str]) -> dict[str, bytes]:
    stream = git("cat-file", "--batch", stdin="\n".join(blobs.values()))
    contents, place = {}, 0
    for name in blobs:
        end = stream.index(b"\n", place)
        size = int(stream[place:end].split()[2])
        contents[name] = stream[end + 1 : end + 1 + size]
        place = end + size + 2
    return contents
