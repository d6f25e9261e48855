"""Real fine-tunes that cost a second each: 96 tiny images, timm's smallest network, one thread.

Each is a fresh child of a fork server that has imported torch once, as under `pipeline.sweep`. What
happens in the child is what `python -m pipeline.finetune` does: Hydra's checks, exit codes, locks.
"""

import json
import multiprocessing
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from fault import install

MODEL = "test_resnet.r160_in1k"
LIMIT_SECONDS = 120


@dataclass(frozen=True)
class Ended:
    """How a child ended: its exit code (negative for a signal), and what it printed."""

    exit_code: int
    said: str


class Trainer:
    """Runs fine-tunes of one prepared dataset with one file of weights, both in `folder`."""

    def __init__(self, folder: Path, context: ForkServerContext) -> None:
        self.folder, self.context = folder, context

    def child(self, work: Callable[..., None], *arguments: Any, fault: str | None = None) -> Ended:
        """Call `work` in a fresh process, in which `fault` happens."""
        log = self.folder / f"log-{os.getpid()}"
        process = self.context.Process(target=_call, args=(log, fault, work, arguments))
        process.start()
        process.join(LIMIT_SECONDS)
        assert process.exitcode is not None, f"still running: {log.read_text()}"
        return Ended(process.exitcode, log.read_text())

    def finetune(self, out: Path, *overrides: str, fault: str | None = None) -> Ended:
        """`python -m pipeline.finetune`, two epochs of four batches, the record at `out`."""
        return self.child(finetune, self.overrides(out, *overrides), fault=fault)

    def overrides(self, out: Path, *more: str) -> list[str]:
        data, weights = self.folder / "digit_mosaic", self.folder / "weights"
        return [
            *("dataset=digit_mosaic", f"model={MODEL}", "recipe=quickstart", "seed=0"),
            *("weights=folder", f"weights.path={weights}", "image_size=32", f"data={data}"),
            *("threads=1", "device=cpu", "recipe.epochs=2", "recipe.batch_size=16"),
            *("recipe.least_steps=0", f"out={out}"),
            *more,
        ]


def make_trainer(folder: Path) -> Trainer:
    """Prepare the images and the weights once."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["pipeline.sweep.preloaded"])
    trainer = Trainer(folder, context)
    made = trainer.child(_prepare, folder)
    assert made.exit_code == 0, made.said
    return trainer


def finetune(overrides: list[str]) -> None:
    from pipeline.configuration import hydra_app
    from pipeline.finetune.__main__ import main

    sys.argv = ["finetune", *overrides]
    hydra_app.run(main, "finetune")


def numbers_of(record: Path) -> dict[str, Any]:
    """What must be equal to the last bit in two runs of the same cell: no times, no memory."""
    value = json.loads(record.read_text())
    history = [
        {key: row[key] for key in ("epoch", "train_loss", "valid_loss", "error_rate")}
        for row in value["history"]
    ]
    return {"metrics": value["metrics"], "status": value["status"], "history": history}


def _call(log: Path, fault: str | None, work: Callable[..., None], arguments: Any) -> None:
    with log.open("w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if fault is not None:
        install(fault)
    work(*arguments)
    sys.stdout.flush()


def _prepare(folder: Path) -> None:
    import safetensors.torch
    import timm
    import torch

    from pipeline.configuration.hydra_app import compose
    from pipeline.dataset.__main__ import main

    shape = ["dataset.images.count=96", "image_size=32", f"out={folder / 'digit_mosaic'}"]
    main(compose("dataset", ["dataset=digit_mosaic", *shape]))
    (folder / "weights").mkdir()
    torch.manual_seed(0)
    state = timm.create_model(MODEL).state_dict()
    safetensors.torch.save_file(state, folder / "weights" / f"{MODEL}.safetensors")
