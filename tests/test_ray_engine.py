"""`sweep --address`: Ray on this machine alone makes what the engine of one machine makes."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray_hosts import free_port
from sweep_workspace import FINETUNE, Workspace, make_workspace

from pipeline.core.processes import last_progress

ASK_FOR_WEIGHTS = """
from omegaconf import OmegaConf
from pipeline.finetune.weights import find
found = find(OmegaConf.load("conf/weights/folder.yaml"), given["model"])
print("weights in", found.file)
recipe["weights"] = f"{found.source} {found.origin} {found.sha256}"
"""
BEFORE = "cell = {key: given[key]"
MODEL = "tf_efficientnet_lite0.in1k"
TARGET = f"finetune@digits-{MODEL}-quickstart-0"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """Its fake runs tell where their weights are; the weights are a folder of this machine."""
    workspace = make_workspace(tmp_path / "workspace", seeds=1)
    fake = workspace.folder / "pipeline/finetune/__main__.py"
    assert FINETUNE.count(BEFORE) == 1
    fake.write_text(FINETUNE.replace(BEFORE, ASK_FOR_WEIGHTS + BEFORE))
    folder = tmp_path / "weights"
    folder.mkdir()
    (folder / f"{MODEL}.safetensors").write_bytes(os.urandom(1000))
    workspace.change("conf/weights/folder.yaml", path=str(folder))
    workspace.change("params.yaml", weights="folder")
    return workspace


@pytest.fixture
def sweep(workspace: Workspace) -> Iterator["subprocess.Popen[str]"]:
    kept = str(workspace.folder.parent / "kept")
    sweep = workspace.start_sweep(
        "--address", "local", TARGET, CELL_SECONDS="3", WB_HOST_FOLDER=kept
    )
    yield sweep
    sweep.kill()
    sweep.communicate()


@pytest.mark.slow
def test_ray_alone_listens_to_this_machine_and_records_what_a_plain_sweep_records(
    workspace: Workspace, sweep: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    plain = workspace.copy(tmp_path / "plain")
    log = workspace.folder / f".dvc/tmp/sweep/logs/{TARGET}.log"
    end = time.monotonic() + 90
    while last_progress(log.with_suffix(".progress")) is None:
        assert sweep.poll() is None, sweep.communicate()
        assert time.monotonic() < end, "no run began"
        time.sleep(0.1)
    family = [psutil.Process(sweep.pid), *psutil.Process(sweep.pid).children(recursive=True)]
    listening = listeners({process.pid for process in family})
    assert listening, "Ray listens nowhere?"
    assert {address.removeprefix("::ffff:") for address in listening} == {"127.0.0.1"}
    said, errors = sweep.communicate(timeout=60)
    assert (sweep.returncode, "3 made" in said) == (0, True), errors
    assert "weights-sent/" in log.read_text(), "the run did not use what was sent"
    assert plain.sweep(TARGET).returncode == 0
    assert workspace.records() == plain.records()
    ours, theirs = (each.folder / "dvc.lock" for each in (workspace, plain))
    assert ours.read_bytes() == theirs.read_bytes()
    assert not psutil.wait_procs(family, timeout=10)[1], "Ray outlived the sweep"


def listeners(pids: set[int]) -> set[str]:
    """The addresses on which these processes wait for TCP connections."""
    connections = psutil.net_connections("tcp")
    return {each.laddr.ip for each in connections if each.status == "LISTEN" and each.pid in pids}


def test_without_the_package_ray_the_sweep_says_what_to_install(workspace: Workspace) -> None:
    hidden = workspace.folder.parent / "hidden"
    hidden.mkdir()
    (hidden / "ray.py").write_text("raise ImportError('no ray')")
    done = workspace.sweep("--address", "local", PYTHONPATH=str(hidden))
    assert done.returncode == 1
    assert done.stderr.startswith("error: --address needs the package ray: run `make setup`")
    assert len(done.stderr.splitlines()) == 1


def test_an_address_where_no_cluster_answers_asks_for_another_try(workspace: Workspace) -> None:
    done = workspace.sweep("--address", f"127.0.0.1:{free_port()}")
    assert done.returncode == 75
    assert "no Ray cluster with a node on this machine answers" in done.stderr.splitlines()[-1]
