"""How fast `python -m pipeline.predict` is, against decoding the same files alone.

    python -m benchmarks.predict_speed ../shared/datasets/oxford_pets_370 [MODEL] [PIXELS]

On all cores, with random weights (the same work as trained ones), by default EfficientNet-Lite0 at
48 pixels; with torch, and with onnxruntime where it is installed. All use the same workers;
"decode" drops the pixels, "arithmetic" multiplies matrices as often as the net multiplies numbers:
no net in float32 can be expected to be quicker. Start-up (imports, weights) is left out: it is paid
once. Arms take turns and medians count. On a shared machine look at CPU times.
"""

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from pipeline.core.processes import usable_cores
from pipeline.export.folder import write_onnx
from pipeline.names.resolve import size_options
from pipeline.predict.__main__ import LogitsOf, decoded_batches, image_files
from pipeline.predict.exported import ONNX, Exported, Net, OnnxLogits, on_cpu

ROUNDS = 5
LEAST_IMAGES = 700
CLASSES = 37
SIDE = 1024  # of the matrices
GOAL = 0.9  # of decoding alone


def random_model(name: str, size: int) -> Exported:
    """As `open_exported` gives it, with a linear head."""
    torch.manual_seed(0)
    body = timm.create_model(name, num_classes=0, **size_options(name, size))
    width = int(body.num_features)  # type: ignore[arg-type]
    net = Net(body, nn.Sequential(nn.Linear(width, CLASSES)), "mean").eval()
    half = np.full(3, 0.5, dtype=np.float32)
    classes = [str(number) for number in range(CLASSES)]
    return Exported(Path(), name, classes, False, size, "squish", half, half, None, net)


def nothing(pixels: np.ndarray) -> np.ndarray:
    return np.empty(len(pixels), dtype=np.uint8)


class Multiplications:
    """As many multiply-adds per image as the net has, as matrix products: what a CPU does best."""

    def __init__(self, model: Exported) -> None:
        with torch.inference_mode(), FlopCounterMode(display=False) as flops:
            model.logits(np.zeros((1, 3, model.image_size, model.image_size), dtype=np.uint8))
        self.millions = flops.get_total_flops() / 2e6
        self.matrix = torch.randn(SIDE, SIDE)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        columns = round(len(pixels) * self.millions * 1e6 / SIDE**2)
        torch.mm(self.matrix, torch.ones(SIDE, columns))
        return nothing(pixels)


def seconds(files: list[Path], size: int, logits_of: LogitsOf) -> np.ndarray:
    """Wall and CPU seconds [2] of one pass."""
    before, started = os.times(), time.perf_counter()
    n = sum(len(each.output) for each in decoded_batches(files, "squish", size, logits_of))
    if n != len(files):
        sys.exit(f"{len(files) - n} of {len(files)} files cannot be read")
    wall, after = time.perf_counter() - started, os.times()
    return np.array([wall, sum(after[:4]) - sum(before[:4])])


def main(folder: str, model: str = "tf_efficientnet_lite0.in1k", pixels: str = "48") -> None:
    torch.set_num_threads(1)
    size, files = int(pixels), image_files([Path(folder)])
    files = files * -(-LEAST_IMAGES // len(files))
    opened, floor = random_model(model, size), Multiplications(random_model(model, size))
    arms: dict[str, LogitsOf] = {"decode": nothing, "arithmetic": floor, "torch": on_cpu(opened)}
    with tempfile.TemporaryDirectory() as scratch:
        if (why := write_onnx(opened.net, size, Path(scratch) / ONNX)) is None:
            arms["onnxruntime"] = OnnxLogits(replace(opened, folder=Path(scratch)))
        else:
            print(f"without onnxruntime: {why}")
        rounds = [[seconds(files, size, each) for each in arms.values()] for _ in range(ROUNDS)]
    times = dict(zip(arms, np.median(rounds, axis=0), strict=True))
    print(
        f"{model} at {size} pixels, {floor.millions:.1f} million multiply-adds; "
        f"{len(files)} images, {usable_cores()} cores, medians of {ROUNDS} rounds"
    )
    for name, (wall, cpu) in times.items():
        by_clock, by_cpu = times["decode"] / times[name]
        print(
            f"{name:12}{len(files) / wall:6.0f} images/s"
            f"{1000 * cpu / len(files):7.2f} CPU ms/image, "
            f"{by_clock:.2f} of decoding by the clock, {by_cpu:.2f} by CPU time"
        )
    best = max(float(times["decode"][1] / times[name][1]) for name in list(arms)[2:])
    print(f"{GOAL} of decoding by CPU time is {'reached' if best >= GOAL else 'missed'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
