"""What makes a run fast changes no number, or none that matters; all of it can be switched off."""

import resource
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastai.vision.all import (
    CrossEntropyLossFlat,
    Datasets,
    IntToFloatTensor,
    TensorCategory,
    TensorImage,
    accuracy,
    vision_learner,
)
from tiny_runs import CPU, MODEL, OFF, fitted, run_on, same_bits, weights_of, write_squares

from pipeline.configuration import hydra_app
from pipeline.core.errors import PipelineError
from pipeline.finetune import speed, training
from pipeline.finetune.speed import (
    LossScaling,
    Speed,
    cpu_multiplies_bf16,
    leave_autocast,
    precision_of,
)
from pipeline.finetune.speed import gains_from_channels_last as gains_from_layout
from pipeline.hardware import machine

FUSED = replace(OFF, fused_optimizer=True)


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_squares(tmp_path_factory.mktemp("data") / "squares")


def test_with_everything_off_a_run_is_fastais_own_bit_for_bit(squares: Path) -> None:
    run = run_on(squares)
    outcome, weights = fitted(run)
    training.seed_everything(0)
    dls = fastais_loaders(run)
    training.seed_everything(0)
    learn = vision_learner(
        dls,
        MODEL,
        n_out=3,
        loss_func=CrossEntropyLossFlat(),
        metrics=[accuracy],
        pretrained_cfg_overlay=run.weights.overlay,
    )
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(1, 0.01, freeze_epochs=1, lr_mult=10)
    assert same_bits(weights_of(learn), weights)
    last = [float(value) for value in learn.recorder.values[-1]]
    assert last == [outcome.metrics[name] for name in ("train_loss", "valid_loss", "accuracy")]


def fastais_loaders(run: training.Run) -> Any:
    """As a script has them: items of the dataset, collated."""
    images, labels = run.data.array(run.image_size), run.data.labels
    datasets = Datasets(
        range(len(labels)),
        tfms=[
            [lambda row: TensorImage(torch.from_numpy(np.array(images[row])))],
            [lambda row: TensorCategory(torch.tensor(labels[row]))],
        ],
        splits=(run.data.rows("train").tolist(), run.data.rows("valid").tolist()),
    )
    return datasets.dataloaders(bs=16, after_batch=[IntToFloatTensor()], num_workers=0, device=CPU)


@pytest.mark.parametrize("name", ["whole_batches", "losses_on_device"])
def test_an_exact_switch_changes_no_bit(squares: Path, name: str) -> None:
    (off, weights_off), (on, weights_on) = (
        fitted(run_on(squares, replace(OFF, **{name: value}))) for value in (False, True)
    )
    assert same_bits(weights_off, weights_on)
    assert on.metrics == off.metrics
    assert [row["train_loss"] for row in on.history] == [row["train_loss"] for row in off.history]


@pytest.mark.slow
def test_kept_memory_changes_no_bit_and_spares_page_faults(squares: Path) -> None:
    """In processes of their own, because memory once kept stays kept."""
    found = []
    for keep in (False, True):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            found.append(pool.submit(error_and_page_faults, squares, keep).result())
    (plain, many), (kept, few) = found
    assert kept == plain
    assert few < many / 4


def error_and_page_faults(folder: Path, keep: bool) -> tuple[dict[str, float | None], int]:
    """Metrics of a fit, and page faults of ten blocks as large as an activation at 224 pixels."""
    if keep:
        machine.keep_freed_memory()
    metrics = fitted(run_on(folder))[0].metrics
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        torch.empty(150 * 2**20, dtype=torch.uint8).fill_(1)
    return metrics, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


SEEDS = range(2)
LONGER = {"epochs": 4, "lr": 0.03, "lr_mult": 1, "precision": "bf16"}


def errors(folder: Path, switches: Speed) -> np.ndarray:
    runs = (run_on(folder, switches, seed, **LONGER) for seed in SEEDS)
    return np.array([fitted(run)[0].metrics["error_rate"] for run in runs])


@pytest.fixture(scope="module")
def errors_when_off(squares: Path) -> np.ndarray:
    return errors(squares, OFF)


