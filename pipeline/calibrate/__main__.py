"""`python -m pipeline.calibrate`: a minute of training steps, from which fits are estimated.

Times the training step of six architectures on this machine as a fine-tune makes it (recipe, image
size, layout, optimizer, CUDA graphs), with random weights on random images. Reads only params.yaml
and conf/; writes one small file a device, data/calibration/DEVICE.json, which `sweep --dry-run` and
`recommend` use where the device has no runs of a model.
"""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.configuration import hydra_app
from pipeline.core.command import duration, number_of, run
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml
from pipeline.dataset.prepared import Prepared
from pipeline.estimates.calibration import FEWEST, Calibration, Step, file_of, write_calibration
from pipeline.hardware import machine
from pipeline.study.params import Study, read_study, threads_of
from pipeline.timm_results.imagenet import USUAL_SIZE

MOST_SECONDS = 45.0  # for all timing; torch, timm and fastai take 5 to 15 s more to load
LONGEST_TIMING = 2.0  # seconds of timed steps; shorter where time is short
MOST_STEPS = 300
BUSY = 1.5  # load for each core, above which the timing may not suffice
STEPS_OF_NET = 4  # about as many as building, warming up and timing a net takes at least
CPU_PIXELS = 100_000  # of a batch on a CPU, where a whole one at 224 pixels takes up to a minute


@dataclass(frozen=True)
class Net:
    """An architecture to time: `gmacs` at 224 pixels, as timm publishes them, and its longest
    start-up in seconds on an H100 (2026-11-27, docs/performance.md). `size` is the only image size
    that it takes, if there is one.
    """

    arch: str
    gmacs: float
    start_up: float
    size: int | None = None


NETS = (  # small and large, plain, grouped and depthwise convolutions, attention
    Net("tf_efficientnet_lite0", 0.40, 18.0),
    Net("regnety_016", 1.63, 2.0),
    Net("resnet18", 1.82, 2.0),
    Net("convnext_tiny", 4.47, 10.0),
    Net("resnet101", 7.83, 3.0),
    Net("vit_base_patch16_224", 16.87, 3.0, USUAL_SIZE),
    Net("convnext_base", 15.38, 10.0),
)
MOST_NETS = 6
IMAGENET = Path("data/imagenet.csv")


def main(*, params: Path = Path("params.yaml"), recipe: str | None = None) -> None:
    """Time six architectures on this machine, in a minute at most, for estimates of fit times.

    Args:
        params: the study file, which gives the image size and the first recipe
        recipe: another recipe, for its batch size and precision
    """
    machine.rest_while_waiting()
    study = read_study(params)
    found = calibrate(study, recipe or study.recipes[0], threads_of(read_yaml(params)))
    if len(found.steps) < FEWEST:
        raise PipelineError(
            f"{len(found.steps)} architectures could be timed in a minute, {FEWEST} are needed: "
            "wait until the machine is idle, or give a smaller image_size"
        )
    path = file_of(params.parent, found.device)
    write_calibration(path, found)
    print(f"{path}: {len(found.steps)} architectures on {found.device.label}", flush=True)
    if found.disturbed:
        print("Others used the device meanwhile: alone, fits are quicker. Repeat it when idle.")
    if not (params.parent / IMAGENET).is_file():
        print(f"Estimates also need {IMAGENET}: dvc repro merge")


def calibrate(study: Study, recipe: str, threads: int) -> Calibration:
    """Time the nets within MOST_SECONDS, and print a line for each."""
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > BUSY * cores:
        print(
            f"The machine is busy: a load of {load:.1f} on {number_of(cores, 'core', 'cores')}. "
            "This may take minutes and still fail: it is better to wait until the machine is idle.",
            flush=True,
        )
    print("Loading torch, timm and fastai ...", flush=True)
    import torch

    import pipeline.finetune.training  # noqa: F401 (loads all before the clock runs)
    from pipeline.finetune.recipe import recipe_of

    config = hydra_app.compose(
        "finetune",
        [
            f"dataset={study.datasets[0]}",
            f"recipe={recipe}",
            f"image_size={study.image_size}",
            "model=any",
            "seed=0",
        ],
    )
    device, threads = machine.choose_device(config.device), machine.free_threads(threads)
    torch.set_num_threads(threads)
    asked = recipe_of(config.recipe)
    if config.speed.keep_freed_memory and device.type == "cpu":
        machine.keep_freed_memory()
    started_at = datetime.now(UTC).isoformat(timespec="seconds")
    steps, left_out = [], {}
    for net, outcome in _timings(config, asked, device):
        if isinstance(outcome, Step):
            steps.append(outcome)
            rate = f"{outcome.batch_size / outcome.seconds:.1f} images/s"
            how = f"{outcome.steps} steps of {outcome.batch_size} at {outcome.image_size} pixels"
            print(f"{net.arch}: {rate}, {how}", flush=True)
        else:
            left_out[net.arch] = outcome
            print(f"{net.arch}: left out: {outcome}", flush=True)
    return Calibration(
        device=machine.describe(device, threads, asked.precision),
        recipe=recipe,
        batch_size=asked.batch_size,
        steps=steps,
        left_out=left_out,
        versions=machine.versions(),
        started_at=started_at,
    )


