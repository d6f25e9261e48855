"""studies/sweep.sbatch, run for real: only Slurm's own commands are replaced."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ray_hosts import QUICK, free_port
from sweep_workspace import Workspace, make_workspace

from benchmarks.project_copy import ROOT

pytestmark = pytest.mark.slow
SCRIPT = ROOT / "studies/sweep.sbatch"
SRUN = """#!/usr/bin/env bash
# Runs the step here; nodes are loopback addresses, and share this machine's ports and /tmp.
while [[ $1 == --* ]]; do case $1 in --nodelist=*) node=${1#*=} ;; esac; shift; done
export WB_HOST_FOLDER=$STAND_IN/$node/kept
exec "$@" --node-ip-address="$node" --temp-dir="$STAND_IN/$node" --num-cpus=1 \\
  --dashboard-agent-listen-port=0 --min-worker-port=0 --max-worker-port=0 >/dev/null 2>&1
"""
SCONTROL = """#!/usr/bin/env bash
case $1 in show) tr ',' '\\n' <<<"$3" ;; requeue) echo "$2" >>"$STAND_IN/requeued" ;; esac
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="wb-", dir="/tmp"))  # sockets need a short path
    (folder / "bin").mkdir()
    for name, text in {"srun": SRUN, "scontrol": SCONTROL}.items():
        (folder / "bin" / name).write_text(text)
        (folder / "bin" / name).chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def submit(workspace: Workspace, folder: Path, nodes: str) -> "subprocess.Popen[str]":
    """As `sbatch` would run it, in a session of its own."""
    slurm = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": nodes, "SLURM_CPUS_ON_NODE": "1"}
    ours = {"WB_BIN": str(Path(sys.executable).parent), "WB_PORT": str(free_port())}
    ours |= {"PATH": f"{folder}/bin:{os.environ['PATH']}", "STAND_IN": str(folder)}
    return subprocess.Popen(
        ["bash", str(SCRIPT), "--jobs", "1"],
        cwd=workspace.folder,
        env={**workspace.environment(CELL_SECONDS="1"), **QUICK, **slurm, **ours},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def test_a_preempted_job_goes_back_into_the_queue_and_ends_what_is_left(folder: Path) -> None:
    workspace = make_workspace(folder / "workspace", seeds=1)
    job = submit(workspace, folder, "127.0.0.2,127.0.0.3")
    end = time.monotonic() + 90
    while not workspace.records():
        assert job.poll() is None, job.communicate()
        assert time.monotonic() < end, "no cell ran"
        time.sleep(0.1)
    job.send_signal(signal.SIGTERM)
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 75, said
    assert (folder / "requeued").read_text() == "7\n"
    left = [each for each in psutil.process_iter() if str(folder) in " ".join(_words(each))]
    assert not left, "Ray outlived the job"
    done = len(workspace.records())
    again = submit(workspace, folder, "127.0.0.2")
    said, _ = again.communicate(timeout=120)
    assert again.returncode == 0, said
    assert len(workspace.records()) == 4
    assert f"{4 - done} made" in said, "what the first job did was done again"


def _words(process: psutil.Process) -> list[str]:
    try:
        words: list[str] = process.cmdline()
    except psutil.Error:
        return []
    return words
