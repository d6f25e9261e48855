#!/usr/bin/env bash
# DVCLive 3.49.1, Live(monitor_system=True). "system/gpu/usage (%)", by the documentation "the average usage of the
# GPUs in percentage", is 100 × NVML's memory utilisation / its GPU utilisation: the share of the busy time in which
# memory was read or written. A GPU that computes all the time and reads little is shown as nearly idle, one
# that waits for its data loader as fully used: who tunes by that curve tunes the wrong way.
# And the last value of every system metric is too low. The monitor adds up num_samples samples and divides by their
# number; when the run ends it has fewer, and divides by num_samples all the same. In a run of less than num_samples ×
# interval seconds that is the only value: of memory, of the GPU, of the number of cores.
#
# Seen: utilisation 95 % with memory 20 %: logged as 21; 4 % with 4 %: as 100. A run of a fifth of one average
# logs under a half of the memory of the machine as its total. (NVML's readings are replaced by constants, so
# that the script needs no GPU.)
# Expected: 95 and 4, and an average over the samples that were taken.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/env"
"$work/env/bin/pip" install --quiet --disable-pip-version-check dvclive==3.49.1 nvidia-ml-py==13.615.71
cd "$work"
env/bin/python -W ignore - <<'P'
import time
from types import SimpleNamespace

import psutil
from dvclive import Live, monitor_system

reading = {}
monitor_system.GPU_AVAILABLE = True
monitor_system.nvmlInit = monitor_system.nvmlShutdown = lambda: None
monitor_system.nvmlDeviceGetCount = lambda: 1
monitor_system.nvmlDeviceGetHandleByIndex = lambda index: index
monitor_system.nvmlDeviceGetMemoryInfo = lambda device: SimpleNamespace(used=40 * 2**30, total=80 * 2**30)
monitor_system.nvmlDeviceGetUtilizationRates = lambda device: SimpleNamespace(**reading)


def last_values(folder, seconds):
    live = Live(folder, save_dvc_exp=False, dvcyaml=None, monitor_system=True)
    time.sleep(seconds)
    before = live.summary.get("system")
    live.end()
    time.sleep(2)  # the monitor logs what it has
    return before, live.summary["system"]


for gpu, memory, logged in [(95, 20, 21), (4, 4, 100)]:
    reading.update(gpu=gpu, memory=memory)
    system, _ = last_values(f"gpu{gpu}", 4)  # an average takes a second
    usage = system["gpu"]["usage (%)"]["0"]
    print(f"NVML: GPU {gpu} %, memory {memory} %; DVCLive: usage {usage:.0f} %")
    assert round(usage) == logged
    assert round(system["vram"]["total (GB)"]["0"]) == 80

total = psutil.virtual_memory().total / 2**30
before, after = last_values("short", 0.2)
print(f"a short run: {after['ram']['total (GB)']:.1f} of {total:.1f} GB, {after['cpu']['count']} cores,", end=" ")
print(f"{after['vram']['total (GB)']['0']:.0f} of 80 GB on the GPU")
assert before is None
assert after["ram"]["total (GB)"] < total / 2 and after["vram"]["total (GB)"]["0"] < 40
assert after["cpu"]["count"] < psutil.cpu_count() / 2
P
echo "as described: the GPU's usage is another quantity, and the last value is too low"
