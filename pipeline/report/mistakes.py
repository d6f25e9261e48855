"""The report's part on mistakes: per dataset, where the recommended model is wrong."""

import base64
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.command import number_of, percent
from pipeline.core.errors import PipelineError
from pipeline.mistakes.tables import EVERYONE, WORST, Mistakes
from pipeline.report.tables import EMPTY, Column, share, table
from pipeline.results import KEY, Results
from pipeline.statistics.rates import rate_to_take

SURE = ("reliability", "Is 0.9 right nine times of ten?")
FIGURES = {  # of stage `plot` by the dataset's kind, in the page's order
    "single": (
        ("confusion", "What is taken for what"),
        ("class_errors", "Error by class"),
        SURE,
    ),
    "multi": (("tags", "Precision, recall and F2 by label"), SURE),
}
MOST_PAIRS = 30  # of classes that are confused, in the table


def parts(mistakes: Mistakes | None, figures: Path, done: Results) -> list[dict[str, Any]]:
    """A part per dataset that has any answers kept: sentences, pictures, tables, galleries."""
    if mistakes is None:
        return []
    return [_part(mistakes.of(str(name)), figures, done) for name in mistakes.models["dataset"]]


def _part(of: Mistakes, figures: Path, done: Results) -> dict[str, Any]:
    one = of.models.iloc[0]
    dataset = str(one["dataset"])
    drawn = [
        (title, picture(figures / f"{name}_{dataset}.png"))
        for name, title in FIGURES[str(one["kind"])]
    ]
    return {
        "title": dataset,
        "model": one["model"],
        "sentences": sentences(of, answered_error(done, of.models.iloc[0])),
        "pictures": drawn,
        "pairs": table(_pairs(of), _PAIRS),
        "classes": table(of.classes, _CLASSES) if len(of.classes) else table(of.tags, _TAGS),
        "overlap": table(of.overlap, _OVERLAP),
        "galleries": [
            {"title": title, "note": f"{note} {_ORDER[str(one['kind'])]}", "images": images}
            for title, note, group in _GALLERIES
            if (images := _images(of, group))
        ],
    }


def answered_error(done: Results, one: pd.Series) -> float | None:
    """The error that the answer states for the model of `one`, a row of models.csv, where models
    are compared at their own rates; else None.
    """
    dataset, recipe, model = (str(one[name]) for name in KEY)
    of_model = done.board[(done.board["dataset"] == dataset) & (done.board["model"] == model)]
    for own, error in zip(of_model["recipe"], of_model["error_rate_mean"], strict=True):
        if own != recipe and rate_to_take(done.rates, dataset, own, model) == recipe:
            return float(error)
    return None


def sentences(of: Mistakes, answered: float | None = None) -> list[str]:
    """What the numbers say, in words; `answered` is the error in the answer, if it is another."""
    one = of.models.iloc[0]
    runs = f"the mean over its {one['n_runs']} runs" if one["n_runs"] > 1 else "its one run"
    n_images, n_labels = one["n_valid"], one["n_classes"]
    images = number_of(n_images, "validation image", "validation images")
    units = (
        images
        if one["kind"] == "single"
        else f"the {n_images * n_labels:,} pairs of image and label "
        f"({images}, {number_of(n_labels, 'label', 'labels')})"
    )
    said = [
        f"{one['model']} under recipe {one['recipe']}, {runs}, errs on "
        f"{percent(one['error_rate'])} of {units}."
    ]
    if answered is not None and percent(answered) != percent(one["error_rate"]):
        said.append(
            f"The answer says {percent(answered)}, from these runs and those at the other learning "
            "rates: there, each image counts at the rate that other images and other seeds chose. "
            "This part is about the runs at the rate to take, which all of these images chose, so "
            "its own error is likely to be too low."
        )
    gap = 100 * float(one["calibration_error"])
    said.append(f"Its probabilities are off by {gap:.1f} points on the mean over answers.")
    if pd.notna(one["n_wrong_for_all"]):
        n, models = int(one["n_wrong_for_all"]), int(one["n_models"])
        whose = (
            f"all {one['n_all_runs']} runs of {models} models"
            if models > 1
            else f"all {one['n_all_runs']} runs of the model"
        )
        is_wrong = ("image is", "images are")
        if one["kind"] != "single":
            is_wrong = ("pair of image and label is", "pairs of image and label are")
        said.append(f"{number_of(n, *is_wrong)} wrong in {whose}.")
    return said


