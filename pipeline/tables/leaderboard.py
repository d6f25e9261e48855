"""The leaderboard: per dataset and recipe, the models by mean error over the seeds that finished.

Times are compared on one device only, the one that ran most of the dataset's fine-tunes: runs from
other devices count for the error and not for the time, and `n_timed` says how many did.

The gap to the best is a paired difference over the seeds that both models finished, with a 95 %
t interval; null where they share fewer than two. It covers what seeds change, not what another
validation set would.
"""

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.tables.results import LEADERBOARD
from pipeline.tables.study import Study

GROUP = ["dataset", "recipe", "model"]
CONFIDENCE = 0.95


def leaderboard(study: Study, runs: pd.DataFrame, published: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, recipe and model of the grid; best first, the unranked last."""
    board = runs.groupby(GROUP, sort=False).agg(
        n_failed=("status", lambda status: int(status.isin(["failed", "diverged"]).sum())),
        n_missing=("status", lambda status: int((status == "missing").sum())),
    )
    ok = runs[runs["status"] == "ok"].copy()
    ok["on_device"] = ok["device"] == ok["dataset"].map(main_devices(ok))
    board = board.join(_quality(ok)).join(_cost(ok[ok["on_device"]]))
    board = board.join(_gaps(ok, board)).reset_index()
    board["device"] = board["dataset"].map(main_devices(ok)).where(board["n_timed"] > 0)
    counts = ["n", "n_timed", "n_shared", "n_common"]
    board[counts] = board[counts].fillna(0).astype(int)
    board["rank"] = board.groupby(GROUP[:2])["error_rate_mean"].rank(method="min").astype("Int64")
    data = runs.dropna(subset="chance_error_rate").drop_duplicates("dataset")
    data = data[["dataset", "data_kind", "n_train", "n_valid", "chance_error_rate"]]
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
        score_mean=("score", "mean"),
        images_per_second_median=("images_per_second", "median"),
        peak_memory_gib_max=("peak_memory_gib", "max"),
        peak_rss_gib_max=("peak_rss_gib", "max"),
        n_timed=("fit_seconds", "count"),
        n_shared=("shared", lambda shared: int((shared == True).sum())),  # noqa: E712 - may be null
    )


def _gaps(ok: pd.DataFrame, board: pd.DataFrame) -> pd.DataFrame:
    """Per model, how far it is behind its dataset's and recipe's best, seed by seed."""
    ranked = board.dropna(subset="error_rate_mean").reset_index()
    best = ranked.sort_values("error_rate_mean", kind="stable").drop_duplicates(GROUP[:2])
    best_runs = ok.merge(best[GROUP], on=GROUP, validate="many_to_one")
    paired = ok.merge(
        best_runs[["dataset", "recipe", "seed", "error_rate"]],
        on=["dataset", "recipe", "seed"],
        suffixes=("", "_of_best"),
        validate="many_to_one",
    )
    paired["gap"] = paired["error_rate"] - paired["error_rate_of_best"]
    gaps = paired.groupby(GROUP)["gap"].agg(["mean", "std", "count"])
    gaps = gaps.drop(pd.MultiIndex.from_frame(best[GROUP]), errors="ignore")
    freedom = (gaps["count"] - 1).where(gaps["count"] > 1)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, freedom) * gaps["std"] / np.sqrt(gaps["count"])
    return pd.DataFrame(
        {
            "gap_to_best": gaps["mean"],
            "gap_low": gaps["mean"] - half,
            "gap_high": gaps["mean"] + half,
            "n_common": gaps["count"],
        }
    )


def _sorted(study: Study, board: pd.DataFrame) -> pd.DataFrame:
    """In params.yaml's order of datasets and recipes, then by rank, then by params.yaml's order."""
    place = pd.DataFrame(
        {
            "dataset": board["dataset"].map(study.datasets.index),
            "recipe": board["recipe"].map(study.recipes.index),
            "rank": board["rank"],
            "model": board["model"].map({name: i for i, name in enumerate(study.models)}),
        }
    )
    return board.loc[place.sort_values(list(place.columns)).index].reset_index(drop=True)
