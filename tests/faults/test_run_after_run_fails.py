"""A sweep in which every run fails for one reason stops after five."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from sweep_workspace import Workspace, make_workspace

from pipeline.study.params import Cell
from pipeline.sweep.jobs import LIMIT, Ended, Job, Streak, without_names

DATASETS = {
    f"{stage}@{name}" for stage in ("source", "dataset") for name in ("digits", "digit_mosaic")
}


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "workspace")


def ended(root: Path, model: str, seed: int, code: int, said: str, status: str = "failed") -> Ended:
    """The end of a run; with code 0 it left a record that says `said`."""
    out = f"{model}-{seed}.json"
    cell = Cell("digits", model, "quickstart", seed)
    if code == 0:
        (root / out).write_text(json.dumps({"status": status, "reason": said}))
    return Ended(Job(out, "true", "key", (), (out,), root, root, root, cell), code, said)


def is_long(ends: Sequence[Ended]) -> bool:
    streak = Streak()
    for end in ends:
        streak.count(end)
    return streak.is_long


def test_five_runs_without_a_record_for_one_reason_are_a_streak(tmp_path: Path) -> None:
    ends = [ended(tmp_path, "net", n, 1, f"error: net seed {n}: no hub") for n in range(LIMIT)]
    assert is_long(ends)
    assert not is_long(ends[1:])
    assert not is_long([*ends[:3], ended(tmp_path, "net", 9, 1, "error: no room"), *ends[3:]])
    assert not is_long([*ends[:3], ended(tmp_path, "net", 9, 0, "", "ok"), *ends[3:]])


def test_failed_records_are_a_streak_if_they_are_of_different_models(tmp_path: Path) -> None:
    def failures(models: Sequence[str], status: str = "failed") -> list[Ended]:
        return [
            ended(tmp_path, model, n, 0, f"out of GPU memory at batch size {32 * n}", status)
            for n, model in enumerate(models)
        ]

    assert is_long(failures("abcde"))
    assert not is_long(failures("aaaaaaaabb"))
    assert not is_long(failures("abcde", "diverged"))


def test_names_and_numbers_do_not_make_another_reason(tmp_path: Path) -> None:
    job = ended(tmp_path, "vit_tiny.in1k", 3, 1, "").job
    said = "error: model vit_tiny.in1k on digits: 1,024 MiB missing"
    assert without_names(said, job) == "error: model ... on ...: 0,0 MiB missing"


def test_a_sweep_stops_with_the_reason_and_goes_on_when_told(workspace: Workspace) -> None:
    done = workspace.sweep("--jobs", "1", FAILING="runs")
    assert done.returncode == 1
    assert len(workspace.runs()) == LIMIT
    assert f"{LIMIT} runs in a row failed for one reason: error: " in done.stderr
    assert "no such weights" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = workspace.sweep("--jobs", "4", "--keep-going", FAILING="runs")
    assert "8 failed, 0 never started" in done.stderr
    assert len(workspace.runs()) == LIMIT + 8
    assert workspace.sweep("--jobs", "4").returncode == 0


def test_a_sweep_killed_between_the_cache_and_dvc_lock_repeats_no_run(workspace: Workspace) -> None:
    cell = "finetune@digits-tf_efficientnet_lite0.in1k-quickstart-0"
    assert workspace.sweep("dataset").returncode == 0
    here = {"PYTHONPATH": str(Path(__file__).parent.parent)}
    killed = workspace.command("fault", "kill@in_commit", "pipeline.sweep", cell, **here)
    assert killed.returncode == -9, killed.stderr
    assert (set(workspace.lock()), len(workspace.runs())) == (DATASETS, 1)
    assert "1 made before and now committed" in workspace.sweep(cell).stdout
    assert len(workspace.runs()) == 1
    by_dvc = workspace.command("dvc", "repro", "--quiet", cell)
    assert by_dvc.returncode == 0, by_dvc.stderr
    assert len(workspace.runs()) == 1
