"""What a run uses: its device, threads, memory and versions. Unknown values are None."""

import ctypes
import gc
import os
import platform
import re
import resource
from importlib import metadata
from itertools import takewhile
from pathlib import Path
from typing import Any

import psutil

from pipeline.core.errors import PipelineError
from pipeline.core.processes import usable_cores
from pipeline.hardware import nvml
from pipeline.hardware.nvml import GIB
from pipeline.records import Device

PACKAGES = ("torch", "torchvision", "timm", "fastai", "numpy", "pillow")
MIB = 2**20
GPU_NAME = re.compile(r"\d+|(GPU|MIG)-\S+")  # as CUDA_VISIBLE_DEVICES names a device
WARM = "WB_WARM"  # "1" if this process has already run a fit of the same architecture
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # glibc's malloc.h


def choose_device(wanted: str) -> Any:
    """torch's device for `auto`, `cpu`, `cuda` or `cuda:N`."""
    import torch

    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(wanted)
        supported = device.type in ("cpu", "cuda")
    except (RuntimeError, TypeError):
        supported = False
    if not supported:
        raise PipelineError(f"device={wanted}: write auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise PipelineError(f"device={wanted}: torch sees {torch.cuda.device_count()} CUDA devices")
    return device


def free_threads(wanted: str | int) -> int:
    """How many threads to compute with; `auto` is the number of cores that are idle now.

    If another process is busy, two OpenMP threads are several times slower than one, and so are
    more threads than cores. So there are never more threads than usable cores; if `wanted` is
    larger, a line is printed.
    """
    if isinstance(wanted, int) and not isinstance(wanted, bool) and wanted > 0:
        if wanted > (most := usable_cores()):
            print(f"threads={wanted}: using {most}, the number of usable cores", flush=True)
        return min(wanted, most)
    if wanted != "auto":
        raise PipelineError(f"threads={wanted}: write auto or a number of threads")
    busy = psutil.cpu_percent(interval=0.3) / 100 * (os.cpu_count() or 1)
    return max(1, round(min(usable_cores(), (os.cpu_count() or 1) - busy)))


def rest_while_waiting() -> None:
    """Let waiting OpenMP threads give up their core; call this before torch is imported."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def use_threads(threads: int) -> None:
    """Limit torch, and the BLAS and OpenMP libraries loaded so far, to this many threads.

    By default, NumPy's BLAS starts one thread per core of the machine. If the run may use fewer
    cores, these threads spin while they wait for each other, and slow the run down.
    """
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory between steps: fewer page faults, the same numbers."""
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_MAX, 0)  # keep large blocks too: 150 MiB for activations at 224 pixels
        libc.mallopt(_M_TRIM_THRESHOLD, -1)  # never return memory to the system
        libc.mallopt(_M_TOP_PAD, 256 * MIB)


def describe(device: Any, threads: int, precision: str) -> Device:
    """The record's `device`; `precision` is used if that is CUDA, and fp32 if it is a CPU."""
    import torch

    cuda = device.type == "cuda"
    gpu = nvml.gpu_of(device)
    return Device(
        kind=device.type,
        name=torch.cuda.get_device_name(device) if cuda else cpu_name(),
        **(gpu.facts() if gpu else {}),
        cuda=torch.version.cuda if cuda else None,
        cpu=cpu_name(),
        cores=os.cpu_count(),
        cores_allowed=usable_cores(),
        threads=threads,
        precision=precision if cuda else "fp32",
    )


def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that a run's numbers depend on."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = None
    return found


def peak_memory(device: Any) -> dict[str, Any]:
    """Peak memory of this run in GiB: on CUDA (None on a CPU) and the host's resident set size.

    The kernel reports the peak of the latter since the process started, so it is None if an earlier
    run of the same process may have caused it.
    """
    import torch

    cuda = torch.cuda if device.type == "cuda" else None
    scale = 1 if platform.system() == "Darwin" else 1024
    return {
        "peak_memory_reserved_gib": cuda.max_memory_reserved(device) / GIB if cuda else None,
        "peak_memory_allocated_gib": cuda.max_memory_allocated(device) / GIB if cuda else None,
        "peak_rss_gib": (
            None if is_warm() else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / GIB
        ),
    }


def clear_peak_memory(device: Any) -> None:
    """Collect garbage, and reset CUDA's cache and peak memory counters if `device` is a GPU."""
    import torch

    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


def is_warm() -> bool:
    """Whether this process has run a fit of the same architecture, so that start-up is done."""
    return os.environ.get(WARM) == "1"


def cpu_name() -> str | None:
    """The processor's model name; None if the system does not report it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or None
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or None


def visible_gpus() -> list[str]:
    """The GPUs visible to CUDA, by index or UUID; does not initialise CUDA, which breaks forks.

    CUDA reads CUDA_VISIBLE_DEVICES up to the first entry that names no device: -1, an empty one, or
    a word such as NoDevFiles, which Slurm writes for a job without GPUs.
    """
    listed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if listed is not None:
        names = (each.strip() for each in listed.split(","))
        return list(takewhile(GPU_NAME.fullmatch, names))
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return []
    return [str(index) for index in range(pynvml.nvmlDeviceGetCount())]


def default_jobs(threads: int) -> int:
    """How many runs at a time: one per GPU; without a GPU, as many as get `threads` cores each."""
    return len(visible_gpus()) or max(1, usable_cores() // threads)
