"""The 2022 study's two figures of its top 15, and its section of the report."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from pipeline.core.errors import PipelineError
from pipeline.figures.look import FAINT, INK, figure
from pipeline.study2022.corrected import TOP
from pipeline.study2022.printed import LEARNING_RATES

MAY_BE_BEST, NOT_BEST, OTHER_RATE = "#56b4e9", "#d4d4d4", "#d55e00"
STAYS, FALLS_OUT = "#0072b2", "#d55e00"
PUBLISHED: dict[str, Any] = {"marker": "D", "s": 30, "fc": "none", "ec": INK, "lw": 1}
AT_OTHER_RATE: dict[str, Any] = {"marker": "x", "s": 26, "color": FAINT, "lw": 1.2}
TITLES = {"pets": "Pets", "planet": "Planet sample"}
TICKS = (3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 18, 20, 25, 30, 40)
_SCORE = (
    "Score = error rate × (fit seconds + 80), lower is better. Order and diamonds: as published, "
    "the lowest error of any run and the shortest time of any run. "
)
NOTE = _SCORE + (
    "Bars: the mean at each model's own learning rate, which its other runs chose, and its 95 % "
    "interval for three more runs on the same validation images and kinds of machine; other "
    "images would widen it. Right: the place among {models} models by that mean, and the places "
    "that these images leave possible, each end with 95 % confidence."
)
FURTHEST = 1.2  # times the end of the longest bar
TOP_NOTE = _SCORE + (
    "Dots: the mean of three runs, each at the learning rate that the model's other runs chose. "
    "Bars: its 95 % interval for three more runs on the same validation images; other images would "
    "widen it. Crosses: the mean at the other rate and its place there, where that is beyond {top} "
    "and on this scale."
)


def published_against_runs(runs: pd.DataFrame, own: pd.DataFrame) -> Figure:
    """Per dataset, the published top 15 in their order, every run, and the interval of the mean.

    `own` is of `at_own_rate`. Drawn and saved under `rc_context(LOOK)`.
    """
    datasets = list(dict.fromkeys(own["dataset"]))
    fig, panels = figure(
        "The 2022 study's top 15, as published and as run",
        NOTE.format(models=own.groupby("dataset").size().max()),
        1.2 + 4.1 * len(datasets),
        rows=len(datasets),
    )
    for axes, dataset in zip(panels, datasets, strict=True):
        _panel(
            axes,
            runs[runs["finished"] & (runs["dataset"] == dataset)],
            own[(own["dataset"] == dataset) & (own["published_rank"] <= TOP)],
        )
        axes.set_title(TITLES.get(dataset, dataset), weight="bold")
    panels[-1].set_xlabel("score (logarithmic)")
    above: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (-0.42, 1.07)}
    panels[0].legend(handles=_handles(), ncols=3, **above)
    return fig


def _panel(axes: Axes, runs: pd.DataFrame, models: pd.DataFrame) -> None:
    place = dict(zip(models["model_name"], -models["published_rank"], strict=True))
    shown = runs[runs["model_name"].isin(place)]
    y = models["model_name"].map(place)
    colours = models["tied"].map({True: MAY_BE_BEST, False: NOT_BEST})
    left, width = models["score_low"], models["score_high"] - models["score_low"]
    axes.barh(y, width, left=left, height=0.62, color=colours, zorder=2)
    axes.scatter(models["score_mean"], y, marker="|", s=110, color=INK, lw=1.6, zorder=3)
    for rate, marker, colour in zip(LEARNING_RATES, "o^", (INK, OTHER_RATE), strict=True):
        part = shown[shown["learning_rate"] == rate]
        where = part["model_name"].map(place)
        axes.scatter(part["score"], where, s=9, marker=marker, color=colour, lw=0, zorder=4)
    axes.scatter(models["published_score"], y, **PUBLISHED, zorder=5)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(TICKS))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    low, high = axes.get_xlim()
    axes.set_xlim(low * 0.98, high * 1.02)
    _names(axes, models, y)
    _ranks(axes, models, y)


def _ranks(axes: Axes, models: pd.DataFrame, y: pd.Series) -> None:
    """At the right edge: each model's place by the mean, and its interval."""
    right = axes.get_yaxis_transform()
    style: dict[str, Any] = {"transform": right, "va": "center", "size": 9, "clip_on": False}
    columns = ["rank", "rank_low", "rank_high"]
    for where, (rank, low, high) in zip(y, models[columns].to_numpy(), strict=True):
        axes.text(1.045, where, str(rank), ha="right", color=INK, **style)
        axes.text(1.06, where, f"{low}–{high}", ha="left", color=FAINT, **style)
    axes.text(1.01, 0.1, "place", ha="left", color=FAINT, **style)


def _handles() -> list[Line2D | Patch]:
    def mark(marker: str, colour: str, label: str, size: float, fill: bool = True) -> Line2D:
        face = colour if fill else "none"
        return Line2D([], [], ls="", marker=marker, ms=size, mec=colour, mfc=face, label=label)

    first, second = LEARNING_RATES
    return [
        mark("D", INK, "published score", 5, fill=False),
        mark("o", INK, f"a run at learning rate {first}", 3),
        mark("^", OTHER_RATE, f"a run at learning rate {second}", 3),
        Patch(color=MAY_BE_BEST, label="mean and interval: place 1 possible"),
        Patch(color=NOT_BEST, label="mean and interval: place 1 excluded"),
    ]


