"""Command `recommend`: which backbone to take for a dataset, why, and how sure that is.

Reads params.yaml, the tables of `aggregate`, imagenet.csv and, for estimates, records; writes
nothing. The answer is that of metrics and report, the lowest mean error, or within limits the
lowest that they leave; the quickest model that cannot be told apart from the best is named as well.
A dataset without runs in the tables gets the certificate of its race if it was raced, else a
shortlist from published numbers, called a prior.
"""

import json as json_text
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.command import duration, percent, run
from pipeline.core.errors import PipelineError
from pipeline.estimates.belief import predicted
from pipeline.estimates.planned import prepared
from pipeline.recommend.choice import (
    Choice,
    candidates,
    choose,
    in_words,
    runs_of,
)
from pipeline.recommend.costs import (
    Question,
    RemainingCost,
    remaining_cost,
    still_to_make,
    with_bounds_alone,
    with_costs,
    with_estimates,
)
from pipeline.recommend.experiment import (
    Experiment,
    differences,
    first_runs,
    first_size,
    larger_images,
    next_experiment,
    planned_runs,
    race_result,
    runs_that_may_change,
    this_study,
)
from pipeline.recommend.limits import Limits, effects, within_all
from pipeline.recommend.prior import (
    Judged,
    affordable,
    dataset_config,
    dearest,
    fitting_shortlist,
    not_planned,
    own_models,
    pool_note,
    published_models,
    race_alone,
    similar_datasets,
    similar_pool_runs,
    suggestions,
    with_needs,
)
from pipeline.records import Data
from pipeline.results import Results, read_answers, read_pool_table, read_results
from pipeline.statistics.doubts import near_chance
from pipeline.statistics.rates import rate_to_take
from pipeline.status.__main__ import made_already, not_in_tables
from pipeline.study.params import RUNS, Cell, read_study, refuse_unknown_name

LONGEST_DOUBT = 100  # letters in a runner-up's line


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
    fit_on: str | None = None,
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
        price_per_hour: what an hour of this machine, or of that of --fit-on, costs
        min_ips: the fewest images/s of inference; unknown is left out
        max_latency: the longest inference of one image alone, such as 5ms; unknown is left out
        serve_on: the device of these two: rtx3090, or one of timm's benchmark files; by default
            this machine, by its own benchmark
        fit_on: estimate the fits on another device: one of runs, or a GPU of timm's benchmark files
        top: how many models to name
        json: print the answer as JSON
        params: the study file
        results: the folder with the tables of `aggregate`
        imagenet: the table of stage `merge`
    """
    if top < 1:
        raise PipelineError(f"--top {top}: give 1 or more")
    limits = Limits(
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
        fit_on,
    )
    study = read_study(params)
    done = read_results(results) if (results / "leaderboard.csv").is_file() else None
    asked = Question(study, dataset, limits, top, imagenet, done)
    if done is not None and not candidates(done, dataset).empty:
        answer = _from_runs(asked, done, read_answers(results))
        if dataset in study.raced_datasets:
            first = answer["models"][0]["model"]
            certificate = results / "race" / f"{dataset}.json"
            answer |= race_result(certificate, first, done.runs, answer["outdated"] is not None)
    else:
        if dataset not in study.datasets:
            refuse_unknown_name(study.path.parent, "dataset", dataset)
        answer = race_alone(study, dataset, results / f"race/{dataset}.json") or (
            _without_runs(asked, None if done is None else read_pool_table(results))
        )
        if answer["basis"] == "race":
            answer["not_judged"] = limits.given
    print(json_text.dumps(answer, indent=2, ensure_ascii=False) if json else answer_text(answer))


def _from_runs(asked: Question, done: Results, answers: pd.DataFrame) -> dict[str, Any]:
    """The answer by the dataset's own runs."""
    study, dataset, limits = asked.study, asked.dataset, asked.limits
    served = asked.serving(study.models, study.image_size)
    if served is not None:
        done = replace(done, board=served.joined(done.board))
    of_dataset = done.runs[done.runs["dataset"] == dataset]
    stale, made = differences(study, dataset, of_dataset)
    missing = _missing(asked, done.board, made)
    ranked = candidates(done, dataset)
    if costs := _remaining_costs(asked, done, ranked, missing):
        ranked = with_costs(ranked, costs)
    notes: list[str] = []
    if limits.fit_on is not None:
        ranked, notes = with_estimates(asked, done.rates, ranked)
    elif limits.max_fit_time is not None:
        ranked = with_bounds_alone(ranked, study.path.parent / RUNS, of_dataset)
    constraints = limits.of_runs(ranked, study.image_size)
    choice = choose(ranked, runs_of(done, answers, dataset), constraints, done.rates)
    first = choice.rows.iloc[0]
    data = prepared(study.path.parent, dataset) or Data()
    if (chance := first["chance_error_rate"]) > 0:
        data = replace(data, chance_error_rate=chance)
    if doubt := near_chance(first["error_rate_mean"], data, study.image_size):
        notes.append(doubt[0].upper() + doubt[1:])
    its_cost = costs.get((first["model"], first["recipe"]))
    return {
        "dataset": dataset,
        "basis": "runs",
        "outdated": stale,
        **in_words(choice, done.board, of_dataset, asked.top),
        "cost": its_cost.as_json() if its_cost else None,
        "serving": served.text(str(first["model"])) if served is not None else None,
        "n_tied": choice.n_tied,
        "excluded": choice.excluded,
        "excludes_none": choice.excludes_none,
        "notes": notes,
        "next": asdict(_next(asked, done, choice, missing, stale)),
    }


