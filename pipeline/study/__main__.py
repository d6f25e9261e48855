"""`python -m pipeline.study params.yaml`: check that every value of the study is one plain word.

DVC puts these values into shell commands and file names as they are. Studies come from others, so
each stage that uses one runs this command first, and DVC's shell never sees a value with a space,
a quote, `$`, `;`, a newline, a leading dash, or `..` in a folder.
"""

from pathlib import Path

from pipeline.core.command import run
from pipeline.study.params import refuse_odd_words


def main(params: Path) -> None:
    """Refuse PARAMS (params.yaml) if a value in it is more than a word, a number or a list."""
    refuse_odd_words(params)


if __name__ == "__main__":
    run(main)
