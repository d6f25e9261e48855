"""A shortlist for a dataset that has no runs: a prior from what others measured, and estimates.

Half of it are models that were tied for the best on similar datasets of this study, the rest is on
the front of ImageNet top-1 against published training speed, spread from accurate to quick. Other
people's runs (results/pool.csv) fill the first half where this study has too few. In 2022
ImageNet top-1 and fine-tune accuracy had rank correlations of 0.64 (Pets) and about 0.2 (Planet).
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml
from pipeline.estimates.calibration import read_calibration
from pipeline.estimates.estimate import Source, by_device, reach, sources
from pipeline.estimates.planned import (
    Known,
    Told,
    known_of,
    readable_records,
    this_device,
    work_of,
)
from pipeline.recommend.costs import Way, way
from pipeline.recommend.limits import WAY, Limit
from pipeline.statistics.front import along_front
from pipeline.study.params import Cell, Study, threads_of
from pipeline.timm_results.imagenet import read_imagenet

FEWEST_SEEDS = 2  # one shows nothing of how runs vary


@dataclass(frozen=True)
class Estimate:
    """Steady seconds of a fit, the factor that 9 of 10 stay within, and what it rests on."""

    seconds: float
    factor: float
    source: str


def estimates(
    study: Study, imagenet: Path, dataset: str, models: Iterable[str], image_size: int
) -> dict[str, Estimate] | str:
    """The estimate of each model of which something is known, with the study's first recipe on
    this device; or why nothing can be estimated.
    """
    models, root = list(models), study.path.parent
    records = readable_records(root / "data/runs")
    device = this_device(threads=1)
    runs = by_device(records).get(device, [])
    study = replace(study, models=tuple(models), image_size=image_size)
    calibration = read_calibration(root, device)
    asked = sources(study, read_imagenet(imagenet), device, runs, calibration)
    reaches = {source.name: reach(source, runs)[0] for source in asked}
    found: dict[str, Estimate] = {}
    for model in models:
        cell = Cell(dataset, model, study.recipes[0], seed=0)
        work = work_of(root, cell, image_size, records)
        if isinstance(work, str):
            return work
        for source in asked:
            if speed := source.speed(work):
                found[model] = _estimate(source, work.megapixels / speed, reaches)
                break
    return found or f"nothing is known of the speed of {device.label}"


def _estimate(source: Source, seconds: float, reaches: dict[str, float]) -> Estimate:
    return Estimate(seconds, reaches[source.name], source.name)


MOST_NAMED = 3  # sources of a suggestion


@dataclass(frozen=True)
class FirstWays:
    """What it takes to try models on a dataset without runs, and to fit one of them at last."""

    known: Known
    dataset: str
    price_per_hour: float

    def of(self, models: Sequence[str]) -> Way:
        """Every run of these models that `first_runs` asks for, and the dearest last fit."""
        study, cell = self.known.study, partial(Cell, self.dataset)
        seeds = study.seeds if len(study.seeds) >= FEWEST_SEEDS else range(FEWEST_SEEDS)
        cells = [
            cell(model, recipe, seed)
            for model in models
            for recipe in study.recipes
            for seed in seeds
        ]
        lasts = [cell(model, study.recipes[0], 0) for model in models]
        return way(self.known, cells, max(lasts, key=self._seconds), self.price_per_hour)

    def _seconds(self, last: Cell) -> float:
        found = self.known.told(last, last=True)
        return found.seconds if isinstance(found, Told) else math.inf


def first_ways(
    study: Study,
    imagenet: Path,
    dataset: str,
    models: Iterable[str],
    image_size: int,
    price_per_hour: float | None,
) -> FirstWays | None:
    """The ways to `models` on this machine at a price; None without one."""
    if price_per_hour is None:
        return None
    threads = threads_of(read_yaml(study.path))
    whole = replace(study, models=tuple(models), image_size=image_size)
    known = known_of(study.path.parent, whole, imagenet, threads)
    return FirstWays(known, dataset, price_per_hour)


LEAST_SIZE = 128  # pixels: below, most published models are far from what they were trained at


@dataclass(frozen=True)
class Suggestion:
    model: str
    why: str


def alike(
    board: pd.DataFrame, datasets: Sequence[str], image_size: int, kind: str | None
) -> tuple[pd.DataFrame, dict[str, str]]:
    """The leaderboard's rows that say something about other images, and why each other dataset does
    not.

    `datasets` and `image_size` are the study's; tables of an earlier study do not say at what size
    it ran. `kind` is that of the dataset asked about (single or multi), None where it is not known.
    In 2022 the best on Pets (one label) and on Planet (many) had little in common.
    """
    ranked = board[board["n"] > 0] if len(board) else board
    left_out: dict[str, str] = {}
    if len(ranked):
        kinds = ranked.groupby("dataset", sort=False)["data_kind"].first()
        for dataset, its_kind in kinds.items():
            if dataset not in datasets:
                left_out[str(dataset)] = "belongs to an earlier study"
            elif image_size < LEAST_SIZE:
                left_out[str(dataset)] = f"ran at {image_size} pixels"
            elif kind is not None and pd.notna(its_kind) and its_kind != kind:
                left_out[str(dataset)] = f"is {its_kind}-label"
    return board[~board["dataset"].isin(left_out)] if left_out else board, left_out


def alike_elsewhere(others: pd.DataFrame, known: Iterable[str], kind: str | None) -> pd.DataFrame:
    """The rows of pool.csv that say something about other images: those of models that timm's
    tables name, at a size and of a kind as `alike` asks for.
    """
    large = others["image_size"].fillna(0) >= LEAST_SIZE
    same_kind = others["data_kind"].isna() | (others["data_kind"] == kind) | (kind is None)
    return others[large & same_kind & others["model"].isin(set(known))]


def shortlist(
    published: pd.DataFrame,
    board: pd.DataFrame,
    limits: list[Limit],
    top: int,
    others: pd.DataFrame | None = None,
) -> list[Suggestion]:
    """At most `top` models; `published` has one row per model: top1, img_size, speed, device.

    Throughput is judged by the published speed, steady fit time by an estimate. `others` are rows
    of pool.csv; their models come after those of this study's own runs.
    """
    rows = published.dropna(subset=["top1", "samples_per_second"])
    for limit in limits:
        if not limit.keeps(rows).any():
            estimated = limit.column in ("estimated_seconds", WAY)
            basis = "estimate" if estimated else "published speed"
            raise PipelineError(f"by {basis}, {limit.told(rows)}")
        rows = rows[limit.keeps(rows)]
    allowed = rows if len(rows) < len(published) else None
    earlier = _earlier(board, allowed)
    if others is not None:
        own = {each.model for each in earlier}
        earlier += [each for each in _elsewhere(others, allowed) if each.model not in own]
    found = earlier[: -(-top // 2)]
    speed, top1 = (rows[name].to_numpy(float) for name in ("samples_per_second", "top1"))
    front = rows.iloc[along_front(-speed, top1)]
    front = front[~front["model"].isin([each.model for each in found])]
    found += _spread(front, top - len(found))
    return found


def affordable(
    found: list[Suggestion], ways: FirstWays | None, max_cost: float | None
) -> tuple[list[Suggestion], Way | None]:
    """As many of the first suggestions as can be tried together for `max_cost`, at least one, and
    the way to them; None without a price.
    """
    if ways is None or not found:
        return found, None
    for count in range(len(found), 0, -1):
        whole = ways.of([each.model for each in found[:count]])
        if max_cost is None or whole.cost is None or whole.cost <= max_cost:
            break
    return found[:count], whole


def _earlier(board: pd.DataFrame, allowed: pd.DataFrame | None) -> list[Suggestion]:
    """The models tied for the best on other datasets, on most of them and cheapest first."""
    tied = board[board["tied"].fillna(False).astype(bool)]
    if allowed is not None:
        tied = tied[tied["model"].isin(allowed["model"])]
    if tied.empty:
        return []
    models = tied.groupby("model").agg(
        datasets=("dataset", lambda names: ", ".join(sorted(set(names)))),
        count=("dataset", "nunique"),
        steady_fit_seconds=("steady_fit_seconds_median", "median"),
    )
    models = models.sort_values(
        ["count", "steady_fit_seconds"], ascending=[False, True], kind="stable"
    )
    return [
        Suggestion(str(row.Index), f"tied for the best on {row.datasets}")
        for row in models.itertuples()
    ]


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
    """`count` models of the front's more accurate half, evenly from accurate to quick."""
    if front.empty or count < 1:
        return []
    front = front.sort_values("top1", ascending=False, kind="stable")
    accurate = front.head(max(count, -(-len(front) // 2)))
    places = np.unique(np.linspace(0, len(accurate) - 1, min(count, len(accurate))).round())
    return [
        Suggestion(
            row["model"],
            f"ImageNet top-1 {row['top1']:.1f} % at {row['img_size']} pixels, "
            f"{row['samples_per_second']:,.0f} samples/s in training on {row['device']}; "
            "nothing published is both quicker and more accurate",
        )
        for _, row in accurate.iloc[places.astype(int)].iterrows()
    ]
