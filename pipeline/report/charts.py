"""The report's interactive charts, drawn with plotly: errors, loss curves, rank correlations.

Names are placed by the rules of all figures (`figures/labels.py`), for a wide and a narrow window;
those without room are shown on hover.
"""

import html
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from pipeline.core.command import percent
from pipeline.figures.labels import SCALE, along_steps, leader, name_boxes
from pipeline.figures.look import (
    COLOURS,
    OTHERS,
    SYMBOLS,
    legend_families,
    name_of,
    spans_decades,
    style,
)
from pipeline.report.tables import MOST_FAMILIES
from pipeline.report.words import fit_time, memory
from pipeline.statistics.answer import best_row
from pipeline.statistics.fit_times import AT_MOST, time_axis

WIDE, NARROW = (860, 400), (300, 330)  # pixels of the plot's area in a full page and on a phone
LETTERS = {WIDE: 7.0, NARROW: 6.0}  # pixels per letter of the page's fonts, 13 and 11 pixels high
MOST_NAMED = 12  # models that are all named in the chart; of more only some, others on hover
NAMED_OF_MANY = 3  # the best few
FRONT_COLOUR = "#8a8a8a"  # seen on light and dark
BARS_OF_MANY = "rgba(138, 138, 138, 0.45)"  # where bars in the families' colours hide the marks
MARGIN = 0.06  # of the axis, at both ends
MARGIN_BELOW = 0.16  # of the errors' axis: the lowest errors are named, and below them is room
STEPS = 60  # points along a line that no name may cross
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")  # of models of one family
SPREAD = 0.7  # of a row, over which the datasets' marks are spread
MARK, LEAST_ROW, AXIS, LEGEND = 9, 32, 130, 20  # pixels: apart, per predictor, below, per entry


def error_against_time(board: pd.DataFrame) -> Figure:
    """Mean error against median steady fit time of one dataset's models of one recipe.

    Models whose times do not count are hollow, at the longest that their time can be (AT_MOST).
    """
    bounded = board["steady_fit_seconds_median"].isna()
    known = board["steady_fit_seconds_median"].astype(float)
    shown = known.fillna(board[AT_MOST]) if AT_MOST in board else known
    rows = board.assign(steady_fit_seconds_median=shown, hollow=bounded)
    rows = rows.dropna(subset=["error_rate_mean", "steady_fit_seconds_median"])
    front = rows[rows["on_front"].fillna(False).astype(bool)].sort_values(
        "steady_fit_seconds_median"
    )
    corners = front[["steady_fit_seconds_median", "error_rate_mean"]].to_numpy(dtype=float)
    corners = corners * (1, 100)
    best = best_row(board)["model"]
    line = along_steps(corners, STEPS, logarithmic=False)
    made = _error_against(rows, "steady_fit_seconds_median", line, best)
    made.add_scatter(
        x=corners[:, 0].astype("float32"),
        y=corners[:, 1].astype("float32"),
        mode="lines",
        line={"shape": "hv", "width": 1.5, "color": FRONT_COLOUR},
        name="front",
        showlegend=len(corners) > 1,  # of one model there is no line
        hoverinfo="skip",
        legendrank=3000,
    )
    seconds = rows["steady_fit_seconds_median"]
    decades = float(np.log10(seconds.max() / seconds.min()))
    meta = {**made.layout.meta, "decades": decades}
    made.update_layout(xaxis_title=time_axis(board), meta=meta)
    return made


def error_against_imagenet(board: pd.DataFrame) -> Figure:
    """Mean error against ImageNet top-1 of one dataset's models of one recipe."""
    rows = board.dropna(subset=["error_rate_mean", "imagenet_top1"])
    made = _error_against(rows, "imagenet_top1", np.empty((0, 2)), best_row(board)["model"])
    made.update_layout(xaxis_title="ImageNet top-1 (%)")
    return made


def as_json(figures: Sequence[Figure]) -> list[str]:
    """Each figure as JSON that cannot end the `<script>` around it."""
    return [in_script(figure.to_json()) for figure in figures]


def plain(text: object) -> str:
    """`text` escaped for plotly, which reads HTML tags."""
    return html.escape(str(text), quote=False)


