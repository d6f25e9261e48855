"""The script for a GPU machine: what one stage does wrong costs no other, nor the report."""

import subprocess
import sys
import time

import psutil
import pytest

from benchmarks import gpu_day

WITH_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""


def test_a_stage_that_failed_is_in_the_report() -> None:
    ended = {"stage": "start", "ended": "exit code 1", "seconds": 2.0}
    failed = gpu_day.failed_start("resnet18", "ValueError: no such net")
    said = gpu_day.markdown([{"stage": "environment", "device": "CPU"}, failed, ended])
    assert "## start" in said
    assert "ValueError: no such net" in said


def test_what_a_stopped_stage_started_is_stopped_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_day, "SECONDS_TO_END", 5)
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_A_CHILD], stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    gpu_day.stop(process)
    assert process.returncode is not None
    until = time.monotonic() + 5  # a signal that was sent has still to arrive
    while is_alive(child):
        assert time.monotonic() < until
        time.sleep(0.02)


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
