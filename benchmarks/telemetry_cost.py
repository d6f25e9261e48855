"""The CPU time that sampling a GPU takes from a fit.

    python -m benchmarks.telemetry_cost [--question-ms 2] [--steps 150] [--turns 7]

On a machine with a GPU its driver is used, elsewhere a fake driver that takes an assumed
QUESTION_MS per query. One thread trains a small network on the CPU
meanwhile, so that whatever sampling takes from it is seen. Blocks of equally many steps with and
without a watch take turns, and each pair is compared, because other load comes and goes.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import pynvml
import torch
from rich.console import Console
from rich.table import Table

from pipeline.hardware import nvml
from pipeline.hardware.nvml import Gpu
from pipeline.hardware.telemetry import EVERY_SECONDS, Watch

SAMPLES_ALONE = 50
TARGET = 0.01


class StandInDriver:
    """pynvml with constant answers, each after `seconds` in which Python's lock is free."""

    def __init__(self, seconds: float) -> None:
        process = pynvml.nvmlFriendlyObject({"pid": os.getpid(), "usedGpuMemory": 2**30})
        self.seconds, self.answers = (
            seconds,
            {
                "nvmlDeviceGetUtilizationRates": pynvml.c_nvmlUtilization_t(gpu=90, memory=40),
                "nvmlDeviceGetComputeRunningProcesses": [process],
            },
        )

    def __getattr__(self, name: str) -> Any:
        if not callable(getattr(pynvml, name)):
            return getattr(pynvml, name)

        def answer(*_: Any) -> Any:
            time.sleep(self.seconds)
            return self.answers.get(name, 1000)

        return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--question-ms", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    gpu, driver = _gpu(arguments.question_ms)
    wall_ms, cpu_ms = _sample_cost(gpu)
    torch.set_num_threads(1)
    nvml.gpu_of = lambda device: gpu  # so that the watch of a run on the CPU samples this GPU
    step = _training_step()
    pairs = [_pair(step, arguments.steps) for _ in range(arguments.turns)]
    ratios = [watched / alone for alone, watched, _ in pairs]
    table = Table("driver", "sample ms", "of it CPU ms", "CPU share", "fit's CPU s, ratio", "range")
    share = cpu_ms / 1000 / EVERY_SECONDS
    spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
    median = f"{statistics.median(ratios):.3f}"
    table.add_row(driver, f"{wall_ms:.1f}", f"{cpu_ms:.2f}", f"{share:.3%}", median, spread)
    console = Console(width=100)
    console.print(table)
    seconds = statistics.median(seconds for *_, seconds in pairs)
    load = os.getloadavg()[0]
    said = f"{arguments.turns} pairs of {seconds:.1f} s, {os.cpu_count()} cores, load {load:.1f}"
    console.print(said)
    console.print(f"CPU share {'under' if share < TARGET else 'OVER'} the target of {TARGET:.0%}")


def _gpu(question_ms: float) -> tuple[Gpu, str]:
    """The first GPU of this machine, or one behind the stand-in."""
    if torch.cuda.is_available():
        torch.zeros(1, device="cuda")
        if found := nvml.gpu_of(torch.device("cuda")):
            return found, torch.cuda.get_device_name()
    board: Any = object()
    return Gpu(StandInDriver(question_ms / 1000), board, board), f"stand-in, {question_ms:g} ms"


def _sample_cost(gpu: Gpu) -> tuple[float, float]:
    """Wall and CPU milliseconds of one sample."""
    wall, cpu = time.perf_counter(), time.thread_time()
    for _ in range(SAMPLES_ALONE):
        gpu.sample()
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    return 1000 * wall / SAMPLES_ALONE, 1000 * cpu / SAMPLES_ALONE


def _pair(step: Callable[[], None], steps: int) -> tuple[float, float, float]:
    """CPU seconds of `steps` without and with a watch; and the seconds of the second."""
    begin = time.process_time()
    for _ in range(steps):
        step()
    alone = time.process_time() - begin
    watch = Watch(torch.device("cpu"))
    begin = time.process_time()
    with watch:
        for _ in range(steps):
            step()
    return alone, time.process_time() - begin, watch.telemetry["seconds"]


def _training_step() -> Callable[[], None]:
    layers = [torch.nn.Conv2d(3, 32, 3), torch.nn.ReLU(), torch.nn.Conv2d(32, 32, 3)]
    model = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.LazyLinear(10))
    images = torch.randn(16, 3, 32, 32)
    labels = torch.randint(10, (16,))
    model(images)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def step() -> None:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
