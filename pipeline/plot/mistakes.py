"""Figures of stage `mistakes`: what is taken for what, how often each class, how sure.

Of many classes only the worst are drawn, by name; the tables have them all.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.cluster.hierarchy import leaves_list, linkage

from pipeline.figures.look import COLOURS, FAINT, INK, figure
from pipeline.mistakes.tables import Mistakes

MOST_CLASSES = 40  # that are drawn, each with its name
NUMBERS_UP_TO = 12  # classes whose matrix has its numbers written in
REORDERED_FROM = 8  # classes: those that are confused become neighbours
LEVEL_UP_TO = 5  # classes whose names below the matrix are written level
LONGEST_NAME = 24
REST = "all others"
ROW_INCHES = 0.165
RIGHT, WRONG = "Blues", "Oranges"
SHADES = 10  # of each
PRECISION, RECALL, F2 = COLOURS[0], COLOURS[1], INK


def drawings(mistakes: Mistakes) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """The name of each figure, and what draws it."""
    for dataset in mistakes.models["dataset"]:
        its = mistakes.of(str(dataset))
        if len(its.classes):
            yield f"confusion_{dataset}", partial(confusion, its)
            yield f"class_errors_{dataset}", partial(class_errors, its)
        else:
            yield f"tags_{dataset}", partial(tags, its)
        yield f"reliability_{dataset}", partial(reliability, its)


def confusion(mistakes: Mistakes) -> Figure:
    """A row per true class: the shares of its images by answer."""
    names, share = matrix(mistakes)
    n = len(names)
    total = int(mistakes.models["n_classes"].iloc[0])
    left_out = n < total
    note = f" The {n - 1} of {total} classes with the most mistakes." if left_out else ""
    if min(total, MOST_CLASSES) >= REORDERED_FROM:
        note += " Classes that are confused are neighbours."
    fig, (axes,) = figure(
        f"{_dataset(mistakes)}: what is taken for what",
        f"{_subject(mistakes)} Rows: the true class; of each row's images the share with that "
        f"answer, right ones in blue, wrong ones in orange on a scale of their own.{note}",
        1.9 + max(2.2, ROW_INCHES * n + 0.6),
    )
    right = np.eye(n, dtype=bool)
    if left_out:
        right[-1, -1] = False  # where the others meet, only mistakes are counted
    top = max(float(share[~right].max(initial=0)), 0.05)
    _draw_cells(axes, np.ma.masked_where(~right, share), RIGHT, 1.0, "right")
    _draw_cells(axes, np.ma.masked_where(right | (share == 0), share), WRONG, top, "wrong")
    size, turn = (9 if n <= NUMBERS_UP_TO else 7), (0 if n <= LEVEL_UP_TO else 90)
    axes.set_xticks(range(n), [_short(name) for name in names], rotation=turn, size=size)
    axes.set_yticks(range(n), [_short(name) for name in names], size=size)
    axes.tick_params(length=0)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    _draw_cell_borders(axes, n)
    if n <= NUMBERS_UP_TO:
        _write_numbers(axes, share, right, top)
    return fig


def _draw_cells(
    axes: Axes, values: np.ma.MaskedArray, colours: str, most: float, label: str
) -> None:
    """The cells that are not masked, on a scale from 0 to `most`, with its colour bar."""
    image = axes.imshow(
        values, cmap=colormaps[colours].resampled(SHADES), vmin=0, vmax=most, aspect="auto"
    )
    fig = axes.get_figure(root=True)
    assert fig is not None
    bar = fig.colorbar(image, ax=axes, shrink=0.7, pad=0.015, fraction=0.04, aspect=30)
    bar.ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
    bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    bar.set_label(label, size=8)


def _draw_cell_borders(axes: Axes, n: int) -> None:
    axes.grid(False)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color="#ececec", linewidth=0.5)
    axes.tick_params(which="minor", length=0)


def matrix(mistakes: Mistakes) -> tuple[list[str], np.ndarray]:
    """The classes drawn, in order, and shares of a row's images [true class, answer].

    Of more than MOST_CLASSES the others come last, as one class REST; of images of REST that are
    taken for REST only mistakes are counted.
    """
    classes = mistakes.classes["label"].tolist()
    place = {name: number for number, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    cells = mistakes.confusion
    counts[cells["truth"].map(place), cells["answer"].map(place)] = cells["images"]
    wrong = counts - np.diag(np.diag(counts))
    involved = wrong.sum(axis=1) + wrong.sum(axis=0)
    chosen = np.arange(len(classes))
    if len(classes) > MOST_CLASSES:
        chosen = np.sort(np.argsort(-involved, kind="stable")[:MOST_CLASSES])
    if len(chosen) >= REORDERED_FROM:
        chosen = chosen[_neighbours_order(counts[np.ix_(chosen, chosen)])]
    names = [classes[each] for each in chosen]
    images = np.maximum(mistakes.classes["images"].to_numpy(dtype=float), 1)
    share = counts[np.ix_(chosen, chosen)] / images[chosen, None]
    if len(chosen) == len(classes):
        return names, share
    rest = np.setdiff1d(np.arange(len(classes)), chosen)
    side = counts[np.ix_(chosen, rest)].sum(axis=1) / images[chosen]
    below = np.append(counts[np.ix_(rest, chosen)].sum(axis=0), wrong[np.ix_(rest, rest)].sum())
    return [*names, REST], np.vstack([np.column_stack([share, side]), below / images[rest].sum()])


def class_errors(mistakes: Mistakes) -> Figure:
    """Each class's error with its interval and its number of images, the worst first."""
    rows = mistakes.classes[mistakes.classes["images"] > 0]
    rows = rows.sort_values(["error_rate", "images"], ascending=False, kind="stable")
    shown = rows.head(MOST_CLASSES)
    note = f" The worst {len(shown)} of {len(rows)} classes." if len(shown) < len(rows) else ""
    fig, (axes,) = figure(
        f"{_dataset(mistakes)}: error by class",
        f"{_subject(mistakes)} Bars: 95 % Wilson interval over the class's images. "
        f"Dashed: all classes.{note}",
        1.5 + ROW_INCHES * len(shown) + 0.3,
    )
    error, lengths = _with_interval(shown, "error_rate", "error")
    axes.errorbar(
        error, np.arange(len(shown)), xerr=lengths, ls="", marker="o", ms=5,
        color=COLOURS[0], ecolor=FAINT, elinewidth=1,
    )  # fmt: skip
    of_all = float(mistakes.models["error_rate"].iloc[0])
    axes.axvline(100 * of_all, color=INK, lw=1, ls="--")
    _label_rows(axes, shown, 8)
    most = 100 * max(float(shown["error_high"].max()), of_all)
    axes.set_xlim(-0.02 * most, 1.02 * most)
    axes.set_xlabel("error rate (%)")
    return fig


