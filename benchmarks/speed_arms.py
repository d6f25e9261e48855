"""The two implementations that `finetune_speed` compares, and the measurements of a fit.

`script` is the 2022 recipe written out: images decoded and resized again each time by fastai's item
transforms, in worker processes, fastai's own AdamW, mixed precision where there is CUDA. `ours` is
the pipeline's trainer, from the prepared array.
"""

import resource
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from fastai.vision.all import (
    CrossEntropyLossFlat,
    Datasets,
    IntToFloatTensor,
    Learner,
    PILImage,
    Resize,
    TensorCategory,
    ToTensor,
    accuracy,
    vision_learner,
)

from benchmarks.floor import floor_seconds, rates_of, work_of_a_step
from benchmarks.phases import cpu_seconds, synchronised_seconds, watch_phases
from benchmarks.step_counts import Looks, Operations, counts_of_a_step, profiled_step
from pipeline.dataset.prepared import Prepared, open_prepared
from pipeline.finetune import training
from pipeline.finetune.recipe import Recipe
from pipeline.finetune.speed import Speed
from pipeline.finetune.weights import Weights
from pipeline.hardware import machine
from pipeline.names.vision_learner import NEEDS_OVERLAY, fit_of

ARMS = ("script", "ours")


@dataclass(frozen=True)
class Job:
    """One fit of one arm. `by_phase` waits for CUDA at each phase, so its totals are not used."""

    arm: str
    model: str
    weights: Weights
    seed: int
    recipe: Recipe
    data: Path
    images: Path
    image_size: int
    device: str
    threads: int
    workers: int
    by_phase: bool = False


def learner_of(job: Job) -> Learner:
    """The arm's learner, seeded and ready to fit."""
    data, device = open_prepared(job.data), torch.device(job.device)
    if job.arm == "ours":
        run = training.Run(
            data, job.recipe, job.model, job.weights, job.seed, job.image_size, device, Speed()
        )
        return training.seeded_learner(run)
    training.seed_everything(job.seed)
    dls = script_loaders(data, job, device)
    training.seed_everything(job.seed)
    overlay = dict(job.weights.overlay)
    if fit_of(job.model) is NEEDS_OVERLAY:
        overlay["pool_size"] = None
    learn = vision_learner(
        dls,
        job.model,
        n_out=len(data.classes),
        loss_func=CrossEntropyLossFlat(),
        metrics=[accuracy],
        pretrained_cfg_overlay=overlay,
    )
    return learn.to_fp16() if device.type == "cuda" else learn


def script_loaders(data: Prepared, job: Job, device: torch.device) -> Any:
    """fastai's loaders over the image files, in the prepared dataset's order and split."""
    datasets = Datasets(
        range(len(data.files)),
        tfms=[
            [lambda row: PILImage.create(job.images / data.files[row])],
            [lambda row: TensorCategory(torch.tensor(data.labels[row]))],
        ],
        splits=(data.rows("train").tolist(), data.rows("valid").tolist()),
    )
    return datasets.dataloaders(
        bs=job.recipe.batch_size,
        after_item=[Resize(job.image_size, method="squish"), ToTensor()],
        after_batch=[IntToFloatTensor()],
        num_workers=job.workers,
        device=device,
    )


def fit(job: Job) -> dict[str, Any]:
    """Fit once, in this process: seconds, phases, error and memory."""
    learn = _prepared_learner(job)
    clock = None
    if job.device == "cpu" or job.by_phase:
        clock = watch_phases(learn, cpu_seconds if job.device == "cpu" else synchronised_seconds)
    recipe = job.recipe
    before = _seconds(job)
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(
            recipe.epochs, recipe.lr, freeze_epochs=recipe.frozen_epochs, lr_mult=recipe.lr_mult
        )
    used = {name: value - before[name] for name, value in _seconds(job).items()}
    phases: dict[str, float] = {}
    if clock:
        clock.switch("other")
        phases = {**clock.seconds, "data": clock.seconds["data"] + used["workers_cpu"]}
    return {
        "arm": job.arm,
        "model": job.model,
        "seed": job.seed,
        "precision": getattr(learn, "precision", "fp32" if job.device == "cpu" else "fp16"),
        "steps": len(learn.dls.train) * (recipe.epochs + recipe.frozen_epochs),
        "cpu_seconds": used["cpu"] + used["workers_cpu"],
        "wall_seconds": used["wall"],
        "phases": phases,
        "error_rate": 1 - float(learn.recorder.values[-1][-1]),
        "peak_gib": _peak_gib(job),
    }


def counts(job: Job) -> dict[str, Any]:
    """Of one training step: operations dispatched, and looks that wait for the device."""
    found: dict[str, Any] = {"arm": job.arm, "model": job.model}
    for name, counter in (("operations", Operations()), ("looks", Looks())):
        learn = _prepared_learner(job)
        learn.unfreeze()
        found[name] = counts_of_a_step(learn, counter).total()
    return found


def against_floor(job: Job) -> dict[str, Any]:
    """On CUDA: kernels and seconds of a step, the GPU's busy share, and the step's floor."""
    learn = _prepared_learner(job)
    learn.unfreeze()
    kernels, busy, seconds = profiled_step(learn)
    dtype = torch.float16 if job.recipe.precision == "fp16" else torch.bfloat16
    least = floor_seconds(work_of_a_step(learn), rates_of(torch.device(job.device), dtype))
    return {
        "arm": job.arm,
        "model": job.model,
        "kernels": kernels,
        "busy_share": busy / seconds,
        "step_seconds": seconds,
        "floor_seconds": least,
    }


def _prepared_learner(job: Job) -> Learner:
    torch.set_num_threads(job.threads)
    if job.arm == "ours" and job.device == "cpu":
        machine.keep_freed_memory()
    return learner_of(job)


def _seconds(job: Job) -> dict[str, float]:
    if job.device != "cpu":
        torch.cuda.synchronize()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu": time.process_time(),
        "workers_cpu": children.ru_utime + children.ru_stime,
        "wall": time.perf_counter(),
    }


def _peak_gib(job: Job) -> float:
    """The device's reserved memory, on a CPU the process's."""
    memory = machine.peak_memory(torch.device(job.device))
    return float(memory["peak_rss_gib" if job.device == "cpu" else "peak_memory_reserved_gib"] or 0)
