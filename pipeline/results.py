"""The tables that `aggregate` wrote, read back for figures and report; an empty cell is null."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.errors import PipelineError

_TEXT = (
    *("dataset", "recipe", "model", "family", "pretraining", "status", "reason", "device", "run"),
    *("data_kind", "data_fingerprint", "weights_source", "weights_origin", "weights_sha256"),
    *("versions", "started_at", "outcome", "predictor"),
)
_WHOLE = ("rank", "n_train", "n_valid", "imagenet_img_size")  # numbers, and they may be null


@dataclass(frozen=True)
class Results:
    """`board` is leaderboard.csv; the others are named as their files are."""

    runs: pd.DataFrame
    history: pd.DataFrame
    board: pd.DataFrame
    correlations: pd.DataFrame


def read_results(folder: Path) -> Results:
    """Read the four tables; a missing one is one clear line."""
    return Results(
        runs=_read(folder / "runs.csv"),
        history=_read(folder / "history.csv"),
        board=_read(folder / "leaderboard.csv"),
        correlations=_read(folder / "correlations.csv"),
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        types = dict.fromkeys(_TEXT, "str") | dict.fromkeys(_WHOLE, "Int64")
        return pd.read_csv(path, dtype=types, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise PipelineError(f"{path}: not there: run `dvc repro aggregate`") from None
    except ValueError as error:
        raise PipelineError(f"{path}: not a table ({error}): run `dvc repro aggregate`") from None
