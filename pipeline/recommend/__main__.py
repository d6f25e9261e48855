"""Command `recommend`: which backbone to take for a dataset, why, and how sure that is.

Reads params.yaml, the tables of `aggregate` and imagenet.csv; writes nothing. The answer is that of
metrics and report, the lowest mean error, or within limits the lowest that they leave; the quickest
model that cannot be told apart from the best is named as well. A dataset without runs gets a
shortlist from published numbers, called a prior.
"""

import json as json_text
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.command import percent, run
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml
from pipeline.estimates.planned import estimator_for, this_device
from pipeline.recommend.choice import (
    Choice,
    candidates,
    certainty,
    choose,
    fit_time,
    other_size,
    outdated,
    reason,
    runs_of,
    with_cpu_seconds,
)
from pipeline.recommend.costs import Serving, Way, serving, way, with_costs
from pipeline.recommend.experiment import (
    PLANNED,
    first_runs,
    first_size,
    next_experiment,
    other_weights,
    raced,
    still_to_make,
    telling,
    this_study,
)
from pipeline.recommend.limits import Asked
from pipeline.recommend.prior import (
    PRIOR,
    Judged,
    affordable,
    alike,
    alike_elsewhere,
    check_name,
    kind_of,
    predicted,
    shortlist,
)
from pipeline.results import Results, read_answers, read_pool_table, read_results
from pipeline.statistics.answer import gain_sentence, quickest_of_equals, sentence_of_test
from pipeline.statistics.doubts import split_doubts
from pipeline.statistics.fit_times import AT_MOST
from pipeline.statistics.rates import order_sentence, rate_to_take, take_sentence
from pipeline.status.__main__ import changed_source
from pipeline.study.params import RUNS, Cell, Study, read_study, threads_of
from pipeline.timm_results.imagenet import at_nearest_size, chart_rows, read_imagenet


def answer_text(told: dict[str, Any]) -> str:
    """The answer of `pipeline.recommend`, the dictionary that --json writes, for a person."""
    if told["basis"] == "prior":
        lines = [f"{told['note']}.", ""]
        lines += [f"  {each['model']}: {each['why']}" for each in told["models"]]
        remarks = [told["prior"], *(f"Limits: {text}" for text in told["excluded"]), *told["notes"]]
        remarks = [f"{text}." for text in remarks] + _costs_of(told)
        lines += ["", *remarks]
        if told["not_judged"]:
            lines += ["", f"Not judged without a run: {', '.join(told['not_judged'])}."]
        return "\n".join([*lines, "", f"Next: {told['next']['what']}:", *_commands(told["next"])])
    first, *others = told["models"]
    lines = [told["outdated"]] if told["outdated"] else []
    either = f", the lowest error, or {told['quickest']}, the quickest" if told["quickest"] else ""
    lines += [f"{told['dataset']}: take {first['model']} ({_numbers(first)}){either}"]
    lines += [told["reason"], told["certainty"]]
    lines += [f"Doubt: {text}." for text in first["doubts"]]
    lines += [told[key] for key in ("test", "race", "baseline", "rates") if told[key]]
    lines += _costs_of(told)
    lines += [f"Limits: {text}." for text in told["excluded"]]
    if others:
        lines += ["", "Runners-up:"]
        lines += [
            f"  {each['model']} ({_numbers(each)}"
            + (f", P(best) {each['p_best']:.2f}" if each["tied"] else ", clearly behind the best")
            + f"{_count(each['doubts'])})"
            for each in others
        ]
    after, hope = told["next"]["tied_after"], ""
    if after is not None and told["next"]["commands"]:
        hope = f" (models that may be the best: {told['n_tied']}, then about {after:.1f})"
    lines += ["", f"What would change this most: {told['next']['what']}{hope}"]
    return "\n".join([*lines, *_commands(told["next"])])


def _costs_of(told: dict[str, Any]) -> list[str]:
    """What the way to the model costs and how fast it serves, as far as they were asked for."""
    return [text for text in ((told["cost"] or {}).get("text"), told["serving"]) if text]


def _commands(experiment: dict[str, Any]) -> list[str]:
    return [f"  {command}" for command in experiment["commands"]]


def _numbers(model: dict[str, Any]) -> str:
    return f"error {percent(model['error_rate'])}, {model['fit_time']}"


def _count(doubts: list[str]) -> str:
    """`, 2 doubts` of a runner-up, whose sentences --json has; else empty."""
    return f", {len(doubts)} doubt{'' if len(doubts) == 1 else 's'}" if doubts else ""


