"""How a fine-tune ended, as fields of its record. A failure of the model is a result, not a crash.

When the GPU runs out of memory, the run fails, unless the recipe says `oom: halve`. It is then
started again with gradient accumulation over two micro-batches per step, then four, and so on. The
number of images per step stays the same, but batch norm sees fewer of them at a time, and the run's
times are not used to rank models.

`code_version` identifies the code that made the record. It is a hash of the syntax trees of the
modules used in training, so comments, docstrings and line breaks do not change it.
"""

import hashlib
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.core.files import meaning_of
from pipeline.finetune import training
from pipeline.finetune.callbacks import Diverged, Epochs
from pipeline.hardware import machine
from pipeline.hardware.faults import lacks_memory, models_fault
from pipeline.hardware.telemetry import Watch
from pipeline.records import Cost, Metrics, pack_counts, pack_predictions

PIPELINE = Path(__file__).parent.parent
MODULES = ("dataset/prepared.py", "finetune/*.py", "hardware/*.py", "names/*.py")
Fields = dict[str, Any]


def train(run: training.Run, tell: Callable[[dict[str, Any]], None]) -> Fields:
    """Fine-tune and return the record's fields; `tell` is called with each epoch's row."""
    fields: Fields = {}
    for each, parts in tries(run):
        fields, out_of_memory = _attempt(each, parts, tell)
        if not out_of_memory:
            break
    return fields


def tries(run: training.Run) -> Iterator[tuple[training.Run, int]]:
    """What to try, in order, until the GPU's memory suffices.

    Yields the run and the number of micro-batches per step.
    """
    graphs = run.speed.whole_step and run.device.type == "cuda"
    for parts in run.recipe.parts:
        yield run, parts
        if graphs:  # CUDA graphs take memory: try without them before using smaller batches
            graphs = False
            run = replace(run, speed=replace(run.speed, whole_step=False))
            yield run, parts


def _attempt(run: training.Run, parts: int, tell: Any) -> tuple[Fields, bool]:
    """The record's fields, and whether the GPU ran out of memory.

    No reference to the error outlives this function, because its frames hold tensors on the GPU.
    """
    machine.clear_peak_memory(run.device)
    total = run.recipe.frozen_epochs + run.recipe.epochs
    watch = Watch(run.device)

    def tell_more(row: Fields) -> None:
        tell({**row, "of": total, "elapsed_seconds": watch.elapsed_seconds()})

    epochs = Epochs(tell=tell_more)
    device: Fields = {}
    out_of_memory = False
    try:
        learn = training.seeded_learner(run, parts)
        device = {"precision": learn.precision}
        how = _ended_well(training.fit(learn, run.recipe, epochs, watch))
        device["step"] = training.step_mode(learn)
    except Diverged as error:
        how = {"status": "diverged", "reason": error.reason}
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


@cache
def code_version(*more: str) -> str:
    """Twelve hexadecimal digits that are equal for records made by equivalent code.

    `more` are glob patterns, relative to pipeline/, of further modules that affect the record.
    """
    files = [path for pattern in (*MODULES, *more) for path in sorted(PIPELINE.glob(pattern))]
    trees = [meaning_of(path.read_text(encoding="utf-8")) for path in files]
    return hashlib.sha256("\n".join(trees).encode()).hexdigest()[:12]
