"""Whose fault an error is: the model's, the GPU's, the host's, or ours.

What torch, timm or fastai raise in a model is the model's failure, which is a result. A bug of ours
is not: what this project's code raises, itself or in a library that is no part of training, keeps
its traceback and fails the stage. A broken GPU or a host without memory fails it in one line.
"""

import re
import traceback

import torch

from pipeline.core.errors import PipelineError, first_line

OURS = "pipeline"
THEIRS = {"torch", "torchvision", "timm", "fastai", "fastcore", "fasttransform"}
FASTAIS_PREFIX = re.compile(r"Exception occured in `[^`]*` when calling event `[^`]*`:\s*")
GPU_FAULT = re.compile("CUDA error|cuDNN error|CUBLAS_STATUS|NCCL error")
GPU_OUT_OF_MEMORY = re.compile("CUDA error: out of memory|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED")
HOST_OUT_OF_MEMORY = "DefaultCPUAllocator"  # torch raises no MemoryError


class DoesNotFit(ValueError):
    """A net gives something else than one vector per image, or another width than it says."""


def lacks_memory(error: Exception) -> bool:
    """Did torch, or a library that it uses, run out of GPU memory?"""
    cause = _cause(error)
    return isinstance(cause, torch.cuda.OutOfMemoryError) or bool(
        GPU_OUT_OF_MEMORY.search(str(cause))
    )


def models_fault(error: Exception) -> str:
    """The reason in one line, for a record; the traceback is printed.

    Raises `error`, or a `PipelineError` in its place, where it is not the model's fault.
    """
    if isinstance(error, PipelineError | OSError | MemoryError):
        raise error
    if isinstance(error, DoesNotFit):
        return str(error)
    cause = _cause(error)
    reason = _reason(cause)
    if HOST_OUT_OF_MEMORY in str(cause):
        raise PipelineError(
            f"out of memory, which is no model's doing: {reason}: free some, or run fewer at a time"
        ) from None
    if GPU_FAULT.search(str(cause)):
        raise PipelineError(
            f"the GPU failed, which is no model's doing: {reason}: look at "
            "nvidia-smi and the system's log"
        ) from None
    if raised_by(cause) == OURS:
        raise error
    traceback.print_exception(error)
    return reason


def raised_by(error: BaseException) -> str:
    """`OURS`, or the package of `THEIRS` that raised it.

    The innermost frame of the traceback that belongs to either decides: an error in NumPy or in
    Python's own library is its caller's.
    """
    packages = [
        str(frame.f_globals.get("__name__")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return next(
        (package for package in reversed(packages) if package == OURS or package in THEIRS), OURS
    )


def _cause(error: BaseException) -> BaseException:
    """The error that a callback of fastai's raised: fastai wraps errors in its own, and fails with
    an IndexError at one without a text.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    last = str(frames[-1].f_globals.get("__name__")) if frames else ""  # none of one never raised
    in_fastai = last == "fastai.callback.core"
    if isinstance(error, IndexError) and in_fastai and error.__context__ is not None:
        return error.__context__
    if error.__cause__ is not None and not FASTAIS_PREFIX.sub("", str(error)).strip():
        return _cause(error.__cause__)
    return error


def _reason(error: BaseException) -> str:
    name, text = type(error).__name__, FASTAIS_PREFIX.sub("", str(error)).strip()
    return f"{name}: {first_line(text)}"[:300] if text else name
