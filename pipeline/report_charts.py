"""The report's interactive charts, as plotly figures without a theme: the page's script adds it.

Every text from a table passes `plain`: plotly reads a little HTML in names and hovers, and a model
called `<a href=...>` has to stay text.
"""

import html
from collections.abc import Sequence
from typing import Any

import pandas as pd
from plotly.graph_objects import Figure

from pipeline.answer import duration, percent
from pipeline.charts import OTHERS, legend_families, style

MOST_FAMILIES = 18  # with a legend entry of their own
MOST_NAMED = 12  # models that are named in the chart; of more, hovering tells
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")  # of models of one family


def plain(text: object) -> str:
    """`text` as plotly shows it letter by letter."""
    return html.escape(str(text), quote=False)


def error_against(board: pd.DataFrame, x: str, title: str) -> Figure:
    """Mean error of one dataset's models of one recipe against a column, a trace per family."""
    rows = board.dropna(subset=["error_rate_mean", x])
    marks = pd.DataFrame(
        {
            "family": rows["family"],
            "x": rows[x],
            "y": 100 * rows["error_rate_mean"],
            "bar": 100 * rows["error_rate_sd"],
            "size": 11.0,
            "hover": [_of_finetune(row) for row in rows.itertuples()],
            "name": rows["model"].map(plain) if len(rows) <= MOST_NAMED else "",
        }
    )
    made = _by_family(marks)
    made.update_layout(xaxis_title=title, yaxis_title="error rate (%)")
    return made


def accuracy_against_speed(rows: pd.DataFrame, title: str) -> Figure:
    """ImageNet top-1 against published speed, log x, the image size as the mark's size."""
    marks = pd.DataFrame(
        {
            "family": rows["family"],
            "x": rows["samples_per_second"],
            "y": rows["top1"],
            "bar": None,
            "size": 7 * rows["img_size"] / 224,
            "hover": [_of_published(row) for row in rows.itertuples()],
            "name": "",
        }
    )
    made = _by_family(marks)
    made.update_layout(xaxis={"type": "log", "title": title}, yaxis_title="ImageNet top-1 (%)")
    return made


def loss_curves(history: pd.DataFrame) -> Figure:
    """Validation loss of every run over epochs; a trace per model, its runs apart."""
    made = Figure()
    models = history.drop_duplicates("model")
    dashes = models.groupby("family").cumcount().set_axis(models["model"])
    for model, rows in history.groupby("model", sort=False):
        runs = [_with_gap(run) for _, run in rows.groupby("run", sort=False)]
        curves = pd.concat(runs, ignore_index=True)
        made.add_scatter(
            x=curves["epoch"],
            y=curves["valid_loss"],
            mode="lines+markers",
            name=plain(model),
            line={
                "color": style(str(rows["family"].iloc[0])).colour,
                "dash": DASHES[dashes[model] % len(DASHES)],
            },
            hovertext=[plain(run) for run in curves["run"]],
            hovertemplate="%{hovertext}<br>epoch %{x}: %{y:.4f}<extra></extra>",
        )
    made.update_layout(xaxis_title="epoch", yaxis_title="validation loss", showlegend=True)
    made.update_xaxes(dtick=1 if history["epoch"].nunique() < 15 else None)
    return made


def as_json(figures: Sequence[Figure]) -> list[str]:
    """Each figure as JSON that cannot end the `<script>` it stands in."""
    return [
        figure.to_json().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
        for figure in figures
    ]


def _by_family(marks: pd.DataFrame) -> Figure:
    """A trace per family of the marks; small families share a grey one."""
    made = Figure()
    families = legend_families(marks["family"], MOST_FAMILIES)
    shown = marks["family"].where(marks["family"].isin(families), "")
    middle = (marks["x"].min() + marks["x"].max()) / 2
    for family in ["", *families]:  # the grey ones beneath, but last in the legend
        here = marks[shown == family]
        if here.empty:
            continue
        look = style(family) if family else OTHERS
        made.add_scatter(
            x=here["x"],
            y=here["y"],
            error_y={"array": here["bar"].astype(float), "thickness": 1, "width": 0},
            text=here["name"],
            textposition=["middle left" if x > middle else "middle right" for x in here["x"]],
            cliponaxis=False,
            mode="markers+text" if here["name"].any() else "markers",
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
            hoverinfo="text",
        )
    made.update_layout(showlegend=True)
    return made


def _with_gap(run: pd.DataFrame) -> pd.DataFrame:
    """One run's curve and an empty row after it, where the line breaks off."""
    rows = run[["epoch", "valid_loss", "run"]]
    return rows.reindex([*rows.index, -1]).astype({"epoch": "float64", "valid_loss": "float64"})


def _of_finetune(row: Any) -> str:
    memory = (
        f"{row.peak_rss_gib_max:.2f} GiB of host memory"
        if pd.isna(row.peak_memory_gib_max)
        else f"{row.peak_memory_gib_max:.2f} GiB of GPU memory"
    )
    return (
        f"<b>{plain(row.model)}</b><br>"
        f"error {percent(row.error_rate_mean)} ± {percent(row.error_rate_sd)}, {row.n} seeds<br>"
        f"fit {duration(row.fit_seconds_median)}, score {row.score_mean:.2f}<br>{memory}<br>"
        f"{row.params_m:,.1f} million parameters, ImageNet top-1 {row.imagenet_top1:.2f} %"
    )


def _of_published(row: Any) -> str:
    return (
        f"<b>{plain(row.model)}</b><br>top-1 {row.top1:.2f} % at {row.img_size} pixels<br>"
        f"{row.samples_per_second:,.0f} samples/s, batch {row.batch_size}<br>"
        f"{row.params_m:,.1f} million parameters, pretrained on {plain(row.pretraining)}"
    )
