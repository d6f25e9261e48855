"""Figures of the study's fine-tunes: errors, what predicts them, and what a recipe changes."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from pipeline.core.command import number_of
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
from pipeline.statistics.fit_times import AT_MOST, only_bounds, time_axis

MOST_COLUMNS = 2  # of panels
PANEL_INCHES = 4.0
MOST_FAMILIES = 24  # in the legend
MOST_NAMED = 15  # models per panel: those on the front, then the best, as far as there is room
FEW_MODELS = 6  # of a panel with wider margins, so that names fit beside the marks
ERROR_BAR_OF_MANY = "#c4c4c4"  # paler, where more models than MOST_NAMED are drawn
ERROR_LABELS = {"single": "error rate (%)", "multi": "error rate per image and tag (%)"}
INTERVAL_NOTE = "95 % interval of the error, over seeds and images where models have repeats"
BASELINE_NOTE = " Dotted: the best linear head on frozen features."
FRONT_NOTE = " Dashed: the front, no other model is as quick and as good."


def error_against_fit_time(board: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """A large mark per model, mean error at median time, and a small one per run."""
    timed = runs[(runs["status"] == "ok") & runs["not_timed"].isna()]
    fig, panels = _panels(
        "Fine-tune error against steady fit time", _fit_time_note(board, runs, len(timed)), board
    )
    families = legend_families(board["family"], MOST_FAMILIES)
    runs_of_panels = []
    for axes, part in panels:
        here = timed.merge(part[["dataset", "recipe", "model", "device"]], validate="many_to_one")
        here["error_percent"] = 100 * here["error_rate"]
        _tie_to_mean(axes, here.merge(part, on="model", validate="many_to_one"))
        scatter_families(axes, here, families, "steady_fit_seconds", "error_percent", 12)
        _draw_means(axes, part, "steady_fit_seconds_median")
        _draw_means(axes, part, AT_MOST, hollow=True)
        if part["baseline_error"].notna().any():
            axes.axhline(_baseline_percent(part), color=FAINT, ls=":", lw=1.2, zorder=0)
        axes.set_xlabel(time_axis(part))
        if spans_decades(pd.concat([here["steady_fit_seconds"], part[AT_MOST].dropna()])):
            axes.set_xscale("log")
            plain_log(axes.xaxis, TICKS_OF_HALF)
        _end_at_zero(axes)
        runs_of_panels.append(here[["steady_fit_seconds", "error_percent"]].to_numpy(dtype=float))
    for (axes, part), points in zip(panels, runs_of_panels, strict=True):
        # names come last: placing them freezes the layout of all panels
        lines = np.vstack([_draw_front(axes, part), _along_baseline(axes, part)])
        seconds = part["steady_fit_seconds_median"].astype(float).fillna(part[AT_MOST])
        drawn = part.assign(seconds=seconds).dropna(subset="seconds")
        best = _best(drawn)
        named = pd.concat([_on_front(best), best]).drop_duplicates("model")
        _name_models(axes, named, drawn, "seconds", lines, points)
    return fig


def _fit_time_note(board: pd.DataFrame, runs: pd.DataFrame, n_timed: int) -> str:
    """What the marks and lines of `error_against_fit_time` mean, of those that it has."""
    on_fronts = _on_front(board).groupby(["dataset", "recipe"]).size()
    devices = sorted(board["device"].dropna().unique())
    n_not_timed = int(runs["not_timed"].notna().sum())
    return "".join(
        [
            "Large: a model's mean error and ",
            "the most its fit time can be" if only_bounds(board) else "median steady fit time",
            "; bars: ",
            INTERVAL_NOTE,
            "; small, tied to it: its runs." if n_timed else ".",
            FRONT_NOTE if (on_fronts > 1).any() else "",  # a front of one model has no line
            BASELINE_NOTE if board["baseline_error"].notna().any() else "",
            f" Timed on: {'; '.join(devices)}." if devices else "",
            f" Runs whose time does not count: {n_not_timed}." if n_not_timed else "",
            " Hollow: none counts, it is at most this." if board[AT_MOST].notna().any() else "",
        ]
    )


def error_against_imagenet(
    board: pd.DataFrame, correlations: pd.DataFrame, published: pd.DataFrame
) -> Figure:
    """Error against ImageNet accuracy, a panel per dataset and recipe."""
    fig, panels = _panels(
        "Fine-tune error against ImageNet accuracy",
        f"{accuracy_source(published)}. Bars: {INTERVAL_NOTE}. ρ: Spearman's rank correlation with "
        "a 95 % bootstrap interval over models.",
        board,
    )
    of_top1 = correlations[
        (correlations["outcome"] == "error_rate_mean")
        & (correlations["predictor"] == "imagenet_top1")
    ].set_index(["dataset", "recipe"])
    for axes, part in panels:
        _draw_means(axes, part, "imagenet_top1")
        _end_at_zero(axes)
        axes.set_xlabel("ImageNet top-1 (%)")
        rho = _rho(of_top1.loc[(part["dataset"].iloc[0], part["recipe"].iloc[0])])
        axes.text(0.99, 0.99, rho, ha="right", va="top", size=8, transform=axes.transAxes)
    for axes, part in panels:
        drawn = part.dropna(subset="imagenet_top1")
        _name_models(axes, _best(drawn), drawn, "imagenet_top1")
    return fig


def _grid(
    title: str, note: str, row_inches: float, margin_inches: float, n: int
) -> tuple[Figure, list[Axes]]:
    """A figure of `n` panels in rows of MOST_COLUMNS; the places left over stay empty."""
    columns = min(MOST_COLUMNS, n)
    rows = -(-n // columns)
    fig, panels = figure(title, note, margin_inches + row_inches * rows, rows, columns)
    for unused in panels[n:]:
        unused.set_axis_off()
    return fig, panels[:n]


def _parts(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each panel: those of one dataset and recipe."""
    return [part for _, part in table.groupby(["dataset", "recipe"], sort=False)]


