"""The look of all charts: families' colours and marks, fronts, layout, log ticks.

A figure is the same bytes from the same tables.
"""

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from PIL import Image

from pipeline.core.files import replacing
from pipeline.statistics.intervals import ELSEWHERE
from pipeline.timm_results.families import FAMILIES

# Okabe and Ito's colours without black and yellow, plus a violet and a brown
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#a155e6",
    "#7a4020",
)
MARKERS = "o^Psp<XDh>dv8"  # matplotlib's names; three in a row are of different kinds
SYMBOLS = (  # plotly's names, in the same order
    "circle",
    "triangle-up",
    "cross",
    "square",
    "pentagon",
    "triangle-left",
    "x",
    "diamond",
    "hexagon",
    "triangle-right",
    "diamond-tall",
    "triangle-down",
    "octagon",
)
GREY = "#9a9a9a"
LEAST_FOR_LOG = 4  # the largest value over the smallest

# The 2022 notebook's eight with a trend line come first: one colour each.
TREND_FAMILIES = (
    "convnext",
    "swin",
    "levit",
    "beit",
    "efficientnetv2",
    "regnetx",
    "resnet",
    "vgg",
)
_PROMINENT = (
    "vit",
    "regnety",
    "mobilenetv3",
    "deit3",
    "maxvit",
    "efficientnet",
    "convnextv2",
    "eva02",
    "resnext",
    "senet",
    "xcit",
    "hgnet",
    "mobilenetv4",
    "nfnet",
    "resnetv2",
    "cspnet",
    "efficientvit",
    "mambaout",
    "swinv2",
    "caformer",
)
_ORDER = list(dict.fromkeys([*TREND_FAMILIES, *_PROMINENT, *(name for name, _ in FAMILIES)]))
_PLACE = {name: place for place, name in enumerate(_ORDER)}
NAMES = {  # of the columns in correlations.csv
    "error_rate_mean": "mean error",
    "steady_fit_seconds_median": "median steady fit time",
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


@dataclass(frozen=True)
class Style:
    """How a family is drawn: `marker` by matplotlib, `symbol` by plotly."""

    colour: str
    marker: str
    symbol: str


OTHERS = Style(GREY, "o", "circle")  # families too small for a legend entry of their own


def style(family: str) -> Style:
    """The family's style; a family without a rule is grey.

    Families of one colour have different marks, in the order of MARKERS.
    """
    if family not in _PLACE:
        return OTHERS
    turn, colour = divmod(_PLACE[family], len(COLOURS))
    number = (colour + turn) % len(MARKERS)
    return Style(COLOURS[colour], MARKERS[number], SYMBOLS[number])


def legend_families(families: pd.Series, most: int) -> list[str]:
    """The `most` families with the most rows, in the order of all charts; the rest is grey."""
    counts = families[families.isin(_PLACE)].value_counts()
    largest = sorted(counts.index, key=lambda name: (-counts[name], _PLACE[name]))[:most]
    return sorted(largest, key=_PLACE.__getitem__)


def spans_decades(values: pd.Series) -> bool:
    """Whether an axis of these positive values should be logarithmic."""
    return bool(values.max() >= LEAST_FOR_LOG * values.min())


def speed_source(rows: pd.DataFrame) -> str:
    """The benchmark files that these rows of imagenet.csv come from, their devices and commit."""
    files = [
        f"{row.measured_by} {row.benchmark_file} ({row.device}, {row.precision}, torch {row.torch})"
        for row in rows.drop_duplicates("benchmark_file").itertuples()
    ]
    return f"{' and '.join(files)}; timm at {_commit(rows)}"


def accuracy_source(rows: pd.DataFrame) -> str:
    """Where the accuracy in these rows of imagenet.csv comes from."""
    return f"timm results-imagenet.csv at {_commit(rows)}"


def _commit(rows: pd.DataFrame) -> str:
    commits = sorted({commit[:10] for commit in rows["commit"].unique() if commit})
    return f"commit {', '.join(commits)}" if commits else "no known commit"


def name_of(column: str) -> str:
    """An outcome or a predictor of correlations.csv in words."""
    if column.startswith(ELSEWHERE):
        return f"mean error on {column.removeprefix(ELSEWHERE)}"
    return NAMES.get(column, column)


INK, FAINT = "#222222", "#666666"
WIDTH_INCHES = 9.0
TICKS, TICKS_OF_HALF = 16, 8  # of a logarithmic axis at the full width and at half of it
LOG_TICKS = ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,))  # per decade, the densest first
LOOK: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 10,
    "axes.edgecolor": "#999999",
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "svg.hashsalt": "which-backbone",
}


