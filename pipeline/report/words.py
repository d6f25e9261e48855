"""The report's text: answers, notes on columns, limits, provenance."""

import re
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.core.command import duration, number_of, percent
from pipeline.figures.look import accuracy_source
from pipeline.statistics.answer import (
    all_others,
    best_row,
    few_images,
    gain_sentence,
    more_likely_best,
    name_list,
    only_model,
    points_more,
    quickest,
    quickest_of_equals,
    same_error,
    sentence_of_test,
    some_others,
    warnings_about,
)
from pipeline.statistics.doubts import models_by_doubt, split_doubts
from pipeline.statistics.fit_times import AT_MOST
from pipeline.statistics.rates import (
    order_sentence,
    rate_to_take,
    rates_of,
    take_sentence,
    without_single_rates,
)
from pipeline.statistics.validation_images import INDEPENDENT, PAIRED
from pipeline.study.params import MODE_NAMES, MODES, Study

TERMS = {  # what a reader may ask at a word
    "P(best)": "The probability that this model has the lowest true error of all.",
    "rank": "Models that may be the best share rank 1: they are the tie set.",
    "cannot be told apart": "The models that may be the best, at 95 % confidence, are the tie set: "
    "these seeds and validation images do not show which of them has the lowest true error.",
    "on front": "The probability that no other model is both as quick and as good.",
    "front": "The models that no other beats in both axes.",
    "score": "Error × (steady fit time + overhead), computed per run, then averaged: lower is "
    "better.",
    "steady fit time": "A fit without its start-up, the median of the runs whose times count.",
    "start-up": "What the first steps took beyond the pace of later ones: paid once per process, "
    "however many images follow.",
    "frozen features": "The error of a linear head on the model's features without fine-tuning.",
    "behind best, points [95 %]": "The mean difference to the best over common seeds.",
    "chance error": "The error of answering without looking at the image.",
}
STATES = ("ok", "failed", "diverged", "missing")
WAITED = re.compile(r"waited for a core for (\d+)%")


@dataclass(frozen=True)
class Answer:
    """One dataset's answer; `model` is None where no run finished.

    The page says what `data` it is about, "Take MODEL", or `quickest` where nothing tells them
    apart, `cost` and `choice`, then the remarks, and folds the facts away.
    """

    dataset: str
    model: str | None
    recipe: str
    cost: str
    choice: list[str]
    remarks: list[str]
    facts: list[tuple[str, str]]
    quickest: str | None = None
    data: str = ""


def answer(
    dataset: str,
    board: pd.DataFrame,
    rates: pd.DataFrame | None = None,
    runs: pd.DataFrame | None = None,
) -> Answer:
    """The answer of `board`, the dataset's rows of the leaderboard over all recipes; `runs` are its
    rows of runs.csv, for the error on a test part."""
    ranked = without_single_rates(board[board["n"] > 0], rates)
    ranked = ranked.sort_values("error_rate_mean", kind="stable")
    if ranked.empty:
        none = "No run has finished: there is no answer yet."
        return Answer(dataset, None, "", "", [], [none], [])
    best = best_row(ranked)
    rivals = ranked[(ranked["recipe"] == best["recipe"]) & (ranked["model"] != best["model"])]
    every = pd.concat([best.to_frame().T, rivals])
    other = quickest_of_equals(every, every)
    whose = f"{best['model']}'s" if other else "Its"
    return Answer(
        dataset=dataset,
        model=best["model"],
        recipe=best["recipe"],
        cost=f"{whose} error is {_error(best)}, its steady fit time {fit_time(best)}.",
        choice=told_apart(best, rivals),
        remarks=_remarks(best, ranked, board, rates, runs),
        facts=_facts(best),
        quickest=other,
        data=_data(best, runs),
    )


