"""The study's stages in DVC: what is done, what DVC's caches have, and the entries in dvc.lock.

A record counts as made from a stage's inputs only if a receipt says so: its configuration could be
equal and the trainer's code another.

DVC parses and writes all of dvc.lock after each stage, in place: at hundreds of stages that is most
of its time, and a kill in the middle leaves half a file. Here each stage's lines are kept as text,
new ones are made by DVC's own writer, and the result takes the file's place in one step.
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml, sha256, write_json, write_text
from pipeline.study.params import RUNS, Cell, read_study, threads_of
from pipeline.sweep.dvc_private import (
    Entry,
    Inputs,
    Stage,
    Workspace,
    command_of,
    deps_of,
    dumps_yaml,
    folders_of,
    is_cached,
    name_of,
    not_whole,
    outs_of,
)
from pipeline.sweep.jobs import Job
from pipeline.sweep.snapshot import Snapshot

HEAD = ["schema: '2.0'", "stages:"]
BENCHMARK = "benchmark@"
PARAMS = "params.yaml"
CELL = re.compile(r"[a-z]\w*@[\w.@-]{1,80}", re.ASCII)
COMMAND = re.compile(r"[a-z][\w./-]*( [\w./=@+,-]+)+", re.ASCII)
BARE = re.compile(
    r"(?!(?:true|false|null)$)[a-z][\w./-]*|(?=.*[acdf])[0-9a-f]{32}(\.dir)?", re.ASCII
)
OF_A_FILE = {"path", "hash", "md5", "size", "nfiles"}
BODY_INDENT = 4  # in dvc.lock, of what belongs to a stage
WIDTH = 80  # of lines by DVC's writer


class Project(Workspace):
    """A workspace of whose stages one can ask, and commit, inside `locked`."""

    def __init__(self, root: Path, snapshot: Snapshot | None = None) -> None:
        super().__init__(root)
        self.inputs = Inputs()
        self._noted: set[str] = set()  # hashes of folders
        self._snapshot = snapshot  # of a sweep, which commits
        self._lock = LockFile(self.root / "dvc.lock")
        params = self.root / PARAMS
        self._cells = {cell.path(RUNS).as_posix(): cell for cell in read_study(params).cells()}
        self._threads = threads_of(read_yaml(params))

    @property
    def cells(self) -> list[Cell]:
        """Every cell of the study."""
        return list(self._cells.values())

    def cell_of(self, stage: Stage) -> Cell | None:
        """The cell whose record the stage makes; None of a stage that is no fine-tune."""
        return next((self._cells.get(out) for out in outs_of(stage)), None)

    def threads_of(self, stage: Stage) -> int:
        """How many threads the stage computes with."""
        computes = self.cell_of(stage) is not None or name_of(stage).startswith(BENCHMARK)
        return self._threads if computes else 1

    def was_made(self, stage: Stage) -> bool:
        """Does dvc.lock know outputs of it, from whatever inputs?"""
        return any(out.hash_info for out in stage.outs)

    def job(self, stage: Stage) -> Job:
        """How to make the stage, as its inputs are now (after `inputs.changed`)."""
        name = name_of(stage)
        return Job(
            name=name,
            command=command_of(stage),
            key=self.inputs.key(stage),
            deps=deps_of(stage),
            outs=outs_of(stage),
            root=self.root,
            log=self.folder / "logs" / f"{_file_name(name)}.log",
            receipt=self._receipt(name),
            cell=self.cell_of(stage),
            threads=self.threads_of(stage),
            checked_params=None if self._snapshot is None else self._snapshot.first(PARAMS),
        )

    def is_made(self, job: Job) -> bool:
        """Are the outputs there, made from this very key, and only not committed?"""
        try:
            receipt = json.loads(job.receipt.read_text(encoding="utf-8"))
            hashes = {out: sha256(self.root / out) for out in job.outs}
        except (OSError, ValueError):
            return False
        return bool(receipt == {"key": job.key, "outs": hashes})

    def cached(self, stage: Stage, inputs_changed: bool) -> Stage | None:
        """That version, if DVC's cache has its outputs; see `dvc_private.restore`."""
        version = self.version(stage, inputs_changed)
        return version if version and is_cached(version) else None

    def noted(self, folder_hash: str) -> Path:
        """Where a sweep keeps the list of files of a folder that stages depend on."""
        return self.folder / "folders" / f"{folder_hash}.json"

    def noted_files(self, folder_hash: str) -> dict[str, str] | None:
        """The MD5 of each file of such a folder; None where no sweep has committed with it."""
        try:
            files: dict[str, str] = json.loads(self.noted(folder_hash).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return files

    def commit(self, stages: list[Stage], order: list[str]) -> list[Stage]:
        """Commit outputs to the cache and dvc.lock; returns the stages whose inputs have moved.

        Those are left alone: what they made belongs to inputs that are no longer here.
        """
        keys = {name_of(stage): self.inputs.key(stage) for stage in stages}
        self.inputs.forget()
        moved, entries = [], {}
        for stage in stages:
            self.inputs.changed(stage)
            if self.inputs.key(stage) != keys[name_of(stage)]:
                moved.append(stage)
                continue
            entries[name_of(stage)] = self.commit_outs(stage, self._lock.text)
            if self._snapshot is not None:
                self._snapshot.wrote(outs_of(stage))
            self._note_files(stage)
        if entries:
            self._lock.add(entries, order)
            if self._snapshot is not None:
                self._snapshot.wrote(["dvc.lock"])
        for name in entries:
            self._receipt(name).unlink(missing_ok=True)
        return moved

    def _receipt(self, name: str) -> Path:
        return self.folder / "receipts" / f"{_file_name(name)}.json"

    def _note_files(self, stage: Stage) -> None:
        """Keep the list of files of each folder that the stage depends on, by the folder's hash."""
        for value, files in folders_of(stage, self._noted).items():
            if not self.noted(value).exists():
                write_json(self.noted(value), files)
            self._noted.add(value)


def _file_name(stage: str) -> str:
    return stage.replace("/", "_")


class LockFile:
    """dvc.lock as lines by stage; each is made by DVC's own writer, or is what that would make.

    DVC's writer takes 0.2 ms for a value and a cell has a hundred, most of them those of its stage:
    each list of dependencies and set of parameters is written once.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._parts: dict[str, list[str]] = {}
        self._written: str | None = None
        self._stages: dict[str, list[str]] = {}  # of the text as written

    def add(self, entries: dict[str, Entry], order: list[str]) -> None:
        """Put `entries` (stage: what dvc.lock says of it) into the file.

        A stage that is new there goes behind the one that comes before it in `order`: the file is
        the same, in whatever order runs end.
        """
        text = self.path.read_text(encoding="utf-8") if self.path.exists() else ""
        old = self._stages if text == self._written else split_stages(self.path, text)
        new = {name: self.lines(name, entry) for name, entry in entries.items()}
        both = old | new
        self._stages = {name: both[name] for name in merged(list(old), new, order)}
        lines = [line for each in self._stages.values() for line in each]
        self._written = "\n".join([*HEAD, *lines]) + "\n"
        if self._written != text:
            write_text(self.path, self._written)

    def lines(self, name: str, entry: Entry) -> list[str]:
        """The stage's lines, its name first."""
        if not CELL.fullmatch(name):
            return by_dvc({name: entry})
        return [f"  {name}:", *self._body(entry)]

    def text(self, entry: Entry) -> str:
        """The entry alone, as DVC's run-cache has it."""
        return "".join(f"{line[BODY_INDENT:]}\n" for line in self._body(entry))

    def _body(self, entry: Entry) -> list[str]:
        return [line for key, value in entry.items() for line in self._part(key, value)]

    def _part(self, key: str, value: Any) -> list[str]:
        part = f"{key} {value!r}"
        if part not in self._parts:
            self._parts[part] = by_rules(key, value) or by_dvc({"": {key: value}})[1:]
        return self._parts[part]


def by_dvc(stages: dict[str, Entry]) -> list[str]:
    """The lines of these stages as DVC's own writer has them."""
    return lines_of(dumps_yaml({"stages": _plain(stages)}))[1:]


def lines_of(text: str) -> list[str]:
    """YAML's, of a text that ends with one; `splitlines` also ends lines inside of values."""
    return text.removesuffix("\n").split("\n")


def _plain(value: Any) -> Any:
    """Only dicts, lists and numbers: DVC's writer marks shared objects with anchors."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return [_plain(each) for each in value] if isinstance(value, list | tuple) else value


def by_rules(key: str, value: Any) -> list[str] | None:
    """What that writer makes of a list of commands or of files; None where it may quote or wrap.

    A cell's command and outputs are in no other cell: they alone would take it 10 ms.
    """
    lines = [f"{' ' * BODY_INDENT}{key}:"]
    for item in value if isinstance(value, list) else [None]:
        if isinstance(item, str) and COMMAND.fullmatch(item):
            lines += _wrapped(item.split(" "), " " * BODY_INDENT + "- ")
            continue
        if not isinstance(item, dict) or not all(map(_is_bare, item.values())):
            return None
        own = [f"{' ' * BODY_INDENT}  {name}: {each}" for name, each in item.items()]
        if not set(item) <= OF_A_FILE or any(len(line) > WIDTH for line in own):
            return None
        lines += [f"{' ' * BODY_INDENT}- {own[0].lstrip()}", *own[1:]]
    return lines


def _is_bare(value: Any) -> bool:
    """Is it a number, or text that YAML takes for text without quotes?"""
    return type(value) is int or (isinstance(value, str) and bool(BARE.fullmatch(value)))


def _wrapped(words: list[str], head: str) -> list[str]:
    """The words after `head`, in lines of WIDTH; a line that a long word ends keeps its space."""
    lines, line = [], head + words[0]
    for word in words[1:]:
        space = "" if len(line) >= WIDTH else " "
        if not space or len(line) + 1 + len(word) > WIDTH:
            lines.append(line + space)
            line = " " * len(head) + word
        else:
            line += space + word
    return [*lines, line]


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
    lines = lines_of(text)
    starts = [
        number
        for number, line in enumerate(lines)
        if number >= len(HEAD) and line.startswith("  ") and not line.startswith("   ")
    ]
    if lines[: len(HEAD)] == HEAD and len(starts) == len(stages):
        ends = [*starts[1:], len(lines)]
        blocks = [lines[start:end] for start, end in zip(starts, ends, strict=True)]
        return dict(zip(stages, blocks, strict=True))
    return {name: by_dvc({name: entry}) for name, entry in stages.items()}
