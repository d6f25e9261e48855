"""A study across two hosts that share no file, with a killed sweep and a host that is cut off; and
what becomes of a sweep whose cluster loses its head.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest
import yaml
from ray_hosts import SECRET, Host, free_port, namespaces_allowed, two_hosts
from sweep_workspace import FINETUNE, Workspace, make_workspace

pytestmark = pytest.mark.slow
CELLS = 8


class Cluster:
    """Two hosts, the sweep's workspace on the first of them."""

    def __init__(self, first: Host, second: Host, workspace: Workspace) -> None:
        self.first, self.second, self.workspace = first, second, workspace
        self.port = free_port()

    def start_head(self) -> None:
        words = ["--head", "--port", str(self.port), "--include-dashboard", "false"]
        self.first.start_ray(*words, CELL_SECONDS="1.5")
        self.first.wait_for_ray()

    def start_sweep(self) -> "subprocess.Popen[str]":
        address = f"{self.first.address}:{self.port}"
        words = ["-m", "pipeline.sweep", "finetune", "--address", address, "--jobs", "1"]
        return subprocess.Popen(
            [*self.first.prefix, sys.executable, *words],
            cwd=self.workspace.folder,
            env=self.workspace.environment(**SECRET),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def logs(self, host: Host) -> list[str]:
        """What each cell printed whose last try was on this host."""
        logs = (self.workspace.folder / ".dvc/tmp/sweep/logs").glob("finetune@*.log")
        texts = [log.read_text() for log in logs]
        return [text for text in texts if text.startswith(f"on {host.address}\n")]

    def running(self, host: Host) -> list[int]:
        """The processes of the cells that run on this host."""
        under_way = [text for text in self.logs(host) if "error 0.1" not in text]
        return [int(match[1]) for text in under_way if (match := re.search(r"process (\d+)", text))]

    def n_done(self, host: Host) -> int:
        return sum("error 0.1" in text for text in self.logs(host))

    def hold(self, host: Host) -> bool:
        """Stop the run of this host, so that it does not end while the host is cut off."""
        pids = self.running(host)
        signal_all(pids, signal.SIGSTOP)
        return bool(pids) and self.running(host) == pids


@contextmanager
def make_cluster(apart: bool) -> Iterator[Cluster]:
    """Two hosts, Ray's head on the first; nothing runs on the second."""
    with two_hosts(apart) as (first, second):
        base = first.folder.parent
        workspace = make_workspace(base / "workspace", seeds=2)
        fake = workspace.folder / "pipeline/finetune/__main__.py"
        fake.write_text(FINETUNE.replace("epoch 1/1", "process {os.getpid()}"))
        prepared = workspace.sweep("dataset")  # whenever a sweep is killed, runs alone are left
        assert prepared.returncode == 0, prepared.stderr
        cluster = Cluster(first, second, workspace)
        cluster.start_head()
        yield cluster


@pytest.fixture(scope="module", params=["network namespaces", "loopback addresses"])
def cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    apart = request.param == "network namespaces"
    if apart and not namespaces_allowed():
        pytest.skip("no network namespaces here: the nodes on loopback stand in")
    with make_cluster(apart) as cluster:
        yield cluster


def until(fact: Callable[[], object], sweep: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 60
    while not fact():
        assert sweep.poll() is None, sweep.communicate()
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.05)


def signal_all(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_for_the_end_of(pids: list[int]) -> None:
    end = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < end, "runs outlived the sweep"
        time.sleep(0.05)


def test_no_run_elsewhere_outlives_a_killed_sweep_and_the_next_call_goes_on(
    cluster: Cluster,
) -> None:
    address = f"{cluster.first.address}:{cluster.port}"
    base = cluster.first.folder.parent
    cluster.second.start_ray("--address", address, hide=base, CELL_SECONDS="1.5")
    sweep = cluster.start_sweep()
    until(lambda: cluster.n_done(cluster.first) and cluster.running(cluster.second), sweep)
    pids = cluster.running(cluster.first) + cluster.running(cluster.second)
    sweep.kill()
    sweep.communicate()
    wait_for_the_end_of(pids)


def test_a_study_on_two_hosts_is_complete_though_one_is_cut_off(
    cluster: Cluster, tmp_path: Path
) -> None:
    made = cluster.workspace.records()
    sweep = cluster.start_sweep()
    until(lambda: cluster.n_done(cluster.second) and cluster.hold(cluster.second), sweep)
    held = cluster.running(cluster.second)
    cluster.second.cut()
    signal_all(held, signal.SIGCONT)
    said, errors = sweep.communicate(timeout=90)
    assert sweep.returncode == 0, errors
    assert f"host {cluster.second.address} is lost, and with it finetune@" in said
    assert cluster.n_done(cluster.first) + cluster.n_done(cluster.second) == CELLS
    assert f"{CELLS - len(made)} made" in said
    undisturbed = make_workspace(tmp_path / "workspace", seeds=2)
    fake = undisturbed.folder / "pipeline/finetune/__main__.py"
    fake.write_text((cluster.workspace.folder / "pipeline/finetune/__main__.py").read_text())
    assert undisturbed.sweep("finetune", "--jobs", "4").returncode == 0
    assert cluster.workspace.records() == undisturbed.records()
    ours, theirs = (each.folder / "dvc.lock" for each in (cluster.workspace, undisturbed))
    assert yaml.safe_load(ours.read_bytes()) == yaml.safe_load(theirs.read_bytes())
    if cluster.second.namespace:
        assert not list(cluster.second.folder.iterdir()), "its files were never among ours"


@pytest.mark.parametrize("part", ["gcs_server", "raylet"])
def test_a_sweep_whose_head_is_killed_ends_for_another_try_and_loses_nothing(part: str) -> None:
    with make_cluster(apart=False) as cluster:
        sweep = cluster.start_sweep()
        until(lambda: cluster.n_done(cluster.first) and cluster.running(cluster.first), sweep)
        pids = cluster.running(cluster.first)
        cluster.first.kill_part(part)
        _, errors = sweep.communicate(timeout=60)
        assert sweep.returncode == 75, errors
        assert "Traceback" not in errors
        wait_for_the_end_of(pids)
        made = cluster.workspace.records()
        cluster.first.kill()
        cluster.start_head()
        sweep = cluster.start_sweep()
        said, errors = sweep.communicate(timeout=90)
        assert sweep.returncode == 0, errors
        assert f"{CELLS - len(made)} made" in said
