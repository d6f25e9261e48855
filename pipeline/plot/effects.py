"""Figures with intervals: rank correlations, and paired differences between recipes by family."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.figures.look import FAINT, INK, figure
from pipeline.figures.style import COLOURS, name_of, style

COLUMNS = 2
ENDS = ["spearman", "spearman_low", "spearman_high"]
MARKERS = "osD^v"  # of outcomes, as their colours
APART = 0.28  # rows, between the outcomes of one predictor
MOST_FAMILIES = 15  # per panel, those with the most models
EFFECT_ENDS = ["error_difference", "error_difference_low", "error_difference_high"]


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
        offset = APART * (number - (len(outcomes) - 1) / 2)
        for row in part[part["outcome"] == outcome].itertuples():
            place = predictors.index(str(row.predictor)) + offset
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


def recipe_effects(effects: pd.DataFrame) -> Figure:
    """A panel per dataset and recipe: a family's mean difference with its interval, in points."""
    parts = [part for _, part in effects.groupby(["dataset", "recipe"], sort=False)]
    columns = min(2, len(parts))
    rows = -(-len(parts) // columns)
    lines = max(min(len(part), MOST_FAMILIES + 1) for part in parts)
    made, panels = figure(
        "What the recipe changes",
        "Mean difference of the error, same model and seed under both recipes; left is better. "
        "Bars: 95 % t interval between the models of a family, none for one model. "
        "In brackets: models.",
        1.0 + rows * (1.0 + 0.3 * lines),
        rows,
        columns,
    )
    for unused in panels[len(parts) :]:
        unused.set_axis_off()
    for axes, part in zip(panels, parts, strict=False):
        shown = pd.concat([part.head(1), part.iloc[1:].nlargest(MOST_FAMILIES, "n_models")])
        first = shown.iloc[0]
        colours = [INK, *(style(name).colour for name in shown["family"].iloc[1:])]
        points = 100 * shown[EFFECT_ENDS].to_numpy(dtype=float)
        for place, ((middle, low, high), colour) in enumerate(zip(points, colours, strict=True)):
            axes.plot([low, high], [place, place], color=colour, lw=1.5)
            axes.plot(middle, place, "o", color=colour, ms=6)
        counts = zip(shown["family"], shown["n_models"], strict=True)
        names = [f"{family} ({count})" for family, count in counts]
        axes.set_yticks(range(len(shown)), names)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.axvline(0, color=FAINT, lw=0.8)
        axes.set_xlabel("difference of the error (points)")
        axes.set_title(f"{first['dataset']}\n{first['recipe']} against {first['against']}")
    return made
