"""The table `imagenet.csv`, and from it the accuracy and speed of the study's models.

Models are published at several image sizes. Accuracy and each speed are taken at the size nearest
to the study's, and carry the size they were measured at.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError, near_matches
from pipeline.study.params import MODES, Study
from pipeline.timm_results.families import family, pretraining
from pipeline.timm_results.licences import stated
from pipeline.timm_results.published_tables import OTHER_SETS, Setup

SET_COLUMNS = [f"{prefix}_{top}" for prefix in OTHER_SETS for top in ("top1", "top5")]
TIMM, OWN = "timm", "own"  # who measured a speed
SETUP_COLUMNS = ["benchmark_file", "measured_by", *(field.name for field in fields(Setup))]
SPEED_COLUMNS = [
    "batch_size",
    "samples_per_second",
    "step_ms",
    "gmacs",
    "macts",
    "speed_params_m",
    "peak_memory_gib",
    "peak_rss_gib",
    "joules_per_image",  # of own benchmarks alone
]
NAME_COLUMNS = ["model", "arch", "tag", "family", "pretraining", "licence"]  # "" for unknown
COLUMNS = [
    *NAME_COLUMNS,
    "fixed_size",  # pixels, of models that take no other input
    "img_size",
    "top1",
    "top5",
    *SET_COLUMNS,
    "params_m",
    "crop_pct",
    "interpolation",
    *SETUP_COLUMNS,
    *SPEED_COLUMNS,
    "commit",
]
TEXT_COLUMNS = [*NAME_COLUMNS, "interpolation", "commit", *SETUP_COLUMNS]
ACCURACIES = {  # column of `published`: that of imagenet.csv
    "imagenet_top1": "top1",
    **{f"imagenet_{name}_top1": f"{name}_top1" for name in OTHER_SETS},
}
USUAL_SIZE = 224  # pixels: what most published weights were trained at
LARGER = 1.5  # times the images' size: an accuracy at still larger ones says little of these
SCALES = {"in1k": 1, "in12k": 2, "in21k": 2}  # of pretraining: 1.3, 12 and 14 million images
IPS, MILLISECONDS = "serving_images_per_second", "serving_ms_for_one_image"
WEB = 3  # every other collection: 15 million images and more, from the web


def read_imagenet(path: Path) -> pd.DataFrame:
    """`imagenet.csv` as `merge` wrote it: text is never NaN ("" for no tag), numbers may be.

    Raises `PipelineError` where the file is missing or lacks a column.
    """
    try:
        header = pd.read_csv(path, nrows=0).columns
    except FileNotFoundError:
        raise PipelineError(f"{path}: not there: run `dvc repro merge`") from None
    except (OSError, ValueError) as error:
        raise PipelineError(f"{path}: cannot be read ({error}); run `dvc repro merge`") from None
    if missing := [name for name in COLUMNS if name not in header]:
        raise PipelineError(f"{path}: no column {missing[0]}; run `dvc repro merge`")
    numbers = [name for name in COLUMNS if name not in TEXT_COLUMNS]
    table = pd.read_csv(
        path,
        dtype=dict.fromkeys(TEXT_COLUMNS, "str") | dict.fromkeys(numbers, "float64"),
        keep_default_na=False,
        na_values={name: [""] for name in numbers},
    )
    return table.astype({"img_size": "int64", "batch_size": "Int64"})


def chart_rows(study: Study, imagenet: pd.DataFrame, path: Path, mode: str) -> pd.DataFrame:
    """The rows of `imagenet` from the study's benchmark file for `mode`, one of MODES.

    Raises `PipelineError`, which names `path`, where the table has no such file.
    """
    name = study.charts[mode]
    rows = imagenet[imagenet["benchmark_file"] == name]
    if rows.empty:
        files = set(imagenet["benchmark_file"]) - {""}
        raise PipelineError(
            f"{study.path}: charts.{mode} is {name}, which {path} does not have: "
            f"{near_matches(name, files)}"
        )
    return rows


def published(study: Study, imagenet: pd.DataFrame, path: Path) -> pd.DataFrame:
    """One row per model of the study, with what is published of it; other values are null."""
    table = pd.DataFrame({"model": study.models})
    table["family"] = table["model"].map(family)
    table["pretraining"] = table["model"].map(pretraining)
    table["pretraining_scale"] = table["pretraining"].map(pretraining_scale)
    names = {old: new for new, old in ACCURACIES.items()} | {"img_size": "imagenet_img_size"}
    columns = ["model", "licence", "params_m", *names]
    accuracy = of_study(study, imagenet)[columns].rename(columns=names)
    table = table.merge(accuracy, on="model", how="left", validate="one_to_one")
    for mode in MODES:
        speed = of_study(study, chart_rows(study, imagenet, path, mode))
        names = {
            "samples_per_second": f"{mode}_samples_per_second",
            "img_size": f"{mode}_img_size",
        }
        speed = speed[["model", *names]].rename(columns=names)
        table = table.merge(speed, on="model", how="left", validate="one_to_one")
    table["licence"] = table["licence"].replace("", None)
    sizes = [column for column in table.columns if column.endswith("img_size")]
    table[sizes] = table[sizes].astype("Int64")
    return table


def completed(published: pd.DataFrame, registry: Callable[[], Mapping[str, Any]]) -> pd.DataFrame:
    """`published` (model, params_m, licence, ...), with what timm itself says of models of which
    nothing is published, such as DINOv2 and CLIP. `registry` loads timm's, as `names.resolve` does.
    """
    table = published.astype({"licence": object})
    for row, model in table.loc[table["params_m"].isna(), "model"].items():
        if model in registry():
            table.loc[row, "params_m"] = parameters_m(model)
            table.loc[row, "licence"] = stated(registry()[model].license) or None
    return table


@cache  # a race asks again before each batch
def parameters_m(model: str) -> float:
    """Millions of parameters of a model as timm builds it, without any weights in memory."""
    import timm
    import torch

    with torch.device("meta"):
        built = timm.create_model(model, pretrained=False)
    return round(sum(parameter.numel() for parameter in built.parameters()) / 1e6, 2)


def largest_size(size: int) -> float:
    """The largest images, in pixels, at which an accuracy says something of images of `size`."""
    return LARGER * max(size, USUAL_SIZE)


def with_training_speed(
    study: Study, imagenet: pd.DataFrame, path: Path, size: int
) -> pd.DataFrame:
    """One row per published model, at the image size nearest to `size` pixels, with the training
    speed in `samples_per_second` and `device`.

    timm's training benchmark is of 2022. The speed of a later model is estimated: its inference
    speed, times the median ratio of the two speeds of the other models at equal image sizes.
    `speed_from` names the mode that was measured. Models are left out whose accuracy is published
    only at images larger than `largest_size`.
    """
    charts = {mode: chart_rows(study, imagenet, path, mode) for mode in ("train", "infer")}
    train, infer = (
        at_nearest_size(rows[rows["img_size"] <= largest_size(size)], size)
        .drop_duplicates("model")
        .assign(speed_from=mode)
        for mode, rows in charts.items()
    )
    both = train.merge(infer, on=["model", "img_size"], validate="one_to_one")
    ratio = (both["samples_per_second_x"] / both["samples_per_second_y"]).median()
    later = infer[~infer["model"].isin(train["model"])]
    speed = {"samples_per_second": ratio * later["samples_per_second"]}
    rows = pd.concat([train, later.assign(**speed, device=charts["train"]["device"].iloc[0])])
    return rows.sort_values("model", kind="stable", ignore_index=True)


def pretraining_scale(collection: str) -> float:
    """1 for ImageNet-1k alone, 2 for larger parts of ImageNet, 3 for more; NaN if unknown."""
    return float("nan") if collection == "other" else SCALES.get(collection, WEB)


def of_study(study: Study, rows: pd.DataFrame) -> pd.DataFrame:
    """Of each model of the study, the row at the image size nearest to the study's."""
    rows = at_nearest_size(rows[rows["model"].isin(study.models)], study.image_size)
    return rows.drop_duplicates("model")


