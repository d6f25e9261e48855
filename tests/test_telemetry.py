"""What a run's watch says of it: energy, neighbours, waiting for cores, and null where unknown."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pynvml
import pytest
import torch
from fake_nvml import Board, FakeNvml, install

from pipeline.hardware import machine, telemetry
from pipeline.hardware.nvml import Sample
from pipeline.hardware.telemetry import Watch

ROOT = Path(__file__).parent.parent
ME, OTHER = os.getpid(), 4_000_001
UUID = "aaaaaaaa-1111"
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings of a process that computed for 10 of 10 seconds and never waited."""
    begin = telemetry.Reading(100.0, 5.0, {"1": 1.0}, 50.0, 0.5)
    end = telemetry.Reading(110.0, 15.0, {"1": 1.0}, 60.0, 0.9)
    readings = iter([begin, end])
    monkeypatch.setattr(telemetry, "read", lambda: next(readings))


def watched(monkeypatch: pytest.MonkeyPatch, **board: Any) -> Watch:
    """A run on one made-up GPU, sampled twice: when it begins and when it ends."""
    board.setdefault("processes", [(ME, 2 * 2**30)])
    monkeypatch.setattr("pipeline.hardware.nvml.sees_all_processes", lambda: True)
    install(monkeypatch, FakeNvml([Board(f"GPU-{UUID}", **board)]), UUID)
    with Watch(CUDA, every_seconds=3600) as watch:
        sampled_once(watch)
    return watch


def sampled_once(watch: Watch) -> None:
    while not watch._sampler.samples:
        threading.Event().wait(0.001)


# A GPU


def test_a_run_alone_on_a_gpu_has_its_energy_and_may_be_timed(
    monkeypatch: pytest.MonkeyPatch, clock: None
) -> None:
    watch = watched(monkeypatch, energies_mj=[5_000_000, 8_600_000], utilisations=[80, 100])
    assert watch.shared is False
    assert watch.not_for_speed is None
    assert watch.energy_wh == pytest.approx(1.0)
    assert watch.telemetry == {
        "seconds": 10.0,
        "cpu_seconds": 10.0,
        "cpu_waited_share": 0.0,
        "cpu_others_cores": 0.0,
        "load_at_start": 0.5,
        "load_at_end": 0.9,
        "gpu_samples": 2,
        "gpu_utilisation_mean_percent": 90,
        "gpu_utilisation_peak_percent": 100,
        "gpu_process_memory_peak_gib": 2.0,
        "gpu_power_mean_w": 250.0,
        "gpu_power_peak_w": 250.0,
        "gpu_sm_clock_mean_mhz": 1700,
        "gpu_temperature_peak_c": 65,
        "gpu_slowdowns": {},
        "gpu_others": 0,
        "gpu_energy_wh": pytest.approx(1.0),
        "gpu_energy_source": "counter",
        "gpu_sampling_share": watch.telemetry["gpu_sampling_share"],
    }
    assert watch.telemetry["gpu_sampling_share"] > 0


def test_a_neighbour_seen_once_shares_the_device_and_the_energy_is_not_the_runs(
    monkeypatch: pytest.MonkeyPatch, clock: None
) -> None:
    watch = watched(
        monkeypatch,
        processes=[(ME, 2**30), (OTHER, 2**30)],
        energies_mj=[5_000_000, 8_600_000],
    )
    assert watch.shared is True
    assert watch.not_for_speed == "the device was shared: others computed on it, up to 1 at a time"
    assert watch.energy_wh is None
    assert watch.telemetry["gpu_energy_wh"] == pytest.approx(1.0)


@pytest.mark.parametrize("device", [CUDA, CPU])
def test_a_run_packed_on_purpose_is_shared_whatever_is_seen(
    monkeypatch: pytest.MonkeyPatch, clock: None, device: torch.device
) -> None:
    monkeypatch.setenv("WB_SHARED_DEVICE", "1")
    install(monkeypatch, FakeNvml([Board(f"GPU-{UUID}", [(ME, 2**30)])]), UUID)
    with Watch(device) as watch:
        pass
    assert watch.shared is True
    assert watch.not_for_speed == "the device was shared: several runs were packed on it"
    assert watch.energy_wh is None


def test_hidden_processes_leave_it_unknown_whether_the_device_was_shared(
    monkeypatch: pytest.MonkeyPatch, clock: None
) -> None:
    watch = watched(monkeypatch, processes=[])
    assert watch.shared is None
    assert watch.not_for_speed is None
    assert watch.telemetry["gpu_process_memory_peak_gib"] is None


