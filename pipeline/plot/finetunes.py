"""Figures of the study's fine-tunes: errors, what predicts them, and what a recipe changes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.figures.labels import NO_POINTS, along_steps, place_labels
from pipeline.figures.look import (
    COLOURS,
    FAINT,
    INK,
    TICKS_OF_HALF,
    accuracy_source,
    family_handles,
    figure,
    legend_families,
    name_of,
    plain_log,
    scatter_families,
    spans_decades,
    style,
)
from pipeline.statistics.fit_times import AT_MOST

COLUMNS = 2
PANEL_INCHES = 4.0
MOST_FAMILIES = 24
NAMED = 15  # models per panel: the front, then the best; where there is no room, none
FEW = 6  # models whose names need room at the sides
LINES_OF_MANY = "#c4c4c4"
UNITS = {"single": "error rate (%)", "multi": "error rate per image and tag (%)"}
BARS = "95 % interval of the error, over seeds and images where models have repeats"
BASELINE = " Dotted: the best linear head on frozen features."
FRONT = " Dashed: the front, no other model is as quick and as good."


def error_against_fit_time(board: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """A large mark per model, mean error at median time, and a small one per run."""
    devices = sorted(board["device"].dropna().unique())
    uncounted = int(runs["not_timed"].notna().sum())
    left_out = f" Runs whose time does not count: {uncounted}." if uncounted else ""
    hollow = " Hollow: none counts, it is at most this." if board[AT_MOST].notna().any() else ""
    on_fronts = _on_front(board).groupby(["dataset", "recipe"]).size()
    front = FRONT if (on_fronts > 1).any() else ""  # of one model there is no line
    baseline = BASELINE if board["baseline_error"].notna().any() else ""
    timed = f" Timed on: {'; '.join(devices)}." if devices else ""
    ok = runs[(runs["status"] == "ok") & runs["not_timed"].isna()]
    small = "; small, tied to it: its runs" if len(ok) else ""
    made, panels = _panels(
        "Fine-tune error against steady fit time",
        f"Large: a model's mean error and median steady fit time; bars: {BARS}{small}."
        f"{front}{baseline}{timed}{left_out}{hollow}",
        board,
    )
    families = legend_families(board["family"], MOST_FAMILIES)
    drawn = []
    for axes, part in panels:
        here = ok.merge(part[["dataset", "recipe", "model", "device"]], validate="many_to_one")
        here["error_percent"] = 100 * here["error_rate"]
        _tie_to_mean(axes, here.merge(part, on="model", validate="many_to_one"))
        scatter_families(axes, here, families, "steady_fit_seconds", "error_percent", 12)
        _draw_means(axes, part, "steady_fit_seconds_median")
        _draw_means(axes, part, AT_MOST, hollow=True)
        if part["baseline_error"].notna().any():
            axes.axhline(100 * part["baseline_error"].min(), color=FAINT, ls=":", lw=1.2, zorder=0)
        axes.set_xlabel("steady fit time (s)")
        if spans_decades(pd.concat([here["steady_fit_seconds"], part[AT_MOST].dropna()])):
            axes.set_xscale("log")
            plain_log(axes.xaxis, TICKS_OF_HALF)
        _end_at_zero(axes)
        at = here[["steady_fit_seconds", "error_percent"]].to_numpy(dtype=float)
        drawn.append((axes, part, at))
    for axes, part, each in drawn:  # names last: they freeze the layout of all panels
        line = _draw_front(axes, part)
        known = part["steady_fit_seconds_median"].astype(float).fillna(part[AT_MOST])
        _name_best(axes, part.assign(seconds=known), "seconds", line, each)
    return made


def error_against_imagenet(
    board: pd.DataFrame, correlations: pd.DataFrame, published: pd.DataFrame
) -> Figure:
    """Error against ImageNet accuracy, a panel per dataset and recipe."""
    made, panels = _panels(
        "Fine-tune error against ImageNet accuracy",
        f"{accuracy_source(published)}. Bars: {BARS}. ρ: Spearman's rank correlation with a 95 % "
        "bootstrap interval over models.",
        board,
    )
    wanted = correlations[
        (correlations["outcome"] == "error_rate_mean")
        & (correlations["predictor"] == "imagenet_top1")
    ].set_index(["dataset", "recipe"])
    for axes, part in panels:
        _draw_means(axes, part, "imagenet_top1")
        _end_at_zero(axes)
        axes.set_xlabel("ImageNet top-1 (%)")
        rho = _rho(wanted.loc[(part["dataset"].iloc[0], part["recipe"].iloc[0])])
        axes.text(0.99, 0.99, rho, ha="right", va="top", size=8, transform=axes.transAxes)
    for axes, part in panels:
        _name_best(axes, part, "imagenet_top1")
    return made


def _figure(
    title: str, note: str, height_inches: float, shape: tuple[int, int], n: int
) -> tuple[Figure, list[Axes]]:
    """A figure of `n` panels in so many rows and columns; the places left over stay empty."""
    made, panels = figure(title, note, height_inches, *shape)
    for unused in panels[n:]:
        unused.set_axis_off()
    return made, panels[:n]


def _panels(
    title: str, note: str, board: pd.DataFrame
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A panel per dataset and recipe, and those that have something to draw, with their rows."""
    parts = [part for _, part in board.groupby(["dataset", "recipe"], sort=False)]
    columns = min(COLUMNS, len(parts))
    rows = -(-len(parts) // columns)
    made, panels = _figure(title, note, 0.9 + PANEL_INCHES * rows, (rows, columns), len(parts))
    several = board["recipe"].nunique() > 1
    drawn = []
    for axes, part in zip(panels, parts, strict=True):
        axes.set_title(_panel_title(part, several))
        axes.set_ylabel(UNITS.get(str(part["data_kind"].iloc[0]), UNITS["single"]))
        ranked = part[part["n"] > 0]
        if ranked.empty:
            axes.set(xticks=[], yticks=[])
            axes.text(0.5, 0.5, "no finished run", ha="center", transform=axes.transAxes)
        else:
            drawn.append((axes, ranked))
    families = legend_families(board["family"], MOST_FAMILIES)
    if len(handles := family_handles(board, families)) > 1:
        made.legend(handles=handles, loc="outside right upper")
    return made, drawn


def _panel_title(part: pd.DataFrame, several_recipes: bool) -> str:
    first = part.iloc[0]
    name = f"{first['dataset']}, {first['recipe']}" if several_recipes else str(first["dataset"])
    finished = part[part["n"] > 0]
    if finished.empty:
        return name
    counts = sorted(finished["n"].unique())
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    title = f"{name}\n{len(finished)} models × {seeds} seeds"
    if pd.isna(first["chance_error_rate"]):
        return title
    chance = 100 * first["chance_error_rate"]
    return f"{title}\n{first['n_valid']:,} validation images, chance {chance:.1f} %"


def _tie_to_mean(axes: Axes, runs: pd.DataFrame) -> None:
    """A thin line from every run to its model's large mark."""
    gap = np.full(len(runs), np.nan)
    x = np.stack([runs["steady_fit_seconds"], runs["steady_fit_seconds_median"], gap], -1)
    y = np.stack([runs["error_percent"], 100 * runs["error_rate_mean"], gap], -1)
    axes.plot(x.ravel(), y.ravel(), color=FAINT, linewidth=0.4, alpha=0.6)


def _draw_means(axes: Axes, part: pd.DataFrame, x: str, hollow: bool = False) -> None:
    for family, few in part.dropna(subset=x).groupby("family"):
        look = style(str(family))
        axes.errorbar(
            few[x],
            100 * few["error_rate_mean"],
            _reach(few).T,
            ls="",
            marker=look.marker,
            ms=8,
            color=look.colour,
            mfc="white" if hollow else look.colour,
            mec=look.colour if hollow else "white",
            mew=1.4 if hollow else 0.6,
            elinewidth=0.9,
            ecolor=FAINT if len(part) <= NAMED else LINES_OF_MANY,
        )
    axes.margins(0.3 if len(part) <= FEW else 0.12, 0.14)


def _end_at_zero(axes: Axes) -> None:
    """Leave hardly more than a mark's room below an error of 0; once everything is drawn."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -0.05 * high), high)


def _draw_front(axes: Axes, part: pd.DataFrame) -> np.ndarray:
    """A line in steps along the front; returns points on it, so that no label is written across."""
    front = _on_front(part).sort_values("steady_fit_seconds_median")
    columns = front[["steady_fit_seconds_median", "error_rate_mean"]]
    corners: np.ndarray = columns.to_numpy(dtype=float) * [1, 100]
    axes.plot(*corners.T, drawstyle="steps-post", color=INK, lw=1.3, ls="--", zorder=4)
    return along_steps(corners, 80)


def _on_front(part: pd.DataFrame) -> pd.DataFrame:
    return part[part["on_front"].fillna(False).astype(bool)]


def _name_best(
    axes: Axes,
    part: pd.DataFrame,
    x: str,
    front: np.ndarray = NO_POINTS,
    runs: np.ndarray = NO_POINTS,
) -> None:
    """Name the models on the front and the best, where there is room; none across a mark or it."""
    drawn = part.dropna(subset=x)
    best = drawn.nsmallest(NAMED, "error_rate_mean")
    if len(front):
        best = pd.concat([_on_front(best), best]).drop_duplicates("model")
    if len(best):
        points, marks = _points(best, x), _points(drawn, x)
        hard, soft = np.vstack([marks, front]), np.vstack([_bars(drawn, x), runs])
        place_labels(axes, points, best["model"].tolist(), hard, soft)


def _points(part: pd.DataFrame, x: str) -> np.ndarray:
    return part[[x, "error_rate_mean"]].to_numpy(dtype=float) * [1, 100]


def _bars(part: pd.DataFrame, x: str) -> np.ndarray:
    """Points along every model's mark and bar, so that no label is written across it."""
    share = np.linspace(0, 1, 21)[:, None]
    error, reach = 100 * part["error_rate_mean"].to_numpy(dtype=float), _reach(part)
    ends = np.vstack([error - share * reach[:, 0], error + share * reach[:, 1]])
    return np.stack([part[x].to_numpy(dtype=float) + 0 * ends, ends], -1).reshape(-1, 2)


def _reach(part: pd.DataFrame) -> np.ndarray:
    """How far the interval reaches below and above the mean [n, 2], in percent; 0 for none."""
    mean = part["error_rate_mean"]
    ends = [mean - part["error_rate_low"], part["error_rate_high"] - mean]
    return 100 * np.stack([each.fillna(0).to_numpy(dtype=float).clip(0) for each in ends], -1)


def _rho(row: pd.Series) -> str:
    if pd.isna(row["spearman"]):
        return f"no ρ: {row['reason']}"
    if pd.isna(row["spearman_low"]):
        return f"ρ = {row['spearman']:.2f}, n = {row['n']} (too few for an interval)"
    low, high = row["spearman_low"], row["spearman_high"]
    return f"ρ = {row['spearman']:.2f} [{low:.2f}, {high:.2f}], n = {row['n']}"


EFFECT_COLUMNS = 2
ENDS = ["spearman", "spearman_low", "spearman_high"]
MARKERS = "osD^v"  # of outcomes, as their colours
APART = 0.28  # rows, between the outcomes of one predictor
EFFECT_FAMILIES = 15  # per panel, those with the most models
EFFECT_ENDS = ["error_difference", "error_difference_low", "error_difference_high"]


def rank_correlations(correlations: pd.DataFrame) -> Figure:
    """A panel per dataset and recipe: Spearman's rho of every predictor with every outcome."""
    known = correlations.dropna(subset="spearman")
    parts = [part for _, part in known.groupby(["dataset", "recipe"], sort=False)]
    outcomes = list(dict.fromkeys(known["outcome"]))
    predictors = list(dict.fromkeys(known["predictor"]))
    columns = min(EFFECT_COLUMNS, len(parts))
    rows = -(-len(parts) // columns)
    made, panels = _figure(
        "What goes with a good or a quick fine-tune?",
        "Spearman's rank correlation over models with a 95 % bootstrap interval, hollow where "
        "there are too few models for one. Left of 0: where the predictor is higher, the error or "
        "the time is lower. At the right: models. A correlation is no cause.",
        1.3 + rows * (0.9 + 0.34 * len(predictors)),
        (rows, columns),
        len(parts),
    )
    several = known["recipe"].nunique() > 1
    for place, (axes, part) in enumerate(zip(panels, parts, strict=True)):
        _panel(axes, part, outcomes, predictors)
        first = part.iloc[0]
        axes.set_title(f"{first['dataset']}, {first['recipe']}" if several else first["dataset"])
        if place % columns:
            axes.set_yticklabels([])
        if place >= len(parts) - columns:
            axes.set_xlabel("Spearman's ρ")
    made.legend(handles=_handles(outcomes), loc="upper right", ncols=len(outcomes))
    return made


def _panel(axes: Axes, part: pd.DataFrame, outcomes: list[str], predictors: list[str]) -> None:
    for number, outcome in enumerate(outcomes):
        offset = APART * (number - (len(outcomes) - 1) / 2)
        for row in part[part["outcome"] == outcome].itertuples():
            place = predictors.index(str(row.predictor)) + offset
            middle, low, high = (float(getattr(row, end)) for end in ENDS)
            colour = COLOURS[number]
            axes.plot([low, high], [place, place], color=colour, lw=1.6)
            face = "white" if np.isnan(low) else colour
            axes.plot(middle, place, MARKERS[number], color=colour, mfc=face, ms=6)
            axes.text(1.04, place, f"{row.n}", va="center", size=7.5, color=FAINT)
    axes.axvline(0, color=INK, lw=0.8, zorder=1)
    axes.set_xlim(-1.03, 1.03)
    axes.set_yticks(range(len(predictors)), [name_of(name) for name in predictors])
    axes.set_ylim(len(predictors) - 0.5, -0.5)


def _handles(outcomes: list[str]) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, lw=1.6, label=f"with {name_of(name)}")
        for name, colour, marker in zip(outcomes, COLOURS, MARKERS, strict=False)
    ]