def at_nearest_size(rows: pd.DataFrame, size: int | pd.Series) -> pd.DataFrame:
    """The rows at each model's image size nearest to `size`, the smaller of two as near.

    A model may have several rows at one size; they come in the order of the models' names.
    """
    distance = (rows["img_size"] - size).abs()
    ordered = rows.assign(distance=distance).sort_values(["model", "distance", "img_size"])
    nearest = ordered.groupby("model")["img_size"].transform("first")
    return ordered[ordered["img_size"] == nearest].drop(columns="distance")


@dataclass(frozen=True)
class Serving:
    """One benchmark file of inference: a row for each model, at the size nearest to the study's.

    One file, so that no two devices, precisions or versions are mixed.
    """

    setup: str
    rows: pd.DataFrame

    @property
    def alone(self) -> pd.DataFrame:
        """The models that were timed with one image at a time; else `step_ms` is the time of a
        batch of up to 2,048 images, and says nothing of one.
        """
        return self.rows[self.rows["batch_size"] == 1]

    def joined(self, rows: pd.DataFrame) -> pd.DataFrame:
        """`rows` with IPS and MILLISECONDS of their models, null where they are not known."""
        columns = {IPS: self.rows["samples_per_second"], MILLISECONDS: self.alone["step_ms"]}
        found = {name: rows["model"].map(each).astype(float) for name, each in columns.items()}
        return rows.assign(**found)

    def text(self, model: str) -> str:
        """What it says of a model, and how that was measured."""
        if model not in self.rows.index:
            return f"Serving {model} on {self.setup}: not known."
        row: Any = self.rows.loc[model]
        alone = model in self.alone.index
        size = "one at a time" if alone else f"in batches of {row['batch_size']}"
        return (
            f"Serving on {self.setup}: {_shown(row['samples_per_second'], 4)} images/s {size} at "
            f"{row['img_size']} pixels, {_shown(row['step_ms'], 3)} ms "
            f"{'for one image' if alone else 'a batch'}."
        )

    def without_latency(self, imagenet: pd.DataFrame, speed: str) -> str:
        """Why the time of one image is not known if none was timed alone, and what to do: `speed`
        is the option to give instead.
        """
        sizes, first = self.rows["batch_size"], self.rows.iloc[0]
        least, most = sizes.min(), sizes.max()
        batches = f"{most:,}" if least == most else f"{least:,} to {most:,}"
        single = imagenet[(imagenet["mode"] == "infer") & (imagenet["batch_size"] == 1)]
        devices = sorted(set(single["device"]))
        timed = f", or a device that was timed with one: --serve-on {'|'.join(devices)}"
        return (
            f"the time of one image is not known on {first['device']}, which was timed with "
            f"batches of {batches} images: give {speed}{timed if devices else ''}"
        )


