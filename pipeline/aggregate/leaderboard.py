"""Runs as a leaderboard, what a recipe changes, and other people's runs beside this study's.

Three tables over the same runs. A leaderboard has a row per dataset, recipe and model. What a
recipe changes is seen in pairs with the first recipe of params.yaml. Its effect on a model is the
mean difference over the seeds that finished under both; on a family, the mean over its models, with
a t interval between them, because the family's other models are what one wants to know about. An
interval needs two models. Steady fit times are compared as ratios, of runs whose times count.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from pipeline.finetune.recipe import fit_settings
from pipeline.pool.checked import Pooled, reduced
from pipeline.records import Record
from pipeline.results import KEY, LEADERBOARD, POOL, RECIPES
from pipeline.statistics.answer import Baselines, baseline_columns, best_row
from pipeline.statistics.comparison import DECIMALS, compare, gaps_without_common_seeds, mean_of
from pipeline.statistics.doubts import doubt_of_less_stable, join_doubts
from pipeline.statistics.fit_times import COLUMNS, devices_of_times, fronts, with_bounds
from pipeline.statistics.intervals import CONFIDENCE
from pipeline.statistics.rates import with_own, without_single_rates
from pipeline.statistics.validation_images import exact_share, image_noise, labels_of
from pipeline.study.params import Study
from pipeline.timm_results.families import family

COUNTS = ["n", "n_timed", "n_not_timed", "n_shared", "n_common"]
TRUTHS = ["tied", "tied_here", "on_front"]
COMPARED = (  # columns of leaderboard.csv that are a comparison's fields of another name
    ("error_rate_low", "low"),
    ("error_rate_high", "high"),
    ("interval_covers", "covers"),
    ("images", "images"),
    ("p_best", "p_best"),
    ("tied", "tied"),
    ("tied_here", "tied_here"),
    ("gap_to_best", "gap"),
    ("gap_low", "gap_low"),
    ("gap_high", "gap_high"),
    ("n_common", "n_common"),
)


def leaderboard(
    study: Study,
    runs: pd.DataFrame,
    answers: pd.DataFrame,
    published: pd.DataFrame,
    baselines: Baselines,
    doubts: pd.Series,
    own: pd.DataFrame,
) -> pd.DataFrame:
    """One row per dataset, recipe and model of the grid; best first, the unranked last.

    `doubts` is what `doubts_column` makes of the records. `own` are runs that
    `statistics/rates.py` put together: their leaderboards come first.
    """
    board = _unfinished(with_own(runs, own))
    ok = runs[runs["status"] == "ok"]
    ok = ok.merge(answers, how="left", on=[*KEY, "seed"], validate="one_to_one")
    devices = devices_of_times(ok)
    score = own["error_rate"] * (own["steady_fit_seconds"] + study.overhead_seconds)
    ok = with_own(ok, own[own["status"] == "ok"].assign(score=score))
    timed = ok[ok["not_timed"].isna()]
    on_device = ok[ok["device"] == ok["dataset"].map(devices)]
    board = board.join([_quality(ok), _times(timed), _not_timed(ok), _memory(on_device)])
    board = with_bounds(board, on_device)
    about = ["data_kind", "n_train", "n_valid", "chance_error_rate"]
    data = runs.groupby("dataset", sort=False)[about].first().reset_index()
    n_valid = data.dropna(subset="n_valid").set_index("dataset")["n_valid"].to_dict()
    board = board.join(compared(ok, board, n_valid))
    board = board.join(baseline_columns(ok, baselines))
    board = _with_doubts(board, doubts).reset_index()
    board["device"] = board["dataset"].map(devices).where(board["n_timed"] > 0)
    board[COUNTS] = board[COUNTS].fillna(0).astype(int)
    board[TRUTHS] = board[TRUTHS].astype("boolean")
    board["rank"] = _ranks(board)
    board = board.merge(data, on="dataset", how="left", validate="many_to_one")
    board = board.merge(published, on="model", how="left", validate="many_to_one")
    return _sorted(study, board)[list(LEADERBOARD)]


def _unfinished(runs: pd.DataFrame) -> pd.DataFrame:
    """A row for each group of the grid, in its order: how many runs failed or are missing."""
    return runs.groupby(KEY, sort=False).agg(
        n_failed=("status", lambda status: int(status.isin(["failed", "diverged"]).sum())),
        n_missing=("status", lambda status: int((status == "missing").sum())),
    )


def _with_doubts(board: pd.DataFrame, doubts: pd.Series) -> pd.DataFrame:
    """`board` with the doubts of the records and of the comparison in one column."""
    board = board.assign(doubts=doubts)
    cells = board[["doubts", "stability_doubt"]].to_numpy(dtype=object)
    return board.assign(doubts=[join_doubts(each) for each in cells])


def _quality(ok: pd.DataFrame) -> pd.DataFrame:
    found = ok.groupby(KEY).agg(
        n=("error_rate", "count"),
        error_rate_mean=("error_rate", "mean"),
        error_rate_sd=("error_rate", "std"),
        fbeta2_mean=("fbeta2", "mean"),
    )
    return found.round({"error_rate_mean": DECIMALS})  # as `compare`'s: equal mistakes are equal


def _times(timed: pd.DataFrame) -> pd.DataFrame:
    return timed.groupby(KEY).agg(
        steady_fit_seconds_median=("steady_fit_seconds", "median"),
        steady_fit_seconds_sd=("steady_fit_seconds", "std"),
        start_up_seconds_median=("start_up_seconds", "median"),
        energy_wh_median=("energy_wh", "median"),
        score_mean=("score", "mean"),
        images_per_second_median=("images_per_second", "median"),
        n_timed=("steady_fit_seconds", "count"),
    )


def _not_timed(ok: pd.DataFrame) -> pd.DataFrame:
    return ok.groupby(KEY).agg(
        n_not_timed=("not_timed", "count"),
        not_timed=("not_timed", lambda why: "; ".join(sorted(set(why.dropna()))) or None),
        n_shared=("shared", lambda shared: int((shared == True).sum())),  # noqa: E712 - may be null
    )


def _memory(on_device: pd.DataFrame) -> pd.DataFrame:
    return on_device.groupby(KEY).agg(
        peak_memory_gib_max=("peak_memory_gib", "max"),
        peak_rss_gib_max=("peak_rss_gib", "max"),
    )


def compared(ok: pd.DataFrame, costs: pd.DataFrame, n_valid: dict[Any, int]) -> pd.DataFrame:
    """The comparison and fronts of each dataset's and recipe's models; needs `n_valid`."""
    tables = []
    for (dataset, recipe), runs in ok.groupby(KEY[:2], sort=False):
        if dataset in n_valid:
            errors = _best_first(runs.pivot(index="model", columns="seed", values="error_rate"))
            images = image_noise(runs, errors.index)
            found = compare(errors.to_numpy(dtype=float), n_valid[dataset], images)
            table = pd.DataFrame({column: getattr(found, name) for column, name in COMPARED})
            table["stability_doubt"] = [
                doubt_of_less_stable(of_model) if apart else None
                for apart, (_, of_model) in zip(found.less_stable, errors.iterrows(), strict=True)
            ]
            names: dict[str, Any] = {"dataset": dataset, "recipe": recipe, "model": errors.index}
            table = table.assign(**names).set_index(KEY)
            cost = costs.reindex(table.index)
            tables.append(table.join(fronts(found, cost, runs[runs["not_timed"].isna()])))
    if not tables:
        names = {"columns": [*KEY, *(name for name, _ in COMPARED), "stability_doubt", *COLUMNS]}
        return pd.DataFrame(**names).set_index(KEY)
    return pd.concat(tables)


def _best_first(errors: pd.DataFrame) -> pd.DataFrame:
    """Error rates [models, seeds] by their means: so nothing drawn depends on the models' names."""
    cells = errors.to_numpy(dtype=float)
    return errors.iloc[np.lexsort((*cells.T, mean_of(cells)))]


