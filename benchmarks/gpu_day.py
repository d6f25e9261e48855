"""What a GPU says of our fits: exactness of captured steps, speed, use, start-up, a whole sweep.

    benchmarks/gpu_day.sh OUT IMAGES       (IMAGES: the folder that conf/dataset/pets.yaml takes)

Runs each stage in a process of its own with a time limit, so that one that fails stops no other.
Writes OUT/gpu_day.jsonl, a row per measurement, and OUT/gpu_day.md. Needs no network: weights are
random, which is all the same for times. `--device cpu --tiny` tries the script itself.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from fastai.vision.all import Learner
from torch import nn

from benchmarks.finetune_speed import job_of, prepared_in
from benchmarks.project_copy import copy_project
from benchmarks.random_weights import save_random_weights
from benchmarks.speed_arms import Job, learner_of
from pipeline.dataset.prepared import open_prepared
from pipeline.finetune import training
from pipeline.finetune.recipe import Recipe
from pipeline.finetune.speed import Speed
from pipeline.hardware import machine

FIVE = [
    "resnet18.tv_in1k",
    "tf_efficientnet_lite0.in1k",
    "vit_small_patch16_224.augreg_in21k_ft_in1k",
    "convnext_tiny.fb_in1k",
    "swin_tiny_patch4_window7_224.ms_in1k",
]
ALSO_EXACT = ["levit_128s.fb_dist_in1k"]
DEPTHWISE = ["tf_efficientnet_lite0.in1k", "convnext_tiny.fb_in1k", "mobilenetv3_large_100.ra_in1k"]
TINY = ["test_resnet.r160_in1k", "test_vit.r160_in1k"]
SWEPT = FIVE[:4]  # the sixteen records of November 2026 are of these, four seeds each
SWEEPS = [  # arm, options, seeds
    ("one at a time", ["--jobs", "1"], [0, 1, 2, 3]),
    ("packed", ["--gpus-per-run", "auto"], [4, 5, 6, 7]),
]
SECONDS_TO_END = 15  # for a stage that reached its limit and was asked to end
COPIES = 8  # of each photo: a fit of a few hundred steps
LIMITS_SECONDS = {"exact": 150, "speed": 240, "busy": 60, "start": 150, "sweep": 180}
Row = dict[str, Any]


def main() -> None:
    given = arguments()
    if given.stage:
        for row in STAGES[given.stage](given):
            print("ROW " + json.dumps(row), flush=True)
        return
    given.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = [environment()]
    for stage in given.stages:
        rows += stage_rows(stage, given)
        lines = "".join(json.dumps(row) + "\n" for row in rows)
        (given.out / "gpu_day.jsonl").write_text(lines, encoding="utf-8")
    page = markdown(rows)
    (given.out / "gpu_day.md").write_text(page, encoding="utf-8")
    print(page)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="two small nets at 32 pixels")
    parser.add_argument("--stages", nargs="+", default=list(LIMITS_SECONDS))
    parser.add_argument("--models", nargs="+")
    parser.add_argument("--stage", choices=LIMITS_SECONDS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.recipe, given.epochs, given.threads = "fastai2022", 1, 4
    given.workers = 0 if given.tiny else 8
    given.image_size = 32 if given.tiny else 224
    return given


def environment() -> Row:
    cuda = torch.cuda.is_available()
    name = torch.cuda.get_device_name() if cuda else "CPU"
    versions = {"torch": torch.__version__, "cuda": torch.version.cuda}
    return {"stage": "environment", "device": name, "cores": os.cpu_count(), **versions}


def stop(process: "subprocess.Popen[bytes]") -> None:
    """End a stage with all it started: a sweep ends its own runs when it is asked to."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(SECONDS_TO_END)


