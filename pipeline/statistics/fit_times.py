"""Fit times against errors: the Pareto front, the small and fast models, bounds of unknown times.

Where no time of a model counts, `with_bounds` gives an upper bound: others on the device, a halved
batch, and a start-up that is part of the time only make it longer, so the shortest of the model's
runs is the tightest bound. A run on another device than most runs of the dataset gives no bound,
and bounds do not say which of two models is quicker. `with_least_seconds` gives a lower bound, by
what the runs computed while they shared the device.

`fronts` gives each model's probability of being on the front. `small_and_fast` are the models below
the median in memory and in steady fit time, best error first, as the 2022 study printed them with
rounded medians (2.7 GiB, and 110 seconds for Pets, 25 for Planet); here the medians are those of
each dataset's and recipe's timed models. Memory is the GPU's where it is known of any of them, else
the process's.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from pipeline.records import Record
from pipeline.results import KEY, SMALL_FAST
from pipeline.statistics.comparison import Comparison
from pipeline.statistics.intervals import draw_truths, pooled_noise

COLUMNS = ("on_front", "p_front", "p_front_memory")
MOST_DRAWS = 1000  # with memory, which compares every pair of models
TIME = "steady_fit_seconds"  # of a run
GPU, PROCESS = "peak_memory_gib_max", "peak_rss_gib_max"
AT_MOST, AT_LEAST = "steady_fit_seconds_at_most", "images_per_second_at_least"
SECONDS_AT_LEAST = "steady_fit_seconds_at_least"
ESTIMATED_SECONDS, ESTIMATED_FACTOR = "estimated_seconds", "estimated_factor"
ESTIMATED_ON = "estimated_on"  # the device that these are of
CPU_SECONDS = "cpu_seconds"  # of runs with one thread
HALF_PACE = 0.5  # that a thread keeps at the least beside another one on its core


def only_bounds(board: pd.DataFrame) -> bool:
    """Is no steady fit time of these models known, only what it can be at most?"""
    known = board["steady_fit_seconds_median"].notna().any()
    return AT_MOST in board and bool(board[AT_MOST].notna().any() and not known)


def time_axis(board: pd.DataFrame) -> str:
    """The title of the axis of a chart on which these models are drawn at their fit times."""
    return "steady fit time, at most (s)" if only_bounds(board) else "steady fit time (s)"


def fronts(found: Comparison, costs: pd.DataFrame, timed: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS for each row of `costs`, the compared models in the order of `found`; null if a model
    has no time.

    `timed` are the runs that the times are from. `p_front_memory` is of a front in memory as well,
    where that is known of every timed model.
    """
    table = pd.DataFrame({name: np.nan for name in COLUMNS}, index=costs.index)
    table = table.astype({"on_front": "boolean"})
    has_time = costs["steady_fit_seconds_median"].notna().to_numpy()
    if not has_time.any():
        return table
    costs = costs[has_time]
    seconds = costs["steady_fit_seconds_median"].to_numpy(dtype=float)
    seconds_se = relative_noise(timed) / np.sqrt(costs["n_timed"].to_numpy(dtype=float))
    covariance = found.covariance[np.ix_(has_time, has_time)]
    errors = draw_truths(found.mean[has_time], covariance, found.freedom)
    rng = np.random.default_rng(1)
    times = seconds * np.exp(seconds_se * rng.standard_normal(errors.shape))
    index = costs.index
    table.loc[index, "on_front"] = front_of_two(found.mean[None, has_time], seconds[None])[0]
    table.loc[index, "p_front"] = front_of_two(errors, times).mean(axis=0)
    if costs["peak_memory_gib_max"].notna().all():
        memory = costs["peak_memory_gib_max"].to_numpy(dtype=float)
        drawn = front_of_three(errors[:MOST_DRAWS], times[:MOST_DRAWS], memory)
        table.loc[index, "p_front_memory"] = drawn.mean(axis=0)
    return table


