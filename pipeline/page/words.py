"""The report's sentences: what ran, what the columns mean, where it comes from, what it is not."""

from typing import Any

import pandas as pd

from pipeline.figures.charts import MODE_NAMES, accuracy_source
from pipeline.page.answer import duration
from pipeline.tables.images import INDEPENDENT, PAIRED
from pipeline.tables.study import MODES, Study

STATES = ("ok", "failed", "diverged", "missing")


def summary(study: Study, runs: pd.DataFrame) -> str:
    counts = runs["status"].value_counts()
    states = [f"{counts[state]:,} {state}" for state in STATES if counts.get(state)]
    grid = {
        "model": study.models,
        "dataset": study.datasets,
        "recipe": study.recipes,
        "seed": study.seeds,
    }
    sizes = [f"{len(names)} {kind}{'' if len(names) == 1 else 's'}" for kind, names in grid.items()]
    return (
        f"{' × '.join(sizes)}, images at {study.image_size} pixels: {len(runs):,} runs, "
        f"{', '.join(states)}."
    )


def note(board: pd.DataFrame) -> str:
    """What the leaderboard's columns mean here."""
    first = board.iloc[0]
    unit = (
        "Error is the share of wrong (image, tag) pairs. "
        if first["data_kind"] == "multi"
        else "Error is the share of wrong validation images. "
    )
    return (
        f"{unit}Click a heading to sort. {_covered(first['interval_covers'])} Models that may be "
        "the best share rank 1; P(best) is the probability of the lowest true error. “Behind "
        "best” is the mean difference over common seeds, with an interval that covers the same. "
        f"{_compared(first['images'])}“On front” is the probability that no other model is both "
        "as quick and as good. Fit time is the median of the runs that had one device for "
        "themselves; score is error × (fit time + overhead), computed per run, then averaged."
    )


def _compared(images: Any) -> str:
    """How the choice of validation images counts in the comparison, with a blank at the end."""
    return {
        PAIRED: "Models are compared image by image. ",
        INDEPENDENT: "Models count as if each had validation images of its own. ",
    }.get(images, "")


def small_and_fast(rows: pd.DataFrame) -> str:
    """What the table of small and fast models holds; "" where it is empty."""
    if rows.empty:
        return ""
    first = rows.iloc[0]
    which = "GPU memory" if first["memory_of"] == "GPU" else "memory of the process"
    return (
        f"Models below the median of all timed ones both in {which} "
        f"({first['memory_gib_below']:.2f} GiB) and in fit time "
        f"({duration(first['fit_seconds_below'])}), the best error first."
    )


def _covered(covers: Any) -> str:
    if pd.isna(covers):
        return "Errors have no interval: the number of validation images is unknown."
    return f"The error's interval (95 %) covers {covers}."


def explorer(table: pd.DataFrame) -> str:
    """What the explorer's marks are."""
    files = table.loc[table["benchmark_file"] != "", "benchmark_file"].nunique()
    return (
        f"{files} benchmark files; accuracy: {accuracy_source(table)}. The size of a mark is the "
        "image size; the line joins what no other beats in both. A search fades what lacks a word, "
        "and names what it finds if that is little."
    )


def uncorrelated(correlations: pd.DataFrame) -> str:
    """The datasets without any coefficient, with the reasons."""
    empty = correlations.groupby("dataset", sort=False).filter(
        lambda rows: rows["spearman"].isna().all()
    )
    reasons = empty.groupby("dataset", sort=False)["reason"].unique()
    return "; ".join(f"{dataset} ({', '.join(found)})" for dataset, found in reasons.items())


def limits(study: Study) -> list[str]:
    return [
        "They hold for this data, this recipe, this image size and these few epochs. Another "
        "learning rate or a longer training can turn the order round.",
        "The best model was chosen on the validation images that measure it, so its own error is "
        "somewhat too good; the more models are compared, the more so.",
        "Intervals cover initialisation, shuffling and another validation set of this size. They "
        "do not cover another training set, nor the choice of the best among many.",
        "Where no record says which images a run erred on, images count as if models erred "
        "independently, and for several labels an image counts as one draw: more models stay tied "
        "than need be, not fewer.",
        "Fit times belong to the device named beside them; on another one the order may differ.",
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
    counts = values.value_counts()
    return "; ".join(f"{value} ({counts[value]:,} runs)" for value in sorted(counts.index)) or "–"
