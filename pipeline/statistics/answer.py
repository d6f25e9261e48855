"""The answer for a dataset in words: the best model, its rivals, its gain over frozen features.

The metrics, the report and `recommend` share these functions. Fits and baseline are measured on the
same validation images, so their difference is taken image by image: what an image does to both
cancels. A baseline has no seed. The gain's noise is that of the images in the difference and that
of the fits' runs, pooled over the models as in `comparison`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.core.command import duration, percent
from pipeline.records import Record, unpack_counts
from pipeline.results import BASELINE, KEY
from pipeline.statistics.comparison import (
    DECIMALS,
    IMAGES,
    run_noise,
    t_quantile,
    variance_of_a_run,
)
from pipeline.statistics.intervals import wilson
from pipeline.statistics.validation_images import binomial_sd, independent, labels_of, paired


def best_row(ranked: pd.DataFrame) -> pd.Series:
    """The row of the lowest mean error among `ranked`, rows of the leaderboard with finished runs.

    Of equal errors the known shorter steady fit time comes first, then recipe and model by name.
    """
    order = ranked.assign(error_rate_mean=ranked["error_rate_mean"].astype(float).round(DECIMALS))
    by = ["error_rate_mean", "steady_fit_seconds_median", "recipe", "model"]
    first = order.sort_values(by, kind="stable", na_position="last").index[0]
    found: pd.Series = ranked.loc[first]
    return found


def quickest(tied: pd.DataFrame, at_most: str) -> pd.Series | None:
    """The quickest of `tied`: the model of the shortest steady fit time, or the only one without a
    time whose upper bound, in the column `at_most`, is below that.

    None where no time is known, or the bounds of several models are below the shortest.
    """
    seconds = tied["steady_fit_seconds_median"].astype(float)
    if seconds.isna().all():
        return None
    bounds = tied.get(at_most, seconds).astype(float)
    below = tied[seconds.isna() & (bounds < seconds.min())]
    if len(below) > 1:
        return None
    found: pd.Series = tied.iloc[int(seconds.argmin())] if below.empty else below.iloc[0]
    return found


def quickest_of_equals(rows: pd.DataFrame, within: pd.DataFrame) -> str | None:
    """The quickest model of `within`, where all of `rows` are tied and every time is known.

    None where not, or where it is the first, which has the lowest error.
    """
    seconds = within["steady_fit_seconds_median"].astype(float)
    if seconds.isna().any() or not rows["tied"].fillna(False).astype(bool).all():
        return None
    place = int(seconds.argmin())
    return str(within["model"].iloc[place]) if place else None


FEW_IMAGES = 100  # validation images, of one label: one mistake is a point or more


def few_images(n: float, kind: str) -> str | None:
    """A remark that n validation images are few, and what one counts; None where they are not."""
    if pd.isna(n) or n > FEW_IMAGES or kind == "multi":
        return None
    return f"{n:.0f} validation images are few, one mistake is {100 / n:.1f} points"


def same_error(best: pd.Series, rivals: pd.DataFrame) -> list[str]:
    """The models of `rivals` whose mean error is that of `best`, which is the lowest."""
    off = rivals["error_rate_mean"].astype(float) - float(best["error_rate_mean"])
    return rivals.loc[
        (off.abs() < 10**-DECIMALS) & (rivals["model"] != best["model"]), "model"
    ].tolist()


def more_likely_best(best: pd.Series, rivals: pd.DataFrame) -> pd.Series | None:
    """The row of the highest P(best), if that is higher than that of `best` in two decimals."""
    known = rivals.dropna(subset=["p_best"])
    if known.empty:
        return None
    first: pd.Series = known.sort_values("p_best", kind="stable").iloc[-1]
    return first if round(first["p_best"], 2) > round(best["p_best"], 2) else None


def warnings_about(best: pd.Series) -> list[str]:
    """Sentences for a best row of models that ran only once, or that is no better than chance."""
    found = []
    if best["interval_covers"] == IMAGES:
        found.append(
            f"No model was run twice with {best['recipe']}, so nothing is known of how runs vary, "
            "and all this is less certain than it looks: run more seeds."
        )
    if best["error_rate_mean"] >= best["chance_error_rate"]:  # False where it is not known
        found.append(
            "It is no better than chance: the recipe is wrong, and the order means nothing."
        )
    return found


def name_list(models: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`; of more than three the first two and how many others."""
    shown = list(models) if len(models) <= 3 else [*models[:2], f"{len(models) - 2} others"]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))


def only_model(recipe: str) -> str:
    """The sentence for a leaderboard of one model."""
    return f"It is the only model that finished with {recipe}: nothing to compare with."


