"""What is watched while a run trains: when it diverges, and which images it gets wrong."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fastai.vision.all import Callback
from tiny_runs import CPU, OFF, run_on, write_squares

from pipeline.finetune import training
from pipeline.finetune.callbacks import (
    CHECK_EVERY,
    Diverged,
    Epochs,
    WrongAnswers,
    predictions,
    wrong_answers,
)
from pipeline.finetune.speed import Speed
from pipeline.hardware.telemetry import Watch


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "squares"
    return write_squares(folder, n_train=16 * 2 * CHECK_EVERY // 4 + 40, n_valid=24)


class Breaks(Callback):
    """From one step on, in training or in validation, the loss is infinite, once."""

    order = 5

    def __init__(self, step: int, training: bool = True) -> None:
        self.step, self.in_training, self.batches = step, training, 0

    def after_loss(self) -> None:
        if self.training == self.in_training:
            self.batches += 1
            if self.batches == self.step:
                self.learn.loss = self.loss * float("inf")


def broken(folder: Path, breaks: Breaks, speed: Speed, batch_size: int) -> str:
    run = run_on(folder, speed, batch_size=batch_size, frozen_epochs=0)
    learn = training.seeded_learner(run).add_cb(breaks)
    with pytest.raises(Diverged) as caught:
        training.fit(learn, run.recipe, Epochs(), Watch(CPU))
    return caught.value.reason


@pytest.mark.parametrize("speed", [Speed(), OFF], ids=["fast", "off"])
def test_a_run_stops_soon_after_its_loss_stops_being_finite(squares: Path, speed: Speed) -> None:
    breaks = Breaks(step=CHECK_EVERY + 2)
    assert broken(squares, breaks, speed, 4) == "training loss is not finite in epoch 1"
    assert breaks.batches == 2 * CHECK_EVERY


def test_the_last_steps_of_an_epoch_are_looked_at_before_validation(squares: Path) -> None:
    breaks = Breaks(step=2)
    assert broken(squares, breaks, Speed(), 64) == "training loss is not finite in epoch 1"
    assert breaks.batches < CHECK_EVERY


def test_a_validation_loss_that_is_not_finite_gives_no_epoch(squares: Path) -> None:
    breaks = Breaks(step=1, training=False)
    assert broken(squares, breaks, Speed(), 64) == "validation loss is not finite in epoch 1"


def test_wrong_answers_are_counted_per_image() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    assert wrong_answers(logits, torch.tensor([0, 0])).tolist() == [0, 1]
    tags = torch.tensor([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    assert wrong_answers(logits - 0.5, tags).tolist() == [2, 0]


def test_predictions_are_the_class_and_its_probability_or_that_of_each_label() -> None:
    logits = torch.zeros(2, 300)
    logits[0, 299], logits[1, 7] = 9.0, 100.0
    answer = torch.tensor(9.0).exp() / (torch.tensor(9.0).exp() + 299)
    low, high, probability = predictions(logits, single=True).T.tolist()
    assert [a + 256 * b for a, b in zip(low, high, strict=True)] == [299, 7]
    assert probability == [pytest.approx(255 * float(answer), abs=0.5), 255]
    tags = predictions(torch.tensor([[0.0, 1e-6, -100.0, 100.0]]), single=False)
    assert tags.tolist() == [[127, 128, 0, 255]]  # above 127 exactly where it is above a half


def test_they_are_those_of_the_last_epoch_in_index_order(squares: Path) -> None:
    run = run_on(squares, Speed(), batch_size=64)
    learn = training.seeded_learner(run)
    outcome = training.fit(learn, run.recipe, Epochs(), Watch(CPU))
    learn.model.eval()
    with torch.no_grad():
        answers = torch.cat([learn.model(images).argmax(1) for images, _ in learn.dls.valid])
    expected = answers.numpy() != run.data.labels[run.data.rows("valid")]
    assert np.array_equal(outcome.wrong, expected)
    assert np.array_equal(outcome.predictions[:, 0], answers.numpy())
    assert outcome.wrong.mean() == pytest.approx(outcome.metrics["error_rate"], abs=1e-6)
    assert not any(isinstance(each, WrongAnswers) for each in learn.cbs), "gone with the fit"
