"""Runs of a second: a few coloured squares, timm's smallest ResNet with random weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import safetensors.torch
import timm
import torch
from fastai.vision.all import Learner

from pipeline.dataset.prepared import open_prepared
from pipeline.finetune import training, weights
from pipeline.finetune.callbacks import Epochs
from pipeline.finetune.recipe import Recipe
from pipeline.finetune.speed import Speed
from pipeline.hardware.telemetry import Watch

torch.set_num_threads(1)  # two that wait for each other on a busy machine take ten times as long

SIZE = 32
CPU = torch.device("cpu")
MODEL = "test_resnet.r160_in1k"
RECIPE = Recipe("tiny", 1, 1, 0.01, 10, 16, "concat", "squish", "fp32")
OFF = Speed(**dict.fromkeys(Speed.__dataclass_fields__, False))


def write_squares(
    folder: Path, n_train: int = 160, n_valid: int = 80, kind: str = "single"
) -> Path:
    """A prepared dataset: what channel is bright is the label, or the labels, under much noise."""
    draw = np.random.RandomState(0)
    n_images, classes = n_train + n_valid, ["blue", "green", "red"]
    answers = draw.rand(n_images, 3) > 0.5
    if kind == "single":
        answers = np.eye(3, dtype=bool)[draw.randint(3, size=n_images)]
    noise = draw.randint(0, 160, size=(n_images, 3, SIZE, SIZE))
    folder.mkdir(parents=True)
    np.save(
        folder / f"squish-{SIZE}.npy", (noise + 20 * answers[:, :, None, None]).astype(np.uint8)
    )
    pd.DataFrame(
        {
            "file": [f"{row}.png" for row in range(n_images)],
            "labels": ["|".join(np.array(classes)[row]) for row in answers],
            "part": ["train", "valid"] * min(n_train, n_valid)
            + ["train"] * (n_train - n_valid)
            + ["valid"] * (n_valid - n_train),
        }
    ).to_csv(folder / "index.csv", index=False)
    meta = {"name": "squares", "kind": kind, "classes": classes, "format": 1}
    meta |= {"fingerprint": "squares", "n_rejected": 0, "chance_error_rate": 2 / 3}
    (folder / "meta.json").write_text(json.dumps(meta))
    return folder


def run_on(
    folder: Path, speed: Speed = OFF, seed: int = 0, model: str = MODEL, **recipe: Any
) -> Any:
    """A run of `model` on those squares, its weights beside them."""
    file = folder / f"{model}.safetensors"
    if not file.exists():
        torch.manual_seed(0)
        safetensors.torch.save_file(timm.create_model(model).state_dict(), file)
    return training.Run(
        open_prepared(folder),
        replace(RECIPE, **recipe),
        model,
        weights.folder(model, str(folder)),
        seed,
        SIZE,
        CPU,
        speed,
    )


def fitted(run: training.Run, parts: int = 1) -> tuple[training.Outcome, dict[str, torch.Tensor]]:
    """The outcome of a run, and its weights."""
    learn = training.seeded_learner(run, parts)
    outcome = training.fit(learn, run.recipe, Epochs(), Watch(CPU))
    return outcome, weights_of(learn)


def weights_of(learn: Learner) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in learn.model.state_dict().items()}


def same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        torch.equal(tensor, other[name]) for name, tensor in one.items()
    )
