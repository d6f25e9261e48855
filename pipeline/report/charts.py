"""The report's interactive charts, drawn with plotly: errors, loss curves, rank correlations.

Names are placed next to their marks where there is room; the others are shown on hover.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from plotly.graph_objects import Figure

from pipeline.core.command import percent
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
from pipeline.report.words import fit_time, in_script, memory, plain
from pipeline.statistics.bounds import BOUND

WIDTH, HEIGHT = 860, 400  # pixels of the plot's area in a full page
LETTER, LINE = 7.6, 17  # pixels of the page's font, 13 pixels high
NAME_GAP = 8  # pixels between a mark's centre and its name
PLACES = {  # plotly's names, the best first: where the name's centre lies, x to the right, y up
    "middle right": (1, 0),
    "top right": (1, 1),
    "bottom right": (1, -1),
    "middle left": (-1, 0),
    "top left": (-1, 1),
    "bottom left": (-1, -1),
    "top center": (0, 1),
    "bottom center": (0, -1),
}
MOST_NAMED = 12  # models named in the chart; of more, the best few and the front, others on hover
NAMED_OF_MANY = 3  # the best few
NARROW, SMALL_LETTER = (300, 400), 6.5  # a phone's area and font, 11 pixels high
FRONT_COLOUR = "#8a8a8a"  # seen on light and dark
BARS_OF_MANY = "rgba(138, 138, 138, 0.45)"  # where bars in the families' colours hide the marks
MARGIN = 0.06  # of the axis, at both ends
STEPS = 60  # points along a line that no name may cross
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")  # of models of one family
SPREAD = 0.7  # of a row, over which the datasets' marks are spread
MARK, LEAST_ROW, AXIS, LEGEND = 9, 32, 130, 20  # pixels: apart, per predictor, below, per entry


def text_positions(
    points: np.ndarray,
    texts: Sequence[str],
    lines: np.ndarray,
    bars: np.ndarray,
    area: tuple[int, int] = (WIDTH, HEIGHT),
    letter: float = LETTER,
) -> list[str]:
    """Each text's place next to its point [n, 2], coordinates from 0 to 1; "" where no room is.

    No name lies across another, a point, or one of the points along `lines` [m, 2]; across points
    along `bars` [k, 2] only where there is no better place.
    """
    size = np.array(area)
    at, taken = points * size, np.empty((0, 2, 2))
    hard = np.vstack([at, lines * size])
    soft = np.vstack([hard, bars * size])
    found = []
    for point, text in zip(at, texts, strict=True):
        boxes = _boxes(point, np.array([len(text) * letter, LINE]) / 2)
        free = [place for place, box in boxes.items() if _is_free(box, soft, taken, size)]
        free += [place for place, box in boxes.items() if _is_free(box, hard, taken, size)]
        if area == NARROW:  # it has no room to keep off every line
            free += [place for place, box in boxes.items() if _is_free(box, at, taken, size)]
        free = free if text else []
        found.append(free[0] if free else "")
        if free:
            taken = np.vstack([taken, boxes[free[0]][None]])
    return found


def _boxes(point: np.ndarray, half: np.ndarray) -> dict[str, np.ndarray]:
    """The box [[left, low], [right, high]] of a text of this half size at every place."""
    centres = {name: point + np.array(way) * (half + NAME_GAP) for name, way in PLACES.items()}
    return {name: np.array([centre - half, centre + half]) for name, centre in centres.items()}


def _is_free(box: np.ndarray, obstacles: np.ndarray, taken: np.ndarray, size: np.ndarray) -> bool:
    inside = (box[0] >= 0).all() and (box[1] <= size).all()
    hides = ((obstacles > box[0]) & (obstacles < box[1])).all(1).any()
    overlaps = ((taken[:, 0] < box[1]) & (taken[:, 1] > box[0])).all(1).any()
    return bool(inside and not hides and not overlaps)


def error_against_time(board: pd.DataFrame) -> Figure:
    """Mean error against median steady fit time of one dataset's models of one recipe.

    Models whose times do not count are hollow, at the longest that their time can be (BOUND).
    """
    bounded = board["steady_fit_seconds_median"].isna()
    known = board["steady_fit_seconds_median"].astype(float)
    shown = known.fillna(board[BOUND]) if BOUND in board else known
    rows = board.assign(steady_fit_seconds_median=shown, hollow=bounded)
    rows = rows.dropna(subset=["error_rate_mean", "steady_fit_seconds_median"])
    front = rows[rows["on_front"].fillna(False).astype(bool)].sort_values(
        "steady_fit_seconds_median"
    )
    corners = front[["steady_fit_seconds_median", "error_rate_mean"]].to_numpy(dtype=float) * [
        1,
        100,
    ]
    made = _error_against(rows, "steady_fit_seconds_median", _steps(corners))
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
    made.update_layout(xaxis_title="steady fit time (s)", meta={"decades": decades})
    return made


def error_against_imagenet(board: pd.DataFrame) -> Figure:
    """Mean error against ImageNet top-1 of one dataset's models of one recipe."""
    rows = board.dropna(subset=["error_rate_mean", "imagenet_top1"])
    made = _error_against(rows, "imagenet_top1", np.empty((0, 2)))
    made.update_layout(xaxis_title="ImageNet top-1 (%)")
    return made


