"""Stage `report`: the study as one HTML page that needs no network.

Reads params.yaml, imagenet.csv and the tables of `aggregate`; with --study2022 also the folder of
the 2022 study's re-analysis. Writes one file: the answer first, then charts and sortable tables.
Every name and reason in it may be hostile text; jinja2 escapes the page, `as_json` the charts.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from plotly.offline import get_plotlyjs

from pipeline import report_charts, report_tables
from pipeline.answer import answer
from pipeline.charts import accuracy_source, speed_source
from pipeline.command import run
from pipeline.errors import PipelineError
from pipeline.files import write_text
from pipeline.merge import read_imagenet
from pipeline.published import chart_rows
from pipeline.report_charts import Figure
from pipeline.results import Results, read_results
from pipeline.study import MODES, Study, read_study

TEMPLATE = Path(__file__).with_name("report.html.j2")
MODE_NAMES = {"infer": "inference", "train": "training"}
TRADEOFF = "Mean error over seeds, bars ± 1 standard deviation. Hover for the numbers."


@dataclass
class Charts:
    """The page's figures in order; `add` gives the number that the template draws one by."""

    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> int:
        self.figures.append(figure)
        return len(self.figures) - 1


def main(
    params: Path, imagenet: Path, results: Path, html: Path, *, study2022: Path | None = None
) -> None:
    """Write the page HTML from IMAGENET and the tables in RESULTS."""
    study = read_study(params)
    table = read_imagenet(imagenet)
    done = read_results(results)
    charts = Charts()
    page = {
        "answers": [answer(name, _of(done.board, name)) for name in study.datasets],
        "summary": _summary(study, done.runs),
        "parts": _parts(done, charts),
        "published": _published(study, table, imagenet, charts),
        "correlations": report_tables.correlations(done.correlations),
        "uncorrelated": _uncorrelated(done.correlations),
        "failures": report_tables.failures(done.runs),
        "identities": report_tables.identities(done.runs),
        "limits": _limits(study),
        "provenance": _provenance(study, done.runs, table),
        "study2022": _section_2022(study2022),
    }
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    figures = report_charts.as_json(charts.figures)
    write_text(html, template.render(**page, figures=figures, plotly=get_plotlyjs()) + "\n")


def _parts(done: Results, charts: Charts) -> list[dict[str, Any]]:
    """A part of the page per dataset and recipe: leaderboard, charts, loss curves."""
    several = done.board["recipe"].nunique() > 1
    parts = []
    for (dataset, recipe), board in done.board.groupby(["dataset", "recipe"], sort=False):
        history = done.history[
            (done.history["dataset"] == dataset) & (done.history["recipe"] == recipe)
        ]
        drawn = []
        for x, axis, title in (
            ("fit_seconds_median", "fit time (s)", "Error against fit time"),
            ("imagenet_top1", "ImageNet top-1 (%)", "Error against ImageNet accuracy"),
        ):
            if board[["error_rate_mean", x]].notna().all(axis=1).any():
                figure = report_charts.error_against(board, x, axis)
                drawn.append((charts.add(figure), title, TRADEOFF))
        parts.append(
            {
                "title": f"{dataset}, recipe {recipe}" if several else str(dataset),
                "board": report_tables.leaderboard(board),
                "note": _note(board),
                "charts": drawn,
                "curves": charts.add(report_charts.loss_curves(history)) if len(history) else None,
            }
        )
    return parts


def _note(board: pd.DataFrame) -> str:
    """What the leaderboard's columns mean here."""
    first = board.iloc[0]
    unit = (
        "Error is the share of wrong (image, tag) pairs. "
        if first["data_kind"] == "multi"
        else "Error is the share of wrong validation images. "
    )
    return (
        f"{unit}Click a heading to sort. “Behind best” is the paired difference over common seeds "
        "with its 95 % t interval: where it includes 0, the model cannot be told apart from the "
        "best. Fit time is the median of the runs on one device; score is error × (fit time + "
        "overhead), computed per run, then averaged."
    )


