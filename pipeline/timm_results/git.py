"""git run for one remote: no terminal to ask, no hook to run, no end of patience, one-line errors.

Raises `TryAgain` when the connection failed, else a `PipelineError` that says what is wrong with
the remote or the revision. What git prints is read in English (LC_ALL=C), so its wording matters.
"""

import os
import re
import signal
import subprocess
from pathlib import Path

from pipeline.core.errors import PipelineError, TryAgain
from pipeline.core.parent import end_with_parent

GIT_SECONDS = 300  # for one git command; timm's tables are 3 MB
_SETTINGS = [
    *["-c", "http.lowSpeedLimit=500", "-c", "http.lowSpeedTime=30"],  # bytes a second, for seconds
    *["-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false"],
    *["-c", "gc.auto=0", "-c", "maintenance.auto=false"],
]
_WHERE_WE_ARE = ["DIR", "WORK_TREE", "COMMON_DIR", "INDEX_FILE", "OBJECT_DIRECTORY"]
_WHERE_WE_ARE += ["ALTERNATE_OBJECT_DIRECTORIES", "SHALLOW_FILE", "NAMESPACE", "PREFIX"]
_PROTOCOLS = "file:git:http:https:ssh"
_FULL_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")

# What git says (in English, LC_ALL=C) -> what to tell the user. The first that is found decides.
_LOST = r"not our ref|no such remote ref|couldn't find remote ref|bad object"
_SAYS = (
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
_FOR_NOW = (
    r"Could not resolve|Temporary failure|Connection (refused|reset|timed out)|Failed to connect"
    r"|Couldn't connect|unable to connect|Network is unreachable|No route to host|timed? ?out"
    r"|early EOF|unexpected disconnect|RPC failed|remote end hung up|transfer closed|Empty reply"
    r"|too slow|returned error: (429|5\d\d)|SSL_|gnutls|invalid index-pack"
    r"|bad line length|flush packet|Recv failure|Send failure|Operation too"
)


class Git:
    """git in one scratch folder, for one remote; a failure is a line about that remote."""

    def __init__(self, url: str, name: str, rev: str, work: Path) -> None:
        self.url, self.name, self.rev, self.work = url, name, rev, work

    def __call__(self, *arguments: str, stdin: str = "") -> bytes:
        """What `git ARGUMENTS` printed."""
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
        """That the remote has no such revision."""
        hint = (
            "upstream no longer has it; name a commit that it has"
            if is_full_id(self.rev)
            else "name a branch, a tag or a commit's full id"
        )
        return PipelineError(f"{self.name}: no revision {self.rev[:80]}: {hint}")

    def _failure(self, said: str) -> PipelineError:
        for pattern, meaning in _SAYS:
            if re.search(pattern, said):
                return PipelineError(f"{self.name}: {meaning}")
        if re.search(_LOST, said):
            return self.gone()
        lines = [line for line in said.splitlines() if line and not line.startswith("warning:")]
        line = (lines or ["git failed and did not say why"])[0].replace(self.url, self.name)[:200]
        if re.search(_FOR_NOW, said):
            return TryAgain(f"{self.name}: {line}; the same call may succeed later")
        return PipelineError(f"{self.name}: {line}")


def is_full_id(rev: str) -> bool:
    """Whether `rev` names one commit for ever."""
    return _FULL_ID.fullmatch(rev) is not None


def shown(url: str) -> str:
    """`url` without the password that may stand in it."""
    return re.sub(r"^(\w+://)[^/@]*@", r"\1", url)


def _environment(work: Path) -> dict[str, str]:
    """The caller's, less the repository it may stand in, and with nobody to ask."""
    ours = [f"GIT_{name}" for name in _WHERE_WE_ARE]
    return {key: value for key, value in os.environ.items() if key not in ours} | {
        "GIT_CEILING_DIRECTORIES": str(work.resolve().parent),
        "GIT_ALLOW_PROTOCOL": _PROTOCOLS,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_ASKPASS": "true",
        "SSH_ASKPASS": "true",
        "GCM_INTERACTIVE": "never",
        "LC_ALL": "C",
    }
