"""Each model at its own best learning rate, judged on images and seeds that did not choose it.

Recipes that differ in `lr` and `lr_mult` alone (`rate_of`) are a group: the rates of one recipe. A
group gives one more leaderboard, named `lp_ft.own_rate` after the recipe. A model's wrong answers
on it are put together from its runs at the several rates: the rate that answers for a seed on a
tenth of the validation images is the one with the fewest mistakes of the model's other seeds on the
other nine tenths. What is so put together is compared like any run's answers. Taking the lowest of
several errors instead would reward whoever has more rates, and luck: docs/statistics.md has both.

A rate counts for a model if every seed finished at it that finished at any; where none has all, the
one with the most counts alone, with its seeds. rates.csv tells which do not count. It also has the
rate to take for a fit of one's own, chosen by all seeds on all images.
"""

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.command import duration
from pipeline.core.errors import PipelineError
from pipeline.records import Record, pack_counts, unpack_counts
from pipeline.results import RATES
from pipeline.statistics.comparison import DECIMALS
from pipeline.study.params import Cell, Study, refuse_unlike_rates

FOLDS = 10
OWN_RATE = ".own_rate"  # behind the recipe's name: a plain word in files, tables and pages
RUN = ["dataset", "recipe", "model", "seed"]


@dataclass(frozen=True)
class RateGroup:
    """Recipes that are one recipe at several rates, the one that the others name first."""

    recipe: str
    rates: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]

    @property
    def own(self) -> str:
        """The name of the leaderboard at each model's own rate."""
        return self.recipe + OWN_RATE


@dataclass(frozen=True)
class OwnRates:
    """`runs` are the runs put together, one per model and seed; `rates` is rates.csv."""

    runs: pd.DataFrame
    rates: pd.DataFrame


def rate_groups(study: Study, records: Mapping[Cell, Record]) -> list[RateGroup]:
    """The groups of two rates or more among the recipes that have records."""
    known: dict[str, dict[str, Any]] = {}
    for cell, record in records.items():
        known.setdefault(cell.recipe, record.config.get("recipe") or {})
    refuse_unlike_rates(known)
    members: dict[str, list[str]] = {}
    for name in [name for name in study.recipes if name in known]:
        if (recipe := known[name].get("rate_of")) is not None:
            members.setdefault(recipe, [recipe] if recipe in known else []).append(name)
    groups = []
    for recipe, rates in members.items():
        if recipe + OWN_RATE in study.recipes:
            raise PipelineError(
                f"grid.recipes: {recipe + OWN_RATE} is the name of {recipe} at each model's own "
                "rate: give that recipe another name"
            )
        if len(rates) > 1:
            groups.append(RateGroup(recipe, tuple(rates), {each: known[each] for each in rates}))
    return groups


def folds_of(n_images: int, fingerprint: str | None) -> np.ndarray:
    """The fold of each image [images], 0 to FOLDS - 1: the same for all runs on the same data.

    RandomState, because its numbers never change with numpy's version.
    """
    seed = zlib.crc32((fingerprint or "").encode())
    order: np.ndarray = np.random.RandomState(seed).permutation(n_images)
    return order % FOLDS


