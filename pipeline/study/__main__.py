"""`python -m pipeline.study params.yaml`: check that DVC reads its values as they are meant.

DVC inserts these values into shell commands and file names unquoted, and studies may come from
others. Every stage that uses one runs this command first, so DVC's shell never sees a value with a
space, quote, `$`, `;`, newline, leading dash, or `..` in a folder.
"""

from pathlib import Path

from pipeline.core.command import run
from pipeline.study.params import refuse_odd_words


def main(params: Path) -> None:
    """Refuse PARAMS (params.yaml) if a value is more than a word, a number or a list, or if an
    override by `dvc exp run -S` would be lost in it.
    """
    refuse_odd_words(params)


if __name__ == "__main__":
    run(main)
