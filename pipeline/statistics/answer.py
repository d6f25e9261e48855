"""Which model a dataset's answer is: metrics, report and `recommend` all ask this one function."""

import pandas as pd

DECIMALS = 9  # of an error rate: a table read back may differ in its last bit


def answer(ranked: pd.DataFrame) -> pd.Series:
    """The row of the lowest mean error; `ranked` are rows of the leaderboard with finished runs.

    Of equal errors the known shorter fit time comes first, then recipe and model by name.
    """
    order = ranked.assign(error_rate_mean=ranked["error_rate_mean"].astype(float).round(DECIMALS))
    by = ["error_rate_mean", "fit_seconds_median", "recipe", "model"]
    first = order.sort_values(by, kind="stable", na_position="last").index[0]
    found: pd.Series = ranked.loc[first]
    return found
