"""The report's interactive charts, as plotly figures without a theme: the page's script adds it.

Every text from a table passes `plain`: plotly reads a little HTML in names and hovers, and a model
called `<a href=...>` has to stay text.
"""

import html
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from pipeline.figures.charts import OTHERS, legend_families, style
from pipeline.page.answer import duration, percent

MOST_FAMILIES = 18  # with a legend entry of their own
MOST_NAMED = 12  # models that are named in the chart; of more, hovering tells
FRONT_COLOUR = "#8a8a8a"  # seen on light and dark
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")  # of models of one family


def plain(text: object) -> str:
    """`text` as plotly shows it letter by letter."""
    return html.escape(str(text), quote=False)


def error_against_time(board: pd.DataFrame) -> Figure:
    """Mean error against median fit time of one dataset's models of one recipe."""
    made = _error_against(board, "fit_seconds_median", _cost)
    front = board[board["on_front"].fillna(False).astype(bool)].sort_values("fit_seconds_median")
    made.add_scatter(
        x=front["fit_seconds_median"].to_numpy(dtype="float32"),
        y=100 * front["error_rate_mean"].to_numpy(dtype="float32"),
        mode="lines",
        line={"shape": "hv", "dash": "dash", "width": 1.5, "color": FRONT_COLOUR},
        name="front",
        hoverinfo="skip",
        legendrank=3000,
    )
    made.update_layout(xaxis_title="fit time (s)")
    return made


def error_against_imagenet(board: pd.DataFrame) -> Figure:
    """Mean error against ImageNet top-1 of one dataset's models of one recipe."""
    made = _error_against(board, "imagenet_top1", _imagenet)
    made.update_layout(xaxis_title="ImageNet top-1 (%)")
    return made


def accuracy_against_speed(rows: pd.DataFrame, title: str) -> Figure:
    """ImageNet top-1 against published speed, log x, the image size as the mark's size."""
    more = ["img_size", "batch_size", "params_m"]
    marks = pd.DataFrame(
        {
            "family": rows["family"],
            "x": rows["samples_per_second"],
            "y": rows["top1"],
            "bar": None,
            "bar_below": None,
            "size": 7 * rows["img_size"] / 224,
            "hover": rows["model"].map(plain),
            "name": "",
            **{name: rows[name] for name in more},
        }
    )
    hover = (
        "<b>%{hovertext}</b><br>top-1 %{y:.2f} % at %{customdata[0]} pixels<br>"
        "%{x:,.0f} samples/s, batch %{customdata[1]}<br>%{customdata[2]:,.1f} million parameters"
    )
    made = _by_family(marks, hover, more)
    made.update_layout(xaxis={"type": "log", "title": title}, yaxis_title="ImageNet top-1 (%)")
    return made