def choices(wrong: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """The rate [seeds, FOLDS] that answers for a seed on a fold, by wrong answers [rates, seeds,
    images] of the other seeds on the other folds; of a single seed, of itself.

    Equal rates: the first.
    """
    counts = np.stack(
        [wrong[:, :, folds == fold].sum(axis=2, dtype=np.int64) for fold in range(FOLDS)], axis=2
    )
    elsewhere = counts.sum(axis=2, keepdims=True) - counts
    if wrong.shape[1] > 1:
        elsewhere = elsewhere.sum(axis=1, keepdims=True) - elsewhere
    chosen: np.ndarray = elsewhere.argmin(axis=0)
    return chosen


def put_together(wrong: np.ndarray, chosen: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Wrong answers [seeds, images], each image's from the rate that was chosen for its fold."""
    seeds, images = wrong.shape[1:]
    together: np.ndarray = wrong[chosen[:, folds], np.arange(seeds)[:, None], np.arange(images)]
    return together


def own_rates(runs: pd.DataFrame, groups: Sequence[RateGroup]) -> OwnRates:
    """Every model at its own rate; `runs` has the columns of runs.csv and of valid_wrong.csv.

    A seed that no run was put together for is a row as well, failed or missing.
    """
    rows: list[dict[str, Any]] = []
    table: list[dict[str, Any]] = []
    for group in groups:
        of_group = runs[runs["recipe"].isin(group.rates)]
        for (dataset, model), of_model in of_group.groupby(["dataset", "model"], sort=False):
            named = {"dataset": dataset, "recipe": group.own, "model": model}
            made, told = _of_model(of_model, group)
            rows += [{**row, **named} for row in made]
            table += [{**named, **row} for row in told]
    rates = pd.DataFrame(table, columns=list(RATES))
    return OwnRates(pd.DataFrame(rows, columns=list(runs.columns)).astype({"seed": int}), rates)


def with_own_rates(runs: pd.DataFrame, rates: pd.DataFrame) -> pd.DataFrame:
    """`runs`, as for `own_rates`, and those put together; `rates` is rates.csv."""
    own = own_rates(runs, list(groups_of(rates))).runs
    return pd.concat([runs, own], ignore_index=True) if len(own) else runs


def groups_of(rates: pd.DataFrame) -> Iterator[RateGroup]:
    """The groups that rates.csv tells of."""
    for own, rows in rates.groupby("recipe", sort=False):
        settings = {
            str(row.rate): {"lr": row.lr, "lr_mult": row.lr_mult}
            for row in rows.drop_duplicates("rate").itertuples()
        }
        yield RateGroup(str(own).removesuffix(OWN_RATE), tuple(settings), settings)


def _of_model(
    runs: pd.DataFrame, group: RateGroup
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of one dataset and model: runs put together, and of rates.csv."""
    ok = runs[runs["status"] == "ok"].sort_values("seed")
    seeds = ok["seed"].drop_duplicates().sort_values().tolist()
    by_rate = {rate: ok[ok["recipe"] == rate] for rate in group.rates}
    left_out = {rate: _why_not(each, seeds) for rate, each in by_rate.items()}
    counted = [rate for rate, why in left_out.items() if why is None]
    if not counted and (answered := [rate for rate in by_rate if _answered(by_rate[rate])]):
        counted = [max(answered, key=lambda rate: len(by_rate[rate]))]
        left_out[counted[0]] = None
    chosen, take, made = np.zeros((0, 0), dtype=int), None, []
    if counted:
        packed = [by_rate[rate]["valid_wrong"] for rate in counted]
        wrong = np.stack([np.stack([unpack_counts(text) for text in each]) for each in packed])
        fingerprint = ok["data_fingerprint"].iloc[0]
        folds = folds_of(wrong.shape[2], fingerprint if isinstance(fingerprint, str) else None)
        chosen = choices(wrong, folds)
        take = counted[int(wrong.sum(axis=(1, 2), dtype=np.int64).argmin())]
        made = list(_rows(by_rate[take], put_together(wrong, chosen, folds)))
    done = {row["seed"] for row in made}
    for (seed, family), each in runs.groupby(["seed", "family"], sort=False, dropna=False):
        if seed not in done:
            failed = each["status"].isin(["failed", "diverged"]).any()
            status = "failed" if failed else "missing"
            made.append({"seed": seed, "family": family, "status": status})
    seconds = {rate: _seconds(each) for rate, each in by_rate.items()}
    table = [
        {
            "rate": rate,
            "lr": group.settings[rate].get("lr"),
            "lr_mult": group.settings[rate].get("lr_mult"),
            "n": len(each),
            "error_rate_mean": each["error_rate"].mean(),
            "fit_seconds_median": seconds[rate],
            "n_chosen": int((chosen == counted.index(rate)).sum()) if rate in counted else 0,
            "n_choices": chosen.size,
            "taken": rate == take,
            "left_out": left_out[rate],
            "choice_seconds": sum(seconds[each] for each in counted) if counted else np.nan,
        }
        for rate, each in by_rate.items()
    ]
    return made, table


def _why_not(ok: pd.DataFrame, seeds: list[int]) -> str | None:
    """Why the rate with these finished runs does not count; `seeds` finished at some rate."""
    if ok.empty:
        return "no run finished"
    if len(ok) < len(seeds):
        return f"{len(ok)} of {len(seeds)} seeds finished"
    return "its answers on each image are not known" if ok["valid_wrong"].isna().any() else None


def _answered(ok: pd.DataFrame) -> bool:
    return not ok.empty and bool(ok["valid_wrong"].notna().all())


def _rows(taken: pd.DataFrame, together: np.ndarray) -> Iterator[dict[str, Any]]:
    """The runs at the rate to take, with the answers put together and the error of those."""
    unknown = dict.fromkeys(["fbeta2", "valid_loss", "train_loss", "score"], np.nan)
    for (_, series), wrong in zip(taken.iterrows(), together, strict=True):
        row = {str(name): value for name, value in series.items()}
        error = float(wrong.mean()) / row["labels"]
        answers = {"error_rate": error, "accuracy": 1 - error, "valid_wrong": pack_counts(wrong)}
        yield {**row, **unknown, **answers}


def _seconds(ok: pd.DataFrame) -> float:
    """The median fit time of the runs whose times count; NaN without one."""
    return float(ok.loc[ok["not_timed"].isna(), "fit_seconds"].astype(float).median())


def judged(board: pd.DataFrame, rates: pd.DataFrame | None) -> pd.DataFrame:
    """The rows of the leaderboard that an answer is chosen from: without those at single rates,
    where the same models are compared at their own.
    """
    if rates is None or rates.empty:
        return board
    own = board.loc[board["n"] > 0, ["dataset", "recipe"]].drop_duplicates()
    single = rates.merge(own, on=["dataset", "recipe"])[["dataset", "rate"]]
    key = pd.MultiIndex.from_frame(board[["dataset", "recipe"]])
    return board[~key.isin(pd.MultiIndex.from_frame(single))]


def rates_of(rates: pd.DataFrame | None, dataset: str, recipe: str) -> pd.DataFrame:
    """The rows of rates.csv of one leaderboard; none where the recipe is a recipe."""
    if rates is None:
        return pd.DataFrame(columns=list(RATES))
    return rates[(rates["dataset"] == dataset) & (rates["recipe"] == recipe)]


def rate_to_take(rates: pd.DataFrame | None, dataset: str, recipe: str, model: str) -> str:
    """The recipe to fit a model with: the rate chosen on all images, or the recipe itself."""
    rows = rates_of(rates, dataset, recipe)
    taken = rows[(rows["model"] == model) & rows["taken"].astype(bool)]
    return str(taken["rate"].iloc[0]) if len(taken) else recipe


def changed_order(board: pd.DataFrame, rates: pd.DataFrame) -> tuple[int, int]:
    """How many pairs of models have another order than at the first rate, and of how many.

    `rates` are the rows of one leaderboard, `board` has that one and the first rate's.
    """
    first = rates.iloc[0]
    here = board[(board["dataset"] == first["dataset"]) & (board["n"] > 0)]
    errors = here.pivot(index="model", columns="recipe", values="error_rate_mean")
    names = [first["rate"], first["recipe"]]
    known = errors.reindex(columns=names).dropna().to_numpy(dtype=float).round(DECIMALS)
    one, other = np.triu_indices(len(known), k=1)
    before, after = np.sign(known[one] - known[other]).T
    return int((before * after < 0).sum()), len(one)


def order_sentence(board: pd.DataFrame, rates: pd.DataFrame) -> str:
    """How often the rate decides the order, and which models were not judged at all rates."""
    changed, pairs = changed_order(board, rates)
    first, n = rates["rate"].iloc[0], rates["rate"].nunique()
    text = (
        f"With each model at its own best of {n} rates, {changed} of {pairs} "
        f"pair{'' if pairs == 1 else 's'} of models {_change(changed)} against {first} alone."
    )
    fewer = rates.dropna(subset="left_out")
    for model, rows in fewer.groupby("model", sort=False):
        why = ", ".join(f"{row.rate}: {row.left_out}" for row in rows.itertuples())
        judged_at = f"judged at {n - len(rows)} of {n} rates" if len(rows) < n else "not ranked"
        text += f" {model} is {judged_at} ({why})."
    return text


def _change(changed: int) -> str:
    return "changes its order" if changed == 1 else "change their order"


def take_sentence(rates: pd.DataFrame, model: str) -> str | None:
    """The recipe to fit the model with, and what the choice took; None without a choice."""
    rows = rates[rates["model"] == model]
    taken = rows[rows["taken"].astype(bool)]
    if taken.empty:
        return None
    row, tried = taken.iloc[0], int(rows["left_out"].isna().sum())
    if tried == 1:
        return f"Fit it with recipe {row['rate']}, the only one of its rates that counts."
    cost = row["choice_seconds"]
    took = "" if pd.isna(cost) else f"; one seed of all {tried} takes {duration(cost)}"
    return (
        f"Fit it with recipe {row['rate']}, of its {tried} rates the best on all validation images "
        f"(chosen in {row['n_chosen']} of {row['n_choices']} cross-fitted choices{took})."
    )
