"""`python -m pipeline.own NAME ...`: writes the study of datasets of your own to params.yaml.

Reads conf/dataset/NAME.yaml, the sizes of some of its images and, for weights from the hub,
data/imagenet.csv. It prints the recipe, image size, models and seeds that it chose, and the reason
for the size; all can be changed in the file afterwards. Comments of params.yaml are kept.
"""

import io
import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from PIL import Image

from pipeline.change import __main__ as change
from pipeline.configuration.hydra_app import CONF
from pipeline.core.command import number_of, run
from pipeline.core.errors import PipelineError
from pipeline.core.files import free_old_name, read_yaml
from pipeline.dataset.download import unpacked_file
from pipeline.dataset.find_images import find_images
from pipeline.dataset.splits import Split, split_images
from pipeline.finetune.weights import WHEELS
from pipeline.prefetch.__main__ import refused_sizes
from pipeline.statistics.answer import few_images
from pipeline.study.params import refuse_unknown_name
from pipeline.timm_results.families import for_users
from pipeline.timm_results.imagenet import USUAL_SIZE, at_nearest_size, largest_size, read_imagenet

RECIPE = "lp_ft"
SEEDS = [0, 1, 2]
LEAST_SIZE, STEP = 64, 32  # pixels: the coarsest feature map has one cell for 32
LOOKED_AT = 200  # images whose size is read
LARGEST_PARAMS_M = {"cpu": (8, 30), "gpu": (8, 30, 100)}  # of each class of size, in millions
PER_SIZE = 3  # models of each class of size, each of another family


def main(
    *names: str,
    image_size: int | None = None,
    device: str = "cpu",
    weights: str = "wheel",
    params: Path = Path("params.yaml"),
    imagenet: Path = Path("data/imagenet.csv"),
) -> None:
    """Write the study of your own datasets.

    Args:
        names: the datasets, which `python -m pipeline.dataset --new` has described
        image_size: pixels; by default that of the images, at most 224
        device: cpu or gpu, which the study is for
        weights: wheel: three models that need no network; hub or folder: a short list across
            families and sizes
        params: the study file to write
        imagenet: the table of stage `merge`, which hub and folder choose from
    """
    if device not in LARGEST_PARAMS_M:
        raise PipelineError(f"--device {device}: give cpu or gpu")
    if weights not in ("wheel", "hub", "folder"):
        raise PipelineError(f"--weights {weights}: give wheel, hub or folder")
    if not names:
        raise PipelineError("no dataset: name one or more, as `dataset --new` called them")
    if image_size is not None and image_size < STEP:
        raise PipelineError(f"--image-size {image_size}: give {STEP} pixels or more")
    looks = {name: look_at(params.parent, name) for name in names}
    size = image_size or size_for(max(look.side for look in looks.values()))
    models, refused = list(WHEELS), dict[str, str]()
    if weights != "wheel":
        models, refused = short_list(read_imagenet(imagenet), size, device)
    given: dict[str, Any] = {
        "grid.datasets": list(looks),
        "grid.models": models,
        "grid.recipes": [RECIPE],
        "grid.seeds": SEEDS,
        "image_size": size,
        "weights": weights,
    }
    then = params.read_bytes() if params.is_file() else b""
    old = (read_yaml(params) if then else None) or {}
    if then:
        _refuse_missing(params, old, given)
    race = _raced(old)
    given |= {f"race.{key}": type(value)() for key, value in race.items()}
    if exported := (old.get("export") or {}).get("datasets"):
        given["export.datasets"] = [each for each in exported if each in looks]
    is_in_git = bool(then) and _is_in_git(params)
    change.main(*(f"{key}={json.dumps(value)}" for key, value in given.items()), params=params)
    replaced = ""
    if then and params.read_bytes() != then:
        where = "which is committed in git"
        if not is_in_git:
            kept = free_old_name(params)
            kept.write_bytes(then)
            where = f"kept as {kept}"
        replaced = f"It replaces {_studied(old['grid']['datasets'], race)}, {where}.\n"
    sides = ", ".join(f"{name} {look.side:.0f}" for name, look in looks.items())
    whose, sides = ("their", sides) if len(looks) > 1 else ("its", f"{looks[names[0]].side:.0f}")
    asked = "" if image_size is None else ", as asked"
    answers = [f"python -m pipeline.recommend --dataset {name}" for name in looks]
    print(
        f"{size} pixels{asked}: the shorter side of {whose} images has a median of {sides}, most "
        f"weights were trained at {USUAL_SIZE}. "
        f"{number_of(len(models), 'model', 'models')} x {len(SEEDS)} seeds with {RECIPE}.\n"
        f"{_left_out(refused)}{''.join(_few(*each) + _grouped(*each) for each in looks.items())}"
        f"{replaced}"
        f"Then: {', and '.join(['make run', *answers])}\n"
        "For an estimate of the time before that: "
        f"dvc repro merge {' '.join(f'dataset@{name}' for name in looks)}, "
        "python -m pipeline.calibrate, and python -m pipeline.sweep --dry-run"
    )