def as_json(figures: Sequence[Figure]) -> list[str]:
    """Each figure as JSON that cannot end the `<script>` around it."""
    return [in_script(figure.to_json()) for figure in figures]


def is_logarithmic(figure: Figure) -> bool:
    return bool(figure.layout.xaxis.type == "log")


def _error_against(rows: pd.DataFrame, x: str, line: np.ndarray) -> Figure:
    """A mark with its bar per row; `line` [n, 2] holds points that no name may lie across."""
    error = 100 * rows["error_rate_mean"]
    marks = pd.DataFrame(
        {
            "family": rows["family"],
            "x": rows[x],
            "y": error,
            "bar": 100 * rows["error_rate_high"] - error,
            "bar_below": error - 100 * rows["error_rate_low"],
            "hollow": rows.get("hollow", False),
            "hover": [_hover(row) for row in rows.itertuples()],
            "name": "",
            "place": "middle right",
        }
    )
    log = x == "steady_fit_seconds_median" and spans_decades(rows[x])
    made = Figure()
    if log:
        made.update_layout(xaxis_type="log")
    marks["narrow"], marks["narrow_place"] = "", "middle right"
    names = rows["model"].where(_named(rows), "")
    marks["name"] = names.map(plain)
    _place_names(made, marks, names.tolist(), line, log)
    _add_families(made, marks)
    made.update_layout(yaxis_title="error rate (%)", showlegend=True)
    return made


def _named(rows: pd.DataFrame) -> pd.Series:
    """Which models are named in the chart: all, or of many the best few and those on the front."""
    if len(rows) <= MOST_NAMED:
        return pd.Series(True, rows.index)
    best = rows["error_rate_mean"].rank(method="first") <= NAMED_OF_MANY
    return best | rows["on_front"].fillna(False).astype(bool)


def _place_names(
    made: Figure, marks: pd.DataFrame, names: list[str], line: np.ndarray, log: bool
) -> None:
    """Fix the axes' ranges, and give every mark its name's place, or no name where no room is."""
    low = marks["y"] - marks["bar_below"].fillna(0)
    high = marks["y"] + marks["bar"].fillna(0)
    share = np.linspace(0, 1, STEPS)[:, None]
    bars = low.to_numpy() + share * (high - low).to_numpy()
    across = np.stack([marks["x"].to_numpy() + 0 * share, bars], -1).reshape(-1, 2)
    points = marks[["x", "y"]].to_numpy(dtype=float)
    scale = np.log10 if log else np.asarray
    ends = [_range(scale(points[:, 0])), _range(np.append(low, high))]
    made.update_layout(xaxis_range=ends[0], yaxis_range=ends[1])

    def normed(each: np.ndarray) -> np.ndarray:
        moved = [(scale(each[:, 0]), ends[0]), (each[:, 1], ends[1])]
        return np.stack([(value - start) / (end - start) for value, (start, end) in moved], -1)

    at, lines, crossed = normed(points), normed(line), normed(across)
    narrow = text_positions(at, names, lines, crossed, NARROW, SMALL_LETTER)
    shown = marks["name"].tolist()
    for text, where, places in (
        ("name", "place", text_positions(at, names, lines, crossed)),
        ("narrow", "narrow_place", narrow),
    ):
        marks[text] = [name if place else "" for name, place in zip(shown, places, strict=True)]
        marks[where] = [place or "middle right" for place in places]


def _range(values: np.ndarray) -> list[float]:
    low, high = float(values.min()), float(values.max())
    margin = MARGIN * (high - low) or 1.0
    return [low - margin, high + margin]


def _steps(corners: np.ndarray) -> np.ndarray:
    """Points along the front through these corners [n, 2], from left to right."""
    share = np.linspace(0, 1, STEPS)[:, None]
    x, y = corners[:, 0], corners[:, 1]
    across = np.stack([x[:-1] + share * np.diff(x), y[:-1] + 0 * share], -1)
    down = np.stack([x[1:] + 0 * share, y[:-1] + share * np.diff(y)], -1)
    return np.vstack([across.reshape(-1, 2), down.reshape(-1, 2)])


def _add_families(made: Figure, marks: pd.DataFrame) -> None:
    """A trace per family of the marks; small families share a grey one."""
    numbers = dict.fromkeys(("x", "y", "bar", "bar_below"), "float32")  # half the size
    marks = marks.astype(numbers)
    families = legend_families(marks["family"], MOST_FAMILIES)
    shown = marks["family"].where(marks["family"].isin(families), "")
    named = bool((marks[["name", "narrow"]] != "").any(axis=None))
    many = len(marks) > MOST_NAMED
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
                "color": BARS_OF_MANY if many else look.colour,
            },
            mode="markers+text" if named else "markers",
            text=here["name"] if named else None,
            textposition=here["place"] if named else None,
            meta={"text": here["narrow"].tolist(), "place": here["narrow_place"].tolist()},
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
