"""The exported folder: its files, the net under timm's own names, ONNX, and the proof of parity.

The net is timm's body and a linear head; the batch norms of the head are folded into it. What is
written is loaded again and compared with the trained learner before the folder is kept.
"""

import io
import logging
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd
import safetensors.torch
import torch
from fastai.vision.all import AdaptiveConcatPool2d, Flatten, Learner, Normalize
from fastai.vision.learner import TimmBody
from sklearn.metrics import fbeta_score
from torch import nn
from torch.export import Dim

from pipeline.core.command import percent
from pipeline.core.errors import PipelineError, first_line
from pipeline.core.files import sha256, write_json, write_text
from pipeline.finetune.training import Run
from pipeline.hardware import machine
from pipeline.names.resolve import size_options, weights
from pipeline.names.vision_learner import PooledFeatures
from pipeline.predict.exported import (
    CARD,
    CONFIG,
    FORMAT,
    INPUT,
    ONNX,
    OUTPUT,
    WEIGHTS,
    Exported,
    Net,
    OnnxLogits,
    head_of,
    normalised,
    open_exported,
)
from pipeline.statistics.doubts import n_copied
from pipeline.timm_results.licences import stated

PARITY = 1e-4  # the most that a logit may differ
IMAGES_AT_ONCE = 64
NEEDS = ("onnx", "onnxscript", "onnxruntime")
CARD_TEMPLATE = Path(__file__).parent / "card.md.j2"
RESIZE_IN_WORDS = {
    "squish": "The whole image is resized to the square, its shape not kept (Pillow, bilinear).",
    "crop": "The shorter side is resized to it (Pillow, bilinear), then the square in the middle "
    "is cut out.",
}


@dataclass(frozen=True)
class About:
    """What is known of an exported model besides its weights; `row` is the leaderboard's.

    `asked_for` has the options that chose another model or seed than the study's, as given.
    """

    run: Run
    row: pd.Series
    test_metrics: dict[str, float]
    thresholds_f2: dict[str, float] | None
    use_f2: bool
    exported_at: str
    asked_for: str | None = None


def write_folder(folder: Path, learn: Learner, about: About) -> str:
    """Write every file, check them against `learn`, and say in a line what was written.

    Raises `PipelineError` where the weights, loaded again, give other logits than `learn`; an ONNX
    file that does so is left out.
    """
    run, size = about.run, about.run.image_size
    net = net_of(learn.model)
    _write_weights(net, folder / WEIGHTS)
    no_onnx = write_onnx(net, size, folder / ONNX)
    config = _config(folder, learn, about, net.features)
    write_json(folder / CONFIG, config)
    opened = open_exported(folder)
    pixels = np.asarray(run.data.array(size, run.recipe.resize)[run.data.rows("valid")])
    expected = _learner_logits(learn, pixels, opened)
    config["test_at_thresholds"] = _test_at_thresholds(learn, about, opened)
    parity = {"images": len(pixels), "safetensors": _check_weights(opened, pixels, expected, run)}
    if no_onnx is None:
        parity["onnx"], no_onnx = _check_onnx(opened, pixels, expected, run)
    if no_onnx is not None:
        (folder / ONNX).unlink(missing_ok=True)
        config["sha256"].pop(ONNX, None)
        parity.pop("onnx", None)
    config |= {"parity": parity, "no_onnx": no_onnx}
    write_json(folder / CONFIG, config)
    write_text(folder / CARD, card(config, about, net.head))
    what = f"without {ONNX}: {no_onnx}" if no_onnx else f"with {ONNX}"
    return f"{run.model} fitted on {config['data']['n_learned']:,} images, {what}"


def net_of(model: nn.Sequential) -> Net:
    """The same function of images as the trained [body, head], on the CPU, in evaluation mode."""
    body, head = model[0], model[1]
    state = {name: value.float().contiguous() for name, value in folded(head).items()}
    inner: Any = body.model
    return Net(inner, head_of(state), features_of(body, head)).cpu().eval()


def features_of(body: nn.Module, head: nn.Module) -> str:
    """Which output of timm's model the head gets: one of `exported.FEATURES`.

    Raises `PipelineError` for a combination that is not known.
    """
    pools = [each for each in head.children() if _pools(each)]
    if isinstance(body, PooledFeatures):
        return "pre_logits" if body.has_head else "mean"
    if isinstance(body, TimmBody) and not body.needs_pool and not pools:
        return "vector"
    if isinstance(body, TimmBody) and body.needs_pool and pools:
        return "max_and_mean" if isinstance(pools[0], AdaptiveConcatPool2d) else "mean"
    raise PipelineError(f"a body {type(body).__name__} with this head cannot be exported")


