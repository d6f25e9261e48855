"""A GPU as its driver sees it, through NVML. What the driver does not tell is None, never an error.

CUDA counts devices in an order of its own, and only those that CUDA_VISIBLE_DEVICES leaves, so a
device is found by its UUID. A MIG slice has memory and processes of its own, but no power, energy
or utilisation: those are its board's, which it shares with other slices.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 2**30
PCI_ORDER = "PCI_BUS_ID"  # of CUDA_DEVICE_ORDER: NVML's
HOSTS_PROCESSES = "pid:[4026531836]"  # PROC_PID_INIT_INO, the namespace that the kernel makes
SLOWDOWNS = {  # why the driver holds the clocks down -> pynvml's name of its bit
    "sw_power_cap": "nvmlClocksThrottleReasonSwPowerCap",
    "hw_slowdown": "nvmlClocksThrottleReasonHwSlowdown",
    "sw_thermal": "nvmlClocksThrottleReasonSwThermalSlowdown",
    "hw_thermal": "nvmlClocksThrottleReasonHwThermalSlowdown",
    "hw_power_brake": "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
    "board_limit": "nvmlClocksThrottleReasonBoardLimit",
    "reliability": "nvmlClocksThrottleReasonReliability",
}


@dataclass(frozen=True)
class Sample:
    """The GPU at one moment; `others` is how many other processes compute on it."""

    utilisation_percent: float | None
    process_memory_gib: float | None
    power_w: float | None
    sm_clock_mhz: float | None
    temperature_c: float | None
    slowdowns: tuple[str, ...] | None
    others: int | None


@dataclass(frozen=True)
class Gpu:
    """A GPU, or a MIG slice of one.

    `handle` is what the run uses: None where it is one of several slices and nothing tells which.
    `board` is the whole GPU, and is `handle` itself where that is not sliced.
    """

    nvml: Any
    handle: Any
    board: Any

    @property
    def is_slice(self) -> bool:
        return self.handle is not self.board

    def facts(self) -> dict[str, Any]:
        """What stays the same during a run."""
        nvml = self.nvml
        milliwatts = ask(nvml.nvmlDeviceGetEnforcedPowerLimit, self.board)
        return {
            "uuid": self._ask(nvml.nvmlDeviceGetUUID),
            "mig": self.is_slice,
            "driver": ask(nvml.nvmlSystemGetDriverVersion),
            "power_limit_w": None if milliwatts is None else milliwatts / 1000,
            "max_sm_clock_mhz": ask(nvml.nvmlDeviceGetMaxClockInfo, self.board, nvml.NVML_CLOCK_SM),
        }

    def sample(self) -> Sample:
        nvml, board = self.nvml, self.board
        rates = None if self.is_slice else ask(nvml.nvmlDeviceGetUtilizationRates, board)
        milliwatts = None if self.is_slice else ask(nvml.nvmlDeviceGetPowerUsage, board)
        processes = self._ask(nvml.nvmlDeviceGetComputeRunningProcesses)
        return Sample(
            utilisation_percent=None if rates is None else rates.gpu,
            process_memory_gib=own_memory_gib(processes),
            power_w=None if milliwatts is None else milliwatts / 1000,
            sm_clock_mhz=ask(nvml.nvmlDeviceGetClockInfo, board, nvml.NVML_CLOCK_SM),
            temperature_c=ask(nvml.nvmlDeviceGetTemperature, board, nvml.NVML_TEMPERATURE_GPU),
            slowdowns=self._slowdowns(),
            others=count_others(processes, sees_all_processes()),
        )

    def energy_joules(self) -> float | None:
        """Drawn since the driver was loaded (Volta and later; a slice has no counter)."""
        if self.is_slice:
            return None
        millijoules = ask(self.nvml.nvmlDeviceGetTotalEnergyConsumption, self.board)
        return None if millijoules is None else millijoules / 1000

    def _ask(self, question: Callable[..., Any]) -> Any:
        return None if self.handle is None else ask(question, self.handle)

    def _slowdowns(self) -> tuple[str, ...] | None:
        bits = ask(self.nvml.nvmlDeviceGetCurrentClocksEventReasons, self.board)
        if bits is None:  # a driver older than 535 knows the former name only
            bits = ask(self.nvml.nvmlDeviceGetCurrentClocksThrottleReasons, self.board)
        if bits is None:
            return None
        return tuple(name for name, bit in SLOWDOWNS.items() if bits & getattr(self.nvml, bit))


def gpu_of(device: Any) -> Gpu | None:
    """NVML's view of torch's `device`; None for a CPU."""
    if device.type != "cuda":
        return None
    import torch

    return find(str(torch.cuda.get_device_properties(device).uuid))


def find(uuid: str) -> Gpu | None:
    """The device that CUDA calls `uuid`; None where NVML is missing, failing or knows no such."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    plain = uuid.removeprefix("GPU-").removeprefix("MIG-")
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "").partition(",")[0].strip()
    names = [f"GPU-{plain}", f"MIG-{plain}"]
    if visible.startswith("MIG-"):  # CUDA uses the first slice named; its UUID may be the board's
        names.insert(0, visible)
    handles = (ask(pynvml.nvmlDeviceGetHandleByUUID, name) for name in names)
    handle = next((each for each in handles if each is not None), None)
    if handle is None:
        return None
    if ask(pynvml.nvmlDeviceIsMigDeviceHandle, handle):
        return Gpu(pynvml, handle, ask(pynvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle, handle))
    if (ask(pynvml.nvmlDeviceGetMigMode, handle) or [0])[0] == pynvml.NVML_DEVICE_MIG_ENABLE:
        return Gpu(pynvml, _only_slice(pynvml, handle), handle)
    return Gpu(pynvml, handle, handle)


