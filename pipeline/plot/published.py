"""Figures of timm's published tables: accuracy, speed, parameters, families and image sizes."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from scipy.stats import theilslopes

from pipeline.figures.labels import along_steps, place_labels
from pipeline.figures.look import (
    FAINT,
    INK,
    TICKS_OF_HALF,
    TREND_FAMILIES,
    accuracy_source,
    family_handles,
    figure,
    legend_families,
    plain_log,
    scatter_families,
    speed_source,
    style,
)
from pipeline.statistics.fit_times import along_front
from pipeline.study.params import MODE_NAMES
from pipeline.timm_results.imagenet import USUAL_SIZE

MOST_FAMILIES = 16  # with a legend entry of their own
MOST_NAMED = 12  # models of a study; of a larger one only models on the front are named
LEAST_FOR_TREND = 6  # points of a family
RESAMPLES = 200  # of a family's points, for the band of its trend
BUBBLES = (128, 224, 384, 512)  # pixels, in the legend
MOST_BARS = 30
LEAST_FOR_MEDIAN = 15  # weights at one image size
TICKS = (96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512, 640, 800)  # pixels
SPREAD = 0.012  # standard deviation in log2(pixels), so that points of one size lie side by side


def accuracy_against_speed(rows: pd.DataFrame, mode: str, studied: Collection[str]) -> Figure:
    """ImageNet top-1 against speed, every family; the study's models and the front are named."""
    fig, (axes,) = figure(
        f"ImageNet accuracy against {MODE_NAMES[mode]} speed, {rows['model'].nunique():,} weights",
        f"{speed_source(rows)}. n = {len(rows):,} pairs of weights and image size, each measured "
        "once. The line joins the weights that no other beats in both.",
        6.4,
    )
    families = legend_families(rows["family"], MOST_FAMILIES)
    area = _bubble_area(rows["img_size"])
    scatter_families(axes, rows, families, "samples_per_second", "top1", area)
    best = rows.iloc[along_front(-rows["samples_per_second"].to_numpy(), rows["top1"].to_numpy())]
    axes.step(best["samples_per_second"], best["top1"], where="post", color=INK, lw=0.8)
    _finish(fig, axes, mode, family_handles(rows, families), rows["img_size"])
    of_study = rows[rows["model"].isin(studied)] if len(studied) <= MOST_NAMED else rows[:0]
    named = pd.concat([of_study, best]).drop_duplicates("arch")
    obstacles = np.vstack([_points(rows), along_steps(_points(best), 40)])
    place_labels(axes, _points(named), named["arch"].tolist(), obstacles)
    return fig