def main(
    *,
    dataset: str,
    max_memory: str | None = None,
    max_fit_time: str | None = None,
    min_throughput: float | None = None,
    smaller_and_faster_than_median: bool = False,
    licence: str | None = None,
    max_cost: float | None = None,
    price_per_hour: float | None = None,
    min_ips: float | None = None,
    max_latency: str | None = None,
    serve_on: str | None = None,
    top: int = 3,
    json: bool = False,
    params: Path = Path("params.yaml"),
    results: Path = Path("results"),
    imagenet: Path = Path("data/imagenet.csv"),
) -> None:
    """Recommend a backbone for a dataset, within limits.

    Args:
        dataset: the dataset to recommend one for
        max_memory: the most memory of the GPU, on a CPU of the process, such as 4GiB
        max_fit_time: the longest fit, without its start-up, such as 2min
        min_throughput: the fewest images/s of fine-tuning
        smaller_and_faster_than_median: only models below the median in memory and in fit time
        licence: commercial: only weights that may be used commercially beyond doubt, by the
            licence that timm states; unknown is left out
        max_cost: the highest price of the runs still to make and the last fit together
        price_per_hour: what an hour of this machine costs
        min_ips: the fewest images/s of inference; unknown is left out
        max_latency: the longest inference of a batch, such as 5ms; unknown is left out
        serve_on: the device of these two: rtx3090, or one of timm's benchmark files; by default
            this machine, by its own benchmark
        top: how many models to name
        json: print the answer as JSON
        params: the study file
        results: the folder with the tables of `aggregate`
        imagenet: the table of stage `merge`
    """
    if top < 1:
        raise PipelineError(f"--top {top}: give 1 or more")
    asked = Asked(
        max_memory,
        max_fit_time,
        min_throughput,
        smaller_and_faster_than_median,
        licence,
        max_cost,
        price_per_hour,
        min_ips,
        max_latency,
        serve_on,
    )
    study = read_study(params)
    done = read_results(results) if (results / "leaderboard.csv").is_file() else None
    if done is not None and (done.board.loc[done.board["dataset"] == dataset, "n"] > 0).any():
        told = _from_runs(study, done, read_answers(results), imagenet, dataset, asked, top)
        if dataset in study.raced_datasets:
            first = told["models"][0]["model"]
            told |= raced(results / "race" / f"{dataset}.json", dataset, first)
    else:
        check_name(study, dataset)
        others = read_pool_table(results) if done is not None else None
        told = _prior(study, done, others, imagenet, dataset, asked, top)
    print(json_text.dumps(told, indent=2, ensure_ascii=False) if json else answer_text(told))


def _from_runs(
    study: Study,
    done: Results,
    answers: pd.DataFrame,
    imagenet: Path,
    dataset: str,
    asked: Asked,
    top: int,
) -> dict[str, Any]:
    served = _serving(study, imagenet, asked, study.models, study.image_size)
    if served is not None:
        done = replace(done, board=served.joined(done.board))
    ranked, runs = candidates(done, dataset), runs_of(done, answers, dataset)
    of_dataset = done.runs[done.runs["dataset"] == dataset]
    of_board = done.board[done.board["dataset"] == dataset]
    refused = set(of_board["model"]) - set(asked.kept(of_board)["model"])
    changed = changed_source(study, dataset)
    none_counts = changed is not None or other_size(study, of_dataset) is not None
    missing = still_to_make(study, None if none_counts else done, dataset)
    missing = [cell for cell in missing if cell.model not in refused]
    ways = _ways(study, done, imagenet, ranked, missing, asked)
    if ways:
        ranked = with_costs(ranked, ways)
    if asked.max_fit_time is not None:
        ranked = with_cpu_seconds(ranked, study.path.parent / RUNS, of_dataset)
    choice = choose(ranked, runs, asked.of_runs(ranked), done.rates)
    first = str(choice.rows["model"].iloc[0])
    is_first = (ranked["model"] == first) & (ranked["recipe"] == choice.rows["recipe"].iloc[0])
    its_way = [each for each, here in zip(ways, is_first, strict=False) if here]
    stale = [outdated(study, of_dataset, dataset), f"{changed}." if changed else None]
    following, old = this_study(study, dataset), " ".join(filter(None, stale)) or None
    if old is None:
        telling_cells = telling(missing, done.board, choice)
        n_missing = int((done.runs["status"] == "missing").sum())
        following = next_experiment(study, choice, telling_cells, n_missing)
    return {
        "dataset": dataset,
        "basis": "runs",
        "outdated": old,
        "recipe": str(choice.rows["recipe"].iloc[0]),
        "take_recipe": choice.to_take(first),
        "models": _models(choice, top),
        "quickest": quickest_of_equals(choice.rows, choice.within),
        "reason": reason(choice),
        "certainty": certainty(choice),
        "test": sentence_of_test(of_dataset, choice.to_take(first), first),
        "baseline": gain_sentence(choice.rows, first, choice.within),
        "race": None,
        "rates": _rates(done.board, choice),
        "cost": its_way[0].as_json() if its_way else None,
        "serving": served.text(first) if served is not None else None,
        "n_tied": choice.n_tied,
        "excluded": choice.excluded,
        "next": asdict(following),
    }


def _serving(
    study: Study, imagenet: Path, asked: Asked, models: Sequence[str], size: int
) -> Serving | None:
    """The speeds that the models serve with, where that was asked for."""
    if not asked.serves:
        return None
    here = this_device(threads_of(read_yaml(study.path)))
    return serving(read_imagenet(imagenet), asked.serve_on, here, models, size)


