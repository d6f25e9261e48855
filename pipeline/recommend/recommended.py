"""The model that `recommend` names for a dataset, for the stages that go on with it."""

from pathlib import Path

import pandas as pd

from pipeline.core.errors import PipelineError, near_matches
from pipeline.recommend.choice import Choice, choose
from pipeline.results import Results, read_answers, read_results

RUN = ["dataset", "recipe", "model", "seed"]


def recommended(done: Results, answers: pd.DataFrame, dataset: str) -> Choice | None:
    """The choice among the dataset's models, without limits; None where no run has finished."""
    ranked = done.board[(done.board["dataset"] == dataset) & (done.board["n"] > 0)]
    if ranked.empty:
        return None
    runs = done.runs[done.runs["dataset"] == dataset].merge(answers, how="left", on=RUN)
    return choose(ranked, runs, [])


def recommended_row(results: Path, dataset: str, model: str | None = None) -> pd.Series:
    """The leaderboard's row of the recommended model, or of `model` under its best recipe."""
    done = read_results(results)
    choice = recommended(done, read_answers(results), dataset)
    if choice is None:
        known = done.board.loc[done.board["n"] > 0, "dataset"]
        raise PipelineError(
            f"dataset {dataset!r}: {results}/leaderboard.csv has no finished run of it: "
            f"{near_matches(dataset, set(known))}"
        )
    if model is None:
        first: pd.Series = choice.rows.iloc[0]
        return first
    ranked = done.board[(done.board["dataset"] == dataset) & (done.board["n"] > 0)]
    its = ranked[ranked["model"] == model].sort_values("error_rate_mean", kind="stable")
    if its.empty:
        raise PipelineError(
            f"model {model!r}: no finished run on {dataset}: {near_matches(model, ranked['model'])}"
        )
    row: pd.Series = its.iloc[0]
    return row
