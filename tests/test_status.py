"""The grid as it is at any time."""

import json
import os
import shutil
import socket
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from study_fakes import LITE, write_failure, write_run
from sweep_workspace import make_workspace

from pipeline.aggregate.__main__ import read_records
from pipeline.aggregate.runs_table import runs_table
from pipeline.change.__main__ import edit_race
from pipeline.core.errors import PipelineError
from pipeline.core.processes import hold
from pipeline.figures.certificate import INTERRUPTED, SPENT
from pipeline.results import write_result
from pipeline.status import __main__ as status
from pipeline.study.params import Cell, raced_name, read_study


@pytest.fixture
def runs(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    text = (root / "params.yaml").read_text(encoding="utf-8")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data/runs"


def states(capsys: pytest.CaptureFixture[str]) -> dict[str, int]:
    status.main(json=True)
    counts: dict[str, int] = json.loads(capsys.readouterr().out)["counts"]
    return counts


def test_each_cell_has_the_state_of_its_record(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    n_cells = len(list(read_study(Path("params.yaml")).cells()))
    assert states(capsys) == {"missing": n_cells}
    write_run(runs, LITE[0], 0, 0.1)
    write_failure(runs, LITE[0], 1, "out of GPU memory")
    write_run(runs, LITE[1], 0, 0.1, status="diverged", metrics={}, reason="loss is nan")
    write_run(runs, LITE[1], 1, 0.1).write_text("{", encoding="utf-8")
    expected = {"done": 1, "failed": 1, "diverged": 1, "damaged": 1, "missing": n_cells - 4}
    assert states(capsys) == expected


def test_a_run_on_a_dataset_that_was_prepared_otherwise_since_is_stale(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(runs, LITE[0], 0, 0.1)
    fingerprint = json.loads(path.read_text())["data"]["fingerprint"]
    assert fingerprint
    meta = Path("data/datasets/digits/meta.json")
    meta.parent.mkdir(parents=True)
    meta.write_text(json.dumps({"fingerprint": fingerprint}))
    assert states(capsys)["done"] == 1
    meta.write_text(json.dumps({"fingerprint": "of other images"}))
    assert states(capsys)["stale"] == 1


def test_the_table_has_models_and_datasets_and_reasons(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(runs, LITE[0], 0, 0.1)
    write_failure(runs, LITE[0], 1, "out of GPU memory [at 32]")
    status.main()
    said = capsys.readouterr().out
    assert f"{LITE[0]}  1 done, 1 failed" in said
    assert f"digits {LITE[0]} quickstart seed 1: failed: out of GPU memory [at 32]" in said
    assert "digit_mosaic" in said.splitlines()[0]


def test_a_race_that_has_run_nothing_has_no_cells(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    params = Path("params.yaml")
    text = params.read_text().replace("[digits, digit_mosaic]", "[digit_mosaic]")
    params.write_text(text.replace("  datasets: []\n  fits", "  datasets: [digits]\n  fits"))
    status.main()
    said = capsys.readouterr().out
    assert any(line.split() == [LITE[0], "2", "missing", "0"] for line in said.splitlines())


def test_the_last_line_is_the_next_command(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status.main()
    assert "\nNext: python -m pipeline.sweep --dry-run # " in capsys.readouterr().out
    for cell in (cells := list(read_study(Path("params.yaml")).cells())):
        write_run(runs, cell.model, cell.seed, 0.1, dataset=cell.dataset)
    status.main()
    assert "\nNext: python -m pipeline.status --stale # " in capsys.readouterr().out
    with hold(cells[0].path(runs).with_name(".0.json.lock"), runs):
        status.main()
    assert "Next" not in capsys.readouterr().out
    assert status.following({"done"}, looked=True) is None


def test_a_race_that_was_ended_is_what_comes_next(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = {f"digits-{LITE[0]}-quickstart-0": asdict(Cell("digits", LITE[0], "quickstart", 0))}

    def race(content: Any) -> None:
        content["grid"]["datasets"] = []
        content["race"] |= {"datasets": ["digits"], "fits": cells}

    edit_race(Path("params.yaml"), race)
    onward = "\nNext: python -m pipeline.race --dataset digits --budget 1h # its race goes on"
    status.main()
    assert onward in capsys.readouterr().out
    write_run(runs, LITE[0], 0, 0.1)  # ended before it could decide
    status.main()
    assert onward in capsys.readouterr().out
    Path("results/race").mkdir(parents=True)
    Path("results/race/digits.json").write_text("{}")
    status.main()
    assert "\nNext: python -m pipeline.status --stale # " in capsys.readouterr().out


def test_a_race_that_was_interrupted_goes_on_with_its_own_budget(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = Cell("digits", LITE[0], "quickstart", 0)
    write_run(runs, LITE[0], 0, 0.1)

    def race(content: Any) -> None:
        content["grid"]["datasets"] = []
        content["race"] |= {
            "datasets": ["digits"],
            "fits": {raced_name(asdict(cell)): asdict(cell)},
        }

    edit_race(Path("params.yaml"), race)
    told = {name: 0 for name in ("confidence", "regret", "n_candidates", "n_never_run", "seconds")}
    told |= dict.fromkeys(("covers", "stopped", "priced", "prior", "recipe"), "")
    told |= dict.fromkeys(("recommended", "error_rate", "p_best", "regret_at_most"))
    told |= {"dataset": "digits", "may_be_best": [], "rungs": [], "models": [], "steps": []}
    told |= {"grid_seconds": 9, "not_raced": {}, "stopped": INTERRUPTED, "budget_seconds": 900}
    Path("results/race").mkdir(parents=True)
    Path("results/race/digits.json").write_text(json.dumps(told))
    status.main()
    onward = "\nNext: python -m pipeline.race --dataset digits --budget 15min # its race goes on"
    assert onward in capsys.readouterr().out
    Path("results/race/digits.json").write_text(json.dumps(told | {"stopped": SPENT}))
    status.main()
    assert "pipeline.race" not in capsys.readouterr().out


def test_after_a_sweep_the_next_command_makes_the_tables_that_lack_its_runs(
    runs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status, "nothing_to_do", lambda *_: 1)  # as after a sweep
    params = Path("params.yaml")
    params.write_text(params.read_text().replace("image_size: 48", "image_size: 64"))
    study = read_study(params)
    for cell in (cells := list(study.cells())):
        write_run(runs, cell.model, cell.seed, 0.1, dataset=cell.dataset)

    def following() -> list[str]:
        status.main()
        return [line for line in capsys.readouterr().out.splitlines() if "Next" in line]

    makes = "Next: dvc repro # tables, figures and report: those in results/ lack "
    assert following() == [f"{makes}{len(cells)} runs"]
    status.TABLE.parent.mkdir()
    write_result(status.TABLE, runs_table(study, read_records(study, runs)))
    assert following() == []
    monkeypatch.setattr(status, "nothing_to_do", lambda *_: None)  # `dvc repro` wrote dvc.lock
    status.main()
    *_, note, last = capsys.readouterr().out.splitlines()
    assert note == status.NOT_LOOKED
    assert last == f"All {len(cells)} runs have finished, and the tables in results/ contain them."
    monkeypatch.setattr(status, "nothing_to_do", lambda *_: 1)
    first = cells[0]
    later = {"started_at": "2026-12-01T12:00:00+00:00"}
    write_run(runs, first.model, first.seed, 0.1, dataset=first.dataset, **later)
    assert following() == [f"{makes}1 run"]
    status.TABLE.write_bytes(b"dataset,model\n\xff,\xff\n")  # damaged
    assert following() == [f"{makes}{len(cells)} runs"]
    first.path(runs).unlink()
    assert following() == [
        "Next: python -m pipeline.sweep --dry-run # what would run, and how long it would take"
    ]


def test_a_sweep_that_is_at_work_on_something_else_than_fits_is_told(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with hold(status.HOLDER, "."):
        status.main()
    said = capsys.readouterr().out
    assert said.splitlines()[-1] == f"A sweep is at work on this study: process {os.getpid()}."
    status.main()
    assert "at work" not in capsys.readouterr().out


def test_done_without_a_look_at_what_is_stale_says_so(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    status.main()
    assert status.NOT_LOOKED not in capsys.readouterr().out  # nothing has finished
    write_run(runs, LITE[0], 0, 0.1)
    status.main()
    assert status.NOT_LOOKED in capsys.readouterr().out.splitlines()
    status.main(json=True)
    said = capsys.readouterr()
    assert json.loads(said.out)["stale_checked"] is False
    assert said.err.splitlines() == [status.NOT_LOOKED]


def test_a_run_under_way_is_shown_with_its_process(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = write_run(runs, LITE[0], 0, 0.1)
    lock = record.with_name(f".{record.name}.lock")
    with hold(lock, record):
        status.main(json=True)
    first = json.loads(capsys.readouterr().out)["cells"][0]
    assert (first["state"], first["pid"]) == ("running", os.getpid())
    progress = status.LOGS / f"finetune@digits-{LITE[0]}-quickstart-0.progress"
    progress.parent.mkdir(parents=True)
    at = {"epoch": 2, "epochs": 4, "train_loss": 1.0, "valid_loss": 0.9, "error_rate": 0.1}
    progress.write_text(json.dumps({**at, "seconds": 9.0}) + "\n")
    os.utime(progress, (1, 1))  # of a run before
    for said in (False, True):
        with hold(lock, record):
            status.main()
        line = f"digits {LITE[0]} quickstart seed 0: running: epoch 2/4, loss 0.900, error 0.1000"
        assert (line in capsys.readouterr().out) == said
        os.utime(progress, (time.time() + 60,) * 2)
    here = {"host": socket.gethostname(), "pid": os.getpid(), "since": "2026", "what": "it"}
    for left in (here | {"pid": 999999999}, here | {"host": "another"}, "", 9):
        lock.write_text(json.dumps(left))  # its process was killed, or is not this one
        assert states(capsys)["done"] == 1


def test_a_misspelt_name_is_not_reported_as_missing_runs(runs: Path, root: Path) -> None:
    shutil.copytree(root / "conf", "conf")
    status.main(json=True)
    params = Path("params.yaml")
    params.write_text(params.read_text("utf-8").replace("[quickstart]", "[quickstrat]"), "utf-8")
    with pytest.raises(PipelineError, match="unknown recipe 'quickstrat': did you mean quickst"):
        status.main(json=True)


def test_stale_runs_are_those_that_a_sweep_would_make(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace", seeds=1)
    assert workspace.sweep("--jobs", "4").returncode == 0

    def counts() -> dict[str, int]:
        said = workspace.command("pipeline.status", "--stale", "--json")
        assert said.returncode == 0, said.stderr
        found: dict[str, int] = json.loads(said.stdout)["counts"]
        return found

    assert counts() == {"done": 4}
    assert status.NOT_LOOKED not in workspace.command("pipeline.status").stdout  # all as it was
    (workspace.folder / "data/runs/digits" / LITE[0] / "quickstart/0.json").unlink()
    workspace.change("conf/dataset/digit_mosaic.yaml", another_key=1)
    assert counts() == {"done": 1, "missing": 1, "stale": 2}
    assert status.NOT_LOOKED in workspace.command("pipeline.status").stdout
    said = workspace.command("pipeline.status", "--stale").stdout.splitlines()
    assert status.NOT_LOOKED not in said
    assert said[-1].startswith("Next: python -m pipeline.why # ")