def loss_curves(history: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Validation loss over epochs of these models' runs of one dataset and recipe.

    A trace per model: its runs lie one after the other, a null between them breaks the line.
    """
    made = Figure()
    dashes: Counter[str] = Counter()
    for model in models:
        rows = history[history["model"] == model]
        if rows.empty:
            continue
        ends = np.flatnonzero(np.diff(rows["seed"])) + 1
        family = str(rows["family"].iloc[0])
        made.add_scatter(
            x=np.insert(rows["epoch"].to_numpy(dtype="float32"), ends, np.nan),
            y=np.insert(rows["valid_loss"].to_numpy(dtype="float32"), ends, np.nan),
            customdata=np.insert(rows["seed"].to_numpy(dtype="float64"), ends, np.nan),
            mode="lines+markers",
            name=plain(model),
            line={"color": style(family).colour, "dash": DASHES[dashes[family] % len(DASHES)]},
            hovertemplate=f"{plain(model)}<br>seed %{{customdata}}, epoch %{{x}}: %{{y:.4f}}"
            "<extra></extra>",
        )
        dashes[family] += 1
    made.update_layout(xaxis_title="epoch", yaxis_title="validation loss", showlegend=True)
    made.update_xaxes(dtick=1 if history["epoch"].nunique() < 15 else None)
    return made


def as_json(figures: Sequence[Figure]) -> list[str]:
    """Each figure as JSON that cannot end the `<script>` it stands in."""
    return [
        figure.to_json().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        for figure in figures
    ]


def _error_against(board: pd.DataFrame, x: str, tell: Callable[[Any], str]) -> Figure:
    rows = board.dropna(subset=["error_rate_mean", x])
    marks = pd.DataFrame(
        {
            "family": rows["family"],
            "x": rows[x],
            "y": 100 * rows["error_rate_mean"],
            "bar": 100 * (rows["error_rate_high"] - rows["error_rate_mean"]),
            "bar_below": 100 * (rows["error_rate_mean"] - rows["error_rate_low"]),
            "size": 11.0,
            "hover": [f"{_error(row)}<br>{tell(row)}" for row in rows.itertuples()],
            "name": rows["model"].map(plain) if len(rows) <= MOST_NAMED else "",
        }
    )
    made = _by_family(marks)
    made.update_layout(yaxis_title="error rate (%)")
    return made


def _by_family(
    marks: pd.DataFrame, hover: str = "%{hovertext}", more: Sequence[str] = ()
) -> Figure:
    """A trace per family of the marks; small families share a grey one.

    `hover` is plotly's template; the columns `more` are its `customdata`.
    """
    made = Figure()
    marks = marks.astype(
        dict.fromkeys(("x", "y", "bar", "bar_below", "size"), "float32")
    )  # half the size
    families = legend_families(marks["family"], MOST_FAMILIES)
    shown = marks["family"].where(marks["family"].isin(families), "")
    named = bool(marks["name"].any())
    middle = (marks["x"].min() + marks["x"].max()) / 2
    for family in ["", *families]:  # the grey ones beneath, but last in the legend
        here = marks[shown == family]
        if here.empty:
            continue
        look = style(family) if family else OTHERS
        made.add_scatter(
            x=here["x"],
            y=here["y"],
            error_y={
                "array": here["bar"],
                "arrayminus": here["bar_below"],
                "thickness": 1,
                "width": 0,
            },
            mode="markers+text" if named else "markers",
            text=here["name"] if named else None,
            textposition=["middle left" if x > middle else "middle right" for x in here["x"]]
            if named
            else None,
            cliponaxis=False,
            name=plain(family) if family else f"{here['family'].nunique()} more families",
            legendrank=1000 if family else 2000,
            marker={
                "color": look.colour,
                "symbol": look.symbol,
                "size": here["size"],
                "opacity": 0.75,
                "line": {"width": 0},
            },
            hovertext=here["hover"],
            hovertemplate=f"{hover}<extra></extra>",
            customdata=here[list(more)] if more else None,
        )
    made.update_layout(showlegend=True)
    return made


def _error(row: Any) -> str:
    interval = ""
    if not pd.isna(row.error_rate_low):
        interval = f" [{percent(row.error_rate_low)}, {percent(row.error_rate_high)}]"
    sure = "" if pd.isna(row.p_best) else f"<br>P(best) {row.p_best:.2f}"
    return (
        f"<b>{plain(row.model)}</b><br>error {percent(row.error_rate_mean)}{interval}, "
        f"n = {row.n}{sure}"
    )


def _cost(row: Any) -> str:
    memory = (
        f"{row.peak_rss_gib_max:.2f} GiB of host memory"
        if pd.isna(row.peak_memory_gib_max)
        else f"{row.peak_memory_gib_max:.2f} GiB of GPU memory"
    )
    return f"fit {duration(row.fit_seconds_median)}, score {row.score_mean:.2f}<br>{memory}"


def _imagenet(row: Any) -> str:
    size = row.imagenet_img_size
    return (
        f"ImageNet top-1 {row.imagenet_top1:.2f} % at {size:.0f} pixels<br>"
        f"{row.params_m:,.1f} M parameters"
    )
