"""Hydra's launchers run ad-hoc multiruns elsewhere; errors stay one line, exit codes their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.configuration import hydra_app
from pipeline.core.errors import PipelineError

ROOT = Path(__file__).parent.parent
APP = """
import os
from pathlib import Path
from pipeline.configuration import hydra_app
from pipeline.core.errors import TryAgain

def main(config):
    if config.seed == 2:
        raise TryAgain("seed 2: not today")
    Path(config.out, f"{config.seed}").write_text(str(os.getpid()))

if __name__ == "__main__":
    hydra_app.run(main, "finetune")
"""


def multirun(folder: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    (folder / "app.py").write_text(APP)
    (folder / "out").mkdir()
    cell = ["dataset=digits", "recipe=quickstart", "model=x", "seed=0,1,2", "out=out"]
    return subprocess.run(
        [sys.executable, "app.py", "--multirun", *words, *cell],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("launcher", "options"),
    [
        ("joblib", ["hydra.launcher.n_jobs=2"]),
        ("ray", []),
        ("submitit_local", []),
    ],
)
def test_a_launcher_runs_each_value_elsewhere_and_keeps_errors_one_line(
    tmp_path: Path, launcher: str, options: list[str]
) -> None:
    done = multirun(tmp_path, f"hydra/launcher={launcher}", *options)
    assert done.stderr.splitlines()[-1] == "error: seed 2: not today"
    assert "Traceback" not in done.stderr
    assert done.returncode == 75
    processes = {file.name: file.read_text() for file in (tmp_path / "out").iterdir()}
    assert set(processes) == {"0", "1"}
    left = {path.name for path in tmp_path.iterdir()}
    assert left <= {"app.py", "out", "outputs", "__pycache__"}, "git ignores outputs/ alone"


def test_submitit_slurm_composes_and_says_that_slurm_is_not_here(tmp_path: Path) -> None:
    done = multirun(tmp_path, "hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu")
    assert done.stderr == (
        "error: hydra/launcher=submitit_slurm: `srun` not found: run this on a machine with Slurm\n"
    )
    assert done.returncode == 1


def test_a_launcher_without_its_package_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def finds_no_plugins(name: str) -> None:
        raise ModuleNotFoundError(f"No module named {name.partition('.')[0]!r}")

    for find_spec in (lambda name: None, finds_no_plugins):
        monkeypatch.setattr(hydra_app.importlib.util, "find_spec", find_spec)
        with pytest.raises(PipelineError, match="run `make setup`, which installs it"):
            hydra_app.prepare(["hydra/launcher=joblib"])


def test_a_launchers_package_is_asked_for_before_hydra_looks_for_its_settings(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hydra_app.importlib.util, "find_spec", lambda name: None)
    words = ["hydra/launcher=submitit_slurm", "hydra.launcher.partition=gpu"]
    monkeypatch.setattr("sys.argv", ["finetune", "--multirun", *words])
    with pytest.raises(SystemExit):
        hydra_app.run(print, "finetune")
    assert "needs the package hydra-submitit-launcher" in capsys.readouterr().err


def test_ray_joins_the_cluster_that_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    named = "hydra.launcher.ray.init.address=10.0.0.1:6379"
    assert hydra_app.prepare(["hydra/launcher=ray", named]) == []
    assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ
    assert hydra_app.prepare(["hydra/launcher=basic"]) == []