def _missing(asked: Question, board: pd.DataFrame, made: pd.DataFrame) -> list[Cell]:
    """The runs still to make, of models that no limit excludes that needs no run."""
    board = board[board["dataset"] == asked.dataset]
    refused = set(board["model"]) - set(asked.limits.kept(board)["model"])
    cells = still_to_make(asked.study, made, asked.dataset)
    return [cell for cell in cells if cell.model not in refused]


def _remaining_costs(
    asked: Question, done: Results, ranked: pd.DataFrame, missing: Sequence[Cell]
) -> dict[tuple[str, str], RemainingCost]:
    """The remaining cost of each row of `ranked` by model and recipe, where a price was given:
    that of the `missing` runs, which are the same for all, and of the row's last fit.
    """
    price, study = asked.limits.price_per_hour, asked.study
    if price is None:
        return {}
    estimator, found = asked.own_estimator, {}
    for model, recipe in zip(ranked["model"], ranked["recipe"], strict=True):
        taken = rate_to_take(done.rates, asked.dataset, str(recipe), str(model))
        last = Cell(asked.dataset, str(model), taken, study.seeds[0])
        found[model, recipe] = remaining_cost(estimator, missing, last, price)
    return found


def _next(
    asked: Question, done: Results, choice: Choice, missing: Sequence[Cell], stale: str | None
) -> Experiment:
    """What to run next: the study as it is now, where the tables are not of it."""
    if stale is not None:
        return this_study(asked.study, asked.dataset)
    n_missing = int((done.runs["status"] == "missing").sum())
    worth_making = runs_that_may_change(missing, done.board, choice)
    best = next_experiment(asked.study, choice, worth_making, n_missing)
    if best.commands or choice.n_tied < 2:
        return best
    return larger_images(asked.study, asked.dataset, best) or best


def _without_runs(asked: Question, others: pd.DataFrame | None) -> dict[str, Any]:
    """The shortlist for a dataset without runs; `others` are other people's, rows of pool.csv."""
    from pipeline.prefetch.__main__ import lacking_weights, other_weights  # loads Hydra

    study, dataset, imagenet, limits = asked.study, asked.dataset, asked.imagenet, asked.limits
    size = first_size(study)
    rows, notes, unfit = published_models(study, imagenet, dataset, size)
    served = asked.serving(rows["model"].tolist(), size)
    rows = rows if served is None else served.joined(rows)
    board = pd.DataFrame({"dataset": [], "n": []}) if asked.done is None else asked.done.board
    board, left_out = similar_datasets(board, study, dataset)
    rows, basis = predicted(study, imagenet, rows, board, size)
    excluded, excludes_none = effects(limits.of_any, rows)
    known, rows = set(rows["model"]), limits.kept(rows)
    if rows.empty:
        raise PipelineError(f"{imagenet}: {'; '.join([*excluded, *notes])}")
    found = Judged.of(asked, rows, size)
    notes += [*found.notes, *left_out]
    if size != study.image_size:
        few = f"the study's {study.image_size} are too few for published numbers to say much"
        notes.append(f"The predictions are for {size} pixels: {few}")
    if others is not None and len(others):
        others = similar_pool_runs(
            others, rows["model"], dataset_config(study, dataset).get("kind")
        )
        notes.append(pool_note(others))
    models, unlisted = fitting_shortlist(found, asked.top, others, size)
    models, whole = affordable(models, found.trial_costs, limits.max_cost)
    names = [each.model for each in models]
    missing = still_to_make(study, None if asked.done is None else asked.done.runs, dataset)
    planned = found.trial_costs is None and bool(missing)  # a price is that of these models
    own = [] if set(names) <= set(study.models) else own_models(study, found, asked.top)
    lacking, error = lacking_weights(study, [*names, *(each.model for each in own)])
    notes += unlisted if planned else [*unlisted, *dearest(models, found.rows)]
    more = not_planned(study, names) if planned else other_weights(study, dataset, lacking)
    more += [error] if error else []
    if planned:
        some_missing = made_already(study, missing) < len(missing)
        refused = known - set(within_all(found.rows, found.limits)["model"])
        reasons = {"take images of its size": unfit, "keep the limits": refused}
        following = planned_runs(study, dataset, some_missing, reasons)
    else:
        following = first_runs(study, dataset, names)
    return {
        "dataset": dataset,
        "basis": "prior",
        "own_models": [asdict(each) for each in with_needs(study, own, lacking)],
        "models": [asdict(each) for each in with_needs(study, models, lacking)],
        "note": f"{not_in_tables(study, dataset, missing)}: this is a prior from other people's "
        "measurements and other datasets, and nothing more",
        "prior": basis,
        "excluded": excluded,
        "excludes_none": excludes_none,
        "cost": whole.as_json() if whole else None,
        "serving": served.text(names[0]) if served is not None else None,
        "notes": [*notes, *more],
        "not_judged": found.not_judged,
        "next": asdict(following),
    }


