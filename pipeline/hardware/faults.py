"""Whose fault an error is: the model's, the GPU's, the host's, or this project's.

An error that torch, timm or fastai raise while they run a model is a failure of the model, which is
a result. A bug in this project is not: an error raised by the project's own code, or by a library
that it calls outside training, keeps its traceback and fails the stage. If the GPU is broken or the
host is out of memory, the stage fails with one line.
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
HOST_OUT_OF_MEMORY = "DefaultCPUAllocator"  # in torch's RuntimeError; it raises no MemoryError


class DoesNotFit(ValueError):
    """A network does not take images of this size or see all of them, or its output is not one
    vector per image or has another width than it declares.
    """


def lacks_memory(error: Exception) -> bool:
    """Whether torch, or a library that it uses, ran out of GPU memory."""
    cause = _cause(error)
    return isinstance(cause, torch.cuda.OutOfMemoryError) or bool(
        GPU_OUT_OF_MEMORY.search(str(cause))
    )


def models_fault(error: Exception) -> str:
    """The reason for the model's failure, as one line for its record; prints the traceback.

    If the error is not the model's fault, raises `error`, or a `PipelineError` in its place.
    """
    if isinstance(error, PipelineError | OSError | MemoryError):
        raise error
    if isinstance(error, DoesNotFit):
        return str(error)
    cause = _cause(error)
    reason = _reason(cause)
    if HOST_OUT_OF_MEMORY in str(cause):
        raise PipelineError(
            f"the host ran out of memory, which is not the model's fault: {reason}: free some "
            "memory, or run fewer fine-tunes at a time"
        ) from None
    if GPU_FAULT.search(str(cause)):
        raise PipelineError(
            f"the GPU failed, which is not the model's fault: {reason}: check nvidia-smi and the "
            "system log"
        ) from None
    if raised_by(cause) == OURS:
        raise error
    traceback.print_exception(error)
    return reason


def raised_by(error: BaseException) -> str:
    """`OURS`, or the package in `THEIRS` that raised the error.

    This is the package of the innermost frame that belongs to either, so an error in NumPy or in
    Python's standard library is attributed to its caller.
    """
    packages = [
        str(frame.f_globals.get("__name__")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return next(
        (package for package in reversed(packages) if package == OURS or package in THEIRS), OURS
    )


def _cause(error: BaseException) -> BaseException:
    """The error that a fastai callback raised.

    fastai wraps it in an error of its own, and fails with an IndexError if it has no text.
    """
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    last = str(frames[-1].f_globals.get("__name__")) if frames else ""  # "" if it was never raised
    in_fastai = last == "fastai.callback.core"
    if isinstance(error, IndexError) and in_fastai and error.__context__ is not None:
        return error.__context__
    if error.__cause__ is not None and not FASTAIS_PREFIX.sub("", str(error)).strip():
        return _cause(error.__cause__)
    return error


def _reason(error: BaseException) -> str:
    name, text = type(error).__name__, FASTAIS_PREFIX.sub("", str(error)).strip()
    return f"{name}: {first_line(text)}"[:300] if text else name
