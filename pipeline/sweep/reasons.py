"""Why a stage is stale: which value, file, image or output is another than dvc.lock says.

dvc.lock holds hashes, not contents. The old list of a folder's files comes from DVC's cache, from
what a sweep noted when it committed, or from git; the old text of a file comes from git, found by
its hash. Where none of them has it, the reason names the folder or file alone and says so.
"""

import json
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from pipeline.core.files import meaning_of, read_yaml
from pipeline.sweep.dvc_private import (
    Difference,
    Stage,
    changed_outs,
    command_changed,
    command_of,
    md5_of,
    name_of,
)
from pipeline.sweep.project import Project

MOST_COMMITS = 100  # of git, that are searched for an old text
MOST_NAMED = 3  # files of one folder that are named
CODE = (".py", ".js", ".css", ".j2")
NEVER = "new: dvc.lock has no entry of it yet"
ALIKE = "comments, docstrings or formatting alone"


@dataclass(frozen=True)
class Reason:
    """`alike`: what changed is code, and it does the same as before."""

    text: str
    alike: bool = False


class Reasons:
    """Reasons of a project's stages; what many stages share is looked up once."""

    def __init__(self, project: Project) -> None:
        self.project, self.history = project, History(project.root)
        self._known: dict[str, list[Reason]] = {}

    def of(self, stage: Stage) -> list[Reason]:
        """Why the stage is stale, after `project.inputs.changed(stage)`; empty where it is not."""
        found = list(self._of_inputs(stage))
        if not self.project.was_made(stage) and all(
            each.before is None for each in self._differences(stage)
        ):
            return [Reason(NEVER)]
        if command_changed(stage):
            found.insert(0, Reason(f"command: {self._command(stage)}"))
        for out, how in changed_outs(stage).items():
            words = {"deleted": "not there", "modified": "changed since it was made"}
            which = "its output" if len(stage.outs) == 1 else out  # so that cells share a line
            found.append(Reason(f"{which}: {words.get(how, how)}"))
        return found

    def _differences(self, stage: Stage) -> list[Difference]:
        return self.project.inputs.differences.get(name_of(stage), [])

    def _of_inputs(self, stage: Stage) -> Iterator[Reason]:
        for each in self._differences(stage):
            key = f"{each.path} {each.before} {each.now}"
            if key not in self._known:
                self._known[key] = list(self._of_input(each))
            yield from self._known[key]

    def _of_input(self, each: Difference) -> Iterator[Reason]:
        if isinstance(each.now, dict):
            yield from map(Reason, _values(each))
        elif each.before is None:
            yield Reason(f"{each.path}: a new input")
        elif each.files_now is None:
            before = self.history.text(each.path, each.before)
            yield _changed(each.path, before, self._now(each.path))
        else:
            yield from self._of_folder(each, each.files_now)

    def _of_folder(self, each: Difference, now: dict[str, str]) -> Iterator[Reason]:
        """A reason per file of code; of data one that counts and names some."""
        before = (
            self.project.files_of(each.before)
            or self.project.noted_files(each.before)
            or self.history.files(each.path, each.before)
        )
        if before is None:
            yield Reason(f"{each.path}: other files than before (the old list was not kept)")
            return
        changed = sorted(name for name in before.keys() & now if before[name] != now[name])
        new, gone = sorted(now.keys() - before), sorted(before.keys() - now)
        if not all(name.endswith(CODE) for name in [*changed, *new, *gone]):
            yield Reason(f"{each.path}: {_counted(changed, new, gone)}")
            return
        for name in changed:
            path = f"{each.path}/{name}"
            yield _changed(path, self.history.text(path, before[name]), self._now(path))
        yield from (Reason(f"{each.path}/{name}: new") for name in new)
        yield from (Reason(f"{each.path}/{name}: gone") for name in gone)

    def _now(self, path: str) -> str:
        return (self.project.root / path).read_bytes().decode("utf-8", "replace")

    def _command(self, stage: Stage) -> str:
        """The words of the command that are others, old and new."""
        entry = self._lock.get(name_of(stage), {}).get("cmd", "")
        before = shlex.split(entry if isinstance(entry, str) else "\n".join(entry))
        now = shlex.split(command_of(stage))
        gone = [word for word in before if word not in now]
        new = [word for word in now if word not in before]
        keys = {word.partition("=")[0] for word in gone} & {word.partition("=")[0] for word in new}
        pairs = []
        for word in gone:
            key, equals, value = word.partition("=")
            match = next((each for each in new if each.startswith(f"{key}=")), None)
            if equals and key in keys and match is not None:
                new.remove(match)
                pairs.append(f"{key} {value} -> {match.partition('=')[2]}")
            else:
                pairs.append(f"without {word}")
        return ", ".join([*pairs, *(f"with {word}" for word in new)]) or "in another order"

    @cached_property
    def _lock(self) -> dict[str, Any]:
        return read_yaml(self.project.root / "dvc.lock").get("stages") or {}


