"""A fake pynvml with made-up boards, checked against the real module.

Each function's parameters are compared with the real function's; constants, exceptions and
structures are the real ones; calling anything else is an error.
"""

import ctypes
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest
import torch


@dataclass(eq=False)
class Slice:
    """A MIG slice: processes are (pid, bytes or None)."""

    uuid: str
    processes: list[tuple[int, int | None]] = field(default_factory=list)


@dataclass(eq=False)
class Board:
    """A GPU. `powers_mw` and `energies_mj` are answered one after the other, the last for ever."""

    uuid: str
    processes: list[tuple[int, int | None]] = field(default_factory=list)
    slices: list[Slice] = field(default_factory=list)
    utilisations: list[int] = field(default_factory=lambda: [90])
    powers_mw: list[int] = field(default_factory=lambda: [250_000])
    energies_mj: list[int] = field(default_factory=lambda: [1_000_000])
    slowdowns: list[int] = field(default_factory=lambda: [0])
    name: str = "NVIDIA Fake 100"


class FakeNvml:
    """`failing`: a function's name -> the NVML error that it gives."""

    def __init__(self, boards: list[Board], failing: dict[str, int] | None = None) -> None:
        self.boards = boards
        for name in self.functions():
            ours = list(inspect.signature(getattr(self, name)).parameters)
            assert ours == list(inspect.signature(getattr(pynvml, name)).parameters), name
        self.failing: dict[str, int] = failing or {}

    @classmethod
    def functions(cls) -> list[str]:
        return [name for name in vars(cls) if name.startswith("nvml")]

    def __getattribute__(self, name: str) -> Any:
        value = object.__getattribute__(self, name)
        if name.startswith("nvml") and name in vars(self).get("failing", {}):
            return lambda *_: _fail(self.failing[name])
        return value

    def __getattr__(self, name: str) -> Any:
        real = getattr(pynvml, name)
        assert not inspect.isfunction(real), f"{name} is called and not faked"
        return real

    def nvmlInit(self) -> None:
        return None

    def nvmlSystemGetDriverVersion(self) -> str:
        return "580.95.05"

    def nvmlDeviceGetCount(self) -> int:
        return len(self.boards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        return self.boards[index]

    def nvmlDeviceGetName(self, handle: Any) -> str:
        return str(_board(handle).name)

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> Any:
        for board in self.boards:
            for each in (board, *board.slices):
                if each.uuid == uuid:
                    return each
        return _fail(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceIsMigDeviceHandle(self, device: Any) -> Any:
        return ctypes.c_uint(isinstance(device, Slice))  # the real one forgets to take its value

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, migDevice: Any) -> Any:
        return next(board for board in self.boards if migDevice in board.slices)

    def nvmlDeviceGetMigMode(self, device: Any) -> list[int]:
        return [int(bool(_board(device).slices))] * 2

    def nvmlDeviceGetMaxMigDeviceCount(self, device: Any) -> int:
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: int) -> Any:
        slices = _board(device).slices
        return slices[index] if index < len(slices) else _fail(pynvml.NVML_ERROR_NOT_FOUND)

    def nvmlDeviceGetUUID(self, handle: Any) -> str:
        return str(handle.uuid)

    def nvmlDeviceGetEnforcedPowerLimit(self, handle: Any) -> int:
        return _board(handle) and 300_000

    def nvmlDeviceGetMaxClockInfo(self, handle: Any, type: int) -> int:
        assert type == pynvml.NVML_CLOCK_SM
        return _board(handle) and 1980

    def nvmlDeviceGetClockInfo(self, handle: Any, type: int) -> int:
        assert type == pynvml.NVML_CLOCK_SM
        return _board(handle) and 1700

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int) -> int:
        assert sensor == pynvml.NVML_TEMPERATURE_GPU
        return _board(handle) and 65

    def nvmlDeviceGetUtilizationRates(self, handle: Any) -> Any:
        board = _board(handle)
        if board.slices:
            return _fail(pynvml.NVML_ERROR_NOT_SUPPORTED)
        return pynvml.c_nvmlUtilization_t(gpu=_next(board.utilisations), memory=40)

    def nvmlDeviceGetPowerUsage(self, handle: Any) -> int:
        return _next(_board(handle).powers_mw)

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: Any) -> int:
        return _next(_board(handle).energies_mj)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> list[Any]:
        return [
            pynvml.nvmlFriendlyObject({"pid": pid, "usedGpuMemory": memory})
            for pid, memory in handle.processes
        ]

    def nvmlDeviceGetCurrentClocksEventReasons(self, handle: Any) -> int:
        return _next(_board(handle).slowdowns)

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: Any) -> int:
        return _next(_board(handle).slowdowns)


def _fail(code: int) -> Any:
    raise pynvml.NVMLError(code)


def _board(handle: Any) -> Any:
    """What NVML tells of boards only: a slice's handle is refused."""
    return handle if isinstance(handle, Board) else _fail(pynvml.NVML_ERROR_NOT_SUPPORTED)


def _next(values: list[int]) -> int:
    return values.pop(0) if len(values) > 1 else values[0]


def install(monkeypatch: pytest.MonkeyPatch, fake: FakeNvml, *uuids: str) -> FakeNvml:
    """Let `pynvml` be this fake and CUDA's devices have these UUIDs, in CUDA's order."""
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.setattr(torch.cuda, "get_device_properties", _properties_of(uuids))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


def _properties_of(uuids: tuple[str, ...]) -> Callable[[torch.device], Any]:
    return lambda device: SimpleNamespace(uuid=uuids[device.index or 0])
