"""The report's sortable tables, each cell as text and as the number to sort by."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from pipeline.core.command import duration, percent
from pipeline.figures.look import name_of
from pipeline.report.words import TERMS
from pipeline.statistics.answer import best_row
from pipeline.statistics.fit_times import AT_MOST
from pipeline.timm_results.licences import shown

MOST_FAMILIES = 18  # with a legend entry of their own
EMPTY = "–"
POINTS = 100  # of an error rate
SHA256_DIGITS = 16  # of 64; runs.csv has them all
_IDENTITY = ["name", "origin", "SHA256"]


@dataclass(frozen=True)
class Column:
    """A column: heading, how a row shows it, key to sort by (none of text); `more`: on demand."""

    name: str
    show: Callable[[Any], str]
    key: str | None = None
    long: bool = False
    more: bool = False

    @property
    def term(self) -> str | None:
        return TERMS.get(self.name)

    @property
    def css(self) -> str:
        """The classes of the column's cells."""
        kinds = {"name": self.name == "model", "long": self.long, "more": self.more}
        kinds["interval"] = "[95 %]" in self.name
        return " ".join(kind for kind, given in kinds.items() if given)

    @property
    def text(self) -> bool:
        return self.key is None


@dataclass(frozen=True)
class Cell:
    """`value` is the number that the column is sorted by, to five digits,
    empty for a null; None for text."""

    shown: str
    value: str | None


@dataclass(frozen=True)
class Row:
    """One row; the recommended model's is drawn bold."""

    cells: list[Cell]
    recommended: bool


@dataclass(frozen=True)
class Table:
    """What the template's macro `table` draws."""

    columns: Sequence[Column]
    rows: list[Row]


def table(
    rows: pd.DataFrame, columns: Sequence[Column], recommended: Hashable | None = None
) -> Table:
    """`rows` through `columns`; a null is a dash and is sorted last, a column of nulls left out.

    `recommended` is the label in the index of the recommended model's row, if it has one.
    """
    cells = [[_cell(column, row) for row in rows.itertuples()] for column in columns]
    kept = [place for place, each in enumerate(cells) if any(cell.shown != EMPTY for cell in each)]
    across = zip(*(cells[place] for place in kept), strict=True)
    return Table(
        [columns[place] for place in kept],
        [
            Row(list(each), label == recommended)
            for each, label in zip(across, rows.index, strict=True)
        ],
    )


def leaderboard(board: pd.DataFrame, others: pd.DataFrame) -> Table:
    """The leaderboard of one dataset and recipe; below it `others`, without rank and times."""
    known = board["steady_fit_seconds_median"].astype(float)
    here = "this study" if len(others) else None
    rows = board.assign(seconds=known.fillna(board.get(AT_MOST, known)), from_=here)
    rows = rows.reset_index(drop=True)
    counts = {"n_missing": 0, "n_not_timed": 0}
    theirs = others.assign(from_=others["from"], gap_to_best=others["gap"], **counts)
    ended = rows[rows["n"] > 0]
    best = None if ended.empty else best_row(ended).name
    return table(pd.concat([rows, theirs], ignore_index=True), _LEADERBOARD, best)


def other_people(rows: pd.DataFrame) -> Table:
    """Every source's runs, each compared within its source, and with this study's best."""
    names = {"from": "from_", "gap": "gap_to_best"}
    return table(rows.rename(columns=names), _OTHER_PEOPLE)


def small_and_fast(rows: pd.DataFrame) -> Table:
    """The models of one dataset and recipe below the medians of memory and steady fit time."""
    return table(rows, _SMALL_FAST)


def rates(rows: pd.DataFrame) -> Table:
    """The learning rates of one dataset's models, where each is compared at its own."""
    return table(rows, _RATES)


def correlations(rows: pd.DataFrame) -> Table:
    """Every rank correlation that there is, with a remark where it has no interval."""
    return table(rows.dropna(subset="spearman"), _CORRELATIONS)


def recipes(effects: pd.DataFrame) -> Table:
    """What a recipe changes, by family, the whole first."""
    return table(effects, _RECIPES)


def estimates(rows: pd.DataFrame) -> Table:
    """By device and source of an estimate, how measured fit times compare with it."""
    ratios = rows.groupby(["device", "source"], sort=False)["ratio"]
    summed = ratios.agg(
        runs="count",
        ratio="median",
        ratio_low=lambda each: each.quantile(0.1),
        ratio_high=lambda each: each.quantile(0.9),
    )
    return table(summed.reset_index(), _ESTIMATES)