def all_others(n: int) -> str:
    """`the other one`, or `all 3 others`: those that a model is clearly better than."""
    return "the other one" if n == 1 else f"all {n} others"


def some_others(n: int, n_others: int) -> str:
    """`2 of the 3 others`, or `any of the 3 others`: those that one cannot be told apart from."""
    if n_others == 1:
        return "the other one"
    return f"{n} of the {n_others} others" if n < n_others else f"any of the {n_others} others"


def points_more(row: pd.Series, best: pd.Series) -> str:
    """How much higher the error of `row` is than that of `best`, and at most, where the gaps of the
    leaderboard are to `best`.
    """
    text = f"{100 * (row['error_rate_mean'] - best['error_rate_mean']):z.2f} points more"
    if pd.isna(row.get("gap_high")) or pd.notna(best.get("gap_to_best")):
        return text
    return f"{text}, at most {100 * max(row['gap_high'], 0):.2f} at 95 %"


def sentence_of_test(runs: pd.DataFrame, recipe: str, model: str) -> str | None:
    """The mean error on the test part, of rows of runs.csv of one dataset; None without one."""
    its = runs[(runs["recipe"] == recipe) & (runs["model"] == model)]
    its = its.dropna(subset=["test_error_rate"])
    if its.empty:
        return None
    n = f"n = {int(its['n_test'].iloc[0]):,}, " if its["n_test"].notna().any() else ""
    fits = f"{len(its)} fit{'' if len(its) == 1 else 's'}"
    return (
        f"On the test part, which chooses nothing, it errs on "
        f"{percent(its['test_error_rate'].mean())} ({n}{fits})."
    )


Baselines = Mapping[tuple[str, str], Record]  # by dataset and model


@dataclass(frozen=True)
class Gain:
    """The baseline's error minus the fits' mean error, and its 95 % interval (fractions)."""

    gain: float
    low: float
    high: float


def baseline_columns(ok: pd.DataFrame, baselines: Baselines) -> pd.DataFrame:
    """BASELINE's columns by dataset, recipe and model, from the finished runs `ok`.

    `ok` has ANSWERS' columns. Without a finished baseline of the same images, image size and
    weights they are null.
    """
    rows = []
    for (dataset, recipe), runs in ok.groupby(["dataset", "recipe"], sort=False):
        errors = runs.pivot(index="model", columns="seed", values="error_rate")
        n_valid = runs["n_valid"].dropna()
        noise = None
        if len(n_valid):
            noise = run_noise(errors.to_numpy(dtype=float), int(n_valid.iloc[0]))
        of_run, freedom = variance_of_a_run(noise, len(errors))
        variance = dict(zip(errors.index, of_run.tolist(), strict=True))
        for model, of_model in runs.groupby("model", sort=False):
            record = baselines.get((str(dataset), str(model)))
            if record is None or not _same_inputs(record, of_model):
                continue
            low, high = baseline_interval(record)
            gain = gain_of(record, of_model, variance[model], freedom)
            rows.append(
                {
                    "dataset": dataset,
                    "recipe": recipe,
                    "model": model,
                    "baseline_error": record.metrics.error_rate,
                    "baseline_low": low,
                    "baseline_high": high,
                    "baseline_seconds": record.cost.fit_seconds,
                    "knn_error": record.probe.get("knn_error_rate"),
                    "gain": gain.gain,
                    "gain_low": gain.low,
                    "gain_high": gain.high,
                }
            )
    return pd.DataFrame(rows, columns=[*KEY, *BASELINE]).set_index(KEY)


def baseline_interval(record: Record) -> tuple[float, float]:
    """The 95 % interval of a baseline's error over validation images: Wilson's.

    Several tags of an image are not independent, so the images' own variance sets how many count.
    """
    error, n_valid = float(record.metrics.error_rate or 0), int(record.data.n_valid or 0)
    size = float(n_valid)
    if record.valid_wrong is not None:
        size /= paired([unpack_counts(record.valid_wrong)[None]], labels_of(record)).share
    low, high = wilson(error, size)
    return float(low), float(high)


