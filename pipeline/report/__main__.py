"""Stage `report`: the study as one HTML page that needs no network.

Reads params.yaml, imagenet.csv, the tables of `aggregate`, races and three figures of `plot`; with
--study2022 also the folder of the 2022 study's re-analysis, with --mistakes that of stage
`mistakes`. Writes one file: the answer first, then charts and sortable tables. Names and reasons
may be hostile text: jinja2 escapes the page, `in_script` and `plain` the charts.
"""

import base64
import gzip
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.core.files import write_text
from pipeline.figures.certificate import read_certificate
from pipeline.figures.look import OTHERS, Style, legend_families, name_of, style
from pipeline.mistakes.tables import read_mistakes
from pipeline.report import charts as report_charts
from pipeline.report import mistakes as report_mistakes
from pipeline.report import tables as report_tables
from pipeline.report import words as report_words
from pipeline.results import Results, read_pool_table, read_results, read_small_and_fast
from pipeline.statistics.answer import best_row
from pipeline.statistics.fit_times import AT_MOST
from pipeline.statistics.rates import rates_of
from pipeline.study.params import MODES, Study, read_study
from pipeline.timm_results.imagenet import OWN, chart_rows, read_imagenet
from pipeline.timm_results.licences import shown

PAGE = Path(__file__).parent
PAIR = ["model", "img_size"]
DIGITS = 4  # of a speed
SCRIPTS = ("charts.js", "tables.js", "explorer.js")
MOST_DOUBTS = 4  # that the page shows unfolded beside a leaderboard
MOST_CURVES = 40  # models in a chart of loss curves
TIME = "steady_fit_seconds_median"
FINETUNE_CHARTS = (
    (TIME, report_charts.error_against_time, "Error against steady fit time"),
    ("imagenet_top1", report_charts.error_against_imagenet, "Error against ImageNet accuracy"),
)
PICTURES = (  # figures of stage `plot` that have no interactive chart here
    ("parameters", "Published speed against parameters"),
    ("image_size", "ImageNet accuracy by image size"),
    ("models_per_family", "Published weights per family"),
)
TRADEOFF = (
    "A mark is a model's mean error over seeds, its bar the 95 % interval. Bold: the recommended "
    "model; rings: those that may be the best; hover or tap for the numbers."
)
HOLLOW = " Hollow: no time of this model counts, it is at most this, so it is on no front."
OTHERS_NOTE = (
    " Rows with a source in “from” are other people's runs on the very same images, with their own "
    "settings and software: compared, but not ranked, and without times, which are in “Other "
    "people's runs”."
)
FOREST = (
    "Spearman's ρ with its 95 % bootstrap interval, without one where there are too few models. "
    "Left of 0: where the predictor is higher, this is lower."
)


@dataclass
class Charts:
    """The page's figures in order; `add` gives the number that the template draws one by."""

    figures: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> int:
        self.figures.append(figure)
        return len(self.figures) - 1


def main(
    params: Path,
    imagenet: Path,
    results: Path,
    figures: Path,
    html: Path,
    *,
    study2022: Path | None = None,
    mistakes: Path | None = None,
) -> None:
    """Write the report, one HTML page that works offline.

    Args:
        params: the study file, params.yaml
        imagenet: the table of stage `merge`
        results: the folder with the tables of `aggregate`
        figures: the folder of stage `plot`
        html: the page to write
        study2022: the folder of stage `study2022`
        mistakes: the folder of stage `mistakes`
    """
    study = read_study(params)
    table = read_imagenet(imagenet)
    for mode in MODES:
        chart_rows(study, table, imagenet, mode)  # raises where the study's file is not there
    done, others = read_results(results), read_pool_table(results)
    charts = Charts()
    page = {
        "answers": [
            report_words.answer(name, _of(done.board, name), done.rates, _of(done.runs, name))
            for name in study.datasets
        ],
        "summary": report_words.summary(study, done.runs),
        "parts": _parts(done, read_small_and_fast(results), others, charts, results / "race"),
        "other_people": report_tables.other_people(others),
        "mistakes": report_mistakes.parts(
            read_mistakes(mistakes) if mistakes else None, figures, done
        ),
        "explorer": explorer(study, table),
        "explorer_note": report_words.explorer(table),
        "pictures": [
            (text, report_mistakes.picture(figures / f"{name}.png")) for name, text in PICTURES
        ],
        "correlations": report_tables.correlations(done.correlations),
        "forests": _forests(done.correlations, charts),
        "recipes": report_tables.recipes(done.recipes),
        "estimates": report_tables.estimates(done.estimates),
        "failures": report_tables.failures(done.runs),
        "identities": report_tables.identities(done.runs),
        "limits": report_words.limits(study, done.correlations),
        "provenance": report_words.provenance(study, done.runs, table),
        "study2022": _section_2022(study2022),
    }
    write_text(html, _rendered(page, charts) + "\n")


