"""Figures as files: one look, and the same bytes from the same tables.

Saved SVGs and PNGs carry no date and no random ids, so DVC and git see a change only where a number
or the drawing changed. Text in the SVG is drawn as outlines: it looks the same everywhere.
"""

import io
import textwrap
from collections.abc import Sequence
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
from pipeline.figures.charts import OTHERS, style

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
    made = Figure(figsize=(WIDTH_INCHES, height_inches), layout="constrained")
    FigureCanvasAgg(made)
    lines = textwrap.wrap(note, 140)
    below = (0.14 + 0.14 * len(lines)) / height_inches
    above = 0.4 / height_inches
    engine = made.get_layout_engine()
    assert isinstance(engine, ConstrainedLayoutEngine)
    engine.set(rect=(0.005, below, 0.99, 1 - below - above))
    made.text(0.012, 1 - 0.1 / height_inches, title, va="top", size=13, color=INK)
    made.text(0.012, 0.06 / height_inches, "\n".join(lines), va="bottom", size=8, color=FAINT)
    panels = made.subplots(rows, columns, squeeze=False)
    return made, list(panels.flat)


def save(made: Figure, folder: Path, name: str) -> None:
    """Write NAME.svg and NAME.png, whole or not at all."""
    with replacing(folder / f"{name}.svg") as path:
        made.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pixels = io.BytesIO()
    made.savefig(pixels, format="png", dpi=150)
    with replacing(folder / f"{name}.png") as path, Image.open(pixels) as image:
        _with_palette(image).save(path, format="png", optimize=True)


def _with_palette(image: Image.Image) -> Image.Image:
    """The picture in its 256 most frequent colours, each pixel in the nearest: a third of the size.

    Pillow's own `quantize` looks colours up coarsely, and turns white into a light grey.
    """
    pixels = np.asarray(image.convert("RGB")).reshape(-1, 3).astype(np.int32)
    packed = pixels @ np.array([65536, 256, 1], dtype=np.int32)
    colours, which, counts = np.unique(packed, return_inverse=True, return_counts=True)
    rgb = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], -1)
    palette = rgb[np.argsort(-counts, kind="stable")[:256]]
    squares = (palette**2).sum(1) - 2 * rgb @ palette.T  # distance, up to the colour's own square
    made = Image.frombytes("P", image.size, squares.argmin(1)[which].astype("uint8").tobytes())
    made.putpalette(palette.astype("uint8").tobytes())
    return made


def scatter_families(
    axes: Axes,
    rows: pd.DataFrame,
    families: Sequence[str],
    x: str,
    y: str,
    area: pd.Series | float = 18.0,
) -> None:
    """A mark per row in its family's style; families not listed lie beneath, in grey."""
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
    """Round ticks of a logarithmic axis, as dense as `most` of them allow: 200, 500, 1k, 2k.

    Call it when all is drawn: it looks at the axis's range.
    """
    low, high = axis.get_view_interval()
    decades = np.log10(high / low)
    subs = next((each for each in LOG_TICKS if decades * len(each) <= most), LOG_TICKS[-1])
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(_short))


def _short(value: float, _: object) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
