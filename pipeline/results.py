"""The tables of the results folder: their columns, and how figures and report read them back.

An empty cell is null. Whole numbers that may be null are read as such, not as 359.0. Text that a
spreadsheet would run as a formula is written with a leading ' and read back without it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.core.files import write_table

KEY = ["dataset", "recipe", "model"]  # of a row of the leaderboard
CELL = (*KEY, "family", "seed")
RUNS = (
    *CELL,
    "status",
    "reason",
    "error_rate",
    "accuracy",
    "fbeta2",
    "valid_loss",
    "train_loss",
    "test_error_rate",  # never used for a choice
    "fit_seconds",
    "start_up_seconds",
    "steady_fit_seconds",
    "seconds_per_epoch",
    "images_per_second",
    "score",
    "peak_memory_gib",
    "peak_memory_allocated_gib",
    "peak_rss_gib",
    "energy_wh",
    "device",
    "shared",
    "not_timed",
    "versions",
    "started_at",
    "weights_source",
    "weights_origin",
    "weights_sha256",
    "image_size",
    "data_fingerprint",
    "data_kind",
    "n_train",
    "n_valid",
    "n_test",
    "chance_error_rate",
)
# `not_timed` of a run whose own record says nothing against its time:
ELSEWHERE, UNKNOWN_START_UP = "another device than most", "too few steps to tell its start-up"
HISTORY = (
    *CELL,
    "run",
    "status",
    "epoch",
    "train_loss",
    "valid_loss",
    "error_rate",
    "seconds",
)
BASELINE = (  # of the leaderboard: frozen features, and what the fits gain over them
    "baseline_error",
    "baseline_low",
    "baseline_high",
    "baseline_seconds",
    "knn_error",
    "gain",
    "gain_low",
    "gain_high",
)
LEADERBOARD = (
    "dataset",
    "recipe",
    "rank",
    "model",
    "family",
    "n",
    "n_failed",
    "n_missing",
    "error_rate_mean",
    "error_rate_low",
    "error_rate_high",
    "interval_covers",
    "images",
    "error_rate_sd",
    "p_best",
    "tied",
    "tied_here",
    "gap_to_best",
    "gap_low",
    "gap_high",
    "n_common",
    "fbeta2_mean",
    *BASELINE,
    "doubts",
    "steady_fit_seconds_median",
    "steady_fit_seconds_sd",
    "steady_fit_seconds_at_most",  # where no time counts
    "start_up_seconds_median",
    "score_mean",
    "images_per_second_median",
    "images_per_second_at_least",  # likewise
    "energy_wh_median",
    "peak_memory_gib_max",
    "peak_rss_gib_max",
    "n_timed",
    "n_not_timed",
    "not_timed",
    "n_shared",
    "device",
    "on_front",
    "p_front",
    "p_front_memory",
    "chance_error_rate",
    "data_kind",
    "n_train",
    "n_valid",
    "pretraining",
    "licence",  # null for unknown
    "imagenet_top1",
    "imagenet_img_size",
    "params_m",
    "infer_samples_per_second",
    "infer_img_size",
    "train_samples_per_second",
    "train_img_size",
)
CORRELATIONS = (
    "dataset",
    "recipe",
    "outcome",
    "predictor",
    "n",
    "spearman",
    "spearman_low",
    "spearman_high",
    "kendall",
    "kendall_low",
    "kendall_high",
    "pairs_lower",
    "pairs_lower_low",
    "pairs_lower_high",
    "reason",
)
SMALL_FAST = (
    "dataset",
    "recipe",
    "place",
    "model",
    "family",
    "rank",
    "tied",
    "error_rate_mean",
    "error_rate_low",
    "error_rate_high",
    "steady_fit_seconds_median",
    "memory_gib",
    "memory_of",
    "memory_gib_below",
    "steady_fit_seconds_below",
    "score_mean",
    "n",
    "n_timed",
    "device",
)
ANSWERS = (*KEY, "seed", "labels", "valid_wrong")
RECIPES = (
    "dataset",
    "recipe",
    "against",
    "family",
    "n_models",
    "n_pairs",
    "error_difference",
    "error_difference_low",
    "error_difference_high",
    "steady_fit_time_ratio",
    "steady_fit_time_ratio_low",
    "steady_fit_time_ratio_high",
)
RATES = (
    *KEY,
    "rate",
    "lr",
    "lr_mult",
    "n",
    "error_rate_mean",
    "fit_seconds_median",
    "n_chosen",
    "n_choices",
    "taken",
    "left_out",
    "choice_seconds",
)
ESTIMATES = (
    *KEY,
    "seed",
    "device",
    "source",
    "estimated_seconds",
    "fit_seconds",
    "ratio",
)
POOL = (  # other people's runs; `from` is a source of the pool, `*_here` are this study's
    "from",
    "who",
    "dataset",
    "recipe",
    "model",
    "family",
    "n",
    "n_failed",
    "error_rate_mean",
    "error_rate_low",
    "error_rate_high",
    "tied_there",
    "image_size",
    "data_kind",
    "n_valid",
    "data_fingerprint",
    "dataset_here",
    "recipe_here",
    "same_settings",
    "model_here",
    "gap",
    "gap_low",
    "gap_high",
    "gap_covers",
    "images",
    "steady_fit_seconds_there",
    "device_there",
    "where",
    "revision",
)
_TEXT = (
    "dataset",
    "recipe",
    "model",
    "family",
    "pretraining",
    "licence",
    "status",
    "reason",
    "device",
    "run",
    "data_kind",
    "data_fingerprint",
    "weights_source",
    "weights_origin",
    "weights_sha256",
    "versions",
    "started_at",
    "outcome",
    "predictor",
    "interval_covers",
    "gap_covers",
    "images",
    "against",
    "not_timed",
    "valid_wrong",
    "doubts",
    "memory_of",
    "source",
    "rate",
    "left_out",
    "from",
    "who",
    "dataset_here",
    "recipe_here",
    "model_here",
    "device_there",
    "where",
    "revision",
)
_WHOLE_NUMBERS = (
    "rank",
    "n_train",
    "n_valid",
    "n_test",
    "image_size",
    "imagenet_img_size",
    "infer_img_size",
    "train_img_size",
)
_BOOLEANS = ("tied", "tied_here", "on_front", "taken", "tied_there", "same_settings")
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_QUOTED_FORMULA = re.compile(r"'+[=+\-@\t\r]")


@dataclass(frozen=True)
class Results:
    """`board` is leaderboard.csv; the others are named as their files are."""

    runs: pd.DataFrame
    history: pd.DataFrame
    board: pd.DataFrame
    correlations: pd.DataFrame
    recipes: pd.DataFrame
    estimates: pd.DataFrame
    rates: pd.DataFrame


def read_results(folder: Path) -> Results:
    """Read the seven tables; a missing or malformed one raises `PipelineError`."""
    return Results(
        runs=read_runs(folder),
        history=_read(folder / "history.csv", HISTORY),
        board=_read(folder / "leaderboard.csv", LEADERBOARD),
        correlations=_read(folder / "correlations.csv", CORRELATIONS),
        recipes=_read(folder / "recipes.csv", RECIPES),
        estimates=_read(folder / "estimates.csv", ESTIMATES),
        rates=_read(folder / "rates.csv", RATES),
    )


def read_runs(folder: Path) -> pd.DataFrame:
    """The table of runs alone, where the others are not needed."""
    return _read(folder / "runs.csv", RUNS)


def read_small_and_fast(folder: Path) -> pd.DataFrame:
    """The table of the models below the median in memory and in steady fit time."""
    return _read(folder / "small_and_fast.csv", SMALL_FAST)


def read_answers(folder: Path) -> pd.DataFrame:
    """The table of which images each run erred on."""
    return _read(folder / "valid_wrong.csv", ANSWERS)


def read_pool_table(folder: Path) -> pd.DataFrame:
    """The table of other people's runs; without rows where the pool is empty."""
    return _read(folder / "pool.csv", POOL)


