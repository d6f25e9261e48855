"""Killed, preempted and failing fine-tunes leave no partial record, and can be repeated."""

import signal
from pathlib import Path

import pytest
from runs import Trainer, numbers_of

NEVER_THERE = ("kill@after_load", "kill@in_loader:3", "kill@epoch_end:2", "kill@before_replace")


@pytest.mark.parametrize("fault", [*NEVER_THERE, "kill@after_replace"])
def test_a_killed_run_leaves_a_whole_record_or_none_and_the_next_gives_the_same_numbers(
    trainer: Trainer, golden: Path, tmp_path: Path, fault: str
) -> None:
    out = tmp_path / "0.json"
    assert trainer.finetune(out, fault=fault).exit_code == -signal.SIGKILL
    assert out.exists() == (fault not in NEVER_THERE)
    again = trainer.finetune(out)
    assert again.exit_code == 0, again.said
    assert numbers_of(out) == numbers_of(golden)
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("fault", ["term@after_load", "term@in_loader:3", "term@before_replace"])
def test_a_preempted_run_exits_with_75_and_leaves_nothing(
    trainer: Trainer, golden: Path, tmp_path: Path, fault: str
) -> None:
    out = tmp_path / "0.json"
    ended = trainer.finetune(out, fault=fault)
    assert ended.exit_code == 75
    assert ended.said.endswith(
        "error: stopped by SIGTERM, no half-written files remain: run again\n"
    )
    assert "Traceback" not in ended.said
    assert list(tmp_path.iterdir()) == []
