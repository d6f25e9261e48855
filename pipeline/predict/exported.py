"""A folder that stage `export` wrote, opened with torch and timm alone.

    model.safetensors  body.* under timm's own names, head.* of one or two linear layers
    config.json        what the model is: timm's name, classes, preprocessing, thresholds, checksums
    README.md          the model card
    model.onnx         where the family can be exported: pixels to logits, any number of images

Nothing in such a folder is executed: no pickle, and timm builds only a model that it has by name.
What does not match its checksum is not loaded.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import timm
import torch
from safetensors import SafetensorError
from torch import nn

from pipeline.core.errors import PipelineError, first_line
from pipeline.core.files import sha256
from pipeline.dataset.images import RESIZES
from pipeline.names.resolve import weights

FORMAT = 1
WEIGHTS, CONFIG, CARD, ONNX = "model.safetensors", "config.json", "README.md", "model.onnx"
FILES = frozenset((WEIGHTS, CONFIG, CARD, ONNX))
INPUT, OUTPUT = "images", "logits"  # of model.onnx
FEATURES = ("max_and_mean", "mean", "vector", "pre_logits")
AGAIN = "export it again, or get it from where it came"


class Net(nn.Module):
    """Preprocessed images, float32 [images, 3, size, size], to logits [images, classes].

    `features` says what the head stands on: the maximum and the mean of timm's feature map, its
    mean, the vector that the model gives, or the one before timm's own classifier.
    """

    def __init__(self, body: Any, head: nn.Module, features: str) -> None:
        super().__init__()
        self.body, self.head, self.features = body, head, features

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.features == "vector":
            vectors = self.body(images)
        else:
            maps = self.body.forward_features(images)
            if self.features == "pre_logits":
                vectors = self.body.forward_head(maps, pre_logits=True)
            elif self.features == "mean":
                vectors = maps.mean((2, 3))
            else:
                vectors = torch.cat([maps.amax((2, 3)), maps.mean((2, 3))], 1)
        logits: torch.Tensor = self.head(vectors)
        return logits


@dataclass(frozen=True)
class Exported:
    """An opened model. `thresholds` [classes] are of several labels, None of one."""

    folder: Path
    model: str
    classes: list[str]
    multi: bool
    image_size: int
    resize: str
    mean: np.ndarray
    std: np.ndarray
    thresholds: np.ndarray | None
    net: Net

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """From uint8 [images, 3, size, size], RGB: float32 [images, classes]."""
        with torch.inference_mode():
            images = torch.from_numpy(normalised(pixels, self.mean, self.std))
            made = self.net(images.to(next(self.net.parameters()).device))
        logits: np.ndarray = made.float().cpu().numpy()
        return logits

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Of each class, float32 [images, classes]; of one label they sum up to 1."""
        values = torch.from_numpy(logits)
        made: np.ndarray = (values.sigmoid() if self.multi else values.softmax(1)).numpy()
        return made


def open_exported(folder: Path) -> Exported:
    """Open and check a model; raises `PipelineError` where there is none, or a changed one."""
    config = _config(folder)
    try:
        model = _opened(folder, config)
        _check_net(model)
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        first = f"{type(error).__name__}: {first_line(error)}"
        raise PipelineError(f"{folder}: not a whole model ({first[:200]}): {AGAIN}") from None
    return model