def serving(
    imagenet: pd.DataFrame, where: str | pd.DataFrame, models: Iterable[str], size: int
) -> Serving:
    """The inference speeds on the device `where`, named as in a benchmark file's name, or of the
    file of that name; or those of this machine, by its own rows of the table.

    Of several files of a device, the one that knows most of `models`; then the last by name.
    """
    rows = imagenet[(imagenet["mode"] == "infer") & (imagenet["samples_per_second"] > 0)]
    devices = sorted(set(rows["device"]))
    if isinstance(where, pd.DataFrame):
        found = where[where["samples_per_second"] > 0]
        if found.empty:
            raise PipelineError(
                "no serving speed was measured on this machine (`benchmark` in params.yaml): do "
                f"that, or name a device: --serve-on {'|'.join(devices)}"
            )
    else:
        found = rows[(rows["device"] == where) & (rows["compile"] == "eager")]
        found = rows[rows["device"] == where] if found.empty else found
        found = rows[rows["benchmark_file"] == where] if found.empty else found
        if found.empty:
            raise PipelineError(f"--serve-on {where}: {near_matches(where, devices)}")
    asked = found[found["model"].isin(set(models))]
    counts = asked.groupby("benchmark_file")["model"].nunique()
    best = counts[counts == counts.max()].index.max() if len(counts) else ""
    file = best or found["benchmark_file"].max()
    found = found[found["benchmark_file"] == file]
    nearest = at_nearest_size(found, size).drop_duplicates("model").set_index("model")
    return Serving(_setup(nearest.iloc[0]), nearest)


def _shown(value: float, digits: int) -> str:
    """`1,520`: so many digits, without a power of ten."""
    return f"{float(f'{value:.{digits}g}'):,g}"


def _setup(row: pd.Series) -> str:
    """`rtx3090 (amp, nhwc, torch 1.13, eager, by timm)`."""
    how = (row["precision"], row["layout"], f"torch {row['torch']}", row["compile"])
    return f"{row['device']} ({', '.join(how)}, measured by {row['measured_by']})"
