"""Figures of stage `mistakes`: what is taken for what, how often each class, how sure.

Of many classes only the worst are drawn, by name; the tables have them all.
"""

from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.cluster.hierarchy import leaves_list, linkage

from pipeline.figures.look import COLOURS, FAINT, INK, figure
from pipeline.mistakes.tables import Mistakes

MOST_CLASSES = 40  # that are drawn, each with its name
NUMBERS_UP_TO = 12  # classes whose matrix has its numbers written in
REORDERED_FROM = 8  # classes: those that are confused come to lie side by side
LONGEST_NAME = 24
REST = "all others"
ROW_INCHES = 0.165
RIGHT, WRONG = "Blues", "Oranges"
LEVEL_UP_TO = 5  # classes whose names lie side by side
SHADES = 10  # of each
PRECISION, RECALL, F2 = COLOURS[0], COLOURS[1], INK


def drawings(mistakes: Mistakes) -> Iterator[tuple[str, Callable[[], Figure]]]:
    """The name of each figure, and what draws it."""
    for dataset in mistakes.models["dataset"]:
        of = mistakes.of(str(dataset))
        if len(of.classes):
            yield f"confusion_{dataset}", partial(confusion, of)
            yield f"class_errors_{dataset}", partial(class_errors, of)
        else:
            yield f"tags_{dataset}", partial(tags, of)
        yield f"reliability_{dataset}", partial(reliability, of)