def gain_of(record: Record, runs: pd.DataFrame, variance: float, freedom: float) -> Gain:
    """What the fits of one model gain over `record`.

    `variance` is that of a run, as a share of p(1 - p), with so many degrees of freedom.
    """
    error, n_valid = float(record.metrics.error_rate or 0), int(record.data.n_valid or 0)
    mean, n = float(runs["error_rate"].mean()), len(runs)
    if record.valid_wrong is None or runs["valid_wrong"].isna().any():
        images = independent(np.array([mean, error]), n_valid)
    else:
        fits = np.stack([unpack_counts(packed) for packed in runs["valid_wrong"]])
        images = paired([fits, unpack_counts(record.valid_wrong)[None]], labels_of(record))
    both = images.covariance
    of_images = both[0, 0] + both[1, 1] - 2 * both[0, 1]
    alone = float(images.alone[0]) / n
    of_runs = variance * float(binomial_sd(np.array([mean]), n_valid)[0]) ** 2 / n
    lasting = max(of_images - alone, 0.0)
    estimated = max(of_runs, alone)
    quantile = t_quantile(np.array([estimated]), freedom, lasting)[0]
    half = quantile * np.sqrt(lasting + estimated)
    return Gain(error - mean, error - mean - half, error - mean + half)


def gain_sentence(
    board: pd.DataFrame, model: str, probes: pd.DataFrame | None = None
) -> str | None:
    """What fine-tuning is worth, for the leaderboard of one dataset and recipe; None without a
    baseline. An interval is judged by its ends as they are shown: 0.0 is no difference.

    `model` is the recommended one; `probes` are the rows whose frozen features may be recommended
    instead, by default all.
    """
    known = board.dropna(subset=["gain"])
    if known.empty:
        return None
    if len(known) == len(board) and (known["gain_high"].map(_shown) < 0).all():
        best = known.sort_values("gain").iloc[-1]
        return (
            "None of these fits beats frozen features with a linear head: the best is "
            f"{_points(-best['gain'])} points worse "
            f"{_between(-best['gain_high'], -best['gain_low'])}. Do not trust this ranking."
        )
    allowed = known if probes is None else known[known["model"].isin(probes["model"])]
    sentences = [_own_gain(known, model), _best_probe(allowed, board, model)]
    return " ".join(filter(None, sentences)) or None


def _own_gain(known: pd.DataFrame, model: str) -> str | None:
    """What the model gains over its own frozen features; None if it has no baseline."""
    chosen = known[known["model"] == model]
    if chosen.empty:
        return None
    row = chosen.iloc[0]
    gain, between = row["gain"], _between(row["gain_low"], row["gain_high"])
    if _shown(row["gain_low"]) > 0:
        return f"Fine-tuning gains {_points(gain)} points {between} over its frozen features."
    if _shown(row["gain_high"]) < 0:
        return (
            f"Its frozen features with a linear head are {_points(-gain)} points better "
            f"{_between(-row['gain_high'], -row['gain_low'])}: take those, or another recipe."
        )
    return (
        f"Fine-tuning cannot be told apart from its frozen features with a linear head (gain "
        f"{_points(gain)} points {between}), which took {duration(row['baseline_seconds'])}."
    )


def _best_probe(known: pd.DataFrame, board: pd.DataFrame, model: str) -> str | None:
    """That another model's frozen features err no more than the recommended fit; None otherwise."""
    if known.empty:
        return None
    probe = known.sort_values("baseline_error", kind="stable").iloc[0]
    fit = board[board["model"] == model].iloc[0]
    error, fitted = float(probe["baseline_error"]), float(fit["error_rate_mean"])
    if error - fitted > 10**-DECIMALS or probe["model"] == model:
        return None
    text = (
        f"A linear head on frozen features of {probe['model']} errs on {percent(error)} "
        f"{_between(probe['baseline_low'], probe['baseline_high'])}, "
    )
    if fitted - error <= 10**-DECIMALS:
        return f"{text}as little as this fine-tune."
    every = error < float(board["error_rate_mean"].min())
    text += f"less than {'every' if every else 'this'} fine-tune"
    apart = pd.notna(fit["error_rate_low"]) and probe["baseline_high"] < fit["error_rate_low"]
    return f"{text}: take that, or another recipe." if apart else f"{text}; the intervals overlap."


def _same_inputs(record: Record, runs: pd.DataFrame) -> bool:
    """Was the baseline made with the images, image size and weights of these runs? That of a raced
    dataset may be older than the last change of the study.
    """
    own = {
        "data_fingerprint": record.data.fingerprint,
        "image_size": record.image_size,
        "weights_sha256": record.weights.get("sha256"),
    }
    same = all(set(runs[name].dropna()) <= {value} for name, value in own.items())
    return record.status == "ok" and same


def _shown(fraction: float) -> float:
    """In points, as it is shown."""
    return float(_points(fraction))


def _points(fraction: float) -> str:
    return f"{100 * fraction:z.1f}"  # z: never -0.0


def _between(low: float, high: float) -> str:
    return f"[{_points(low)}, {_points(high)}]"