def _panels(
    title: str, note: str, board: pd.DataFrame
) -> tuple[Figure, list[tuple[Axes, pd.DataFrame]]]:
    """A figure with a panel per dataset and recipe, and those panels that have finished runs, each
    with its rows of the leaderboard.
    """
    parts = _parts(board)
    fig, panels = _grid(title, note, PANEL_INCHES, 0.9, len(parts))
    several_recipes = board["recipe"].nunique() > 1
    with_runs = []
    for axes, part in zip(panels, parts, strict=True):
        axes.set_title(_panel_title(part, several_recipes))
        axes.set_ylabel(ERROR_LABELS.get(str(part["data_kind"].iloc[0]), ERROR_LABELS["single"]))
        finished = part[part["n"] > 0]
        if finished.empty:
            axes.set(xticks=[], yticks=[])
            axes.text(0.5, 0.5, "no finished run", ha="center", transform=axes.transAxes)
        else:
            with_runs.append((axes, finished))
    families = legend_families(board["family"], MOST_FAMILIES)
    if len(handles := family_handles(board, families)) > 1:
        fig.legend(handles=handles, loc="outside right upper")
    return fig, with_runs


def _panel_title(part: pd.DataFrame, several_recipes: bool) -> str:
    first = part.iloc[0]
    name = f"{first['dataset']}, {first['recipe']}" if several_recipes else str(first["dataset"])
    finished = part[part["n"] > 0]
    if finished.empty:
        return name
    counts = sorted(finished["n"].unique())
    seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    models = number_of(len(finished), "model", "models")
    title = f"{name}\n{models} × {seeds} {'seed' if counts == [1] else 'seeds'}"
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
    """A mark with an error bar for each model whose column `x` is known."""
    for family, models in part.dropna(subset=x).groupby("family"):
        look = style(str(family))
        axes.errorbar(
            models[x],
            100 * models["error_rate_mean"],
            _bar_lengths(models).T,
            ls="",
            marker=look.marker,
            ms=8,
            color=look.colour,
            mfc="white" if hollow else look.colour,
            mec=look.colour if hollow else "white",
            mew=1.4 if hollow else 0.6,
            elinewidth=0.9,
            ecolor=FAINT if len(part) <= MOST_NAMED else ERROR_BAR_OF_MANY,
        )
    axes.margins(0.3 if len(part) <= FEW_MODELS else 0.12, 0.14)


