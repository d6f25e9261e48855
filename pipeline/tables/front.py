"""The Pareto front of error and fit time (and memory), and how sure each model's place on it is.

A model is on the front if none is as good in everything. Errors are redrawn with the noise of runs
and images (tables/comparison.py), fit times with their relative spread, pooled over the group's
models; memory is taken as measured. The share of draws in which a model is on the front is its
probability: a quick model that is beaten by a hair has about one half.
"""

import numpy as np
import pandas as pd

from pipeline.tables.comparison import Comparison
from pipeline.tables.intervals import draw_errors, pooled

COLUMNS = ("on_front", "p_front", "p_front_memory")
MOST_DRAWS = 1000  # with memory, which compares every pair of models


def fronts(found: Comparison, costs: pd.DataFrame, timed: pd.DataFrame) -> pd.DataFrame:
    """COLUMNS per row of `costs`, the compared models' rows in their order; null if not timed.

    `timed` are the runs that the times are from. `p_front_memory` counts memory as well, where it
    is known of every timed model.
    """
    table = pd.DataFrame({name: np.nan for name in COLUMNS}, index=costs.index)
    table = table.astype({"on_front": "boolean"})
    here = costs["fit_seconds_median"].notna().to_numpy()
    if not here.any():
        return table
    costs = costs[here]
    seconds = costs["fit_seconds_median"].to_numpy(dtype=float)
    seconds_se = relative_noise(timed) / np.sqrt(costs["n_timed"].to_numpy(dtype=float))
    covariance = found.covariance[np.ix_(here, here)]
    errors = found.mean[here] + draw_errors(covariance, found.freedom)
    rng = np.random.default_rng(1)
    times = seconds * np.exp(seconds_se * rng.standard_normal(errors.shape))
    index = costs.index
    table.loc[index, "on_front"] = front_of_two(found.mean[None, here], seconds[None])[0]
    table.loc[index, "p_front"] = front_of_two(errors, times).mean(axis=0)
    if costs["peak_memory_gib_max"].notna().all():
        memory = costs["peak_memory_gib_max"].to_numpy(dtype=float)
        drawn = front_of_three(errors[:MOST_DRAWS], times[:MOST_DRAWS], memory)
        table.loc[index, "p_front_memory"] = drawn.mean(axis=0)
    return table


def relative_noise(timed: pd.DataFrame) -> float:
    """The standard deviation of a fit time as a share of it; 0 where no model has two."""
    relative = timed["fit_seconds"] / timed.groupby("model")["fit_seconds"].transform("mean")
    noise = pooled(relative, timed["model"])
    return 0.0 if noise is None else noise.sd


def front_of_two(errors: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Bool [draws, n]: who has a lower error than all that are as quick."""
    order = np.lexsort((errors, seconds), axis=1)
    ordered = np.take_along_axis(errors, order, axis=1)
    least = np.minimum.accumulate(ordered, axis=1)
    before = np.concatenate([np.full((len(errors), 1), np.inf), least[:, :-1]], axis=1)
    front = np.empty(errors.shape, dtype=bool)
    np.put_along_axis(front, order, ordered < before, axis=1)
    return front


def front_of_three(errors: np.ndarray, seconds: np.ndarray, memory: np.ndarray) -> np.ndarray:
    """Bool [draws, n]: whom none beats that needs no more memory [n]; errors are all different."""
    front = np.empty(errors.shape, dtype=bool)
    for i in range(len(memory)):
        rivals = memory <= memory[i]
        rivals[i] = False
        as_good = errors[:, rivals] <= errors[:, [i]]
        front[:, i] = ~(as_good & (seconds[:, rivals] <= seconds[:, [i]])).any(axis=1)
    return front
