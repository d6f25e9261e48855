"""A fake `python` for DVC: notes the stage's name and writes fresh outputs without any work."""

import os
import sys
import time
from pathlib import Path

TABLES = [
    "runs.csv",
    "leaderboard.csv",
    "correlations.csv",
    "history.csv",
    "recipes.csv",
    "small_and_fast.csv",
    "valid_wrong.csv",
    "estimates.csv",
    "rates.csv",
    "pool.csv",
]


def main(module: str, arguments: list[str]) -> None:
    stage = os.environ["DVC_STAGE"].rpartition(":")[2]
    with Path(os.environ["LOG"]).open("a") as log:
        log.write(f"{stage}\n")
    for file in outputs_of(module.rpartition(".")[2], arguments):
        file.parent.mkdir(parents=True, exist_ok=True)
        text = f"{stage} {time.time_ns()}\n"
        file.write_text(f'{{"a": {time.time_ns()}}}' if file.suffix == ".json" else text)


def outputs_of(stage: str, arguments: list[str]) -> list[Path]:
    """The files that a command of dvc.yaml would write, one file for a folder."""
    named = {each.partition("=")[0]: Path(each.partition("=")[2]) for each in arguments}
    paths = [Path(each) for each in arguments]
    return {
        "fetch": lambda: [paths[2] / "source.json"],
        "benchmark": lambda: [named["out"]],
        "merge": lambda: [*paths[1:3], paths[8] / "hardware.json"],
        "source": lambda: [paths[1]],
        "dataset": lambda: [named["out"] / "meta.json"],
        "finetune": lambda: [named["out"]],
        "baseline": lambda: [named["out"]],
        "study2022": lambda: [paths[1] / "section.html"],
        "aggregate": lambda: [*(paths[3] / name for name in TABLES), paths[4] / "digits.json"],
        "export": lambda: [paths[5] / "config.json"],
        "mistakes": lambda: [paths[4] / "models.csv"],
        "plot": lambda: [paths[3] / "figure.svg"],
        "report": lambda: [paths[4]],
        "study": lambda: [],
    }[stage]()


main(sys.argv[2], sys.argv[3:])
