"""Fixtures of the tests behind docs/guarantees.md."""

from pathlib import Path

import pytest
from runs import Trainer, make_trainer


@pytest.fixture(scope="session")
def trainer(tmp_path_factory: pytest.TempPathFactory) -> Trainer:
    """Real fine-tunes, a second each."""
    return make_trainer(tmp_path_factory.mktemp("trainer"))


@pytest.fixture(scope="session")
def golden(trainer: Trainer) -> Path:
    """The record of an undisturbed fine-tune."""
    out = trainer.folder / "golden.json"
    ended = trainer.finetune(out)
    assert ended.exit_code == 0, ended.said
    return out
