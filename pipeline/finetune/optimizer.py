"""AdamW in one fused call per group of parameters, behind fastai's optimizer interface.

fastai's own AdamW walks over the parameters in Python and starts ten small operations for each. The
update is the same to rounding: rates and momentum of each step from fastai's schedule, no weight
decay where fastai sets `do_wd` to False (norms and biases), moments dropped when layers are frozen
or freed. `zero_grad` lets go of the gradients, so that backward writes instead of adding to zeros.
"""

from typing import Any

import torch
from fastai.optimizer import Optimizer
from torch.optim.adamw import adamw


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
