"""Figure of what predicts fine-tuning: rank correlations with their intervals, side by side."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.figures.canvas import FAINT, INK, figure
from pipeline.figures.charts import COLOURS
from pipeline.tables.correlations import ELSEWHERE

COLUMNS = 2
NAMES = {  # of the columns that are compared
    "error_rate_mean": "mean error",
    "fit_seconds_median": "median fit time",
    "imagenet_top1": "ImageNet top-1",
    "imagenet_real_top1": "ImageNet-ReaL top-1",
    "imagenet_v2_top1": "ImageNetV2 top-1",
    "imagenet_sketch_top1": "ImageNet-Sketch top-1",
    "imagenet_a_top1": "ImageNet-A top-1",
    "imagenet_a_clean_top1": "ImageNet-A clean top-1",
    "imagenet_r_top1": "ImageNet-R top-1",
    "imagenet_r_clean_top1": "ImageNet-R clean top-1",
    "params_m": "parameters",
    "infer_samples_per_second": "published inference speed",
    "train_samples_per_second": "published training speed",
    "pretraining_scale": "scale of pretraining",
}
ENDS = ["spearman", "spearman_low", "spearman_high"]
MARKERS = "osD^v"  # of outcomes, as their colours
APART = 0.28  # rows, between the outcomes of one predictor


def name_of(column: str) -> str:
    """The column of correlations.csv's outcome or predictor in words."""
    if column.startswith(ELSEWHERE):
        return f"mean error on {column.removeprefix(ELSEWHERE)}"
    return NAMES.get(column, column)


def rank_correlations(correlations: pd.DataFrame) -> Figure:
    """A panel per dataset and recipe: Spearman's rho of every predictor with every outcome."""
    known = correlations.dropna(subset="spearman")
    parts = [part for _, part in known.groupby(["dataset", "recipe"], sort=False)]
    outcomes = list(dict.fromkeys(known["outcome"]))
    predictors = list(dict.fromkeys(known["predictor"]))
    columns = min(COLUMNS, len(parts))
    rows = -(-len(parts) // columns)
    made, panels = figure(
        "What goes with a good or a quick fine-tune?",
        "Spearman's rank correlation over models with a 95 % bootstrap interval, hollow where "
        "there are too few models for one. Left of 0: where the predictor is higher, the error or "
        "the time is lower. At the right: models. A correlation is no cause.",
        1.3 + rows * (0.9 + 0.34 * len(predictors)),
        rows,
        columns,
    )
    for unused in panels[len(parts) :]:
        unused.set_axis_off()
    several = known["recipe"].nunique() > 1
    for place, (axes, part) in enumerate(zip(panels, parts, strict=False)):
        _panel(axes, part, outcomes, predictors)
        first = part.iloc[0]
        axes.set_title(f"{first['dataset']}, {first['recipe']}" if several else first["dataset"])
        if place % columns:
            axes.set_yticklabels([])
        if place >= len(parts) - columns:
            axes.set_xlabel("Spearman's ρ")
    made.legend(handles=_handles(outcomes), loc="upper right", ncols=len(outcomes))
    return made


def _panel(axes: Axes, part: pd.DataFrame, outcomes: list[str], predictors: list[str]) -> None:
    for number, outcome in enumerate(outcomes):
        beside = APART * (number - (len(outcomes) - 1) / 2)
        for row in part[part["outcome"] == outcome].itertuples():
            place = predictors.index(str(row.predictor)) + beside
            middle, low, high = (float(getattr(row, end)) for end in ENDS)
            colour = COLOURS[number]
            axes.plot([low, high], [place, place], color=colour, lw=1.6)
            face = "white" if np.isnan(low) else colour
            axes.plot(middle, place, MARKERS[number], color=colour, mfc=face, ms=6)
            axes.text(1.04, place, f"{row.n}", va="center", size=7.5, color=FAINT)
    axes.axvline(0, color=INK, lw=0.8, zorder=1)
    axes.set_xlim(-1.03, 1.03)
    axes.set_yticks(range(len(predictors)), [name_of(name) for name in predictors])
    axes.set_ylim(len(predictors) - 0.5, -0.5)


def _handles(outcomes: list[str]) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, lw=1.6, label=f"with {name_of(name)}")
        for name, colour, marker in zip(outcomes, COLOURS, MARKERS, strict=False)
    ]