def test_without_a_counter_the_sampled_power_is_integrated() -> None:
    samples = [(at, _sample(power)) for at, power in [(0.0, 100.0), (1.0, 300.0), (3.0, 300.0)]]
    assert telemetry.integrated_joules(samples) == 200 + 600
    assert telemetry.integrated_joules([*samples, (4.0, _sample(None))]) is None
    assert telemetry.integrated_joules(samples[:1]) is None


def test_a_gpu_without_a_counter_says_that_its_energy_is_of_the_power(
    monkeypatch: pytest.MonkeyPatch, clock: None
) -> None:
    fake = FakeNvml([Board(f"GPU-{UUID}")])
    fake.failing["nvmlDeviceGetTotalEnergyConsumption"] = pynvml.NVML_ERROR_NOT_SUPPORTED
    install(monkeypatch, fake, UUID)
    with Watch(CUDA, every_seconds=3600) as watch:
        sampled_once(watch)
    (begin, _), (end, _) = watch._sampler.samples
    assert watch.telemetry["gpu_energy_source"] == "power"
    assert watch.telemetry["gpu_energy_wh"] == pytest.approx(250 * (end - begin) / 3600)


def test_a_counter_that_went_back_counts_nothing(
    monkeypatch: pytest.MonkeyPatch, clock: None
) -> None:
    watch = watched(monkeypatch, energies_mj=[5_000_000, 1_000])
    assert watch._sampler.counted_joules is None
    assert watch.telemetry["gpu_energy_source"] == "power"


def test_a_run_too_short_for_the_counter_has_no_energy(monkeypatch: pytest.MonkeyPatch) -> None:
    watch = watched(monkeypatch, energies_mj=[5_000_000, 8_600_000])
    assert watch.telemetry["seconds"] < telemetry.SHORTEST_SECONDS
    assert watch.telemetry["gpu_energy_wh"] is None
    assert watch.energy_wh is None


def test_slowdowns_are_shares_of_the_samples(monkeypatch: pytest.MonkeyPatch, clock: None) -> None:
    cap = pynvml.nvmlClocksThrottleReasonSwPowerCap
    watch = watched(monkeypatch, slowdowns=[cap, 0])
    assert watch.telemetry["gpu_slowdowns"] == {"sw_power_cap": 0.5}


def test_a_gpu_lost_during_a_run_ends_in_nulls(
    monkeypatch: pytest.MonkeyPatch, clock: None
) -> None:
    fake = install(monkeypatch, FakeNvml([Board(f"GPU-{UUID}")]), UUID)
    with Watch(CUDA) as watch:
        sampled_once(watch)
        fake.failing = dict.fromkeys(FakeNvml.functions(), pynvml.NVML_ERROR_GPU_IS_LOST)
    assert watch.telemetry["gpu_energy_wh"] is None
    assert watch.shared is None


def test_a_driver_that_hangs_holds_up_no_run(monkeypatch: pytest.MonkeyPatch, clock: None) -> None:
    fake = install(monkeypatch, FakeNvml([Board(f"GPU-{UUID}")]), UUID)
    hung = threading.Event()
    monkeypatch.setattr(telemetry, "PATIENCE_SECONDS", 0.01)
    monkeypatch.setattr(fake, "nvmlDeviceGetPowerUsage", lambda handle: hung.wait() and 0)
    with Watch(CUDA) as watch:
        pass
    hung.set()
    assert watch.telemetry["gpu_samples"] == 0
    assert watch.telemetry["gpu_sampling_share"] is None


def test_a_failing_run_is_watched_too(monkeypatch: pytest.MonkeyPatch, clock: None) -> None:
    install(monkeypatch, FakeNvml([Board(f"GPU-{UUID}", [(ME, 2**30)])]), UUID)
    monkeypatch.setattr(torch.cuda, "synchronize", _once_then_fail())
    watch = Watch(CUDA)
    with pytest.raises(RuntimeError, match="illegal address"), watch:
        raise RuntimeError("illegal address")
    assert watch.telemetry["seconds"] == 10.0


def test_without_nvml_a_gpu_run_has_nulls(monkeypatch: pytest.MonkeyPatch, clock: None) -> None:
    fake = FakeNvml([], {"nvmlInit": pynvml.NVML_ERROR_LIBRARY_NOT_FOUND})
    install(monkeypatch, fake, UUID)
    with Watch(CUDA) as watch:
        pass
    gpu = {key: value for key, value in watch.telemetry.items() if key.startswith("gpu_")}
    assert gpu.pop("gpu_samples") == 0
    assert set(gpu.values()) == {None}
    assert (watch.shared, watch.energy_wh, watch.not_for_speed) == (None, None, None)