def _end_at_zero(axes: Axes) -> None:
    """Leave hardly more than a mark's room below an error of 0. Call it when all else is drawn."""
    low, high = axes.get_ylim()
    axes.set_ylim(max(low, -0.05 * high), high)


def _draw_front(axes: Axes, part: pd.DataFrame) -> np.ndarray:
    """Draw steps along the front; returns points on them [n, 2], for labels to keep clear of."""
    front = _on_front(part).sort_values("steady_fit_seconds_median")
    columns = front[["steady_fit_seconds_median", "error_rate_mean"]]
    corners: np.ndarray = columns.to_numpy(dtype=float) * [1, 100]
    axes.plot(*corners.T, drawstyle="steps-post", color=INK, lw=1.3, ls="--", zorder=4)
    return along_steps(corners, 80)


def _on_front(part: pd.DataFrame) -> pd.DataFrame:
    return part[part["on_front"].fillna(False).astype(bool)]


def _baseline_percent(part: pd.DataFrame) -> float:
    """The lowest error of a linear head on any model's frozen features; NaN without one."""
    return 100 * float(part["baseline_error"].min())


def _along_baseline(axes: Axes, part: pd.DataFrame) -> np.ndarray:
    """Points on the baseline from edge to edge [n, 2], for labels to keep clear of."""
    level = _baseline_percent(part)
    low, high = axes.get_ylim()
    if not low <= level <= high:
        return NO_POINTS
    spaced = np.geomspace if axes.get_xscale() == "log" else np.linspace
    x = spaced(*axes.get_xlim(), 300)
    return np.column_stack([x, np.full(len(x), level)])


def _best(drawn: pd.DataFrame) -> pd.DataFrame:
    return drawn.nsmallest(MOST_NAMED, "error_rate_mean")


def _name_models(
    axes: Axes,
    named: pd.DataFrame,
    drawn: pd.DataFrame,
    x: str,
    lines: np.ndarray = NO_POINTS,
    runs: np.ndarray = NO_POINTS,
) -> None:
    """Write the names of the models `named`, the first ones first, where there is room.

    No name is written across a mark of the models `drawn` or across a point of `lines` [n, 2]; one
    is across error bars or the points of `runs` [m, 2] only where there is no better place.
    """
    if len(named):
        never, rather_not = np.vstack([_marks(drawn, x), lines]), np.vstack([_bars(drawn, x), runs])
        place_labels(axes, _marks(named, x), named["model"].tolist(), never, rather_not)


def _marks(part: pd.DataFrame, x: str) -> np.ndarray:
    return part[[x, "error_rate_mean"]].to_numpy(dtype=float) * [1, 100]


def _bars(part: pd.DataFrame, x: str) -> np.ndarray:
    """Points along every model's error bar [n, 2]."""
    share = np.linspace(0, 1, 21)[:, None]
    error, lengths = 100 * part["error_rate_mean"].to_numpy(dtype=float), _bar_lengths(part)
    ends = np.vstack([error - share * lengths[:, 0], error + share * lengths[:, 1]])
    return np.stack([part[x].to_numpy(dtype=float) + 0 * ends, ends], -1).reshape(-1, 2)


def _bar_lengths(part: pd.DataFrame) -> np.ndarray:
    """How far the interval reaches below and above the mean [n, 2], in percent; 0 for none."""
    mean = part["error_rate_mean"]
    lengths = [mean - part["error_rate_low"], part["error_rate_high"] - mean]
    return 100 * np.stack([each.fillna(0).to_numpy(dtype=float).clip(0) for each in lengths], -1)


def _rho(row: pd.Series) -> str:
    if pd.isna(row["spearman"]):
        return f"no ρ: {row['reason']}"
    if pd.isna(row["spearman_low"]):
        return f"ρ = {row['spearman']:.2f}, n = {row['n']} (too few for an interval)"
    low, high = row["spearman_low"], row["spearman_high"]
    return f"ρ = {row['spearman']:.2f} [{low:.2f}, {high:.2f}], n = {row['n']}"


