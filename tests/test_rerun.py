"""What re-runs after which change, proved with the real dvc.yaml and DVC.

Only the work is replaced: a `python` that comes first on the path (stand_in.py) writes fresh
outputs and notes the stage's name. So every stage that runs changes its outputs, and what is
below it must follow.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks.project_copy import ROOT, copy_project

pytestmark = pytest.mark.slow

BELOW = {"aggregate", "mistakes", "plot", "report"}


class Workspace:
    """A copy of the project in which stages run at no cost."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "stages.log"

    def repro(self) -> set[str]:
        """Run `dvc repro` and return the names of the stages that ran."""
        self.log.write_text("")
        path = f"{self.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            [sys.executable, "-m", "dvc", "repro", "--quiet"],
            cwd=self.folder,
            env={**os.environ, "PATH": path, "LOG": str(self.log)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return set(self.log.read_text().splitlines())

    def edit(self, file: str, old: str, new: str) -> None:
        path = self.folder / file
        text = path.read_text(encoding="utf-8")
        assert old in text, f"{file}: {old}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def edit_params(self, **grid: list[Any]) -> None:
        self._update("grid", grid)

    def edit_benchmark(self, **keys: list[Any]) -> None:
        self._update("benchmark", keys)

    def _update(self, section: str, values: dict[str, Any]) -> None:
        path = self.folder / "params.yaml"
        params = yaml.safe_load(path.read_text(encoding="utf-8"))
        params[section].update(values)
        path.write_text(yaml.safe_dump(params), encoding="utf-8")


MODELS = ["tf_efficientnet_lite0.in1k", "tf_efficientnet_lite1.in1k"]


def cells(
    datasets: tuple[str, ...] = ("digits", "digit_mosaic"),
    models: tuple[str, ...] = tuple(MODELS),
    recipes: tuple[str, ...] | None = None,
) -> set[str]:
    """The fits of these; of all recipes also the baselines, which have none."""
    whole = recipes or ("quickstart", "avg_pool")
    fits = {f"finetune@{d}-{m}-{r}-0" for d in datasets for m in models for r in whole}
    return fits | {f"baseline@{d}-{m}" for d in datasets for m in models if recipes is None}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A study of two datasets, two models, two recipes and one seed, run once."""
    folder = tmp_path_factory.mktemp("finished")
    copy_project(folder)
    (folder / "bin").mkdir()
    stand_in = (ROOT / "tests/stand_in.py").read_text(encoding="utf-8")
    (folder / "bin/python").write_text(f"#!{sys.executable}\n{stand_in}", encoding="utf-8")
    (folder / "bin/python").chmod(0o755)
    workspace = Workspace(folder)
    workspace.edit_params(models=MODELS, recipes=["quickstart", "avg_pool"], seeds=[0])
    ran = workspace.repro()
    datasets = {"dataset@digits", "dataset@digit_mosaic"}
    sources = {"source@digits", "source@digit_mosaic"}
    assert ran == {"fetch", "merge", "study2022"} | sources | datasets | cells() | BELOW
    return workspace


@pytest.fixture
def workspace(finished: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(finished.folder, tmp_path / "copy", symlinks=True)
    return Workspace(tmp_path / "copy")


def test_nothing_changed_means_nothing_runs(workspace: Workspace) -> None:
    assert workspace.repro() == set()


def test_one_datasets_yaml_re_runs_its_cells_only(workspace: Workspace) -> None:
    workspace.edit("conf/dataset/digit_mosaic.yaml", "count: 1600", "count: 600")
    expected = (
        {"source@digit_mosaic", "dataset@digit_mosaic"} | cells(datasets=("digit_mosaic",)) | BELOW
    )
    assert workspace.repro() == expected


def test_a_new_model_re_runs_its_cells_only(workspace: Workspace) -> None:
    new = "tf_efficientnet_lite2.in1k"
    workspace.edit_params(models=[*MODELS, new])
    assert workspace.repro() == cells(models=(new,)) | BELOW


def test_a_removed_model_leaves_the_tables(workspace: Workspace) -> None:
    workspace.edit_params(models=MODELS[:1])
    assert workspace.repro() == BELOW


def test_a_learning_rate_re_runs_the_cells_of_its_recipe(workspace: Workspace) -> None:
    workspace.edit("conf/recipe/avg_pool.yaml", "lr: 0.008", "lr: 0.004")
    assert workspace.repro() == cells(recipes=("avg_pool",)) | BELOW


def test_a_comment_in_a_configuration_re_runs_nothing(workspace: Workspace) -> None:
    workspace.edit("conf/recipe/avg_pool.yaml", "lr: 0.008", "lr: 0.008 # a comment")
    assert workspace.repro() == set()


def test_the_code_of_a_plot_re_runs_the_plot_and_the_report(workspace: Workspace) -> None:
    plot = workspace.folder / "pipeline/plot/__main__.py"
    plot.write_text(plot.read_text() + "\n# changed\n")
    assert workspace.repro() == {"plot", "report"}


def test_the_image_size_re_runs_everything_but_the_published_tables(workspace: Workspace) -> None:
    workspace.edit("params.yaml", "image_size: 48", "image_size: 96")
    datasets = {"dataset@digits", "dataset@digit_mosaic"}
    assert workspace.repro() == datasets | cells() | BELOW


def test_the_charts_device_re_runs_no_fine_tune(workspace: Workspace) -> None:
    old = "infer: benchmark-infer-amp-nhwc-pt113-cu117-rtx3090.csv"
    workspace.edit("params.yaml", old, "infer: benchmark-infer-amp-nchw-pt291-cu130-5090.csv")
    assert workspace.repro() == BELOW


def test_timing_a_model_re_runs_its_timing_and_the_tables_but_no_fine_tune(
    workspace: Workspace,
) -> None:
    tables = {"merge", "study2022"} | BELOW
    workspace.edit_benchmark(models=MODELS[:1])
    assert workspace.repro() == {f"benchmark@{MODELS[0]}"} | tables
    workspace.edit_benchmark(models=MODELS)
    assert workspace.repro() == {f"benchmark@{MODELS[1]}"} | tables
    workspace.edit("conf/recipe/quickstart.yaml", "lr: 0.001", "lr: 0.0005")
    assert workspace.repro() == cells(recipes=("quickstart",)) | BELOW
    workspace.edit_benchmark(models=[])
    assert workspace.repro() == tables


def test_dvc_deletes_nothing_where_an_export_goes(workspace: Workspace) -> None:
    """Its command refuses to replace what is not its own; DVC would not ask."""
    mine = workspace.folder / "data/exports/digits/holiday.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_text("dear")
    workspace._update("export", {"datasets": ["digits"]})
    assert workspace.repro() == {"export@digits"}
    assert mine.read_text() == "dear"
    assert workspace.repro() == set()
    shutil.rmtree(mine.parent)
    command = [sys.executable, "-m", "dvc", "checkout", "--quiet", "export@digits"]
    subprocess.run(command, cwd=workspace.folder, check=True)
    assert (mine.parent / "config.json").is_file()
    assert workspace.repro() == set()


def test_runs_of_other_people_re_run_the_tables_alone(workspace: Workspace) -> None:
    (workspace.folder / "data/pool/anna").mkdir()
    (workspace.folder / "data/pool/anna/pool.json").write_text("{}")
    assert workspace.repro() == BELOW


def test_another_source_of_timms_tables_re_runs_no_fine_tune(workspace: Workspace) -> None:
    workspace.edit("params.yaml", "source: data/sample", "source: data/other")
    shutil.copytree(workspace.folder / "data/sample", workspace.folder / "data/other")
    assert workspace.repro() == {"fetch", "merge", "study2022"} | BELOW


@pytest.mark.parametrize(("study", "fine_tunes"), [("quickstart", 12), ("fastai2022", 558)])
def test_every_study_resolves_and_plans(workspace: Workspace, study: str, fine_tunes: int) -> None:
    """`--force`, because DVC cannot plan past an input that is not there yet."""
    shutil.copy(workspace.folder / f"studies/{study}.yaml", workspace.folder / "params.yaml")
    plan = subprocess.run(
        [sys.executable, "-m", "dvc", "repro", "--dry", "--force"],
        cwd=workspace.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert plan.stdout.count("Running stage 'finetune@") == fine_tunes


def test_going_back_to_an_earlier_recipe_trains_nothing_again(workspace: Workspace) -> None:
    workspace.edit("conf/recipe/avg_pool.yaml", "lr: 0.008", "lr: 0.004")
    assert cells(recipes=("avg_pool",)) <= workspace.repro()
    workspace.edit("conf/recipe/avg_pool.yaml", "lr: 0.004", "lr: 0.008")
    assert workspace.repro() == BELOW
