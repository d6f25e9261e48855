"""What a training step asks for is counted, so that nobody makes it slower without noticing.

A budget here is what was counted, no more; a lower count is welcome and lowers it.
"""

import multiprocessing.process
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import PIL.Image
import pytest
import torch
from tiny_runs import CPU, OFF, fitted, run_on, write_squares

from benchmarks.step_counts import Looks, Operations, busy_seconds, counts_of_a_step
from pipeline.finetune import training
from pipeline.finetune.speed import Speed

OPERATIONS = 214


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "squares")


def counted(folder: Path, speed: Speed, counter: Any, **recipe: Any) -> Any:
    learn = training.seeded_learner(run_on(folder, speed, **recipe))
    learn.unfreeze()
    return counts_of_a_step(learn, counter)


def test_a_training_step_never_waits_for_the_device(squares: Path) -> None:
    assert not counted(squares, Speed(), Looks())
    assert counted(squares, OFF, Looks())["cpu"] == 1, "fastai reads each loss"


def test_a_multi_label_step_never_waits_for_the_device(tmp_path: Path) -> None:
    assert not counted(write_squares(tmp_path / "squares", kind="multi"), Speed(), Looks())


def test_a_step_with_all_a_recipe_may_add_never_waits_for_the_device(squares: Path) -> None:
    parts: dict[str, Any] = {"features": "timm", "head": "linear", "head_start": "probe"}
    parts |= {"augment": "flips_shifts", "label_smoothing": 0.1}
    parts |= {"batch_norm": "eval", "weight_average": 0.9}
    assert not counted(squares, Speed(), Looks(), **parts)


def test_the_optimizer_costs_one_call_for_each_kind_of_parameter(squares: Path) -> None:
    """Body and head, with weight decay and without: four groups, two operations each."""
    counts = counted(squares, Speed(), Operations())
    assert counts["_fused_adamw_"] == counts["_foreach_add_"] == 4
    assert not {"addcdiv_", "addcmul_", "zero_", "sqrt"} & set(counts)


def test_a_step_dispatches_a_third_of_the_scripts_operations(squares: Path) -> None:
    ours, scripts = (counted(squares, each, Operations()).total() for each in (Speed(), OFF))
    assert ours <= OPERATIONS
    assert scripts > 3 * ours


def test_a_run_decodes_nothing_and_starts_no_process(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    note_calls(monkeypatch, PIL.Image, "open", calls)
    note_calls(monkeypatch, multiprocessing.process.BaseProcess, "start", calls)
    note_calls(monkeypatch, os, "fork", calls)
    fitted(run_on(squares, Speed()))
    assert calls == []


def note_calls(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, calls: list[str]) -> None:
    real: Callable[..., Any] = getattr(owner, name)

    def noted(*args: Any, **kwargs: Any) -> Any:
        calls.append(name)
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, noted)


def test_the_counters_see_what_they_count() -> None:
    loss = torch.ones(3, device=CPU)
    with Looks() as looks:
        float(loss.sum())
        bool((loss > 0).all())
        loss.cpu().tolist()
    assert looks.counts == {"__float__": 1, "__bool__": 1, "cpu": 1, "tolist": 1}
    with Operations() as operations:
        (loss.view(3, 1) * 2).sum()
    assert operations.counts == {"mul": 1, "sum": 1}


def test_seconds_in_which_kernels_overlap_count_once() -> None:
    assert busy_seconds([(5, 6), (0, 2), (1, 3), (1.5, 2.5)]) == 4
    assert busy_seconds([]) == 0