def write_result(path: Path, table: pd.DataFrame) -> None:
    """Write one of the tables; text cells that look like formulas get a leading '."""

    def quoted(value: object) -> object:
        return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value

    written = table.copy()
    for name in table.columns:
        if not pd.api.types.is_numeric_dtype(table[name]):
            written[name] = table[name].map(quoted)
    write_table(path, written)


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    types = dict.fromkeys(_TEXT, "str") | dict.fromkeys(_WHOLE_NUMBERS, "Int64")
    types |= dict.fromkeys(_BOOLEANS, "boolean")
    return read_result(path, columns, types, "run `dvc repro aggregate`")


def read_result(
    path: Path, columns: Sequence[str], types: Mapping[str, str], again: str
) -> pd.DataFrame:
    """Read what `write_result` wrote; `types` are pandas' by column.

    Raises `PipelineError`, which ends with `again`, how to make the table, where the file is
    missing, is no table or lacks one of `columns`.
    """
    try:
        table = pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise PipelineError(f"{path}: not there: {again}") from None
    except ValueError as error:
        raise PipelineError(f"{path}: not a table ({error}): {again}") from None
    if missing := [name for name in columns if name not in table]:
        raise PipelineError(f"{path}: no column {missing[0]}: {again}")
    for name in [name for name, kind in types.items() if kind == "str" and name in table]:
        quoted = table[name].str.match(_QUOTED_FORMULA, na=False).astype(bool)
        table.loc[quoted, name] = table.loc[quoted, name].str[1:]
    return table
