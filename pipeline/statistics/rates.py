"""Each model at its own best learning rate, judged on images and seeds that did not choose it.

Recipes that differ in `lr` and `lr_mult` alone (`rate_of`) are a group: the rates of one recipe. A
group gives one more leaderboard, named after the recipe, such as `lp_ft.own_rate`. There a model's
wrong answers are cross-fitted from its runs at the several rates: the rate that answers for a seed
on a tenth of the validation images is the one with the fewest mistakes of the model's other seeds
on the other nine tenths. Cross-fitted answers are compared like those of any run. Taking the lowest
of several errors instead would reward luck, and models with more rates: docs/statistics.md has
both.

A rate counts for a model if every seed finished at it that finished at any; where no rate has all
seeds, the one with the most counts alone, with its seeds. rates.csv says which do not count. It
also has the rate for a fit of one's own, chosen by all seeds on all images.
"""

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pipeline.core.command import duration
from pipeline.core.errors import PipelineError
from pipeline.records import Record, pack_counts, unpack_counts
from pipeline.results import KEY, RATES
from pipeline.statistics.answer import name_list
from pipeline.statistics.comparison import DECIMALS
from pipeline.study.params import Cell, Study, refuse_unlike_rates

FOLDS = 10
OWN_RATE = ".own_rate"  # appended to the recipe's name; fit for names of files as well
RUN = [*KEY, "seed"]


@dataclass(frozen=True)
class RateGroup:
    """Recipes that are one recipe at several rates; that recipe comes first."""

    recipe: str
    rates: tuple[str, ...]
    settings: Mapping[str, Mapping[str, Any]]

    @property
    def own(self) -> str:
        """The name of the leaderboard at each model's own rate."""
        return self.recipe + OWN_RATE


@dataclass(frozen=True)
class OwnRates:
    """`runs` are the cross-fitted runs, one per model and seed; `rates` is rates.csv."""

    runs: pd.DataFrame
    rates: pd.DataFrame


def rate_groups(study: Study, records: Mapping[Cell, Record]) -> list[RateGroup]:
    """The groups of two rates or more among the recipes that have records.

    Raises `PipelineError` where a group differs in more than its rates, or its name is taken.
    """
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
    """The rate [seeds, FOLDS] that answers for a seed on a fold: the one with the fewest of the
    wrong answers `wrong` [rates, seeds, images] of the other seeds on the other folds.

    A single seed chooses for itself. Of equal rates the first is taken.
    """
    counts = np.stack(
        [wrong[:, :, folds == fold].sum(axis=2, dtype=np.int64) for fold in range(FOLDS)], axis=2
    )
    elsewhere = counts.sum(axis=2, keepdims=True) - counts
    if wrong.shape[1] > 1:
        elsewhere = elsewhere.sum(axis=1, keepdims=True) - elsewhere
    chosen: np.ndarray = elsewhere.argmin(axis=0)
    return chosen


def cross_fitted(wrong: np.ndarray, chosen: np.ndarray, folds: np.ndarray) -> np.ndarray:
    """Wrong answers [seeds, images], each image's from the rate that was chosen for its fold."""
    seeds, images = wrong.shape[1:]
    answers: np.ndarray = wrong[chosen[:, folds], np.arange(seeds)[:, None], np.arange(images)]
    return answers


def own_rates(runs: pd.DataFrame, groups: Sequence[RateGroup]) -> OwnRates:
    """Every model at its own rate; `runs` has the columns of runs.csv and of valid_wrong.csv.

    A seed without a cross-fitted run is a row as well, failed or missing.
    """
    rows: list[dict[str, Any]] = []
    table: list[dict[str, Any]] = []
    for group in groups:
        of_group = runs[runs["recipe"].isin(group.rates)]
        for (dataset, model), of_model in of_group.groupby(["dataset", "model"], sort=False):
            key = {"dataset": dataset, "recipe": group.own, "model": model}
            cross_fitted_rows, rates_rows = _of_model(of_model, group)
            rows += [{**row, **key} for row in cross_fitted_rows]
            table += [{**key, **row} for row in rates_rows]
    rates = pd.DataFrame(table, columns=list(RATES))
    return OwnRates(pd.DataFrame(rows, columns=list(runs.columns)).astype({"seed": int}), rates)


def with_own_rates(runs: pd.DataFrame, rates: pd.DataFrame) -> pd.DataFrame:
    """`runs`, as for `own_rates`, and the cross-fitted ones; `rates` is rates.csv."""
    return with_own(runs, own_rates(runs, list(groups_of(rates))).runs)