def answer_text(answer: dict[str, Any]) -> str:
    """The answer of `pipeline.recommend`, the dictionary that --json writes, for a person."""
    lines_of = {"race": _race_lines, "prior": _prior_lines, "runs": _lines_of_runs}
    return "\n".join([*lines_of[answer["basis"]](answer), "", *_next_lines(answer)])


def _race_lines(answer: dict[str, Any]) -> list[str]:
    """The certificate of a race whose runs are in no table yet."""
    return [f"{answer['note']}:", "", *answer["certificate"], *_not_judged(answer, "tables")]


def _prior_lines(answer: dict[str, Any]) -> list[str]:
    """The shortlist for a dataset without runs."""
    lines = [f"{answer['note']}.", "", *suggestions(answer)]
    lines += ["", f"{answer['prior']}.", *_limits(answer)]
    return [*lines, *_notes(answer), *_costs(answer), *_not_judged(answer, "a run")]


def _lines_of_runs(answer: dict[str, Any]) -> list[str]:
    """The recommended model, why and how certain that is, and the runners-up."""
    first, *others = answer["models"]
    lines = [answer["outdated"]] if answer["outdated"] else []
    quickest = answer["quickest"]
    either = f", the lowest error, or {quickest}, the quickest" if quickest else ""
    lines += [f"{answer['dataset']}: take {first['model']} ({_numbers(first, answer)}){either}"]
    lines += [answer["reason"], answer["certainty"]]
    lines += [f"Doubt: {text}." for text in first["doubts"]]
    lines += [answer[key] for key in ("test", "race", "baseline", "rates") if answer[key]]
    lines += [*_costs(answer), *_limits(answer), *_notes(answer)]
    if others:
        lines += ["", "Runners-up:"]
        lines += [
            f"  {each['model']} ({_numbers(each, answer)}"
            + (f", P(best) {each['p_best']:.2f}" if each["tied"] else ", clearly behind the best")
            + f"{_doubted(each['doubts'])})"
            for each in others
        ]
    return lines


def _limits(answer: dict[str, Any]) -> list[str]:
    """What each limit excludes; those that exclude nothing share a line."""
    found = [f"Limits: {text}." for text in answer["excluded"]]
    none = ", ".join(answer["excludes_none"])
    return [*found, f"Limits: {none}: no model is excluded."] if none else found


def _notes(answer: dict[str, Any]) -> list[str]:
    return [f"{text}." for text in answer["notes"]]


def _costs(answer: dict[str, Any]) -> list[str]:
    """The remaining cost of the model and how fast it serves, where these were asked for."""
    return [text for text in ((answer["cost"] or {}).get("text"), answer["serving"]) if text]


def _not_judged(answer: dict[str, Any], without: str) -> list[str]:
    """The options that nothing could be judged by `without` tables or a run."""
    options = ", ".join(answer["not_judged"])
    return ["", f"Not judged without {without}: {options}."] if options else []


def _next_lines(answer: dict[str, Any]) -> list[str]:
    """What to run next and, if known, what that is expected to change; and its commands."""
    what, commands, after = (answer["next"][key] for key in ("what", "commands", "tied_after"))
    text = f"Next: {what}:"
    if answer["basis"] == "runs":
        text = f"What would change this most: {what}"
        if after is not None and commands:
            now = answer["n_tied"]
            text += f" ({now} models may be the best now, about {after:.1f} after it)"
    return [text, *(f"  {command}" for command in commands)]


def _numbers(model: dict[str, Any], answer: dict[str, Any]) -> str:
    """Error and fit time; with --fit-on the estimate, and where the other time was measured."""
    error, elsewhere = f"error {percent(model['error_rate'])}", answer["fit_on"]
    if elsewhere is None:
        return f"{error}, {model['fit_time']}"
    ends, there = elsewhere["models"][model["model"]], "not known"
    if ends is not None:
        time, least, most = map(duration, ends.values())
        there = f"about {time} ({least} to {most}), by estimate"
    here = f"on {model['device']}" if model["device"] else "where it ran"
    there = f"on {elsewhere['device']}: fit time {there}"
    return f"{error}; {there}; {here}: {model['fit_time']}"


def _doubted(doubts: list[str]) -> str:
    """The doubt about a runner-up; if it is long or there are several, only how many."""
    if len(doubts) == 1 and len(doubts[0]) <= LONGEST_DOUBT:
        return f", doubt: {doubts[0]}"
    n = f"{len(doubts)} doubt{'s' * (len(doubts) > 1)}"
    return f", {n}: see the report" if doubts else ""


if __name__ == "__main__":
    run(main)