def test_the_device_is_described_with_what_the_driver_knows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    install(monkeypatch, FakeNvml([Board(f"GPU-{UUID}")]), UUID)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Fake 100")
    described = machine.describe(CUDA, 4, "fp16")
    assert described.name == "NVIDIA Fake 100"
    assert described.uuid == f"GPU-{UUID}"
    assert described.precision == "fp16"
    on_cpu = machine.describe(CPU, 4, "fp16")
    assert on_cpu.name == on_cpu.cpu
    assert (on_cpu.uuid, on_cpu.driver, on_cpu.precision) == (None, None, "fp32")


# A CPU


def reading(at: float, cpu: float, waited: dict[str, float] | None, busy: float | None) -> Any:
    return telemetry.Reading(at, cpu, waited, busy, None)


@pytest.mark.parametrize(("waited", "shared"), [(0.5, False), (2.0, True)])
def test_a_cpu_is_shared_where_the_run_waited_for_a_core(
    monkeypatch: pytest.MonkeyPatch, waited: float, shared: bool
) -> None:
    readings = iter([reading(0, 0, {"7": 3.0}, 0), reading(20, 10, {"7": 3.0 + waited}, 30)])
    monkeypatch.setattr(telemetry, "read", lambda: next(readings))
    with Watch(CPU) as watch:
        pass
    assert watch.shared is shared
    assert watch.telemetry["cpu_waited_share"] == pytest.approx(waited / (10 + waited))
    assert watch.telemetry["cpu_others_cores"] == 1.0
    assert watch.energy_wh is None
    why = "it waited for a core for 17% of the time it could have run"
    assert watch.not_for_speed == (why if shared else None)


def test_where_the_kernel_counts_no_waiting_nobody_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = iter([reading(0, 0, None, None), reading(20, 10, None, None)])
    monkeypatch.setattr(telemetry, "read", lambda: next(readings))
    with Watch(CPU) as watch:
        pass
    assert watch.shared is None
    assert watch.not_for_speed is None
    assert watch.telemetry["cpu_others_cores"] is None


def test_threads_that_began_or_ended_meanwhile_are_counted_right() -> None:
    begin = reading(0, 0, {"1": 5.0, "2": 9.0}, None)
    end = reading(10, 8, {"1": 6.0, "3": 1.0}, None)
    assert telemetry.waited_share(begin, end) == pytest.approx(2 / 10)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the waiting for a core")
@pytest.mark.parametrize("error", [FileNotFoundError, ProcessLookupError, PermissionError])
def test_a_thread_that_ends_while_it_is_asked_is_one_thread_less(
    monkeypatch: pytest.MonkeyPatch, error: type[OSError]
) -> None:
    ending = threading.Event()
    thread = threading.Thread(target=ending.wait)
    thread.start()
    original = Path.read_text

    def read_text(path: Path, *options: Any, **more: Any) -> str:
        if path.parent.name == str(thread.native_id):
            raise error
        return original(path, *options, **more)

    before = telemetry.read().waited_seconds
    monkeypatch.setattr(Path, "read_text", read_text)
    after = telemetry.read().waited_seconds
    ending.set()
    thread.join()
    assert before is not None
    left = None if error is PermissionError else before.keys() - {str(thread.native_id)}
    assert (after and after.keys()) == left


ON_ONE_CORE = """
import os, subprocess, sys, time
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
from pipeline.hardware import telemetry as cores
spin = "import time\\nuntil = time.monotonic() + 60\\nwhile time.monotonic() < until: pass"
neighbour = subprocess.Popen([sys.executable, "-c", spin])
try:
    begin = cores.read()
    until = time.process_time() + 0.5
    while time.process_time() < until: pass
    end = cores.read()
finally:
    neighbour.kill()
print(cores.waited_share(begin, end), cores.others_cores(begin, end))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts the waiting for a core")
def test_two_processes_on_one_core_are_seen_to_wait_for_it() -> None:
    """Half a second of work beside a busy neighbour: the kernel gives each about half the core."""
    done = subprocess.run(
        [sys.executable, "-c", ON_ONE_CORE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    waited_share, others_cores = map(float, done.stdout.split())
    assert waited_share > 0.25
    assert others_cores > 0.25


def _sample(power_w: float | None) -> Sample:
    return Sample(None, None, power_w, None, None, None, None)


def _once_then_fail() -> Any:
    calls: list[Any] = []

    def synchronize(device: Any) -> None:
        calls.append(device)
        assert len(calls) == 1, "CUDA raises its error at every call"

    return synchronize
