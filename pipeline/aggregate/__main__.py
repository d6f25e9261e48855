"""Stage `aggregate`: every record of the grid as tables, a leaderboard and headline metrics.

Reads the records of the cells that params.yaml names, and no other, and what meta.json of their
datasets says of pictures in several parts. Writes to the results folder
    runs.csv            one row per cell, missing ones included      (runs_table.py)
    history.csv         one row per run and epoch: the loss curves   (runs_table.py)
    valid_wrong.csv     which validation images each run erred on    (validation_images.py)
    leaderboard.csv     one row per dataset, recipe and model        (leaderboard.py)
    small_and_fast.csv  below the median in memory and time          (fit_times.py)
    correlations.csv    what goes with a good or quick fine-tune     (intervals.py)
    recipes.csv         what a recipe changes, by family, in pairs   (leaderboard.py)
    rates.csv           each model's best learning rate, if several  (rates.py)
    estimates.csv       what a run took by what had been estimated   (estimate.py)
    pool.csv            other people's runs, without effect on the others (leaderboard.py)
and one JSON per dataset to the metrics folder, because `dvc metrics show` prints a line per file.

The surprising fact: a sweep may be half done. A missing record is counted, not an error; a failed
or diverged one is listed, never ranked and never averaged.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.aggregate.leaderboard import leaderboard, pool_table, recipe_effects, settings_of
from pipeline.aggregate.runs_table import (
    Records,
    history_table,
    read_metas,
    read_records,
    runs_table,
)
from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.core.files import replacing_folder, write_json
from pipeline.estimates.estimate import estimates_table
from pipeline.pool.checked import Pooled, read_pool
from pipeline.records import Record, read_record
from pipeline.results import KEY, write_result
from pipeline.statistics.answer import Baselines, best_row
from pipeline.statistics.doubts import doubts_column
from pipeline.statistics.fit_times import small_and_fast
from pipeline.statistics.intervals import correlations
from pipeline.statistics.rates import (
    RUN,
    RateGroup,
    own_rates,
    rate_groups,
    rate_to_take,
    with_own,
    without_single_rates,
)
from pipeline.statistics.validation_images import answers_table, check_answers
from pipeline.study.params import Study, read_study
from pipeline.timm_results.imagenet import published, read_imagenet


def main(
    params: Path,
    runs: Path,
    imagenet: Path,
    results: Path,
    metrics: Path,
    *,
    baselines: Path | None = None,
    datasets: Path | None = None,
    pool: Path | None = None,
) -> None:
    """Write the tables of the study's records, and the headline numbers of each dataset.

    Args:
        params: the study file, params.yaml
        runs: the folder with the records of fine-tunes
        imagenet: the table of stage `merge`
        results: the folder that the tables are written to
        metrics: the folder that the metrics are written to
        baselines: the folder with the records of stage `baseline`
        datasets: the folder with the prepared datasets
        pool: the folder with other people's runs
    """
    study = read_study(params)
    others = read_pool(pool) if pool else []
    records = read_records(study, runs)
    if not records:
        raise PipelineError(
            f"{runs}: none of the {sum(1 for _ in study.cells())} records that {params} names "
            "is here: run `dvc repro` first"
        )
    frozen = read_baselines(study, baselines) if baselines else {}
    groups = rate_groups(study, records)
    metas = read_metas(study, datasets) if datasets else {}
    table, board, rates = write_tables(
        study, records, imagenet, results, frozen, groups, others, metas
    )
    with replacing_folder(metrics) as folder:
        for dataset in study.datasets:
            write_json(folder / f"{dataset}.json", headline(dataset, table, board, rates))


def read_baselines(study: Study, folder: Path) -> dict[tuple[str, str], Record]:
    """The record of each dataset's and model's frozen features; a missing one is left out."""
    found = {}
    for dataset in study.datasets:
        for model in study.models:
            path = folder / dataset / f"{model}.json"
            if path.is_file():
                found[dataset, model] = read_record(path)
                check_answers(path, found[dataset, model])
    return found


def write_tables(
    study: Study,
    records: Records,
    imagenet: Path,
    results: Path,
    baselines: Baselines | None = None,
    groups: Sequence[RateGroup] = (),
    others: Sequence[Pooled] = (),
    metas: Mapping[str, Mapping[str, Any]] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Write every table of these records to `results`; returns runs, leaderboard and rates."""
    table = runs_table(study, records)
    answers = answers_table(records)
    timm = read_imagenet(imagenet)
    known = published(study, timm, imagenet)
    answered = table.merge(answers, how="left", on=RUN, validate="one_to_one")
    own = own_rates(answered, groups)
    doubts = _doubts_at_own_rates(doubts_column(records, metas or {}), own.rates)
    board = leaderboard(study, table, answers, known, baselines or {}, doubts, own.runs)
    write_result(results / "runs.csv", table)
    write_result(results / "valid_wrong.csv", answers)
    write_result(results / "history.csv", history_table(records))
    write_result(results / "leaderboard.csv", board)
    write_result(results / "correlations.csv", correlations(board, known))
    write_result(results / "small_and_fast.csv", small_and_fast(board))
    write_result(results / "recipes.csv", recipe_effects(study, table))
    write_result(results / "rates.csv", own.rates)
    pooled = pool_table(others, _finished(answered, own.runs, records), board, own.rates)
    write_result(results / "pool.csv", pooled)
    write_result(results / "estimates.csv", estimates_table(study, records.values(), timm))
    return table, board, own.rates


