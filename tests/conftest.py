"""Fixtures for every test. Real data lies outside the repository and its tests skip without it."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real tables and datasets: `WB_SHARED`, by default `../shared`."""
    folder = ROOT / os.environ.get("WB_SHARED", "../shared")
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set WB_SHARED to the folder that holds it")
    return folder.resolve()