def in_script(json: str) -> str:
    """The same JSON, escaped so that it cannot end the `<script>` around it."""
    return json.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def is_logarithmic(figure: Figure) -> bool:
    return bool(figure.layout.xaxis.type == "log")


def _error_against(rows: pd.DataFrame, x: str, line: np.ndarray, best: str) -> Figure:
    """A mark with its bar per row; `line` [n, 2] holds points that no name may lie across.

    The model `best` is the recommended one.
    """
    error = 100 * rows["error_rate_mean"]
    families = legend_families(rows["family"], MOST_FAMILIES)
    marks = pd.DataFrame(
        {
            "family": rows["family"],
            "trace": rows["family"].where(rows["family"].isin(families), ""),
            "x": rows[x],
            "y": error,
            "bar": 100 * rows["error_rate_high"] - error,
            "bar_below": error - 100 * rows["error_rate_low"],
            "hollow": rows.get("hollow", False),
            "hover": [_hover(row) for row in rows.itertuples()],
            "model": rows["model"],
            "named": _named(rows),
            "quickest": _quickest(rows),
            "best": rows["model"] == best,
        }
    )
    log = x == "steady_fit_seconds_median" and spans_decades(rows[x])
    made = Figure()
    if log:
        made.update_layout(xaxis_type="log")
    names = _place_names(made, marks, line, log)
    _add_families(made, marks, families)
    _add_rings(made, marks[rows["tied"].fillna(False).astype(bool)])
    made.update_layout(yaxis_title="error rate (%)", showlegend=True, meta={"names": names})
    return made


def _quickest(rows: pd.DataFrame) -> pd.Series:
    """Which model is the quickest that may be the best, of those whose time counts."""
    counts = ~rows["hollow"] if "hollow" in rows else True
    tied = rows["tied"].fillna(False).astype(bool)
    seconds = rows["steady_fit_seconds_median"].where(tied & counts)
    return (seconds == seconds.min()) & ~seconds.duplicated()


def _named(rows: pd.DataFrame) -> pd.Series:
    """Which models are named in the chart: all, or of many those that an answer speaks of.

    These are the best few, those on the front, and the quickest that may be the best.
    """
    if len(rows) <= MOST_NAMED:
        return pd.Series(True, rows.index)
    best = rows["error_rate_mean"].rank(method="first") <= NAMED_OF_MANY
    return best | _quickest(rows) | rows["on_front"].fillna(False).astype(bool)


def _place_names(
    made: Figure, marks: pd.DataFrame, line: np.ndarray, log: bool
) -> dict[str, list[dict[str, Any]]]:
    """Fix the axes' ranges; the names for charts.js to write, in a wide and in a narrow window.

    `at` is the mark, `by` how far the name's middle lies from it, in pixels to the right and down.
    """
    low = marks["y"] - marks["bar_below"].fillna(0)
    high = marks["y"] + marks["bar"].fillna(0)
    share = np.linspace(0, 1, STEPS)[:, None]
    bars = low.to_numpy() + share * (high - low).to_numpy()
    across = np.stack([marks["x"].to_numpy() + 0 * share, bars], -1).reshape(-1, 2)
    points = marks[["x", "y"]].to_numpy(dtype=float)
    scale = np.log10 if log else np.asarray
    ends = [_range(scale(points[:, 0])), _range(np.append(low, high), MARGIN_BELOW)]
    ends[1][0] = max(ends[1][0], -MARGIN * ends[1][1])  # no error is below 0
    made.update_layout(xaxis_range=ends[0], yaxis_range=ends[1])

    def normed(each: np.ndarray) -> np.ndarray:
        moved = [(scale(each[:, 0]), ends[0]), (each[:, 1], ends[1])]
        return np.stack([(value - start) / (end - start) for value, (start, end) in moved], -1)

    lines, crossed = normed(line), normed(across)
    names = {}
    for window, area in (("wide", WIDE), ("narrow", NARROW)):
        tries = []
        for first in ("best", "quickest"):  # what chooses first may leave no room for the other
            order = marks.sort_values([first, "y"], ascending=[False, True])
            at = normed(order[["x", "y"]].to_numpy(dtype=float))
            texts = order["model"].where(order["named"], "").tolist()
            boxes = name_boxes(at, texts, lines, crossed, area, LETTERS[area])
            placed = zip(order.to_dict("records"), at * area, boxes, strict=True)
            tries.append(
                [_name(mark, point, box) for mark, point, box in placed if box is not None]
            )
        names[window] = max(tries, key=_worth)
    return names


