"""The exported folder's files, and the proof that they are the trained learner: parity."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import safetensors.torch
import torch
from fastai.vision.all import Learner

from pipeline.core.errors import PipelineError
from pipeline.core.files import sha256, write_json, write_text
from pipeline.core.text import percent
from pipeline.export.onnx_file import onnx_logits, write_onnx
from pipeline.export.weights import net_of, normalisation
from pipeline.finetune.training import Run
from pipeline.hardware import machine
from pipeline.names.resolve import weights
from pipeline.predict.exported import (
    CARD,
    CONFIG,
    FORMAT,
    ONNX,
    WEIGHTS,
    normalised,
    open_exported,
)

PARITY = 1e-4  # the most that a logit may differ
IMAGES_AT_ONCE = 64
CARD_TEMPLATE = Path(__file__).parent / "card.md.j2"
RESIZE_IN_WORDS = {
    "squish": "The whole image is resized to the square, its shape not kept (Pillow, bilinear).",
    "crop": "The shorter side is resized to it (Pillow, bilinear), then the square in the middle "
    "is cut out.",
}


@dataclass(frozen=True)
class About:
    """What is known of an export besides its weights; `row` is the leaderboard's."""

    run: Run
    row: pd.Series
    test_metrics: dict[str, float]
    thresholds_f2: dict[str, float] | None
    use_f2: bool
    exported_at: str


def write_folder(folder: Path, learn: Learner, about: About) -> str:
    """Write every file, check them against `learn`, and say in a line what was written."""
    run, size = about.run, about.run.image_size
    net = net_of(learn.model)
    state = {f"body.{name}": value for name, value in net.body.state_dict().items()}
    state |= {f"head.{name}": value for name, value in net.head.state_dict().items()}
    state = {name: value.contiguous().clone() for name, value in state.items()}
    safetensors.torch.save_file(state, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # its owner alone could read it
    no_onnx = write_onnx(net, size, folder / ONNX)
    config = _config(folder, learn, about, net.features)
    write_json(folder / CONFIG, config)
    pixels = np.asarray(run.data.array(size, run.recipe.resize)[run.data.rows("valid")])
    wanted = _learners_logits(learn, normalised(pixels, *_stats(config)))
    config["parity"] = {"images": len(pixels), "safetensors": _parity(folder, pixels, wanted, run)}
    if no_onnx is None:
        off, no_onnx = _onnx_parity(folder / ONNX, normalised(pixels, *_stats(config)), wanted, run)
        config["parity"]["onnx"] = off
    if no_onnx is not None:
        (folder / ONNX).unlink(missing_ok=True)
        config["sha256"].pop(ONNX, None)
        config["parity"].pop("onnx", None)
    config["no_onnx"] = no_onnx
    write_json(folder / CONFIG, config)
    write_text(folder / CARD, card(config, about))
    what = f"without {ONNX}: {no_onnx}" if no_onnx else f"with {ONNX}"
    return f"{run.model} fitted on {config['data']['n_learned']:,} images, {what}"


def card(config: dict[str, Any], about: About) -> str:
    """The model card, README.md."""
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )  # Markdown, which nothing here renders
    template = environment.from_string(CARD_TEMPLATE.read_text(encoding="utf-8"))
    text: str = template.render(config=config, row=about.row, percent=percent, known=pd.notna)
    return text.strip() + "\n"


def _config(folder: Path, learn: Learner, about: About, features: str) -> dict[str, Any]:
    run, data = about.run, about.run.data
    mean, std = normalisation(learn)
    parts = {part: len(data.rows(part)) for part in ("train", "valid", "test")}
    half = dict.fromkeys(data.classes, 0.5) if data.kind == "multi" else None
    files = [name for name in (WEIGHTS, ONNX) if (folder / name).is_file()]
    known = weights()[run.model]
    return {
        "format": FORMAT,
        "model": run.model,
        "features": features,
        "kind": data.kind,
        "classes": data.classes,
        "thresholds": about.thresholds_f2 if about.use_f2 else half,
        "thresholds_f2": about.thresholds_f2,
        "preprocessing": {
            "image_size": run.image_size,
            "resize": run.recipe.resize,
            "mean": [round(value, 7) for value in mean],
            "std": [round(value, 7) for value in std],
            "in_words": f"RGB, turned as EXIF says, what is transparent on white. "
            f"{RESIZE_IN_WORDS[run.recipe.resize]} {run.image_size} x {run.image_size} pixels, "
            "channels first, divided by 255, less the mean, over the standard deviation.",
        },
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "n_learned": parts["train"] + parts["valid"],
            **{f"n_{part}": n for part, n in parts.items()},
        },
        "recipe": run.recipe.name,
        "seed": run.seed,
        "pretrained": {
            "source": run.weights.source,
            "origin": run.weights.origin,
            "sha256": run.weights.sha256,
            "license": known.license or None,
        },
        "test_metrics": about.test_metrics,
        "versions": machine.versions(),
        "exported_at": about.exported_at,
        "sha256": {name: sha256(folder / name) for name in files},
    }


def _stats(config: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    about = config["preprocessing"]
    return np.array(about["mean"], dtype=np.float32), np.array(about["std"], dtype=np.float32)


def _learners_logits(learn: Learner, images: np.ndarray) -> np.ndarray:
    """The trained net's own answers, in evaluation mode."""
    learn.model.eval()
    with torch.inference_mode():
        made = [
            learn.model(torch.from_numpy(images[start : start + IMAGES_AT_ONCE])).float()
            for start in range(0, len(images), IMAGES_AT_ONCE)
        ]
    return np.asarray(torch.cat(made).numpy())


def _parity(folder: Path, pixels: np.ndarray, wanted: np.ndarray, run: Run) -> float:
    """How far the folder's logits, opened as others open it, are from the learner's."""
    opened = open_exported(folder)
    parts = range(0, len(pixels), IMAGES_AT_ONCE)
    made = np.concatenate([opened.logits(pixels[at : at + IMAGES_AT_ONCE]) for at in parts])
    off = float(np.abs(made - wanted).max())
    if not _same(made, wanted, run.data.kind):
        raise PipelineError(
            f"model {run.model}: the exported weights differ from the trained ones by {off:.2g} in "
            f"a logit, which is more than {PARITY}: nothing was written; please report it"
        )
    return off


def _onnx_parity(
    path: Path, images: np.ndarray, wanted: np.ndarray, run: Run
) -> tuple[float, str | None]:
    """How far its logits are from the learner's, and why the file cannot be used, if so."""
    try:
        logits = onnx_logits(path)
        parts = range(0, len(images), IMAGES_AT_ONCE)
        made = np.concatenate([logits(images[at : at + IMAGES_AT_ONCE]) for at in parts])
    except Exception as error:  # onnxruntime has error classes of its own, one per status
        return float("nan"), f"onnxruntime cannot run it ({str(error).splitlines()[0][:120]})"
    off = float(np.abs(made - wanted).max())
    if not _same(made, wanted, run.data.kind):
        return off, f"its logits differ by {off:.2g}, more than {PARITY}"
    return off, None


def _same(made: np.ndarray, wanted: np.ndarray, kind: str) -> bool:
    """Within PARITY, and the same decisions, but where two answers are equal that closely."""
    close = np.abs(made - wanted).max() <= PARITY
    if kind == "multi":
        return bool(close and (((made > 0) == (wanted > 0)) | (np.abs(wanted) <= PARITY)).all())
    chosen = np.take_along_axis(wanted, made.argmax(axis=1)[:, None], axis=1)[:, 0]
    return bool(close and (wanted.max(axis=1) - chosen <= PARITY).all())
