"""`benchmarks/device_records.py`: what a device costs, kept as records."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.device_records import counter_and_power_wh
from benchmarks.project_copy import ROOT
from pipeline.benchmark.timings import read_timings
from pipeline.records import read_record


def test_energy_is_told_by_the_counter_and_by_power_where_each_is_known() -> None:
    telemetry = {"gpu_energy_wh": 1.0, "gpu_power_mean_w": 360.0, "seconds": 11.0}
    assert counter_and_power_wh(telemetry | {"gpu_energy_source": "counter"}) == (1.0, 1.1)
    assert counter_and_power_wh(telemetry | {"gpu_energy_source": "power"}) == (None, 1.1)
    nothing = dict.fromkeys(["gpu_energy_wh", "gpu_power_mean_w", "gpu_energy_source"])
    assert counter_and_power_wh(nothing | {"seconds": 11.0}) == (None, None)


@pytest.mark.slow
def test_a_models_records_are_kept_and_not_made_twice(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.device_records", str(tmp_path)]
    command += ["recipe.epochs=1", "recipe.frozen_epochs=0", "threads=1", "--device", "cpu"]
    command += ["--image-size", "32", "--models", "resnet18.tv_in1k"]
    shown = []
    for _ in range(2):
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        shown.append(done.stdout)
    record = read_record(tmp_path / "finetune-resnet18.tv_in1k.json")
    assert record.status == "ok"
    assert record.weights["source"] == "folder"
    speed = read_timings(tmp_path / "benchmark-resnet18.tv_in1k.json")
    assert [(each.mode, each.img_size) for each in speed.timings] == [("infer", 32), ("train", 32)]
    assert "infer at 32 pixels" in shown[0]
    assert "infer at 32 pixels" not in shown[1], "it was made again"
    assert shown[0].endswith(shown[1]), "the same table both times"
