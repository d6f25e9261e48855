"""A trained fastai net as timm's body and plain linear layers, which need no fastai.

At inference a batch norm is a scale and a shift, so it is folded into the linear layer behind it
(in double precision), and dropout does nothing: fastai's head becomes Linear, ReLU, Linear.
"""

from typing import Any

import torch
from fastai.vision.all import AdaptiveConcatPool2d, Flatten, Normalize
from fastai.vision.learner import TimmBody
from torch import nn

from pipeline.core.errors import PipelineError
from pipeline.names.features import PooledFeatures
from pipeline.predict.exported import Net, head_of


def net_of(model: nn.Sequential) -> Net:
    """The same function of images as the trained [body, head], on the CPU, in evaluation mode."""
    body, head = model[0], model[1]
    state = {name: value.float().contiguous() for name, value in folded(head).items()}
    inner: Any = body.model
    return Net(inner, head_of(state), features_of(body, head)).cpu().eval()


def features_of(body: nn.Module, head: nn.Module) -> str:
    """What of timm's model the head stands on: one of `exported.FEATURES`."""
    pools = [each for each in head.children() if _pools(each)]
    if isinstance(body, PooledFeatures):
        return "pre_logits" if body.has_head else "mean"
    if isinstance(body, TimmBody) and not body.needs_pool and not pools:
        return "vector"
    if isinstance(body, TimmBody) and body.needs_pool and pools:
        return "max_and_mean" if isinstance(pools[0], AdaptiveConcatPool2d) else "mean"
    raise PipelineError(f"a body {type(body).__name__} with this head cannot be exported")


def folded(head: nn.Module) -> dict[str, torch.Tensor]:
    """The state of `exported.head_of`: every batch norm folded into the linear layer behind it."""
    state: dict[str, torch.Tensor] = {}
    scale: Any = 1.0
    shift: Any = 0.0
    place = 0
    for layer in _layers(head):
        if isinstance(layer, nn.BatchNorm1d):
            assert layer.running_var is not None
            assert layer.running_mean is not None
            spread = torch.sqrt(layer.running_var.double() + layer.eps)
            scale = layer.weight.detach().double() / spread
            shift = layer.bias.detach().double() - layer.running_mean.double() * scale
        elif isinstance(layer, nn.Linear):
            weight = layer.weight.detach().double()
            offset = weight @ (shift + torch.zeros(weight.shape[1], dtype=torch.double)).to(weight)
            if layer.bias is not None:
                offset = offset + layer.bias.detach().double()
            state[f"{place}.weight"], state[f"{place}.bias"] = weight * scale, offset
            scale, shift, place = 1.0, 0.0, place + 1
        elif isinstance(layer, nn.ReLU):
            place += 1
        else:
            raise PipelineError(f"a head with {type(layer).__name__} cannot be exported")
    return {name: value.cpu() for name, value in state.items()}


def normalisation(learn: Any) -> tuple[list[float], list[float]]:
    """Mean and standard deviation that are taken off each channel, of values from 0 to 1."""
    (norm,) = [each for each in learn.dls.valid.after_batch.fs if isinstance(each, Normalize)]
    return norm.mean.flatten().tolist(), norm.std.flatten().tolist()


def _pools(layer: nn.Module) -> bool:
    return isinstance(layer, AdaptiveConcatPool2d | nn.AdaptiveAvgPool2d)


def _layers(head: nn.Module) -> list[nn.Module]:
    """The head's layers that compute something, those of fastai's blocks one by one."""
    found: list[nn.Module] = []
    for layer in head.children():
        if isinstance(layer, nn.Sequential):
            found += _layers(layer)
        elif not (_pools(layer) or isinstance(layer, Flatten | nn.Flatten | nn.Dropout)):
            found.append(layer)
    return found
