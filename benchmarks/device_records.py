"""Time, memory and energy of models on this device, from a fine-tune and a benchmark of each.

    python -m benchmarks.device_records OUT [--models M ...] [--device cuda] [OVERRIDE ...]

The project's own commands make them: scikit-learn's digits at 224 pixels, the 2022 recipe, random
weights where no package has any (for costs that is all the same). The table at the end sets the
energy counter and the mean of the sampled power times the fit's seconds. Further words go to
each fine-tune (recipe.epochs=1). A model whose records are in OUT already is not run again.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.project_copy import ROOT
from benchmarks.random_weights import save_random_weights
from pipeline.benchmark.timings import ModelTimings, read_timings
from pipeline.finetune.weights import WHEELS
from pipeline.records import Record, read_record

MODELS = [
    *(f"tf_efficientnet_lite{size}.in1k" for size in range(3)),
    "resnet18.tv_in1k",
    "convnext_tiny.fb_in1k",
    "vit_small_patch16_224.augreg_in21k_ft_in1k",
    "swin_tiny_patch4_window7_224.ms_in1k",
]
SECONDS_PER_HOUR = 3600
COLUMNS = [
    "model",
    "fit s",
    "error",
    "used %",
    "GiB allocated",
    "GiB reserved",
    "GiB by NVML",
    "Wh by counter",
    "Wh by power",
    "ratio",
    "infer images/s",
    "train images/s",
]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--image-size", type=int, default=224)
    given = parser.parse_args()
    table, names = Table(*COLUMNS), set()
    with tempfile.TemporaryDirectory() as folder:
        for model in given.models:
            record, speed = made(model, Path(folder), given)
            table.add_row(f"{model}, {record.status}", *row(record, speed))
            names.add(str(record.device.name))
    Console(width=180).print(table, f"{', '.join(sorted(names))}, n = 1")


def made(model: str, folder: Path, given: argparse.Namespace) -> tuple[Record, ModelTimings]:
    """The model's record and its timings, as they are in `given.out`."""
    here = [f"image_size={given.image_size}"]
    there = [f"model={model}", "recipe=fastai2022", f"device={given.device}"]
    record, speed = (
        (given.out / f"{kind}-{model}.json").resolve() for kind in ("finetune", "benchmark")
    )
    if not record.exists():
        data = folder / "digits"
        if not data.exists():
            run("dataset", "dataset=digits", *here, f"out={data}")
        words = ["dataset=digits", f"data={data}", "seed=0", *weights(model, folder)]
        run("finetune", *words, *here, *there, *given.overrides, f"out={record}")
    if not speed.exists():
        run("benchmark", "sizes=study", *here, *there, f"out={speed}")
    return read_record(record), read_timings(speed)


def run(command: str, *words: str) -> None:
    subprocess.run([sys.executable, "-m", f"pipeline.{command}", *words], cwd=ROOT, check=True)


def weights(model: str, folder: Path) -> list[str]:
    """Where the fine-tune finds weights: a package, or random ones in a file."""
    if model in WHEELS:
        return ["weights=wheel"]
    save_random_weights(model, folder)
    return ["weights=folder", f"weights.path={folder}"]


def row(record: Record, speed: ModelTimings) -> list[str]:
    """A row from record and timings; failed and diverged runs have no error."""
    cost, telemetry = record.cost, record.telemetry
    counted, integrated = counter_and_power_wh(telemetry)
    rates = {each.mode: each.samples_per_second for each in speed.timings}
    values = [
        (cost.fit_seconds, ".1f"),
        (record.metrics.error_rate, ".4f"),
        (telemetry.get("gpu_utilisation_mean_percent"), ".0f"),
        (cost.peak_memory_allocated_gib, ".2f"),
        (cost.peak_memory_reserved_gib, ".2f"),
        (telemetry.get("gpu_process_memory_peak_gib"), ".2f"),
        *((counted, ".3f"), (integrated, ".3f")),
        (counted / integrated if counted and integrated else None, ".3f"),
        *((rates["infer"], ".0f"), (rates["train"], ".0f")),
    ]
    return ["-" if value is None else format(value, spec) for value, spec in values]


def counter_and_power_wh(telemetry: dict[str, Any]) -> tuple[float | None, float | None]:
    """The fit's energy by the driver's counter, and by its sampled power; None where unknown."""
    by_counter = telemetry.get("gpu_energy_source") == "counter"
    power = telemetry.get("gpu_power_mean_w")
    return (
        telemetry["gpu_energy_wh"] if by_counter else None,
        None if power is None else power * telemetry["seconds"] / SECONDS_PER_HOUR,
    )


if __name__ == "__main__":
    main()
