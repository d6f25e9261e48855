"""Whose fault an error is: the model's, the GPU's, the host's, or ours.

What torch, timm or fastai raise in a model is the model's failure, and a result. A bug of ours is
none: what this project's code raises, itself or in a library that is no part of training, keeps its
traceback and fails the stage. So do a broken GPU and a host without memory, in one line.
"""

import re
import traceback

import torch

from pipeline.core.errors import PipelineError, first_line

OURS = "pipeline"
THEIRS = {"torch", "torchvision", "timm", "fastai", "fastcore", "fasttransform"}
FASTAIS_WORDS = re.compile(r"Exception occured in `[^`]*` when calling event `[^`]*`:\s*")
GPUS_FAULT = re.compile("CUDA error|cuDNN error|CUBLAS_STATUS|NCCL error")
NO_MEMORY = re.compile("CUDA error: out of memory|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED")
HOSTS_MEMORY = "DefaultCPUAllocator"  # torch raises no MemoryError


class DoesNotFit(ValueError):
    """A net gives something else than one vector per image, or another width than it says."""


def lacks_memory(error: Exception) -> bool:
    """Did the GPU's memory not suffice, for torch or for a library below it?"""
    cause = _cause(error)
    return isinstance(cause, torch.cuda.OutOfMemoryError) or bool(NO_MEMORY.search(str(cause)))


def models_fault(error: Exception) -> str:
    """The reason in one line, its traceback printed; raises what is not the model's doing."""
    if isinstance(error, PipelineError | OSError | MemoryError):
        raise error
    if isinstance(error, DoesNotFit):
        return str(error)
    cause = _cause(error)
    reason = _said(cause)
    if HOSTS_MEMORY in str(cause):
        raise PipelineError(
            f"out of memory, which is no model's doing: {reason}: free some, or run fewer at a time"
        ) from None
    if GPUS_FAULT.search(str(cause)):
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

    Of its traceback the innermost frame decides that belongs to either: NumPy or Python's own
    library fails for whoever called it.
    """
    packages = [
        str(frame.f_globals.get("__name__")).partition(".")[0]
        for frame, _ in traceback.walk_tb(error.__traceback__)
    ]
    return next(
        (package for package in reversed(packages) if package == OURS or package in THEIRS), OURS
    )


def _cause(error: BaseException) -> BaseException:
    """What a callback of fastai's raised: fastai itself fails at an error without a text, and one
    that says nothing of its own has a cause that does."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    last = str(frames[-1].f_globals.get("__name__")) if frames else ""  # none of one never raised
    in_fastai = last == "fastai.callback.core"
    if isinstance(error, IndexError) and in_fastai and error.__context__ is not None:
        return error.__context__
    if error.__cause__ is not None and not FASTAIS_WORDS.sub("", str(error)).strip():
        return _cause(error.__cause__)
    return error


def _said(error: BaseException) -> str:
    name, text = type(error).__name__, FASTAIS_WORDS.sub("", str(error)).strip()
    return f"{name}: {first_line(text)}"[:300] if text else name
