"""What runs that shared their device still show: a fit alone takes at most that long."""

import pandas as pd

from pipeline.aggregate.runs_table import main_devices

KEY = ["recipe", "model"]
AT_MOST, AT_LEAST = "fit_seconds_at_most", "images_per_second_at_least"
WHILE = "measured while other runs shared the device"


def with_bounds(ranked: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard's rows of one dataset with AT_MOST and AT_LEAST; null where a time counts.

    They are medians over the model's runs that others disturbed, on the dataset's main device;
    sharing can only slow a run down. `runs` are the dataset's rows of runs.csv.
    """
    ok = runs[runs["status"] == "ok"]
    devices = main_devices(ok[ok["not_timed"].isna()]).combine_first(main_devices(ok))
    shared = ok["shared"].fillna(False).astype(bool) & ok["not_timed"].notna()
    disturbed = ok[shared & (ok["device"] == ok["dataset"].map(devices))]
    medians = disturbed.groupby(KEY).agg(
        **{AT_MOST: ("fit_seconds", "median"), AT_LEAST: ("images_per_second", "median")}
    )
    found = ranked.join(medians, on=KEY)
    untimed = found["fit_seconds_median"].isna()
    found[AT_MOST] = found[AT_MOST].astype(float).where(untimed)
    found[AT_LEAST] = found[AT_LEAST].astype(float).where(found["images_per_second_median"].isna())
    return found
