"""The published example, made again: `python docs/example.py [FOLDER]`, the 2022 study's report.

Reads the study's 894 runs and timm's tables in WB_SHARED, by default ../shared. Writes
FOLDER/report.html (by default docs/example) and, by default, the figure docs/img/top_15.png. The
runs become records of our own and go through the stages that make any report.
"""

import os
import shutil
import sys
import tempfile
from contextlib import chdir
from pathlib import Path
from typing import Any

import yaml

from pipeline.aggregate import __main__ as aggregate
from pipeline.merge import __main__ as merge
from pipeline.plot import __main__ as plot
from pipeline.report import __main__ as report
from pipeline.study2022 import __main__ as study2022
from pipeline.study2022.as_records import DATASETS, RECIPES

ROOT = Path(__file__).parent.parent
SHARED = ROOT / os.environ.get("WB_SHARED", "../shared")
EXAMPLE, FIGURE = ROOT / "docs/example", ROOT / "docs/img/top_15.png"
SEEDS = (1, 2, 3)  # the study's repeats


def main(folder: Path = EXAMPLE) -> None:
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make(work)
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(work / "report.html", folder / "report.html")
        if folder == EXAMPLE:
            shutil.copy(work / "study2022/top_15.png", FIGURE)


def make(work: Path) -> None:
    """All that the report is made of, in an empty folder."""
    imagenet, runs, results = work / "imagenet.csv", work / "runs", work / "results"
    params, figures, study = work / "params.yaml", work / "figures", work / "study2022"
    merge.main(SHARED / "timm-results", imagenet, work / "unmatched.csv")
    sweep = SHARED / "reference/sweep_2022.csv"
    with chdir(sweep.parent):  # the page names the file, not where it lay
        study2022.main(sweep.name, study, imagenet=imagenet, records=runs)
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
    main(*map(Path, sys.argv[1:2]))
