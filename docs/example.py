"""The published example, made again: `python -m docs.example`, the 2022 study's report.

Reads the study's 894 runs and timm's tables, by default those in WB_SHARED (../shared). Writes
docs/example/report.html and README's figure, docs/img/top_15.png, also in dark; with --out only
OUT/report.html. The runs become records of our own and go through the stages that make any report,
so the same runs and code give the same bytes.
"""

import colorsys
import os
import shutil
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml
from PIL import Image

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.merge import __main__ as merge
from pipeline.plot import __main__ as plot
from pipeline.report import __main__ as report
from pipeline.study2022 import __main__ as study2022
from pipeline.study2022.as_records import DATASETS, RECIPES

ROOT = Path(__file__).parent.parent
SHARED = ROOT / os.environ.get("WB_SHARED", "../shared")
SWEEP, TABLES = SHARED / "reference/sweep_2022.csv", SHARED / "timm-results"
EXAMPLE, FIGURES = ROOT / "docs/example", ROOT / "docs/img"
SEEDS = (1, 2, 3)  # the study's repeats


def main(*, out: Path = EXAMPLE, sweep: str = str(SWEEP), tables: Path = TABLES) -> None:
    """Make the 2022 study's report again, OUT/report.html.

    Args:
        out: the folder to write it to
        sweep: the study's runs, a file or URL@COMMIT:FILE
        tables: timm's tables, the folder of stage `fetch`
    """
    if not tables.is_dir():
        raise PipelineError(f"{tables}: no such folder: name timm's tables with --tables")
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make(work, sweep, tables)
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(work / "report.html", out / "report.html")
        if out == EXAMPLE:
            shutil.copy(work / "study2022/top_15.png", FIGURES / "top_15.png")
            darkened(FIGURES / "top_15.png").save(FIGURES / "top_15_dark.png", optimize=True)


def darkened(picture: Path) -> Image.Image:
    """The picture in few colours for a dark page: light and dark change places, the hues stay."""
    with Image.open(picture) as image:
        made = image.copy()
    palette = made.getpalette() or []
    dark: list[int] = []
    for place in range(0, len(palette), 3):
        hue, light, saturation = colorsys.rgb_to_hls(*(each / 255 for each in palette[place:][:3]))
        turned = colorsys.hls_to_rgb(hue, 1 - 0.92 * light, saturation)
        dark += [round(255 * each) for each in turned]
    made.putpalette(dark)
    return made


def make(work: Path, sweep: str, tables: Path) -> None:
    """All that the report is made of, in an empty folder."""
    imagenet, runs, results = work / "imagenet.csv", work / "runs", work / "results"
    params, figures, study = work / "params.yaml", work / "figures", work / "study2022"
    merge.main(tables, imagenet, work / "unmatched.csv")
    file = Path(sweep)
    with chdir(file.parent if file.is_file() else "."):  # the page names the file, not where it lay
        study2022.main(
            file.name if file.is_file() else sweep, study, imagenet=imagenet, records=runs
        )
    params.write_text(yaml.safe_dump(settings(runs)), encoding="utf-8")
    aggregate.main(params, runs, imagenet, results, work / "metrics")
    plot.main(params, imagenet, results, figures)
    report.main(params, imagenet, results, figures, work / "report.html", study2022=study)


def settings(runs: Path) -> dict[str, Any]:
    """The 2022 study's params.yaml with the models that its runs used, at the rate all have."""
    text = (ROOT / "studies/fastai2022.yaml").read_text(encoding="utf-8")
    params = yaml.safe_load(text)
    models = {path.name for dataset in DATASETS.values() for path in (runs / dataset).iterdir()}
    recipe = next(iter(RECIPES.values()))
    params["grid"] = {
        "datasets": list(DATASETS.values()),
        "models": sorted(models),
        "recipes": [recipe],
        "seeds": list(SEEDS),
    }
    return params


if __name__ == "__main__":
    run(main)
