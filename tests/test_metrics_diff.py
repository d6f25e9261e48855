"""What a user reads after a changed recipe: the diff of two commits, with real git and DVC.

Every stage up to `aggregate` is the real one, but for `dataset` and `finetune`, which cost nothing:
a run's error is the recipe's learning rate and a little by model and seed. The second commit was
made on a machine that is slower.
"""

import json
import shutil
import subprocess

import pytest
import yaml
from sweep_workspace import MODELS, Workspace, make_workspace

from benchmarks.project_copy import ROOT

pytestmark = pytest.mark.slow

FINETUNE = """
import json, os, sys
from pathlib import Path

import yaml

given = dict(each.split("=", 1) for each in sys.argv[1:])
recipe = yaml.safe_load(Path(f"conf/recipe/{given['recipe']}.yaml").read_text())
seed, slow = int(given["seed"]), given["model"] == "SLOW"
seconds = float(os.environ["FIT_SECONDS"]) + seed
error = recipe["lr"] * (1.5 if slow else 1) + seed / 1000
record = {
    "format": 2,
    "status": "ok",
    **{key: given[key] for key in ("dataset", "model", "recipe")},
    "seed": seed,
    "metrics": {"error_rate": error, "valid_loss": 2 * error, "train_loss": error},
    "history": [{"epoch": n, "valid_loss": error / n, "train_loss": error / n} for n in (1, 2)],
    "cost": {"start_up_seconds": 0.0, "steady_fit_seconds": seconds, "fit_seconds": seconds},
    "device": {"kind": "cpu", "name": "Some CPU", "threads": 1},
    "data": {"fingerprint": "x", "kind": "single", "n_valid": 900, "chance_error_rate": 0.9},
    "config": {"recipe": recipe},
}
if slow and seed == 1:
    record |= {"status": "failed", "reason": "out of memory", "metrics": {}, "history": []}
out = Path(given["out"])
out.parent.mkdir(parents=True, exist_ok=True)
out.write_text(json.dumps(record))
""".replace("SLOW", MODELS[1])
COLUMNS = (
    "best_model",
    "error_rate",
    "p_best",
    "n_ok",
    "n_failed",
    "n_missing",
)


def git(workspace: Workspace, *words: str) -> str:
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "commit.gpgsign=false"]
    command = ["git", *who, *words]
    done = subprocess.run(command, cwd=workspace.folder, check=True, capture_output=True, text=True)
    return done.stdout


def dvc(workspace: Workspace, *words: str, fit_seconds: float = 0) -> str:
    environment = {"DVC_NO_ANALYTICS": "1", "FIT_SECONDS": str(fit_seconds)}
    done = workspace.command("dvc", *words, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two commits: the study at a learning rate of 0.02, and at 0.01 with a third seed to come."""
    made = make_workspace(tmp_path_factory.mktemp("diff"))
    folder = made.folder
    (folder / "pipeline/finetune/__main__.py").write_text(FINETUNE)
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n")
    shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
    shutil.copy(ROOT / ".gitignore", folder)
    params = yaml.safe_load((folder / "params.yaml").read_text())
    params["grid"]["datasets"] = ["digits"]
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    git(made, "init", "-q")
    for lr, fit_seconds in ((0.02, 20), (0.01, 35)):
        made.change("conf/recipe/quickstart.yaml", lr=lr)
        dvc(made, "repro", "--quiet", "aggregate", fit_seconds=fit_seconds)
        git(made, "add", "-A")
        git(made, "commit", "-q", "-m", f"lr {lr}")
    return made


def test_the_diff_of_two_commits_says_what_a_recipe_did_to_every_dataset(workspace: Workspace):
    diff = json.loads(dvc(workspace, "metrics", "diff", "--all", "--json", "HEAD~1", "HEAD"))
    found = diff["metrics/digits.json"]
    assert set(COLUMNS) <= set(found)
    assert found["error_rate"]["old"] == pytest.approx(0.0205)
    assert found["error_rate"]["new"] == pytest.approx(0.0105)
    assert found["best_model"]["new"] == MODELS[0]
    assert (found["n_ok"]["new"], found["n_failed"]["new"], found["n_missing"]["new"]) == (3, 1, 0)
    assert not [name for name in found if "seconds" in name or "score" in name]


def test_the_diff_as_text_has_a_line_for_each_number_that_moved(workspace: Workspace):
    text = dvc(workspace, "metrics", "diff", "--all", "--md", "HEAD~1", "HEAD")
    lines = [line for line in text.splitlines() if line.startswith("| metrics/digits.json")]
    for name in COLUMNS:
        assert any(f"| {name} " in line for line in lines), name


def test_plots_of_two_commits_show_the_scatter_of_both(workspace: Workspace):
    dvc(workspace, "plots", "diff", "HEAD~1", "HEAD", "-o", "plots")
    page = (workspace.folder / "plots/index.html").read_text()
    assert "Error against steady fit time" in page
    for revision in ("HEAD~1", "HEAD"):
        assert f'"rev": "{revision}"' in page
    assert page.count('"error_rate": "0.02"') == page.count('"error_rate": "0.01"') > 0


def test_the_same_study_on_another_machine_is_no_change_of_its_metrics(workspace: Workspace):
    dvc(workspace, "repro", "--quiet", "--force", "aggregate", fit_seconds=90)
    assert json.loads(dvc(workspace, "metrics", "diff", "--json")) == {}
    changed = git(workspace, "status", "--porcelain", "results", "metrics").split()
    assert "results/leaderboard.csv" in changed  # the times did change
    assert not [path for path in changed if path.startswith("metrics")]


def test_queued_experiments_compare_learning_rates_without_a_commit(workspace: Workspace):
    git(workspace, "checkout", "-q", ".")
    rates = (0.04, 0.08)
    for rate in rates:
        rate_of_recipe = f"conf/recipe/quickstart.yaml:lr={rate}"
        named = ("--name", f"lr-{rate}", "-S", rate_of_recipe)
        dvc(workspace, "exp", "run", "--queue", *named, "aggregate")
    git(workspace, "config", "user.name", "t")
    git(workspace, "config", "user.email", "t@localhost")
    dvc(workspace, "exp", "run", "--run-all", fit_seconds=20)
    (commit,) = [
        each for each in json.loads(dvc(workspace, "exp", "show", "--json")) if each["experiments"]
    ]
    found = {
        revision["name"]: revision["data"]["metrics"]["metrics/digits.json"]["data"]["error_rate"]
        for experiment in commit["experiments"]
        for revision in experiment["revs"]
    }
    assert found == {f"lr-{rate}": pytest.approx(rate + 0.0005) for rate in rates}
    assert git(workspace, "status", "--porcelain", "-uno") == "", "queued experiments run elsewhere"
