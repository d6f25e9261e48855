"""Whose fault an error is: a model's is a record with a reason, ours fails the stage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from fastai.vision.all import Callback
from tiny_runs import run_on, write_squares
from torch import nn

from pipeline.core.errors import PipelineError
from pipeline.estimates.estimate import speed_by_model
from pipeline.finetune import attempts, callbacks, parts, training
from pipeline.finetune.speed import Speed
from pipeline.hardware.faults import lacks_memory, raised_by
from pipeline.names.vision_learner import PooledFeatures


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "squares", n_train=33, n_valid=20)


def train(folder: Path, **recipe: Any) -> dict[str, Any]:
    return attempts.train(run_on(folder, Speed(), **recipe), lambda row: None)


def test_what_torch_raises_in_a_model_is_its_failure_and_the_log_has_the_traceback(
    squares: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fields = train(squares, batch_size=1)  # batch norm needs two values
    assert fields["status"] == "failed"
    assert fields["reason"].startswith("ValueError: Expected more than 1 value per channel")
    printed = capfd.readouterr().err
    assert "Traceback (most recent call last)" in printed
    assert "torch/nn/functional.py" in printed


def test_what_our_code_raises_keeps_its_traceback_and_is_no_record(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "wrong_answers", len)  # a bug: it takes one argument
    with pytest.raises(TypeError) as caught:
        train(squares)
    files = [str(entry.path) for entry in caught.traceback]
    assert files[-1].endswith("pipeline/finetune/callbacks.py")


def test_an_error_on_the_way_to_the_record_is_ours(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "pack_counts", lambda counts: counts["wrong"])
    with pytest.raises(IndexError):
        train(squares)


def test_numpy_fails_for_whoever_called_it() -> None:
    run: Any = type("Run", (), {"speed": "fast", "work": type("Work", (), {"model": "net"})})
    with pytest.raises(TypeError) as caught:
        speed_by_model([run])  # the median of a text
    assert "numpy" in str(caught.traceback[-1].path)
    assert raised_by(caught.value) == "pipeline"


def fails_in_a_callback(monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception]) -> None:
    class Fails(Callback):
        def after_pred(self) -> None:
            raise error()

    make = training.seeded_learner
    monkeypatch.setattr(
        training, "seeded_learner", lambda run, parts: make(run, parts).add_cb(Fails())
    )


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (lambda: ValueError("odd shape\nof tensor"), "ValueError: odd shape"),
        (lambda: AssertionError(), "AssertionError"),  # fastai then fails itself, with IndexError
    ],
)
def test_the_reason_is_the_cause_and_not_what_fastai_says_of_it(
    squares: Path, monkeypatch: pytest.MonkeyPatch, error: Callable[[], Exception], reason: str
) -> None:
    fails_in_a_callback(monkeypatch, error)
    fields = train(squares)
    assert (fields["status"], fields["reason"]) == ("failed", reason)


def test_a_gpu_that_fails_is_neither(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_in_a_callback(monkeypatch, lambda: RuntimeError("CUDA error: device-side assert"))
    with pytest.raises(PipelineError, match="the GPU failed"):
        train(squares)


def test_a_host_without_memory_is_neither(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"
    )
    fails_in_a_callback(monkeypatch, lambda: RuntimeError(text))
    with pytest.raises(
        PipelineError, match="the host ran out of memory, which is not the model's fault"
    ):
        train(squares)


def test_a_disk_that_fails_is_neither(squares: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fails_in_a_callback(monkeypatch, lambda: OSError(5, "Input/output error"))
    with pytest.raises(OSError, match="Input/output error"):
        train(squares)


def test_a_cause_that_was_never_raised_has_no_frames() -> None:
    with pytest.raises(RuntimeError) as caught:
        raise RuntimeError from ValueError("said where it belongs")
    assert lacks_memory(caught.value) is False


class Tokens(nn.Module):
    """A net that gives a vector per token, as language models' encoders do."""

    num_features = head_hidden_size = 5
    default_cfg: ClassVar[dict[str, Any]] = {"mean": (0.5,) * 3, "std": (0.5,) * 3}

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward_features(self, images: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.zeros(len(images), 7, 5)


class AnotherWidth(Tokens):
    """A net whose vectors are longer than it says."""

    def get_classifier(self) -> None:
        return None

    def forward_head(self, maps: torch.Tensor, pre_logits: bool) -> torch.Tensor:
        return maps.flatten(1)


@pytest.mark.parametrize(
    ("net", "reason"),
    [
        (Tokens, "features of shape (33, 7, 5): expected a map per image"),
        (AnotherWidth, "features of width 35: the model says 5"),
    ],
)
def test_a_net_that_gives_no_vectors_is_a_failed_run(
    squares: Path, monkeypatch: pytest.MonkeyPatch, net: type[nn.Module], reason: str
) -> None:
    monkeypatch.setattr(parts, "body_of", lambda *_: PooledFeatures(net()))
    fields = train(squares, features="timm", head="linear", head_start="probe")
    assert (fields["status"], fields["reason"]) == ("failed", reason)