def _rendered(page: dict[str, Any], charts: Charts) -> str:
    """The template with `page`, and with the charts, scripts and styles that it needs offline."""
    loader = jinja2.FileSystemLoader(PAGE)
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, loader=loader
    )
    return environment.get_template("report.html.j2").render(
        **page,
        terms=report_words.TERMS,
        most_doubts=MOST_DOUBTS,
        charts=report_charts.as_json(charts.figures),
        look=_text("look.css"),
        plotly=_packed(get_plotlyjs()),
        script="\n".join(_text(name) for name in SCRIPTS),
    )


def _parts(
    done: Results, small: pd.DataFrame, others: pd.DataFrame, charts: Charts, races: Path
) -> list[dict[str, Any]]:
    """A part of the page per dataset and recipe: leaderboard, doubts, charts, loss curves."""
    several = done.board["recipe"].nunique() > 1
    parts = []
    for (dataset, recipe), board in done.board.groupby(["dataset", "recipe"], sort=False):
        history, smaller = (
            rows[(rows["dataset"] == dataset) & (rows["recipe"] == recipe)]
            for rows in (done.history, small)
        )
        beside = (others["dataset_here"] == dataset) & (others["recipe_here"] == recipe)
        drawn = [
            _chart(charts, draw(board), title, x == TIME, bool(board[AT_MOST].notna().any()))
            for x, draw, title in FINETUNE_CHARTS
            if _has(board, x)
        ]
        decides = drawn[0] if _has(board, TIME) else None
        parts.append(
            {
                "title": f"{dataset}, recipe {recipe}" if several else str(dataset),
                "board": report_tables.leaderboard(board, others[beside]),
                "rates": report_tables.rates(rates_of(done.rates, str(dataset), str(recipe))),
                "note": report_words.note(board) + OTHERS_NOTE * bool(beside.any()),
                "not_timed": report_words.not_timed(board),
                "doubts": report_words.doubts(board),
                "doubted": int(board["doubts"].notna().sum()),
                "models": int((board["n"] > 0).sum()),
                "decides": decides,
                "charts": drawn[1:] if decides else drawn,
                "small": report_tables.small_and_fast(smaller),
                "small_note": report_words.small_and_fast(smaller),
                "curves": _curves(board, history, charts),
                "race": _race(races / f"{dataset}.json", board, done.runs),
            }
        )
    return parts


def _has(board: pd.DataFrame, x: str) -> bool:
    """Whether a chart of the error against `x` has a mark."""
    known = board[x].notna()
    if x == TIME:
        known |= board[AT_MOST].notna()
    return bool((known & board["error_rate_mean"].notna()).any())


def _chart(
    charts: Charts, figure: Figure, title: str, of_time: bool, bounded: bool
) -> dict[str, Any]:
    """A chart of the error; `log` says whether its axis starts logarithmic, None for never."""
    log = report_charts.is_logarithmic(figure) if of_time else None
    caption = TRADEOFF + HOLLOW * (of_time and bounded)
    return {"number": charts.add(figure), "title": title, "caption": caption, "log": log}


def _curves(board: pd.DataFrame, history: pd.DataFrame, charts: Charts) -> dict[str, Any] | None:
    """The loss curves of the best models, and their caption; None where no run has any."""
    if history.empty:
        return None
    best = board["model"].head(MOST_CURVES).tolist()
    which = "" if len(board) <= MOST_CURVES else f" of the best {MOST_CURVES} models"
    return {
        "number": charts.add(report_charts.loss_curves(history, best)),
        "caption": f"Validation loss after each epoch, one line per run{which}. A click in the "
        "legend hides a model, a double click shows it alone.",
    }


def _race(path: Path, board: pd.DataFrame, runs: pd.DataFrame) -> dict[str, Any] | None:
    """What the race of a leaderboard's dataset certifies, what to know beside it, and the picture
    of who left when; None without a race with its recipe.
    """
    found = read_certificate(path) if path.is_file() else None
    if found is None or found.recipe != board["recipe"].iloc[0]:
        return None
    said = found.other_runs(runs)
    if said is None and (board["n"] > 0).any():
        first = best_row(board[board["n"] > 0])["model"]
        if why := found.beside(str(first)):
            said = f"{first} has the lowest mean error of the table, but the race {why}"
    return {
        "sentences": [*([f"{said}."] if said else []), *found.sentences],
        "picture": report_mistakes.picture(path.with_suffix(".png"), found.again),
    }