def _ranks(board: pd.DataFrame) -> pd.Series:
    """1 for the tied, the others by mean error behind them; null without a finished run."""
    place = board["error_rate_mean"].where(~board["tied"].fillna(False).astype(bool), -1.0)
    ranks = board.assign(place=place).groupby(KEY[:2])["place"].rank(method="min")
    return ranks.astype("Int64")


def _sorted(study: Study, board: pd.DataFrame) -> pd.DataFrame:
    """In params.yaml's order of datasets and recipes, then by rank, error, params.yaml's order.

    What is no recipe of params.yaml comes before its recipes.
    """
    others = [name for name in board["recipe"].unique() if name not in study.recipes]
    place = pd.DataFrame(
        {
            "dataset": board["dataset"].map(study.datasets.index),
            "recipe": board["recipe"].map([*others, *study.recipes].index),
            "rank": board["rank"],
            "error": board["error_rate_mean"],
            "model": board["model"].map({name: i for i, name in enumerate(study.models)}),
        }
    )
    return board.loc[place.sort_values(list(place.columns)).index].reset_index(drop=True)


EVERY_FAMILY = "all"  # not the name of a family


def recipe_effects(study: Study, runs: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset, recipe but the first, and family, `all` of them first."""
    ok = runs[runs["status"] == "ok"].copy()
    ok["timed"] = ok["steady_fit_seconds"].where(ok["not_timed"].isna())
    first = ok[ok["recipe"] == study.recipes[0]]
    pairs = ok.merge(
        first[["dataset", "model", "seed", "error_rate", "timed"]],
        on=["dataset", "model", "seed"],
        suffixes=("", "_first"),
        validate="many_to_one",
    )
    pairs = pairs[pairs["recipe"] != study.recipes[0]]
    pairs["difference"] = pairs["error_rate"] - pairs["error_rate_first"]
    pairs["log_ratio"] = np.log(pairs["timed"] / pairs["timed_first"])
    models = pairs.groupby(["dataset", "recipe", "family", "model"], sort=False).agg(
        difference=("difference", "mean"), log_ratio=("log_ratio", "mean"), pairs=("seed", "count")
    )
    rows = list(_rows(study, models.reset_index()))
    return pd.DataFrame(rows, columns=list(RECIPES))


def _rows(study: Study, models: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for dataset in study.datasets:
        for recipe in study.recipes[1:]:
            part = models[(models["dataset"] == dataset) & (models["recipe"] == recipe)]
            groups = [(EVERY_FAMILY, part), *part.groupby("family")] if len(part) else []
            for name, few in groups:
                error, ratio = _mean(few["difference"]), np.exp(_mean(few["log_ratio"].dropna()))
                yield {
                    "dataset": dataset,
                    "recipe": recipe,
                    "against": study.recipes[0],
                    "family": name,
                    "n_models": len(few),
                    "n_pairs": int(few["pairs"].sum()),
                    **dict(zip(_ERROR, error, strict=True)),
                    **dict(zip(_RATIO, ratio, strict=True)),
                }


_ERROR = ("error_difference", "error_difference_low", "error_difference_high")
_RATIO = ("steady_fit_time_ratio", "steady_fit_time_ratio_low", "steady_fit_time_ratio_high")


def _mean(values: pd.Series) -> np.ndarray:
    """The mean and the ends of its 95 % t interval [3]; NaN where there are too few values."""
    mean, half = values.mean(), np.nan
    if len(values) > 1:
        width = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
        half = width * values.std() / np.sqrt(len(values))
    return np.array([mean, mean - half, mean + half], dtype=float).round(DECIMALS)


_THEIR_GROUP = [  # what runs of one source must share to be compared with each other
    "dataset",
    "recipe",
    "settings",
    "image_size",
    "data_fingerprint",
    "data_kind",
    "n_valid",
    "labels",
]


def pool_table(
    pool: Sequence[Pooled], here: pd.DataFrame, board: pd.DataFrame, rates: pd.DataFrame
) -> pd.DataFrame:
    """One row per source, dataset, recipe and model of other people's runs, best first.

    `here` are this study's finished runs with their answers, `board` and `rates` its tables. A
    model is held against the study's best where the fingerprint says that images, labels and split
    are the same; then `gap` is its mean error minus that of the best.
    """
    tables = []
    for source in pool:
        rows = pd.DataFrame([_pooled_row(record) for record in source.records])
        for _, runs in rows.groupby(_THEIR_GROUP, sort=False, dropna=False):
            table = _their_board(runs).join(_beside(runs, here, board, rates), on="model")
            about = source.manifest
            where = about.where if "://" in about.where else about.where.rpartition("/")[2]
            named = {"from": about.name, "who": about.who, "where": where}  # no local path
            tables.append(table.assign(**named, revision=about.revision))
    found = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return found.reindex(columns=list(POOL))


def _pooled_row(record: Record) -> dict[str, Any]:
    """One run as a row; a time counts where its own record says nothing against it."""
    timed = record.not_for_speed is None and not record.device.shared
    return {
        "dataset": record.dataset,
        "recipe": record.recipe,
        "model": record.model,
        "status": record.status,
        "seed": record.seed,
        "settings": settings_of(record),
        "image_size": record.image_size,
        "data_fingerprint": record.data.fingerprint,
        "data_kind": record.data.kind,
        "n_valid": record.data.n_valid,
        "labels": labels_of(record),
        "error_rate": exact_share(record.metrics.error_rate, record.data.n_valid, record),
        "valid_wrong": record.valid_wrong,
        "steady_fit_seconds": record.steady_fit_seconds if timed else None,
        "device": record.device.label,
    }


def settings_of(record: Record) -> str:
    """The settings that two runs must share to differ in model and seed alone, as text."""
    config = reduced(record).config
    return json.dumps(config | {"recipe": fit_settings(config["recipe"])}, sort_keys=True)


def _their_board(runs: pd.DataFrame) -> pd.DataFrame:
    """One row per model of a group of one source, compared with each other alone."""
    first, ok = runs.iloc[0], runs[runs["status"] == "ok"]
    names = [each for each in _THEIR_GROUP if each in POOL]
    failed = (runs["status"] != "ok").groupby(runs["model"]).sum()
    board = pd.DataFrame({"n": ok.groupby("model").size(), "n_failed": failed})
    board = board.fillna(0).astype(int)
    board["error_rate_mean"] = ok.groupby("model")["error_rate"].mean().round(DECIMALS)
    if len(ok) and pd.notna(first["n_valid"]) and first["n_valid"] > 0:
        errors = _best_first(_errors(ok, _their_columns(ok)))
        images = image_noise(ok, errors.index)
        found = compare(errors.to_numpy(), int(first["n_valid"]), images)
        ends = {"error_rate_low": found.low, "error_rate_high": found.high}
        board = board.join(pd.DataFrame({**ends, "tied_there": found.tied}, index=errors.index))
    board = board.join(_their_times(ok))
    board = board.sort_values("error_rate_mean", kind="stable").rename_axis("model").reset_index()
    board["family"] = board["model"].map(family)
    return board.assign(**{name: first[name] for name in names})


def _their_times(ok: pd.DataFrame) -> pd.DataFrame:
    """By model, the median steady fit time on the device of most of its timed runs."""
    timed = ok.dropna(subset=["steady_fit_seconds", "device"])
    seconds = timed.groupby(["model", "device"])["steady_fit_seconds"].agg(["count", "median"])
    most = seconds.reset_index().sort_values(["count", "device"], ascending=[False, True])
    names = {"median": "steady_fit_seconds_there", "device": "device_there"}
    return most.drop_duplicates("model").set_index("model")[list(names)].rename(columns=names)


def _beside(
    runs: pd.DataFrame, here: pd.DataFrame, board: pd.DataFrame, rates: pd.DataFrame
) -> pd.DataFrame:
    """By model of a group of one source: how it stands to this study's best on the same images."""
    not_compared = pd.DataFrame(index=pd.Index([], dtype=object))
    fingerprint, ok = runs["data_fingerprint"].iloc[0], runs[runs["status"] == "ok"]
    same = here[here["data_fingerprint"].notna() & (here["data_fingerprint"] == fingerprint)]
    if ok.empty or same["n_valid"].iloc[:1].tolist() != ok["n_valid"].iloc[:1].tolist():
        return not_compared
    finished = board[board["dataset"].isin(same["dataset"]) & (board["n"] > 0)]
    best = best_row(without_single_rates(finished, rates))
    ours = same[(same["dataset"] == best["dataset"]) & (same["recipe"] == best["recipe"])]
    if (ours["labels"].dropna() != ok["labels"].iloc[0]).any():
        return not_compared
    names = [f"theirs {model}" for model in ok["model"]]
    both = pd.concat([ours, ok.assign(model=names)], ignore_index=True)
    our_columns = [f"seed {each}" for each in ours["seed"]]  # unlike theirs: nothing is paired
    errors = _errors(both, pd.Series(our_columns + _their_columns(ok).tolist()))
    found = gaps_without_common_seeds(
        errors.to_numpy(),
        int(best["n_valid"]),
        image_noise(both, errors.index),
        errors.index.tolist().index(best["model"]),
    )
    table = pd.DataFrame({name: getattr(found, key) for name, key in _GAPS}, index=errors.index)
    theirs = dict.fromkeys(ok["model"])
    table = table.loc[[f"theirs {model}" for model in theirs]].set_axis(list(theirs))
    settings = ours["settings"].dropna().unique().tolist()
    return table.assign(
        dataset_here=best["dataset"],
        recipe_here=best["recipe"],
        model_here=best["model"],
        same_settings=settings == [runs["settings"].iloc[0]] if settings else None,
    )


_GAPS = (
    ("gap", "gap"),
    ("gap_low", "low"),
    ("gap_high", "high"),
    ("gap_covers", "covers"),
    ("images", "images"),
)


def _errors(runs: pd.DataFrame, column: pd.Series) -> pd.DataFrame:
    """Error rates by model and `column`."""
    wide = runs.assign(column=column).pivot(index="model", columns="column", values="error_rate")
    return wide.astype(float)


def _their_columns(ok: pd.DataFrame) -> pd.Series:
    """What tells apart the runs of each model of one source: their seeds. Where a seed is there
    twice, made by other code for instance, their numbers: then nothing is paired.
    """
    twice = ok.duplicated(["model", "seed"]).any()
    return ok.groupby("model").cumcount() if twice else ok["seed"]