def confusion(of: Mistakes) -> Figure:
    """A row per true class, what its images are taken for, as shares of the row."""
    names, share = matrix(of)
    n = len(names)
    total = int(of.models["n_classes"].iloc[0])
    few = n < total
    which = f" The {n - 1} of {total} classes with the most mistakes." if few else ""
    if min(total, MOST_CLASSES) >= REORDERED_FROM:
        which += " Classes that are confused are neighbours."
    made, (axes,) = figure(
        f"{of.models['dataset'].iloc[0]}: what is taken for what",
        f"{_whose(of)} Rows: the true class; of each row's images the share with that answer, "
        f"right ones in blue, wrong ones in orange on a scale of their own.{which}",
        1.9 + max(2.2, ROW_INCHES * n + 0.6),
    )
    right = np.eye(n, dtype=bool)
    if few:
        right[-1, -1] = False
    top = max(float(share[~right].max(initial=0)), 0.05)
    for values, colours, most in (
        (np.ma.masked_where(~right, share), RIGHT, 1.0),
        (np.ma.masked_where(right | (share == 0), share), WRONG, top),
    ):
        drawn = axes.imshow(
            values, cmap=colormaps[colours].resampled(SHADES), vmin=0, vmax=most, aspect="auto"
        )
        bar = made.colorbar(drawn, ax=axes, shrink=0.7, pad=0.015, fraction=0.04, aspect=30)
        bar.ax.yaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        bar.ax.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g}%")
        bar.ax.tick_params(labelsize=8)
        bar.outline.set_visible(False)
        bar.set_label("right" if colours == RIGHT else "wrong", size=8)
    size, turn = (9 if n <= NUMBERS_UP_TO else 7), (0 if n <= LEVEL_UP_TO else 90)
    axes.set_xticks(range(n), [_short(name) for name in names], rotation=turn, size=size)
    axes.set_yticks(range(n), [_short(name) for name in names], size=size)
    axes.tick_params(length=0)
    axes.set_xlabel("answer")
    axes.set_ylabel("true class")
    axes.grid(False)
    axes.set_xticks(np.arange(n + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(n + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color="#ececec", linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    if n <= NUMBERS_UP_TO:
        _write_numbers(axes, share, right, top)
    return made


def matrix(of: Mistakes) -> tuple[list[str], np.ndarray]:
    """The classes drawn, in order, and shares of a row's images [true class, answer].

    Of many classes all others come last, as one; where they meet, only mistakes are counted.
    """
    classes = of.classes["label"].tolist()
    place = {name: number for number, name in enumerate(classes)}
    counts = np.zeros((len(classes), len(classes)))
    cells = of.confusion
    counts[cells["truth"].map(place), cells["answer"].map(place)] = cells["images"]
    wrong = counts - np.diag(np.diag(counts))
    involved = wrong.sum(axis=1) + wrong.sum(axis=0)
    chosen = np.arange(len(classes))
    if len(classes) > MOST_CLASSES:
        chosen = np.sort(np.argsort(-involved, kind="stable")[:MOST_CLASSES])
    if len(chosen) >= REORDERED_FROM:
        chosen = chosen[_side_by_side(counts[np.ix_(chosen, chosen)])]
    names = [classes[each] for each in chosen]
    images = np.maximum(of.classes["images"].to_numpy(dtype=float), 1)
    share = counts[np.ix_(chosen, chosen)] / images[chosen, None]
    if len(chosen) == len(classes):
        return names, share
    rest = np.setdiff1d(np.arange(len(classes)), chosen)
    side = counts[np.ix_(chosen, rest)].sum(axis=1) / images[chosen]
    below = np.append(counts[np.ix_(rest, chosen)].sum(axis=0), wrong[np.ix_(rest, rest)].sum())
    return [*names, REST], np.vstack([np.column_stack([share, side]), below / images[rest].sum()])


def class_errors(of: Mistakes) -> Figure:
    """Each class's error with its interval and its number of images, the worst first."""
    rows = of.classes[of.classes["images"] > 0]
    rows = rows.sort_values(["error_rate", "images"], ascending=False, kind="stable")
    shown = rows.head(MOST_CLASSES)
    which = f" The worst {len(shown)} of {len(rows)} classes." if len(shown) < len(rows) else ""
    made, (axes,) = figure(
        f"{of.models['dataset'].iloc[0]}: error by class",
        f"{_whose(of)} Bars: 95 % Wilson interval over the class's images. "
        f"Dashed: all classes.{which}",
        1.5 + ROW_INCHES * len(shown) + 0.3,
    )
    places = np.arange(len(shown))
    error = 100 * shown["error_rate"]
    ends = [error - 100 * shown["error_low"], 100 * shown["error_high"] - error]
    axes.errorbar(
        error, places, xerr=[each.clip(lower=0) for each in ends], ls="", marker="o", ms=5,
        color=COLOURS[0], ecolor=FAINT, elinewidth=1,
    )  # fmt: skip
    axes.axvline(100 * float(of.models["error_rate"].iloc[0]), color=INK, lw=1, ls="--")
    labels = [f"{_short(row['label'])} (n = {row['images']})" for row in shown.to_dict("records")]
    axes.set_yticks(places, labels, size=8)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    most = 100 * max(float(shown["error_high"].max()), float(of.models["error_rate"].iloc[0]))
    axes.set_xlim(-0.02 * most, 1.02 * most)
    axes.set_xlabel("error rate (%)")
    return made


def tags(of: Mistakes) -> Figure:
    """Each label's precision, recall and F2 with intervals, the rarest last."""
    rows = of.tags[of.tags["images"] > 0].sort_values("images", ascending=False, kind="stable")
    shown = rows.head(MOST_CLASSES)
    which = f" The most frequent {len(shown)} of {len(rows)}." if len(shown) < len(rows) else ""
    made, (axes,) = figure(
        f"{of.models['dataset'].iloc[0]}: precision, recall and F2 by label",
        f"{_whose(of)} A label is given above a probability of a half. Bars: 95 % intervals over "
        f"images, Wilson's for precision and recall, bootstrap for F2.{which}",
        1.8 + 2.4 * ROW_INCHES * len(shown),
    )
    places = np.arange(len(shown))
    for shift, name, colour, marker in (
        *((-0.22, "precision", PRECISION, "s"), (0.0, "recall", RECALL, "o")),
        (0.22, "f2", F2, "D"),
    ):
        mean = 100 * shown[name]
        ends = [mean - 100 * shown[f"{name}_low"], 100 * shown[f"{name}_high"] - mean]
        axes.errorbar(
            mean, places + shift, xerr=[each.clip(lower=0) for each in ends], ls="",
            marker=marker, ms=4.5, color=colour, elinewidth=1, alpha=0.9,
            label="F2" if name == "f2" else name,
        )  # fmt: skip
    labels = [f"{_short(row['label'])} (n = {row['images']})" for row in shown.to_dict("records")]
    axes.set_yticks(places, labels, size=9)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(-2, 102)
    axes.set_xlabel("%")
    made.legend(loc="outside right upper")
    return made


def reliability(of: Mistakes) -> Figure:
    """How often answers of a probability are right, and how many there are."""
    single = of.models["kind"].iloc[0] == "single"
    bins = of.reliability
    gap = 100 * float(of.models["calibration_error"].iloc[0])
    counted = "images" if single else "pairs of image and label"
    made, (axes, below) = figure(
        f"{of.models['dataset'].iloc[0]}: is 0.9 right nine times of ten?",
        f"{_whose(of)} Bars: 95 % Wilson interval over {counted}. On the mean over answers the two "
        f"differ by {gap:.1f} points (expected calibration error).",
        4.4,
        1,
        2,
    )
    right = 100 * bins["right"]
    ends = [right - 100 * bins["right_low"], 100 * bins["right_high"] - right]
    axes.plot([0, 1], [0, 100], color=FAINT, lw=1, ls="--")
    axes.errorbar(
        bins["probability"], right, yerr=[each.clip(lower=0) for each in ends], marker="o", ms=6,
        color=COLOURS[0], ecolor=FAINT, elinewidth=1, lw=1,
    )  # fmt: skip
    axes.set(xlim=(-0.02, 1.02), ylim=(-2, 102))
    axes.set_xlabel("probability of the answer" if single else "probability of the label")
    axes.set_ylabel("right (%)" if single else "label is there (%)")
    width = bins["bin_high"] - bins["bin_low"]
    runs = int(of.models["n_runs"].iloc[0])
    answers = bins["answers"] / runs
    below.bar(bins["bin_low"], answers, width, align="edge", color=COLOURS[0], alpha=0.8)
    for middle, n in zip(bins["bin_low"] + width / 2, answers, strict=True):
        text = f"{n:,.1f}".removesuffix(".0")
        below.annotate(text, (middle, n), ha="center", va="bottom", size=8, color=FAINT)
    below.set(xlim=(-0.02, 1.02))
    if not single:
        below.set_yscale("log")
        below.set_ylim(bottom=min(1.0, answers.min()) / 2)
    below.set_xlabel(axes.get_xlabel())
    below.set_ylabel(f"{counted}, mean over runs" if runs > 1 else counted)
    return made


def _side_by_side(counts: np.ndarray) -> np.ndarray:
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


def _whose(of: Mistakes) -> str:
    """Which model's answers these are, and on how many images."""
    one = of.models.iloc[0]
    seeds = f"mean over {one['n_runs']} runs" if one["n_runs"] > 1 else "one run"
    return f"{one['model']}, recipe {one['recipe']}, {one['n_valid']:,} validation images, {seeds}."


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"
