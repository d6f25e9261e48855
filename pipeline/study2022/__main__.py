"""Stage `study2022`: the 2022 study's published tables reproduced, and its runs compared.

Reads the study's CSV of 894 runs, a file or URL@COMMIT:FILE of a git repository, and, where given,
ImageNet accuracy of today (stage merge's table) and of June 2022 (timm's results-imagenet.csv).
Writes a folder:
    published/*.csv             the four tables that the study printed, of its top 15
    runs.csv                    every run with its pass, learning rate, score and weights today
    models.csv, own_rate.csv, survivors.csv, correlations.csv (pipeline/study2022/corrected.py)
    published_against_runs, top_15 (.svg, .png)             (pipeline/study2022/page.py)
    summary.json                source, counts, noise, tie sets
    section.html                the report's section
and, if asked, a record per run (pipeline/study2022/as_records.py). What looked like noise on Planet
was the learning rate: see pipeline/study2022/printed.py.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib import rc_context

from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.core.files import replacing_folder, write_json, write_table, write_text
from pipeline.figures.look import LOOK, save
from pipeline.statistics.intervals import pooled_noise
from pipeline.study2022.as_records import write_records
from pipeline.study2022.corrected import (
    IMAGES,
    TOP,
    at_own_rate,
    corrected,
    correlations,
    run_noise,
    survivors,
)
from pipeline.study2022.page import published_against_runs, section, top_15
from pipeline.study2022.printed import (
    IMAGE_SIZE,
    LEARNING_RATES,
    Source,
    printed_tables,
    published,
    read_sweep,
    sweep_file,
)
from pipeline.timm_results.imagenet import at_nearest_size, read_imagenet
from pipeline.timm_results.published_tables import read_accuracy

LEFT_OUT = "<!-- Left out: params.yaml names no source of its runs (study2022.source). -->\n"


def main(
    sweep_csv: str,
    out: Path,
    *,
    imagenet: Path | None = None,
    imagenet_2022: Path | None = None,
    records: Path | None = None,
) -> None:
    """Analyse the runs of the 2022 study.

    Args:
        sweep_csv: the runs, a file or URL@COMMIT:FILE; none: the folder only notes that
        out: the folder to write
        imagenet: the table of stage `merge`
        imagenet_2022: timm's results-imagenet.csv of June 2022
        records: a folder to write every run to as a record of our own
    """
    if out.exists() and not (out / "summary.json").is_file() and any(out.iterdir()):
        raise PipelineError(f"{out}: not a folder that `study2022` made, and it would be replaced")
    if sweep_csv == "none":
        with replacing_folder(out) as folder:
            write_json(folder / "summary.json", {"source": None})
            write_text(folder / "section.html", LEFT_OUT)
        return
    with sweep_file(sweep_csv) as (path, source):
        runs = read_sweep(path)
    if not runs["finished"].any():
        raise PipelineError(f"{source.title}: no run has an error rate and a time to compare")
    with replacing_folder(out) as folder:
        analyse(runs, source, accuracies(runs, imagenet, imagenet_2022), folder)
    if records is not None:
        count = write_records(runs, records, source.title)
        print(f"{records}: {count} records")
    print(f"{out}: {len(runs)} runs, {runs['finished'].sum()} finished, of {source.title}")


def analyse(runs: pd.DataFrame, source: Source, top1: dict[str, pd.Series], folder: Path) -> None:
    """Write tables, figure, summary and section of `runs` into `folder`."""
    models, own = corrected(runs), at_own_rate(runs)
    kept = survivors(runs)
    for name, table in printed_tables(runs).items():
        write_table(folder / "published" / f"{name}.csv", table)
    write_table(folder / "runs.csv", runs)
    write_table(folder / "models.csv", models)
    write_table(folder / "own_rate.csv", own)
    write_table(folder / "survivors.csv", kept)
    write_table(folder / "correlations.csv", correlations(runs, top1))
    write_json(folder / "summary.json", summary(runs, models, own, kept, source))
    with rc_context(LOOK):
        save(published_against_runs(runs, own), folder, "published_against_runs")
        save(top_15(models, own), folder, "top_15")
    write_text(folder / "section.html", section(folder))


def accuracies(
    runs: pd.DataFrame, imagenet: Path | None, imagenet_2022: Path | None
) -> dict[str, pd.Series]:
    """ImageNet top-1 by the study's model name, from each table given; null where it has none.

    Today's is at the published image size nearest to the study's.
    """
    names = runs.drop_duplicates("model_name").set_index("model_name")["model"]
    found = {}
    if imagenet_2022 is not None:
        then = read_accuracy(imagenet_2022).set_index("model")["top1"]
        found["June 2022"] = then.reindex(names.index)
    if imagenet is not None:
        rows = read_imagenet(imagenet)
        rows = at_nearest_size(rows, IMAGE_SIZE).drop_duplicates("model")
        found["today, by the 2022 weights"] = names.map(rows.set_index("model")["top1"])
    if len(found) == 2:
        then, today = found.values()
        found["June 2022, else today"] = then.fillna(today)
    return found


def summary(
    runs: pd.DataFrame,
    models: pd.DataFrame,
    own: pd.DataFrame,
    kept: pd.DataFrame,
    source: Source,
) -> dict[str, Any]:
    """The headline numbers."""
    finished = runs[runs["finished"]]
    rates = finished.groupby("model_name")["learning_rate"].nunique()
    datasets = sorted(set(finished["dataset"]))
    return {
        "source": asdict(source),
        "runs": {
            "all": len(runs),
            "finished": len(finished),
            "models": len(rates),
            "models_at_two_rates": int((rates == 2).sum()),
        },
        "datasets": {name: _dataset(name, runs, models, own, kept) for name in datasets},
    }


def _dataset(
    name: str, runs: pd.DataFrame, models: pd.DataFrame, own: pd.DataFrame, kept: pd.DataFrame
) -> dict[str, Any]:
    finished = runs[runs["finished"] & (runs["dataset"] == name)]
    table = published(finished)
    models, own = models[models["dataset"] == name], own[own["dataset"] == name]
    kept = kept[kept["dataset"] == name]
    all_runs = pooled_noise(finished["error_rate"], finished["model_name"])
    return {
        "models": len(table),
        "mixed": int(table["mixed"].sum()),
        "images": IMAGES.get(name),
        "survive": {
            setting: dict(zip(part["score"], part["survive"].astype(int), strict=True))
            for setting, part in kept.groupby("runs", sort=False)
        },
        "sd_all_runs": None if all_runs is None else all_runs.sd,
        "noise": [
            {"learning_rate": rate, **noise.to_json()}
            for rate in LEARNING_RATES
            if (noise := run_noise(finished[finished["learning_rate"] == rate])) is not None
        ],
        "may_be_best": [
            {"learning_rate": rate, **_may_be_best(part)}
            for rate in LEARNING_RATES
            if len(part := models[models["learning_rate"] == rate])
        ],
        "own_rate": {**_may_be_best(own), **_against_published(own)},
    }


def _may_be_best(models: pd.DataFrame) -> dict[str, int | None]:
    """How many of these models may be the best on the same images, and on others."""
    return {
        "models": len(models),
        "tied": _count(models["tied"]),
        "tied_with_images": _count(models["tied_with_images"]),
    }


def _against_published(own: pd.DataFrame) -> dict[str, Any]:
    """How the published top 15 compare with the means at each model's own rate."""
    top = own[own["published_rank"] <= TOP]
    return {
        "survive": int((top["rank"] <= TOP).sum()),
        "published_lower_by": float(1 - (top["published_score"] / top["score_mean"]).mean()),
        "published_at_second_rate": int(
            (top["published_learning_rate"] == LEARNING_RATES[1]).sum()
        ),
    }


def _count(flags: pd.Series) -> int | None:
    """How many are true; None where one is not known."""
    return None if flags.isna().any() else int(flags.sum())


if __name__ == "__main__":
    run(main)
