"""The 894 runs of the 2022 study, and its four printed tables.

Reads the study's CSV: dataset, model_name, GPU_mem, error_rate, valid_loss, train_loss, fit_time.
The learning rate is no column, but follows from the order of the rows. Every model has passes of
three runs in a row; the study's sweep definitions give one grid of 57 models two learning rates,
0.008 and 0.002, and the other models 0.008 only; newest runs come first, so a model's first pass
ran at 0.008 and its second, if any, at 0.002. On Planet all 57 models train and validate worse in
the second pass.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from rich.console import Console

from pipeline.core.errors import PipelineError
from pipeline.core.files import sha256
from pipeline.fetch.__main__ import git_url
from pipeline.fetch.git import is_full_id, results_at, shown
from pipeline.names.resolve import names_2022
from pipeline.statistics.fit_times import below_both
from pipeline.timm_results.published_tables import Column, number, read_table, text

_IN_GIT = re.compile(
    r"(?P<url>\S+)@(?P<commit>[0-9A-Za-z]+):(?P<file>[A-Za-z0-9][A-Za-z0-9._-]*\.csv)"
)
LEARNING_RATES = (0.008, 0.002)  # of a model's first and second pass
IMAGE_SIZE = 224  # pixels, of all fine-tunes
OVERHEAD_SECONDS = 80  # score = error_rate * (fit_seconds + 80), the study's own
SMALL_FAST = {"pets": (2.7, 110.0), "planet": (2.7, 25.0)}  # below so many GiB, and seconds
PRINTED = ["dataset", "family", "model_name", "GPU_mem", "error_rate", "fit_time", "score"]
DIGITS = 6  # that the study printed


@dataclass(frozen=True)
class Source:
    """Where the runs came from; commit, date and file are None for a plain file."""

    origin: str
    commit: str | None
    date: str | None
    file: str | None
    sha256: str

    @property
    def title(self) -> str:
        return self.origin if self.commit is None else f"{self.origin}@{self.commit}:{self.file}"


@contextmanager
def sweep_file(given: str) -> Iterator[tuple[Path, Source]]:
    """The CSV as a file, which is there within the block only, and where it came from.

    Raises `PipelineError` where there is no such file.
    """
    path = Path(given)
    if path.is_file():
        yield path, Source(str(path), None, None, None, sha256(path))
        return
    asked = _IN_GIT.fullmatch(given)
    if asked is None:
        raise PipelineError(f"{given[:200]}: no such file, and not URL@COMMIT:FILE.csv either")
    with tempfile.TemporaryDirectory(prefix="study2022-") as folder:
        path, commit, date = _fetch(asked["url"], asked["commit"], asked["file"], Path(folder))
        yield path, Source(shown(asked["url"]), commit, date, asked["file"], sha256(path))


def _fetch(url: str, commit: str, file: str, folder: Path) -> tuple[Path, str | None, str | None]:
    """The file of a commit, written to `folder`, the commit and its date."""
    name = shown(url)
    remote = git_url(url)
    if remote is None:
        raise PipelineError(f"{name}: a folder, but no git repository")
    if not is_full_id(commit):
        raise PipelineError(f"{name}@{commit}: name the commit by its full id, 40 digits")
    with Console(stderr=True).status(f"fetching {file} of {name}"):
        found = results_at(remote, name, commit, folder / "git", folder="")
    if file not in found.files:
        raise PipelineError(f"{name}: no {file} at {commit[:12]}")
    path = folder / file
    path.write_bytes(found.files[file])
    return path, found.id, found.date


def read_sweep(path: Path) -> pd.DataFrame:
    """One row per run, in the file's order.

    Adds to the file's columns: `pass` (1, 2), `repeat` (1, 2, 3 within the pass), `learning_rate`
    (null for a run that reported nothing: the file calls every such run `pets`), `finished` (has
    an error rate and a time), `score` of the run, `family` as the study counted, and `model`,
    today's tag of the weights (null where they are gone).
    """
    name = text(r"[A-Za-z0-9_.]{1,100}", "a name")
    runs = read_table(
        path,
        {
            "dataset": name,
            "model_name": name,
            "GPU_mem": number(0, 1000, or_empty=True),
            "error_rate": number(0, 1, or_empty=True),
            "valid_loss": _loss,
            "train_loss": _loss,
            "fit_time": number(0, 1e6, or_empty=True),
        },
    )
    cell = runs["dataset"] + " " + runs["model_name"]
    consecutive = (cell != cell.shift()).cumsum()  # a number for the runs of each pass
    runs["pass"] = consecutive.groupby(cell).rank(method="dense").astype(int)
    runs["repeat"] = consecutive.groupby(consecutive).cumcount() + 1
    if len(third := cell[runs["pass"] > len(LEARNING_RATES)]):
        raise PipelineError(
            f"{path}: row {third.index[0] + 1}: a third pass over {third.iloc[0]};"
            " the 2022 study made two, so this is another file or its rows were sorted"
        )
    rates = runs["pass"].map(dict(enumerate(LEARNING_RATES, start=1)))
    runs["learning_rate"] = rates.where(runs["train_loss"].notna())
    runs["finished"] = runs["error_rate"].notna() & runs["fit_time"].notna()
    runs["score"] = score(runs)
    runs["family"] = runs["model_name"].map(family_2022)
    runs["model"] = runs["model_name"].map(names_2022())
    return runs


def _loss(column: Column) -> pd.Series:
    """A loss, which the study wrote as `NaN` where it was not a number and empty where absent."""
    cells = ["" if cell == "NaN" else cell for cell in column.cells]
    return number(0, 1e9, or_empty=True)(Column(column.path, column.name, cells))


def score(table: pd.DataFrame) -> pd.Series:
    """The study's score of error_rate and fit_time; lower is better."""
    return table["error_rate"] * (table["fit_time"] + OVERHEAD_SECONDS)


