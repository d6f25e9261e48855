"""DVCLive: a folder per run below `dvclive/`, for DVC's extension of VS Code. Needs no network."""

import os
from pathlib import Path

from dvclive import Live

from pipeline.core.files import replacing_folder
from pipeline.mirror.run import Run


class Mirror:
    """A run's folder is written whole or not at all, below dvclive/PROJECT."""

    def __init__(self, project: str) -> None:
        os.environ["DVC_STUDIO_OFFLINE"] = "true"  # nothing is posted
        self.folder = Path("dvclive") / project

    def has(self, run: Run) -> bool:
        return (self.folder / run.file_name).is_dir()

    def add(self, run: Run) -> None:
        with (
            replacing_folder(self.folder / run.file_name) as folder,
            Live(str(folder), save_dvc_exp=False, dvcyaml=None) as live,
        ):
            live.log_params(run.settings)
            for epoch, numbers in run.epochs:
                live.step = epoch
                for name, value in numbers.items():
                    live.log_metric(name, value)
            live.summary.update(run.results)
