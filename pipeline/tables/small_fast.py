"""The small and fast: models below the median in memory and in fit time, best error first.

The 2022 study printed such tables, with the medians rounded to 2.7 GiB and 110 (Pets) or 25
(Planet) seconds. Here the medians are those of each dataset's and recipe's timed models. Memory is
the GPU's where it is known of any of them, else the process's.
"""

import pandas as pd

from pipeline.tables.results import SMALL_FAST

GPU, PROCESS = "peak_memory_gib_max", "peak_rss_gib_max"


def small_and_fast(board: pd.DataFrame) -> pd.DataFrame:
    """One row per model below both medians of its dataset and recipe, `place` by mean error."""
    parts = [_of_group(rows) for _, rows in board.groupby(["dataset", "recipe"], sort=False)]
    table = pd.concat(parts) if parts else pd.DataFrame()
    return table.reindex(columns=list(SMALL_FAST)).reset_index(drop=True)


def below(
    models: pd.DataFrame, memory: str, seconds: str, error: str, bounds: tuple[float, float]
) -> pd.DataFrame:
    """The rows whose columns `memory` and `seconds` are below `bounds`, by column `error`."""
    kept = models[(models[memory] < bounds[0]) & (models[seconds] < bounds[1])]
    return kept.sort_values(error, kind="stable")


def memory_column(rows: pd.DataFrame) -> str:
    """The leaderboard's column that says how much memory these models need."""
    return GPU if rows[GPU].notna().any() else PROCESS


def _of_group(rows: pd.DataFrame) -> pd.DataFrame:
    memory = memory_column(rows)
    timed = rows.dropna(subset=[memory, "fit_seconds_median"])
    bounds = float(timed[memory].median()), float(timed["fit_seconds_median"].median())
    found = below(timed, memory, "fit_seconds_median", "error_rate_mean", bounds)
    return found.assign(
        place=range(1, len(found) + 1),
        memory_gib=found[memory],
        memory_of="GPU" if memory == GPU else "process",
        memory_gib_below=bounds[0],
        fit_seconds_below=bounds[1],
    )