ENDS = ["spearman", "spearman_low", "spearman_high"]
MARKERS = "osD^v"  # of outcomes, as their colours
OUTCOME_OFFSET = 0.28  # rows, between the outcomes of one predictor
EFFECT_FAMILIES = 15  # per panel, those with the most models
EFFECT_ENDS = ["error_difference", "error_difference_low", "error_difference_high"]


def rank_correlations(correlations: pd.DataFrame) -> Figure:
    """A panel per dataset and recipe: Spearman's rho of every predictor with every outcome."""
    known = correlations.dropna(subset="spearman")
    parts = _parts(known)
    outcomes = list(dict.fromkeys(known["outcome"]))
    predictors = list(dict.fromkeys(known["predictor"]))
    fig, panels = _grid(
        "What goes with a good or a quick fine-tune?",
        "Spearman's rank correlation over models with a 95 % bootstrap interval, hollow where "
        "there are too few models for one. Left of 0: where the predictor is higher, the error or "
        "the time is lower. At the right: models. A correlation is no cause.",
        0.9 + 0.34 * len(predictors),
        1.3,
        len(parts),
    )
    several_recipes = known["recipe"].nunique() > 1
    for place, (axes, part) in enumerate(zip(panels, parts, strict=True)):
        _draw_correlations(axes, part, outcomes, predictors)
        dataset, recipe = part.iloc[0][["dataset", "recipe"]]
        axes.set_title(f"{dataset}, {recipe}" if several_recipes else dataset)
        if place % MOST_COLUMNS:
            axes.set_yticklabels([])
        if place >= len(parts) - MOST_COLUMNS:
            axes.set_xlabel("Spearman's ρ")
    fig.legend(handles=_outcome_handles(outcomes), loc="upper right", ncols=len(outcomes))
    return fig


def _draw_correlations(
    axes: Axes, part: pd.DataFrame, outcomes: list[str], predictors: list[str]
) -> None:
    """A row per predictor, with an interval for each outcome and the number of models beside it."""
    for number, outcome in enumerate(outcomes):
        offset = OUTCOME_OFFSET * (number - (len(outcomes) - 1) / 2)
        for row in part[part["outcome"] == outcome].itertuples():
            place = predictors.index(str(row.predictor)) + offset
            middle, low, high = (float(getattr(row, end)) for end in ENDS)
            colour = COLOURS[number]
            face = "white" if np.isnan(low) else colour
            axes.plot([low, high], [place, place], color=colour, lw=1.6)
            axes.plot(middle, place, MARKERS[number], color=colour, mfc=face, ms=6)
            axes.text(1.04, place, f"{row.n}", va="center", size=7.5, color=FAINT)
    axes.axvline(0, color=INK, lw=0.8, zorder=1)
    axes.set_xlim(-1.03, 1.03)
    axes.set_yticks(range(len(predictors)), [name_of(name) for name in predictors])
    axes.set_ylim(len(predictors) - 0.5, -0.5)


def _outcome_handles(outcomes: list[str]) -> list[Line2D]:
    return [
        Line2D([], [], color=colour, marker=marker, lw=1.6, label=f"with {name_of(name)}")
        for name, colour, marker in zip(outcomes, COLOURS, MARKERS, strict=False)
    ]


def recipe_effects(effects: pd.DataFrame) -> Figure:
    """A panel per dataset and recipe: a family's mean difference with its interval, in points."""
    parts = _parts(effects)
    lines = max(min(len(part), EFFECT_FAMILIES + 1) for part in parts)
    fig, panels = _grid(
        "What the recipe changes",
        "Mean difference of the error, same model and seed under both recipes; left is better. "
        "Bars: 95 % t interval between the models of a family, none for one model. "
        "In brackets: models.",
        1.0 + 0.3 * lines,
        1.0,
        len(parts),
    )
    for axes, part in zip(panels, parts, strict=True):
        _draw_effects(axes, part)
    return fig


def _draw_effects(axes: Axes, part: pd.DataFrame) -> None:
    """A row for all models together, then one per family, those with the most models."""
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
