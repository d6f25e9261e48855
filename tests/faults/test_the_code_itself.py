"""Static checks of the code, the lock file and the list of guarantees."""

import ast
import fcntl
import json
import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
import yaml
from fault import KINDS, POINTS, _place_of
from runs import Trainer

from pipeline.core import files
from pipeline.core.processes import hold, holder_of

DOORS = {  # what could run somebody else's code or data, as a call
    *("eval", "exec", "compile", "__import__", "system", "popen", "load_learner", "unsafe_load"),
    *("load_module", "trust_remote_code", "full_load", "load_all"),
}
MODULES = {"pickle", "dill", "joblib", "marshal", "shelve", "http.server", "socketserver", "xmlrpc"}
ALLOWED = {
    ("pipeline/finetune/weights.py", "pickle"),  # for the name of the error that a pickle is
}
SAFE_LOADERS = {"_StrictLoader", "getattr(yaml, 'CSafeLoader', yaml.SafeLoader)"}
LISTENING = {"bind", "listen", "create_server", "serve_forever", "start_server"}


def nodes(root: Path) -> Iterator[tuple[str, ast.AST]]:
    """Every node of the code's syntax trees, with its file."""
    for path in sorted((root / "pipeline").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            yield path.relative_to(root).as_posix(), node


def name_of(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def options_of(node: ast.Call) -> dict[str | None, str]:
    return {each.arg: ast.unparse(each.value) for each in node.keywords}


def is_call_on(node: ast.Call, owner: str) -> bool:
    return isinstance(node.func, ast.Attribute) and ast.unparse(node.func.value) == owner


def test_the_code_has_no_door_for_code(root: Path) -> None:
    shells = set()
    for file, node in nodes(root):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {each.name for each in node.names} | {getattr(node, "module", None)}
            assert not {(file, name) for name in names & MODULES} - ALLOWED, file
        if not isinstance(node, ast.Call):
            continue
        name, options = name_of(node), options_of(node)
        harmless = is_call_on(node, "re") or is_call_on(node, "platform")
        if not harmless and not ast.unparse(node).endswith(".eval()"):  # of a network
            assert name not in DOORS, f"{file}:{node.lineno}: {ast.unparse(node)}"
        assert options.get("allow_pickle") != "True", f"{file}:{node.lineno}"
        assert "trust_remote_code" not in options, f"{file}:{node.lineno}"
        if name == "load" and is_call_on(node, "torch"):
            assert options.get("weights_only") == "True", f"{file}:{node.lineno}"
        if name == "load" and is_call_on(node, "yaml"):
            assert options["Loader"] in SAFE_LOADERS, f"{file}:{node.lineno}"
        if options.get("shell") == "True":
            shells.add(file)
    assert shells == {"pipeline/sweep/engine.py"}  # commands of dvc.yaml, as under DVC


def test_the_loader_of_yaml_makes_plain_data_alone() -> None:
    assert issubclass(files._StrictLoader, yaml.SafeLoader | yaml.CSafeLoader)


def test_nothing_listens_on_a_network(root: Path) -> None:
    for file, node in nodes(root):
        if isinstance(node, ast.Call):
            assert name_of(node) not in LISTENING, f"{file}:{node.lineno}: {ast.unparse(node)}"


def test_no_duration_is_read_from_the_clock_on_the_wall(root: Path) -> None:
    ages = {"pipeline/sweep/ray_host.py"}  # of files, which have times of the wall clock
    for file, node in nodes(root):
        if isinstance(node, ast.Call) and name_of(node) == "time" and file not in ages:
            assert not is_call_on(node, "time"), f"{file}:{node.lineno}: time.time() can jump"


def test_every_package_is_pinned_with_its_hash_and_comes_from_no_named_host(root: Path) -> None:
    text = (root / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    pins = re.sub(r"\\\n", " ", text).splitlines()
    packages = [line for line in pins if line.strip() and not line.lstrip().startswith("#")]
    assert len(packages) > 100
    for line in packages:
        assert re.match(r"[A-Za-z0-9][\w.\-\[\]]*==\S+ ", line), line[:80]
        assert " --hash=sha256:" in line, line[:80]
    names = {line.partition("==")[0].lower() for line in packages}
    assert "nvidia-ml-py" in names
    assert not names & {"pynvml", "rliable", "hydra-optuna-sweeper", "kaleido"}


def test_every_guarantee_names_a_test_that_exists(root: Path) -> None:
    text = (root / "docs/guarantees.md").read_text(encoding="utf-8")
    named = re.findall(r"`(test_\w+)`", text)
    assert len(named) > 60
    assert len(named) == len(set(named)), "named twice"
    files = (root / "tests").rglob("test_*.py")
    code = "\n".join(path.read_text(encoding="utf-8") for path in files)
    lacking = [name for name in named if f"\ndef {name}(" not in code]
    assert not lacking


def test_every_test_of_this_folder_is_named_among_the_guarantees_or_proves_a_part(
    root: Path,
) -> None:
    text = (root / "docs/guarantees.md").read_text(encoding="utf-8")
    for path in (root / "tests/faults").glob("test_*.py"):
        names = re.findall(r"^def (test_\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert any(f"`{name}`" in text for name in names), f"{path.name}: no guarantee rests on it"


def test_every_point_of_a_fault_is_a_function_and_every_kind_and_point_is_used(
    root: Path, trainer: Trainer
) -> None:
    ended = trainer.child(_look_up)
    assert ended.exit_code == 0, ended.said
    files = (root / "tests").rglob("test_*.py")
    used = "\n".join(path.read_text(encoding="utf-8") for path in files)
    for kind in KINDS.keys() - {"sleep"}:  # for a person with a second terminal
        assert f"{kind}@" in used, kind
    for point in POINTS:
        assert re.search(rf"@{point}\b|\"{point}\b", used), point


def _look_up() -> None:
    for point in POINTS.values():
        owner, name = _place_of(point)
        assert callable(getattr(owner, name)), point


def test_a_hold_on_a_file_that_was_just_removed_is_no_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock, locked = tmp_path / "lock", []

    def remove_once_and_lock(file: TextIO, how: int) -> None:
        if not locked:
            lock.unlink()  # the holder before us lets go between our open and our lock
        locked.append(how)
        flock(file, how)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", remove_once_and_lock)
    with hold(lock, "this"):
        assert len(locked) == 2
        assert holder_of(lock) is not None


def test_a_lock_file_that_was_left_behind_blocks_nobody(tmp_path: Path) -> None:
    lock = tmp_path / ".0.json.lock"
    gone = json.dumps({"pid": 999999999, "host": "this", "since": "2020", "what": "it"})
    for left in (gone, "1 on another-host, since 2020,", "", "\0"):
        lock.write_text(left)
        with hold(lock, "this"):
            holder = json.loads(lock.read_text())
            assert holder.pop("since").startswith("20")
            assert holder == {"pid": os.getpid(), "host": socket.gethostname(), "what": "this"}
        assert not lock.exists()
