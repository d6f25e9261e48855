"""Whose times count: of each dataset, runs that had the device which most of them ran on for
themselves.

Every finished run counts for the error. Its time ranks nothing where its record says so, where
others were on the device, or where it ran on another device than most; runs.csv says which, in
column `not_timed`.
"""

import pandas as pd

SHARED, ELSEWHERE, UNKNOWN = "the device was shared", "another device than most", "no time known"


def why_not_timed(runs: pd.DataFrame) -> pd.Series:
    """Per row of the runs table, why its time ranks nothing; null where it counts.

    `not_for_speed` is the record's own reason. A run that did not finish has no time to count.
    """
    reason = runs["not_for_speed"].astype("object")
    reason = reason.where(reason.notna() | (runs["shared"] != True), SHARED)  # noqa: E712 - may be null
    ok = runs["status"] == "ok"
    elsewhere = runs["device"] != runs["dataset"].map(main_devices(runs[ok & reason.isna()]))
    reason = reason.where(reason.notna() | ~elsewhere, ELSEWHERE)
    reason = reason.where(reason.notna() | runs["fit_seconds"].notna(), UNKNOWN)
    return reason.where(ok, None)


def main_devices(runs: pd.DataFrame) -> pd.Series:
    """Per dataset, the device of most of these runs; a tie goes to the first by name."""
    counts = runs.groupby(["dataset", "device"]).size().rename("runs").reset_index()
    ordered = counts.sort_values(["runs", "device"], ascending=[False, True])
    return ordered.drop_duplicates("dataset").set_index("dataset")["device"]