def _remarks(
    best: pd.Series,
    ranked: pd.DataFrame,
    board: pd.DataFrame,
    rates: pd.DataFrame | None,
    runs: pd.DataFrame | None,
) -> list[str]:
    """What to know beside the choice of `best`, the weightiest first."""
    dataset, recipe, model = best["dataset"], best["recipe"], best["model"]
    doubted, few = split_doubts(best["doubts"]), few_images(best["n_valid"], best["data_kind"])
    taken, own = rate_to_take(rates, dataset, recipe, model), rates_of(rates, dataset, recipe)
    n_recipes = ranked["recipe"].nunique()
    remarks = [
        f"There are doubts about its fits: {'; '.join(doubted)}." if doubted else None,
        gain_sentence(ranked[ranked["recipe"] == recipe], model),
        None if runs is None else sentence_of_test(runs, taken, model),
        *warnings_about(best),
        f"{few}." if few else None,
        take_sentence(own, model),
        order_sentence(board, own) if len(own) else None,
        f"Best over {n_recipes} recipes; the comparison is within {recipe}." * (n_recipes > 1),
    ]
    return [text for text in remarks if text]


def _data(best: pd.Series, runs: pd.DataFrame | None) -> str:
    """How many images there are, and of which days `runs` are; "" where nothing is known."""
    counts = [(best["n_train"], "training"), (best["n_valid"], "validation")]
    parts = [f"{int(count):,} {part}" for count, part in counts if not pd.isna(count)]
    said = [f"{' and '.join(parts)} images"] if parts else []
    if runs is not None and len(started := runs["started_at"].dropna()):
        first, last = str(started.min())[:10], str(started.max())[:10]
        said.append(f"runs of {first}" if first == last else f"runs of {first} to {last}")
    return ", ".join(said)


def told_apart(best: pd.Series, rivals: pd.DataFrame) -> list[str]:
    """Whether the best is distinguishable from the others of its recipe, and a quicker choice."""
    if rivals.empty:
        return [only_model(best["recipe"])]
    if pd.isna(best["p_best"]):
        return [
            "The number of validation images is unknown, so its rank has no uncertainty estimate."
        ]
    tied = rivals[rivals["tied"].fillna(False).astype(bool)]
    sure = f"P(best) is {best['p_best']:.2f}"
    if tied.empty:
        return [f"It is clearly better than {all_others(len(rivals))}: {sure}."]
    which = some_others(len(tied), len(rivals))
    alike = same_error(best, rivals)
    also = f"has the same mean error as {name_list(alike)} and " if alike else ""
    near = rivals[rivals["model"].isin(alike)] if alike else rivals
    closest = near.sort_values(["error_rate_mean", "p_best"], ascending=[True, False]).iloc[0]
    next_one = f"the next is {closest['model']} (P(best) {closest['p_best']:.2f})"
    more = more_likely_best(best, rivals)
    if more is not None and more["model"] != closest["model"]:
        next_one += f", the likeliest best {more['model']} ({more['p_best']:.2f})"
    sentences = [f"It {also}cannot be told apart from {which}: {sure}, {next_one}."]
    if len(tied) == len(rivals) > 1:
        known = quickest(pd.concat([best.to_frame().T, tied]), AT_MOST) is not None
        then = "so let cost decide" if known else "and which is the quickest is not known"
        any_of = f"By these runs any of the {len(rivals) + 1} models may be the best"
        sentences.insert(0, f"{any_of}, {then}.")
    return [*sentences, *quicker(best, tied)]


def quicker(best: pd.Series, tied: pd.DataFrame) -> list[str]:
    """What the quickest of the models that may be the best saves and may cost, if it is another."""
    first = quickest(pd.concat([best.to_frame().T, tied]), AT_MOST)
    if first is None or first["model"] == best["model"]:
        return []
    seconds, own = first["steady_fit_seconds_median"], best["steady_fit_seconds_median"]
    time = f"at most {duration(first[AT_MOST])}" if pd.isna(seconds) else duration(seconds)
    if pd.notna(seconds) and pd.notna(own):
        time = f"{100 * seconds / own:.0f} % of its time ({time})"
    error = f"an error of {percent(first['error_rate_mean'])} ({points_more(first, best)})"
    unknown = pd.isna(own) or tied["steady_fit_seconds_median"].isna().any()
    told = ", as far as times are known, is" if unknown else " is"
    which = f"The quickest of those that may be the best{told} {first['model']}"
    return [f"{which}: {time}, {error}."]


def fit_time(row: Any) -> str:
    """The median steady time, or the most it can be; of how many runs, if some do not count."""
    if row.n_not_timed > 0 and row.n_timed == 0:
        bound = getattr(row, AT_MOST, None)
        return "no run's time counts" if pd.isna(bound) else f"at most {duration(bound)}"
    time = duration(row.steady_fit_seconds_median)
    return f"{time} ({row.n_timed} of {row.n} runs)" if row.n_not_timed > 0 else time


