"""Figures of the published weights themselves: how many per family, and accuracy by image size."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.figures.canvas import INK, family_handles, figure, scatter_families
from pipeline.figures.charts import accuracy_source, legend_families, style
from pipeline.figures.speed import MOST_FAMILIES

MOST_BARS = 30
LEAST_FOR_MEDIAN = 15  # weights at one image size
TICKS = (96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512, 640, 800)  # pixels
SPREAD = 0.012  # of log2(pixels): points of one size lie side by side


def models_per_family(weights: pd.DataFrame) -> Figure:
    """Bars of how many weights each family has, by what they were pretrained on."""
    counts = weights["family"].value_counts()
    families = sorted(counts.index, key=lambda name: (-counts[name], name))[:MOST_BARS]
    left_out = counts.drop(families)
    note = (
        f"{accuracy_source(weights)}. n = {len(weights):,} weights, {weights['arch'].nunique():,} "
    )
    note += "architectures. Pale: pretrained on more than ImageNet-1k."
    if len(left_out):
        note += f" Not shown: {len(left_out)} families with {left_out.sum():,} weights."
    made, (axes,) = figure("Published weights per family", note, 1.6 + 0.2 * len(families))
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
    axes.set(xlabel="weights (number in number of architectures)", ylim=(len(families) - 0.4, -0.6))
    axes.set_xlim(0, counts.max() * 1.12)
    axes.grid(visible=False, axis="y")
    return made


def accuracy_by_image_size(sizes: pd.DataFrame) -> Figure:
    """ImageNet top-1 of every pair of weights and image size, with the median per size."""
    made, (axes,) = figure(
        "ImageNet accuracy by image size",
        f"{accuracy_source(sizes)}. n = {len(sizes):,} pairs of weights and image size. Black: the "
        f"median of each size with {LEAST_FOR_MEDIAN} or more.",
        5.6,
    )
    families = legend_families(sizes["family"], MOST_FAMILIES)
    beside = np.random.default_rng(0).normal(0, SPREAD, len(sizes))
    placed = sizes.assign(x=np.log2(sizes["img_size"].to_numpy()) + beside)
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
    made.legend(handles=handles, loc="outside right upper")
    return made