def failures(runs: pd.DataFrame) -> Table:
    """The runs without a result; seeds of a model that ended alike share a row."""
    ended = runs[runs["status"] != "ok"]
    names = ["dataset", "model", "recipe", "status", "reason"]
    rows = ended.groupby(names, sort=False, dropna=False)["seed"].agg(_listed).reset_index()
    return table(rows.sort_values("status", kind="stable"), _FAILURES)


def identities(runs: pd.DataFrame) -> Table:
    """The SHA-256 of every model's weights and of every dataset, as far as a reader compares it."""
    weights = runs.dropna(subset="weights_sha256").drop_duplicates("model")
    weights = weights[["model", "weights_origin", "weights_sha256"]].set_axis(_IDENTITY, axis=1)
    data = runs.dropna(subset="data_fingerprint").drop_duplicates("dataset").assign(kind="dataset")
    data = data[["dataset", "kind", "data_fingerprint"]].set_axis(_IDENTITY, axis=1)
    rows = pd.concat([weights, data])
    rows["SHA256"] = rows["SHA256"].str[:SHA256_DIGITS]
    return table(rows, [Column(name, _text(name)) for name in _IDENTITY])


def share(name: str, key: str, more: bool = False) -> Column:
    """A column of shares, in percent."""
    return Column(name, lambda row: percent(getattr(row, key)), key, more=more)


def _listed(seeds: pd.Series) -> str:
    return ", ".join(str(seed) for seed in seeds)


def _cell(column: Column, row: Any) -> Cell:
    if column.key is None:
        return Cell(column.show(row), None)
    value = getattr(row, column.key)
    return Cell(EMPTY, "") if pd.isna(value) else Cell(column.show(row), f"{value:.5g}")


def _text(key: str) -> Callable[[Any], str]:
    def show(row: Any) -> str:
        value = getattr(row, key)
        return EMPTY if pd.isna(value) else str(value)

    return show


def _number(name: str, key: str, form: str, more: bool = False) -> Column:
    def show(row: Any) -> str:
        return format(getattr(row, key), form).replace("-", "−")

    return Column(name, show, key, more=more)


def _between(low: Any, high: Any) -> str:
    return "" if pd.isna(low) else f" [{low:z.2f},\u00a0{high:z.2f}]".replace("-", "−")


def _error(row: Any) -> str:
    interval = _between(100 * row.error_rate_low, 100 * row.error_rate_high)
    return percent(row.error_rate_mean) + interval


def _difference(name: str, key: str, ends: str = "", scale: int = 1, more: bool = False) -> Column:
    """A column of numbers with their intervals, in the columns ENDS_low and ENDS_high (by default
    KEY_low and KEY_high), times `scale`: with a minus, and no sign of zero.
    """
    keys = key, f"{ends or key}_low", f"{ends or key}_high"

    def show(row: Any) -> str:
        middle, low, high = (scale * getattr(row, each) for each in keys)
        return f"{middle:z.2f}".replace("-", "−") + _between(low, high)

    return Column(name, show, key, more=more)


def _seconds(title: str, name: str, more: bool = False) -> Column:
    return Column(title, lambda row: duration(getattr(row, name)), name, more=more)


def _steady(row: Any) -> str:
    """The steady fit time, or the most it can be."""
    return "≤ " * pd.isna(row.steady_fit_seconds_median) + duration(row.seconds)


def _failed(row: Any) -> str:
    return f"{row.n_failed} / {row.n_missing}" if row.n_failed or row.n_missing else EMPTY


def _not_timed(row: Any) -> str:
    return f"{row.n_not_timed} of {row.n}" if row.n_not_timed else EMPTY


def _settings(row: Any) -> str:
    """Whether recipe and image size are those of this study's runs on the same images."""
    return EMPTY if pd.isna(row.same_settings) else "the same" if row.same_settings else "others"