def not_timed(board: pd.DataFrame) -> list[str]:
    """Each reason why times of a leaderboard do not count, once; waits for a core as a range."""
    reasons = [each for text in board["not_timed"].dropna() for each in text.split("; ")]
    waits = sorted(int(found[1]) for each in reasons if (found := WAITED.search(each)))
    others = sorted({each for each in reasons if not WAITED.search(each)})
    if waits:
        share = f"{waits[0]} %" if waits[0] == waits[-1] else f"{waits[0]} to {waits[-1]} %"
        others.append(f"the run waited for a core for {share} of its time")
    return others


def memory(row: Any) -> str:
    """The most that a run took: `3.12 GiB of GPU memory, 2.60 GiB of host memory`, or ""."""
    sizes = ((row.peak_memory_gib_max, "GPU"), (row.peak_rss_gib_max, "host"))
    return ", ".join(f"{size:.2f} GiB of {where} memory" for size, where in sizes if pd.notna(size))


def _facts(best: pd.Series) -> list[tuple[str, str]]:
    facts = [
        ("error", _error(best)),
        ("seeds", str(best["n"])),
        ("frozen features", _frozen(best)),
        ("chance error", percent(best["chance_error_rate"])),
        ("steady fit time", fit_time(best)),
        ("start-up", duration(best["start_up_seconds_median"])),
        ("memory", memory(best) or "–"),
        ("device", "–" if pd.isna(best["device"]) else best["device"]),
    ]
    return [(name, value) for name, value in facts if value != "–"]


def _error(best: pd.Series) -> str:
    """The mean error with its interval, of several labels with F2."""
    text = percent(best["error_rate_mean"])
    if not pd.isna(best["error_rate_low"]):
        text += f" [{_points(best['error_rate_low'])}, {_points(best['error_rate_high'])}]"
    return text if pd.isna(best["fbeta2_mean"]) else f"{text} (F2 {best['fbeta2_mean']:.3f})"


def _frozen(best: pd.Series) -> str:
    """The error of a linear head on the model's frozen features, with its interval."""
    if pd.isna(best["baseline_error"]):
        return "–"
    low, high = _points(best["baseline_low"]), _points(best["baseline_high"])
    return f"{percent(best['baseline_error'])} [{low}, {high}]"


def _points(fraction: float) -> str:
    return f"{100 * fraction:z.2f}".replace("-", "−")  # z: never −0.00


def summary(study: Study, runs: pd.DataFrame) -> str:
    """How many runs there are, the grid's and those of races apart, and how they ended."""
    counts = runs["status"].value_counts()
    states = [f"{counts[state]:,} {state}" for state in STATES if counts.get(state)]
    grid = {
        "model": study.grid_models or study.models,
        "dataset": [name for name in study.datasets if name not in study.raced_datasets],
        "recipe": study.recipes,
        "seed": study.seeds,
    }
    sizes = [number_of(len(names), kind, f"{kind}s") for kind, names in grid.items()]
    pixels = f"images at {study.image_size} pixels"
    if not study.raced_datasets:
        made = f"{' × '.join(sizes)}, {pixels}: {number_of(len(runs), 'run', 'runs')}"
    else:
        n_raced = int(runs["dataset"].isin(study.raced_datasets).sum())
        n_grid = len(runs) - n_raced
        parts = [f"{' × '.join(sizes)}: {number_of(n_grid, 'run', 'runs')}"] if n_grid else []
        where = name_list(study.raced_datasets)
        parts.append(f"{number_of(n_raced, 'run', 'runs')} that races chose ({where})")
        made = f"{', and '.join(parts)}, {pixels}"
    return f"{made}, {', '.join(states)}."


def note(board: pd.DataFrame) -> str:
    """What is counted in the leaderboard; its headings explain themselves (TERMS)."""
    if (board["n"] == 0).all():
        return "No run has finished."
    first = board.iloc[0]
    unit = (
        "Error is the share of wrong (image, tag) pairs. "
        if first["data_kind"] == "multi"
        else "Error is the share of wrong validation images. "
    )
    return f"{unit}{_covered(first['interval_covers'])} {_compared(first['images'])}".strip()