def _ways(
    study: Study,
    done: Results,
    imagenet: Path,
    ranked: pd.DataFrame,
    missing: Sequence[Cell],
    asked: Asked,
) -> list[Way]:
    """The whole way to each row of `ranked`, where a price was given: the `missing` runs, which are
    the same for all, and the row's last fit.
    """
    if asked.price_per_hour is None:
        return []
    dataset = str(ranked["dataset"].iloc[0])
    estimator = estimator_for(study.path.parent, study, imagenet, threads_of(read_yaml(study.path)))
    found = []
    for model, recipe in zip(ranked["model"], ranked["recipe"], strict=True):
        taken = rate_to_take(done.rates, dataset, str(recipe), str(model))
        last = Cell(dataset, str(model), taken, study.seeds[0])
        found.append(way(estimator, missing, last, asked.price_per_hour))
    return found


def _rates(board: pd.DataFrame, choice: Choice) -> str | None:
    """What the choice of a rate changes, and which to take; None where recipes are no rates."""
    if choice.rates.empty:
        return None
    take = take_sentence(choice.rates, str(choice.rows["model"].iloc[0]))
    return " ".join(filter(None, [take, order_sentence(board, choice.rates)]))


def _models(choice: Choice, top: int) -> list[dict[str, Any]]:
    """The first rows as JSON values; the first is the recommended one."""
    numbers = {
        "error_rate": "error_rate_mean",
        "error_rate_low": "error_rate_low",
        "error_rate_high": "error_rate_high",
        "p_best": "p_best",
        "steady_fit_seconds": "steady_fit_seconds_median",
        "steady_fit_seconds_at_most": AT_MOST,
        "start_up_seconds": "start_up_seconds_median",
        "images_per_second": "images_per_second_median",
        "peak_memory_gib": "peak_memory_gib_max",
        "peak_rss_gib": "peak_rss_gib_max",
    }
    return [
        {
            "model": row["model"],
            "take_recipe": choice.to_take(str(row["model"])),
            "tied": bool(row["tied"]),
            "seeds": int(row["n"]),
            **{
                name: None if pd.isna(row[column]) else round(float(row[column]), 6)
                for name, column in numbers.items()
            },
            "fit_time": fit_time(row),
            "device": None if pd.isna(row["device"]) else row["device"],
            "doubts": split_doubts(row["doubts"]),
        }
        for _, row in choice.within.head(top).iterrows()
    ]


def _prior(
    study: Study,
    done: Results | None,
    others: pd.DataFrame | None,
    imagenet: Path,
    dataset: str,
    asked: Asked,
    top: int,
) -> dict[str, Any]:
    size = first_size(study)
    table = read_imagenet(imagenet)
    rows = chart_rows(study, table, imagenet, "train")
    nearest = at_nearest_size(rows, size).drop_duplicates("model")
    other_size = nearest["fixed_size"].notna() & (nearest["fixed_size"] != size)
    nearest = nearest[~other_size]
    served = _serving(study, imagenet, asked, nearest["model"].tolist(), size)
    nearest = nearest if served is None else served.joined(nearest)
    board = pd.DataFrame({"dataset": [], "n": []}) if done is None else done.board
    board, left_out = alike(board, study.datasets, study.image_size, kind_of(study, dataset))
    nearest, basis = predicted(study, imagenet, nearest, board, size)
    excluded = [each.told(nearest) for each in asked.of_any if not each.keeps(nearest).all()]
    nearest = asked.kept(nearest)
    if nearest.empty:
        raise PipelineError(f"{imagenet}: {'; '.join(excluded)}")
    found = Judged.of(study, table, imagenet, dataset, nearest, asked, size)
    notes = []
    if other_size.any():
        how_many = f"{other_size.sum():,} of {len(other_size):,} models"
        notes.append(f"Left out, as they take no images of {size} pixels: {how_many}")
    notes += found.notes
    if left_out:
        reasons = "; ".join(f"{name} {why}" for name, why in left_out.items())
        notes.append(f"Runs that say nothing about {dataset} are left out: {reasons}")
    if others is not None and len(others):
        others = alike_elsewhere(others, nearest["model"], kind_of(study, dataset))
        sources = ", ".join(sorted(set(others["from"]))) or "none that says something about it"
        notes.append(
            f"Other people's runs, which nobody vouches for, count after its own: {sources}"
        )
    models = shortlist(found.rows, found.limits, top, others)
    models, whole = affordable(models, found.ways, asked.max_cost)
    names = [each.model for each in models]
    planned = bool(still_to_make(study, done, dataset))
    return {
        "dataset": dataset,
        "basis": "prior",
        "models": [asdict(each) for each in models],
        "note": PRIOR.format(dataset=dataset),
        "prior": basis,
        "excluded": excluded,
        "cost": whole.as_json() if whole else None,
        "serving": served.text(models[0].model) if served is not None else None,
        "notes": notes if planned else notes + other_weights(study, dataset, names),
        "not_judged": found.not_judged,
        "next": asdict(PLANNED)
        if planned
        else {
            "what": "fine-tune them with two seeds at least, one shows nothing of how runs vary",
            "commands": first_runs(study, dataset, names),
        },
    }


if __name__ == "__main__":
    run(main)