def _finished(runs: pd.DataFrame, own: pd.DataFrame, records: Records) -> pd.DataFrame:
    """The finished runs with their answers and settings, also those at models' own rates."""
    settings = {cell.recipe: settings_of(record) for cell, record in records.items()}
    every = with_own(runs, own)
    return every[every["status"] == "ok"].assign(settings=lambda rows: rows["recipe"].map(settings))


def _doubts_at_own_rates(doubts: pd.Series, rates: pd.DataFrame) -> pd.Series:
    """The doubts, and for a model at its own rate those at the rate to take."""
    taken = rates[rates["taken"].astype(bool)]
    if taken.empty:
        return doubts
    own = doubts.reindex(pd.MultiIndex.from_frame(taken[["dataset", "rate", "model"]]))
    own.index = pd.MultiIndex.from_frame(taken[KEY])
    return pd.concat([doubts, own])


def headline(
    dataset: str, runs: pd.DataFrame, board: pd.DataFrame, rates: pd.DataFrame | None
) -> dict[str, Any]:
    """The dataset's best model over all recipes and its error; nulls where none is ranked.

    Times and what is computed from them are not here but in leaderboard.csv: they belong to a
    machine, and `dvc metrics diff` is to show what an edit does, on whatever machine it was made.
    `p_best`, `n_tied` (the models that may be the best) and `n_doubts` (the ranked models with
    doubts) are among the models of its recipe. `doubts` are the best model's, as one text.
    Where models are compared at their own `rates`, `take_recipe` is the rate for a fit of it.
    """
    status = runs.loc[runs["dataset"] == dataset, "status"]
    counts = {
        "n_failed": int(status.isin(["failed", "diverged"]).sum()),
        "n_missing": int((status == "missing").sum()),
        "n_ok": int((status == "ok").sum()),
    }
    ranked = without_single_rates(board[(board["dataset"] == dataset) & (board["n"] > 0)], rates)
    if ranked.empty:
        return counts
    best = best_row(ranked)
    rivals = ranked[ranked["recipe"] == best["recipe"]]
    take = rate_to_take(rates, dataset, best["recipe"], best["model"])
    return {
        "best_model": best["model"],
        "chance_error_rate": _number(best["chance_error_rate"]),
        "error_rate": _number(best["error_rate_mean"]),
        "error_rate_high": _number(best["error_rate_high"]),
        "error_rate_low": _number(best["error_rate_low"]),
        "error_rate_sd": _number(best["error_rate_sd"]),
        "baseline_error_rate": _number(best["baseline_error"]),
        "gain": _number(best["gain"]),
        "gain_high": _number(best["gain_high"]),
        "gain_low": _number(best["gain_low"]),
        "doubts": None if pd.isna(best["doubts"]) else best["doubts"],
        "n_doubts": int(rivals["doubts"].notna().sum()),
        "n_tied": int(rivals["tied"].sum()) if rivals["tied"].notna().any() else None,
        "p_best": _number(best["p_best"]),
        "recipe": best["recipe"],
        **({} if take == best["recipe"] else {"take_recipe": take}),
        **counts,
    }


def _number(value: Any) -> float | None:
    return None if pd.isna(value) else float(value)


if __name__ == "__main__":
    run(main)
