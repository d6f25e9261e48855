"""Operations and synchronisations of one training step, counted, so independent of the load.

Operations are those that PyTorch dispatches, without views; on a GPU each is about one kernel.
Synchronisations make the host wait for the device: reading a number or copying to the host.
"""

import inspect
import time
from collections import Counter
from typing import Any

import torch
from fastai.vision.all import Callback, CancelFitException, Learner
from torch.autograd import DeviceType
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode

LOOKS = {
    "item",
    "tolist",
    "numpy",
    "cpu",
    "nonzero",
    "__bool__",
    "__float__",
    "__int__",
    "__index__",
    "__array__",
}


class Operations(TorchDispatchMode):
    """Counts what is dispatched, by name."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not func.is_view and func is not torch.ops.aten.detach.default:
            self.counts[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


class Looks(TorchFunctionMode):
    """Counts the calls that wait for the device, by name; on a CPU they are the same calls.

    fastai works its schedules out in tensors that lie on the host everywhere: they do not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.counts: Counter[str] = Counter()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        if name in LOOKS and isinstance(args[0], torch.Tensor) and not _in_a_schedule():
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def _in_a_schedule() -> bool:
    """Whether the learner called a schedule, which called this."""
    frame = inspect.currentframe()
    while frame and frame.f_globals.get("__name__") != "fastai.learner":
        if frame.f_globals.get("__name__") == "fastai.callback.schedule":
            return True
        frame = frame.f_back
    return False


class Marks(Callback):
    """Keeps what a counter has counted when each training step begins."""

    order = 1000  # after all others of the event

    def __init__(self, counter: Operations | Looks) -> None:
        self.counter = counter
        self.marks: list[Counter[str]] = []

    def before_batch(self) -> None:
        self.marks.append(Counter(self.counter.counts))
        if len(self.marks) == 4:
            raise CancelFitException()


def counts_of_a_step(learn: Learner, counter: Operations | Looks) -> Counter[str]:
    """From the start of an epoch's third step to the start of its fourth, reading data included."""
    marks = Marks(counter)
    with counter, learn.no_bar(), learn.no_logging(), learn.added_cbs(marks):
        learn.fit_one_cycle(1, 1e-3)
    return marks.marks[3] - marks.marks[2]


class Profiled(Callback):
    """Traces `steps` training steps on CUDA after three others, then ends the fit."""

    order = 1000
    warm_up = 3

    def __init__(self, steps: int) -> None:
        self.steps, self.seen = steps, 0
        self.profiler = profile(activities=[ProfilerActivity.CUDA])

    def before_batch(self) -> None:
        if self.seen == self.warm_up:
            torch.cuda.synchronize()
            self.profiler.start()
            self.began = time.perf_counter()
        if self.seen == self.warm_up + self.steps:
            torch.cuda.synchronize()
            self.seconds = time.perf_counter() - self.began
            self.profiler.stop()
            raise CancelFitException()
        self.seen += 1


def profiled_step(learn: Learner, steps: int = 10) -> tuple[float, float, float]:
    """Of a training step: kernels, seconds in which one of them runs, seconds that it lasts."""
    profiled = Profiled(steps)
    with learn.no_bar(), learn.no_logging(), learn.added_cbs(profiled):
        learn.fit_one_cycle(1 + 2 * steps // len(learn.dls.train), 1e-3)
    events = profiled.profiler.events() or []
    kernels = [
        (each.time_range.start / 1e6, each.time_range.end / 1e6)
        for each in events
        if each.device_type == DeviceType.CUDA
    ]
    return len(kernels) / steps, busy_seconds(kernels) / steps, profiled.seconds / steps


def busy_seconds(intervals: list[tuple[float, float]]) -> float:
    """How long at least one of the intervals (begin, end) lasts."""
    busy, reached = 0.0, float("-inf")
    for begin, end in sorted(intervals):
        busy += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return busy
