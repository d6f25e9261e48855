"""The fused AdamW is fastai's: the same weights to rounding, whatever the schedule does."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from fastai.optimizer import Adam
from fastai.vision.all import combined_cos, norm_bias_params
from torch import nn
from torch.amp import GradScaler

from pipeline.finetune.speed import FusedAdamW

torch.set_num_threads(1)  # the net is far too small for two

STEPS = 300
RATES, MOMENTA = combined_cos(0.25, 0.04, 0.1, 1e-5), combined_cos(0.25, 0.95, 0.85, 0.95)


def net() -> nn.Module:
    """A convolution in channels last, a norm that trains while frozen, and a head."""
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
    return nn.Sequential(body, head).double().to(memory_format=torch.channels_last)


def optimizer_of(model: nn.Module, make: Callable[..., Any]) -> Any:
    """As fastai's Learner sets it up: two groups, no decay of norms and biases, norms trained."""
    optimizer = make([list(part.parameters()) for part in model], lr=1.0, wd=0.1)
    for param in norm_bias_params(model, with_bias=True):
        optimizer.state[param]["do_wd"] = False
    for param in norm_bias_params(model, with_bias=False):
        optimizer.state[param]["force_train"] = True
    return optimizer


def train(model: nn.Module, optimizer: Any, steps: int = STEPS) -> nn.Module:
    """A third of the steps frozen, as `fine_tune` does it, then all of it; rates of each group."""
    draw = torch.Generator().manual_seed(1)
    for step in range(steps):
        if step in (0, steps // 3):
            optimizer.freeze_to(1 if step == 0 else 0)
            optimizer.clear_state()
        rate = RATES(step / steps)
        optimizer.set_hypers(lr=slice(rate / 10, rate), mom=MOMENTA(step / steps))
        images = torch.randn(8, 3, 6, 6, generator=draw, dtype=torch.float64)
        (model(images) - images.mean((2, 3))).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model


def furthest(one: nn.Module, other: nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


def test_three_hundred_scheduled_steps_end_at_fastais_weights() -> None:
    begin = net()
    theirs, ours = deepcopy(begin), deepcopy(begin)
    train(theirs, optimizer_of(theirs, Adam))
    train(ours, optimizer_of(ours, FusedAdamW))
    assert furthest(theirs, begin) > 0.1
    assert furthest(theirs, ours) < 1e-12


def test_a_frozen_layer_stays_and_its_norm_learns() -> None:
    model = net()
    before, optimizer = deepcopy(model), optimizer_of(model, FusedAdamW)
    train(model, optimizer, steps=3)  # its first step alone is frozen
    optimizer.freeze_to(1)
    optimizer.clear_state()
    convolution, norm = model[0][0].weight.clone(), model[0][1].weight.clone()
    model(torch.randn(8, 3, 6, 6, dtype=torch.float64)).sum().backward()
    optimizer.step()
    assert torch.equal(model[0][0].weight, convolution)
    assert not torch.equal(model[0][1].weight, norm)
    assert furthest(model, before) > 0


def test_norms_and_biases_do_not_decay_and_weights_do() -> None:
    model = net()
    optimizer = optimizer_of(model, FusedAdamW)
    before = deepcopy(model)
    for param in model.parameters():
        param.grad = torch.zeros_like(param)
    optimizer.set_hypers(lr=0.5)
    optimizer.step()
    for (name, old), new in zip(before.named_parameters(), model.parameters(), strict=True):
        decays = name in ("0.0.weight", "1.2.weight")
        assert torch.allclose(new, old * (1 - 0.5 * 0.1 if decays else 1), rtol=1e-15), name


def test_a_layer_that_gets_no_gradient_is_left_alone() -> None:
    model = net()
    optimizer = optimizer_of(model, FusedAdamW)
    before = deepcopy(model)
    model[1](torch.randn(8, 4, 4, 4, dtype=torch.float64)).sum().backward()
    optimizer.step()
    assert furthest(model[0], before[0]) == 0
    assert furthest(model[1], before[1]) > 0


def test_a_scaled_loss_gives_the_step_of_the_loss_itself() -> None:
    plain, scaled = net(), net()
    images = torch.randn(8, 3, 6, 6, dtype=torch.float64)
    optimizer = optimizer_of(plain, FusedAdamW)
    plain(images).square().mean().backward()
    optimizer.step()
    optimizer, scaler = optimizer_of(scaled, FusedAdamW), GradScaler("cpu", init_scale=1024.0)
    scaler.scale(scaled(images).square().mean()).backward()
    scaler.step(optimizer)
    scaler.update()
    assert furthest(plain, scaled) < 1e-12


def test_a_step_that_overflows_changes_nothing_and_lowers_the_scale() -> None:
    model = net()
    optimizer, scaler = optimizer_of(model, FusedAdamW), GradScaler("cpu", init_scale=1024.0)
    before = deepcopy(model)
    loss = model(torch.full((8, 3, 6, 6), float("inf"), dtype=torch.float64)).sum()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
    assert furthest(model, before) == 0
    assert all(float(optimizer.state[p]["step"]) == 0 for p in model.parameters())
    assert scaler.get_scale() == 512


def test_a_closure_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="closure"):
        optimizer_of(net(), FusedAdamW).step(lambda: None)