def tags(mistakes: Mistakes) -> Figure:
    """Each label's precision, recall and F2 with intervals, the rarest last."""
    rows = mistakes.tags[mistakes.tags["images"] > 0]
    rows = rows.sort_values("images", ascending=False, kind="stable")
    shown = rows.head(MOST_CLASSES)
    note = f" The most frequent {len(shown)} of {len(rows)}." if len(shown) < len(rows) else ""
    fig, (axes,) = figure(
        f"{_dataset(mistakes)}: precision, recall and F2 by label",
        f"{_subject(mistakes)} A label is given above a probability of a half. Bars: 95 % "
        "intervals over images, Wilson's for precision and recall, bootstrap for F2." + note,
        1.8 + 2.4 * ROW_INCHES * len(shown),
    )
    for offset, column, label, colour, marker in (
        (-0.22, "precision", "precision", PRECISION, "s"),
        (0.0, "recall", "recall", RECALL, "o"),
        (0.22, "f2", "F2", F2, "D"),
    ):
        mean, lengths = _with_interval(shown, column, column)
        axes.errorbar(
            mean, np.arange(len(shown)) + offset, xerr=lengths, ls="", marker=marker, ms=4.5,
            color=colour, elinewidth=1, alpha=0.9, label=label,
        )  # fmt: skip
    _label_rows(axes, shown, 9)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("%")
    fig.legend(loc="outside right upper")
    return fig


