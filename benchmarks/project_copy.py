"""A copy of the project in a folder of its own, where nothing has run, for benchmarks and tests."""

import shutil
from pathlib import Path

ROOT = Path(__file__).parent.parent
FOLDERS = ("conf", "pipeline", "studies", "data/sample")
FILES = (
    *("dvc.yaml", "params.yaml", ".dvcignore"),
    *("data/baselines/README.md", "data/benchmark/README.md", "data/pool/README.md"),
    "results/race/README.md",
)
DVC_CONFIG = "[core]\n    analytics = false\n    no_scm = true\n"
PRELOADED = """from pipeline.core.processes import end_with_parent

end_with_parent()

import gc

from pipeline.core import command
from pipeline.study import params
from pipeline.sweep import engine

gc.collect()
gc.freeze()
"""  # a fork server for runs that cost nothing: what every run imports, without torch


def copy_project(folder: Path) -> None:
    """All that the stages read, and DVC without git."""
    half_written = shutil.ignore_patterns("*.pyc.*")  # compiled modules come along
    for name in FOLDERS:
        shutil.copytree(ROOT / name, folder / name, ignore=half_written)
    for name in FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    (folder / ".dvc").mkdir()
    (folder / ".dvc/config").write_text(DVC_CONFIG, encoding="utf-8")
