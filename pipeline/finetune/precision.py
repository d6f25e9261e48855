"""Half precision: the forward pass under torch's autocast, losses and weights in fp32.

On CUDA a recipe gets what it says. On a CPU fp16 and bf16 both mean bf16, where the processor and
the net gain from it, and fp32 elsewhere: the record says which. fastai's own callback leaves
autocast on when an epoch breaks off, and waits for the device twice a step; ours does neither.
"""

from typing import Any

import torch
from fastai.vision.all import Callback, CancelStepException, Learner
from torch.amp import GradScaler, autocast

from pipeline.finetune.speed import Speed, gains_from_bf16

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