def reliability(mistakes: Mistakes) -> Figure:
    """How often answers of a probability are right, and how many there are."""
    single = mistakes.models["kind"].iloc[0] == "single"
    bins = mistakes.reliability
    gap = 100 * float(mistakes.models["calibration_error"].iloc[0])
    counted = "images" if single else "pairs of image and label"
    fig, (axes, below) = figure(
        f"{_dataset(mistakes)}: is 0.9 right nine times of ten?",
        f"{_subject(mistakes)} Bars: 95 % Wilson interval over {counted}. On the mean over "
        f"answers the two differ by {gap:.1f} points (expected calibration error).",
        4.4,
        1,
        2,
    )
    right, lengths = _with_interval(bins, "right", "right")
    axes.plot([0, 1], [0, 100], color=FAINT, lw=1, ls="--")
    axes.errorbar(
        bins["probability"], right, yerr=lengths, marker="o", ms=6,
        color=COLOURS[0], ecolor=FAINT, elinewidth=1, lw=1,
    )  # fmt: skip
    axes.set(xlim=(-0.02, 1.02), ylim=(-2, 102))
    axes.set_xlabel("probability of the answer" if single else "probability of the label")
    axes.set_ylabel("right (%)" if single else "label is there (%)")
    n_runs = int(mistakes.models["n_runs"].iloc[0])
    _draw_counts(below, bins, bins["answers"] / n_runs)
    if not single:
        below.set_yscale("log")
        below.set_ylim(bottom=min(1.0, (bins["answers"] / n_runs).min()) / 2)
    below.set_xlabel(axes.get_xlabel())
    below.set_ylabel(f"{counted}, mean over runs" if n_runs > 1 else counted)
    return fig


def _draw_counts(axes: Axes, bins: pd.DataFrame, answers: pd.Series) -> None:
    """A bar per bin with its number of answers, the mean over runs."""
    width = bins["bin_high"] - bins["bin_low"]
    axes.bar(bins["bin_low"], answers, width, align="edge", color=COLOURS[0], alpha=0.8)
    for middle, n in zip(bins["bin_low"] + width / 2, answers, strict=True):
        text = f"{n:,.1f}".removesuffix(".0")
        axes.annotate(text, (middle, n), ha="center", va="bottom", size=8, color=FAINT)
    axes.set(xlim=(-0.02, 1.02))


def _with_interval(
    rows: pd.DataFrame, column: str, prefix: str
) -> tuple[pd.Series, list[pd.Series]]:
    """A column in percent, and how far its interval reaches below and above it.

    The interval's ends are in the columns PREFIX_low and PREFIX_high.
    """
    value = 100 * rows[column]
    lengths = [value - 100 * rows[f"{prefix}_low"], 100 * rows[f"{prefix}_high"] - value]
    return value, [each.clip(lower=0) for each in lengths]


def _label_rows(axes: Axes, rows: pd.DataFrame, size: float) -> None:
    """At the left, from above, the class or label of each row and its number of images."""
    labels = [f"{_short(row['label'])} (n = {row['images']})" for row in rows.to_dict("records")]
    axes.set_yticks(np.arange(len(rows)), labels, size=size)
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _neighbours_order(counts: np.ndarray) -> np.ndarray:
    """An order of classes in which those that are confused are neighbours."""
    both = counts + counts.T
    np.fill_diagonal(both, 0)
    distance = 1 / (1 + both)
    order: np.ndarray = leaves_list(
        linkage(distance[np.triu_indices(len(both), 1)], "average", optimal_ordering=True)
    )
    return order


def _write_numbers(axes: Axes, share: np.ndarray, right: np.ndarray, top: float) -> None:
    """Each cell's share in percent, light on dark."""
    for (row, column), value in np.ndenumerate(share):
        if value > 0:
            dark = value / (1 if right[row, column] else top) > 0.6
            axes.text(
                column, row, f"{100 * value:.0f}", ha="center", va="center", size=8,
                color="white" if dark else INK,
            )  # fmt: skip


def _dataset(mistakes: Mistakes) -> str:
    return str(mistakes.models["dataset"].iloc[0])


def _subject(mistakes: Mistakes) -> str:
    """Which model's answers these are, and on how many images."""
    one = mistakes.models.iloc[0]
    seeds = f"mean over {one['n_runs']} runs" if one["n_runs"] > 1 else "one run"
    return f"{one['model']}, recipe {one['recipe']}, {one['n_valid']:,} validation images, {seeds}."


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