def doubts(board: pd.DataFrame) -> list[tuple[str, str]]:
    """Each doubt about the models of a leaderboard, and about which of them, best first."""
    ranked = int((board["n"] > 0).sum())
    sentences = {str(row.model): split_doubts(row.doubts) for row in board.itertuples()}
    return [
        (text, "every model" if len(names) == ranked > 1 else ", ".join(names))
        for text, names in models_by_doubt(sentences).items()
    ]


def _compared(images: Any) -> str:
    """How the comparison uses the validation images."""
    return {
        PAIRED: "Models are compared image by image.",
        INDEPENDENT: "Models count as if each had validation images of its own.",
    }.get(images, "")


def small_and_fast(rows: pd.DataFrame) -> str:
    """What the table of small and fast models holds; "" where it is empty."""
    if rows.empty:
        return ""
    first = rows.iloc[0]
    which = "GPU memory" if first["memory_of"] == "GPU" else "memory of the process"
    return (
        f"Models below the median of all timed ones both in {which} "
        f"({first['memory_gib_below']:.2f} GiB) and in steady fit time "
        f"({duration(first['steady_fit_seconds_below'])}), the best error first."
    )


def _covered(covers: Any) -> str:
    if pd.isna(covers):
        return "Errors have no interval: the number of validation images is unknown."
    return f"The error's interval (95 %) covers {covers}."


def explorer(table: pd.DataFrame) -> str:
    """What the explorer's marks are."""
    n = table.loc[table["benchmark_file"] != "", "benchmark_file"].nunique()
    return (
        f"{number_of(n, 'benchmark file', 'benchmark files')}; accuracy: "
        f"{accuracy_source(table)}. The size of a mark is the image size; the line is the Pareto "
        "front. A search dims what lacks one of its words, and labels the matches if there are few."
    )


def uncorrelated(correlations: pd.DataFrame) -> str:
    """The datasets without coefficients, with the reasons where most models are known."""
    of_datasets = correlations.groupby("dataset", sort=False)
    empty = of_datasets.filter(lambda rows: rows["spearman"].isna().all())
    most = empty["n"] == empty.groupby("dataset")["n"].transform("max")
    reasons = empty[most].groupby("dataset", sort=False)["reason"].unique()
    return "; ".join(f"{dataset} ({', '.join(found)})" for dataset, found in reasons.items())


def limits(study: Study, correlations: pd.DataFrame) -> list[str]:
    missing = uncorrelated(correlations)
    return [
        *([f"No rank correlation is given for {missing}."] if missing else []),
        "They hold for this data, this recipe, this image size and these few epochs. Another "
        "learning rate or longer training can change the order.",
        "The best model was chosen on the validation images that measure it, so its own error is "
        "somewhat too good; the more models are compared, the more so.",
        "Intervals cover initialisation, shuffling and another validation set of this size. They "
        "do not cover another training set, nor the choice of the best among many.",
        "Where no record says which images a run erred on, images count as if models erred "
        "independently, and for several labels an image counts as one draw: the tie set is then "
        "rather too large than too small.",
        "Steady fit times belong to the device that is named; on another one the order may differ.",
        f"The score weighs error against time by a constant, {study.overhead_seconds:g} s of "
        "overhead; another constant gives another order.",
        "Published speeds were measured once each, at the batch size and image size of their file.",
    ]


def provenance(study: Study, runs: pd.DataFrame, table: pd.DataFrame) -> list[tuple[str, str]]:
    started = runs["started_at"].dropna()
    span = f"{started.min()} to {started.max()}" if len(started) else "unknown"
    return [
        ("runs", f"{(runs['status'] == 'ok').sum():,} finished of {len(runs):,}, started {span}"),
        ("devices", _counted(runs["device"])),
        ("versions", _counted(runs["versions"])),
        ("weights from", _counted(runs["weights_source"])),
        ("timm's tables", f"{study.timm_source}; {accuracy_source(table)}"),
        *((f"{MODE_NAMES[mode]} speeds", study.charts[mode]) for mode in MODES),
    ]


def _counted(values: pd.Series) -> str:
    """Each value and in how many runs it occurs."""
    counts = {value: number_of(n, "run", "runs") for value, n in values.value_counts().items()}
    return "; ".join(f"{value} ({counts[value]})" for value in sorted(counts, key=str)) or "–"
