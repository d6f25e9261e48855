"""One process makes one run after another: each as in a fresh process, and no run is lost."""

import json
import os
import signal
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import safetensors.torch
import timm
import torch
from sweep_workspace import Workspace, make_workspace
from test_sweep import until
from tiny_runs import MODEL, SIZE, write_squares

from benchmarks.project_copy import ROOT
from pipeline.core.errors import PipelineError
from pipeline.core.files import write_json
from pipeline.study.params import Cell
from pipeline.sweep import warm
from pipeline.sweep.jobs import Job, Options
from pipeline.sweep.loop import together
from pipeline.sweep.warm import Settings, can_go_on

VIT = "test_vit.r160_in1k"
ENGINE = """
import json, sys
from pathlib import Path
from pipeline.study.params import Cell
from pipeline.sweep.engine import LocalEngine
from pipeline.sweep.jobs import Job

for how, jobs in json.load(sys.stdin).items():
    engine = LocalEngine(1, 1, warm=how == "warm")
    for plain in jobs:
        paths = {key: Path(plain[key]) for key in ("root", "log", "receipt")}
        engine.start(Job(**{**plain, **paths, "cell": Cell(*plain["cell"])}))
        ended = []
        while not ended:
            worker = next(iter(engine._jobs.values()))[1]
            ended = engine.wait(1)
        print(how, worker.process.pid, ended[0].exit_code, flush=True)
    engine.stop()
"""
Run = tuple[str, int, str]  # model, seed, another override


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Squares, and beside them random weights of a convolutional net and a ViT."""
    folder = write_squares(tmp_path_factory.mktemp("data") / "digits")
    for model in (MODEL, VIT):
        torch.manual_seed(0)
        state = timm.create_model(model).state_dict()
        safetensors.torch.save_file(state, folder / f"{model}.safetensors")
    return folder


def job_of(out: Path, data: Path, record: str, run: Run) -> dict[str, Any]:
    """The fields of the `Job` that makes this record in `out`."""
    model, seed, more = run
    command = (
        f"python -m pipeline.finetune dataset=digits model={model} recipe=quickstart "
        f"seed={seed} image_size={SIZE} weights=folder weights.path={data} threads=1 "
        f"device=cpu data={data} recipe.epochs=1 recipe.least_steps=0 {more} out={out}/{record}"
    )
    job = {"name": record, "command": command, "key": "", "deps": [], "outs": [record]}
    paths = {"root": str(out), "log": f"{out}/{record}.log", "receipt": f"{out}/{record}.ok"}
    return {**job, **paths, "cell": ["digits", model, "quickstart", seed]}


def made(
    out: Path, data: Path, **runs: list[Run]
) -> dict[str, tuple[list[dict[str, Any]], list[str], list[str]]]:
    """Of the runs of each engine, "warm" and "fresh": records, their processes and exit codes."""
    jobs = {
        how: [job_of(out, data, f"{how}{number}.json", run) for number, run in enumerate(given)]
        for how, given in runs.items()
    }
    done = subprocess.run(
        [sys.executable, "-c", ENGINE],
        input=json.dumps(jobs),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    lines = [line.split() for line in done.stdout.splitlines()]
    found = {}
    for how in runs:
        there = [path for job in jobs[how] if (path := out / job["outs"][0]).is_file()]
        pids, codes = zip(*(line[1:] for line in lines if line[0] == how), strict=True)
        found[how] = [json.loads(each.read_text()) for each in there], list(pids), list(codes)
    return found


def computed(record: dict[str, Any]) -> dict[str, Any]:
    """A record without its times."""
    timeless = ("cost", "telemetry", "started_at", "not_for_speed")
    kept = {key: value for key, value in record.items() if key not in timeless}
    kept["history"] = [
        {key: value for key, value in row.items() if "seconds" not in key}
        for row in record["history"]
    ]
    kept["device"] = {**record["device"], "shared": None}
    kept["config"] = {**record["config"], "out": None}
    return kept


@pytest.mark.parametrize("model", [MODEL, VIT])
def test_a_run_in_a_warm_process_is_bit_for_bit_that_of_a_fresh_one(
    model: str, data: Path, tmp_path: Path
) -> None:
    runs = [(model, 1, "recipe.lr=0.1"), (model, 0, "recipe.lr=1e30"), (model, 0, "")]
    both = made(tmp_path, data, warm=runs, fresh=runs)
    (warm_ones, pids, codes), (fresh, fresh_pids, _) = both["warm"], both["fresh"]
    assert (len(set(pids)), len(set(fresh_pids)), set(codes)) == (1, 3, {"0"})
    assert [each["status"] for each in fresh] == ["ok", "diverged", "ok"]
    assert [computed(each) for each in warm_ones] == [computed(each) for each in fresh]
    assert [each["cost"]["warm"] for each in warm_ones + fresh] == [False, True, True] + [False] * 3
    rss = [each["cost"]["peak_rss_gib"] is not None for each in warm_ones]
    assert rss == [True, False, False]


def test_after_a_failed_run_the_next_is_as_in_a_fresh_process(data: Path, tmp_path: Path) -> None:
    np.save(data / "squish-8.npy", np.load(data / f"squish-{SIZE}.npy")[:, :, :8, :8])
    plain, failing, refused = (VIT, 0, ""), (VIT, 0, "image_size=8"), (VIT, 0, "seed=x")
    runs = [failing, plain, refused, plain]
    both = made(tmp_path, data, warm=runs, fresh=[plain])
    (warm_ones, pids, codes), ((fresh,), _, _) = both["warm"], both["fresh"]
    assert warm_ones[0]["status"] == "failed"
    assert codes == ["0", "0", "1", "0"]
    assert len(set(pids)) == 2, "what ended with an error got the next a fresh process"
    assert [computed(each) for each in warm_ones[1:]] == [computed(fresh)] * 2


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("fresh") / "workspace")


@pytest.fixture
def workspace(fresh: Workspace, tmp_path: Path) -> Workspace:
    return fresh.copy(tmp_path / "workspace")


def test_a_sweep_gives_an_architecture_one_process_and_commits_the_same(
    workspace: Workspace, fresh: Workspace, tmp_path: Path
) -> None:
    assert workspace.sweep("--jobs", "2", "--warm", "yes", "finetune").returncode == 0
    made_by = {(pid, Path(record).parts[3]) for pid, record in workspace.runs()}
    assert len({pid for pid, _ in made_by}) == len(made_by), "of one architecture each"
    assert len(made_by) <= 5, "of 8 runs: how many help with the last ones, their speed decides"
    cold = fresh.copy(tmp_path / "cold")
    assert cold.sweep("--jobs", "2", "finetune").returncode == 0
    assert len({pid for pid, _ in cold.runs()}) == 8
    assert workspace.records() == cold.records()
    ours, theirs = workspace.folder / "dvc.lock", cold.folder / "dvc.lock"
    assert ours.read_bytes() == theirs.read_bytes()


def test_a_killed_warm_process_loses_its_one_run(workspace: Workspace) -> None:
    sweeping = workspace.start_sweep("--jobs", "1", "--warm", "yes", "finetune", CELL_SECONDS="0.5")
    until(lambda: len(workspace.runs()) == 3)
    pid = workspace.runs()[2][0]
    assert pid == workspace.runs()[0][0]
    os.kill(pid, signal.SIGKILL)
    said, errors = sweeping.communicate(timeout=60)
    assert sweeping.returncode == 0, errors
    assert said.count("to be tried again: killed by SIGKILL") == 1
    assert len(workspace.runs()) == 8 + 1
    assert len({record for _, record in workspace.runs()}) == 8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_warm_process_ends_with_its_sweep(workspace: Workspace, number: int) -> None:
    sweeping = workspace.start_sweep("--jobs", "1", "--warm", "yes", "finetune", CELL_SECONDS="0.7")
    until(lambda: len(workspace.runs()) >= 3)
    sweeping.send_signal(number)
    sweeping.communicate(timeout=30)
    assert sweeping.returncode == (-number if number == signal.SIGKILL else 75)
    until(lambda: not any(psutil.pid_exists(pid) for pid, _ in workspace.runs()), seconds=2)
    if number != signal.SIGKILL:
        assert len([name for name in workspace.lock() if name.startswith("finetune")]) >= 2


def test_a_run_that_fails_ends_its_process(workspace: Workspace) -> None:
    failing = "digits/tf_efficientnet_lite0.in1k/quickstart/0"
    done = workspace.sweep("--jobs", "1", "--warm", "yes", "finetune", FAILING=failing)
    assert done.returncode == 1
    runs = workspace.runs()
    after = next(number for number, (_, record) in enumerate(runs) if failing in record) + 1
    assert not {pid for pid, _ in runs[:after]} & {pid for pid, _ in runs[after:]}


def job(model: str, dataset: str = "digits", cell: bool = True) -> Job:
    where = Path(f"{dataset}-{model}")
    of = Cell(dataset, model, "quickstart", 0) if cell else None
    return Job(str(where), "", "", (), (), where, where, where, of)


def test_an_architectures_jobs_go_side_by_side_where_its_first_stands() -> None:
    jobs = [job("x", cell=False), job("a.in1k"), job("b.in1k"), job("a.in22k"), job("b.in1k", "p")]
    assert together(jobs) == [jobs[0], jobs[1], jobs[3], jobs[2], jobs[4]]


@pytest.mark.parametrize(
    ("gpus", "asked", "warm"),
    [(0, {}, False), (2, {}, True), (0, {"warm": "yes"}, True), (2, {"warm": "no"}, False)],
)
def test_processes_stay_warm_on_gpus_or_where_asked(
    monkeypatch: pytest.MonkeyPatch, gpus: int, asked: dict[str, Any], warm: bool
) -> None:
    monkeypatch.setattr("pipeline.hardware.machine.visible_gpus", lambda: ["0"] * gpus)
    options = Options(**asked)
    options.check()
    assert options.keeps_warm == warm
    assert not Options(address="auto").keeps_warm


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"warm": "yse"}, "--warm yse: did you mean yes?"),
        ({"warm": "yes", "address": "auto"}, "--warm yes: the hosts of a cluster give each run"),
    ],
)
def test_a_wrong_warm_is_one_line(asked: dict[str, Any], line: str) -> None:
    with pytest.raises(PipelineError, match=line.replace("?", r"\?")):
        Options(**asked).check()


def test_settings_and_variables_are_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WB_KEPT", "1")
    before, settings = warm._of_torch(torch), Settings()
    monkeypatch.setenv("WB_NEW", "1")
    monkeypatch.setenv("WB_KEPT", "2")
    torch.backends.cudnn.deterministic = not torch.backends.cudnn.deterministic
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(3)
    torch.set_float32_matmul_precision("high")
    assert warm._of_torch(torch) != before
    settings.restore()
    assert warm._of_torch(torch) == before
    assert ("WB_NEW" in os.environ, os.environ["WB_KEPT"]) == (False, "1")


class Cuda(types.SimpleNamespace):
    """torch.cuda after a run: what is left there, how often memory ran out, an error that stays."""

    left, ooms, broken = 0, 0, False

    def is_initialized(self) -> bool:
        return True

    def synchronize(self) -> None:
        if self.broken:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def empty_cache(self) -> None:
        pass

    def memory_stats(self) -> dict[str, int]:
        return {"num_ooms": self.ooms, "allocated_bytes.all.current": self.left}


@pytest.mark.parametrize(
    ("after", "step", "goes_on"),
    [
        ({}, "captured", True),
        ({"ooms": 1}, "captured", False),
        ({"left": 2**21}, "captured", False),
        ({"broken": True}, "captured", False),
        ({}, "uncaptured: images are read one by one", True),
        ({}, "uncaptured: RuntimeError: cuDNN error: CUDNN_STATUS_EXECUTION_FAILED", False),
    ],
)
def test_a_process_goes_on_only_with_a_gpu_as_new(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, after: Any, step: str, goes_on: bool
) -> None:
    fake = types.SimpleNamespace(
        cuda=Cuda(**after),
        is_autocast_enabled=lambda kind: False,
        _C=types.SimpleNamespace(_cuda_clearCublasWorkspaces=lambda: None),
    )
    monkeypatch.setattr(warm.threading, "active_count", lambda: 1)
    monkeypatch.setattr(warm.psutil.Process, "children", lambda self: [])
    monkeypatch.setitem(sys.modules, "torch", fake)  # type: ignore[arg-type]
    write_json(tmp_path / "0.json", {"device": {"step": step}})
    assert can_go_on([tmp_path / "0.json"]) is goes_on
