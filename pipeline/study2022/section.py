"""The 2022 study as a section of the report: an HTML fragment from the stage's files."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from pipeline.core.errors import PipelineError
from pipeline.study2022.corrected import TOP
from pipeline.study2022.printed import LEARNING_RATES

TEMPLATE = "section.html.j2"
TITLES = {"pets": "Pets", "planet": "Planet sample"}


def section(out: Path) -> Markup:
    """The fragment, from the folder that stage `study2022` wrote; it is not to be escaped."""
    if not (out / "summary.json").is_file():
        raise PipelineError(f"{out}: not a folder of stage study2022: run `dvc repro study2022`")
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    models = pd.read_csv(out / "models.csv")
    first = models[models["learning_rate"] == LEARNING_RATES[0]]
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = environment.get_template(TEMPLATE).render(
        summary=summary,
        titles=TITLES,
        rates=LEARNING_RATES,
        top=TOP,
        figure=_inline(out / "published_against_runs.svg"),
        boards={
            dataset: _rows(part[(part["rank"] <= TOP) | (part["published_rank"] <= TOP)])
            for dataset, part in first.groupby("dataset")
        },
        survivors=_rows(pd.read_csv(out / "survivors.csv")),
        correlations=_rows(_table(out / "correlations.csv")),
    )
    return Markup(text)


def _table(path: Path) -> pd.DataFrame:
    """A table of ours; one without rows was written without columns."""
    return pd.read_csv(path) if path.read_text(encoding="utf-8").strip() else pd.DataFrame()


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows with None for what is absent."""
    return [
        {str(key): None if pd.isna(value) else value for key, value in row.items()}
        for row in table.to_dict("records")
    ]


def _inline(path: Path) -> Markup:
    """Our own SVG without its XML head, as wide as the page; its text is drawn as outlines."""
    svg = path.read_text(encoding="utf-8")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    head, _, rest = svg.partition(">")
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return Markup(f'{head} role="img" aria-labelledby="study2022-figure">{rest}')