def _forests(correlations: pd.DataFrame, charts: Charts) -> list[dict[str, Any]]:
    """A chart of rank correlations per outcome that has any."""
    known = correlations.dropna(subset="spearman")
    return [
        {
            "number": charts.add(report_charts.rank_correlations(known, outcome)),
            "title": f"What goes with {name_of(outcome)}?",
            "caption": FOREST,
            "height": report_charts.height_of(known, outcome),
        }
        for outcome in known["outcome"].unique()
    ]


def _section_2022(folder: Path | None) -> str:
    """The fragment on the 2022 study, markup that jinja2 leaves as it is; empty without one."""
    if folder is None:
        return ""
    path = folder / "section.html"
    if not path.is_file():
        raise PipelineError(f"{path}: no such file: run `dvc repro study2022`")
    text = path.read_text(encoding="utf-8")
    return Markup(text) if "<section" in text else ""


def _packed(script: str) -> str:
    """A script as text that charts.js unpacks: the same bytes every time."""
    return base64.b64encode(gzip.compress(script.encode(), mtime=0)).decode("ascii")


def _text(name: str) -> str:
    return (PAGE / name).read_text(encoding="utf-8")


def _of(board: pd.DataFrame, dataset: str) -> pd.DataFrame:
    return board[board["dataset"] == dataset]


def explorer(study: Study, imagenet: pd.DataFrame) -> str:
    """JSON for `explorer.js`, safe inside a script; it starts at the study's inference chart."""
    pairs = imagenet.drop_duplicates(PAIR).reset_index(drop=True)
    families = list(dict.fromkeys(pairs["family"]))
    in_legend = legend_families(pairs["family"], report_tables.MOST_FAMILIES)
    families.sort(key=lambda name: in_legend.index(name) if name in in_legend else len(in_legend))
    files = _files(imagenet, pairs)
    names = [file["name"] for file in files]
    data = {
        "families": [
            {"name": name, **_look(style(name)), "legend": name in in_legend} for name in families
        ],
        "others": _look(OTHERS),
        "model": pairs["model"].tolist(),
        "family": pairs["family"].map(families.index).tolist(),
        "pretraining": pairs["pretraining"].tolist(),
        "licence": [shown(licence) for licence in pairs["licence"]],
        "pixels": pairs["img_size"].tolist(),
        "top1": [round(value, 2) for value in pairs["top1"]],
        "params": [round(value, 1) for value in pairs["params_m"]],
        "studied": pairs.index[pairs["model"].isin(study.models)].tolist(),
        "files": files,
        "start": names.index(study.charts["infer"]),
    }
    return report_charts.in_script(json.dumps(data, separators=(",", ":"), allow_nan=False))


def _files(imagenet: pd.DataFrame, pairs: pd.DataFrame) -> list[dict[str, Any]]:
    """Every benchmark file, those of one device from the newest torch to the oldest."""
    timed = imagenet[imagenet["benchmark_file"] != ""]
    order = pd.MultiIndex.from_frame(pairs[PAIR])
    files = []
    for name, rows in timed.groupby("benchmark_file"):
        first = rows.iloc[0]
        aligned = rows.set_index(PAIR)[["samples_per_second", "batch_size"]].reindex(order)
        files.append(
            {
                "name": name,
                "mode": first["mode"],
                "device": first["device"],
                "setup": _setup(first),
                "speed": [_rounded(value) for value in aligned["samples_per_second"]],
                "batch": aligned["batch_size"].fillna(0).astype(int).tolist(),
            }
        )
    torch = timed.groupby("benchmark_file")["torch"].first().map(_version)
    files.sort(key=lambda file: torch[file["name"]], reverse=True)
    return sorted(files, key=lambda file: (file["mode"], file["device"]))


def _look(look: Style) -> dict[str, str]:
    return {"colour": look.colour, "symbol": look.symbol}


def _setup(file: pd.Series) -> str:
    """`amp, nchw, torch 2.9.1, cu130, dynamo`, after `own` if it is this machine's."""
    own = "own" if file["measured_by"] == OWN else ""
    known = [own, file["precision"], file["layout"], f"torch {file['torch']}", file["backend"]]
    return ", ".join(part for part in [*known, "dynamo" * (file["compile"] == "dynamo")] if part)


def _version(torch: str) -> tuple[int, ...]:
    return tuple(int(part) for part in torch.split(".") if part.isdigit())


def _rounded(speed: float) -> int | float:
    """A speed to four digits; 0 for none."""
    if pd.isna(speed):
        return 0
    short = float(f"{speed:.{DIGITS}g}")
    return int(short) if short.is_integer() else short


if __name__ == "__main__":
    run(main)