def _refuse_missing(params: Path, old: dict[str, Any], keys: Iterable[str]) -> None:
    """Raise for the first of these keys that the study file lacks."""
    for key in keys:
        value: Any = old
        for part in key.split("."):
            if not isinstance(value, dict) or part not in value:
                raise PipelineError(
                    f"{params}: {key} is missing: copy it from studies/quickstart.yaml"
                )
            value = value[part]


def _raced(old: dict[str, Any]) -> dict[str, Any]:
    """What the section `race` holds of races: only the keys that hold anything."""
    race = old.get("race")
    return {key: value for key, value in race.items() if value} if isinstance(race, dict) else {}


def _studied(datasets: list[str], race: dict[str, Any]) -> str:
    """What a study was of: the datasets of its grid, and those raced with the runs of the races."""
    found = [f"the study of {', '.join(datasets)}"] * bool(datasets)
    if race:
        n_runs = sum(len(race.get(kind, {})) for kind in ("fits", "probes"))
        runs = number_of(n_runs, "run", "runs")
        found.append(f"the race of {', '.join(race.get('datasets', []))} with its {runs}")
    return " and ".join(found) or "a study without datasets"


def _is_in_git(path: Path) -> bool:
    """Whether git has the file as it is, committed."""
    asked = ["git", "status", "--porcelain", "--ignored", "--", path.name]
    try:
        git = subprocess.run(asked, cwd=path.parent, capture_output=True, check=False)
    except OSError:  # no git
        return False
    return git.returncode == 0 and not git.stdout


@dataclass(frozen=True)
class Look:
    """What a dataset's files tell before it is prepared: the median of the shorter side, in pixels,
    of at most LOOKED_AT images, about how many images models will be compared on, and how many
    groups these belong to (0 if they have none).
    """

    side: float
    n_valid: int
    n_groups: int
    kind: str


def _few(name: str, look: Look) -> str:
    """A line, with its end, where validation images are too few to tell models apart."""
    few = few_images(max(look.n_valid, 1), look.kind)
    then = "expect models to tie. More would tell more, or a larger valid_pct if no split is given"
    return f"{name}: about {few}: {then}.\n" if few else ""


def _left_out(refused: dict[str, str]) -> str:
    """A line, with its end, on models that take no images of the study's size."""
    each = ", ".join(f"{model} ({which})" for model, which in refused.items())
    return f"Left out, as they take images of another size: {each}.\n" if refused else ""


def _grouped(name: str, look: Look) -> str:
    """A line, with its end, where several validation images belong to one group."""
    if not 0 < look.n_groups < look.n_valid:
        return ""
    groups = number_of(look.n_groups, "group", "groups")
    return (
        f"{name}: its validation images belong to {groups}. Intervals treat images as independent: "
        "where those of a group are alike, intervals are too narrow.\n"
    )