def recipe_effects(effects: pd.DataFrame) -> Figure:
    """A panel per dataset and recipe: a family's mean difference with its interval, in points."""
    parts = [part for _, part in effects.groupby(["dataset", "recipe"], sort=False)]
    columns = min(2, len(parts))
    rows = -(-len(parts) // columns)
    lines = max(min(len(part), EFFECT_FAMILIES + 1) for part in parts)
    made, panels = _figure(
        "What the recipe changes",
        "Mean difference of the error, same model and seed under both recipes; left is better. "
        "Bars: 95 % t interval between the models of a family, none for one model. "
        "In brackets: models.",
        1.0 + rows * (1.0 + 0.3 * lines),
        (rows, columns),
        len(parts),
    )
    for axes, part in zip(panels, parts, strict=True):
        shown = pd.concat([part.head(1), part.iloc[1:].nlargest(EFFECT_FAMILIES, "n_models")])
        first = shown.iloc[0]
        colours = [INK, *(style(name).colour for name in shown["family"].iloc[1:])]
        points = 100 * shown[EFFECT_ENDS].to_numpy(dtype=float)
        for place, ((middle, low, high), colour) in enumerate(zip(points, colours, strict=True)):
            axes.plot([low, high], [place, place], color=colour, lw=1.5)
            axes.plot(middle, place, "o", color=colour, ms=6)
        counts = zip(shown["family"], shown["n_models"], strict=True)
        names = [f"{family} ({count})" for family, count in counts]
        axes.set_yticks(range(len(shown)), names)
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.axvline(0, color=FAINT, lw=0.8)
        axes.set_xlabel("difference of the error (points)")
        axes.set_title(f"{first['dataset']}\n{first['recipe']} against {first['against']}")
    return made
