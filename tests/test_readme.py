"""The README's commands and paths exist, and its commands do what they say."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.configuration import hydra_app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MADE = {"data/imagenet.csv", "data/unmatched.csv", "results/report.html"}  # by a run, not in git


def commands() -> list[str]:
    """Every line of the README's shell blocks, comments cut off."""
    blocks = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


def words_of(module: str) -> list[list[str]]:
    """The arguments of every command that runs one of our modules."""
    start = f"python -m {module} "
    return [shlex.split(line)[3:] for line in commands() if line.startswith(start)]


def test_the_readme_shows_commands() -> None:
    assert {"make run", "make test"} <= set(commands())
    assert len(words_of("pipeline.finetune")) >= 3


def test_every_make_target_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for line in commands():
        if line.startswith("make "):
            assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.MULTILINE), line


def test_without_runs_make_report_stops_before_it_removes_anything(tmp_path: Path) -> None:
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text(encoding="utf-8"))
    (tmp_path / "results").mkdir()
    (tmp_path / "results/leaderboard.csv").touch()
    made = ["make", "--old-file=setup", "report"]
    done = subprocess.run(made, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stderr.startswith("error: data/runs: no runs here yet: make run makes them\n")
    assert (tmp_path / "results/leaderboard.csv").exists()


def test_make_report_makes_all_results_that_its_stages_read() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    made = re.search(r"--single-item (.*)", makefile)
    assert made is not None
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    listed = [stages[name] for name in made[1].split()]
    outs = {"".join(each) for stage in listed for each in stage["outs"]}  # mappings have one key
    deps = {dep for stage in listed for dep in stage["deps"]}
    read = {dep for dep in deps if dep.startswith("results/")} - {"results/race"}  # in git
    assert len(read) > 5
    assert read <= outs


def test_the_commit_that_is_advised_keeps_what_is_new_of_own_data(tmp_path: Path) -> None:
    """`git commit -a` would leave it out, and `dvc metrics diff` would have nothing to compare."""
    advised = next(line for line in commands() if line.startswith("git add "))
    assert advised in (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"`{advised}`" in README
    kept = {"conf/dataset/own.yaml", "dvc.lock", "metrics/own.json", "params.yaml"}
    kept |= {"results/runs.csv", "results/figures/reliability_own.png"}
    left = {"predictions.csv", "data/runs/own.json", "results/report.html", "results/mistakes/a"}
    for name in kept | left:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".gitignore").write_text((ROOT / ".gitignore").read_text(encoding="utf-8"))
    who = "git config user.name me && git config user.email me@here"
    done = f"git init -q && {who} && {advised} --quiet && git ls-files"
    listed = subprocess.check_output(done, cwd=tmp_path, shell=True, text=True)
    assert set(listed.split()) == kept


def test_make_help_lists_every_command() -> None:
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for name in ("setup", "run", "test", "check", "report", "clean"):
        assert f"make {name}" in shown.stdout


def test_every_module_that_is_run_exists() -> None:
    modules = re.findall(r"python -m (pipeline\.\w+)", README)
    assert len(set(modules)) > 3
    for module in modules:
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").is_file() or (path / "__main__.py").is_file(), module


def test_the_table_of_places_names_every_command() -> None:
    table = README.partition("## Where things are")[2].partition("\n## ")[0]
    for main in (ROOT / "pipeline").glob("*/__main__.py"):
        assert re.search(rf"[`/]{main.parent.name}/`", table), main.parent.name


@pytest.mark.parametrize("words", words_of("pipeline.finetune"), ids=" ".join)
def test_every_hydra_command_is_accepted(words: list[str]) -> None:
    overrides = [word for word in words if not word.startswith("--") and word != "job"]
    hydra_app.compose("finetune", overrides, sweeps="--multirun" in words)


def test_every_path_that_the_readme_names_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    quoted = re.findall(r"`((?:conf|data|docs|pipeline|results|studies|tests)/[\w./*-]*)`", README)
    for path in [*links, *quoted]:
        if path not in MADE and "NAME" not in path:  # NAME: the reader's own
            assert list(ROOT.glob(path.rstrip("/"))), path


def test_the_sed_of_the_readme_changes_the_recipe() -> None:
    sed = next(shlex.split(line) for line in commands() if line.startswith("sed "))
    old = sed[2].split("/")[1].removeprefix("^")
    for recipe in (sed[3], "conf/recipe/lp_ft.yaml"):  # the comment names the second
        text = (ROOT / recipe).read_text(encoding="utf-8")
        assert re.search(rf"^{old}", text, flags=re.MULTILINE), recipe


def test_the_undo_of_the_readme_undoes_the_sed_and_keeps_edits_of_datasets(tmp_path: Path) -> None:
    sed = next(line for line in commands() if line.startswith("sed "))
    undo = next(line for line in commands() if line.startswith("git checkout ")).split(" && ")[0]
    assert f"Undo the change: `{undo}`." in README
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    who = "git config user.name me && git config user.email me@here"
    done = f"git init -q && {who} && git add conf && git commit -qm base && {sed}"
    done += f" && echo '# mine' >> conf/dataset/pets.yaml && {undo} && git status --porcelain"
    left = subprocess.check_output(done, cwd=tmp_path, shell=True, text=True)
    assert left == " M conf/dataset/pets.yaml\n"


@pytest.mark.slow
def test_the_readmes_question_about_names_is_answered() -> None:
    words = next(iter(words_of("pipeline.models")))
    found = subprocess.run(
        [sys.executable, "-m", "pipeline.models", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "convnext_tiny.in12k_ft_in1k" in found.stdout
    assert "tf_efficientnet_lite0.in1k" in found.stdout


def test_the_lines_to_switch_on_for_slurm_are_in_the_script_and_in_its_docs() -> None:
    head = (ROOT / "studies/sweep.sbatch").read_text(encoding="utf-8").partition("\nset -e")[0]
    off = re.findall(r"^##SBATCH --\w+=\S+$", head, flags=re.MULTILINE)
    assert [re.sub("=.*", "", line) for line in off] == [
        f"##SBATCH --{option}" for option in ("partition", "account", "gres", "mem")
    ]
    docs = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(##SBATCH .*?)` \|", docs, flags=re.MULTILINE) == off
