"""The most that a model's steady fit time can be, where the times of its runs do not count."""

import pandas as pd

BOUND = "fit_seconds_at_most"  # a column: the most that a steady fit time can be, if none counts


def with_bounds(board: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The leaderboard with BOUND: the median time of a model's runs where none of theirs counts.

    A whole fit is longer than its steady part, and others on the device only make it longer; a run
    on another device than most bounds nothing.
    """
    key = ["dataset", "recipe", "model"]
    ok = runs[runs["status"] == "ok"]
    usual = {name: set(rows["device"].mode()[:1]) for name, rows in ok.groupby("dataset")}
    pairs = zip(ok["device"], ok["dataset"], strict=True)
    same = [device in usual[dataset] for device, dataset in pairs]
    here = ok[pd.Series(same, index=ok.index, dtype=bool)]
    seconds = here["steady_fit_seconds"].fillna(here["fit_seconds"]).astype(float)
    bounds = here.assign(**{BOUND: seconds}).groupby(key)[BOUND].median()
    found = board.drop(columns=BOUND, errors="ignore").join(bounds, on=key)
    return found.assign(**{BOUND: found[BOUND].where(found["steady_fit_seconds_median"].isna())})
