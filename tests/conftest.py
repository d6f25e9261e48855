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


@pytest.fixture(scope="session")
def exported_models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exported models, only to be read: one label per image and squished, several and cropped."""
    from exports import crops, exported, squares
    from tiny_runs import MODEL

    made = {}
    for kind, recipe in (("single", {}), ("multi", {"resize": "crop", "head": "linear"})):
        folder = tmp_path_factory.mktemp(kind)
        data = squares(folder / "squares", kind=kind)
        crops(data)
        exported(folder / "model", data, MODEL, **recipe)
        made[kind] = folder / "model"
    return made
