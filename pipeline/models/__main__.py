"""`python -m pipeline.models NAME ...`: the weights that names or patterns load today.

Reads timm's registry and, if it exists, the table of stage `merge`: exact weights, size, input,
fit with fastai, published results.
"""

import json
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pandas as pd
from rich.console import Console
from rich.table import Table

from pipeline.core.command import console, run
from pipeline.core.errors import PipelineError, near_matches
from pipeline.names.resolve import (
    defaults,
    fixed_size,
    meaning_of,
    names_2022,
    no_model,
    weights,
)
from pipeline.timm_results.families import for_users
from pipeline.timm_results.imagenet import at_nearest_size, parameters_m, read_imagenet
from pipeline.timm_results.licences import shown as licence_shown
from pipeline.timm_results.licences import stated

if TYPE_CHECKING:
    from pipeline.names.vision_learner import Fit

TABLE = Path("data/imagenet.csv")

MOST_COUNTED = 20  # models whose parameters are counted by building them, one by one
SETUP = ["precision", "compile", "torch", "device"]


@dataclass(frozen=True)
class Row:
    """One model.

    bare_name_loads_it  does the architecture's name alone load these weights today?
    bare_name_in_2022   the weights that the architecture's name loaded in 2022
    bare_name_changed   are those others than today's? None for a name not known from 2022
    names_in_2022       the names that loaded these weights in 2022
    left_out            share of the pretrained parameters that `vision_learner` leaves out; None if
                        not counted
    licence             timm's identifier of the weights' licence; None where it states none
    """

    model: str
    params_m: float | None
    input_size: int
    input_fixed: bool
    bare_name_loads_it: bool
    bare_name_in_2022: str | None
    bare_name_changed: bool | None
    names_in_2022: list[str]
    vision_learner: "Fit"
    left_out: float | None
    licence: str | None
    imagenet_top1: float | None
    img_size: int | None
    samples_per_second: float | None
    speed_file: str | None
    commit: str | None


def rows_of(names: list[str], table: Path, speed_file: str | None) -> list[Row]:
    """The models that `names` and patterns stand for, each once, in order.

    Speeds are those of `speed_file`, else of the file that times the most models on a GPU.
    """
    with Console(stderr=True).status("reading timm's registry"):
        from pipeline.names.vision_learner import left_out  # loads timm and fastai

        models = list(dict.fromkeys(model for name in names for model in _models_of(name)))
    published = _published(models, _imagenet(table, speed_file), speed_file)
    params = dict(published["params_m"].dropna())
    if len(unknown := [model for model in models if model not in params]) <= MOST_COUNTED:
        params |= {model: parameters_m(model) for model in unknown}
    counted = len(models) <= MOST_COUNTED
    return [
        _row(model, params, published, left_out(model, "fastai") if counted else None)
        for model in models
    ]


def sorted_out(names: Iterable[str]) -> tuple[list[str], list[str]]:
    """The names and patterns that stand for models; and of each of the others, why it does not."""
    fitting, misfits = [], []
    with Console(stderr=True).status("reading timm's registry"):
        for name in names:
            try:
                _models_of(name)
                fitting.append(name)
            except PipelineError as error:
                misfits.append(str(error))
    return fitting, misfits


def _models_of(name: str) -> list[str]:
    """The exact weights that a name or pattern stands for: today's first, then those of 2022.

    Raises `PipelineError` where there are none.
    """
    if any(mark in name for mark in "*?["):
        import timm

        if not (found := for_users(timm.list_pretrained(name), name)):
            hint = _pattern_hint(name.strip("*"))
            raise PipelineError(f"{name[:80]!r}: no model with pretrained weights matches{hint}")
        return found
    try:
        meaning = meaning_of(name)
    except PipelineError as error:
        if hint := _pattern_hint(name):
            raise PipelineError(f"model {name}: no model is called just so{hint}") from None
        raise error
    found = [model for model in (meaning.model, meaning.in_2022, meaning.renamed) if model]
    if not found:
        raise no_model(meaning)
    return found


def _pattern_hint(part: str) -> str:
    """A hint for an error line: the pattern for names with `part`, and the shortest three of them;
    "" where there are none.
    """
    for pattern, found in (
        (f"{part}*", [name for name in weights() if name.startswith(part)]),
        (f"*{part}*", [name for name in weights() if part in name]),
    ):
        if part and (found := for_users(found, pattern)):
            shown = ", ".join(sorted(found, key=lambda name: (len(name), name))[:3])
            return f": write '{pattern}' for {shown}" + (", ..." if len(found) > 3 else "")
    return ""


