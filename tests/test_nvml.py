"""NVML through a fake that speaks the real module's interface: every GPU, or an honest None."""

import ast
import inspect
import os
import sys
from pathlib import Path
from typing import Any

import pynvml
import pytest
import torch
from fake_nvml import Board, FakeNvml, Slice, install

from pipeline.hardware import nvml

ME, OTHER, THIRD = os.getpid(), 4_000_001, 4_000_002
A, B = "aaaaaaaa-1111", "bbbbbbbb-2222"
CUDA = torch.device("cuda")


def boards(**first: Any) -> FakeNvml:
    return FakeNvml([Board(f"GPU-{A}", **first), Board(f"GPU-{B}")])


def found(device: torch.device = CUDA) -> nvml.Gpu:
    gpu = nvml.gpu_of(device)
    assert gpu is not None
    return gpu


def test_a_number_names_a_gpu_where_cuda_counts_as_nvml_does_or_all_are_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slow = Board(f"GPU-{A}", name="Slow 1")
    fast = Board(f"GPU-{B}", name="Fast 2")
    install(monkeypatch, FakeNvml([slow, fast]))
    assert nvml.named("1") is fast  # the environment names none: counted by NVML
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    assert nvml.named("0") is None  # CUDA's own order: the fast one
    assert nvml.named(f"GPU-{A}") is slow
    monkeypatch.setenv("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    assert nvml.named("0") is slow
    assert nvml.named("2") is None
    monkeypatch.delenv("CUDA_DEVICE_ORDER")
    slow.name = fast.name
    assert nvml.named("0") is slow


def test_the_fake_has_each_function_that_the_code_calls_and_no_other() -> None:
    """Their parameters are compared with the real module's when a fake is made."""
    tree = ast.parse(Path(str(nvml.__file__)).read_text(encoding="utf-8"))
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    names = {name for name in attributes if name.startswith("nvml") and name != "nvml"}
    assert names == set(FakeNvml.functions())
    assert all(inspect.isfunction(getattr(pynvml, name)) for name in names)


def test_a_fake_whose_function_has_other_parameters_is_refused() -> None:
    class Drifted(FakeNvml):
        def nvmlDeviceGetUUID(self, device: Any) -> str:
            return ""

        functions = classmethod(lambda cls: ["nvmlDeviceGetUUID"])  # type: ignore[assignment]

    with pytest.raises(AssertionError, match="nvmlDeviceGetUUID"):
        Drifted([])


def test_every_slowdown_is_one_bit_of_the_real_module() -> None:
    bits = [getattr(pynvml, name) for name in nvml.SLOWDOWNS.values()]
    assert sum(bits) & pynvml.nvmlClocksThrottleReasonAll == sum(bits)
    assert all(bit.bit_count() == 1 for bit in bits)
    assert len(set(bits)) == len(bits)


def test_without_a_driver_the_real_module_gives_no_gpu() -> None:
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        assert nvml.find(A) is None
    else:
        assert nvml.find("00000000-0000-0000-0000-000000000000") is None


# Which device


@pytest.mark.parametrize("prefix", ["", "GPU-"])
def test_a_device_is_found_by_uuid_where_cuda_counts_in_another_order(
    monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    install(monkeypatch, boards(), f"{prefix}{B}", f"{prefix}{A}")
    assert found(torch.device("cuda:0")).facts()["uuid"] == f"GPU-{B}"
    assert found(torch.device("cuda:1")).facts()["uuid"] == f"GPU-{A}"


@pytest.mark.parametrize("visible", ["1", f"GPU-{B}", "GPU-bbbb"])
def test_visible_devices_by_index_or_uuid_change_nothing_but_cudas_count(
    monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    install(monkeypatch, boards(), B)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert found().facts()["uuid"] == f"GPU-{B}"


def test_a_cpu_is_no_gpu() -> None:
    assert nvml.gpu_of(torch.device("cpu")) is None


def test_what_stays_the_same_is_told_in_units(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, boards(), A)
    assert found().facts() == {
        "uuid": f"GPU-{A}",
        "mig": False,
        "driver": "580.95.05",
        "power_limit_w": 300.0,
        "max_sm_clock_mhz": 1980,
    }


# MIG


def sliced(*slices: Slice) -> FakeNvml:
    return FakeNvml([Board(f"GPU-{A}", [(OTHER, 2**30)], slices=list(slices)), Board(f"GPU-{B}")])


@pytest.mark.parametrize("cudas_uuid", [A, "5555"])
@pytest.mark.parametrize("visible", ["MIG-5555", "MIG-GPU-aaaaaaaa-1111/1/0"])
def test_a_slice_named_by_the_environment_is_found(
    monkeypatch: pytest.MonkeyPatch, visible: str, cudas_uuid: str
) -> None:
    """Whichever UUID CUDA gives, the slice's or its board's, and in either spelling."""
    install(monkeypatch, sliced(Slice("MIG-4444"), Slice(visible, [(ME, 2**30)])), cudas_uuid)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{visible},MIG-4444")
    gpu = found()
    assert gpu.facts()["uuid"] == visible
    assert gpu.facts()["mig"] is True
    assert gpu.sample().process_memory_gib == 1.0


def test_a_slice_is_found_by_cudas_uuid_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, sliced(Slice("MIG-4444"), Slice("MIG-5555")), "5555")
    assert found().facts()["uuid"] == "MIG-5555"


def test_a_slices_power_energy_and_utilisation_are_its_neighbours_too_and_not_told(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, sliced(Slice("MIG-4444", [(ME, 2**30), (THIRD, 2**30)])), "4444")
    gpu = found()
    sample = gpu.sample()
    assert (gpu.energy_joules(), sample.power_w, sample.utilisation_percent) == (None, None, None)
    assert (sample.sm_clock_mhz, sample.temperature_c, sample.others) == (1700, 65, 1)


def test_the_only_slice_of_a_board_needs_no_name(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, sliced(Slice("MIG-4444")), A)
    assert found().facts()["uuid"] == "MIG-4444"


def test_one_of_several_slices_that_nobody_names_is_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, sliced(Slice("MIG-4444"), Slice("MIG-5555")), A)
    gpu = found()
    assert (gpu.facts()["uuid"], gpu.facts()["mig"]) == (None, True)
    assert (gpu.sample().others, gpu.sample().process_memory_gib) == (None, None)
    assert gpu.energy_joules() is None


# Neighbours


@pytest.mark.parametrize(
    ("pids", "sees_all", "others"),
    [
        ([ME], True, 0),
        ([ME, OTHER], True, 1),
        ([ME, OTHER, OTHER], True, 1),
        ([ME], False, None),  # a container: the driver may leave out who is outside
        ([ME, OTHER], False, 1),
        ([OTHER], False, None),  # the host's number: it may be this very process
        ([OTHER, THIRD], False, 1),  # one of them may be this process, the other is not
        ([], True, None),  # this process computes on the GPU and is not told either
        ([], False, None),
        (None, True, None),
    ],
)
def test_neighbours_are_counted_or_unknown(
    pids: list[int] | None, sees_all: bool, others: int | None
) -> None:
    processes = pids and [pynvml.nvmlFriendlyObject({"pid": pid}) for pid in pids]
    assert nvml.count_others(processes, sees_all) == others


@pytest.mark.parametrize(
    ("processes", "gib"),
    [([(ME, 3 * 2**30), (OTHER, 2**30)], 3.0), ([(ME, None)], None), ([(OTHER, 2**30)], None)],
)
def test_memory_is_this_processs_or_unknown(
    monkeypatch: pytest.MonkeyPatch, processes: list[tuple[int, int | None]], gib: float | None
) -> None:
    install(monkeypatch, boards(processes=processes), A)
    assert found().sample().process_memory_gib == gib


# Failing drivers


def test_slowdowns_are_named_and_idle_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = (
        pynvml.nvmlClocksThrottleReasonSwPowerCap | pynvml.nvmlClocksThrottleReasonHwThermalSlowdown
    )
    install(monkeypatch, boards(slowdowns=[bits, pynvml.nvmlClocksThrottleReasonGpuIdle]), A)
    assert found().sample().slowdowns == ("sw_power_cap", "hw_thermal")
    assert found().sample().slowdowns == ()


def test_an_older_driver_is_asked_by_the_former_name(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = boards(slowdowns=[pynvml.nvmlClocksThrottleReasonSwThermalSlowdown])
    fake.failing["nvmlDeviceGetCurrentClocksEventReasons"] = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND
    install(monkeypatch, fake, A)
    assert found().sample().slowdowns == ("sw_thermal",)


@pytest.mark.parametrize(
    "code",
    [
        pynvml.NVML_ERROR_NOT_SUPPORTED,
        pynvml.NVML_ERROR_NO_PERMISSION,
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_UNKNOWN,
        12345,
    ],
)
def test_whatever_the_driver_refuses_is_unknown(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    fake = install(monkeypatch, boards(), A)
    gpu = found()
    fake.failing = dict.fromkeys(FakeNvml.functions(), code)
    facts, sample = gpu.facts(), gpu.sample()
    assert facts == {
        "uuid": None,
        "mig": False,
        "driver": None,
        "power_limit_w": None,
        "max_sm_clock_mhz": None,
    }
    assert set(vars(sample).values()) == {None}
    assert gpu.energy_joules() is None


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ("nvmlInit", pynvml.NVML_ERROR_LIBRARY_NOT_FOUND),
        ("nvmlInit", pynvml.NVML_ERROR_DRIVER_NOT_LOADED),
        ("nvmlInit", pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH),
        ("nvmlDeviceGetHandleByUUID", pynvml.NVML_ERROR_NO_PERMISSION),
    ],
)
def test_without_nvml_there_is_no_gpu_to_ask(
    monkeypatch: pytest.MonkeyPatch, function: str, code: int
) -> None:
    fake = install(monkeypatch, boards(), A)
    fake.failing = {function: code}
    assert nvml.gpu_of(CUDA) is None


def test_without_the_module_there_is_no_gpu_to_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, boards(), A)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert nvml.gpu_of(CUDA) is None


def test_an_unknown_uuid_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch, boards(), "cccccccc-3333")
    assert nvml.gpu_of(CUDA) is None
