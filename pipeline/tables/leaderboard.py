"""The leaderboard: per dataset and recipe, the models by mean error over the seeds that finished.

Times are compared on one device only, the one that ran most of the dataset's fine-tunes: runs from
other devices count for the error and not for the time, and `n_timed` says how many did.

Intervals, ties and probabilities are those of tables/comparison.py. Models that may be the best
share rank 1; the others follow by mean error.
"""

from typing import Any

import pandas as pd

from pipeline.tables.comparison import compare
from pipeline.tables.front import COLUMNS, fronts
from pipeline.tables.results import LEADERBOARD
from pipeline.tables.study import Study

GROUP = ["dataset", "recipe", "model"]
COMPARED = (  # columns of leaderboard.csv that are a comparison's fields of another name
    *(("error_rate_low", "low"), ("error_rate_high", "high"), ("interval_covers", "covers")),
    *(("p_best", "p_best"), ("tied", "tied"), ("tied_here", "tied_here")),
    *(("gap_to_best", "gap"), ("gap_low", "gap_low"), ("gap_high", "gap_high")),
    ("n_common", "n_common"),
)


def leaderboard(study: Study, runs: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, recipe and model of the grid; best first, the unranked last."""
    board = runs.groupby(GROUP, sort=False).agg(
        n_failed=("status", lambda status: int(status.isin(["failed", "diverged"]).sum())),
        n_missing=("status", lambda status: int((status == "missing").sum())),
    )
    ok = runs[runs["status"] == "ok"].copy()
    ok["on_device"] = ok["device"] == ok["dataset"].map(main_devices(ok))
    board = board.join(_quality(ok)).join(_cost(ok[ok["on_device"]]))
    data = runs.dropna(subset="chance_error_rate").drop_duplicates("dataset")
    data = data[["dataset", "data_kind", "n_train", "n_valid", "chance_error_rate"]]
    n_valid = data.dropna(subset="n_valid").set_index("dataset")["n_valid"].to_dict()
    board = board.join(compared(ok, board, n_valid)).reset_index()
    board["device"] = board["dataset"].map(main_devices(ok)).where(board["n_timed"] > 0)
    counts = ["n", "n_timed", "n_shared", "n_common"]
    board[counts] = board[counts].fillna(0).astype(int)
    truths = ["tied", "tied_here", "on_front"]
    board[truths] = board[truths].astype("boolean")
    board["rank"] = _ranks(board)
    board = board.merge(data, on="dataset", how="left", validate="many_to_one")
    board = board.merge(published, on="model", how="left", validate="many_to_one")
    return _sorted(study, board)[list(LEADERBOARD)]


def main_devices(ok: pd.DataFrame) -> pd.Series:
    """Per dataset, the device that finished most of its runs; a tie goes to the first by name."""
    counts = ok.groupby(["dataset", "device"]).size().rename("runs").reset_index()
    ordered = counts.sort_values(["runs", "device"], ascending=[False, True])
    return ordered.drop_duplicates("dataset").set_index("dataset")["device"]


def _quality(ok: pd.DataFrame) -> pd.DataFrame:
    return ok.groupby(GROUP).agg(
        n=("error_rate", "count"),
        error_rate_mean=("error_rate", "mean"),
        error_rate_sd=("error_rate", "std"),
        fbeta2_mean=("fbeta2", "mean"),
    )


def _cost(timed: pd.DataFrame) -> pd.DataFrame:
    return timed.groupby(GROUP).agg(
        fit_seconds_median=("fit_seconds", "median"),
        fit_seconds_sd=("fit_seconds", "std"),
        energy_wh_median=("energy_wh", "median"),
        score_mean=("score", "mean"),
        images_per_second_median=("images_per_second", "median"),
        peak_memory_gib_max=("peak_memory_gib", "max"),
        peak_rss_gib_max=("peak_rss_gib", "max"),
        n_timed=("fit_seconds", "count"),
        n_shared=("shared", lambda shared: int((shared == True).sum())),  # noqa: E712 - may be null
    )


def compared(ok: pd.DataFrame, costs: pd.DataFrame, n_valid: dict[Any, int]) -> pd.DataFrame:
    """The comparison and fronts of each dataset's and recipe's models; needs `n_valid`."""
    tables = []
    for (dataset, recipe), runs in ok.groupby(GROUP[:2], sort=False):
        if dataset in n_valid:
            errors = runs.pivot(index="model", columns="seed", values="error_rate")
            found = compare(errors.to_numpy(dtype=float), n_valid[dataset])
            table = pd.DataFrame({column: getattr(found, name) for column, name in COMPARED})
            names: dict[str, Any] = {"dataset": dataset, "recipe": recipe, "model": errors.index}
            table = table.assign(**names).set_index(GROUP)
            cost = costs.reindex(table.index)
            tables.append(table.join(fronts(found, cost, runs[runs["on_device"]])))
    if not tables:
        names = {"columns": [*GROUP, *(name for name, _ in COMPARED), *COLUMNS]}
        return pd.DataFrame(**names).set_index(GROUP)
    return pd.concat(tables)


def _ranks(board: pd.DataFrame) -> pd.Series:
    """1 for the tied, the others by mean error behind them; null without a finished run."""
    place = board["error_rate_mean"].where(~board["tied"].fillna(False).astype(bool), -1.0)
    ranks = board.assign(place=place).groupby(GROUP[:2])["place"].rank(method="min")
    return ranks.astype("Int64")


def _sorted(study: Study, board: pd.DataFrame) -> pd.DataFrame:
    """In params.yaml's order of datasets and recipes, then by rank, error, params.yaml's order."""
    place = pd.DataFrame(
        {
            "dataset": board["dataset"].map(study.datasets.index),
            "recipe": board["recipe"].map(study.recipes.index),
            "rank": board["rank"],
            "error": board["error_rate_mean"],
            "model": board["model"].map({name: i for i, name in enumerate(study.models)}),
        }
    )
    return board.loc[place.sort_values(list(place.columns)).index].reset_index(drop=True)