def _row(model: str, params: dict[str, float], published: pd.DataFrame, share: float | None) -> Row:
    from pipeline.names.vision_learner import fit_of

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
        input_fixed=fixed_size(model) is not None,
        bare_name_loads_it=defaults().get(architecture) == model,
        bare_name_in_2022=bare.in_2022,
        bare_name_changed=bare.changed,
        names_in_2022=[name for name, tag in names_2022().items() if tag == model],
        vision_learner=fit_of(model),
        left_out=share,
        licence=stated(config.license) or None,
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
    """Of each model the accuracy at the published image size nearest to its own, and the speed at
    that size, all speeds from one benchmark file.
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


def print_json(rows: list[Row], out: TextIO) -> None:
    json.dump([asdict(row) for row in rows], out, indent=2, allow_nan=False)
    out.write("\n")


def print_table(rows: list[Row], out: TextIO) -> None:
    """Print a table, and below it what its words mean and where its numbers come from."""
    shown_on = console(out)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model", no_wrap=True)
    for name in ("params M", "input px", "top-1 %", "images/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("vision_learner", no_wrap=True)
    table.add_column("left out %", justify="right", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    table.add_column("since 2022", overflow="fold")
    for row in rows:
        elsewhere = row.img_size not in (None, row.input_size)
        table.add_row(
            row.model,
            _number(row.params_m, 2),
            f"{'=' if row.input_fixed else ''}{row.input_size}",
            _number(row.imagenet_top1, 2) + (f" @{row.img_size}" if elsewhere else ""),
            _number(row.samples_per_second, 0),
            row.vision_learner.word,
            _number(None if row.left_out is None else 100 * row.left_out, 1),
            licence_shown(row.licence),
            since_2022(row),
        )
    shown_on.print(table)
    for line in _notes(rows):
        shown_on.print(line, highlight=False, soft_wrap=True, style="dim")


def since_2022(row: Row) -> str:
    """What became of the names of these weights, in a few words."""
    architecture = row.model.partition(".")[0]
    renamed = [name for name in row.names_in_2022 if name != architecture]
    if row.bare_name_changed and row.bare_name_loads_it:
        return f"CHANGED, was .{(row.bare_name_in_2022 or '').partition('.')[2]}"
    if row.bare_name_changed and architecture in row.names_in_2022:
        return f"was {architecture}"
    if renamed:
        return f"was {', '.join(renamed)}"
    return "same" if row.names_in_2022 else ""


def _notes(rows: list[Row]) -> list[str]:
    lines = []
    if any(row.input_fixed for row in rows):
        lines.append("input px: =224 is fixed")
    if any(row.img_size not in (None, row.input_size) for row in rows):
        lines.append("top-1 % @288: published at 288 pixels, not at the model's own input size")
    words = {row.vision_learner.word: row.vision_learner.meaning for row in rows}
    lines += [f"{word}: {meaning}" for word, meaning in sorted(words.items())]
    commit = next((f" at {row.commit[:12]}" for row in rows if row.commit), "")
    if any(row.left_out for row in rows):
        lines.append(
            "left out %: of the pretrained parameters, the classifier's apart, vision_learner and "
            "recipes of `features: fastai` do not use these; `features: timm` uses all"
        )
    if any(row.imagenet_top1 is not None for row in rows):
        lines.append(f"top-1 %: ImageNet, timm's results-imagenet.csv{commit}")
    if file := next((row.speed_file for row in rows if row.speed_file), None):
        lines.append(f"images/s: inference, {file}{commit}")
    if blank := sum(row.params_m is None for row in rows):
        lines.append(
            f"params M: {blank} have none published; up to {MOST_COUNTED} at a time are counted"
        )
    return lines


def _number(value: Any, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def main(
    *names: str, table: Path = TABLE, speed_file: str | None = None, json: bool = False
) -> None:
    """Say what names of models mean today, with published accuracy and speed.

    A name or pattern that stands for no model is told after the others; the exit code is then 1.

    Args:
        names: names of models, or patterns such as 'convnext*'
        table: the table of stage `merge`, for accuracy and speed
        speed_file: one of timm's benchmark files in it
        json: print one object per model
    """
    if not names:
        raise PipelineError("name at least one model or pattern: resnet50, 'convnext*'")
    fitting, misfits = sorted_out(names)
    if fitting:
        rows = rows_of(fitting, table, speed_file)
        print_json(rows, sys.stdout) if json else print_table(rows, sys.stdout)
        sys.stdout.flush()
    if misfits:
        raise PipelineError("; ".join(misfits))


if __name__ == "__main__":
    run(main)