def folded(head: nn.Module) -> dict[str, torch.Tensor]:
    """The state for `exported.head_of`: every batch norm folded into the linear layer after it."""
    state: dict[str, torch.Tensor] = {}
    scale: Any = 1.0
    shift: Any = 0.0
    place = 0
    for layer in _layers(head):
        if isinstance(layer, nn.BatchNorm1d):
            assert layer.running_var is not None
            assert layer.running_mean is not None
            spread = torch.sqrt(layer.running_var.double() + layer.eps)
            scale = layer.weight.detach().double() / spread
            shift = layer.bias.detach().double() - layer.running_mean.double() * scale
        elif isinstance(layer, nn.Linear):
            weight = layer.weight.detach().double()
            offset = weight @ (shift + torch.zeros(weight.shape[1], dtype=torch.double)).to(weight)
            if layer.bias is not None:
                offset = offset + layer.bias.detach().double()
            state[f"{place}.weight"], state[f"{place}.bias"] = weight * scale, offset
            scale, shift, place = 1.0, 0.0, place + 1
        elif isinstance(layer, nn.ReLU):
            place += 1
        else:
            raise PipelineError(f"a head with {type(layer).__name__} cannot be exported")
    return {name: value.cpu() for name, value in state.items()}


def _layers(head: nn.Module) -> list[nn.Module]:
    """The head's layers that compute something, those of fastai's blocks one by one."""
    found: list[nn.Module] = []
    for layer in head.children():
        if isinstance(layer, nn.Sequential):
            found += _layers(layer)
        elif not (_pools(layer) or isinstance(layer, Flatten | nn.Flatten | nn.Dropout)):
            found.append(layer)
    return found


def _pools(layer: nn.Module) -> bool:
    return isinstance(layer, AdaptiveConcatPool2d | nn.AdaptiveAvgPool2d)


def _write_weights(net: Net, path: Path) -> None:
    state = {f"body.{name}": value for name, value in net.body.state_dict().items()}
    state |= {f"head.{name}": value for name, value in net.head.state_dict().items()}
    state = {name: value.contiguous().clone() for name, value in state.items()}
    safetensors.torch.save_file(state, path)
    path.chmod(0o644)  # its owner alone could read it


def write_onnx(net: Net, image_size: int, path: Path) -> str | None:
    """Write `path`; where that is not possible, returns why not, in one line."""
    if missing := missing_packages():
        return f"{', '.join(missing)} not installed: run `make setup`"
    example = torch.zeros(2, 3, image_size, image_size)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    try:
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            torch.onnx.export(
                net,
                (example,),
                str(path),
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes={INPUT: {0: Dim("batch")}},
                dynamo=True,
                external_data=False,
            )
    except Exception as error:  # torch's exporter raises nearly anything on an unknown operation
        path.unlink(missing_ok=True)
        reason = f"{type(error).__name__}: {first_line(error)[:120]}"
        return f"torch {torch.__version__} cannot export it ({reason})"
    return None


def missing_packages() -> list[str]:
    """The packages that exporting to ONNX needs and that are not installed."""
    return [name for name in NEEDS if find_spec(name) is None]


def _config(folder: Path, learn: Learner, about: About, features: str) -> dict[str, Any]:
    """config.json but for what checks of the written files add."""
    run, data = about.run, about.run.data
    parts = {part: len(data.rows(part)) for part in ("train", "valid", "test")}
    half = dict.fromkeys(data.classes, 0.5) if data.kind == "multi" else None
    files = [name for name in (WEIGHTS, ONNX) if (folder / name).is_file()]
    known = weights()[run.model]
    return {
        "format": FORMAT,
        "model": run.model,
        "timm_options": size_options(run.model, run.image_size),
        "features": features,
        "kind": data.kind,
        "classes": data.classes,
        "thresholds": about.thresholds_f2 if about.use_f2 else half,
        "thresholds_f2": about.thresholds_f2,
        "preprocessing": _preprocessing(run, learn),
        "data": {
            "name": data.name,
            "fingerprint": data.fingerprint,
            "n_learned": parts["train"] + parts["valid"],
            **{f"n_{part}": n for part, n in parts.items()},
            "n_test_learned": n_copied(data.meta, "test", ("train", "valid")),
        },
        "recipe": run.recipe.name,
        "seed": run.seed,
        "asked_for": about.asked_for,
        "pretrained": {
            "source": run.weights.source,
            "origin": run.weights.origin,
            "sha256": run.weights.sha256,
            "license": stated(known.license) or None,
        },
        "test_metrics": about.test_metrics,
        "versions": machine.versions(),
        "exported_at": about.exported_at,
        "sha256": {name: sha256(folder / name) for name in files},
    }


