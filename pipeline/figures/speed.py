"""Figures of published speed: against ImageNet accuracy, and against parameters."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.figures.canvas import (
    FAINT,
    INK,
    TICKS_OF_HALF,
    family_handles,
    figure,
    plain_log,
    scatter_families,
)
from pipeline.figures.charts import (
    MODE_NAMES,
    TREND_FAMILIES,
    front,
    legend_families,
    speed_source,
    style,
)
from pipeline.figures.labels import place_labels

MOST_FAMILIES = 16  # with a legend entry of their own; more cannot be told apart
MOST_NAMED = 12  # models of the study; of a larger one, only those on the front
LEAST_FOR_TREND = 4  # points of a family
BUBBLES = (128, 224, 384, 512)  # pixels, in the legend


def accuracy_against_speed(rows: pd.DataFrame, mode: str, studied: Collection[str]) -> Figure:
    """ImageNet top-1 against speed, every family; the study's models and the front are named."""
    made, (axes,) = figure(
        f"ImageNet accuracy against {MODE_NAMES[mode]} speed, {rows['model'].nunique():,} weights",
        f"{speed_source(rows)}. n = {len(rows):,} pairs of weights and image size, each measured "
        "once. The line joins the weights that no other beats in both.",
        6.4,
    )
    families = legend_families(rows["family"], MOST_FAMILIES)
    area = _bubble_area(rows["img_size"])
    scatter_families(axes, rows, families, "samples_per_second", "top1", area)
    best = rows.iloc[front(-rows["samples_per_second"].to_numpy(), rows["top1"].to_numpy())]
    axes.step(best["samples_per_second"], best["top1"], where="post", color=INK, lw=0.8)
    _finish(made, axes, mode, family_handles(rows, families), rows["img_size"])
    own = rows[rows["model"].isin(studied)] if len(studied) <= MOST_NAMED else rows[:0]
    named = pd.concat([own, best]).drop_duplicates("arch")
    obstacles = np.vstack([_points(rows), _steps(_points(best))])
    place_labels(axes, _points(named), named["arch"].tolist(), obstacles)
    return made


def accuracy_against_speed_trends(rows: pd.DataFrame, mode: str) -> Figure:
    """The families of the 2022 notebook's chart, each with its trend over log speed."""
    chosen = rows[rows["family"].isin(TREND_FAMILIES)]
    made, (axes,) = figure(
        f"ImageNet accuracy against {MODE_NAMES[mode]} speed, {len(TREND_FAMILIES)} families",
        f"{speed_source(rows)}. n = {len(chosen):,} pairs of weights and image size, each measured "
        f"once. Trends: least squares over log speed, for {LEAST_FOR_TREND} points or more; hollow "
        "and dashed: pretrained on more than ImageNet-1k.",
        6.4,
    )
    for (family, only_in1k), part in chosen.groupby(["family", chosen["pretraining"] == "in1k"]):
        look = style(str(family))
        axes.scatter(
            part["samples_per_second"],
            part["top1"],
            s=_bubble_area(part["img_size"]),
            facecolor=look.colour if only_in1k else "none",
            edgecolor=look.colour,
            marker=look.marker,
            alpha=0.7,
            linewidth=1,
        )
        _draw_trend(axes, part, look.colour, "-" if only_in1k else "--")
    present = [family for family in TREND_FAMILIES if (chosen["family"] == family).any()]
    _finish(made, axes, mode, family_handles(chosen, present), chosen["img_size"])
    return made


def speed_against_parameters(rows: dict[str, pd.DataFrame]) -> Figure:
    """Speed against parameters, both logarithmic, one panel per mode."""
    together = pd.concat(rows.values())
    made, panels = figure(
        "Speed against parameters",
        f"{speed_source(together)}. ρ is Spearman's rank correlation.",
        5.0,
        columns=len(rows),
    )
    families = legend_families(together["family"], MOST_FAMILIES)
    for axes, (mode, part) in zip(panels, rows.items(), strict=True):
        scatter_families(axes, part, families, "params_m", "samples_per_second")
        rho = part["params_m"].corr(part["samples_per_second"], method="spearman")
        axes.set_title(
            f"{MODE_NAMES[mode]}, {part['device'].iloc[0]}: n = {len(part):,}, ρ = {rho:.2f}"
        )
        axes.set(xscale="log", yscale="log", xlabel="parameters (million)")
        axes.set_ylabel("samples per second")
        plain_log(axes.xaxis, TICKS_OF_HALF)
        plain_log(axes.yaxis)
    made.legend(handles=family_handles(together, families), loc="outside right upper")
    return made


def _finish(
    made: Figure, axes: Axes, mode: str, handles: list[Line2D], img_sizes: pd.Series
) -> None:
    """Axes and both legends: families, and the image sizes that bubbles stand for."""
    axes.set(xscale="log", ylabel="ImageNet top-1 (%)")
    axes.set_xlabel(f"{MODE_NAMES[mode]}, samples per second (faster →)")
    plain_log(axes.xaxis)
    bubbles = [
        Line2D(
            [], [], ls="", marker="o", color=FAINT, ms=_bubble_area(size) ** 0.5, label=f"{size} px"
        )
        for size in BUBBLES
        if img_sizes.min() <= size <= img_sizes.max()
    ]
    made.legend(handles=[*handles, *bubbles], loc="outside right upper")


def _bubble_area(img_size: Any) -> Any:
    """The marker's area in square points, as the image's area."""
    return 24 * (img_size / 224) ** 2


def _draw_trend(axes: Axes, rows: pd.DataFrame, colour: str, line: str) -> None:
    speed = np.log10(rows["samples_per_second"].to_numpy())
    if len(rows) < LEAST_FOR_TREND or np.ptp(speed) == 0:
        return
    slope, level = np.polyfit(speed, rows["top1"], 1)
    ends = np.array([speed.min(), speed.max()])
    axes.plot(10**ends, level + slope * ends, color=colour, ls=line, lw=1.8, zorder=4)


def _steps(corners: np.ndarray) -> np.ndarray:
    """Points along the front's line, so that no label is written across it."""
    share = np.linspace(0, 1, 40)[:, None]
    speed, top1 = corners[:, 0], corners[:, 1]
    across = np.stack([speed[:-1] * (speed[1:] / speed[:-1]) ** share, top1[:-1] + 0 * share], -1)
    up = np.stack([speed[1:] + 0 * share, top1[:-1] + np.diff(top1) * share], -1)
    return np.vstack([across.reshape(-1, 2), up.reshape(-1, 2)])


def _points(rows: pd.DataFrame) -> np.ndarray:
    return rows[["samples_per_second", "top1"]].to_numpy(dtype=float)