def _timings(config: Any, recipe: Any, device: Any) -> Iterator[tuple[Net, Step | str]]:
    """Each net with its step, or why it has none; the slowest come last, since time may run out.

    On a CPU it ends early once the pace of two nets says that FEWEST cannot be timed.
    """
    deadline = time.monotonic() + MOST_SECONDS
    size, cuda = config.image_size, device.type == "cuda"
    nets = [net for net in NETS if net.size in (None, size)][:MOST_NETS]
    nets.sort(key=lambda net: net.start_up if cuda else net.gmacs)
    batch_size = recipe.batch_size
    if not cuda:
        batch_size = min(batch_size, max(2, CPU_PIXELS // size**2))
    per_gmac, n_timed = 0.0, 0  # seconds of a step, by the last net
    for place, net in enumerate(nets):
        left = max(0.0, deadline - time.monotonic())
        needed = nets[place : place + FEWEST - n_timed]
        least = STEPS_OF_NET * per_gmac * sum(each.gmacs for each in needed)
        if not cuda and n_timed > 1 and least > left:
            why = f"{FEWEST} nets take {duration(least)} more, and {duration(left)} are left"
            yield from ((each, why) for each in nets[place:])
            return
        expected = net.start_up if cuda else STEPS_OF_NET * per_gmac * net.gmacs
        if expected > left:
            yield (
                net,
                f"takes about {duration(expected)}, and {duration(left)} of a minute are left",
            )
            continue
        share = min(LONGEST_TIMING, left / (2 * (len(nets) - place)))
        outcome = _timing(net.arch, replace(recipe, batch_size=batch_size), config, device, share)
        if isinstance(outcome, Step):
            per_gmac, n_timed = outcome.seconds / net.gmacs, n_timed + 1
        yield net, outcome


def _timing(arch: str, recipe: Any, config: Any, device: Any, seconds: float) -> Step | str:
    """The step of one net, timed for so many seconds; or why the net failed."""
    from pipeline.finetune import training
    from pipeline.finetune.speed import speed_of
    from pipeline.hardware.faults import models_fault
    from pipeline.hardware.telemetry import Watch

    one_epoch = replace(recipe, epochs=1, frozen_epochs=0, least_steps=0, resize="squish")
    plain = replace(one_epoch, schedule="one_cycle", head_start="random", weight_average=0.0)
    data = random_images(config.image_size, plain.batch_size)
    watch = Watch(device)
    try:
        machine.clear_peak_memory(device)
        fit = training.Run(
            data=data,
            recipe=plain,
            model=arch,
            weights=_random_weights(arch),
            seed=0,
            image_size=config.image_size,
            device=device,
            speed=speed_of(config.speed),
        )
        learn = training.seeded_learner(fit)
        timer = _timer(device, seconds)
        with watch, learn.no_bar(), learn.no_logging():
            learn.fit_one_cycle(1, plain.lr, cbs=[timer])
    except Exception as error:
        return models_fault(error)
    mean = timer.seconds / timer.steps
    return Step(arch, config.image_size, plain.batch_size, mean, timer.steps, watch.not_for_speed)


def _random_weights(arch: str) -> Any:
    """Weights that were never trained, as a source of weights gives them."""
    import timm

    from pipeline.finetune.weights import Weights

    state = timm.create_model(arch).state_dict()
    return Weights("random", "none", Path("random weights"), "", {"state_dict": state})


@dataclass(frozen=True)
class RandomImages(Prepared):
    """A few random images, repeated for as many rows as the timed steps need."""

    pixels: np.ndarray
    n_train: int

    def rows(self, part: str) -> np.ndarray:
        n = {"train": self.n_train, "valid": 2}.get(part, 0)
        return np.resize(np.arange(len(self.pixels)), n)

    def array(self, image_size: int, resize: str = "squish") -> np.ndarray:
        return self.pixels


def random_images(image_size: int, batch_size: int) -> RandomImages:
    """A dataset of as many random images as a batch has, at least 8, of two classes."""
    n = max(8, batch_size)
    pixels = np.random.default_rng(0).integers(
        0, 256, (n, 3, image_size, image_size), dtype=np.uint8
    )
    return RandomImages(
        folder=Path("random"),
        name="random",
        kind="single",
        classes=["a", "b"],
        files=[],
        labels=np.arange(n) % 2,
        parts=np.array([]),
        meta={},
        pixels=pixels,
        n_train=MOST_STEPS * batch_size,
    )


def _timer(device: Any, seconds: float) -> Any:
    """A callback that ends the fit when its steps after warm-up have taken so many seconds.

    On CUDA only the first and the last of them are waited for.
    """
    from fastai.vision.all import Callback, CancelFitException

    from pipeline.finetune.callbacks import FIRST_STEPS
    from pipeline.hardware.telemetry import finish_work

    warm_up = FIRST_STEPS if device.type == "cuda" else 1

    class Timer(Callback):
        order = 80
        steps = -warm_up
        seconds = 0.0

        def after_batch(self) -> None:
            self.steps += 1
            if self.steps == 0:
                finish_work(device)
                self.began = time.perf_counter()
            elif self.steps > 0 and self.is_over():
                finish_work(device)
                self.seconds = time.perf_counter() - self.began
                raise CancelFitException()

        def is_over(self) -> bool:
            late = time.perf_counter() - self.began >= seconds
            return late or self.steps == MOST_STEPS - warm_up

    return Timer()


if __name__ == "__main__":
    run(main)
