"""Command `recommend`: which backbone to take for a dataset, why, and how sure that is.

Reads params.yaml, the tables of `aggregate` and imagenet.csv; writes nothing. Of the models that
cannot be told from the best it names the one that is quickest to fine-tune, not the one with the
lowest mean. A dataset without runs gets a shortlist from published numbers, called a prior.
"""

import json as json_text
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.command import run
from pipeline.errors import PipelineError, near_matches
from pipeline.recommendation.choice import Choice, certainty, choose, reason
from pipeline.recommendation.experiment import next_experiment
from pipeline.recommendation.limits import Limit, memory_gib, seconds, throughput
from pipeline.recommendation.prior import shortlist
from pipeline.recommendation.words import answer_text
from pipeline.tables.results import Results, read_results
from pipeline.tables.study import Study, read_study
from pipeline.timm_results.imagenet import read_imagenet
from pipeline.timm_results.published import chart_rows

PRIOR = (
    "No fine-tune of {dataset} has finished: this is a prior from other people's measurements and "
    "other datasets, and nothing more"
)


def main(
    *,
    dataset: str,
    max_memory: str | None = None,
    max_fit_time: str | None = None,
    min_throughput: float | None = None,
    top: int = 3,
    json: bool = False,
    params: Path = Path("params.yaml"),
    results: Path = Path("results"),
    imagenet: Path = Path("data/imagenet.csv"),
) -> None:
    """Recommend a backbone for DATASET, within limits such as 4GiB, 2min and 500 images/s.

    --max-memory is the GPU's, on a CPU the process's; --min-throughput is that of fine-tuning.
    """
    if top < 1:
        raise PipelineError(f"--top {top}: give 1 or more")
    study = read_study(params)
    asked = {"--max-memory": max_memory, "--max-fit-time": max_fit_time}
    _check_limits(asked, min_throughput)
    done = read_results(results) if (results / "leaderboard.csv").is_file() else None
    ranked = None if done is None else _ranked(done, dataset)
    if done is None or ranked is None or ranked.empty:
        _check_name(study, dataset)
        told = _prior(study, done, imagenet, dataset, asked, min_throughput, top)
    else:
        told = _from_runs(study, done, ranked, _limits(ranked, asked, min_throughput), top)
    print(json_text.dumps(told, indent=2, ensure_ascii=False) if json else answer_text(told))


def _from_runs(
    study: Study, done: Results, ranked: pd.DataFrame, limits: list[Limit], top: int
) -> dict[str, Any]:
    dataset = str(ranked["dataset"].iloc[0])
    runs = done.runs[done.runs["dataset"] == dataset]
    choice = choose(ranked, runs, limits)
    missing = int((runs["status"] == "missing").sum())
    return {
        "dataset": dataset,
        "basis": "runs",
        "recipe": str(choice.rows["recipe"].iloc[0]),
        "models": _models(choice, top),
        "reason": reason(choice),
        "certainty": certainty(choice),
        "n_tied": choice.n_tied,
        "excluded": choice.excluded,
        "next": asdict(next_experiment(study, choice, missing)),
    }


def _models(choice: Choice, top: int) -> list[dict[str, Any]]:
    """The first rows as JSON values; the first is the recommended one."""
    numbers = {
        "error_rate": "error_rate_mean",
        "error_rate_low": "error_rate_low",
        "error_rate_high": "error_rate_high",
        "p_best": "p_best",
        "fit_seconds": "fit_seconds_median",
        "images_per_second": "images_per_second_median",
        "peak_memory_gib": "peak_memory_gib_max",
        "peak_rss_gib": "peak_rss_gib_max",
    }
    return [
        {
            "model": row["model"],
            "tied": bool(row["tied"]),
            "seeds": int(row["n"]),
            **{
                name: None if pd.isna(row[column]) else round(float(row[column]), 6)
                for name, column in numbers.items()
            },
            "device": None if pd.isna(row["device"]) else row["device"],
        }
        for _, row in choice.rows.head(top).iterrows()
    ]


def _prior(
    study: Study,
    done: Results | None,
    imagenet: Path,
    dataset: str,
    asked: dict[str, str | None],
    min_throughput: float | None,
    top: int,
) -> dict[str, Any]:
    rows = chart_rows(study, read_imagenet(imagenet), imagenet, "train")
    distance = (rows["img_size"] - study.image_size).abs()
    nearest = rows.assign(distance=distance).sort_values(["model", "distance"])
    board = pd.DataFrame(columns=["model", "tied"]) if done is None else done.board
    limits = []
    if min_throughput is not None:
        column = "samples_per_second"
        limits.append(Limit("--min-throughput", column, min_throughput, "samples/s", least=True))
    found = shortlist(nearest.drop_duplicates("model"), board, limits, top)
    models = ",".join(each.model for each in found)
    return {
        "dataset": dataset,
        "basis": "prior",
        "models": [asdict(each) for each in found],
        "note": PRIOR.format(dataset=dataset),
        "not_judged": [option for option, text in asked.items() if text is not None],
        "next": {
            "what": "fine-tune them with two seeds at least, one shows nothing of how runs vary",
            "command": f"dvc exp run -S 'grid.datasets=[{dataset}]' -S 'grid.models=[{models}]'",
        },
    }


def _ranked(done: Results, dataset: str) -> pd.DataFrame:
    return done.board[(done.board["dataset"] == dataset) & (done.board["n"] > 0)]


def _check_limits(asked: dict[str, str | None], min_throughput: float | None) -> None:
    """Bad units are told before anything else, runs or not."""
    for option, text in asked.items():
        if text is not None:
            (memory_gib if option == "--max-memory" else seconds)(option, text)
    if min_throughput is not None:
        throughput("--min-throughput", min_throughput)


def _limits(
    ranked: pd.DataFrame, asked: dict[str, str | None], min_throughput: float | None
) -> list[Limit]:
    limits = []
    if text := asked["--max-memory"]:
        on_gpu = bool(ranked["peak_memory_gib_max"].notna().any())
        column = "peak_memory_gib_max" if on_gpu else "peak_rss_gib_max"
        bound = memory_gib("--max-memory", text)
        limits.append(Limit("--max-memory", column, bound, "GiB"))
    if text := asked["--max-fit-time"]:
        bound = seconds("--max-fit-time", text)
        limits.append(Limit("--max-fit-time", "fit_seconds_median", bound, "s"))
    if min_throughput is not None:
        column = "images_per_second_median"
        limits.append(Limit("--min-throughput", column, min_throughput, "images/s", least=True))
    return limits


def _check_name(study: Study, dataset: str) -> None:
    """A dataset without runs must at least have a configuration."""
    folder = study.path.parent / "conf" / "dataset"
    known = {*study.datasets, *(path.stem for path in folder.glob("*.yaml"))}
    if dataset not in known:
        raise PipelineError(f"unknown dataset {dataset!r}: {near_matches(dataset, known)}")


if __name__ == "__main__":
    run(main)
