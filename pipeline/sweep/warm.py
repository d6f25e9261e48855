"""A worker that makes one run after another: what it puts back between them, and when it may go on.

A run in such a process must compute and record what it would in a fresh one. So the worker goes on
only after a run that ended well and left nothing behind: no thread, no child process, no memory on
the GPU, and no error of CUDA's, be it one that was caught, as that of memory that ran out.
"""

import gc
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from pipeline.hardware.machine import MIB

ATTRIBUTES = (
    ("backends.cudnn", "enabled"),
    ("backends.cudnn", "benchmark"),
    ("backends.cudnn", "deterministic"),
    ("backends.cudnn", "allow_tf32"),
    ("backends.mkldnn", "enabled"),
    ("backends.cuda.matmul", "allow_tf32"),
    ("backends.cuda.matmul", "allow_fp16_reduced_precision_reduction"),
    ("backends.cuda.matmul", "allow_bf16_reduced_precision_reduction"),
)
FUNCTIONS = (
    ("get_num_threads", "set_num_threads"),
    ("get_default_dtype", "set_default_dtype"),
    ("get_float32_matmul_precision", "set_float32_matmul_precision"),
    ("is_grad_enabled", "set_grad_enabled"),
    ("is_autocast_cache_enabled", "set_autocast_cache_enabled"),
    ("are_deterministic_algorithms_enabled", "use_deterministic_algorithms"),
)
LEFT_BYTES = MIB  # on the GPU, at most: no peak shows it


class Settings:
    """The process's variables and torch's global settings as they are now."""

    def __init__(self) -> None:
        self._variables = dict(os.environ)
        torch = sys.modules.get("torch")
        self._torch = {} if torch is None else _of_torch(torch)

    def restore(self) -> None:
        """Put back what differs by now."""
        for name in os.environ.keys() - self._variables.keys():
            del os.environ[name]
        os.environ.update(self._variables)
        if not self._torch:
            return
        torch = sys.modules["torch"]
        for (where, name), value in _of_torch(torch).items():
            before = self._torch[where, name]
            if value != before:
                setter = dict(FUNCTIONS).get(name)
                if setter is None:
                    setattr(_inner(torch, where), name, before)
                else:
                    getattr(torch, setter)(before)


def can_go_on(outs: Sequence[Path]) -> bool:
    """After a run that made `outs`: would another one in this process be as in a fresh one?"""
    if threading.active_count() > 1 or psutil.Process().children():
        return False
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is None:
        return True
    if any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")):
        return False
    if not torch.cuda.is_initialized():
        return True
    with suppress(RuntimeError):  # of an earlier error: every call fails from then on
        torch.cuda.synchronize()
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
        stats = torch.cuda.memory_stats()
        left = stats.get("allocated_bytes.all.current", 0)
        return bool(stats.get("num_ooms", 0) == 0 and left < LEFT_BYTES and not _failed(outs))
    return False


def _failed(outs: Sequence[Path]) -> bool:
    """Does a record tell of an error of the GPU's, such as one that ended the capture of a step?"""
    from pipeline.hardware.faults import GPU_FAULT

    return any(GPU_FAULT.search(each.read_text("utf-8")) for each in outs if each.is_file())


def _of_torch(torch: Any) -> dict[tuple[str, str], Any]:
    found = {(where, name): getattr(_inner(torch, where), name) for where, name in ATTRIBUTES}
    return found | {("", getter): getattr(torch, getter)() for getter, _ in FUNCTIONS}


def _inner(torch: Any, where: str) -> Any:
    for name in where.split("."):
        torch = getattr(torch, name)
    return torch
