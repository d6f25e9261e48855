"""Records in trackers: each tracker's own client is used, and none of them can hurt."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from study_fakes import LITE, write_failure, write_run
from tracker_servers import MlflowServer, WandbServer, serving

from pipeline.mirror.run import run_of

ROOT = Path(__file__).parent.parent
NOWHERE = "http://127.0.0.1:9"  # nothing listens there
KEY = "0123456789abcdef" * 3
ERRORS = [pytest.approx(0.2), pytest.approx(0.1)]  # of the two epochs that a fake record has
TRACKERS = ["dvclive", "mlflow", "trackio", "wandb"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run that went well and one that failed."""
    write_run(tmp_path / "data/runs", LITE[0], 0, 0.1)
    write_failure(tmp_path / "data/runs", LITE[1], 0, "out of memory", history=[])
    return tmp_path


def mirror(folder: Path, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "pipeline.mirror", *words],
        **{"cwd": folder, "env": surroundings(folder, **environment), "timeout": 120},
        **{"capture_output": True, "text": True, "check": False},
    )


def surroundings(folder: Path, **more: str) -> dict[str, str]:
    """The environment of a user who has set up no tracker."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("WANDB_", "MLFLOW_", "TRACKIO_", "DVC"))
    }
    own = {"HOME": str(folder), "TRACKIO_DIR": str(folder / "trackio"), "WANDB_MODE": "offline"}
    return {**kept, **own, "PYTHONPATH": str(ROOT), **more}


def the_run(folder: Path, model: str = LITE[0]) -> Any:
    return run_of(folder / f"data/runs/digits/{model}/quickstart/0.json")


@pytest.mark.slow
@pytest.mark.parametrize("tracker", TRACKERS)
def test_a_second_call_adds_nothing_and_the_records_stay_as_they_are(
    folder: Path, tracker: str
) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*.json")}
    done = mirror(folder, tracker)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tracker}: 2 runs added, 0 were there\n"
    assert mirror(folder, tracker).stdout == f"{tracker}: 0 runs added, 2 were there\n"
    assert {path: path.read_bytes() for path in before} == before


def test_dvclive_holds_curves_settings_and_results(folder: Path) -> None:
    mirror(folder, "dvclive")
    live = folder / "dvclive/which-backbone" / the_run(folder).file_name
    curve = (live / "plots/metrics/error_rate.tsv").read_text().split()
    assert curve == ["step", "error_rate", "1", "0.2", "2", "0.1"]
    assert json.loads((live / "metrics.json").read_text())["fit_seconds"] == 20
    assert yaml.safe_load((live / "params.yaml").read_text())["recipe.lr"] == 0.008


def test_trackios_database_holds_curves_settings_and_results(folder: Path) -> None:
    mirror(folder, "trackio")
    script = """