def with_own(runs: pd.DataFrame, own: pd.DataFrame) -> pd.DataFrame:
    """`runs` and the cross-fitted ones, if there are any."""
    return runs if own.empty else pd.concat([runs, own], ignore_index=True)


def groups_of(rates: pd.DataFrame) -> Iterator[RateGroup]:
    """The groups in rates.csv."""
    for own, rows in rates.groupby("recipe", sort=False):
        settings = {
            str(row.rate): {"lr": row.lr, "lr_mult": row.lr_mult}
            for row in rows.drop_duplicates("rate").itertuples()
        }
        yield RateGroup(str(own).removesuffix(OWN_RATE), tuple(settings), settings)


def _of_model(
    runs: pd.DataFrame, group: RateGroup
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The rows of one dataset and model: cross-fitted runs, and those of rates.csv."""
    ok = runs[runs["status"] == "ok"].sort_values("seed")
    by_rate = {rate: ok[ok["recipe"] == rate] for rate in group.rates}
    left_out = _left_out(by_rate, ok["seed"].drop_duplicates().sort_values().tolist())
    counted = [rate for rate, why in left_out.items() if why is None]
    chosen, taken, rows = np.zeros((0, 0), dtype=int), None, []
    if counted:
        packed = [by_rate[rate]["valid_wrong"] for rate in counted]
        wrong = np.stack([np.stack([unpack_counts(text) for text in each]) for each in packed])
        fingerprint = ok["data_fingerprint"].iloc[0]
        folds = folds_of(wrong.shape[2], fingerprint if isinstance(fingerprint, str) else None)
        chosen = choices(wrong, folds)
        taken = counted[int(wrong.sum(axis=(1, 2), dtype=np.int64).argmin())]
        rows = list(_cross_fitted_rows(by_rate[taken], cross_fitted(wrong, chosen, folds)))
    seconds = {rate: _median_seconds(each) for rate, each in by_rate.items()}
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
            "taken": rate == taken,
            "left_out": left_out[rate],
            "choice_seconds": sum(seconds[each] for each in counted) if counted else np.nan,
        }
        for rate, each in by_rate.items()
    ]
    return rows + _rows_without_answer(runs, {row["seed"] for row in rows}), table


def _left_out(by_rate: Mapping[str, pd.DataFrame], seeds: list[int]) -> dict[str, str | None]:
    """Of each rate why it does not count, or None. `seeds` finished at one rate or more."""
    left_out = {rate: _why_left_out(ok, seeds) for rate, ok in by_rate.items()}
    answered = [rate for rate, ok in by_rate.items() if len(ok) and ok["valid_wrong"].notna().all()]
    if answered and None not in left_out.values():
        left_out[max(answered, key=lambda rate: len(by_rate[rate]))] = None
    return left_out


def _why_left_out(ok: pd.DataFrame, seeds: list[int]) -> str | None:
    if ok.empty:
        return "no run finished"
    if len(ok) < len(seeds):
        return f"{len(ok)} of {len(seeds)} seeds finished"
    return "its answers on each image are not known" if ok["valid_wrong"].isna().any() else None


def _cross_fitted_rows(taken: pd.DataFrame, answers: np.ndarray) -> Iterator[dict[str, Any]]:
    """The runs at the rate to take, with the cross-fitted answers [seeds, images]."""
    unknown = dict.fromkeys(["fbeta2", "valid_loss", "train_loss", "score"], np.nan)
    for (_, series), wrong in zip(taken.iterrows(), answers, strict=True):
        row = {str(name): value for name, value in series.items()}
        error = float(wrong.mean()) / row["labels"]
        measured = {"error_rate": error, "accuracy": 1 - error, "valid_wrong": pack_counts(wrong)}
        yield {**row, **unknown, **measured}


def _rows_without_answer(runs: pd.DataFrame, answered: Collection[int]) -> list[dict[str, Any]]:
    """A row, failed or missing, for each other seed than those `answered`."""
    rows = []
    for (seed, family), each in runs.groupby(["seed", "family"], sort=False, dropna=False):
        if seed not in answered:
            failed = each["status"].isin(["failed", "diverged"]).any()
            status = "failed" if failed else "missing"
            rows.append({"seed": seed, "family": family, "status": status})
    return rows


def _median_seconds(ok: pd.DataFrame) -> float:
    """The median fit time of the runs whose times count; NaN without one."""
    return float(ok.loc[ok["not_timed"].isna(), "fit_seconds"].astype(float).median())


def without_single_rates(board: pd.DataFrame, rates: pd.DataFrame | None) -> pd.DataFrame:
    """The rows of the leaderboard that an answer is chosen from: where models are compared at their
    own rates, without those of the single rates.
    """
    if rates is None or rates.empty:
        return board
    own = board.loc[board["n"] > 0, ["dataset", "recipe"]].drop_duplicates()
    single = rates.merge(own, on=["dataset", "recipe"])[["dataset", "rate"]]
    key = pd.MultiIndex.from_frame(board[["dataset", "recipe"]])
    return board[~key.isin(pd.MultiIndex.from_frame(single))]


def rates_of(rates: pd.DataFrame | None, dataset: str, recipe: str) -> pd.DataFrame:
    """The rows of rates.csv of one leaderboard; none where `recipe` is no group of rates."""
    if rates is None:
        return pd.DataFrame(columns=list(RATES))
    return rates[(rates["dataset"] == dataset) & (rates["recipe"] == recipe)]


def rate_to_take(rates: pd.DataFrame | None, dataset: str, recipe: str, model: str) -> str:
    """The recipe to fit a model with: of a group of rates the one chosen on all images, else
    `recipe` itself.
    """
    rows = rates_of(rates, dataset, recipe)
    taken = rows[(rows["model"] == model) & rows["taken"].astype(bool)]
    return str(taken["rate"].iloc[0]) if len(taken) else recipe


def changed_order(board: pd.DataFrame, rates: pd.DataFrame) -> tuple[int, int]:
    """How many pairs of models have another order than at the first rate, and of how many.

    `rates` are the rows of one group, `board` has the leaderboards of the group and its first rate.
    """
    first = rates.iloc[0]
    here = board[(board["dataset"] == first["dataset"]) & (board["n"] > 0)]
    errors = here.pivot(index="model", columns="recipe", values="error_rate_mean")
    names = [first["rate"], first["recipe"]]
    known = errors.reindex(columns=names).dropna().to_numpy(dtype=float).round(DECIMALS)
    first_of_pair, second_of_pair = np.triu_indices(len(known), k=1)
    before, after = np.sign(known[first_of_pair] - known[second_of_pair]).T
    return int((before * after < 0).sum()), len(first_of_pair)


def order_sentence(board: pd.DataFrame, rates: pd.DataFrame) -> str:
    """How often the rate decides the order, and which models lack some of the rates."""
    changed, pairs = changed_order(board, rates)
    first, n = rates["rate"].iloc[0], rates["rate"].nunique()
    change = "changes its order" if changed == 1 else "change their order"
    text = (
        f"With each model at its own best of {n} rates, {changed} of {pairs} "
        f"pair{'' if pairs == 1 else 's'} of models {change} against {first} alone."
    )
    if not pairs:
        text = f"The model is at its own best of {n} rates."
    fewer = rates.dropna(subset="left_out")
    for model, rows in fewer.groupby("model", sort=False):
        why = ", ".join(f"{row.rate}: {row.left_out}" for row in rows.itertuples())
        judged_at = f"judged at {n - len(rows)} of {n} rates" if len(rows) < n else "not ranked"
        text += f" {model} is {judged_at} ({why})."
    return text


def take_sentence(rates: pd.DataFrame, model: str) -> str | None:
    """Which rate to fit the model with, what choosing it cost, and which others are as good on the
    images that chose; None without a choice.
    """
    rows = rates[rates["model"] == model]
    taken = rows[rows["taken"].astype(bool)]
    if taken.empty:
        return None
    row, tried = taken.iloc[0], int(rows["left_out"].isna().sum())
    if tried == 1:
        return f"Fit it with recipe {row['rate']}, the only one of its rates that counts."
    cost = row["choice_seconds"]
    took = "" if pd.isna(cost) else f"; one seed of all {tried} takes {duration(cost)}"
    off = (rows["error_rate_mean"] - row["error_rate_mean"]).abs()
    same = (off < 10**-DECIMALS) & rows["left_out"].isna() & (rows["rate"] != row["rate"])
    alike, several = "", int(same.sum()) > 1
    if same.any():
        names = name_list(rows.loc[same, "rate"].tolist())
        alike = f" Recipe{'s' * several} {names} err{'s' * (not several)} as little on them."
    return (
        f"Fit it with recipe {row['rate']}, of its {tried} rates the best on all validation images "
        f"(chosen in {row['n_chosen']} of {row['n_choices']} cross-fitted choices{took}).{alike}"
    )