def look_at(project: Path, name: str) -> Look:
    """Look at the dataset that conf/dataset/NAME.yaml describes."""
    refuse_unknown_name(project, "dataset", name)
    path = project / "conf" / "dataset" / f"{name}.yaml"
    config = read_yaml(path)
    if not isinstance(config, dict):
        raise PipelineError(f"{path}: names nothing: write source and images")
    if "images" in config and "source" not in config:
        raise PipelineError(
            f"{path}: its images are downloaded or drawn, so there are none of your own to look "
            f"at: `python -m pipeline.change 'grid.datasets=[{name}]'` makes it the study's dataset"
        )
    if not isinstance(config.get("source"), str) or "images" not in config:
        raise PipelineError(f"{path}: names no images of its own: write source and images")
    place = project / config["source"]
    if not place.exists():
        raise PipelineError(f"{path}: source {config['source']} is not there")
    root = unpacked_file(place)[0] if place.is_file() else place
    source = find_images(config["images"], root)
    images, sides = source.images, []
    for image in images[:: -(-len(images) // LOOKED_AT) or 1]:
        try:
            with Image.open(io.BytesIO(source.read(image.file))) as opened:
                sides.append(min(opened.size))
        except (OSError, Image.DecompressionBombError):
            continue  # stage `dataset` names what cannot be read
    if not sides:
        of = number_of(len(images), "image", "images")
        raise PipelineError(f"{path}: none of its {of} can be opened")
    defaults = read_yaml(CONF / "dataset.yaml")["dataset"]
    split = Split(*({**defaults, **config}[field.name] for field in fields(Split)))
    parts = zip(images, split_images(images, split), strict=True)
    valid = [image for image, part in parts if part == "valid"]
    grouped = any(image.group for image in valid)
    n_groups = len({image.group or image.file for image in valid}) if grouped else 0
    return Look(float(median(sides)), len(valid), n_groups, config["kind"])


def size_for(side: float) -> int:
    """The study's image size: the images' own, in steps of STEP, at most USUAL_SIZE."""
    return int(min(max(round(side / STEP) * STEP, LEAST_SIZE), USUAL_SIZE))


def short_list(imagenet: pd.DataFrame, size: int, device: str) -> tuple[list[str], dict[str, str]]:
    """Of each class of size the PER_SIZE best families' best weights by ImageNet top-1; and the
    weights in whose place others are, with the images that they take, as `refused_sizes` has them.

    Weights count at the published image size nearest to USUAL_SIZE, at most half as much again.
    """
    rows, refused = imagenet, dict[str, str]()
    while True:
        found = _best(rows, device)
        if not found:
            raise PipelineError(f"no published model fits --device {device}: give --weights wheel")
        others = refused_sizes(found, size, imagenet)
        if not others:
            return found, refused
        refused |= others
        rows = rows[~rows["model"].isin(list(others))]


def _best(imagenet: pd.DataFrame, device: str) -> list[str]:
    """Of each class of size the best weights of the best families, of whatever image size."""
    rows = imagenet.dropna(subset=["top1", "params_m"])
    rows = rows[rows["model"].isin(for_users(rows["model"]))]
    rows = rows[rows["img_size"] <= largest_size(USUAL_SIZE)]
    rows = at_nearest_size(rows, USUAL_SIZE).drop_duplicates("model")
    rows = rows.sort_values(["top1", "model"], ascending=[False, True])
    found: list[str] = []
    above = 0
    for largest in LARGEST_PARAMS_M[device]:
        fits = rows[(rows["params_m"] > above) & (rows["params_m"] <= largest)]
        found += fits.drop_duplicates("family").head(PER_SIZE)["model"].tolist()
        above = largest
    return found


if __name__ == "__main__":
    run(main)
