"""A sweep with nothing to do says so without DVC, and never where DVC would run something."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from sweep_workspace import make_workspace

from pipeline.sweep.snapshot import FILE, Snapshot, nothing_to_do
from pipeline.why import __main__ as why

TARGETS = ("finetune",)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Files that stand for code, an input, two outputs and what DVC reads."""
    for name in ("pipeline/run.py", "params.yaml", "dvc.yaml", "dvc.lock", "data/in/a", "out/1"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path


def kept(project: Path) -> Path:
    snapshot = Snapshot(project)
    snapshot.watch(["data/in", str(project / "out/1"), "conf/absent.yaml"])
    snapshot.keep(TARGETS, 3)
    assert nothing_to_do(project, TARGETS) == 3
    return project


def test_an_unchanged_workspace_has_nothing_to_do_for_the_same_targets(project: Path) -> None:
    kept(project)
    assert nothing_to_do(project, ("finetune", "dataset")) is None


def test_why_asks_no_dvc_where_nothing_has_changed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept(project)
    monkeypatch.chdir(project)  # where DVC would find no repository
    why.main(*TARGETS)
    assert capsys.readouterr().out == "3 stages up to date\n"


CHANGES: dict[str, Callable[[Path], object]] = {
    "an output is gone": lambda root: (root / "out/1").unlink(),
    "an input is another": lambda root: (root / "data/in/a").write_text("b"),
    "an input is new": lambda root: (root / "data/in/b").write_text("b"),
    "an input is gone": lambda root: (root / "data/in/a").unlink(),
    "an input is renamed": lambda root: (root / "data/in/a").rename(root / "data/in/b"),
    "a folder is new": lambda root: (root / "data/in/c").mkdir(),
    "code is another": lambda root: (root / "pipeline/run.py").write_text("else"),
    "code is new": lambda root: (root / "pipeline/more.py").write_text(""),
    "what was missing is there": lambda root: (
        (root / "conf").mkdir() or (root / "conf/absent.yaml").write_text("")
    ),
    "another pipeline file": lambda root: (root / "out/dvc.yaml").write_text(""),
    "another import": lambda root: (root / "data/images.dvc").write_text(""),
    "an ignore file": lambda root: (root / ".dvcignore").write_text("*.tmp"),
    "DVC's configuration": lambda root: (root / ".dvc/config").write_text("[core]"),
    "equal content of a later time": lambda root: (root / "dvc.lock").write_text("dvc.lock"),
    "equal time and size": lambda root: same_time_and_size(root / "data/in/a"),
    "the snapshot is half a file": lambda root: (root / FILE).write_text('{"format": 1'),
    "the snapshot is another's": lambda root: (root / FILE).write_text("[]"),
}


def same_time_and_size(path: Path) -> None:
    """As `cp -p` and rename leave it: only the inode tells."""
    found = path.stat()
    beside = path.with_name("beside")
    beside.write_text("x" * found.st_size)
    os.utime(beside, ns=(found.st_atime_ns, found.st_mtime_ns))
    beside.replace(path)


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_is_looked_into(change: str, project: Path) -> None:
    kept(project)
    CHANGES[change](project)
    assert nothing_to_do(project, TARGETS) is None


def test_compiled_code_is_no_change(project: Path) -> None:
    kept(project)
    (project / "pipeline/__pycache__").mkdir()
    (project / "pipeline/__pycache__/run.pyc").write_text("")
    assert nothing_to_do(project, TARGETS) == 3


def test_what_changes_while_a_sweep_looks_keeps_no_snapshot(project: Path) -> None:
    kept(project)
    snapshot = Snapshot(project)
    snapshot.watch(["data/in"])
    (project / "data/in/a").write_text("edited meanwhile")
    snapshot.keep(TARGETS, 3)
    assert not (project / FILE).exists()


def test_what_the_sweep_wrote_is_as_it_was_after_the_commit(project: Path) -> None:
    snapshot = Snapshot(project)
    snapshot.watch(["out/1"])
    (project / "out/1").write_text("made")
    snapshot.wrote(["out/1"])
    snapshot.keep(TARGETS, 1)
    assert nothing_to_do(project, TARGETS) == 1
    (project / "out/1").write_text("edited")
    snapshot.keep(TARGETS, 1)
    assert nothing_to_do(project, TARGETS) is None


def test_a_sweep_with_nothing_to_do_loads_neither_dvc_nor_numpy(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace")
    assert workspace.sweep("finetune").returncode == 0
    files = json.loads((workspace.folder / FILE).read_text())["files"]
    n_stages = json.loads((workspace.folder / FILE).read_text())["stages"]
    assert "pipeline" in files
    slow = [workspace.folder / "dvc.py", workspace.folder / "numpy.py"]
    for each in slow:  # would be imported in their place
        each.write_text("raise SystemExit(f'{__name__} was loaded')")
    again = workspace.sweep("finetune")
    assert (again.returncode, again.stdout) == (0, f"stages: {n_stages} up to date\n")
    dry = workspace.sweep("finetune", "--dry-run")
    assert dry.stdout == f"0 of {n_stages} stages to do\n"
    for each in slow:
        each.unlink()
    record = workspace.folder / next(path for _, path in workspace.runs())
    record.unlink()
    assert "from DVC's cache" in workspace.sweep("finetune").stdout
    assert record.exists()