@pytest.mark.parametrize(
    "name",
    ["fused_optimizer", "channels_last", pytest.param("bf16_on_cpu", marks=pytest.mark.slow)],
)
def test_an_equivalent_switch_moves_the_error_less_than_an_image_in_twenty(
    squares: Path, errors_when_off: np.ndarray, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound of docs/performance.md: the mean over paired seeds, on 80 images."""
    monkeypatch.setattr(speed, "cpu_multiplies_bf16", lambda: True)
    assert errors_when_off.mean() < 0.1, "it has learned: chance is two thirds"
    on = errors(squares, replace(OFF, **{name: True}))
    assert abs(float((on - errors_when_off).mean())) <= 0.05


def network(*convolutions: torch.nn.Module) -> torch.nn.Module:
    return torch.nn.Sequential(*convolutions, torch.nn.Linear(8, 8))


DENSE = network(torch.nn.Conv2d(8, 8, 3))
GROUPED = network(torch.nn.Conv2d(8, 8, 3, groups=2))
DEPTHWISE = network(torch.nn.Conv2d(8, 8, 3), torch.nn.Conv2d(8, 8, 3, groups=8))


def test_channels_last_is_left_where_it_is_slower() -> None:
    cuda = torch.device("cuda")
    assert gains_from_layout(DENSE, cuda)
    assert gains_from_layout(DEPTHWISE, cuda)
    assert not gains_from_layout(GROUPED, cuda)
    assert gains_from_layout(GROUPED, CPU)
    assert not gains_from_layout(DEPTHWISE, CPU), "as in ConvNeXt"
    assert gains_from_layout(network(DEPTHWISE, torch.nn.BatchNorm2d(8)), CPU)


def test_from_hopper_on_grouped_convolutions_gain_too(monkeypatch: pytest.MonkeyPatch) -> None:
    for generation, gains in ((8, False), (9, True), (10, True)):
        monkeypatch.setattr(speed, "cuda_generation", lambda device, now=generation: now)
        assert gains_from_layout(GROUPED, torch.device("cuda")) is gains


def test_bf16_is_for_nets_and_processors_that_gain_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "cpu_multiplies_bf16", lambda: True)
    assert precision_of("fp16", DENSE, CPU, Speed()) == "bf16"
    assert precision_of("fp16", DEPTHWISE, CPU, Speed()) == "fp32"
    assert precision_of("fp32", DENSE, CPU, Speed()) == "fp32"
    assert precision_of("fp16", DENSE, CPU, OFF) == "fp32"
    monkeypatch.setattr(speed, "cpu_multiplies_bf16", lambda: False)
    assert precision_of("bf16", DENSE, CPU, Speed()) == "fp32"
    assert precision_of("bf16", DEPTHWISE, torch.device("cuda"), OFF) == "bf16"


def test_the_processors_flags_tell_whether_it_multiplies_bf16(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    for flags, expected in {"fma avx512_bf16": True, "amx_bf16": True, "avx512f": False}.items():
        info.write_text(f"processor\t: 0\nflags\t\t: fpu {flags}\n")
        assert cpu_multiplies_bf16(info) is expected
    assert not cpu_multiplies_bf16(tmp_path / "none")


def test_in_bf16_the_net_computes_in_bf16_and_the_loss_and_weights_in_fp32(
    squares: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "cpu_multiplies_bf16", lambda: True)
    learn = training.seeded_learner(run_on(squares, Speed(), precision="fp16"))
    seen = []
    convolution = next(m for m in learn.model.modules() if isinstance(m, torch.nn.Conv2d))
    convolution.register_forward_hook(lambda _layer, _given, made: seen.append(made.dtype))
    with torch.no_grad():
        predicted = learn.model(learn.dls.valid.one_batch()[0])
    assert (learn.precision, seen, predicted.dtype) == ("bf16", [torch.bfloat16], torch.float32)
    assert {param.dtype for param in learn.model.parameters()} == {torch.float32}
    assert not torch.is_autocast_enabled("cpu")


def test_a_fit_that_breaks_off_leaves_no_autocast_behind(squares: Path) -> None:
    """fastai's own callback does, when an epoch ends in an error."""
    learn = training.seeded_learner(run_on(squares))
    learn.mixed_precision = Entered()
    assert torch.is_autocast_enabled("cpu")
    leave_autocast(learn)
    assert not torch.is_autocast_enabled("cpu")


class Entered:
    """fastai's mixed precision in the middle of a batch."""

    def __init__(self) -> None:
        self.autocast = torch.autocast("cpu", torch.bfloat16)
        self.autocast.__enter__()


def test_fp16_scales_the_loss_and_steps_once_a_batch(squares: Path) -> None:
    """With a scaler of the CPU in place of CUDA's: weights move as without a scaler."""
    plain = fitted(run_on(squares, FUSED))[1]
    learn = training.seeded_learner(run_on(squares, FUSED))
    learn.add_cb(LossScaling("cpu"))
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(1, 0.01, freeze_epochs=1, lr_mult=10)
    scaled = weights_of(learn)
    steps = [int(state["step"]) for state in learn.opt.state.values() if "step" in state]
    assert set(steps) == {10}
    assert all(torch.allclose(scaled[name], plain[name], atol=1e-3) for name in plain)


@pytest.mark.parametrize("value", ["1", "auto", "null"])
def test_a_switch_is_true_or_false(value: str) -> None:
    config = hydra_app.compose(
        "finetune",
        [
            *("dataset=digits", "recipe=quickstart", f"model={MODEL}", "seed=0"),
            f"speed.channels_last={value}",
        ],
    )
    with pytest.raises(PipelineError, match=r"speed\.channels_last=.*: write true or false"):
        speed.speed_of(config.speed)
