"""`python -m pipeline.study params.yaml`: check the study, and that DVC reads its values as meant.

DVC inserts these values into shell commands and file names unquoted, and studies may come from
others. Every stage that uses one runs this command first, so DVC's shell never sees a value with a
space, quote, `$`, `;`, newline, leading dash, or `..` in a folder.
"""

from pathlib import Path

from pipeline.core.command import run
from pipeline.study.params import read_study, refuse_odd_words, refuse_unknown_names


def main(params: Path) -> None:
    """Refuse a study file that no sweep would run, or with values that DVC cannot hand on or loses.

    DVC cannot hand on a value which is more than a word, a number or a list. It loses an override
    by `dvc exp run -S` of what an alias repeats.

    Args:
        params: the study file, params.yaml
    """
    refuse_odd_words(params)
    refuse_unknown_names(read_study(params))


if __name__ == "__main__":
    run(main)