def stage_rows(stage: str, given: argparse.Namespace) -> list[Row]:
    """The rows that a stage printed, and one that says how it ended."""
    words = [sys.executable, "-m", "benchmarks.gpu_day", *sys.argv[1:], "--stage", stage]
    started, ended = time.perf_counter(), "well"
    with (given.out / f"{stage}.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            words, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            if process.wait(LIMITS_SECONDS[stage]):
                ended = f"exit code {process.returncode}"
        except subprocess.TimeoutExpired:
            ended = f"stopped after {LIMITS_SECONDS[stage]} s"
        finally:  # also what it started, and where the user has had enough
            stop(process)
    seconds = time.perf_counter() - started
    said = (given.out / f"{stage}.log").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line[4:]) for line in said if line.startswith("ROW ")]
    print(f"{stage}: {len(rows)} rows, {seconds:.0f} s, ended {ended}", flush=True)
    return [*rows, {"stage": stage, "ended": ended, "seconds": seconds}]


def models_of(given: argparse.Namespace, default: list[str]) -> list[str]:
    return given.models or (TINY if given.tiny else default)


@contextmanager
def jobs(given: argparse.Namespace) -> Iterator[Callable[[str], Job]]:
    """A function from a model to the job of fitting it on `COPIES` copies of each photo."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = folder / "photos/images"
        images.mkdir(parents=True)
        for file in sorted((given.images / "images").glob("*.jpg")):
            breed, _, number = file.stem.rpartition("_")
            for copy in range(COPIES):
                shutil.copy(file, images / f"{breed}_{copy + 1}{int(number):04d}.jpg")
        given = argparse.Namespace(**{**vars(given), "images": folder / "photos"})
        prepared = prepared_in(folder / "data", given)
        yield lambda model: job_of(model, prepared, folder, given)


def fitted(job: Job, whole_step: bool) -> tuple[Row, dict[str, torch.Tensor]]:
    """One fit of ours in this process: seconds, mode, peak memory; and its weights."""
    device = torch.device(job.device)
    machine.clear_peak_memory(device)
    learn = our_learner(job, whole_step)
    seconds = timed(learn, job.recipe, device)
    memory = torch.cuda.max_memory_reserved() / 2**30 if device.type == "cuda" else None
    row = {
        "model": job.model,
        "arm": "whole" if whole_step else "loop",
        "seconds": seconds,
        "peak_gib": memory,
        "mode": training.step_mode(learn),
        "losses": [float(value) for value in learn.recorder.values[-1]],
    }
    weights = {key: value.detach().cpu() for key, value in learn.model.state_dict().items()}
    return row, weights


def our_learner(job: Job, whole_step: bool) -> Learner:
    """The product's learner of this job, with seed 0, its steps captured or not."""
    data, device = open_prepared(job.data), torch.device(job.device)
    switches = replace(Speed(), whole_step=whole_step)
    return training.seeded_learner(
        training.Run(data, job.recipe, job.model, job.weights, 0, job.image_size, device, switches)
    )


def timed(learn: Any, recipe: Recipe, device: torch.device) -> float:
    finish(device)
    started = time.perf_counter()
    with learn.no_bar(), learn.no_logging():
        learn.fine_tune(
            recipe.epochs, recipe.lr, freeze_epochs=recipe.frozen_epochs, lr_mult=recipe.lr_mult
        )
    finish(device)
    return time.perf_counter() - started