def top_15(models: pd.DataFrame, own: pd.DataFrame) -> Figure:
    """Per dataset, the published top 15 in their order: which fall out by the mean of their runs.

    `models` is of `corrected`, `own` of `at_own_rate`. Drawn and saved under `rc_context(LOOK)`.
    """
    shown = own[own["published_rank"] <= TOP]
    fig, panels = figure(
        f"The 2022 study's top {TOP}, each model at its own learning rate",
        TOP_NOTE.format(top=TOP),
        4.9,
        columns=shown["dataset"].nunique(),
    )
    for axes, (dataset, rows) in zip(panels, shown.groupby("dataset"), strict=True):
        name, stays = str(dataset), rows["rank"] <= TOP
        axes.set_title(  # a line for the legend
            f"\n{TITLES.get(name, name)}: {stays.sum()} of {len(rows)} stay",
            weight="bold",
            loc="right",
        )
        axes.set_xlabel("score (lower is better)")
        for kept, colour in ((True, STAYS), (False, FALLS_OUT)):
            part = rows[stays == kept]
            y, bars = -part["published_rank"], part[["score_low", "score_high"]]
            axes.hlines(y, bars["score_low"], bars["score_high"], colour, lw=5, alpha=0.55)
            axes.scatter(part["score_mean"], y, s=34, color=colour, zorder=3)
            for where, rank, end in zip(y, part["rank"], bars["score_high"], strict=True):
                _annotate(axes, "" if kept else f"now {rank}", end, where)
        axes.scatter(rows["published_score"], -rows["published_rank"], **PUBLISHED, zorder=4)
        _draw_other_rate(axes, rows, models[models["dataset"] == dataset])
        _names(axes, rows, -rows["published_rank"])
        axes.margins(x=0.16)
    handles = [
        Line2D([], [], color=STAYS, lw=5, alpha=0.55, marker="o", label=f"still in the top {TOP}"),
        Line2D([], [], color=FALLS_OUT, lw=5, alpha=0.55, marker="o", label="falls out"),
        Line2D([], [], ls="", marker="D", ms=5, mec=INK, mfc="none", label="published score"),
        Line2D([], [], ls="", marker="x", ms=5, mec=FAINT, label="at the other rate"),
    ]
    legend = fig.legend(handles=handles, ncols=4, loc="upper left", bbox_to_anchor=(0.0, 0.935))
    legend.set_in_layout(False)
    return fig


def _draw_other_rate(axes: Axes, rows: pd.DataFrame, models: pd.DataFrame) -> None:
    """The means at the rate that is not a model's own, where the model is beyond the top there."""
    key = ["model_name", "learning_rate"]
    other = models.merge(rows[key], on="model_name", suffixes=("", "_own"))
    other = other[other["learning_rate"] != other["learning_rate_own"]]
    near = other["score_mean"] <= FURTHEST * rows["score_high"].max()
    for row in other[near & (other["rank"] > TOP)].itertuples():
        axes.scatter(row.score_mean, -row.published_rank, **AT_OTHER_RATE, zorder=5)
        text = f"{row.rank} at {row.learning_rate}"
        _annotate(axes, text, row.score_mean, -row.published_rank, color=FAINT)


def _annotate(axes: Axes, text: str, x: float, y: float, **style: Any) -> None:
    """Write a text to the right of a point."""
    how: dict[str, Any] = {"textcoords": "offset points", "va": "center", "size": 9, **style}
    axes.annotate(text, (x, y), (5, 0), **how)


def _names(axes: Axes, models: pd.DataFrame, y: pd.Series) -> None:
    """At the left edge: each model's published rank and name."""
    axes.set_ylim(-TOP - 0.6, -0.4)
    names = models["published_rank"].astype(str) + "  " + models["model_name"]
    axes.set_yticks(y.tolist(), names.tolist(), color=INK, size=9)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)


TEMPLATE = "section.html.j2"


def section(out: Path) -> Markup:
    """The section's HTML, from the folder that stage `study2022` wrote."""
    if not (out / "summary.json").is_file():
        raise PipelineError(f"{out}: not a folder of stage study2022: run `dvc repro study2022`")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    own = pd.read_csv(out / "own_rate.csv").join(
        _places(pd.read_csv(out / "models.csv")), on=["dataset", "model_name"]
    )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(TEMPLATE).render(
        summary=summary,
        titles=TITLES,
        rates=LEARNING_RATES,
        top=TOP,
        figure=_inline(out / "published_against_runs.svg"),
        boards={
            dataset: _rows(part[(part["rank"] <= TOP) | (part["published_rank"] <= TOP)])
            for dataset, part in own.groupby("dataset")
        },
        survivors=_rows(pd.read_csv(out / "survivors.csv")),
        correlations=_rows(pd.read_csv(out / "correlations.csv")),
    )
    return Markup(text)


def _places(models: pd.DataFrame) -> pd.DataFrame:
    """By dataset and model the place at each learning rate, such as "3 of 86", in the columns
    `at_first` and `at_second`.
    """
    of = models.groupby(["dataset", "learning_rate"])["rank"].transform("size")
    places = models.assign(place=models["rank"].astype(str) + " of " + of.astype(str))
    table = places.pivot(index=["dataset", "model_name"], columns="learning_rate", values="place")
    table = table.reindex(columns=list(LEARNING_RATES))
    return table.set_axis(["at_first", "at_second"], axis=1)


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows with None for what is absent."""
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]


def _inline(path: Path) -> Markup:
    """One of our SVG files for use within HTML, as wide as the page."""
    svg = path.read_text(encoding="utf-8")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, _, rest = svg.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return Markup(f'{head} role="img" aria-labelledby="study2022-figure">{rest}')
