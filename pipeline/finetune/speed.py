"""What makes a fine-tune fast: the switches of `speed`, memory layout, precision, fused AdamW.

With all switches off, a run equals the 2022 script's step by step: it gives the same numbers, bit
for bit, as fastai's own training loop, data loaders and optimizer. docs/performance.md says how
much time each switch saves.

Mixed precision: the forward pass runs under torch's autocast; losses and weights stay in fp32. On a
CPU, fp16 and bf16 both mean bf16 if the processor and the network gain from it, and otherwise fp32.

AdamW is one fused call per parameter group; fastai's own launches ten small operations for each
parameter. Except for rounding, the update is the same: fastai's schedule sets the learning rate and
momentum of each step, parameters for which fastai sets `do_wd` to False (norms and biases) have no
weight decay, and moments are dropped when layers are frozen or unfrozen.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from fastai.optimizer import Optimizer
from fastai.vision.all import Callback, CancelStepException, Learner
from omegaconf import DictConfig
from torch import nn
from torch.amp import GradScaler, autocast
from torch.optim.adamw import adamw

from pipeline.core.errors import PipelineError, near_matches

HOPPER = 9  # compute capability


@dataclass(frozen=True)
class Speed:
    """The switches. Exact: the same bits on a CPU. Equivalent: the same apart from rounding."""

    whole_batches: bool = True  # exact
    pinned_copies: bool = True  # exact
    losses_on_device: bool = True  # exact
    whole_step: bool = True  # exact
    keep_freed_memory: bool = True  # exact
    fused_optimizer: bool = True  # equivalent
    channels_last: bool = True  # equivalent
    bf16_on_cpu: bool = True  # equivalent


def speed_of(config: DictConfig) -> Speed:
    """Check the `speed` of a configuration."""
    values: dict[str, Any] = {str(key): value for key, value in config.items()}
    names = [each.name for each in fields(Speed)]
    for name in values:
        if name not in names:
            raise PipelineError(f"unknown key speed.{name}: {near_matches(name, names)}")
    for name in names:
        if not isinstance(values.get(name), bool):
            raise PipelineError(f"speed.{name}={values.get(name)}: write true or false")
    return Speed(**values)


def gains_from_channels_last(model: nn.Module, device: torch.device) -> bool:
    """Whether this network's convolutions are no slower in channels-last memory format.

    Grouped convolutions are slower on CUDA before Hopper (RegNet, ResNeXt), and depthwise ones
    without batch norm on a CPU (ConvNeXt): see docs/performance.md. This is a fixed rule rather
    than a measurement at the start of a run, so that repeated runs give the same numbers.
    """
    if device.type == "cpu":
        norms = any(isinstance(each, nn.BatchNorm2d) for each in model.modules())
        return norms or not _has_depthwise(model)
    if cuda_generation(device) >= HOPPER:
        return True
    return not any(1 < each.groups < each.in_channels for each in _convolutions(model))


def cuda_generation(device: torch.device) -> int:
    """The major compute capability: 8 is Ampere and Ada, 9 is Hopper; 0 without CUDA."""
    return torch.cuda.get_device_capability(device)[0] if torch.cuda.is_available() else 0


def gains_from_bf16(model: nn.Module) -> bool:
    """Whether bf16 is faster than fp32 on this CPU; depthwise convolutions are not."""
    return not _has_depthwise(model) and cpu_multiplies_bf16()


def cpu_multiplies_bf16(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has bf16 instructions; False if unknown (not Linux, or not x86)."""
    try:
        lines = cpu_info.read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    flags = next((line for line in lines if line.startswith("flags")), "").split()
    return "avx512_bf16" in flags or "amx_bf16" in flags


def _has_depthwise(model: nn.Module) -> bool:
    return any(1 < each.groups == each.in_channels for each in _convolutions(model))


def _convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [each for each in model.modules() if isinstance(each, nn.Conv2d)]


DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


