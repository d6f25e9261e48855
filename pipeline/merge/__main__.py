"""Stage `merge`: timm's published accuracy joined with published and own speed.

Reads a folder of timm's CSVs and the timings of stage `benchmark`. Writes `imagenet.csv` (one row
per weights x image size x benchmark file), `unmatched.csv` (rows without a partner, by file, with
the reason) and a folder of own tables in timm's format. Speed files name the architecture, accuracy
files `architecture.tag`, so several weights share one speed row. The key is (architecture, image
size): the architecture alone would pair speed and accuracy of different image sizes.
"""

import re
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.benchmark.timings import ModelTimings, Timing, read_timings
from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml, replacing_folder, write_json, write_table
from pipeline.names.resolve import fixed_size, names_2022, weights
from pipeline.timm_results.families import arch_of, family, pretraining, tag_of
from pipeline.timm_results.imagenet import COLUMNS, OWN, SETUP_COLUMNS, TIMM
from pipeline.timm_results.licences import stated
from pipeline.timm_results.published_tables import (
    IMAGENET,
    KEY,
    OTHER_SETS,
    read_accuracy,
    read_benchmark,
    read_source,
    setup_of,
    short_name,
)

LEFT_OUT = "left_out.csv"
LEFT_OUT_COLUMNS = ["file", "model", "img_size", "reason"]
PRECISIONS = {"fp32": "fp32", "fp16": "amp", "bf16": "amp_bf16"}  # ours -> timm's, with autocast
OWN_COLUMNS = [  # of this machine's tables, besides timm's
    "batch_size_asked",
    "peak_memory_allocated_gib",
    "peak_memory_reserved_gib",
    "peak_rss_gib",
    "joules_per_sample",
]


def main(
    folder: Path,
    imagenet_csv: Path,
    unmatched_csv: Path,
    *,
    study: Path | None = None,
    benchmarks: Path | None = None,
    own_speed: Path | None = None,
) -> None:
    """Merge timm's result tables into one, and list what found no partner.

    Args:
        folder: the tables, as stage `fetch` leaves them
        imagenet_csv: the merged table to write
        unmatched_csv: the list to write of rows without a partner
        study: the study file, whose models' own benchmarks are merged too
        benchmarks: the folder with this machine's benchmarks
        own_speed: the folder to write this machine's speed tables to
    """
    if study and benchmarks and own_speed:
        write_own_speed(study, benchmarks, own_speed)
    elif study or benchmarks or own_speed:
        raise PipelineError("--study, --benchmarks and --own-speed go together: give all or none")
    imagenet, unmatched = merge(folder, own_speed)
    write_table(imagenet_csv, imagenet)
    write_table(unmatched_csv, unmatched)
    timed = imagenet[imagenet["benchmark_file"] != ""]
    print(
        f"{imagenet_csv}: {len(timed)} rows of {timed['model'].nunique()} models in"
        f" {timed['benchmark_file'].nunique()} benchmark files;"
        f" {unmatched_csv}: {len(unmatched)} without a partner"
    )


def write_own_speed(study: Path, benchmarks: Path, out: Path) -> None:
    """Fill the folder `out` from BENCHMARKS/MODEL.json of each model that STUDY has timed."""
    found = [read_timings(benchmarks / f"{model}.json") for model in models_of(study)]
    tables, hardware, left_out = own_tables(found)
    with replacing_folder(out) as folder:
        for name, table in tables.items():
            write_table(folder / name, table)
        write_table(folder / LEFT_OUT, left_out)
        write_json(folder / "hardware.json", hardware)


def models_of(study: Path) -> list[str]:
    """`benchmark.models` of the study."""
    params = read_yaml(study)
    try:
        models = params["benchmark"]["models"]
    except (TypeError, KeyError):
        raise PipelineError(f"{study}: no benchmark.models; [] times none") from None
    if not isinstance(models, list) or not all(isinstance(model, str) for model in models):
        raise PipelineError(f"{study}: benchmark.models is {models!r}: write a list of models")
    return models


