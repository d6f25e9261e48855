"""Exported models of a second: random weights, batch norms that have seen a batch."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from fastai.vision.all import Learner
from tiny_runs import SIZE, run_on, write_squares

from benchmarks.random_weights import save_random_weights
from pipeline.export.folder import About, write_folder
from pipeline.finetune import training


def squares(folder: Path, size: int = SIZE, kind: str = "single", test: int = 0) -> Path:
    """Prepared squares, a dozen, at another size too; the first `test` of them in a test part."""
    made = write_squares(folder, 8, 6, kind)
    if test:
        index = pd.read_csv(made / "index.csv", dtype=str, keep_default_na=False)
        index.loc[: test - 1, "part"] = "test"
        index.to_csv(made / "index.csv", index=False)
    if size != SIZE:
        array = np.load(made / f"squish-{SIZE}.npy")
        places = np.arange(size) * SIZE // size
        np.save(made / f"squish-{size}.npy", array[:, :, places][:, :, :, places])
    return made


def learner_of(data: Path, model: str, size: int = SIZE, **recipe: Any) -> tuple[Any, Learner]:
    """A run and its learner, whose statistics and head are those of no pretrained model."""
    if not (data / f"{model}.safetensors").exists():
        save_random_weights(model, data)
    run = run_on(data, model=model, **recipe)
    run = training.Run(**{**run.__dict__, "image_size": size})
    learn = training.seeded_learner(run)
    images = np.asarray(run.data.array(size)[run.data.rows("train")])
    learn.model.train()
    with torch.no_grad():
        learn.model(torch.from_numpy(images.astype(np.float32) / 128 - 1))
    learn.model.eval()
    return run, learn


def about(run: Any, **changes: Any) -> About:
    row = {
        **{"dataset": run.data.name, "recipe": run.recipe.name, "model": run.model, "n": 2},
        "ranked_as": run.recipe.name,
        **{"error_rate_mean": 0.1, "error_rate_low": 0.05, "error_rate_high": 0.2},
        **{"chance_error_rate": 0.6, "n_valid": len(run.data.rows("valid"))},
    }
    fields = {"test_metrics": {}, "thresholds_f2": None, "use_f2": False, "exported_at": "now"}
    return About(run=run, row=pd.Series(row), **{**fields, **changes})


def crops(data: Path) -> None:
    """Write the same squares as images to be cropped, all of them wider than high."""
    array = np.load(data / f"squish-{SIZE}.npy")
    wide = np.concatenate([array, array[:, :, :, :5]], axis=3)
    np.save(data / f"crop-{SIZE}.npy", wide.reshape(-1))
    shapes = np.tile(np.array([wide.shape[2:]], dtype=np.int32), (len(wide), 1))
    np.save(data / f"crop-{SIZE}-shapes.npy", shapes)


def exported(folder: Path, data: Path, model: str, size: int = SIZE, **recipe: Any) -> str:
    """Write `model` to `folder`; what `write_folder` says of it."""
    run, learn = learner_of(data, model, size, **recipe)
    folder.mkdir()
    return write_folder(folder, learn, about(run))
