"""Weights & Biases: online, or with WANDB_MODE=offline a folder that `wandb sync` sends later.

A record is whole before it is sent, so a killed mirror loses nothing: offline runs that are killed
while they log lose what W&B has not written yet.
"""

import os
from pathlib import Path

os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
os.environ.setdefault("WANDB_SILENT", "true")

import wandb

from pipeline.mirror.run import Run

PATIENCE_SECONDS = 10.0


class Mirror:
    """A run's id is the record's hash: W&B merges runs with equal ids."""

    def __init__(self, project: str) -> None:
        self.project = project
        self.sent = Path(os.environ.get("WANDB_DIR", ".")) / "wandb/mirrored"
        self.online = wandb.setup().settings.mode == "online"

    def has(self, run: Run) -> bool:
        return (self.sent / run.id).exists()

    def add(self, run: Run) -> None:
        if self.online and not wandb.login(prompt=False, verify=False):
            raise ConnectionError("no API key: `wandb login`, or WANDB_MODE=offline")
        made = wandb.init(
            project=self.project,
            id=run.id,
            name=run.name,
            group=run.record.dataset,
            tags=[run.record.status],
            config=run.settings,
            resume="allow",
            settings=settings(),
        )
        for epoch, numbers in run.epochs:
            made.log(numbers, step=epoch)
        made.summary.update(run.results)
        made.finish(exit_code=0 if run.record.status == "ok" else 1)
        self.sent.mkdir(parents=True, exist_ok=True)
        (self.sent / run.id).touch()


def settings() -> wandb.Settings:
    """Send only what is in the record, and wait for nothing long."""
    return wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        init_timeout=PATIENCE_SECONDS,
        finish_timeout=PATIENCE_SECONDS,
        finish_timeout_raises=True,
        login_timeout=PATIENCE_SECONDS,
        silent=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_graphql_retry_max=1,
        x_graphql_timeout_seconds=PATIENCE_SECONDS / 2,
        x_save_requirements=False,
    )
