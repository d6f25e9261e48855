"""Out of GPU memory: a record that says so, or another try with each batch in parts."""

import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from fastai.vision.all import Callback, GradientAccumulation
from tiny_runs import run_on, write_squares

from pipeline.export import fitting
from pipeline.finetune import attempts, training
from pipeline.finetune.recipe import Recipe
from pipeline.finetune.speed import Speed


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", n_train=75, n_valid=20)


class Small(Callback):
    """A device with room for so many images; it runs out in the first unfrozen epoch."""

    order = 5

    def __init__(self, room: int, error: Exception | None = None) -> None:
        self.room = room
        self.error = error or torch.cuda.OutOfMemoryError("CUDA out of memory")

    def after_pred(self) -> None:
        if self.training and len(self.x) > self.room and self.opt.frozen_idx == 0:
            raise self.error


def on_a_small_device(
    folder: Path,
    room: int,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception | None = None,
    **recipe: Any,
) -> dict[str, Any]:
    make, built = training.seeded_learner, []

    def small(run: training.Run, parts: int = 1) -> Any:
        built.append(parts)
        return make(run, parts).add_cb(Small(room, error))

    monkeypatch.setattr(training, "seeded_learner", small)
    fields = attempts.train(run_on(folder, Speed(), **recipe), lambda row: None)
    return {**fields, "built": built}


def test_a_run_that_needs_too_much_is_recorded_with_its_batch_size_and_peak(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peak = {"peak_memory_reserved_gib": 23.4}
    monkeypatch.setattr(attempts.machine, "peak_memory", lambda device: dict(peak))
    fields = on_a_small_device(squares, 8, monkeypatch)
    assert fields["status"] == "failed"
    assert fields["reason"] == "out of GPU memory at batch size 16, 23.4 GiB reserved"
    assert fields["cost"].peak_memory_reserved_gib == 23.4
    assert fields["built"] == [1]
    assert "halved" not in (fields["not_for_speed"] or "")


def test_halved_batches_finish_the_run_and_bar_it_from_speed(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = on_a_small_device(squares, 4, monkeypatch, oom="halve")
    assert fields["status"] == "ok"
    assert fields["built"] == [1, 2, 4]
    reasons = fields["not_for_speed"].split("; ")  # a busy machine is one more
    assert reasons[0] == "the batch was halved to 4: out of GPU memory at 8"
    assert [row["epoch"] for row in fields["history"]] == [1, 2], "of the last try alone"


def test_a_batch_that_cannot_be_halved_any_more_is_a_failed_run(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = on_a_small_device(squares, 1, monkeypatch, oom="halve")
    assert fields["status"] == "failed"
    assert fields["reason"] == "out of GPU memory at batch size 2"


@pytest.mark.parametrize(("size", "parts"), [(32, [1, 2, 4, 8, 16]), (12, [1, 2, 4]), (25, [1])])
def test_parts_are_equal_and_of_two_images_or_more(size: int, parts: list[int]) -> None:
    recipe = Recipe("tiny", 1, 1, 0.01, 10, size, "concat", "squish", "fp32", oom="halve")
    assert recipe.parts == parts
    assert replace(recipe, oom="record").parts == [1]


@pytest.mark.parametrize(
    "said", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `x`"]
)
def test_a_lack_of_memory_below_torch_is_one_as_well(
    squares: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    fields = on_a_small_device(squares, 8, monkeypatch, RuntimeError(said), oom="halve")
    assert (fields["status"], fields["built"]) == ("ok", [1, 2])


def test_the_last_fit_of_an_export_halves_its_batch_with_the_first_try_gone(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, built = training.seeded_learner, []

    def small(run: training.Run, parts: int = 1) -> Any:
        assert all(learn() is None for _, learn in built), "it still holds the device's memory"
        learn = make(run, parts).add_cb(Small(8))
        built.append((parts, weakref.ref(learn)))
        return learn

    monkeypatch.setattr(training, "seeded_learner", small)
    run = run_on(squares, Speed(), oom="halve")
    with pytest.warns(UserWarning, match="the batch in 1 parts"):
        fitted = fitting.fit(run, run.recipe, lambda row: None)
    assert [parts for parts, _ in built] == [1, 2]
    assert fitted.learn is built[1][1]()


@pytest.mark.parametrize("answers", [[None, "fitted"], [None, None, "fitted"]])
def test_an_export_tries_without_graphs_before_it_halves(
    squares: Path, monkeypatch: pytest.MonkeyPatch, answers: list[Any]
) -> None:
    tried = []

    def attempt(run: training.Run, parts: int, tell: Any) -> Any:
        tried.append((parts, run.speed.whole_step))
        return answers[len(tried) - 1]

    monkeypatch.setattr(fitting, "_attempt", attempt)
    run = replace(run_on(squares, Speed(), oom="halve"), device=torch.device("cuda"))
    assert fitting.fit(run, run.recipe, lambda row: None) == "fitted"
    assert tried == [(1, True), (1, False), (2, False)][: len(answers)]


class Gradients(Callback):
    """Keeps what each step of the optimizer is made from."""

    order = GradientAccumulation.order + 1

    def __init__(self) -> None:
        self.steps: list[list[torch.Tensor]] = []

    def before_step(self) -> None:
        self.steps.append([p.grad.clone() for p in self.model.parameters() if p.grad is not None])


def test_a_step_of_parts_learns_from_the_gradients_of_the_whole_batch(squares: Path) -> None:
    """Norms and dropout do nothing random here; what batch norm does differs by its nature."""
    whole, parted = (first_gradients(squares, parts) for parts in (1, 4))
    assert len(whole) == len(parted) == 4  # steps: 75 images, 16 a step
    for one, other in zip(whole[0], parted[0], strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5)


def first_gradients(folder: Path, parts: int) -> list[list[torch.Tensor]]:
    learn = training.seeded_learner(run_on(folder, Speed()), parts)
    gradients = Gradients()
    learn.add_cbs([gradients, StillNorms()])
    with learn.no_bar(), learn.no_logging():
        learn.fit_one_cycle(1, 1e-3)
    return gradients.steps


class StillNorms(Callback):
    """Norms and dropout as in validation."""

    def before_batch(self) -> None:
        self.model.eval()


def test_out_of_memory_with_captured_steps_tries_the_same_batch_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_on(write_squares(tmp_path / "squares"), Speed())
    tried: list[tuple[bool, int]] = []

    def attempt(run: training.Run, parts: int, tell: Any) -> tuple[dict[str, Any], bool]:
        tried.append((run.speed.whole_step, parts))
        return {"status": "ok"}, len(tried) < 2

    monkeypatch.setattr(attempts, "_attempt", attempt)
    attempts.train(replace(run, device=torch.device("cuda")), lambda row: None)
    assert tried == [(True, 1), (False, 1)]