_LEADERBOARD = (
    _number("rank", "rank", ".0f"),
    Column("from", _text("from_")),
    Column("model", _text("model")),
    Column("error [95 %]", _error, "error_rate_mean"),
    _number("P(best)", "p_best", ".2f"),
    Column("steady fit time", _steady, "seconds"),
    _number("on front", "p_front", ".2f"),
    _number("score", "score_mean", ".2f"),
    _number("GPU GiB", "peak_memory_gib_max", ".2f"),
    _number("host GiB", "peak_rss_gib_max", ".2f"),
    _number("seeds", "n", "d"),
    share("± SD", "error_rate_sd", more=True),
    _difference("behind best, points [95 %]", "gap_to_best", "gap", POINTS, more=True),
    share("frozen features", "baseline_error", more=True),
    _difference("gain over them, points [95 %]", "gain", scale=POINTS, more=True),
    _seconds("start-up", "start_up_seconds_median", more=True),
    Column("times not counted", _not_timed, more=True),
    _number("images/s", "images_per_second_median", ",.0f", more=True),
    Column("family", _text("family"), more=True),
    _number("million params", "params_m", ",.1f", more=True),
    _number("ImageNet top-1", "imagenet_top1", ".2f", more=True),
    _number("at pixels", "imagenet_img_size", ".0f", more=True),
    Column("pretraining", _text("pretraining"), more=True),
    Column("licence", lambda row: shown(row.licence), more=True),
    Column("failed / missing", _failed, more=True),
)
_SMALL_FAST = (
    _number("place", "place", ".0f"),
    Column("model", _text("model")),
    Column("family", _text("family")),
    Column("error [95 %]", _error, "error_rate_mean"),
    _seconds("steady fit time", "steady_fit_seconds_median"),
    _number("GiB", "memory_gib", ".2f"),
    _number("score", "score_mean", ".2f"),
    _number("seeds", "n", ".0f"),
    _number("rank", "rank", ".0f"),
)
_RATES = (
    Column("model", _text("model")),
    Column("rate", _text("rate")),
    _number("lr", "lr", "g"),
    _number("lr_mult", "lr_mult", "g"),
    _number("seeds", "n", "d"),
    share("error there", "error_rate_mean"),
    Column("chosen", lambda row: f"{row.n_chosen} of {row.n_choices}", "n_chosen"),
    Column("to take", lambda row: "yes" if row.taken else EMPTY),
    _seconds("fit time", "fit_seconds_median"),
    _seconds("time of all rates", "choice_seconds"),
    Column("does not count", _text("left_out"), long=True),
)
_CORRELATIONS = (
    Column("dataset", _text("dataset")),
    Column("recipe", _text("recipe")),
    Column("of", lambda row: name_of(row.outcome)),
    Column("with", lambda row: name_of(row.predictor)),
    _number("models", "n", "d"),
    _difference("Spearman ρ", "spearman"),
    _difference("Kendall τ", "kendall"),
    _difference("pairs with less", "pairs_lower"),
    Column("remark", _text("reason"), long=True),
)
_RECIPES = (
    Column("dataset", _text("dataset")),
    Column("recipe", _text("recipe")),
    Column("against", _text("against")),
    Column("family", _text("family")),
    _number("models", "n_models", "d"),
    _number("pairs of runs", "n_pairs", "d"),
    _difference("error, points [95 %]", "error_difference", scale=POINTS),
    _difference("steady fit time, ratio [95 %]", "steady_fit_time_ratio"),
)
_ESTIMATES = (
    Column("device", _text("device")),
    Column("estimated from", _text("source")),
    _number("runs", "runs", "d"),
    _difference("measured / estimated, median [10 %, 90 %]", "ratio"),
)
_OTHER_PEOPLE = (
    Column("from", _text("from_")),
    Column("who", _text("who")),
    Column("dataset", _text("dataset")),
    Column("recipe", _text("recipe")),
    Column("model", _text("model")),
    Column("error [95 %]", _error, "error_rate_mean"),
    _number("runs", "n", "d"),
    Column("settings", _settings),
    Column("behind", _text("model_here")),
    _difference("by points [95 %]", "gap_to_best", "gap", POINTS),
    _seconds("their fit time", "steady_fit_seconds_there"),
    Column("their device", _text("device_there")),
    Column("where from", _text("where"), long=True),
)
_FAILURES = (
    Column("dataset", _text("dataset")),
    Column("model", _text("model")),
    Column("recipe", _text("recipe")),
    Column("seeds", _text("seed")),
    Column("status", _text("status")),
    Column("reason", _text("reason"), long=True),
)