def named(gpu: str) -> Any:
    """NVML's handle of a GPU named as in CUDA_VISIBLE_DEVICES; None where NVML does not tell.

    A number counts in NVML's order where CUDA_DEVICE_ORDER is PCI_BUS_ID, as a sweep sets it if the
    environment names no GPU. Else CUDA counts the fastest first, and of unlike GPUs a number does
    not tell which is meant.
    """
    if not gpu.isdigit():
        found = find(gpu)
        return None if found is None else found.handle
    import pynvml

    ask(pynvml.nvmlInit)  # without a driver the next call has no answer either
    count = ask(pynvml.nvmlDeviceGetCount) or 0
    handles = [ask(pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(count)]
    if "CUDA_VISIBLE_DEVICES" in os.environ and os.environ.get("CUDA_DEVICE_ORDER") != PCI_ORDER:
        kinds = {ask(pynvml.nvmlDeviceGetName, handle) for handle in handles}
        if len(kinds) > 1:
            return None
    return handles[int(gpu)] if int(gpu) < count else None


def ask(question: Callable[..., Any], *about: Any) -> Any:
    """NVML's answer; None where the driver has none: unsupported, forbidden, the GPU lost, ..."""
    import pynvml

    try:
        return question(*about)
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, UnicodeDecodeError):
        return None


def own_memory_gib(processes: list[Any] | None) -> float | None:
    """What this process holds of the GPU, its CUDA context included."""
    for process in processes or []:
        if process.pid == os.getpid() and process.usedGpuMemory is not None:
            return float(process.usedGpuMemory / GIB)
    return None


def count_others(processes: list[Any] | None, sees_all: bool) -> int | None:
    """How many other processes compute on the GPU, which this process uses too; None if unknown.

    In a container the driver lists the host's process numbers, in which a process cannot find
    itself, or leaves out what runs outside: then a single process in the list may be this one.
    """
    pids = {process.pid for process in processes or []}
    if os.getpid() in pids:
        others = len(pids) - 1
        return others if others or sees_all else None
    return len(pids) - 1 if len(pids) > 1 else None


def sees_all_processes() -> bool:
    """Is this process in the host's own namespace, not in a container's?"""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) == HOSTS_PROCESSES
    except OSError:
        return False


def _only_slice(nvml: Any, board: Any) -> Any:
    """The board's slice if it has one alone, else None."""
    indices = range(ask(nvml.nvmlDeviceGetMaxMigDeviceCount, board) or 0)
    slices = (ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, board, index) for index in indices)
    found = [each for each in slices if each is not None]
    return found[0] if len(found) == 1 else None