def own_tables(
    models: Iterable[ModelTimings],
) -> tuple[dict[str, pd.DataFrame], dict[str, dict[str, Any]], pd.DataFrame]:
    """This machine's tables by file name, the hardware of each, and the timings that are in none.

    Weights of one architecture are one network: only the first of them is in a table.
    """
    rows: dict[str, dict[tuple[str, int], dict[str, Any]]] = {}
    hardware: dict[str, dict[str, Any]] = {}
    left_out = []
    for each in models:
        arch = arch_of(each.model)
        for timing in each.timings:
            name = file_name(timing.mode, each)
            key = arch, timing.img_size
            why = timing.failed or timing.not_for_speed
            if key in rows.get(name, {}):
                why = why or f"timed already, as {arch}"
            if why:
                left_out.append([name, each.model, timing.img_size, why])
                continue
            rows.setdefault(name, {})[key] = _row(arch, timing)
            machine = {"device": asdict(each.device), "versions": each.versions}
            hardware.setdefault(name, machine | {"started_at": each.started_at})
    tables = {name: pd.DataFrame(list(table.values())) for name, table in rows.items()}
    return tables, hardware, pd.DataFrame(left_out, columns=LEFT_OUT_COLUMNS)


def file_name(mode: str, found: ModelTimings) -> str:
    """timm's name for a file of this setup: benchmark-infer-amp-nhwc-pt2150-cu132-rtx4090.csv."""
    device = found.device
    torch = "".join(re.findall(r"\d+", found.versions["torch"] or "")[:3])
    if device.kind == "cpu":
        backend = f"cpu{device.threads}"
    else:
        backend = f"cu{device.cuda.replace('.', '')}" if device.cuda else "gpu"
    precision, name = PRECISIONS[device.precision or ""], short_name(device.name or "unknown")
    return f"benchmark-{mode}-{precision}-{found.layout}-pt{torch}-{backend}-{name}.csv"


def _row(arch: str, timing: Timing) -> dict[str, Any]:
    """A row of a speed table, in timm's columns and OWN_COLUMNS."""
    mode = timing.mode
    numbers = {
        "samples_per_sec": round(timing.samples_per_second or 0, 2),
        "step_time": round(timing.step_ms or 0, 3),
        "batch_size": timing.batch_size,
        "img_size": timing.img_size,
    }
    own = {name: getattr(timing, name) for name in OWN_COLUMNS}
    return {
        "model": arch,
        **{f"{mode}_{name}": value for name, value in numbers.items()},
        "param_count": round(timing.params_m or 0, 2),
        **{f"{mode}_{name}": value for name, value in own.items()},
    }


def merge(folder: Path, own: Path | None = None) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of imagenet.csv and unmatched.csv; `folder` has timm's tables, `own` this
    machine's.
    """
    source = read_source(folder)
    own_tables = sorted(own.glob("benchmark-*.csv")) if own else []
    benchmarks = _timms_tables(folder, {path.name for path in own_tables})
    accuracy, unmatched = accuracy_of(folder)
    timed = []
    for path in [*benchmarks, *own_tables]:
        speed = read_benchmark(path)
        measured_by = OWN if path in own_tables else TIMM
        timed.append(_joined(accuracy, speed, path).assign(measured_by=measured_by))
        timed_here = accuracy["arch"].isin(speed["model"])  # own tables are of the study's models
        expected = accuracy[timed_here] if path in own_tables else accuracy
        unmatched += [_no_speed(expected, speed, path), _no_accuracy(accuracy, speed, path)]
    if own:
        unmatched.append(pd.read_csv(own / LEFT_OUT, dtype={"img_size": "int64"}))
    rows = pd.concat(timed, ignore_index=True)
    untimed = accuracy[~accuracy.set_index(KEY).index.isin(rows.set_index(KEY).index)]
    imagenet = pd.concat([rows, untimed], ignore_index=True).assign(commit=source.commit or "")
    imagenet[SETUP_COLUMNS] = imagenet[SETUP_COLUMNS].fillna("")
    imagenet["batch_size"] = imagenet["batch_size"].astype("Int64")
    return imagenet[COLUMNS], pd.concat(unmatched, ignore_index=True)


def _timms_tables(folder: Path, own_names: set[str]) -> list[Path]:
    """timm's benchmark files, without those whose name one of this machine's has as well."""
    benchmarks = sorted(folder.glob("benchmark-*.csv"))
    if not benchmarks:
        raise PipelineError(f"{folder}: no benchmark-*.csv; fetch timm's results again")
    known = {IMAGENET, *OTHER_SETS.values(), *(path.name for path in benchmarks)}
    if others := sorted({path.name for path in folder.glob("*.csv")} - known):
        print(f"{folder}: not read, as no benchmark and no known accuracy: {', '.join(others)}")
    if twice := sorted(own_names & known):
        print(f"{folder}: not read, as this machine's own have the same names: {', '.join(twice)}")
    return [path for path in benchmarks if path.name not in own_names]


def accuracy_of(folder: Path) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """One row per weights and image size, with the accuracy on every set; and rows of other sets
    without a partner, by file.
    """
    if not (folder / IMAGENET).is_file():
        raise PipelineError(f"{folder}: no {IMAGENET}; fetch timm's results again")
    accuracy = read_accuracy(folder / IMAGENET)
    unmatched = []
    for prefix, file in OTHER_SETS.items():
        tops = {top: f"{prefix}_{top}" for top in ("top1", "top5")}
        if not (folder / file).is_file():
            print(f"{folder}: no {file}; the columns {prefix}_* stay empty")
            accuracy[list(tops.values())] = float("nan")
            continue
        other = read_accuracy(folder / file)[[*KEY, *tops]].rename(columns=tops)
        both = accuracy.merge(other, on=KEY, how="outer", validate="one_to_one", indicator=True)
        for side, reason in (("left_only", "no accuracy"), ("right_only", f"not in {IMAGENET}")):
            lost = both[both["_merge"] == side]
            unmatched.append(_unmatched(file, lost, [reason] * len(lost)))
        accuracy = accuracy.merge(other, on=KEY, how="left", validate="one_to_one")
    return accuracy.assign(
        arch=accuracy["model"].map(arch_of),
        tag=accuracy["model"].map(tag_of),
        family=accuracy["model"].map(family),
        pretraining=accuracy["model"].map(pretraining),
        licence=accuracy["model"].map(licence),
        fixed_size=accuracy["model"].map(fixed_size).astype(float),
    ), unmatched


def licence(model: str) -> str:
    """The licence that the installed timm states for weights, which may have a name of 2022."""
    config = weights().get(names_2022().get(model) or model)
    return "" if config is None else stated(config.license)


def _joined(accuracy: pd.DataFrame, speed: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The weights that one benchmark file times at the image size of their accuracy."""
    speed = speed.dropna(subset="samples_per_second").rename(columns={"model": "arch"})
    joined = accuracy.merge(speed, on=["arch", "img_size"], how="inner", validate="many_to_one")
    return joined.assign(benchmark_file=path.name, **asdict(setup_of(path.name)))


