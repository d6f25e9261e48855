"""For each kind of change, `why` names the value, file or output, once for all its cells."""

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from sweep_workspace import MODELS, Workspace, make_workspace

from pipeline.sweep.project import Project
from pipeline.sweep.reasons import History, folder_hash
from pipeline.sweep.session import explained, verdicts

CELL = f"finetune@digits-{MODELS[0]}-quickstart-0"
RECORD = f"data/runs/digits/{MODELS[0]}/quickstart/0.json"
IDENTITY = ("-c", "user.name=A", "-c", "user.email=a@example.org")


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace in git of which all fits are made; one of its datasets has images in a folder."""
    workspace = make_workspace(tmp_path_factory.mktemp("swept") / "workspace")
    images = workspace.folder / "images/cat"
    images.mkdir(parents=True)
    for name in ("a", "b"):
        (images / f"{name}.jpg").write_text(name)
    workspace.change("conf/dataset/digits.yaml", source="images")
    git(workspace.folder, "init", "-q")
    git(workspace.folder, "add", "conf", "pipeline", "params.yaml", "dvc.yaml")
    git(workspace.folder, *IDENTITY, "commit", "-qm", "As it was")
    assert workspace.sweep("finetune").returncode == 0
    return workspace


@pytest.fixture
def workspace(swept: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    copied = swept.copy(tmp_path / "workspace")
    monkeypatch.chdir(copied.folder)  # as where the command is called
    return copied


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *words], cwd=folder, check=True)


def why(workspace: Workspace, *stages: str) -> str:
    project = Project(workspace.folder)
    wanted, needs = project.collect(stages or ("finetune",))
    with project.locked():
        return "\n".join(explained(project, wanted, verdicts(project, wanted, needs)))


def edit(file: str, old: str, new: str) -> Callable[[Workspace], object]:
    def change(workspace: Workspace) -> None:
        path = workspace.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), encoding="utf-8")

    return change


def append(file: str, text: str) -> Callable[[Workspace], object]:
    def change(workspace: Workspace) -> None:
        path = workspace.folder / file
        path.write_text((path.read_text("utf-8") if path.exists() else "") + text, "utf-8")

    return change


def removed(file: str) -> Callable[[Workspace], object]:
    return lambda workspace: (workspace.folder / file).unlink()


HALF = "4 cells of finetune"  # of one dataset
ALL = "8 cells of finetune"
CHANGES: list[tuple[Callable[[Workspace], object], str]] = [
    (edit("conf/recipe/quickstart.yaml", "epochs: 3", "epochs: 4"), f"epochs 3 -> 4 ({ALL})"),
    (append("conf/recipe/quickstart.yaml", "note: mine\n"), f'note (absent) -> "mine" ({ALL})'),
    (append("conf/finetune.yaml", "\nextra: 1\n"), f"finetune.yaml: extra (absent) -> 1 ({ALL})"),
    (edit("params.yaml", "threads: 1", "threads: 2"), f"command: threads 1 -> 2 ({ALL})"),
    (
        edit("pipeline/records.py", "import base64", "import base64, os"),
        f"records.py: changed ({ALL})",
    ),
    (append("pipeline/names/resolve.py", "\nX = 1\n"), f"names/resolve.py: changed ({ALL})"),
    (append("pipeline/names/more.py", "X = 1\n"), f"pipeline/names/more.py: new ({ALL})"),
    (removed("pipeline/hardware/telemetry.py"), f"telemetry.py: gone ({ALL})"),
    (append("data/datasets/digits/meta.json", " "), "1 changed (meta.json)"),
    (append("images/cat/a.jpg", "else"), "data/sources/digits: 1 changed (cat/a.jpg)"),
    (append("images/cat/c.jpg", "c"), "data/sources/digits: 1 new (cat/c.jpg)"),
    (removed("images/cat/b.jpg"), "data/sources/digits: 1 gone (cat/b.jpg)"),
    (append("conf/dataset/digits.yaml", "bad: skip\n"), 'digits.yaml: bad (absent) -> "skip"'),
    (removed(RECORD), f"its output: not there ({CELL})"),
    (append(RECORD, " "), f"its output: changed since it was made ({CELL})"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[said[:40] for _, said in CHANGES])
def test_a_change_is_named(
    change: Callable[[Workspace], object], said: str, workspace: Workspace
) -> None:
    change(workspace)
    assert said in why(workspace)


def test_cells_whose_outputs_are_gone_share_a_line(workspace: Workspace) -> None:
    shutil.rmtree(workspace.folder / "data/runs")
    assert "its output: not there (8 cells of finetune)" in why(workspace)


def test_what_is_up_to_date_has_no_reason(workspace: Workspace) -> None:
    assert why(workspace) == ""


def test_a_new_cell_is_not_known_yet(workspace: Workspace) -> None:
    workspace.change("params.yaml", grid={**grid(workspace), "seeds": [0, 1, 2]})
    assert "new: dvc.lock has no entry of it yet (4 cells of finetune)" in why(workspace)


def grid(workspace: Workspace) -> dict[str, object]:
    content = yaml.safe_load((workspace.folder / "params.yaml").read_text())
    return dict(content["grid"])


def test_code_that_does_the_same_can_be_accepted_by_the_command_that_is_named(
    workspace: Workspace,
) -> None:
    append("pipeline/names/resolve.py", "# a remark\n")(workspace)
    said = why(workspace)
    assert "resolve.py: comments, docstrings or formatting alone (8 cells of finetune)" in said
    command = said.rpartition("without running: ")[2]
    assert command == "dvc commit --force finetune"
    done = workspace.command(*command.split())
    assert done.returncode == 0, done.stderr
    assert why(workspace) == ""
    assert len(workspace.runs()) == 8


def test_code_that_does_another_thing_cannot_be_accepted(workspace: Workspace) -> None:
    append("pipeline/names/resolve.py", "# a remark\n")(workspace)
    append("pipeline/records.py", "\nX = 1\n")(workspace)
    said = why(workspace)
    assert "resolve.py: comments, docstrings or formatting alone; pipeline/records.py" in said
    assert "dvc commit" not in said


def test_code_that_does_the_same_cannot_be_accepted_before_what_the_cell_waits_for(
    workspace: Workspace,
) -> None:
    append("pipeline/names/resolve.py", "# a remark\n")(workspace)
    append("conf/dataset/digits.yaml", "bad: skip\n")(workspace)
    said = why(workspace)
    assert "resolve.py: comments, docstrings or formatting alone (8 cells of finetune)" in said
    command = said.rpartition("without running: ")[2]
    accepted = command.removeprefix("dvc commit --force ").split()
    assert len(accepted) == 4  # of the other dataset
    assert not any("@digits-" in each for each in accepted)


def test_an_input_that_is_gone_is_the_reason(workspace: Workspace) -> None:
    (workspace.folder / "conf/recipe/quickstart.yaml").unlink()
    assert "conf/recipe/quickstart.yaml: not there (8 cells of finetune)" in why(workspace)


def test_without_git_the_file_is_named_and_that_its_old_text_is_not_known(
    workspace: Workspace,
) -> None:
    (workspace.folder / ".git").rename(workspace.folder.parent / "git")
    append("pipeline/names/resolve.py", "# a remark\n")(workspace)
    assert "pipeline/names/resolve.py: changed (the old text is nowhere)" in why(workspace)


def test_gits_history_has_the_list_of_files_that_no_sweep_has_noted(root: Path) -> None:
    history = History(root)
    commit = history._commits("pipeline/names")[-1]
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", commit, "pipeline/names/"],
        cwd=root,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    texts = {name: history._git("show", f"{commit}:{name}") or b"" for name in listed}
    files = {
        name.removeprefix("pipeline/names/"): hashlib.md5(text).hexdigest()
        for name, text in texts.items()
    }
    assert history.files("pipeline/names", folder_hash(files)) == files
    assert history.files("pipeline/names", "0" * 32 + ".dir") is None


def test_the_command_refuses_a_misspelt_recipe_in_one_line(workspace: Workspace) -> None:
    workspace.change("params.yaml", grid={**grid(workspace), "recipes": ["quickstrat"]})
    done = workspace.command("pipeline.why")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "grid.recipes: unknown recipe 'quickstrat': did you mean quickstart?" in done.stderr


def test_the_command_says_all_is_up_to_date(workspace: Workspace) -> None:
    done = workspace.command("pipeline.why", CELL)
    assert (done.returncode, done.stdout) == (0, "3 stages up to date\n"), done.stderr
