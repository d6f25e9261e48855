"""Every CSV that we write has its header, whatever the rows."""

from pathlib import Path

import pandas as pd
import pytest

from pipeline import results
from pipeline.core.files import write_table
from pipeline.mistakes.tables import COLUMNS, read_mistakes, write_mistakes
from pipeline.results import read_answers, read_results, read_small_and_fast, write_result

TABLES = {
    "runs": results.RUNS,
    "history": results.HISTORY,
    "leaderboard": results.LEADERBOARD,
    "correlations": results.CORRELATIONS,
    "recipes": results.RECIPES,
    "estimates": results.ESTIMATES,
    "rates": results.RATES,
    "small_and_fast": results.SMALL_FAST,
    "valid_wrong": results.ANSWERS,
}


def test_every_result_without_rows_is_a_header_and_is_read_back(tmp_path: Path) -> None:
    for name, columns in TABLES.items():
        write_result(tmp_path / f"{name}.csv", pd.DataFrame(columns=list(columns)))
        assert (tmp_path / f"{name}.csv").read_text() == ",".join(columns) + "\n"
    done = read_results(tmp_path)
    assert not any(len(table) for table in vars(done).values())
    assert read_small_and_fast(tmp_path).empty
    assert read_answers(tmp_path).empty


def test_every_table_of_mistakes_without_rows_is_a_header(tmp_path: Path) -> None:
    write_mistakes(tmp_path, {name: pd.DataFrame() for name in COLUMNS})
    for name, columns in COLUMNS.items():
        assert (tmp_path / f"{name}.csv").read_text() == ",".join(columns) + "\n"
    assert read_mistakes(tmp_path).models.empty


def test_a_table_without_columns_is_our_own_mistake(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="without columns"):
        write_table(tmp_path / "table.csv", pd.DataFrame())
    assert not (tmp_path / "table.csv").exists()
