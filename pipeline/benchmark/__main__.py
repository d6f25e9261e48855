"""Stage `benchmark`: how fast one model infers and trains on this machine, and in what memory.

Reads neither images nor weights, only timm; writes `out`, one JSON file. timm publishes speed by
architecture, without the tag of the weights, so the model is timed as timm's default of its
architecture. That a model does not take the size, or needs too much memory, is a result: the exit
code is 0.
"""

import os
import signal
from datetime import UTC, datetime
from pathlib import Path

from omegaconf import DictConfig

from pipeline.benchmark.timings import Layout, ModelTimings, Timing, write_timings
from pipeline.configuration import hydra_app
from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.processes import end_with_parent
from pipeline.hardware import machine

SIZES = ("study", "published", "both")
PRECISIONS = ("fp32", "fp16", "bf16")


def main(config: DictConfig) -> None:
    """Time one model on this machine, and write the timings."""
    machine.rest_while_waiting()
    if "DVC_STAGE" in os.environ:
        end_with_parent(signal.SIGTERM)
    found = benchmark(config)
    write_timings(Path(config.out), found)


def benchmark(config: DictConfig) -> ModelTimings:
    """Time both modes at each image size, and print a line for each."""
    import torch

    from pipeline.benchmark.timing import Setup, timing
    from pipeline.names.resolve import resolve

    check_config(config)
    model = resolve(config.model)
    device = machine.choose_device(config.device)
    threads = machine.free_threads(config.threads)
    torch.set_num_threads(threads)
    torch.backends.cudnn.benchmark = True  # as timm's script: the fastest kernels, found in warm-up
    described = machine.describe(device, threads, config.recipe.precision)
    method = {key: config[key] for key in ("warm_up_steps", "steps", "repeats", "least_seconds")}
    setup = Setup(
        device=device,
        precision=str(described.precision),
        channels_last=config.channels_last,
        batch_decay=config.batch_decay,
        **method,
    )
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    timings = []
    for size in image_sizes(model, config.image_size, config.sizes):
        for mode in ("infer", "train"):
            arch = model.partition(".")[0]
            timings.append(timing(arch, mode, size, config.recipe.batch_size, setup))
            print(f"{model}  {timing_line(timings[-1])}", flush=True)
    layout: Layout = "nhwc" if config.channels_last else "nchw"
    return ModelTimings(model, layout, described, machine.versions(), started_at, timings)


def check_config(config: DictConfig) -> None:
    """Raise `PipelineError` where a value is none that the stage knows."""
    for key, value, choices in (
        ("sizes", config.sizes, SIZES),
        ("recipe.precision", config.recipe.precision, PRECISIONS),
    ):
        if value not in choices:
            raise PipelineError(f"{key}={value}: {near_matches(str(value), choices)}")
    for key, least in {"warm_up_steps": 0, "steps": 1, "repeats": 1, "image_size": 1}.items():
        if not isinstance(config[key], int) or config[key] < least:
            raise PipelineError(f"{key}={config[key]}: write a whole number, {least} or more")


def image_sizes(model: str, image_size: int, which: str) -> list[int]:
    """The image sizes to time `model` at: the study's, those of timm's accuracy tables, or both."""
    from pipeline.names.resolve import weights

    config = weights()[model]
    published = [config.input_size, config.test_input_size or config.input_size]
    wanted = [image_size] if which != "published" else []
    wanted += [size[-1] for size in published] if which != "study" else []
    return list(dict.fromkeys(wanted))


def timing_line(timing: Timing) -> str:
    """A timing in one line."""
    what = f"{timing.mode} at {timing.img_size} pixels"
    if timing.failed:
        return f"{what}: failed: {timing.failed}"
    smaller = timing.batch_size != timing.batch_size_asked
    batch = f"{timing.batch_size}{f' instead of {timing.batch_size_asked}' if smaller else ''}"
    why = f"; not for the table: {timing.not_for_speed}" if timing.not_for_speed else ""
    return f"{what}: {timing.samples_per_second:.1f} images/s, batch {batch}{why}"


if __name__ == "__main__":
    hydra_app.run(main, "benchmark")