def _worth(names: list[dict[str, Any]]) -> tuple[bool, int]:
    """Whether the recommended model is among these names, and how many they are."""
    return any(name["text"].startswith("<b>") for name in names), len(names)


def _name(mark: dict[Any, Any], point: np.ndarray, box: np.ndarray) -> dict[str, Any]:
    """One name as charts.js writes it; the recommended model's is bold."""
    text = plain(mark["model"])
    right, up = (box.mean(axis=0) - point).round(1).tolist()
    return {
        "text": f"<b>{text}</b>" if mark["best"] else text,
        "trace": plain(mark["trace"]),
        "at": [mark["x"], mark["y"]],
        "by": [right, -up],
        "leader": len(leader(point, box, SCALE)) > 0,
    }


def _range(values: np.ndarray, below: float = MARGIN) -> list[float]:
    low, high = float(values.min()), float(values.max())
    span = (high - low) or 1 / MARGIN
    return [low - below * span, high + MARGIN * span]


def _add_families(made: Figure, marks: pd.DataFrame, families: list[str]) -> None:
    """A trace per family of the marks; small families share a grey one."""
    numbers = dict.fromkeys(("x", "y", "bar", "bar_below"), "float32")  # half the size
    marks = marks.astype(numbers)
    many = len(marks) > MOST_NAMED
    for family in ["", *families]:  # the grey ones beneath, but last in the legend
        here = marks[marks["trace"] == family]
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
                "color": BARS_OF_MANY if many else look.colour,
            },
            mode="markers",
            meta={"trace": plain(family)},
            cliponaxis=False,
            name=plain(family) if family else f"{here['family'].nunique()} more families",
            legendrank=1000 if family else 2000,
            marker={
                "color": look.colour,
                "symbol": [look.symbol + "-open" * hollow for hollow in here["hollow"]],
                "size": 11,
                "opacity": 0.85,
                "line": {"width": 0},
            },
            hovertext=here["hover"],
            hovertemplate="%{hovertext}<extra></extra>",
        )


def _add_rings(made: Figure, tied: pd.DataFrame) -> None:
    """A ring around each model that may be the best, where there are several."""
    if len(tied) < 2:
        return
    made.add_scatter(
        x=tied["x"].astype("float32"),
        y=tied["y"].astype("float32"),
        mode="markers",
        name="may be best",
        marker={"symbol": "circle-open", "size": 19, "line": {"width": 1.5}},
        meta={"ring": True},
        cliponaxis=False,
        hoverinfo="skip",
        legendrank=2900,
    )


def _hover(row: Any) -> str:
    interval = ""
    if not pd.isna(row.error_rate_low):
        interval = f" [{percent(row.error_rate_low)}, {percent(row.error_rate_high)}]"
    sure = "" if pd.isna(row.p_best) else f", P(best) {row.p_best:.2f}"
    lines = [
        f"<b>{plain(row.model)}</b>",
        f"error {percent(row.error_rate_mean)}{interval}",
        f"n = {row.n}{sure}",
        _cost(row),
        _published(row),
    ]
    return "<br>".join(line for line in lines if line)


def _cost(row: Any) -> str:
    score = "" if pd.isna(row.score_mean) else f", score {row.score_mean:.2f}"
    time = plain(fit_time(row))
    lines = [f"steady fit time {time}{score}", memory(row)]
    return "<br>".join(line for line in lines if line)


def _published(row: Any) -> str:
    if pd.isna(row.imagenet_top1):
        return ""
    size = row.imagenet_img_size
    return (
        f"ImageNet top-1 {row.imagenet_top1:.2f} % at {size:.0f} pixels, "
        f"{row.params_m:,.1f} M parameters"
    )