class LossScaling(Callback):
    """Scales the loss so that small fp16 gradients do not underflow; skips steps that overflow.

    The scaler calls the optimizer, so fastai's own call is cancelled.
    """

    order = 10  # that of fastai's MixedPrecision: after gradients are accumulated

    def __init__(self, device: str) -> None:
        self.device = device

    def before_fit(self) -> None:
        self.scaler = GradScaler(self.device)

    def before_backward(self) -> None:
        self.learn.loss_grad = self.scaler.scale(self.loss_grad)

    def before_step(self) -> None:
        self.scaler.step(self.opt)
        self.scaler.update()
        raise CancelStepException()


def precision_of(wanted: str, model: torch.nn.Module, device: torch.device, speed: Speed) -> str:
    """The precision that a recipe's `wanted` gives for this network and device."""
    if device.type == "cuda" or wanted == "fp32":
        return wanted
    return "bf16" if speed.bf16_on_cpu and gains_from_bf16(model) else "fp32"


def in_precision(learn: Learner, precision: str, speed: Speed) -> Learner:
    """Let `learn` run its forward passes in that precision; returns `learn`."""
    device = learn.dls.device.type
    if precision == "fp32":
        return learn
    if not speed.fused_optimizer and device == "cuda":
        return learn.to_fp16() if precision == "fp16" else learn.to_bf16()
    forward = autocast(device, DTYPES[precision])(learn.model.forward)
    learn.model.forward = lambda *images: forward(*images).float()
    if precision == "fp16":
        learn.add_cb(LossScaling(device))
    return learn


def leave_autocast(learn: Any) -> None:
    """Leave autocast after an interrupted fit; fastai's callback does so only at its end."""
    running = getattr(learn, "mixed_precision", None)
    if running is not None and torch.is_autocast_enabled(learn.dls.device.type):
        running.autocast.__exit__(None, None, None)


class FusedAdamW(Optimizer):
    """fastai's `Adam` with decoupled weight decay. `state` holds the moments under fastai's names.

    With fp16, torch's `GradScaler` sets `grad_scale` and `found_inf` on this optimizer and then
    calls `step`. The fused kernel divides the gradients by `grad_scale` and does nothing if
    `found_inf` is 1, so the host need not wait for the device.
    """

    _step_supports_amp_scaling = True  # GradScaler looks for this attribute

    def __init__(
        self,
        params: Any,
        lr: float,
        mom: float = 0.9,
        sqr_mom: float = 0.99,
        eps: float = 1e-5,
        wd: float = 0.01,
    ) -> None:
        super().__init__(params, [], lr=lr, mom=mom, sqr_mom=sqr_mom, eps=eps, wd=wd)

    def step(self, closure: Any = None) -> None:
        if closure is not None:
            raise NotImplementedError("fastai's optimizers take no closure")
        for params, hyper in zip(self.param_lists, self.hypers, strict=True):
            trained = [param for param in params if param.grad is not None]
            for decays in (True, False):
                group = [p for p in trained if self.state[p].get("do_wd", True) is decays]
                if group:
                    self._update(group, hyper, hyper["wd"] if decays else 0.0)

    def zero_grad(self) -> None:
        for params in self.param_lists:
            for param in params:
                param.grad = None

    def _update(self, params: list[torch.Tensor], hyper: dict[str, float], wd: float) -> None:
        states = [self._state_of(param) for param in params]
        adamw(
            params,
            [param.grad for param in params if param.grad is not None],  # none is None
            [state["grad_avg"] for state in states],
            [state["sqr_avg"] for state in states],
            [],
            [state["step"] for state in states],
            fused=True,
            grad_scale=getattr(self, "grad_scale", None),
            found_inf=getattr(self, "found_inf", None),
            amsgrad=False,
            maximize=False,
            lr=hyper["lr"],
            beta1=hyper["mom"],
            beta2=hyper["sqr_mom"],
            weight_decay=wd,
            eps=hyper["eps"],
        )

    def _state_of(self, param: torch.Tensor) -> dict[str, Any]:
        state: dict[str, Any] = self.state[param]
        if "step" not in state:
            state["grad_avg"] = torch.zeros_like(param)
            state["sqr_avg"] = torch.zeros_like(param)
            state["step"] = torch.zeros((), dtype=torch.float32, device=param.device)
        return state
