"""`python -m pipeline.study params.yaml`: check that DVC reads its values as they are meant.

DVC inserts these values into shell commands and file names unquoted, and studies may come from
others. Every stage that uses one runs this command first, so DVC's shell never sees a value with a
space, quote, `$`, `;`, newline, leading dash, or `..` in a folder.
"""

from pathlib import Path

from pipeline.core.command import run
from pipeline.study.params import refuse_odd_words


def main(params: Path) -> None:
    """Refuse a study file with values that DVC cannot hand on, or that it would lose.

    That is a value which is more than a word, a number or a list, or one in which an override by
    `dvc exp run -S` would be lost.

    Args:
        params: the study file, params.yaml
    """
    refuse_odd_words(params)


if __name__ == "__main__":
    run(main)
