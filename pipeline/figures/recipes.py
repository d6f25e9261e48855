"""Figure of what a recipe changes: paired differences of the error, by family."""

import pandas as pd
from matplotlib.figure import Figure

from pipeline.figures.canvas import FAINT, INK, figure
from pipeline.figures.charts import style

MOST_FAMILIES = 15  # per panel, those with the most models

ENDS = ["error_difference", "error_difference_low", "error_difference_high"]


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
        points = 100 * shown[ENDS].to_numpy(dtype=float)
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
