"""What model names mean today: `python -m pipeline.models NAME ...`, a name or a pattern.

Reads timm's registry and, where it is there, the table that stage `merge` writes.
"""

import sys
from pathlib import Path

from pipeline.catalogue.rows import TABLE, rows_of
from pipeline.catalogue.table import print_json, print_table
from pipeline.core.command import run
from pipeline.core.errors import PipelineError


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