def accuracy_against_speed_trends(rows: pd.DataFrame, mode: str) -> Figure:
    """The families of the 2022 notebook's chart, each with its trend over log speed."""
    chosen = rows[rows["family"].isin(TREND_FAMILIES)]
    fig, (axes,) = figure(
        f"ImageNet accuracy against {MODE_NAMES[mode]} speed, {len(TREND_FAMILIES)} families",
        f"{speed_source(rows)}. n = {len(chosen):,} pairs of weights and image size, each measured "
        "once. Trends: Theil and Sen's line over log speed with its 95 % bootstrap band, of "
        f"{LEAST_FOR_TREND} points or more; hollow, dashed: pretrained on more than ImageNet-1k.",
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
    _finish(fig, axes, mode, family_handles(chosen, present), chosen["img_size"])
    return fig


def speed_against_parameters(rows: dict[str, pd.DataFrame]) -> Figure:
    """Speed against parameters, both logarithmic, one panel per mode."""
    together = pd.concat(rows.values())
    fig, panels = figure(
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
    fig.legend(handles=family_handles(together, families), loc="outside right upper")
    return fig


def _finish(
    fig: Figure, axes: Axes, mode: str, handles: list[Line2D], img_sizes: pd.Series
) -> None:
    """Axes and both legends: families, and image sizes by bubble size."""
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
    fig.legend(handles=[*handles, *bubbles], loc="outside right upper")


def _bubble_area(img_size: Any) -> Any:
    """The marker's area in square points, in proportion to the image's."""
    return 24 * (img_size / USUAL_SIZE) ** 2


def _draw_trend(axes: Axes, rows: pd.DataFrame, colour: str, line: str) -> None:
    """A family's line of median slope (Theil and Sen's) with its 95 % band; none for few points."""
    speed, top1 = np.log10(rows["samples_per_second"].to_numpy()), rows["top1"].to_numpy()
    if len(rows) < LEAST_FOR_TREND or np.ptp(speed) == 0:
        return
    along = np.linspace(speed.min(), speed.max(), 30)
    random = np.random.default_rng(0)
    samples = random.integers(len(rows), size=(RESAMPLES, len(rows)))
    varied = [each for each in samples if np.ptp(speed[each]) > 0]
    lines = [_theil_sen(top1[each], speed[each], along) for each in varied]
    low, high = np.percentile(lines, [2.5, 97.5], axis=0)
    axes.fill_between(10**along, low, high, color=colour, alpha=0.1, lw=0, zorder=1)
    axes.plot(10**along, _theil_sen(top1, speed, along), color=colour, ls=line, lw=1.8, zorder=4)


def _theil_sen(y: np.ndarray, x: np.ndarray, along: np.ndarray) -> np.ndarray:
    """The heights of the line of median slope at the points `along`."""
    with np.errstate(invalid="ignore"):  # of the slope's interval, which is not used
        slope, level, *_ = theilslopes(y, x, method="joint")
    return level + slope * along


def _points(rows: pd.DataFrame) -> np.ndarray:
    return rows[["samples_per_second", "top1"]].to_numpy(dtype=float)


def models_per_family(weights: pd.DataFrame) -> Figure:
    """Bars of how many weights each family has, by what they were pretrained on."""
    counts = weights["family"].value_counts()
    families = sorted(counts.index, key=lambda name: (-counts[name], name))[:MOST_BARS]
    left_out = counts.drop(families)
    note = (
        f"{accuracy_source(weights)}. n = {len(weights):,} weights, {weights['arch'].nunique():,} "
        "architectures. Pale: pretrained on more than ImageNet-1k."
    )
    if len(left_out):
        note += f" Not shown: {len(left_out)} families with {left_out.sum():,} weights."
    fig, (axes,) = figure("Published weights per family", note, 1.6 + 0.2 * len(families))
    only_in1k = weights[weights["pretraining"] == "in1k"]["family"].value_counts()
    architectures = weights.groupby("family")["arch"].nunique()
    for place, family in enumerate(families):
        colour = style(family).colour
        first = int(only_in1k.get(family, 0))
        axes.barh(place, first, color=colour)
        axes.barh(place, counts[family] - first, left=first, color=colour, alpha=0.45)
        text = f" {counts[family]} in {architectures[family]}"
        axes.text(counts[family], place, text, va="center", size=8, color=INK)
    axes.set_yticks(range(len(families)), families)
    axes.set(
        xlabel="pretrained weights (labels: weights in architectures)",
        ylim=(len(families) - 0.4, -0.6),
    )
    axes.set_xlim(0, counts.max() * 1.12)
    axes.grid(visible=False, axis="y")
    return fig


def accuracy_by_image_size(sizes: pd.DataFrame) -> Figure:
    """ImageNet top-1 of every pair of weights and image size, with the median per size."""
    fig, (axes,) = figure(
        "ImageNet accuracy by image size",
        f"{accuracy_source(sizes)}. n = {len(sizes):,} pairs of weights and image size. Black: the "
        f"median of each size with {LEAST_FOR_MEDIAN} or more.",
        5.6,
    )
    families = legend_families(sizes["family"], MOST_FAMILIES)
    jitter = np.random.default_rng(0).normal(0, SPREAD, len(sizes))
    placed = sizes.assign(x=np.log2(sizes["img_size"].to_numpy()) + jitter)
    scatter_families(axes, placed, families, "x", "top1", 16)
    by_size = sizes.groupby("img_size")["top1"].agg(["median", "count"])
    known = by_size[by_size["count"] >= LEAST_FOR_MEDIAN]
    middles = np.log2(known.index.to_numpy())
    axes.hlines(known["median"], middles - 3 * SPREAD, middles + 3 * SPREAD, INK, lw=2)
    shown = [
        tick for tick in TICKS if placed["x"].min() - 0.1 < np.log2(tick) < placed["x"].max() + 0.1
    ]
    axes.set_xticks(np.log2(shown), [str(tick) for tick in shown])
    axes.set(xlabel="image size (pixels)", ylabel="ImageNet top-1 (%)")
    median = Line2D([], [], color=INK, lw=2, label="median")
    handles = [*family_handles(sizes, families), *([median] if len(known) else [])]
    fig.legend(handles=handles, loc="outside right upper")
    return fig
