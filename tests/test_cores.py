"""How many cores a process can keep busy: its affinity, within the quota of its cgroup."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.core import processes
from pipeline.core.processes import cpu_quota, usable_cores
from pipeline.hardware import machine


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


GROUP = "proc/self/cgroup"
CASES: dict[str, tuple[dict[str, str], float | None]] = {
    "no cgroups": ({}, None),
    "version 2, no limit": (
        {GROUP: "0::/job\n", "sys/fs/cgroup/job/cpu.max": "max 100000\n"},
        None,
    ),
    "version 2": (
        {GROUP: "0::/job\n", "sys/fs/cgroup/job/cpu.max": "150000 100000\n"},
        1.5,
    ),
    "version 2, in a container": (
        {GROUP: "0::/\n", "sys/fs/cgroup/cpu.max": "400000 100000\n"},
        4.0,
    ),
    "version 2, limited above": (
        {
            GROUP: "0::/slice/job\n",
            "sys/fs/cgroup/slice/cpu.max": "200000 100000\n",
            "sys/fs/cgroup/slice/job/cpu.max": "max 100000\n",
        },
        2.0,
    ),
    "version 1": (
        {
            GROUP: "5:memory:/job\n4:cpu,cpuacct:/job\n1:cpuset:/job\n0::/\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "300000\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        },
        3.0,
    ),
    "version 1, no limit": (
        {
            GROUP: "4:cpu,cpuacct:/job\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us": "100000\n",
        },
        None,
    ),
    "version 1, in a container": (
        {
            GROUP: "4:cpu,cpuacct:/docker/1234\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000\n",
            "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
        },
        1.0,
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_quota_of_the_cgroup_is_found(tmp_path: Path, name: str) -> None:
    files, quota = CASES[name]
    assert cpu_quota(write(tmp_path, files)) == quota


def test_a_quota_cuts_the_cores_down_to_one_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))
    for quota, cores in ((None, 8), (64.0, 8), (2.5, 2), (0.5, 1)):
        monkeypatch.setattr(processes, "cpu_quota", lambda quota=quota: quota)
        assert usable_cores() == cores


def test_more_threads_than_cores_are_cut_down_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "usable_cores", lambda: 2)
    assert machine.free_threads(999) == 2
    assert capsys.readouterr().out == "threads=999: using 2, the number of usable cores\n"
    assert machine.free_threads(2) == 2
    assert capsys.readouterr().out == ""
    monkeypatch.setattr(machine, "visible_gpus", list)
    assert (machine.default_jobs(1), machine.default_jobs(2), machine.default_jobs(64)) == (2, 1, 1)


@pytest.mark.parametrize(
    ("listed", "gpus"),
    [
        ("0", ["0"]),
        (" 2, 1", ["2", "1"]),
        ("0,2,-1,1", ["0", "2"]),  # the example of CUDA's programming guide
        ("0,,1", ["0"]),
        ("NoDevFiles", []),  # of Slurm, for a job without GPUs
        ("", []),
        ("-1", []),
        ("GPU-8932f937,MIG-8932f937-d72c/1/0", ["GPU-8932f937", "MIG-8932f937-d72c/1/0"]),
    ],
)
def test_gpus_are_listed_up_to_the_first_entry_that_names_none(
    monkeypatch: pytest.MonkeyPatch, listed: str, gpus: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", listed)
    assert machine.visible_gpus() == gpus


def test_every_library_computes_with_the_threads_of_the_run() -> None:
    code = """
import numpy, sklearn.neighbors, torch
from threadpoolctl import threadpool_info
from pipeline.hardware import machine
machine.use_threads(1)
print(torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info()))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    threads = done.stdout.split()
    assert len(threads) > 2  # torch's, and at least OpenBLAS and OpenMP
    assert set(threads) == {"1"}