def family_2022(name: str) -> str:
    """The study's family: letters up to a digit or underscore; swinv2 counts as swin."""
    found = re.match(r"([a-z]+?(?:v2)?)(?:\d|_|$)", name)
    family = found[1] if found else name
    return "swin" if family == "swinv2" else family


def published(runs: pd.DataFrame) -> pd.DataFrame:
    """The study's table of all models: the minimum of each column on its own, best score first.

    So its error rate may be one run's and its time another's; `mixed` says where no single run has
    both. `rank` counts from 0 within a dataset, as the study printed it.
    """
    best = runs.groupby(["dataset", "family", "model_name"])[["GPU_mem", "error_rate", "fit_time"]]
    table = best.min().dropna().reset_index()
    table["score"] = score(table)
    table = table.sort_values(["dataset", "score"], kind="stable")
    table.insert(0, "rank", table.groupby("dataset").cumcount())
    table["mixed"] = ~_one_run_has_both(runs, table)
    return table[["rank", *PRINTED, "mixed"]].reset_index(drop=True)


def _one_run_has_both(runs: pd.DataFrame, table: pd.DataFrame) -> pd.Series:
    """Per row of `table`: does one finished run have its error rate and its time?"""
    both = ["dataset", "model_name", "error_rate", "fit_time"]
    whole = runs.loc[runs["finished"], both].drop_duplicates()
    found = table[both].merge(whole, on=both, how="left", validate="one_to_one", indicator=True)
    return (found["_merge"] == "both").set_axis(table.index)


def printed_tables(runs: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """`DATASET_by_score` and `DATASET_small_fast`: the study's top 15, rounded as it did."""
    tables = {}
    for dataset, models in published(runs).groupby("dataset"):
        tables[f"{dataset!s}_by_score"] = models
        if dataset in SMALL_FAST:
            small = below_both(
                models, "GPU_mem", "fit_time", "error_rate", SMALL_FAST[str(dataset)]
            )
            tables[f"{dataset!s}_small_fast"] = small
    return {name: _as_printed(table) for name, table in tables.items()}


def _as_printed(table: pd.DataFrame) -> pd.DataFrame:
    shown = table.head(15)[PRINTED].round(DIGITS).reset_index(drop=True)
    return shown.rename_axis("rank").reset_index()
