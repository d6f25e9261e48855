"""The CSV files in one folder (`results/`) of one commit of a git repository.

Only the commit, its trees and those files are transferred (depth 1, no other blobs). Nothing is
checked out: files are read from git's objects, so the repository's filters do not apply.
"""

import os
import re
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipeline.core.errors import PipelineError, TryAgain
from pipeline.core.processes import end_with_parent

GIT_SECONDS = 300  # for one git command; timm's tables are 3 MB
_SETTINGS = [
    *["-c", "http.lowSpeedLimit=500", "-c", "http.lowSpeedTime=30"],  # bytes a second, for seconds
    *["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"],
    *["-c", "gc.auto=0", "-c", "maintenance.auto=false"],
]
_CALLERS_REPOSITORY = [  # variables, after GIT_, that point git to the repository of the caller
    "DIR",
    "WORK_TREE",
    "COMMON_DIR",
    "INDEX_FILE",
    "OBJECT_DIRECTORY",
    "ALTERNATE_OBJECT_DIRECTORIES",
    "SHALLOW_FILE",
    "NAMESPACE",
    "PREFIX",
]
_PROTOCOLS = "file:git:http:https:ssh"
_FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

# git's messages (in English, LC_ALL=C) -> ours. The first match counts.
_LOST = r"not our ref|no such remote ref|couldn't find remote ref|bad object"
_MEANINGS = (
    (
        r"dubious ownership",
        "git does not trust this folder, which another user owns; run"
        " `git config --global --add safe.directory FOLDER`",
    ),
    (
        r"could not read (Username|Password)|Authentication failed|terminal prompts disabled"
        r"|returned error: 40[137]|Permission denied|Host key verification failed",
        "asks for a login or refuses it; is the address right?",
    ),
    (
        r"dumb http transport",
        "is served as plain files (dumb HTTP), which cannot send one commit;"
        " use a server that speaks git's own protocol",
    ),
    (
        r"unadvertised object",
        "hands out only the tips of branches and tags, and this commit is none of them (any more)",
    ),
    (r"cannot run \S*ssh|cannot exec.*ssh", "needs ssh, which is not installed"),
    (r"Needed a single revision|expected commit type", "that revision is not a commit"),
    (r"mismatched algorithms|object format", "uses another object format than the commit's name"),
    (
        r"[Rr]epository .*not found|does not appear to be a git repository|not valid: is this a git"
        r"|returned error: 404",
        "is not a git repository",
    ),
)
_TEMPORARY = (
    r"Could not resolve|Temporary failure|Connection (refused|reset|timed out)|Failed to connect"
    r"|Couldn't connect|unable to connect|Network is unreachable|No route to host|timed? ?out"
    r"|early EOF|unexpected disconnect|RPC failed|remote end hung up|transfer closed|Empty reply"
    r"|too slow|returned error: (429|5\d\d)|SSL_|gnutls|invalid index-pack"
    r"|bad line length|flush packet|Recv failure|Send failure|Operation too"
)
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.csv")


class Git:
    """git in one scratch folder, for one remote; a failure is an error about that remote."""

    def __init__(self, url: str, name: str, rev: str, work: Path) -> None:
        self.url, self.name, self.rev, self.work = url, name, rev, work

    def __call__(self, *arguments: str, stdin: str = "") -> bytes:
        """The output of `git ARGUMENTS`."""
        try:
            process = subprocess.Popen(
                ["git", *_SETTINGS, *arguments],
                cwd=self.work,
                env=_environment(self.work),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,  # without a terminal nobody can be asked for a password
                preexec_fn=end_with_parent,  # or it writes into a folder that is removed
            )
        except FileNotFoundError:
            raise PipelineError("git is not installed, and the source is a repository") from None
        with process:
            try:
                out, err = process.communicate(stdin.encode(), timeout=GIT_SECONDS)
            except subprocess.TimeoutExpired:
                raise TryAgain(f"{self.name}: no answer in {GIT_SECONDS} s") from None
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            raise self._failure(err.decode(errors="replace"))
        return out

    def gone(self) -> PipelineError:
        """The error that the remote has no such revision."""
        hint = (
            "upstream no longer has it; name a commit that it has"
            if is_full_id(self.rev)
            else "name a branch, a tag or a commit's full id"
        )
        return PipelineError(f"{self.name}: no revision {self.rev[:80]}: {hint}")

    def _failure(self, stderr: str) -> PipelineError:
        for pattern, meaning in _MEANINGS:
            if re.search(pattern, stderr):
                return PipelineError(f"{self.name}: {meaning}")
        if re.search(_LOST, stderr):
            return self.gone()
        lines = [line for line in stderr.splitlines() if line and not line.startswith("warning:")]
        line = (lines or ["git failed and did not say why"])[0].replace(self.url, self.name)[:200]
        if re.search(_TEMPORARY, stderr):
            return TryAgain(f"{self.name}: {line}; the same call may succeed later")
        return PipelineError(f"{self.name}: {line}")


def is_full_id(rev: str) -> bool:
    """Whether `rev` is a full commit id."""
    return _FULL_ID.fullmatch(rev) is not None


def is_bare(path: Path) -> bool:
    """Whether the folder is a repository without a working tree."""
    return all((path / name).exists() for name in ("HEAD", "objects", "refs"))


def shown(url: str) -> str:
    """`url` without user name and password."""
    return re.sub(r"^(\w+://)[^/@]*@", r"\1", url)


def _environment(work: Path) -> dict[str, str]:
    """The caller's environment, without its own repository and without prompts."""
    removed = [f"GIT_{name}" for name in _CALLERS_REPOSITORY]
    return {key: value for key, value in os.environ.items() if key not in removed} | {
        "GIT_CEILING_DIRECTORIES": str(work.resolve().parent),
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "SSH_ASKPASS": "true",
        "GCM_INTERACTIVE": "never",
        "LC_ALL": "C",
    }


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
    return Results(commit, date, contents(git, blobs))


def _resolve(git: Git, rev: str) -> str:
    """The commit id of a tag or branch of the remote."""
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
    noop = "fetch.negotiationAlgorithm=noop"  # local objects do not help the server
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


def contents(git: Git, blobs: dict[str, str]) -> dict[str, bytes]:
    """The content of each blob, by its name in `blobs`."""
    stream = git("cat-file", "--batch", stdin="\n".join(blobs.values()))
    found, place = {}, 0
    for name in blobs:
        end = stream.index(b"\n", place)
        size = int(stream[place:end].split()[2])
        found[name] = stream[end + 1 : end + 1 + size]
        place = end + size + 2
    return found