def figure(
    title: str, note: str, height_inches: float, rows: int = 1, columns: int = 1
) -> tuple[Figure, list[Axes]]:
    """A figure with a title above, a small note on the source below, and a grid of panels."""
    fig = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    FigureCanvasAgg(fig)
    lines = textwrap.wrap(note, 140)
    below = (0.14 + 0.14 * len(lines)) / height_inches
    above = 0.4 / height_inches
    engine = fig.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0.005, below, 0.99, 1 - below - above))
    fig.text(0.012, 1 - 0.1 / height_inches, title, va="top", size=13, color=INK)
    fig.text(0.012, 0.06 / height_inches, "\n".join(lines), va="bottom", size=8, color=FAINT)
    panels = fig.subplots(rows, columns, squeeze=False)
    return fig, list(panels.flat)


def save(fig: Figure, folder: Path, name: str) -> None:
    """Write NAME.svg and NAME.png, whole or not at all."""
    with replacing(folder / f"{name}.svg") as path:
        fig.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pixels = io.BytesIO()
    fig.savefig(pixels, format="png", dpi=150)
    with replacing(folder / f"{name}.png") as path, Image.open(pixels) as image:
        with_palette(image).save(path, format="png", optimize=True)


def with_palette(image: Image.Image) -> Image.Image:
    """The picture in its 256 most frequent colours, each pixel in the nearest: a third of the size.

    Pillow's own `quantize` matches colours coarsely, and turns white into a light grey.
    """
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(np.int32)
    packed = pixels @ np.array([65536, 256, 1], dtype=np.int32)
    colours, which, counts = np.unique(packed, return_inverse=True, return_counts=True)
    rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1)
    palette = rgb[np.argsort(-counts, kind="stable")[:256]]
    squares = (palette**2).sum(1) - 2 * rgb @ palette.T  # distance, up to the colour's own square
    indexed = Image.frombytes("P", image.size, squares.argmin(1)[which].astype("uint8").tobytes())
    indexed.putpalette(palette.astype("uint8").tobytes())
    return indexed


def scatter_families(
    axes: Axes,
    rows: pd.DataFrame,
    families: Sequence[str],
    x: str,
    y: str,
    area: pd.Series | float = 18.0,
) -> None:
    """A mark per row in its family's style; families not in `families` lie beneath, in grey.

    `area` is that of a mark in square points, or of each row's.
    """
    shown = rows["family"].where(rows["family"].isin(families), "")
    for family in ["", *families]:
        part = rows[shown == family]
        look = style(family)
        axes.scatter(
            part[x],
            part[y],
            s=area.loc[part.index] if isinstance(area, pd.Series) else area,
            color=look.colour,
            marker=look.marker,
            alpha=0.65 if family else 0.35,
            linewidth=0,
        )


def family_handles(rows: pd.DataFrame, families: Sequence[str]) -> list[Line2D]:
    """Legend entries of these families, and one for the others among the rows, drawn in grey."""
    entries = [(family, style(family)) for family in families]
    if others := set(rows["family"]) - set(families):
        entries.append((f"{len(others)} more", OTHERS))
    return [
        Line2D([], [], linestyle="", color=look.colour, marker=look.marker, ms=7, label=name)
        for name, look in entries
    ]


def plain_log(axis: Axis, most: int = TICKS) -> None:
    """Round ticks of a logarithmic axis, at most `most` of them: 200, 500, 1k, 2k.

    Call it when all is drawn: it depends on the axis's range.
    """
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    subs = next((each for each in LOG_TICKS if decades * len(each) <= most), LOG_TICKS[-1])
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_short))


def _short(value: float, _: object) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
