"""A whole step, uncaptured, computes what fastai's own loop does, bit for bit."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_runs import RECIPE, run_on, same_bits, weights_of, write_squares

from pipeline.finetune import training, whole_step
from pipeline.finetune.callbacks import Epochs
from pipeline.finetune.speed import Speed
from pipeline.finetune.whole_step import attach
from pipeline.hardware.telemetry import Watch

CPU = torch.device("cpu")
UNCAPTURED = "uncaptured: speed.whole_step is off"
NETS = [
    "test_resnet.r160_in1k",  # convolutions with batch norm
    "test_convnext.r160_in1k",  # without
    "test_vit.r160_in1k",
]


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", n_train=90, n_valid=40)


def fit(run: training.Run, whole: bool) -> tuple[training.Outcome, dict[str, torch.Tensor]]:
    learn = training.seeded_learner(run)
    if whole:
        assert attach(learn) == ""
    outcome = training.fit(learn, run.recipe, Epochs(), Watch(CPU))
    assert not whole or learn.whole_step.mode == "uncaptured"
    return outcome, weights_of(learn)


def same_history(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> bool:
    losses = ("epoch", "train_loss", "valid_loss", "error_rate")
    return [[row[key] for key in losses] for row in one] == [
        [row[key] for key in losses] for row in other
    ]


@pytest.mark.parametrize("net", NETS)
def test_a_whole_step_gives_the_bits_of_fastais_loop(squares: Path, net: str) -> None:
    run = run_on(squares, Speed(), model=net)
    (ours, weights), (theirs, expected) = fit(run, whole=True), fit(run, whole=False)
    assert same_bits(weights, expected)
    assert same_history(ours.history, theirs.history)
    assert (ours.wrong == theirs.wrong).all()


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_so_it_does_with_every_part_that_a_recipe_can_add(tmp_path: Path, kind: str) -> None:
    folder = write_squares(tmp_path / "squares", n_train=90, n_valid=40, kind=kind)
    parts = {"batch_norm": "eval", "augment": "flips_shifts", "weight_average": 0.9}
    run = run_on(folder, Speed(), label_smoothing=0.1, features="timm", head="linear", **parts)
    (ours, weights), (theirs, expected) = fit(run, whole=True), fit(run, whole=False)
    assert same_bits(weights, expected)
    assert same_history(ours.history, theirs.history)


def test_dropout_draws_a_fresh_mask_at_every_step(squares: Path) -> None:
    run = run_on(squares, Speed())
    learn = training.seeded_learner(run)
    assert attach(learn) == ""
    masks = []
    drop = next(each for each in learn.model.modules() if isinstance(each, torch.nn.Dropout))
    drop.register_forward_hook(
        lambda module, given, made: masks.append(made == 0) if module.training else None
    )
    training.fit(learn, run.recipe, Epochs(), Watch(CPU))
    assert not all(torch.equal(mask, masks[0]) for mask in masks[1:])


def test_what_acts_within_a_step_keeps_fastais_loop_and_says_so(squares: Path) -> None:
    run = run_on(squares, Speed())
    assert "GradientAccumulation" in attach(training.seeded_learner(run, parts=2))
    slow = replace(run, speed=replace(Speed(), fused_optimizer=False))
    assert "optimizer" in attach(training.seeded_learner(slow))
    by_item = replace(run, speed=replace(Speed(), whole_batches=False))
    assert "one by one" in attach(training.seeded_learner(by_item))


class Replayed:
    """In place of a CUDA graph: a replay computes the step and overwrites the gradients."""

    def __init__(self, step: whole_step.WholeStep) -> None:
        self.step = step

    def replay(self, inputs: Any) -> None:
        if self.step.learn.training:
            self.step.learn.opt.zero_grad()
        self.step._compute(inputs)


def test_a_graph_is_dropped_once_it_is_not_replayed_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_squares(tmp_path / "squares", n_train=400, n_valid=240)
    run = run_on(folder, Speed(), epochs=2)
    learn = training.seeded_learner(run)
    assert attach(learn) == ""
    step = learn.whole_step
    passes: list[tuple[str, list[str]]] = []  # each pass, and whose graphs are left at its start
    names: dict[Any, str] = {}

    def capture(key: Any, inputs: Any) -> Any:
        step._graphs[key] = Replayed(step)
        return step._graphs[key]

    def drop(phase: Any) -> None:
        name = names.setdefault(phase, f"phase {len(names)}")
        whole_step.WholeStep._drop_graphs(step, phase)
        passes.append((name, sorted(names[key[0]] for key in step._graphs)))

    monkeypatch.setattr(step, "captures", True)
    monkeypatch.setattr(step, "_capture", capture)
    monkeypatch.setattr(step, "_drop_graphs", drop)
    monkeypatch.setattr(learn, "all_batches", step._pass)
    training.fit(learn, run.recipe, Epochs(), Watch(CPU))
    frozen, frozen_valid, unfrozen, valid = "phase 0", "phase 1", "phase 2", "phase 3"
    assert passes[:6] == [
        (frozen, []),
        (frozen_valid, [frozen]),
        (unfrozen, []),
        (valid, [unfrozen]),
        (unfrozen, [unfrozen]),
        (valid, [unfrozen]),
    ]
    _, expected = fit(run, whole=False)
    assert same_bits(weights_of(learn), expected)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("net", NETS)
def test_a_captured_step_gives_the_bits_of_fastais_loop(tmp_path: Path, net: str) -> None:
    folder = write_squares(tmp_path / "squares", n_train=400, n_valid=240)
    torch.use_deterministic_algorithms(True, warn_only=True)
    weights = []
    for whole in (True, False):
        run = run_on(folder, replace(Speed(), whole_step=whole), model=net)
        learn = training.seeded_learner(replace(run, device=torch.device("cuda")))
        training.fit(learn, run.recipe, Epochs(), Watch(torch.device("cuda")))
        assert training.step_mode(learn) == ("captured" if whole else UNCAPTURED)
        weights.append(weights_of(learn))
    assert same_bits(*weights)


def test_a_cpu_says_nothing_of_graphs(squares: Path) -> None:
    assert training.step_mode(training.seeded_learner(run_on(squares, Speed()))) is None
    assert RECIPE.frozen_epochs == 1  # both phases were run above


def test_a_torch_whose_failed_captures_are_not_known_captures_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(whole_step, "OLDEST_TORCH", "99")
    monkeypatch.setattr(whole_step, "_resident", lambda loader, device: None)
    learn: Any = SimpleNamespace(dls=SimpleNamespace(device="cuda", train=None))
    step = whole_step.WholeStep(learn)
    assert (step.captures, step.mode) == (False, "uncaptured: torch is older than 99")
