"""What makes a fine-tune fast: the switches of `speed`, memory layout, precision, fused AdamW.

With all switches off a run is the 2022 script's, step by step: the same numbers, bit for bit, as
fastai's own loop, loaders and optimizer give. docs/performance.md says what each is worth.

Half precision: the forward pass runs under torch's autocast, losses and weights stay in fp32. On a
CPU fp16 and bf16 both mean bf16, where the processor and the net gain from it, and fp32 elsewhere.

AdamW is one fused call per group of parameters; fastai's own starts ten small operations for each
parameter. The update is the same to rounding: rates and momentum of each step from fastai's
schedule, no weight decay where fastai sets `do_wd` to False (norms and biases), moments dropped
when layers are frozen or freed.
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

from pipeline.core.errors import PipelineError

HOPPER = 9  # compute capability


@dataclass(frozen=True)
class Speed:
    """The switches. Exact: the same bits on a CPU. Equivalent: other rounding, the same errors."""

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
    for name in (each.name for each in fields(Speed)):
        if not isinstance(values.get(name), bool):
            raise PipelineError(f"speed.{name}={values.get(name)}: write true or false")
    return Speed(**values)


def gains_from_channels_last(model: nn.Module, device: torch.device) -> bool:
    """Whether this net's convolutions are no slower when they read memory channel by channel.

    On CUDA before Hopper grouped ones are slower (RegNet, ResNeXt), on a CPU depthwise ones with no
    batch norm (ConvNeXt): docs/performance.md. It is a rule, not a measurement at the start of a
    run, so that the same run computes the same.
    """
    if device.type == "cpu":
        norms = any(isinstance(each, nn.BatchNorm2d) for each in model.modules())
        return norms or not _has_depthwise(model)
    if cuda_generation(device) >= HOPPER:
        return True
    return not any(1 < each.groups < each.in_channels for each in _convolutions(model))


def cuda_generation(device: torch.device) -> int:
    """The major compute capability: 8 is Ampere and Ada, 9 Hopper; 0 where there is no such GPU."""
    return torch.cuda.get_device_capability(device)[0] if torch.cuda.is_available() else 0


def gains_from_bf16(model: nn.Module) -> bool:
    """Whether bf16 is faster than fp32 for this net on this CPU; depthwise convolutions are not."""
    return not _has_depthwise(model) and cpu_multiplies_bf16()


def cpu_multiplies_bf16(cpu_info: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor has instructions for bf16. Unknown (no Linux, no x86) is no."""
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
    """Scales fp16's loss so that small gradients survive; a step that overflows is left out.

    It is the scaler that calls the optimizer, so fastai's own call is cancelled.
    """

    order = 10  # as fastai's MixedPrecision: after gradients are accumulated

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
    """What a recipe's `wanted` means for this net on this device: fp32, fp16 or bf16."""
    if device.type == "cuda" or wanted == "fp32":
        return wanted
    return "bf16" if speed.bf16_on_cpu and gains_from_bf16(model) else "fp32"


def in_precision(learn: Learner, precision: str, speed: Speed) -> Learner:
    """`learn`, its forward passes in that precision."""
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
    """After a fit that broke off: fastai's callback would stay in half precision."""
    running = getattr(learn, "mixed_precision", None)
    if running is not None and torch.is_autocast_enabled(learn.dls.device.type):
        running.autocast.__exit__(None, None, None)


class FusedAdamW(Optimizer):
    """fastai's `Adam` with decoupled weight decay. Moments lie in `state` under fastai's names.

    With fp16 it is torch's `GradScaler` that calls `step`, after it has put `grad_scale` and
    `found_inf` here: the kernel then divides gradients by the one and does nothing where the other
    is 1, and nobody waits for the device to look.
    """

    _step_supports_amp_scaling = True  # tells GradScaler so

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
            [param.grad for param in params if param.grad is not None],  # all of them have one
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