def by_reason(reasons: Mapping[str, list[Reason]]) -> list[str]:
    """Lines: each set of reasons with the stages (by name) that share it, the commonest first."""
    groups: dict[str, list[str]] = {}
    for name, found in reasons.items():
        if found:
            groups.setdefault("; ".join(each.text for each in found), []).append(name)
    ordered = sorted(groups.items(), key=lambda group: -len(group[1]))
    return [f"{text} ({_stages(names)})" for text, names in ordered]


def acceptable(reasons: Mapping[str, list[Reason]], needs: Mapping[str, list[str]]) -> list[str]:
    """The stages of which nothing but the writing of code changed, nor of what they wait for.

    `reasons` are in the order of the stages, what is needed first; `needs` are the stale ones.
    """
    same: list[str] = []
    for name, found in reasons.items():
        if found and all(each.alike for each in found) and set(needs[name]) <= set(same):
            same.append(name)
    return same


class History:
    """Old texts and lists of files, by their MD5, from git; nothing is found without it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._md5s: dict[str, str] = {}

    def text(self, path: str, md5: str) -> str | None:
        """What the file of this path held when it had this MD5."""
        for commit in self._commits(path):
            content = self._git("show", f"{commit}:{path}")
            if content is not None and md5_of(content) == md5:
                return content.decode("utf-8", "replace")
        return None

    def files(self, folder: str, wanted: str) -> dict[str, str] | None:
        """The MD5 of each file of the folder when DVC's hash of it was this one."""
        for commit in self._commits(folder):
            listed = self._git("ls-tree", "-r", "-z", commit, "--", f"{folder}/")
            rows = [row.partition("\t") for row in (listed or b"").decode().split("\0") if row]
            found = {path[len(folder) + 1 :]: self._blob(head.split()[2]) for head, _, path in rows}
            if folder_hash(found) == wanted:
                return found
        return None

    @cache  # noqa: B019 - of one command
    def _commits(self, path: str) -> list[str]:
        said = self._git("log", "--format=%H", f"-n{MOST_COMMITS}", "--", path)
        return (said or b"").decode().split()

    def _blob(self, name: str) -> str:
        if name not in self._md5s:
            self._md5s[name] = md5_of(self._git("cat-file", "blob", name) or b"")
        return self._md5s[name]

    def _git(self, *words: str) -> bytes | None:
        try:
            done = subprocess.run(["git", *words], cwd=self.root, capture_output=True, check=False)
        except OSError:  # no git here
            return None
        return done.stdout if done.returncode == 0 else None


def folder_hash(files: Mapping[str, str]) -> str:
    """What DVC calls a folder of files with these MD5s."""
    listed = [{"md5": files[path], "relpath": path} for path in sorted(files)]
    text = json.dumps(listed, sort_keys=True)
    return md5_of(text.encode()) + ".dir"


def _values(each: Difference) -> Iterator[str]:
    """`conf/recipe/quickstart.yaml: lr 0.02 -> 0.01` for each value that is another."""
    before = each.before or {}
    for key in sorted(before.keys() | each.now.keys()):
        old, new = before.get(key, _ABSENT), each.now.get(key, _ABSENT)
        if (list(old) if isinstance(old, tuple) else old) != (
            list(new) if isinstance(new, tuple) else new
        ):
            yield f"{each.path}: {key} {_shown(old)} -> {_shown(new)}"


_ABSENT = object()


def _shown(value: Any) -> str:
    return "(absent)" if value is _ABSENT else json.dumps(value, default=str, ensure_ascii=False)


def _changed(path: str, before: str | None, now: str) -> Reason:
    if before is None:
        return Reason(f"{path}: changed (the old text is nowhere)")
    if path.endswith(".py") and _same_code(before, now):
        return Reason(f"{path}: {ALIKE}", alike=True)
    return Reason(f"{path}: changed")


def _same_code(before: str, now: str) -> bool:
    try:
        return meaning_of(before) == meaning_of(now)
    except SyntaxError:
        return False


def _counted(changed: list[str], new: list[str], gone: list[str]) -> str:
    """`2 changed (a.jpg, b.jpg), 1 new (c.jpg)`."""
    kinds = (("changed", changed), ("new", new), ("gone", gone))
    return ", ".join(f"{len(names):,} {kind} ({_some(names)})" for kind, names in kinds if names)


def _some(names: list[str]) -> str:
    more = f" and {len(names) - MOST_NAMED:,} more" if len(names) > MOST_NAMED else ""
    return ", ".join(names[:MOST_NAMED]) + more


def _stages(names: Iterable[str]) -> str:
    """`12 cells of finetune`, or the one stage's own name."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(name.partition("@")[0], []).append(name)
    return ", ".join(
        own[0] if len(own) == 1 else f"{len(own):,} cells of {kind}" for kind, own in kinds.items()
    )