def relative_noise(timed: pd.DataFrame) -> float:
    """The standard deviation of a steady fit time as a share of it; 0 where no model has two."""
    relative = timed[TIME] / timed.groupby("model")[TIME].transform("mean")
    noise = pooled_noise(relative, timed["model"])
    return 0.0 if noise is None else noise.sd


def front_of_two(errors: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Bool [draws, n]: the Pareto fronts of errors and seconds [draws, n], lower being better.

    Models that are equal in both are on it together.
    """
    order = np.lexsort((errors, seconds), axis=1)
    ordered, times = (np.take_along_axis(each, order, axis=1) for each in (errors, seconds))
    least = np.minimum.accumulate(ordered, axis=1)
    before = np.concatenate([np.full((len(errors), 1), np.inf), least[:, :-1]], axis=1)
    differs = np.diff(ordered, axis=1, prepend=np.nan) != 0
    differs |= np.diff(times, axis=1, prepend=np.nan) != 0
    first_equal = np.maximum.accumulate(np.where(differs, np.arange(errors.shape[1]), 0), axis=1)
    on_front = np.take_along_axis(ordered < before, first_equal, axis=1)
    front = np.empty(errors.shape, dtype=bool)
    np.put_along_axis(front, order, on_front, axis=1)
    return front


def along_front(less: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Indices of the Pareto front, where less of `less` and more of `more` is better, in the order
    of `less`. A point with NaN is never on it.
    """
    (known,) = np.nonzero(~np.isnan(less) & ~np.isnan(more))
    on = known[front_of_two(-more[None, known], less[None, known])[0]]
    chosen: np.ndarray = on[np.argsort(less[on])]
    return chosen


def front_of_three(errors: np.ndarray, seconds: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Bool [draws, n]: the fronts of errors and seconds [draws, n] and memory [n]; all errors of a
    draw are different.
    """
    front = np.empty(errors.shape, dtype=bool)
    for i in range(len(memory)):
        rivals = memory <= memory[i]
        rivals[i] = False
        as_good = errors[:, rivals] <= errors[:, [i]]
        front[:, i] = ~(as_good & (seconds[:, rivals] <= seconds[:, [i]])).any(axis=1)
    return front


def small_and_fast(board: pd.DataFrame) -> pd.DataFrame:
    """One row per model below both medians of its dataset and recipe, `place` by mean error."""
    parts = [_of_group(rows) for _, rows in board.groupby(["dataset", "recipe"], sort=False)]
    table = pd.concat(parts) if parts else pd.DataFrame()
    return table.reindex(columns=list(SMALL_FAST)).reset_index(drop=True)


def below_both(
    models: pd.DataFrame, memory: str, seconds: str, error: str, bounds: tuple[float, float]
) -> pd.DataFrame:
    """The rows below both `bounds`, of the columns `memory` and `seconds`, ordered by `error`."""
    kept = models[(models[memory] < bounds[0]) & (models[seconds] < bounds[1])]
    return kept.sort_values(error, kind="stable")


def memory_column(rows: pd.DataFrame) -> str:
    """The leaderboard's column that says how much memory these models need."""
    return GPU if rows[GPU].notna().any() else PROCESS


def _of_group(rows: pd.DataFrame) -> pd.DataFrame:
    memory = memory_column(rows)
    timed = rows.dropna(subset=[memory, "steady_fit_seconds_median"])
    bounds = float(timed[memory].median()), float(timed["steady_fit_seconds_median"].median())
    found = below_both(timed, memory, "steady_fit_seconds_median", "error_rate_mean", bounds)
    return found.assign(
        place=range(1, len(found) + 1),
        memory_gib=found[memory],
        memory_of="GPU" if memory == GPU else "process",
        memory_gib_below=bounds[0],
        steady_fit_seconds_below=bounds[1],
    )


def main_devices(runs: pd.DataFrame) -> pd.Series:
    """Per dataset, the device of most of these runs; a tie goes to the first by name."""
    counts = runs.groupby(["dataset", "device"]).size().rename("runs").reset_index()
    ordered = counts.sort_values(["runs", "device"], ascending=[False, True])
    return ordered.drop_duplicates("dataset").set_index("dataset")["device"]


def devices_of_times(ok: pd.DataFrame) -> pd.Series:
    """Per dataset, the device that its times are of: of most runs whose times count, if any do."""
    return main_devices(ok[ok["not_timed"].isna()]).combine_first(main_devices(ok))


def with_bounds(board: pd.DataFrame, on_device: pd.DataFrame) -> pd.DataFrame:
    """The models' rows, indexed by KEY, with AT_MOST and AT_LEAST; null where a time counts.

    They are of the quickest of a model's finished runs `on_device`, the whole fit where its
    start-up is not known.
    """
    seconds = on_device[TIME].astype(float).fillna(on_device["fit_seconds"].astype(float))
    known = on_device.assign(**{AT_MOST: seconds}).groupby(KEY)
    found = {
        AT_MOST: (known[AT_MOST].min(), "steady_fit_seconds_median"),
        AT_LEAST: (known["images_per_second"].max(), "images_per_second_median"),
    }
    bounds = {
        name: bound.reindex(board.index).astype(float).where(board[counts].isna())
        for name, (bound, counts) in found.items()
    }
    return board.assign(**bounds)


def least_share_alone(record: Record) -> float | None:
    """The share of its time that a fit that shared its CPU takes alone at the least: half of what
    each of its threads computed. None on a GPU, where not all processes need be known that computed
    there, and where the record does not tell.
    """
    cost, device = record.cost, record.device
    if device.kind == "cpu" and device.threads and cost.cpu_seconds and cost.fit_seconds:
        return min(HALF_PACE * cost.cpu_seconds / device.threads / cost.fit_seconds, 1.0)
    return None


def with_least_seconds(board: pd.DataFrame, records: Iterable[Record]) -> pd.DataFrame:
    """The models' rows with what these runs tell of a fit alone: CPU_SECONDS and SECONDS_AT_LEAST,
    the least of a model's runs; null where nothing does.
    """
    found = []
    for each in records:
        one_thread = each.device.kind == "cpu" and each.device.threads == 1
        computed = each.cost.cpu_seconds if one_thread else None
        least = _least_steady_seconds(each)
        found.append((each.dataset, each.recipe, each.model, computed, least))
    names = [CPU_SECONDS, SECONDS_AT_LEAST]
    table = pd.DataFrame(found, columns=[*KEY, *names]).astype(dict.fromkeys(names, float))
    return board.join(table.groupby(KEY)[names].min(), on=KEY)


def _least_steady_seconds(record: Record) -> float | None:
    """What a fit takes alone, at the least, after a start-up that may have been at full pace."""
    share, steady = least_share_alone(record), record.steady_fit_seconds
    whole = record.cost.fit_seconds
    if share is None or whole is None or steady is None:
        return None
    return max(share * whole - (whole - steady), 0.0)


def at_asked_times(rows: pd.DataFrame) -> pd.DataFrame:
    """`rows` with the steady fit times that the answer is about: of the runs, or with --fit-on of
    the estimates for that device.
    """
    if ESTIMATED_SECONDS not in rows:
        return rows
    rows = rows.assign(steady_fit_seconds_median=rows[ESTIMATED_SECONDS])
    return rows.assign(**{AT_MOST: np.nan})


def times_elsewhere(rows: pd.DataFrame) -> dict[str, Any] | None:
    """By model, the seconds of a steady fit that are estimated on the device of --fit-on, with the
    least and the most that they may be; None without that option.
    """
    if ESTIMATED_ON not in rows:
        return None
    found = {}
    for _, row in rows.iterrows():
        seconds, factor = float(row[ESTIMATED_SECONDS]), float(row[ESTIMATED_FACTOR])
        ends = {"seconds": seconds, "least": seconds / factor, "most": seconds * factor}
        found[str(row["model"])] = None if np.isnan(seconds) else ends
    return {"device": str(rows[ESTIMATED_ON].iloc[0]), "models": found}
