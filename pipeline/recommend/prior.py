"""A dataset without runs in the tables: the certificate of its race, else a shortlist.

Errors are predicted as a race does before its first fit: by a regression on published numbers,
learned from the fits of similar datasets of this study if there are enough. The shortlist is spread
along the front of predicted error against published training speed; up to half of it are models
that were tied for the best in other people's runs (results/pool.csv). What it gives away is
measured by benchmarks/shortlist_replay.py (docs/race.md).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml
from pipeline.estimates.belief import ODDS
from pipeline.estimates.planned import Estimate, Estimator, prepared
from pipeline.finetune.recipe import changed_settings, written_recipe
from pipeline.recommend.costs import (
    Question,
    RemainingCost,
    remaining_cost,
    with_fit_times,
    with_memory,
)
from pipeline.recommend.limits import (
    COST,
    MEMORY,
    MEMORY_COLUMN,
    REMAINING_COST,
    TIME,
    Limit,
    memory_basis,
    within_all,
)
from pipeline.records import Data, read_record
from pipeline.statistics.answer import name_list
from pipeline.statistics.fit_times import ESTIMATED_SECONDS, along_front
from pipeline.study.params import RUNS, Cell, Study
from pipeline.timm_results.families import for_users
from pipeline.timm_results.imagenet import largest_size, read_imagenet, with_training_speed

FEWEST_SEEDS = 2  # one shows nothing of how runs vary


def race_alone(study: Study, dataset: str, path: Path) -> dict[str, Any] | None:
    """The certificate at `path` as the answer where no tables have the race's runs yet; None where
    the dataset was not raced, no fit has finished, or the records are of other runs or images, or
    of a recipe that was edited since.
    """
    from pipeline.figures.certificate import read_certificate  # loads matplotlib

    if dataset not in study.raced_datasets or not path.is_file():
        return None
    cells = [each.path(study.path.parent / RUNS) for each in study.raced if each.dataset == dataset]
    certificate, here = read_certificate(path), prepared(study.path.parent, dataset) or Data()
    records = [read_record(each) for each in cells if each.is_file()]
    recipe = written_recipe(study.path.parent / f"conf/recipe/{study.recipes[0]}.yaml")
    had = [each.config.get("recipe") for each in records]
    if recipe and any(isinstance(each, dict) and changed_settings(each, recipe) for each in had):
        return None
    if not certificate.is_of_records(records, study.image_size, here.fingerprint):
        return None
    return certificate.as_answer(path) if certificate.recommended else None


def dataset_config(study: Study, dataset: str) -> dict[str, Any]:
    """The content of conf/dataset/DATASET.yaml; empty if there is no such file."""
    path = study.path.parent / "conf" / "dataset" / f"{dataset}.yaml"
    found = read_yaml(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


MOST_NAMED = 3  # sources of a suggestion


@dataclass(frozen=True)
class TrialCosts:
    """What it takes to try models on a dataset without runs, and to fit one of them at last."""

    estimator: Estimator
    dataset: str
    price_per_hour: float

    def of(self, models: Sequence[str]) -> RemainingCost:
        """Every run of these models that `first_runs` asks for, and the dearest last fit."""
        study, cell = self.estimator.study, partial(Cell, self.dataset)
        seeds = study.seeds if len(study.seeds) >= FEWEST_SEEDS else range(FEWEST_SEEDS)
        cells = [cell(*each) for each in product(models, study.recipes, seeds)]
        last = max((cell(model, study.recipes[0], 0) for model in models), key=self._seconds)
        return remaining_cost(self.estimator, cells, last, self.price_per_hour)

    def _seconds(self, last: Cell) -> float:
        found = self.estimator.estimate(last, with_valid=True)
        return found.seconds if isinstance(found, Estimate) else math.inf


@dataclass(frozen=True)
class Judged:
    """What limits can be judged by without a run: `rows`, one per published model, with estimates
    of memory, time and cost as far as they were asked for, and the `limits` on them.

    `not_judged` are the options that need a run, `notes` say what the others rest on. There are
    `trial_costs` where a price was given.
    """

    rows: pd.DataFrame
    limits: list[Limit]
    not_judged: list[str]
    notes: list[str]
    trial_costs: TrialCosts | None

    @classmethod
    def of(cls, asked: Question, rows: pd.DataFrame, size: int) -> "Judged":
        """By estimates for images of `size` pixels; those from runs that all shared their device
        leave no model out.
        """
        study, dataset, given = asked.study, asked.dataset, asked.limits
        limits, not_judged, notes = given.of_published(), given.not_judged(), []
        whole = replace(study, models=tuple(rows["model"]), image_size=size)
        estimator = cache(partial(asked.estimator, whole))  # reads records and tables
        if given.max_memory is not None:
            device = estimator().device
            rows = with_memory(study, read_imagenet(asked.imagenet), rows, size, device)
            if rows[MEMORY_COLUMN].notna().any():
                limits += given.of_memory(size)
                not_judged.remove(MEMORY)
                notes.append(memory_basis(rows, device.is_cuda))
        if given.max_fit_time is not None:
            cells = [Cell(dataset, model, study.recipes[0], 0) for model in rows["model"]]
            where = given.fit_on or "this machine"
            caveat = None if given.price_per_hour else estimator().caveat  # said of the cost
            rows, basis = with_fit_times(rows, estimator(), cells, where, caveat)
            notes.append(basis)
            if rows[ESTIMATED_SECONDS].notna().any():
                limits += given.of_time(size)
                not_judged.remove(TIME)
        trial_costs = None
        if given.price_per_hour is not None:
            trial_costs = TrialCosts(estimator(), dataset, given.price_per_hour)
            found = [trial_costs.of([model]) for model in rows["model"]]
            costs = [None if each.guide else each.cost for each in found]
            rows = rows.assign(**{REMAINING_COST: np.array(costs, dtype=float)})
            limits += given.of_costs
            if given.max_cost is not None and rows[REMAINING_COST].isna().all():
                not_judged.append(COST)
        return cls(rows, limits, not_judged, notes, trial_costs)


LEAST_SIZE = 128  # pixels: below, most published models are far from what they were trained at


@dataclass(frozen=True)
class Suggestion:
    """`error_odds` are the predicted odds of an error over those of the average published model,
    with a 95 % interval; None for models that other people's runs suggest. `needs` says what of the
    model params.yaml lacks; None of a model that can be fine-tuned as the study is.
    """

    model: str
    why: str
    error_odds: float | None = None
    error_odds_low: float | None = None
    error_odds_high: float | None = None
    needs: str | None = None


def published_models(
    study: Study, imagenet: Path, dataset: str, size: int
) -> tuple[pd.DataFrame, list[str], dict[str, str]]:
    """The published models that take images of `size` pixels, one row each; notes on the others, on
    those of the study of which no speed is published, and on those whose next fits would fail; and
    these last, as `refused_sizes` has them.
    """
    from pipeline.prefetch.__main__ import refusal_note, refused_sizes  # loads Hydra

    table = read_imagenet(imagenet)
    rows = with_training_speed(study, table, imagenet, size)
    rows = rows[rows["model"].isin({*for_users(rows["model"]), *study.models})]
    notes = []
    timed = set(rows.dropna(subset=["top1", "samples_per_second"])["model"])
    if names := [each for each in study.models if each not in timed]:
        of = f"at {largest_size(size):.0f} pixels or fewer: {name_list(names)} of {study.path.name}"
        notes.append(f"Left out, as no accuracy and speed are published {of}")
    others = rows["fixed_size"].notna() & (rows["fixed_size"] != size)
    if others.any():
        how_many = f"{others.sum():,} of {len(others):,} models"
        notes.append(f"Left out, as they take no images of {size} pixels: {how_many}")
    next_size = study.image_size if dataset in study.datasets else size
    if refused := refused_sizes(study.models, next_size, table):
        notes.append(refusal_note(refused, next_size))
    kept = ~others & ~rows["model"].isin(refused if next_size == size else ())
    return rows[kept], notes, refused


def similar_datasets(
    board: pd.DataFrame, study: Study, dataset: str
) -> tuple[pd.DataFrame, list[str]]:
    """The leaderboard's rows that say something about other images, of `dataset`; and a note on why
    those of other datasets do not, if there are any.

    Tables of an earlier study do not say at what size it ran. In 2022 the best on Pets (one label)
    and on Planet (many) had little in common.
    """
    kind = dataset_config(study, dataset).get("kind")
    ranked = board[board["n"] > 0] if len(board) else board
    left_out: dict[str, str] = {}
    if len(ranked):
        kinds = ranked.groupby("dataset", sort=False)["data_kind"].first()
        for other, its_kind in kinds.items():
            if other not in study.datasets:
                left_out[str(other)] = "of an earlier study"
            elif study.image_size < LEAST_SIZE:
                left_out[str(other)] = f"at {study.image_size} pixels"
            elif kind is not None and pd.notna(its_kind) and its_kind != kind:
                left_out[str(other)] = f"which is {its_kind}-label"
    if not left_out:
        return board, []
    reasons = "; ".join(f"the runs on {name}, {why}" for name, why in left_out.items())
    note = f"Left out as evidence about {dataset}: {reasons}"
    return board[~board["dataset"].isin(left_out)], [note]


def similar_pool_runs(others: pd.DataFrame, known: Iterable[str], kind: str | None) -> pd.DataFrame:
    """The rows of pool.csv that say something about other images: those of models that timm's
    tables name, at a size and of a kind as `similar_datasets` asks for.
    """
    large = others["image_size"].fillna(0) >= LEAST_SIZE
    same_kind = others["data_kind"].isna() | (others["data_kind"] == kind) | (kind is None)
    return others[large & same_kind & others["model"].isin(set(known))]


def not_planned(study: Study, models: Sequence[str]) -> list[str]:
    """A note on those of these models that the study, whose own runs come next, does not have."""
    others = [name for name in models if name not in study.models]
    if not others:
        return []
    names = ", ".join(others)
    return [f"{study.path.name} does not have {names}: the next runs are of the models that it has"]


def with_needs(
    study: Study, models: Iterable[Suggestion], lacking: Mapping[str, str]
) -> list[Suggestion]:
    """The suggestions, each with what of it the study lacks: its name, its weights."""
    found = []
    for each in models:
        other = "" if each.model in study.models else f"not in {study.path.name}"
        needs = "; ".join(filter(None, [other, lacking.get(each.model)]))
        found.append(replace(each, needs=needs or None))
    return found


def own_models(study: Study, found: Judged, top: int) -> list[Suggestion]:
    """The study's own models that keep the limits, at most `top`, the lowest predicted first."""
    rows = within_all(found.rows[found.rows["model"].isin(study.models)], found.limits)
    rows = rows.dropna(subset=["top1", "samples_per_second"]).sort_values([ODDS[0], "model"])
    return [_suggestion(row) for _, row in rows.head(top).iterrows()]