def _published(
    study: Study, table: pd.DataFrame, path: Path, charts: Charts
) -> list[tuple[int, str, str]]:
    drawn = []
    for mode in MODES:
        rows = chart_rows(study, table, path, mode)
        figure = report_charts.accuracy_against_speed(
            rows, f"{MODE_NAMES[mode]}, samples per second"
        )
        title = f"ImageNet accuracy against {MODE_NAMES[mode]} speed"
        note = f"{speed_source(rows)}. n = {len(rows):,} pairs of weights and image size; the "
        drawn.append((charts.add(figure), title, note + "size of a mark is the image size."))
    return drawn


def _summary(study: Study, runs: pd.DataFrame) -> str:
    counts = runs["status"].value_counts()
    states = [f"{counts[state]:,} {state}" for state in STATES if counts.get(state)]
    grid = {
        "model": study.models,
        "dataset": study.datasets,
        "recipe": study.recipes,
        "seed": study.seeds,
    }
    sizes = [f"{len(names)} {kind}{'' if len(names) == 1 else 's'}" for kind, names in grid.items()]
    return (
        f"{' × '.join(sizes)}, images at {study.image_size} pixels: {len(runs):,} runs, "
        f"{', '.join(states)}."
    )


STATES = ("ok", "failed", "diverged", "missing")


def _uncorrelated(correlations: pd.DataFrame) -> str:
    """The datasets without any coefficient, with the reasons."""
    empty = correlations.groupby("dataset", sort=False).filter(
        lambda rows: rows["spearman"].isna().all()
    )
    reasons = empty.groupby("dataset", sort=False)["reason"].unique()
    return "; ".join(f"{dataset} ({', '.join(found)})" for dataset, found in reasons.items())


def _limits(study: Study) -> list[str]:
    return [
        "They hold for this data, this recipe, this image size and these few epochs. Another "
        "learning rate or a longer training can turn the order round.",
        "The best model was chosen on the validation images that measure it, so its own error is "
        "somewhat too good; the more models are compared, the more so.",
        "Intervals over seeds cover initialisation and shuffling. They do not cover another split, "
        "nor the choice of the best among many.",
        "Fit times belong to the device named beside them; on another one the order may differ.",
        f"The score weighs error against time by a constant, {study.overhead_seconds:g} s of "
        "overhead; another constant gives another order.",
        "Published speeds were measured once each, at the batch size and image size of their file.",
    ]


def _provenance(study: Study, runs: pd.DataFrame, table: pd.DataFrame) -> list[tuple[str, str]]:
    started = runs["started_at"].dropna()
    span = f"{started.min()} to {started.max()}" if len(started) else "unknown"
    return [
        ("runs", f"{(runs['status'] == 'ok').sum():,} finished of {len(runs):,}, started {span}"),
        ("devices", _counted(runs["device"])),
        ("versions", _counted(runs["versions"])),
        ("weights from", _counted(runs["weights_source"])),
        ("timm's tables", f"{study.timm_source}; {accuracy_source(table)}"),
        *((f"{MODE_NAMES[mode]} speeds", study.charts[mode]) for mode in MODES),
    ]


def _counted(values: pd.Series) -> str:
    """Each value and in how many runs it occurs."""
    counts = values.value_counts()
    return "; ".join(f"{value} ({counts[value]:,} runs)" for value in sorted(counts.index)) or "–"


def _section_2022(folder: Path | None) -> str:
    """The fragment on the 2022 study, markup that jinja2 leaves as it is; empty without one."""
    if folder is None:
        return ""
    if not folder.is_dir():
        raise PipelineError(f"{folder}: no such folder: run `dvc repro study2022`")
    from pipeline.study2022_section import section

    return section(folder)


def _of(board: pd.DataFrame, dataset: str) -> pd.DataFrame:
    return board[board["dataset"] == dataset]


if __name__ == "__main__":
    run(main)