import json, trackio
from trackio.sqlite_storage import SQLiteStorage as storage
runs = trackio.Api().runs("which-backbone")
told = {each.name: [each.config, storage.get_logs("which-backbone", each.name)] for each in runs}
print(json.dumps(told))
"""
    asked = subprocess.run(
        [sys.executable, "-c", script],
        **{"env": surroundings(folder), "capture_output": True, "text": True, "check": True},
    )
    told = json.loads(asked.stdout)
    settings, rows = told[the_run(folder).file_name]
    assert settings["recipe.lr"] == 0.008
    assert [row["error_rate"] for row in rows if "error_rate" in row] == ERRORS
    assert rows[-1]["final/fit_seconds"] == 20
    failed, rows = told[the_run(folder, LITE[1]).file_name]
    assert (failed["status"], failed["reason"]) == ("failed", "out of memory")
    assert rows[-1]["final/ok"] == 0


def test_an_mlflow_server_is_told_curves_settings_and_results(folder: Path) -> None:
    server = MlflowServer()
    with serving(server):
        done = mirror(folder, "mlflow", MLFLOW_TRACKING_URI=server.url)
        again = mirror(folder, "mlflow", MLFLOW_TRACKING_URI=server.url)
    assert done.stdout == "mlflow: 2 runs added, 0 were there\n", done.stderr
    assert again.stdout == "mlflow: 0 runs added, 2 were there\n"
    run, failed = server.runs
    assert run["name"] == f"digits {LITE[0]} quickstart seed 0"
    assert run["params"]["recipe.lr"] == "0.008"
    errors = [each for each in run["metrics"] if each["key"] == "error_rate"]
    assert [(each["step"], each["value"]) for each in errors] == [(1, ERRORS[0]), (2, ERRORS[1])]
    assert (run["status"], failed["status"]) == ("FINISHED", "FAILED")


def test_a_wandb_server_is_told_curves_settings_and_results(folder: Path) -> None:
    server = WandbServer()
    with serving(server):
        online = {"WANDB_MODE": "online", "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        done = mirror(folder, "wandb", **online)
    assert done.stdout == "wandb: 2 runs added, 0 were there\n", done.stderr
    run = the_run(folder)
    assert [row["error_rate"] for row in server.history[run.id]] == ERRORS
    told = server.runs[run.id]
    assert told["displayName"] == run.name
    assert json.loads(told["config"])["recipe.lr"]["value"] == 0.008
    assert server.summaries[run.id][-1]["fit_seconds"] == 20


def test_wandb_offline_leaves_a_run_that_its_sync_can_send(folder: Path) -> None:
    mirror(folder, "wandb")
    run = the_run(folder)
    (left,) = folder.glob(f"wandb/offline-run-*-{run.id}")
    server = WandbServer()
    with serving(server):
        online = {"WANDB_MODE": "online", "WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY}
        subprocess.run(
            [sys.executable, "-m", "wandb", "sync", str(left)],
            **{"cwd": folder, "env": surroundings(folder, **online), "check": True},
            **{"capture_output": True, "timeout": 60},
        )
    assert [row["error_rate"] for row in server.history[run.id]] == ERRORS


@pytest.mark.parametrize(
    ("tracker", "environment"),
    [
        ("mlflow", {"MLFLOW_TRACKING_URI": NOWHERE}),
        ("wandb", {"WANDB_MODE": "online", "WANDB_BASE_URL": NOWHERE, "WANDB_API_KEY": KEY}),
        ("wandb", {"WANDB_MODE": "online"}),
    ],
    ids=["mlflow is down", "wandb is down", "wandb has no key"],
)
def test_a_tracker_that_is_down_costs_one_warning(
    folder: Path, tracker: str, environment: dict[str, str]
) -> None:
    done = mirror(folder, tracker, **environment)
    assert done.returncode == 0
    assert done.stdout == f"{tracker}: 0 runs added, 0 were there\n"
    assert done.stderr.startswith(f"warning: {tracker}: ")
    assert len(done.stderr.splitlines()) == 1
    assert mirror(folder, tracker, WANDB_MODE="offline").stdout.startswith(f"{tracker}: 2 runs")


def test_a_database_without_the_package_for_it_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = mirror(folder, "mlflow", MLFLOW_TRACKING_URI="sqlite:///m.db")
    assert done.returncode == 1
    assert done.stderr == (
        "error: MLFLOW_TRACKING_URI=sqlite:...: mlflow-skinny has no database: install mlflow, or "
        "set MLFLOW_TRACKING_URI to a server or file:\n"
    )


def test_a_missing_package_is_one_line_that_names_the_extra(folder: Path) -> None:
    (folder / "blocked/mlflow").mkdir(parents=True)
    (folder / "blocked/mlflow/__init__.py").write_text(
        "raise ModuleNotFoundError('no', name='mlflow')"
    )
    done = mirror(folder, "mlflow", PYTHONPATH=f"{folder / 'blocked'}{os.pathsep}{ROOT}")
    assert done.returncode == 1
    assert done.stderr == (
        "error: mlflow: mlflow is not installed: install the extra 'mlflow' of pyproject.toml\n"
    )


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["wandbb"], "unknown tracker 'wandbb': did you mean wandb?"),
        (["dvclive", "--records", "nowhere"], "nowhere: no folder of records"),
    ],
)
def test_a_wrong_word_is_one_line(folder: Path, words: list[str], line: str) -> None:
    done = mirror(folder, *words)
    assert (done.returncode, done.stderr) == (1, f"error: {line}\n")


def test_a_damaged_record_is_one_line_that_names_it(folder: Path) -> None:
    (folder / "data/runs/0.json").write_text("{")
    done = mirror(folder, "dvclive")
    assert done.returncode == 1
    assert "data/runs/0.json: not a complete record" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_name_in_a_record_of_others_stays_in_the_folder(tmp_path: Path) -> None:
    made = write_run(tmp_path / "made", "model", 0, 0.1)
    record = json.loads(made.read_text()) | {"dataset": "../../..", "model": "/etc/<b>"}
    made.write_text(json.dumps(record))
    assert run_of(made).file_name == f"etc-b-quickstart-seed-0-{run_of(made).id}"


def test_watching_adds_records_as_they_come_until_it_is_interrupted(folder: Path) -> None:
    watching = subprocess.Popen(
        [sys.executable, "-m", "pipeline.mirror", "dvclive", "--watch"],
        **{"cwd": folder, "env": surroundings(folder), "text": True},
        **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE},
    )
    shown = folder / "dvclive/which-backbone"
    until(lambda: (shown / the_run(folder).file_name).is_dir())
    write_run(folder / "data/runs", LITE[2], 0, 0.3)
    until(lambda: (shown / the_run(folder, LITE[2]).file_name).is_dir())
    watching.send_signal(signal.SIGINT)
    said, complained = watching.communicate(timeout=30)
    assert (watching.returncode, complained) == (0, "")
    assert said == "dvclive: 3 runs added, 0 were there\n"


def until(fact: Any, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.1)


def test_no_stage_of_the_pipeline_knows_of_mirrors() -> None:
    """So that no choice of tracker, and no change of their code, makes a run anew."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    for name, stage in stages.items():
        deps = stage.get("do", stage)["deps"]  # of one of many, where there are many
        assert not [dep for dep in deps if "mirror" in dep], name
    assert "mirror" not in (ROOT / "conf/finetune.yaml").read_text(encoding="utf-8")