def _preprocessing(run: Run, learn: Learner) -> dict[str, Any]:
    mean, std = normalisation(learn)
    return {
        "image_size": run.image_size,
        "resize": run.recipe.resize,
        "mean": [round(value, 7) for value in mean],
        "std": [round(value, 7) for value in std],
        "in_words": f"RGB, turned as EXIF says, what is transparent on white. "
        f"{RESIZE_IN_WORDS[run.recipe.resize]} {run.image_size} x {run.image_size} pixels, "
        "channels first, divided by 255, less the mean, over the standard deviation.",
    }


def normalisation(learn: Any) -> tuple[list[float], list[float]]:
    """Mean and standard deviation by which each channel is normalised, of values from 0 to 1."""
    (norm,) = [each for each in learn.dls.valid.after_batch.fs if isinstance(each, Normalize)]
    return norm.mean.flatten().tolist(), norm.std.flatten().tolist()


def _learner_logits(learn: Learner, pixels: np.ndarray, opened: Exported) -> np.ndarray:
    """The trained net's own answers, in evaluation mode and fp32, whatever it was fitted in."""
    body, head = learn.model.eval()  # its `forward` may be the fit's, under autocast

    def logits_of(pixels: np.ndarray) -> np.ndarray:
        images = torch.from_numpy(normalised(pixels, opened.mean, opened.std))
        return np.asarray(head(body(images)).numpy())

    with torch.inference_mode():
        return _in_batches(logits_of, pixels)


def _in_batches(logits_of: Callable[[np.ndarray], np.ndarray], pixels: np.ndarray) -> np.ndarray:
    """The logits [images, classes] of uint8 [images, 3, size, size]."""
    starts = range(0, len(pixels), IMAGES_AT_ONCE)
    return np.concatenate([logits_of(pixels[at : at + IMAGES_AT_ONCE]) for at in starts])


def _test_at_thresholds(learn: Learner, about: About, opened: Exported) -> dict[str, float] | None:
    """Error per image and label, and F2 (the mean over images, as fastai's), of the test part at
    the labels' own thresholds; None without a test part, and at a half, where fastai measured both.
    """
    run, data = about.run, about.run.data
    rows = data.rows("test")
    if not about.use_f2 or not len(rows):
        return None
    pixels = np.asarray(run.data.array(run.image_size, run.recipe.resize)[rows])
    logits = torch.from_numpy(_learner_logits(learn, pixels, opened))
    predicted = logits.sigmoid().numpy() > opened.thresholds
    truth = data.labels[rows] > 0
    f2 = fbeta_score(truth, predicted, beta=2, average="samples", zero_division=0)
    return {"error_rate": float((predicted != truth).mean()), "fbeta2": float(f2)}


def _check_weights(opened: Exported, pixels: np.ndarray, expected: np.ndarray, run: Run) -> float:
    """How far the folder's logits, opened as others open it, are from the learner's.

    Raises `PipelineError` where that is too far.
    """
    logits = _in_batches(opened.logits, pixels)
    difference = float(np.abs(logits - expected).max())
    if not _agree(logits, expected, run.data.kind):
        raise PipelineError(
            f"model {run.model}: the exported weights differ from the trained ones by "
            f"{difference:.2g} in a logit, which is more than {PARITY}: nothing was written; "
            "please report it"
        )
    return difference


def _check_onnx(
    opened: Exported, pixels: np.ndarray, expected: np.ndarray, run: Run
) -> tuple[float, str | None]:
    """How far the logits of model.onnx are from the learner's, and why it cannot be used, if so."""
    try:
        logits = _in_batches(OnnxLogits(opened, torch.get_num_threads()), pixels)
    except Exception as error:  # onnxruntime has error classes of its own, one per status
        return float("nan"), f"onnxruntime cannot run it ({first_line(error)[:120]})"
    difference = float(np.abs(logits - expected).max())
    if not _agree(logits, expected, run.data.kind):
        return difference, f"its logits differ by {difference:.2g}, more than {PARITY}"
    return difference, None


def _agree(logits: np.ndarray, expected: np.ndarray, kind: str) -> bool:
    """Within PARITY, and the same decisions, but where two answers are equal that closely."""
    close = np.abs(logits - expected).max() <= PARITY
    if kind == "multi":
        same = ((logits > 0) == (expected > 0)) | (np.abs(expected) <= PARITY)
        return bool(close and same.all())
    chosen = np.take_along_axis(expected, logits.argmax(axis=1)[:, None], axis=1)[:, 0]
    return bool(close and (expected.max(axis=1) - chosen <= PARITY).all())


def card(config: dict[str, Any], about: About, head: nn.Module) -> str:
    """The model card, README.md."""
    places = [place for place, layer in enumerate(head.children()) if isinstance(layer, nn.Linear)]
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False
    )  # Markdown, which nothing here renders
    template = environment.from_string(CARD_TEMPLATE.read_text(encoding="utf-8"))
    text: str = template.render(
        config=config, row=about.row, head_places=places, percent=percent, known=pd.notna
    )
    return text.strip() + "\n"
