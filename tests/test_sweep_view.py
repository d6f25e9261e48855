"""What a sweep shows while it goes."""

import io
import json
import os
import pty
import re
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console
from sweep_workspace import make_workspace

from pipeline.core.processes import PROGRESS_FILE, Progress, last_progress, report_progress
from pipeline.sweep import loop as view_module
from pipeline.sweep.jobs import Ended, Job, last_message
from pipeline.sweep.loop import View, latest_progress

TITLE = "digits  tf_efficientnet_lite0.in1k  quickstart  seed 0  "
EPOCH = TITLE + "epoch 2/4  train loss 1.234  valid loss 0.987  error 0.1234  12.0 s"
AT = Progress(2, 4, 1.234, 0.987, 0.1234, 12.0)
CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|\r")


def job(folder: Path, name: str) -> Job:
    log = folder / f"{name}.log"
    log.write_text(EPOCH + "\n")
    job = Job(f"finetune@{name}", "true", "key", (), (), folder, log, folder / f"{name}.receipt")
    job.progress.write_text(json.dumps(asdict(AT)) + "\n")
    return job


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that the view sees; write them to `clock[0]`."""
    now = [1000.0]
    monkeypatch.setattr(view_module.time, "monotonic", lambda: now[0])
    return now


def test_a_terminal_shows_each_run_on_one_line_and_the_counts(
    tmp_path: Path, clock: list[float]
) -> None:
    shown = io.StringIO()
    view = View(Console(file=shown, force_terminal=True, width=63, color_system=None), 2)
    runs = [job(tmp_path, name) for name in ("digits-a-0", "digits-a-1", "digits-bcd-0")]
    view.waiting = {each.name: 1.0 for each in runs}
    with view:
        for each in runs[:2]:
            view.started(each)
        view.ended(Ended(runs[0], 1, "error: no such weights"))
        view.started(runs[2])
        clock[0] += 75
        view.refresh()
        lines = CONTROL.sub("", shown.getvalue()).splitlines()
    assert "[1/3] FAILED finetune@digits-a-0: error: no such weights" in lines[0]
    assert "1 min 15 s  digits-a-1    epoch 2/4, loss 0.987, error 0.1234" in lines[-3]
    assert "0 done, 2 running, 1 failed, 0 waiting" in lines[-1]
    assert all(len(line) <= 63 for line in lines[-3:])


def test_without_a_terminal_minutes_without_a_line_are_followed_by_what_runs(
    tmp_path: Path, clock: list[float]
) -> None:
    said = io.StringIO()
    view, first, one = View(Console(file=said, width=40), 1), job(tmp_path, "a"), job(tmp_path, "b")
    view.waiting = {each.name: 1.0 for each in (first, one)}
    view.started(first)
    clock[0] += 50
    view.ended(Ended(first, 0, "error 0.1 in 50.0 s"))
    view.started(one)
    for _ in range(2):
        clock[0] += 150
        view.refresh()
    assert said.getvalue().splitlines() == [
        "[1/2] error 0.1 in 50.0 s (50.0 s left)",
        " 5 min 00 s  b  epoch 2/4, loss 0.987, error 0.1234",
        "1 done, 1 running, 0 waiting, 12.0 s left",  # two of four epochs took that
    ]


def test_what_is_left_follows_the_prices_of_what_has_ended(
    tmp_path: Path, clock: list[float]
) -> None:
    view = View(Console(file=io.StringIO()), jobs=2)
    cheap, dear = job(tmp_path, "cheap"), job(tmp_path, "dear")
    view.waiting = {cheap.name: 1.0, dear.name: 5.0, "another": 3.0}
    view.started(cheap)
    assert view.seconds_left(clock[0]) is None
    clock[0] += 10
    view.ended(Ended(cheap, 0, None))
    assert view.seconds_left(clock[0]) == (5 + 3) * 10 / 2
    view.started(dear)
    clock[0] += 20
    assert view.seconds_left(clock[0]) == (50 - 20 + 30) / 2
    view.waiting.clear()
    assert view.seconds_left(clock[0]) == 30, "one run cannot be shared by two places"
    dear.progress.unlink()
    clock[0] += 31
    assert view.seconds_left(clock[0]) == 0
    assert view._summary(clock[0]).plain.endswith("0 waiting, later than expected")


def test_a_run_that_is_tried_again_waits_again(tmp_path: Path, clock: list[float]) -> None:
    said = io.StringIO()
    view, one = View(Console(file=said, width=200), 1), job(tmp_path, "one")
    view.waiting = {one.name: 2.0}
    view.started(one)
    view.again(Ended(one, -9, EPOCH))
    assert (view.waiting, view.total, view.n_ended) == ({one.name: 2.0}, 1, 0)
    assert "finetune@one: to be tried again: killed by SIGKILL" in said.getvalue()
    view.started(one)
    view.ended(Ended(one, -9, EPOCH))
    assert said.getvalue().endswith("[1/1] FAILED finetune@one: the same again\n")


def test_a_run_that_has_reported_nothing_shows_the_last_line_it_printed(tmp_path: Path) -> None:
    one = job(tmp_path, "one")
    assert latest_progress(one) == "epoch 2/4, loss 0.987, error 0.1234"
    one.progress.unlink()
    one.log.write_text("downloading 12 %\n")
    assert latest_progress(one) == "downloading 12 %"


def test_a_datasets_warnings_do_not_take_its_summary_away(tmp_path: Path) -> None:
    one = job(tmp_path, "one")
    summary, notes = "data/datasets/d: 172 images (96 train, 76 valid)", "note: a\nwarning: b"
    one.log.write_text(f"decoding\n{summary}\n\n{notes}\n")
    assert last_message(one, 0) == f"{summary}\n{notes}"
    assert last_message(one, 1) == "warning: b"
    for printed, said in (("a\nb\n", "b"), (notes, notes), ("", None)):
        one.log.write_text(printed)
        assert last_message(one, 0) == said
    one.log.unlink()
    assert last_message(one, 0) is None


def test_progress_is_the_last_whole_line_that_a_fit_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "fit.progress"
    assert last_progress(file) is None
    monkeypatch.delenv(PROGRESS_FILE, raising=False)
    report_progress(AT)  # nobody asked
    monkeypatch.setenv(PROGRESS_FILE, str(file))
    for epoch in range(1, 40):
        report_progress(replace(AT, epoch=epoch))
    assert last_progress(file) == replace(AT, epoch=39)
    with file.open("a") as half:
        half.write('{"epoch": 40, "epo')
    assert last_progress(file) == replace(AT, epoch=39)
    file.write_text("no progress\n")
    assert last_progress(file) is None


def test_a_real_terminal_shows_the_sweep_and_no_progress_bar_of_dvc(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path / "workspace", seeds=1)
    ours, theirs = pty.openpty()
    sweeping = subprocess.Popen(
        [sys.executable, "-m", "pipeline.sweep", "--jobs", "4"],
        cwd=workspace.folder,
        env=workspace.environment(CELL_SECONDS="2", TERM="xterm", COLUMNS="120"),
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    shown = ""
    while piece := _read(ours):
        shown += piece.decode()
    os.close(ours)
    assert sweeping.wait() == 0, shown
    assert "digits-tf_efficientnet_lite0.in1k-quickstart-0" in shown
    assert "epoch 1/2, loss 2.000, error 0.5000" in shown
    assert "up to 12 stages to do, 4 fits among them" in shown  # its datasets come first
    assert "4 running" in shown
    assert "12 made" in shown
    assert "Collecting" not in shown
    assert "Checking" not in shown


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that nobody writes any more
        return b""
