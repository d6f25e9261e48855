"""Fixtures for every test. Real data lies outside the repository and its tests skip without it."""

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# Whatever started the tests may have these ignored, as nohup and `&` do, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
for _number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(_number, signal.SIG_DFL)


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