def pool_note(others: pd.DataFrame) -> str:
    """A note on other people's runs, rows of pool.csv that say something."""
    sources = ", ".join(sorted(set(others["from"]))) or "none that says something about it"
    return f"Other people's runs, which nobody vouches for, count after its own: {sources}"


def shortlist(
    published: pd.DataFrame, limits: list[Limit], top: int, others: pd.DataFrame | None
) -> list[Suggestion]:
    """At most `top` models, the lowest predicted error first; `published` has one row per model:
    ODDS, top1, img_size, speed, device.

    Throughput is judged by the published speed, steady fit time by an estimate. `others` are rows
    of pool.csv; their models come last, and are half of the list at most.
    """
    rows = published.dropna(subset=["top1", "samples_per_second"])
    for limit in limits:
        if not limit.keeps(rows).any():
            estimated = limit.column in (ESTIMATED_SECONDS, MEMORY_COLUMN, REMAINING_COST)
            basis = "estimate" if estimated else "published speed"
            raise PipelineError(f"by {basis}, {limit.summary(rows)}")
        rows = rows[limit.keeps(rows)]
    allowed = rows if len(rows) < len(published) else None
    theirs = [] if others is None else _elsewhere(others, allowed)[: top // 2]
    rows = rows[~rows["model"].isin([each.model for each in theirs])]
    speed, odds = (rows[name].to_numpy(float) for name in ("samples_per_second", ODDS[0]))
    return _spread(rows.iloc[along_front(-speed, -odds)], top - len(theirs)) + theirs


def fitting_shortlist(
    found: Judged, top: int, others: pd.DataFrame | None, size: int
) -> tuple[list[Suggestion], list[str]]:
    """The shortlist of models that take images of `size` pixels, and a note on those that would be
    on it if they did.
    """
    from pipeline.prefetch.__main__ import refused_sizes

    rows, left_out = found.rows, list[str]()
    models = shortlist(rows, found.limits, top, others)
    while refused := refused_sizes([each.model for each in models], size, found.rows):
        left_out += refused
        rows = rows[~rows["model"].isin(refused)]
        if rows.empty:
            raise PipelineError(
                f"no published model within the limits takes images of {size} pixels"
            )
        others = None if others is None else others[~others["model"].isin(refused)]
        models = shortlist(rows, found.limits, top, others)
    note = f"Left out, as they take no images of {size} pixels: {', '.join(left_out)}"
    return models, [note] if left_out else []


def dearest(models: Sequence[Suggestion], rows: pd.DataFrame) -> list[str]:
    """A note on the suggestion that takes more than half of the time of all; `rows` has speeds."""
    speed = rows.set_index("model")["samples_per_second"]
    seconds = (1 / speed.reindex([each.model for each in models])).dropna()
    share = seconds / seconds.sum()
    if len(share) < 3 or share.max() <= 1 / 2:
        return []
    return [
        f"Of the time of one fit of each of these {len(share)}, {share.idxmax()} takes "
        f"{100 * share.max():.0f} % by published speeds: for a quick first answer, leave it out "
        "of the next runs"
    ]


def suggestions(answer: Mapping[str, Any]) -> list[str]:
    """The models of an answer without runs, as lines, each with what the study lacks of it."""
    lines = []
    for heading, models in (
        ("the models in params.yaml", answer["own_models"]),
        ("all published models, from the lowest predicted error to the quickest", answer["models"]),
    ):
        lines += ["", f"Of {heading}:"] if models else []
        for each in models:
            why = "; ".join(filter(None, [each["why"], each["needs"]]))
            lines.append(f"  {each['model']}: {why}")
    return lines[1:]


def affordable(
    found: list[Suggestion], trial_costs: TrialCosts | None, max_cost: float | None
) -> tuple[list[Suggestion], RemainingCost | None]:
    """As many of the first suggestions as can be tried together for `max_cost`, at least one, and
    the way to them; None without a price. A guide to its cost leaves none out.
    """
    if trial_costs is None or not found:
        return found, None
    for count in range(len(found), 0, -1):
        whole = trial_costs.of([each.model for each in found[:count]])
        if max_cost is None or whole.guide or whole.cost is None or whole.cost <= max_cost:
            break
    return found[:count], whole


def _elsewhere(others: pd.DataFrame, allowed: pd.DataFrame | None) -> list[Suggestion]:
    """The models tied for the best in other people's runs, those of most sources first.

    A source counts once, however many datasets it says it has.
    """
    tied = others[others["tied_there"].fillna(False).astype(bool)]
    if allowed is not None:
        tied = tied[tied["model"].isin(allowed["model"])]
    found = []
    for model, rows in tied.groupby("model"):
        named = sorted(set(rows["dataset"] + " by " + rows["from"]))
        why = f"tied for the best in other people's runs ({', '.join(named[:MOST_NAMED])})"
        found.append((-rows["from"].nunique(), str(model), why))
    return [Suggestion(model, why) for _, model, why in sorted(found)]


def _spread(front: pd.DataFrame, count: int) -> list[Suggestion]:
    """`count` models of the front's half with lower errors, evenly from accurate to quick."""
    if front.empty or count < 1:
        return []
    front = front.sort_values([ODDS[0], "model"], kind="stable")
    accurate = front.head(max(count, -(-len(front) // 2)))
    places = np.unique(np.linspace(0, len(accurate) - 1, min(count, len(accurate))).round())
    return [_suggestion(row) for _, row in accurate.iloc[places.astype(int)].iterrows()]


def _suggestion(row: pd.Series) -> Suggestion:
    odds = [float(f"{row[name]:.4g}") for name in ODDS]
    middle, low, high = (f"{each:.2f}" for each in odds)
    basis = ", by its inference speed" if row["speed_from"] == "infer" else ""
    size = f"{row['params_m']:,.0f} M parameters, " if row["params_m"] > 0 else ""
    why = (
        f"predicted odds of an error {middle} times the average model's ({low} to {high}); "
        f"ImageNet top-1 {row['top1']:.1f} % at {row['img_size']} pixels, {size}"
        f"{row['samples_per_second']:,.0f} samples/s in training on {row['device']}{basis}"
    )
    return Suggestion(str(row["model"]), why, odds[0], odds[1], odds[2])
