"""What NVML reports about a GPU. Whatever the driver does not report is None, never an error.

CUDA numbers devices in its own order, and only those listed in CUDA_VISIBLE_DEVICES, so a device is
found by its UUID. NVML reports memory and processes per MIG slice, but power, energy and
utilisation only for the board, which other slices share.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIB = 2**30
PCI_ORDER = "PCI_BUS_ID"  # the value of CUDA_DEVICE_ORDER with which CUDA numbers GPUs as NVML does
HOSTS_PROCESSES = "pid:[4026531836]"  # PROC_PID_INIT_INO, the kernel's initial PID namespace
SLOWDOWNS = {  # why the driver reduces the clocks -> pynvml's name of the bit
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
    """The state of the GPU at one moment; `others` is how many other processes compute on it."""

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

    `handle` is the device that the run uses, or None if that is one of several slices and it is
    unknown which. `board` is the whole GPU; it is the same object as `handle` without MIG.
    """

    nvml: Any
    handle: Any
    board: Any

    @property
    def is_slice(self) -> bool:
        return self.handle is not self.board

    def facts(self) -> dict[str, Any]:
        """The properties that stay the same during a run."""
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
        """Energy used since the driver was loaded (Volta or newer; a MIG slice has no counter)."""
        if self.is_slice:
            return None
        millijoules = ask(self.nvml.nvmlDeviceGetTotalEnergyConsumption, self.board)
        return None if millijoules is None else millijoules / 1000

    def _ask(self, question: Callable[..., Any]) -> Any:
        return None if self.handle is None else ask(question, self.handle)

    def _slowdowns(self) -> tuple[str, ...] | None:
        bits = ask(self.nvml.nvmlDeviceGetCurrentClocksEventReasons, self.board)
        if bits is None:  # drivers older than 535 know only the former name
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
    """The device that CUDA calls `uuid`; None if NVML is missing, fails or does not know it."""
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
    if visible.startswith("MIG-"):  # CUDA uses the first slice, but may report the board's UUID
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
    """NVML's handle of a GPU named as in CUDA_VISIBLE_DEVICES; None if it cannot be determined.

    If CUDA_DEVICE_ORDER is PCI_BUS_ID, which a sweep sets if CUDA_VISIBLE_DEVICES is not set, a
    number is an index in NVML's order. Otherwise CUDA puts the fastest GPU first, so if the GPUs
    are not all of one model, the number does not identify one.
    """
    if not gpu.isdigit():
        found = find(gpu)
        return None if found is None else found.handle
    import pynvml

    ask(pynvml.nvmlInit)  # without a driver, the next call returns None too
    count = ask(pynvml.nvmlDeviceGetCount) or 0
    handles = [ask(pynvml.nvmlDeviceGetHandleByIndex, index) for index in range(count)]
    if "CUDA_VISIBLE_DEVICES" in os.environ and os.environ.get("CUDA_DEVICE_ORDER") != PCI_ORDER:
        kinds = {ask(pynvml.nvmlDeviceGetName, handle) for handle in handles}
        if len(kinds) > 1:
            return None
    return handles[int(gpu)] if int(gpu) < count else None


def ask(question: Callable[..., Any], *about: Any) -> Any:
    """NVML's answer; None if it raises an error: unsupported, no permission, GPU lost, ..."""
    import pynvml

    try:
        return question(*about)
    except (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, UnicodeDecodeError):
        return None


def own_memory_gib(processes: list[Any] | None) -> float | None:
    """GPU memory held by this process, including its CUDA context."""
    for process in processes or []:
        if process.pid == os.getpid() and process.usedGpuMemory is not None:
            return float(process.usedGpuMemory / GIB)
    return None


def count_others(processes: list[Any] | None, sees_all: bool) -> int | None:
    """How many processes other than this one compute on its GPU; None if unknown.

    In a container, the driver either lists the process numbers of the host, among which a process
    cannot find itself, or leaves out processes outside the container. A single process in the list
    may then be this one.
    """
    pids = {process.pid for process in processes or []}
    if os.getpid() in pids:
        others = len(pids) - 1
        return others if others or sees_all else None
    return len(pids) - 1 if len(pids) > 1 else None


def sees_all_processes() -> bool:
    """Whether this process runs in the host's PID namespace rather than in a container's."""
    try:
        return str(Path("/proc/self/ns/pid").readlink()) == HOSTS_PROCESSES
    except OSError:
        return False


def _only_slice(nvml: Any, board: Any) -> Any:
    """The board's MIG slice if there is exactly one, else None."""
    indices = range(ask(nvml.nvmlDeviceGetMaxMigDeviceCount, board) or 0)
    slices = (ask(nvml.nvmlDeviceGetMigDeviceHandleByIndex, board, index) for index in indices)
    found = [each for each in slices if each is not None]
    return found[0] if len(found) == 1 else None
