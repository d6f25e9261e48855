"""How a fine-tune ended, as fields of its record: a model's own faults are results, not accidents.

Running out of GPU memory fails the run, or, where the recipe says `oom: halve`, starts it again
with each batch in two parts, then four, whose gradients are added up: as many images a step, but
batch norm sees fewer of them at once, and the times rank nothing.

A bug of ours is no result: what this project's code raises, itself or in a library that is no part
of training, keeps its traceback and fails the stage.

`code_version` says which code made the record: a hash of what the trainer's modules do, not of how
they are written. Comments, docstrings and line breaks do not count.
"""

import hashlib
import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pipeline.core.errors import PipelineError, first_line
from pipeline.core.files import meaning_of
from pipeline.finetune import training
from pipeline.finetune.callbacks import Diverged, Epochs
from pipeline.hardware import machine
from pipeline.hardware.telemetry import Watch
from pipeline.records import Cost, Metrics, pack_counts, pack_predictions

PIPELINE = Path(__file__).parent.parent
MODULES = ("dataset/prepared.py", "finetune/*.py", "hardware/*.py", "names/*.py")
OURS = "pipeline"
THEIRS = {"torch", "torchvision", "timm", "fastai", "fastcore", "fasttransform"}
FASTAIS_WORDS = re.compile(r"Exception occured in `[^`]*` when calling event `[^`]*`:\s*")
GPUS_FAULT = re.compile("CUDA error|cuDNN error|CUBLAS_STATUS|NCCL error")
NO_MEMORY = re.compile("CUDA error: out of memory|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED")
HOSTS_MEMORY = "DefaultCPUAllocator"  # torch raises no MemoryError
Fields = dict[str, Any]


def train(run: training.Run, tell: Callable[[dict[str, Any]], None]) -> Fields:
    """Fine-tune, and say how it went; `tell` is called with each epoch's row."""
    fields: Fields = {}
    for each, parts in tries(run):
        fields, out_of_memory = _attempt(each, parts, tell)
        if not out_of_memory:
            break
    return fields


def tries(run: training.Run) -> Iterator[tuple[training.Run, int]]:
    """What to try while the GPU's memory does not suffice: a run, and its batches' parts."""
    graphs = run.speed.whole_step and run.device.type == "cuda"
    for parts in run.recipe.parts:
        yield run, parts
        if graphs:  # which take memory
            graphs = False
            run = replace(run, speed=replace(run.speed, whole_step=False))
            yield run, parts


def _attempt(run: training.Run, parts: int, tell: Any) -> tuple[Fields, bool]:
    """Fields of the record, and whether it was the GPU's memory that did not suffice.

    The error is gone when this returns, and with it all that its frames held on the device.
    """
    training.clear_peak_memory(run.device)
    total = run.recipe.frozen_epochs + run.recipe.epochs
    epochs = Epochs(tell=lambda row: tell({**row, "of": total}))
    watch = Watch(run.device)
    device: Fields = {}
    out_of_memory = False
    try:
        learn = training.seeded_learner(run, parts)
        device = {"precision": learn.precision}
        how = _ended_well(training.fit(learn, run.recipe, epochs, watch))
        device["step"] = training.step_mode(learn)
    except Diverged as error:
        how = {"status": "diverged", "reason": error.reason}
    except (PipelineError, OSError, MemoryError):
        raise
    except Exception as error:
        out_of_memory = lacks_memory(error)
        if out_of_memory:
            traceback.print_exception(error)
        reason = _out_of_memory(run, parts) if out_of_memory else models_fault(error)
        how = {"status": "failed", "reason": reason}
    measured = {**machine.peak_memory(run.device), "energy_wh": watch.energy_wh}
    warm = machine.is_warm()
    fields = {
        **how,
        "history": epochs.rows,
        "cost": Cost(**how.get("cost", {}), **measured, warm=warm),
        "device": {**device, "shared": watch.shared},
        "telemetry": watch.telemetry,
        "not_for_speed": _not_for_speed(run, parts, watch),
    }
    return fields, out_of_memory


def _ended_well(outcome: training.Outcome) -> Fields:
    countable = outcome.wrong.max() <= np.iinfo(np.uint8).max
    return {
        "status": "ok",
        "metrics": Metrics(**outcome.metrics),
        "test_metrics": Metrics(**outcome.test_metrics),
        "valid_wrong": pack_counts(outcome.wrong) if countable else None,
        "valid_predictions": pack_predictions(outcome.predictions),
        "cost": outcome.cost,
    }


def _out_of_memory(run: training.Run, parts: int) -> str:
    peak = machine.peak_memory(run.device)["peak_memory_reserved_gib"]
    reached = "" if peak is None else f", {peak:.1f} GiB reserved"
    return f"out of GPU memory at batch size {run.recipe.batch_size // parts}{reached}"


def _not_for_speed(run: training.Run, parts: int, watch: Watch) -> str | None:
    whole = run.recipe.batch_size
    halved = f"the batch was halved to {whole // parts}: out of GPU memory at {2 * whole // parts}"
    reasons = [*([halved] if parts > 1 else []), watch.not_for_speed]
    return "; ".join(reason for reason in reasons if reason) or None


def lacks_memory(error: Exception) -> bool:
    """Did the GPU's memory not suffice, for torch or for a library below it?"""
    cause = _cause(error)
    return isinstance(cause, torch.cuda.OutOfMemoryError) or bool(NO_MEMORY.search(str(cause)))


def models_fault(error: Exception) -> str:
    """The reason in one line, its traceback printed; raises what is not the model's doing."""
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
    in_fastai = str(frames[-1].f_globals.get("__name__")) == "fastai.callback.core"
    if isinstance(error, IndexError) and in_fastai and error.__context__ is not None:
        return error.__context__
    if error.__cause__ is not None and not FASTAIS_WORDS.sub("", str(error)).strip():
        return _cause(error.__cause__)
    return error


def _said(error: BaseException) -> str:
    name, text = type(error).__name__, FASTAIS_WORDS.sub("", str(error)).strip()
    return f"{name}: {first_line(text)}"[:300] if text else name


@cache
def code_version() -> str:
    """Twelve digits that are equal for records that can be compared."""
    files = [path for pattern in MODULES for path in sorted(PIPELINE.glob(pattern))]
    told = [meaning_of(path.read_text(encoding="utf-8")) for path in files]
    return hashlib.sha256("\n".join(told).encode()).hexdigest()[:12]