def _no_speed(accuracy: pd.DataFrame, speed: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The weights that this benchmark file does not time, with the reason."""
    timed = speed.dropna(subset="samples_per_second")
    sizes = _sizes(timed, "model")
    failed = set(speed["model"]) - set(timed["model"])

    def why(arch: str) -> str:
        if arch in sizes:
            return f"no speed at this size: timed at {' '.join(map(str, sorted(sizes[arch])))}"
        return "no speed: its run failed" if arch in failed else "no speed"

    lost = _not_at(sizes, accuracy, "arch")
    return _unmatched(path.name, lost, [why(arch) for arch in lost["arch"]])


def _no_accuracy(accuracy: pd.DataFrame, speed: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The rows of this benchmark file without a published accuracy, with the reason."""
    import timm  # takes seconds

    sizes = _sizes(accuracy, "arch")
    renamed, known = timm.models.get_deprecated_models(), set(timm.list_models())

    def why(name: str) -> str:
        if name in sizes:
            return f"no accuracy at this size: known at {' '.join(map(str, sorted(sizes[name])))}"
        if name in renamed:
            return f"deprecated name: today {renamed[name] or 'gone'}"
        return "no accuracy" if name in known else "gone from timm"

    lost = _not_at(sizes, speed, "model")
    return _unmatched(path.name, lost, [why(name) for name in lost["model"]])


def _sizes(table: pd.DataFrame, name: str) -> dict[Any, set[int]]:
    """The image sizes in `table` for each value of column `name`."""
    sizes: dict[Any, set[int]] = table.groupby(name)["img_size"].agg(set).to_dict()
    return sizes


def _not_at(sizes: dict[Any, set[int]], table: pd.DataFrame, name: str) -> pd.DataFrame:
    """The rows of `table` whose image size is none of the sizes of their column `name`."""
    pairs = zip(table[name], table["img_size"], strict=True)
    return table[[size not in sizes.get(each, ()) for each, size in pairs]]


def _unmatched(file: str, rows: pd.DataFrame, reasons: list[str]) -> pd.DataFrame:
    return rows[KEY].assign(file=file, reason=reasons)[["file", *KEY, "reason"]]


if __name__ == "__main__":
    run(main)
