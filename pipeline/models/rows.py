"""What is to say of a model: exact weights, size, input, fit with fastai, published results.

Reads timm's registry and the merged table of published results, if it is there. Parameters come
from that table; for a few models that it lacks they are counted on a model without memory (torch's
meta device), for many (0.2 s each) they stay unknown.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from pipeline.core.errors import PipelineError, near_matches
from pipeline.names.features import left_out
from pipeline.names.resolve import defaults, meaning_of, names_2022, no_model, weights
from pipeline.names.vision_learner import Fit, fit_of
from pipeline.timm_results.imagenet import at_nearest_size, read_imagenet

TABLE = Path("data/imagenet.csv")

COUNTED = 20  # models whose parameters are worth counting one by one
SETUP = ["precision", "compile", "torch", "device"]


@dataclass(frozen=True)
class Row:
    """One model. `bare_name_loads_it`: does the architecture's name alone load these weights today;
    `bare_name_in_2022`: what that name loaded in 2022; `names_in_2022`: what loaded these then.
    `left_out`: the share of the pretrained parameters that `vision_learner` leaves out, if counted.
    """

    model: str
    params_m: float | None
    input_size: int
    input_fixed: bool
    bare_name_loads_it: bool
    bare_name_in_2022: str | None
    bare_name_changed: bool | None
    names_in_2022: list[str]
    vision_learner: Fit
    left_out: float | None
    imagenet_top1: float | None
    img_size: int | None
    samples_per_second: float | None
    speed_file: str | None
    commit: str | None


def rows_of(names: list[str], table: Path, speed_file: str | None = None) -> list[Row]:
    """The models that `names` and patterns stand for, each once, in order."""
    with Console(stderr=True).status("reading timm's registry"):
        models = list(dict.fromkeys(model for name in names for model in _models_of(name)))
    published = _published(models, _imagenet(table, speed_file), speed_file)
    params = dict(published["params_m"].dropna())
    if len(unknown := [model for model in models if model not in params]) <= COUNTED:
        params |= {model: _parameters_m(model) for model in unknown}
    counted = len(models) <= COUNTED
    return [
        _row(model, params, published, left_out(model, "fastai") if counted else None)
        for model in models
    ]


def _models_of(name: str) -> list[str]:
    """The exact weights a name or pattern stands for: today's first, then those of 2022."""
    if any(mark in name for mark in "*?["):
        import timm

        if not (found := timm.list_pretrained(name)):
            raise PipelineError(f"{name[:80]!r}: no model with pretrained weights matches")
        return list(found)
    meaning = meaning_of(name)
    found = [model for model in (meaning.model, meaning.in_2022, meaning.renamed) if model]
    if not found:
        raise no_model(meaning)
    return found


def _row(model: str, params: dict[str, float], published: pd.DataFrame, share: float | None) -> Row:
    architecture = model.partition(".")[0]
    config = weights()[model]
    shown = {
        key: None if pd.isna(value) or value == "" else value
        for key, value in published.loc[model].items()
    }
    bare = meaning_of(architecture)
    return Row(
        model=model,
        params_m=params.get(model),
        input_size=config.input_size[-1],
        input_fixed=config.fixed_input_size,
        bare_name_loads_it=defaults().get(architecture) == model,
        bare_name_in_2022=bare.in_2022,
        bare_name_changed=bare.changed,
        names_in_2022=[name for name, tag in names_2022().items() if tag == model],
        vision_learner=fit_of(model),
        left_out=share,
        imagenet_top1=shown["top1"],
        img_size=None if shown["img_size"] is None else int(shown["img_size"]),
        samples_per_second=shown["samples_per_second"],
        speed_file=shown["benchmark_file"],
        commit=shown["commit"],
    )


def _imagenet(path: Path, speed_file: str | None) -> pd.DataFrame | None:
    if path.exists():
        imagenet = read_imagenet(path)
        files = set(imagenet["benchmark_file"]) - {""}
        if speed_file is not None and speed_file not in files:
            raise PipelineError(
                f"{path}: no benchmark file {speed_file}: {near_matches(speed_file, files)}"
            )
        return imagenet
    if path != TABLE or speed_file is not None:
        raise PipelineError(f"{path}: no such table: run `dvc repro merge`")
    print(
        f"{path}: not there, so accuracy and speed stay blank: run `dvc repro merge`",
        file=sys.stderr,
    )
    return None


def _published(
    models: list[str], imagenet: pd.DataFrame | None, speed_file: str | None
) -> pd.DataFrame:
    """Per model, its accuracy at the published size nearest to its own, and its speed there.

    One benchmark file gives the speed of all.
    """
    columns = ["top1", "img_size", "params_m", "samples_per_second", "benchmark_file", "commit"]
    if imagenet is None:
        return pd.DataFrame(index=models, columns=columns)
    rows = imagenet[imagenet["model"].isin(models)]
    own_size = pd.Series([weights()[model].input_size[-1] for model in rows["model"]], rows.index)
    rows = at_nearest_size(rows, own_size)
    speed = rows[rows["benchmark_file"] == (speed_file or _speed_file(rows))]
    accuracy = rows.drop_duplicates("model").set_index("model")[[*columns[:3], "commit"]]
    speed = speed.drop_duplicates("model").set_index("model")[columns[3:5]]
    return accuracy.join(speed, validate="one_to_one").reindex(models)[columns]


def _speed_file(rows: pd.DataFrame) -> str:
    """Of the files that time the most models on a GPU, the plainest setup and the newest torch."""
    gpu = rows[(rows["mode"] == "infer") & ~rows["backend"].str.startswith("cpu")]
    if gpu.empty:
        return "-"
    files = gpu.groupby(["benchmark_file", *SETUP])["model"].nunique().rename("n").reset_index()

    def choice(file: dict[Any, Any]) -> tuple[int, bool, list[int], str]:
        plain = file["precision"] == "amp" and file["compile"] == "eager"
        return file["n"], plain, [int(part) for part in file["torch"].split(".")], file["device"]

    return str(max(files.to_dict("records"), key=choice)["benchmark_file"])


def _parameters_m(model: str) -> float:
    import timm
    import torch

    with torch.device("meta"):
        built = timm.create_model(model, pretrained=False)
    return round(sum(parameter.numel() for parameter in built.parameters()) / 1e6, 2)
