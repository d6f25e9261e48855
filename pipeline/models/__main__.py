"""`python -m pipeline.models NAME ...`: the weights that names or patterns load today.

Reads timm's registry and, if it exists, the table of stage `merge`.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, TextIO

from rich.table import Table

from pipeline.core.command import run
from pipeline.core.errors import PipelineError
from pipeline.core.text import console
from pipeline.models.rows import COUNTED, TABLE, Row, rows_of


def print_json(rows: list[Row], out: TextIO) -> None:
    json.dump([asdict(row) for row in rows], out, indent=2, allow_nan=False)
    out.write("\n")


def print_table(rows: list[Row], out: TextIO) -> None:
    """A table for people; below it, what its words mean and where its numbers come from."""
    shown_on = console(out)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("model", no_wrap=True)
    for name in ("params M", "input px", "top-1 %", "images/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("vision_learner", no_wrap=True)
    table.add_column("left out %", justify="right", no_wrap=True)
    table.add_column("since 2022", overflow="fold")
    for row in rows:
        elsewhere = row.img_size not in (None, row.input_size)
        table.add_row(
            row.model,
            _number(row.params_m, 2),
            f"{'=' if row.input_fixed else ''}{row.input_size}",
            _number(row.imagenet_top1, 2) + (f" @{row.img_size}" if elsewhere else ""),
            _number(row.samples_per_second, 0),
            row.vision_learner.word,
            _number(None if row.left_out is None else 100 * row.left_out, 1),
            since_2022(row),
        )
    shown_on.print(table)
    for line in _notes(rows):
        shown_on.print(line, highlight=False, soft_wrap=True, style="dim")


def since_2022(row: Row) -> str:
    """What became of the names of these weights, in a few words."""
    architecture = row.model.partition(".")[0]
    renamed = [name for name in row.names_in_2022 if name != architecture]
    if row.bare_name_changed and row.bare_name_loads_it:
        return f"CHANGED, was .{(row.bare_name_in_2022 or '').partition('.')[2]}"
    if row.bare_name_changed and architecture in row.names_in_2022:
        return f"was {architecture}"
    if renamed:
        return f"was {', '.join(renamed)}"
    return "same" if row.names_in_2022 else ""


def _notes(rows: list[Row]) -> list[str]:
    lines = []
    if any(row.input_fixed for row in rows):
        lines.append("input px: =224 is fixed")
    if any(row.img_size not in (None, row.input_size) for row in rows):
        lines.append("top-1 % @288: published at 288 pixels, not at the model's own input size")
    words = {row.vision_learner.word: row.vision_learner.meaning for row in rows}
    lines += [f"{word}: {meaning}" for word, meaning in sorted(words.items())]
    commit = next((f" at {row.commit[:12]}" for row in rows if row.commit), "")
    if any(row.left_out for row in rows):
        lines.append(
            "left out %: of the pretrained parameters, the classifier's apart, vision_learner and "
            "recipes of `features: fastai` do not use these; `features: timm` uses all"
        )
    if any(row.imagenet_top1 is not None for row in rows):
        lines.append(f"top-1 %: ImageNet, timm's results-imagenet.csv{commit}")
    if file := next((row.speed_file for row in rows if row.speed_file), None):
        lines.append(f"images/s: inference, {file}{commit}")
    if blank := sum(row.params_m is None for row in rows):
        lines.append(
            f"params M: {blank} have none published; up to {COUNTED} at a time are counted"
        )
    return lines


def _number(value: Any, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def main(
    *names: str, table: Path = TABLE, speed_file: str | None = None, json: bool = False
) -> None:
    """What each NAME means today; a NAME may be a pattern, such as 'convnext*'.

    Accuracy and speed are those of TABLE, which stage `merge` writes; SPEED_FILE is one of timm's
    benchmark files in it.
    """
    if not names:
        raise PipelineError("name at least one model or pattern: resnet50, 'convnext*'")
    rows = rows_of(list(names), table, speed_file)
    print_json(rows, sys.stdout) if json else print_table(rows, sys.stdout)


if __name__ == "__main__":
    run(main)
