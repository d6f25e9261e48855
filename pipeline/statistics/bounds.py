"""The most that a model's steady fit time can be, where the times of its runs do not count.

Others on the device, and a start-up that cannot be told apart, only make a time longer. A run on
another device than most of a dataset's bounds nothing.
"""

import pandas as pd

KEY = ["dataset", "recipe", "model"]
AT_MOST, AT_LEAST = "steady_fit_seconds_at_most", "images_per_second_at_least"
BOUND = "fit_seconds_at_most"  # as AT_MOST, also of runs whose start-up is not known


def main_devices(runs: pd.DataFrame) -> pd.Series:
    """Per dataset, the device of most of these runs; a tie goes to the first by name."""
    counts = runs.groupby(["dataset", "device"]).size().rename("runs").reset_index()
    ordered = counts.sort_values(["runs", "device"], ascending=[False, True])
    return ordered.drop_duplicates("dataset").set_index("dataset")["device"]


def with_bounds(ranked: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard's rows of one dataset with AT_MOST and AT_LEAST; null where a time counts.

    They are medians over the model's runs that others disturbed, on the dataset's main device.
    `runs` are the dataset's rows of runs.csv.
    """
    ok = runs[runs["status"] == "ok"]
    devices = main_devices(ok[ok["not_timed"].isna()]).combine_first(main_devices(ok))
    shared = ok["shared"].fillna(False).astype(bool) & ok["not_timed"].notna()
    medians = (
        _on(devices, ok[shared])
        .groupby(KEY)
        .agg(
            **{AT_MOST: ("steady_fit_seconds", "median"), AT_LEAST: ("images_per_second", "median")}
        )
    )
    found = ranked.join(medians, on=KEY)
    untimed = found["steady_fit_seconds_median"].isna()
    found[AT_MOST] = found[AT_MOST].astype(float).where(untimed)
    found[AT_LEAST] = found[AT_LEAST].astype(float).where(found["images_per_second_median"].isna())
    return found


def with_longest(board: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard with BOUND, for figures: the median time of a model's runs, the whole fit
    where its start-up is not known; null where a time counts.
    """
    ok = runs[runs["status"] == "ok"]
    here = _on(main_devices(ok), ok)
    seconds = here["steady_fit_seconds"].fillna(here["fit_seconds"]).astype(float)
    bounds = here.assign(**{BOUND: seconds}).groupby(KEY)[BOUND].median()
    found = board.drop(columns=BOUND, errors="ignore").join(bounds, on=KEY)
    return found.assign(**{BOUND: found[BOUND].where(found["steady_fit_seconds_median"].isna())})


def _on(devices: pd.Series, runs: pd.DataFrame) -> pd.DataFrame:
    """The runs on their dataset's device."""
    return runs[runs["device"] == runs["dataset"].map(devices)]
