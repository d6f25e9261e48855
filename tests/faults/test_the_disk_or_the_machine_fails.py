"""Errors of the system are one line with the path and the remedy, and old files stay."""

import contextlib
import errno
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.table import Table
from runs import Trainer, numbers_of

from pipeline.core import command
from pipeline.core.command import console, one_line_errors
from pipeline.core.errors import REMEDIES, TryAgain
from pipeline.core.files import replacing_folder, write_table, write_text

OLD, NEW = "old\n", "n" * 300_000


def in_child(work: Callable[[], Any]) -> tuple[int, str]:
    """Do `work` as a command would, in a child of this process; its exit code and its line."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.dup2(writing, 2)
        sys.stderr = os.fdopen(2, "w", buffering=1)
        code = 0
        try:
            with one_line_errors():
                work()
        except SystemExit as end:
            code = int(end.code or 0)
        except BaseException as error:
            print(f"Traceback: {error!r}", file=sys.stderr)
            code = 99
        os._exit(code)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        said = pipe.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def no_file_above(n_bytes: int) -> None:
    """As on a full disk: a write beyond it fails in the middle (the kernel's signal is ignored)."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))


def write_a_folder(path: Path, text: str) -> None:
    with replacing_folder(path) as folder:
        write_text(folder / "inside.txt", text)


def write_a_table(path: Path, text: str) -> None:
    import pandas as pd

    write_table(path, pd.DataFrame({"column": [text]}))


@pytest.mark.parametrize("write", [write_text, write_table, write_a_folder])
def test_a_write_that_finds_no_room_leaves_the_old_file_and_no_half(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    write = write_a_table if write is write_table else write
    path = tmp_path / "kept"
    write(path, OLD)
    before = {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()}

    def full() -> None:
        no_file_above(100_000)
        write(path, NEW)

    code, said = in_child(full)
    assert (code, said) == (
        1,
        f"error: {path}: {os.strerror(errno.EFBIG)}: {REMEDIES[errno.EFBIG]}\n",
    )
    assert {each: each.read_bytes() for each in tmp_path.rglob("*") if each.is_file()} == before


def test_a_folder_behind_a_link_is_replaced_and_the_link_stays(tmp_path: Path) -> None:
    (tmp_path / "large_disk" / "pets").mkdir(parents=True)
    (tmp_path / "large_disk" / "pets" / "old.txt").touch()
    link = tmp_path / "pets"
    link.symlink_to(tmp_path / "large_disk" / "pets")
    for text in (OLD, NEW):
        write_a_folder(link, text)
        assert link.is_symlink()
        assert (tmp_path / "large_disk" / "pets" / "inside.txt").read_text() == text
        assert len(list(tmp_path.rglob("*"))) == 4


def test_a_link_to_nothing_gets_its_folder(tmp_path: Path) -> None:
    (tmp_path / "pets").symlink_to("elsewhere/pets")
    write_a_folder(tmp_path / "pets", NEW)
    assert (tmp_path / "elsewhere" / "pets" / "inside.txt").is_file()
    assert (tmp_path / "pets").is_symlink()


@pytest.mark.parametrize("write", [write_text, write_a_table])
def test_a_file_behind_a_link_is_replaced_and_the_link_stays(
    tmp_path: Path, write: Callable[..., None]
) -> None:
    (tmp_path / "there").mkdir()
    for name, target in (("link", "there/kept.csv"), ("link_to_link", "link")):
        (tmp_path / name).symlink_to(target)
        for text in (OLD, NEW):
            write(tmp_path / name, text)
            assert text.strip() in (tmp_path / "there/kept.csv").read_text()
            assert (tmp_path / name).is_symlink()
    assert len(list(tmp_path.rglob("*"))) == 4


def test_a_link_to_a_read_only_file_as_in_dvcs_cache_is_replaced_itself(tmp_path: Path) -> None:
    (tmp_path / "cached").write_text(OLD)
    (tmp_path / "cached").chmod(0o444)
    (tmp_path / "link").symlink_to("cached")
    write_text(tmp_path / "link", NEW)
    assert (tmp_path / "cached").read_text() == OLD
    assert (tmp_path / "link").read_text() == NEW


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """Never anything of /dev: were it replaced, the machine would be broken."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.mark.parametrize("write", [write_text, write_a_table])
@pytest.mark.parametrize("linked", [False, True])
def test_a_fifo_is_written_to_and_stays(
    fifo: Path, write: Callable[..., None], linked: bool
) -> None:
    path = fifo.with_name("link") if linked else fifo
    if linked:
        path.symlink_to(fifo)
    there = set(fifo.parent.iterdir())
    writer = threading.Thread(target=write, args=(path, NEW), daemon=True)
    writer.start()
    assert NEW in fifo.read_text()
    writer.join()
    assert fifo.is_fifo()
    assert path.is_symlink() == linked
    assert set(fifo.parent.iterdir()) == there


def test_the_reader_of_a_fifo_that_ends_early_is_one_line(fifo: Path) -> None:
    writer = threading.Thread(target=lambda: fifo.open("rb").close(), daemon=True)
    writer.start()
    code, said = in_child(lambda: write_text(fifo, NEW))
    assert (code, said) == (1, f"error: {fifo}: the reader has closed it\n")
    assert fifo.is_fifo()


@pytest.mark.parametrize("linked", [False, True])
def test_a_fifo_where_a_folder_is_wanted_is_one_line_and_stays(fifo: Path, linked: bool) -> None:
    path = fifo.with_name("link") if linked else fifo
    if linked:
        path.symlink_to(fifo)
    code, said = in_child(lambda: write_a_folder(path, NEW))
    assert code == 1
    assert said.endswith(f"{path}: Not a directory: {REMEDIES[errno.ENOTDIR]}\n")
    assert fifo.is_fifo()


@pytest.mark.parametrize("linked", [False, True])
def test_a_folder_where_a_file_is_wanted_is_one_line_before_anything_is_written(
    tmp_path: Path, linked: bool
) -> None:
    folder = path = tmp_path / "folder"
    folder.mkdir()
    if linked:
        path = tmp_path / "link"
        path.symlink_to(folder)
    code, said = in_child(lambda: write_text(path, NEW))
    assert (code, said) == (1, f"error: {folder}: Is a directory: {REMEDIES[errno.EISDIR]}\n")
    assert folder.is_dir()
    assert not list(folder.iterdir())


def test_a_fifo_by_the_name_of_a_killed_writers_file_stays(tmp_path: Path) -> None:
    left = tmp_path / f".kept.writing-{2**22 + 1}"
    os.mkfifo(left)
    write_text(tmp_path / "kept", NEW)
    assert left.is_fifo()


@pytest.mark.parametrize("in_one_step", [True, False])
def test_a_file_in_a_folders_place_is_replaced_and_nothing_else_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_one_step: bool
) -> None:
    if not in_one_step:
        monkeypatch.setattr("ctypes.CDLL", lambda *_, **__: None)
    (tmp_path / "kept").write_text(OLD)
    write_a_folder(tmp_path / "kept", NEW)
    assert list(tmp_path.iterdir()) == [tmp_path / "kept"]
    assert (tmp_path / "kept" / "inside.txt").read_text() == NEW


def test_links_and_files_left_by_killed_writers_are_removed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept.txt").touch()
    (tmp_path / f".kept.writing-{2**22 + 1}").symlink_to(tmp_path / "elsewhere")
    (tmp_path / f".kept.writing-{2**22 + 2}").touch()
    write_a_folder(tmp_path / "kept", NEW)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["elsewhere", "kept"]
    assert (tmp_path / "elsewhere" / "kept.txt").is_file()


@pytest.mark.parametrize("point", ["before_replace", "in_loader:3"])
def test_a_full_disk_ends_a_run_with_one_line_and_the_next_gives_its_numbers(
    trainer: Trainer, golden: Path, tmp_path: Path, point: str
) -> None:
    out = tmp_path / "0.json"
    out.write_bytes(golden.read_bytes())
    ended = trainer.finetune(out, fault=f"enospc@{point}")
    assert ended.exit_code == 1
    line = ended.said.splitlines()[-1]
    assert line.startswith("error: ")
    assert line.endswith("No space left on device: free some space, then run again")
    assert "Traceback" not in ended.said
    assert out.read_bytes() == golden.read_bytes()
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("number", sorted(REMEDIES))
def test_what_the_system_refuses_is_one_line_with_the_path_and_what_to_do(number: int) -> None:
    def refused() -> None:
        raise OSError(number, os.strerror(number), "data/runs/0.json")

    code, said = in_child(refused)
    assert code == 1
    assert said == f"error: data/runs/0.json: {os.strerror(number)}: {REMEDIES[number]}\n"


def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir(mode=0o500)

    def write() -> None:
        if os.getuid() == 0:  # to whom permissions mean nothing
            os.setuid(65534)
            os.chdir("/")
        write_text(tmp_path / "folder" / "0.json", NEW)

    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
    code, said = in_child(write)
    assert code == 1
    assert "Permission denied: change its permissions or its owner" in said
    assert str(tmp_path / "folder" / "0.json") in said


def test_a_bug_of_ours_keeps_its_traceback() -> None:
    def bug() -> None:
        raise FileNotFoundError(errno.ENOENT, "No such file", "never-checked.csv")

    code, said = in_child(bug)
    assert code == 99
    assert said.startswith("Traceback")


def test_debugging_keeps_every_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WB_DEBUG", "1")
    with pytest.raises(TryAgain), one_line_errors():
        raise TryAgain("the network is down")


def test_ctrl_c_ends_quietly_with_130() -> None:
    assert in_child(lambda: os.kill(os.getpid(), signal.SIGINT)) == (130, "")


def close_the_reader() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    os.dup2(writing, 1)
    sys.stdout = os.fdopen(1, "w")


@pytest.mark.parametrize("flush", [True, False])
def test_a_closed_pipe_ends_a_command_quietly_with_141(tmp_path: Path, flush: bool) -> None:
    def talking() -> None:
        close_the_reader()
        with one_line_errors(), replacing_folder(tmp_path / "out"):
            print("epoch 1", flush=flush)

    assert in_child(talking) == (141, "")
    assert (tmp_path / "out").exists() != flush


def test_a_table_into_a_closed_pipe_ends_with_141_too() -> None:
    def drawing() -> None:
        close_the_reader()
        with one_line_errors():
            console().print(Table("model"))

    assert in_child(drawing) == (141, "")


def test_a_pipe_of_ours_that_breaks_is_a_bug() -> None:
    def broken() -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    code, said = in_child(broken)
    assert code == 99
    assert "Broken" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_every_command_exits_with_75_when_it_is_preempted(tmp_path: Path, number: int) -> None:
    def preempted() -> None:
        with replacing_folder(tmp_path / "out"):
            os.kill(os.getpid(), number)
            time.sleep(30)

    code, said = in_child(preempted)
    assert code == 75
    assert said.endswith("no half-written files remain: run again\n")
    assert list(tmp_path.iterdir()) == []


def test_a_hang_up_that_nohup_ignores_stays_ignored() -> None:
    def under_nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with one_line_errors():
            os.kill(os.getpid(), signal.SIGHUP)

    assert in_child(under_nohup) == (0, "")


def test_a_preemption_that_a_library_swallows_ends_the_process_all_the_same() -> None:
    def swallowing() -> None:
        command.GRACE_SECONDS = 0.2
        with contextlib.suppress(SystemExit):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(30)
        time.sleep(30)

    assert in_child(swallowing)[0] == 75


def test_a_reader_that_has_seen_enough_is_no_error(root: Path) -> None:
    pipe = f"{sys.executable} -m pipeline.status | head -c 1"
    done = subprocess.run(pipe, shell=True, cwd=root, capture_output=True, text=True, check=True)
    assert done.stderr == ""


def _clock_jumps(overrides: list[str]) -> None:
    """As if somebody set the clock back by an hour each time that it is read."""
    from runs import finetune

    now = time.time()
    hours = iter(range(10**9))
    time.time = lambda: now - 3600 * next(hours)
    finetune(overrides)


def test_a_clock_that_jumps_changes_no_number_and_no_duration(
    trainer: Trainer, golden: Path, tmp_path: Path
) -> None:
    import json

    out = tmp_path / "0.json"
    ended = trainer.child(_clock_jumps, trainer.overrides(out))
    assert ended.exit_code == 0, ended.said
    assert numbers_of(out) == numbers_of(golden)
    record = json.loads(out.read_text())
    assert 0 < record["cost"]["seconds_per_epoch"] < record["cost"]["fit_seconds"] < 120
