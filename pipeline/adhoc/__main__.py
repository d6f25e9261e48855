"""`python -m pipeline.adhoc adhoc adhoc/tables`: tables of one-off runs, as those of the study.

Reads every record (*.json) below a folder, params.yaml for the charts and the score, conf/recipe
beside it, and data/imagenet.csv; writes runs.csv, leaderboard.csv and the other tables of stage
`aggregate`, and prints the leaderboard. Runs whose overrides differ are different recipes, named
after what differs between them, and from the recipe as it is in conf/recipe:
`quickstart recipe.lr=0.01`. There is no grid, so nothing is missing.
"""

import re
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from rich.table import Table
from rich.text import Text

from pipeline.aggregate.__main__ import write_tables
from pipeline.aggregate.runs_table import refuse_mixtures
from pipeline.core.command import console, duration, percent, run
from pipeline.core.errors import PipelineError
from pipeline.core.files import flat
from pipeline.finetune.recipe import changed_settings, fit_settings, written_recipe
from pipeline.records import Record, read_record
from pipeline.statistics.validation_images import check_answers
from pipeline.study.params import Cell, Study, read_study

AXES = ("model", "seed", "dataset", "out", "data", "recipe.name")  # told elsewhere, or not at all
ORIGINS = ("dataset", "study2022")  # sections that say where a run comes from
Found = dict[Path, Record]


@dataclass(frozen=True)
class Runs(Study):
    """A study without a grid: its cells are the runs that are there."""

    found: tuple[Cell, ...] = ()

    def cells(self) -> Iterator[Cell]:
        return iter(self.found)


def main(
    records: Path,
    out: Path,
    *,
    params: Path = Path("params.yaml"),
    imagenet: Path = Path("data/imagenet.csv"),
) -> None:
    """Aggregate one-off runs into tables, and print their leaderboard.

    Args:
        records: the folder with the records, such as adhoc
        out: the folder that the tables are written to
        params: the study file, for its chart settings
        imagenet: the table of stage `merge`
    """
    found = {path: read_record(path) for path in sorted(records.rglob("*.json"))}
    if not found:
        raise PipelineError(f"{records}: no record here: `python -m pipeline.finetune` writes some")
    for path, record in found.items():
        check_answers(path, record)
    cells = cells_of(found, params.parent / "conf" / "recipe")
    refuse_mixtures({cell: (path, found[path]) for path, cell in cells.items()})
    by_cell = {cell: found[path] for path, cell in cells.items()}
    _, board, _ = write_tables(study_of(params, by_cell), by_cell, imagenet, out)
    shown_on = console()
    shown_on.print(shown(board))
    shown_on.print(
        f"{len(found)} run{'s' * (len(found) != 1)}: tables in {out}", markup=False, highlight=False
    )


def cells_of(found: Found, recipes: Path) -> dict[Path, Cell]:
    """The cell of each record, its recipe named after the settings in which it differs.

    `recipes` is the folder with the recipes as they are without overrides.
    """
    names = {each.recipe for each in found.values()}
    written = {name: written_recipe(recipes / f"{name}.yaml") for name in names}
    unlike = {path: overridden(record, written[record.recipe]) for path, record in found.items()}
    settings = {path: flat(record.config) for path, record in found.items()}
    for path, its in settings.items():  # a key that an older record lacks has its default
        its.update((key, value) for key, value in unlike[path].items() if key not in its)
    cells: dict[Path, Cell] = {}
    paths: dict[Cell, Path] = {}
    for path, record in found.items():
        alike = [settings[each] for each in found if found[each].recipe == record.recipe]
        apart = differences(settings[path], alike, unlike[path])
        recipe = " ".join([record.recipe, *apart])
        cell = cells[path] = Cell(record.dataset, record.model, recipe, record.seed)
        if (other := paths.setdefault(cell, path)) != path:
            raise PipelineError(f"{path} and {other}: records of the same run: keep one of them")
    return cells


def overridden(record: Record, written: dict[str, Any] | None) -> dict[str, Any]:
    """The settings in which the record's recipe is not as `written`, by dotted key."""
    recipe = record.config.get("recipe")
    if written is None or not isinstance(recipe, dict):
        return {}
    its = fit_settings(recipe)
    return {f"recipe.{key}": its[key] for key in changed_settings(recipe, written) if key in its}


def differences(
    settings: dict[str, Any], alike: list[dict[str, Any]], always: Container[str] = ()
) -> list[str]:
    """`key=value` for each key of `settings` that has not the same value everywhere in `alike`, or
    is to be named `always`.
    """
    return [
        f"{key}={value}"
        for key, value in settings.items()
        if key not in AXES
        and key.partition(".")[0] not in ORIGINS
        and (key in always or any(each.get(key) != value for each in alike))
    ]


def study_of(params: Path, by_cell: dict[Cell, Record]) -> Runs:
    """These runs as a study; charts and score are those of `params`."""
    study = read_study(params)
    sizes = [record.image_size for record in by_cell.values()]
    known = [size for size in sizes if size is not None] or [study.image_size]
    return Runs(
        **{
            **vars(study),
            "datasets": _sorted(cell.dataset for cell in by_cell),
            "models": _sorted(cell.model for cell in by_cell),
            "recipes": _sorted(cell.recipe for cell in by_cell),
            "seeds": tuple(sorted({cell.seed for cell in by_cell})),
            "image_size": max(known, key=known.count),
            "found": tuple(by_cell),
        }
    )


def shown(board: pd.DataFrame) -> Table:
    """The leaderboard as a table; ranks compare the models of one dataset and recipe."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("dataset", "recipe", "rank", "model", "runs", "error [95 %]", "steady fit time"):
        table.add_column(name)
    for row in board.itertuples():
        table.add_row(*map(Text, _line(row)))
    return table


def _line(row: Any) -> tuple[str, ...]:
    error = percent(row.error_rate_mean)
    if pd.notna(row.error_rate_low):
        error += f" [{100 * row.error_rate_low:.2f}, {100 * row.error_rate_high:.2f}]"
    runs = f"{row.n}" + (f", {row.n_failed} failed" if row.n_failed else "")
    rank = "–" if pd.isna(row.rank) else str(row.rank)
    return (
        row.dataset,
        row.recipe,
        rank,
        row.model,
        runs,
        error,
        _time(row),
    )


def _time(row: Any) -> str:
    """The steady fit time, or the most it can be."""
    if pd.isna(row.steady_fit_seconds_median) and pd.notna(row.steady_fit_seconds_at_most):
        return f"≤ {duration(row.steady_fit_seconds_at_most)}"
    return duration(row.steady_fit_seconds_median)


def _sorted(names: Iterable[str]) -> tuple[str, ...]:
    """Each name once, `epochs=5` before `epochs=10`."""

    def natural(name: str) -> list[tuple[float, str]]:
        parts = re.split(r"(\d+(?:\.\d+)?)", name)
        return [(float(each), "") if at % 2 else (0.0, each) for at, each in enumerate(parts)]

    return tuple(sorted(set(names), key=natural))


if __name__ == "__main__":
    run(main)