def _config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG
    if not path.is_file():
        raise PipelineError(
            f"{folder}: no exported model here, it has no {CONFIG}: give a folder that "
            "`python -m pipeline.export` wrote"
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        is_known = isinstance(config, dict) and config.get("format") == FORMAT
    except (ValueError, RecursionError) as error:
        raise PipelineError(f"{path}: not JSON ({error}): {AGAIN}") from None
    if not is_known or not isinstance(config.get("sha256"), dict):
        raise PipelineError(f"{path}: not the configuration of a model in format {FORMAT}: {AGAIN}")
    for name in (WEIGHTS, ONNX):
        if name == WEIGHTS or (folder / name).is_file():
            _check_sum(folder / name, config["sha256"].get(name))
    return config


def _check_sum(path: Path, expected: Any) -> None:
    if not path.is_file():
        raise PipelineError(f"{path}: no such file: {AGAIN}")
    if sha256(path) != expected:
        raise PipelineError(
            f"{path}: changed since it was exported, its SHA-256 is not that of {CONFIG}: {AGAIN}"
        )


def _opened(folder: Path, config: dict[str, Any]) -> Exported:
    name, size = config["model"], config["preprocessing"]["image_size"]
    if name not in weights():
        raise ValueError(f"timm {timm.__version__} has no model {name!r}")
    if config["features"] not in FEATURES:
        raise ValueError(f"features {config['features']!r}")
    if config["preprocessing"]["resize"] not in RESIZES:
        raise ValueError(f"resize {config['preprocessing']['resize']!r}")
    if not isinstance(size, int) or not 8 <= size <= 4096:
        raise ValueError(f"image_size {size!r}")
    state = safetensors.torch.load_file(folder / WEIGHTS)
    parts: dict[str, dict[str, torch.Tensor]] = {"body": {}, "head": {}}
    for key, tensor in state.items():
        part, _, rest = key.partition(".")
        parts[part][rest] = tensor
    options = config.get("timm_options", {})  # older exports have none, and needed none
    if not isinstance(options, dict) or options.keys() - {"img_size"}:
        raise ValueError(f"timm_options {options!r}")
    body = timm.create_model(name, pretrained=False, num_classes=0, **options)
    body.load_state_dict(parts["body"])
    net = Net(body, head_of(parts["head"]), config["features"]).eval()
    classes, multi = [str(each) for each in config["classes"]], config["kind"] == "multi"
    thresholds = [config["thresholds"][each] for each in classes] if multi else None
    return Exported(
        folder=folder,
        model=name,
        classes=classes,
        multi=multi,
        image_size=size,
        resize=config["preprocessing"]["resize"],
        mean=np.array(config["preprocessing"]["mean"], dtype=np.float32),
        std=np.array(config["preprocessing"]["std"], dtype=np.float32),
        thresholds=np.array(thresholds, dtype=np.float32) if multi else None,
        net=net,
    )


def head_of(state: dict[str, torch.Tensor]) -> nn.Sequential:
    """The linear layers of these tensors, `0.weight` and so on, a ReLU between two."""
    layers: list[nn.Module] = []
    for place in sorted({int(name.partition(".")[0]) for name in state}):
        layers += [nn.ReLU()] * (place - len(layers))
        rows, columns = state[f"{place}.weight"].shape
        layers.append(nn.Linear(columns, rows))
    head = nn.Sequential(*layers)
    head.load_state_dict(state)
    return head


def _check_net(model: Exported) -> None:
    """Raise where the net does not take the size, or gives another number of classes."""
    size = model.image_size
    try:
        n_logits = model.logits(np.zeros((1, 3, size, size), dtype=np.uint8)).shape[1]
    except (RuntimeError, AssertionError) as error:
        what = f"{model.model} does not take images of {size} pixels"
        raise ValueError(f"{what}: {first_line(error)}") from None
    if n_logits != len(model.classes):
        raise ValueError(f"{n_logits} answers, but {len(model.classes)} classes")


def on_cpu(model: Exported) -> Callable[[np.ndarray], np.ndarray]:
    """The faster of `model.logits` and, where onnxruntime and model.onnx are there, `OnnxLogits`.

    For torch, nets with batch norm get their weights channels last: EfficientNet-Lite0 takes two
    thirds of the time (docs/performance.md), and logits differ in the sixth digit.
    """
    if (model.folder / ONNX).is_file() and find_spec("onnxruntime"):
        return OnnxLogits(model)
    if any(isinstance(each, nn.BatchNorm2d) for each in model.net.modules()):
        model.net.to(memory_format=torch.channels_last)
    return model.logits


class OnnxLogits:
    """`Exported.logits` from model.onnx, on `threads` of a CPU.

    Small nets are two to three times as quick as with torch. The session is made in the process
    that makes the first call, so that a fork shares no threads.
    """

    def __init__(self, model: Exported, threads: int = 1) -> None:
        self.path, self.mean, self.std = model.folder / ONNX, model.mean, model.std
        self.threads = threads
        self.session: Any = None

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        if self.session is None:
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = self.threads
            options.inter_op_num_threads = 1
            providers = ["CPUExecutionProvider"]
            self.session = onnxruntime.InferenceSession(self.path, options, providers=providers)
        images = normalised(pixels, self.mean, self.std)
        logits: np.ndarray = self.session.run([OUTPUT], {INPUT: images})[0]
        return logits


def normalised(pixels: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """float32 of uint8 [images, 3, height, width]: from 0 to 1, less `mean`, over `std`."""
    scaled = pixels.astype(np.float32) / np.float32(255)
    return (scaled - mean[:, None, None]) / std[:, None, None]
