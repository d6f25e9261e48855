"""Random weights in a file, for benchmarks: times and memory are those of pretrained ones."""

from pathlib import Path

import safetensors.torch
import timm
import torch


def save_random_weights(model: str, folder: Path) -> None:
    """Write FOLDER/MODEL.safetensors, where source `folder` finds it; the same at each call."""
    torch.manual_seed(0)
    state = timm.create_model(model).state_dict()
    safetensors.torch.save_file(state, folder / f"{model}.safetensors")