def finish(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def exact(given: argparse.Namespace) -> Iterator[Row]:
    """Captured and uncaptured fits under deterministic algorithms: the same bits?"""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    with jobs(given) as job_of_model:
        for model in models_of(given, [*FIVE, *ALSO_EXACT]):
            (loop, expected), (whole, found) = (
                fitted(job_of_model(model), whole_step) for whole_step in (False, True)
            )
            furthest = max(
                float((found[key].float() - value.float()).abs().max())
                for key, value in expected.items()
            )
            same = all(torch.equal(found[key], value) for key, value in expected.items())
            yield {
                "stage": "exact",
                "model": model,
                "mode": whole["mode"],
                "same_bits": same,
                "furthest_weight": furthest,
                "losses": [loop["losses"], whole["losses"]],
            }


def speed(given: argparse.Namespace) -> Iterator[Row]:
    """Three arms in turns, in one warm process: the second round counts."""
    with jobs(given) as job_of_model:
        for model in models_of(given, FIVE):
            job = job_of_model(model)
            for turn in range(2):
                for arm in ("script", "loop", "whole"):
                    if arm == "script":
                        machine.clear_peak_memory(torch.device(job.device))
                        learn = learner_of(replace(job, arm="script"))
                        seconds = timed(learn, job.recipe, torch.device(job.device))
                        row: Row = {"model": model, "arm": arm, "seconds": seconds}
                        del learn
                    else:
                        row, _ = fitted(job, arm == "whole")
                    yield {"stage": "speed", "round": turn, **row}


def busy(given: argparse.Namespace) -> Iterator[Row]:
    """The share of an epoch's wall time in which kernels ran, by torch's profiler."""
    with jobs(given) as job_of_model:
        for model in models_of(given, FIVE[:1]):
            job = job_of_model(model)
            for whole_step in (False, True):
                device = torch.device(job.device)
                learn = our_learner(replace(job, recipe=replace(job.recipe, epochs=4)), whole_step)
                learn.unfreeze()
                share: list[float] = []
                with learn.no_bar(), learn.no_logging(), learn.added_cbs(Profiled(share, device)):
                    learn.fit_one_cycle(4, 1e-3)
                arm = "whole" if whole_step else "loop"
                yield {"stage": "busy", "model": model, "arm": arm, "busy_share": share}


class Profiled(training.Callback):
    """Of each training epoch after the second: seconds of kernels over seconds of wall time."""

    order = -20

    def __init__(self, share: list[float], device: torch.device) -> None:
        self.share, self.device = share, device

    def before_train(self) -> None:
        finish(self.device)
        kinds = [torch.profiler.ProfilerActivity.CUDA] if self.device.type == "cuda" else None
        self.profile = torch.profiler.profile(activities=kinds)
        self.profile.__enter__()
        finish(self.device)
        self.started = time.perf_counter()

    def after_train(self) -> None:
        finish(self.device)
        seconds = time.perf_counter() - self.started
        self.profile.__exit__(None, None, None)
        kernels = sum(event.self_device_time_total for event in self.profile.key_averages())
        self.share.append(kernels / 1e6 / seconds)


def start(given: argparse.Namespace) -> Iterator[Row]:
    """First and later steps of nets with depthwise convolutions, with cuDNN and without it there.

    Each net in a fresh process, since what happens once per process is the question.
    """
    models = models_of(given, DEPTHWISE)
    code = "from benchmarks.gpu_day import first_steps; first_steps({!r}, {!r}, {}, {})"
    for model in models:
        for native in (False, True):
            words = code.format(model, given.device, given.image_size, native)
            done = subprocess.run(
                [sys.executable, "-c", words], capture_output=True, text=True, check=False
            )
            found = [line[4:] for line in done.stdout.splitlines() if line.startswith("ROW ")]
            yield json.loads(found[0]) if found else failed_start(model, done.stderr[-800:])


def failed_start(model: str, error: str) -> Row:
    return {"stage": "start", "model": model, "error": error}


def first_steps(model: str, device_name: str, image_size: int, native: bool) -> None:
    """Print seconds of the first step and the median of later ones, forward and backward."""
    import timm

    device = torch.device(device_name)
    if native:
        depthwise_without_cudnn()
    net = timm.create_model(model, num_classes=37).to(device).to(memory_format=torch.channels_last)
    images = torch.rand(32, 3, image_size, image_size, device=device)
    images = images.contiguous(memory_format=torch.channels_last)
    seconds = []
    for _ in range(23):
        finish(device)
        started = time.perf_counter()
        with torch.autocast(device.type, torch.bfloat16 if device.type == "cpu" else torch.float16):
            loss = net(images).float().logsumexp(1).mean()
        loss.backward()
        finish(device)
        seconds.append(time.perf_counter() - started)
    row: Row = {"stage": "start", "model": model, "depthwise": "native" if native else "cudnn"}
    row |= {"first_seconds": seconds[0], "second_seconds": seconds[1]}
    print("ROW " + json.dumps({**row, "later_ms": 1e3 * median(seconds[3:])}), flush=True)


def depthwise_without_cudnn() -> None:
    """Let depthwise convolutions use PyTorch's own kernels."""
    forward = nn.Conv2d._conv_forward

    def own(self: nn.Conv2d, *arguments: Any) -> torch.Tensor:
        if self.groups == self.in_channels > 1:
            with torch.backends.cudnn.flags(enabled=False):
                return forward(self, *arguments)
        return forward(self, *arguments)

    setattr(nn.Conv2d, "_conv_forward", own)  # noqa: B010 - mypy knows no other way


def sweep(given: argparse.Namespace) -> Iterator[Row]:
    """Four nets and four seeds on the digits at 224 pixels, by `pipeline.sweep`: wall seconds.

    Then four more seeds of each, packed as the first ones' records say.
    """
    models = models_of(given, SWEPT)
    with tempfile.TemporaryDirectory() as name:
        folder, weights = Path(name) / "project", Path(name) / "weights"
        copy_project(folder)
        weights.mkdir()
        for model in models:
            save_random_weights(model, weights)
        (folder / ".dvc").mkdir(exist_ok=True)
        (folder / ".dvc/config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
        (folder / "conf/weights/folder.yaml").write_text(
            f"_target_: pipeline.finetune.weights.folder\npath: {weights}\n", encoding="utf-8"
        )
        changes = [
            "grid.datasets=[digits]",
            f"grid.models=[{', '.join(models)}]",
            "grid.recipes=[fastai2022]",
            f"image_size={given.image_size}",
            "weights=folder",
        ]
        run(folder, "pipeline.change", *changes)
        run(folder, "dvc", "repro", "--quiet", "dataset")
        for arm, options, seeds in SWEEPS if given.device == "cuda" else SWEEPS[:1]:
            seeds = seeds[:1] if given.tiny else seeds
            run(folder, "pipeline.change", f"grid.seeds={seeds}")
            started = time.perf_counter()
            run(folder, "pipeline.sweep", "finetune", *options)
            seconds = time.perf_counter() - started
            records = [json.loads(each.read_text()) for each in folder.glob("data/runs/**/*.json")]
            records = [each for each in records if each["seed"] in seeds]
            fits = {f"{each['model']} {each['seed']}": each["cost"] for each in records}
            cells = len(records)
            yield {"stage": "sweep", "arm": arm, "cells": cells, "seconds": seconds, "fits": fits}


def run(folder: Path, module: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", module, *words], cwd=folder, check=True)


STAGES: dict[str, Callable[[argparse.Namespace], Iterator[Row]]] = {
    "exact": exact,
    "speed": speed,
    "busy": busy,
    "start": start,
    "sweep": sweep,
}


def markdown(rows: list[Row]) -> str:
    """The rows as tables for people."""
    lines = [", ".join(f"{key} {value}" for key, value in rows[0].items() if key != "stage"), ""]
    for stage in LIMITS_SECONDS:
        found = [row for row in rows[1:] if row["stage"] == stage]
        if found:
            lines += [f"## {stage}", "", *TABLES[stage](found), ""]
    return "\n".join(lines)


def speed_table(rows: list[Row]) -> list[str]:
    lines = ["| model | script s | loop s | whole s | loop / whole | script / whole | peak GiB |"]
    lines.append("| --- | --- | --- | --- | --- | --- | --- |")
    warm = {(row["model"], row["arm"]): row for row in rows if row.get("round") == 1}
    for model in dict.fromkeys(model for model, _ in warm):
        of = [warm.get((model, arm), {}) for arm in ("script", "loop", "whole")]
        script, loop, whole = (each.get("seconds", float("nan")) for each in of)
        peaks = f"{of[1].get('peak_gib')} -> {of[2].get('peak_gib')} {of[2].get('mode')}"
        cells = [f"{script:.2f}", f"{loop:.2f}", f"{whole:.2f}", f"{loop / whole:.2f}"]
        lines.append("| " + " | ".join([model, *cells, f"{script / whole:.2f}", peaks]) + " |")
    return [*lines, *ends(rows)]


def plain_table(rows: list[Row]) -> list[str]:
    return [*(f"- {json.dumps(row)}" for row in rows if "ended" not in row), *ends(rows)]


def ends(rows: list[Row]) -> list[str]:
    return [f"({row['seconds']:.0f} s, ended {row['ended']})" for row in rows if "ended" in row]


TABLES = dict.fromkeys(LIMITS_SECONDS, plain_table) | {"speed": speed_table}

if __name__ == "__main__":
    main()