def loss_curves(history: pd.DataFrame, models: Sequence[str]) -> Figure:
    """Validation loss over epochs of these models' runs of one dataset and recipe.

    A trace per model: its runs lie one after the other, a null between them breaks the line. Few
    models have a colour each; of more, those of a family share its colour, with dashes and marks.
    """
    made = Figure()
    models = [model for model in models if (history["model"] == model).any()]
    of_family: Counter[str] = Counter()
    few = len(models) <= len(COLOURS)
    for model in models:
        rows = history[history["model"] == model]
        ends = np.flatnonzero(np.diff(rows["seed"])) + 1
        family = str(rows["family"].iloc[0])
        number = sorted(models).index(model) if few else of_family[family]
        made.add_scatter(
            x=np.insert(rows["epoch"].to_numpy(dtype="float32"), ends, np.nan),
            y=np.insert(rows["valid_loss"].to_numpy(dtype="float32"), ends, np.nan),
            customdata=np.insert(rows["seed"].to_numpy(dtype="float64"), ends, np.nan),
            mode="lines+markers",
            name=plain(model),
            line={
                "color": COLOURS[number] if few else style(family).colour,
                "dash": DASHES[0 if few else number % len(DASHES)],
            },
            marker={"symbol": SYMBOLS[number % len(SYMBOLS)]},
            hovertemplate=f"{plain(model)}<br>seed %{{customdata}}, epoch %{{x}}: %{{y:.4f}}"
            "<extra></extra>",
        )
        of_family[family] += 1
    made.update_layout(xaxis_title="epoch", yaxis_title="validation loss", showlegend=True)
    made.update_xaxes(dtick=1 if history["epoch"].nunique() < 15 else None)
    return made


def rank_correlations(correlations: pd.DataFrame, outcome: str) -> Figure:
    """Spearman's rho of every predictor with `outcome`, a trace per dataset and recipe."""
    known = correlations[correlations["outcome"] == outcome].dropna(subset="spearman")
    predictors = list(dict.fromkeys(known["predictor"]))
    several = known["recipe"].nunique() > 1
    groups = list(known.groupby(["dataset", "recipe"], sort=False))
    made = Figure()
    for number, ((dataset, recipe), rows) in enumerate(groups):
        offset = SPREAD * ((number + 0.5) / len(groups) - 0.5)
        place = rows["predictor"].map(predictors.index) + offset
        made.add_scatter(
            x=rows["spearman"],
            y=place,
            error_x={
                "array": rows["spearman_high"] - rows["spearman"],
                "arrayminus": rows["spearman"] - rows["spearman_low"],
                "width": 0,
            },
            mode="markers",
            name=plain(f"{dataset}, {recipe}" if several else dataset),
            marker={
                "color": COLOURS[number % len(COLOURS)],
                "symbol": SYMBOLS[number % len(SYMBOLS)],
                "size": 10,
            },
            hovertext=[_correlation_hover(row) for row in rows.to_dict("records")],
            hovertemplate="%{hovertext}<extra></extra>",
        )
    names = [plain(name_of(name)) for name in predictors]
    made.update_layout(
        xaxis={"title": "Spearman's ρ", "range": [-1.05, 1.05], "zeroline": True},
        yaxis={"tickvals": list(range(len(names))), "ticktext": names},
        showlegend=True,
    )
    made.update_yaxes(range=[len(names) - 0.5, -0.5], showgrid=False)
    return made


def height_of(correlations: pd.DataFrame, outcome: str) -> int:
    """Pixels that the chart's rows, axis and legend need."""
    known = correlations[correlations["outcome"] == outcome].dropna(subset="spearman")
    groups = known.groupby(["dataset", "recipe"]).ngroups
    row = max(LEAST_ROW, round(MARK * groups / SPREAD))
    return AXIS + LEGEND * groups + row * known["predictor"].nunique()


def _correlation_hover(row: dict[Any, Any]) -> str:
    interval = "" if pd.isna(row["spearman_low"]) else " [{spearman_low:.2f}, {spearman_high:.2f}]"
    shown = ("ρ {spearman:.2f}" + interval + ", n = {n}").format(**row).replace("-", "−")
    predictor = name_of(row["predictor"])
    return (
        f"<b>{plain(row['dataset'])}</b>, {plain(row['recipe'])}<br>{plain(predictor)}<br>{shown}"
    )
