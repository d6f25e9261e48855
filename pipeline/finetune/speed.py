"""What makes a fine-tune fast, each switch by itself (`speed` in conf/finetune.yaml).

With all of them off a run is the 2022 script's, step by step: the same numbers, bit for bit, as
fastai's own loop, loaders and optimizer give. docs/performance.md says what each is worth.
"""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from pipeline.core.errors import PipelineError


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

    On CUDA grouped ones are (RegNet, ResNeXt), on a CPU depthwise ones with no batch norm
    (ConvNeXt): docs/performance.md. It is a rule, not a measurement at the start of a run, so that
    the same run computes the same.
    """
    if device.type == "cpu":
        norms = any(isinstance(each, nn.BatchNorm2d) for each in model.modules())
        return norms or not _has_depthwise(model)
    return not any(1 < each.groups < each.in_channels for each in _convolutions(model))


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