def _pairs(of: Mistakes) -> pd.DataFrame:
    """The pairs of classes that are confused most, as shares of the true class's images."""
    cells = of.confusion
    wrong = cells[cells["truth"] != cells["answer"]]
    rows = wrong.sort_values("images", ascending=False, kind="stable").head(MOST_PAIRS)
    size = dict(zip(of.classes["label"], of.classes["images"], strict=True))
    n = [size[name] for name in rows["truth"]]
    return rows.assign(of=n, share=rows["images"] / pd.Series(n, rows.index, dtype=float))


def _images(of: Mistakes, group: str) -> list[dict[str, str]]:
    rows = of.gallery[of.gallery["group"] == group]
    kind = str(of.models.iloc[0]["kind"])
    return [
        {
            "address": picture(of.folder / row["thumbnail"], "dvc repro mistakes", "jpeg"),
            "file": row["file"],
            "truth": row["truth"],
            "answer": row["answer"],
            "said": _said(kind, row),
        }
        for row in rows.to_dict("records")
    ]


def _said(kind: str, row: Mapping[Hashable, Any]) -> str:
    """How sure the answer is and how many runs gave it, and whether others erred otherwise.

    With one label the number is the mean over the runs that gave the answer, with several over all.
    """
    between = " in" if kind == "single" else ","
    text = f"{row['probability']:.2f}{between} {row['answer_runs']} of {row['runs']} runs"
    others = row["wrong_runs"] - row["answer_runs"]
    return f"{text}; {others} otherwise wrong" if others else text


def picture(path: Path, made_by: str = "dvc repro plot", kind: str = "png") -> str:
    """A file of a picture as an address that needs no file."""
    if not path.is_file():
        raise PipelineError(f"{path}: not there: run `{made_by}`")
    return f"data:image/{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _with_interval(name: str, key: str, ends: str) -> Column:
    """A column of shares in percent with their intervals, in the columns ENDS_low and ENDS_high."""

    def show(row: Any) -> str:
        mean, low, high = (getattr(row, each) for each in (key, f"{ends}_low", f"{ends}_high"))
        if pd.isna(low):
            return percent(mean)
        return f"{100 * mean:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"

    return Column(name, show, key)


def _taken_for(row: Any) -> str:
    return EMPTY if pd.isna(row.taken_for) else f"{row.taken_for} ({percent(row.taken_for_share)})"


_GALLERIES = (
    ("Worst mistakes", "The answers that are wrong most surely.", WORST),
    ("Wrong in every run of every model", "Are these labels right?", EVERYONE),
)
_ORDER = {  # of a gallery by the dataset's kind, and what the number below an image is
    "single": "They are in the order of the probability of a wrong answer, the mean over all runs; "
    "a run that is right counts as 0. Below each image is the wrong answer given most, and its "
    "mean probability in only those runs that gave it: so these numbers need not be in order.",
    "multi": "They are in the order of the number below each image: how far the probability of "
    "the label is from the truth, the mean over all runs. After it is how many runs are wrong.",
}
_PAIRS: Sequence[Column] = (
    Column("true class", lambda row: row.truth),
    Column("taken for", lambda row: row.answer),
    Column("images", lambda row: f"{row.images:.1f} of {row.of}", "images"),
    share("share of its class", "share"),
)
_CLASSES: Sequence[Column] = (
    Column("class", lambda row: row.label),
    Column("images", lambda row: f"{row.images}", "images"),
    _with_interval("error", "error_rate", "error"),
    Column("mostly taken for", _taken_for),
)
_TAGS: Sequence[Column] = (
    Column("label", lambda row: row.label),
    Column("images", lambda row: f"{row.images}", "images"),
    Column("given", lambda row: f"{row.answered:.1f}", "answered"),
    _with_interval("precision", "precision", "precision"),
    _with_interval("recall", "recall", "recall"),
    _with_interval("F2", "f2", "f2"),
    Column("threshold of most F2", lambda row: f"{row.threshold_f2:.2f}", "threshold_f2"),
)
_OVERLAP: Sequence[Column] = (
    Column("beside", lambda row: "itself, another run" if row.other == row.model else row.other),
    share("error", "error_rate"),
    share("both wrong", "both"),
    share("by luck", "both_if_independent"),
    share("shared, of all mistakes of the two", "overlap"),
)
