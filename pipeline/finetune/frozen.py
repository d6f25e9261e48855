"""Frozen features of a pretrained network, and heads that are fitted on them without fine-tuning.

Features are the input of timm's own classifier (`num_classes=0`: pooled, after every pretrained
layer before the classifier): one vector per image, from one pass over the prepared array. The L2
strength of the linear probe is chosen by cross-validation on the training part alone.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from pipeline.dataset.prepared import Crops, Prepared
from pipeline.finetune.callbacks import Diverged
from pipeline.finetune.speed import gains_from_channels_last
from pipeline.finetune.weights import readable
from pipeline.hardware.faults import DoesNotFit
from pipeline.names.vision_learner import body_of

if TYPE_CHECKING:
    from pipeline.finetune.training import Run

IMAGES_AT_ONCE = 64
L2_STRENGTHS = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
FOLDS = 5
FEW_IMAGES = 5_000  # with more images, one fold is enough
NEIGHBOURS, TEMPERATURE = 20, 0.07  # the weighted kNN of Wu et al. (CVPR 2018), as DINO uses it


@dataclass(frozen=True)
class Probe:
    """A linear head on frozen features: logits are `features @ weight.T + bias`.

    `weight` is float32 [classes, width], `bias` float32 [classes]. `l2` is the strength that was
    chosen, and `cv_loss` the cross-validated loss of each strength that was tried, in nats per
    image (summed over the tags if images have several).
    """

    weight: np.ndarray
    bias: np.ndarray
    l2: float
    cv_loss: dict[float, float]

    def logits(self, features: np.ndarray) -> np.ndarray:
        """From features [images, width]: float32 [images, classes]."""
        logits: np.ndarray = features @ self.weight.T + self.bias
        return logits


def frozen_features(run: "Run") -> tuple[np.ndarray, float]:
    """Features of every image of `run.data`, float32 [images, width], and wall-clock seconds.

    Rows are in the dataset's order. Passes on any error of a model that cannot take the images.
    """
    with readable(run.weights.file):
        model = body_of(run.model, "timm", True, run.weights.overlay, run.image_size)
    if run.speed.channels_last and gains_from_channels_last(model, run.device):
        model.to(memory_format=torch.channels_last)
    config: Any = model.model.pretrained_cfg
    started = time.perf_counter()
    images = fixed_images(run.data, run.image_size, run.recipe.resize)
    features = features_of(model.to(run.device), images, config["mean"], config["std"])
    return features, time.perf_counter() - started


def fixed_images(data: Prepared, image_size: int, resize: str) -> "np.ndarray | Crops":
    """The prepared array; images to be cropped are always cropped to the central square."""
    return without_chance(data.array(image_size, resize))


def without_chance(images: "np.ndarray | Crops") -> "np.ndarray | Crops":
    """`images` without random crops: each image is the same every time it is read."""
    if isinstance(images, Crops):
        return Crops(images.images, images.image_size, np.zeros(len(images), dtype=bool))
    return images


def features_of(
    model: nn.Module,
    images: Any,
    mean: Sequence[float],
    std: Sequence[float],
    rows: np.ndarray | None = None,
) -> np.ndarray:
    """The output of `model`, in eval mode, for `rows` of uint8 images: float32 [rows, width].

    Raises `DoesNotFit` if that is not one vector per image, and `Diverged` if it is not finite.
    """
    rows = np.arange(len(images)) if rows is None else rows
    device = next(model.parameters()).device
    middle, scale = (torch.tensor(each, device=device).view(1, -1, 1, 1) for each in (mean, std))
    was_training, found = model.training, []
    model.eval()
    try:
        with torch.inference_mode():
            for start in range(0, len(rows), IMAGES_AT_ONCE):
                pixels = torch.from_numpy(images[rows[start : start + IMAGES_AT_ONCE]]).to(device)
                found.append(model((pixels / 255 - middle) / scale).float())
    finally:
        model.train(was_training)
    features: np.ndarray = torch.cat(found).cpu().numpy()
    if features.ndim != 2:
        raise DoesNotFit(f"features of shape {features.shape}: expected one vector per image")
    if not np.isfinite(features).all():
        raise Diverged("features of the frozen net are not finite")
    return features


def linear_probe(
    features: np.ndarray,
    labels: np.ndarray,
    kind: str,
    train: np.ndarray,
    n_classes: int,
) -> Probe:
    """Logistic regression on the rows `train` of `features` [images, width].

    It is multinomial for `kind` "single" (labels int64 [images]) and one-vs-rest for "multi"
    (labels float32 [images, classes]). The intercept is not penalised. For the fit, features are
    centred and divided by their mean standard deviation; the returned head takes raw features.
    """
    x, y = features[train], labels[train]
    mean = x.mean(axis=0)
    scale = float(x.std(axis=0).mean()) or 1.0
    x = _rotated((x - mean) / scale)
    columns = torch.from_numpy(x.columns)
    targets = torch.from_numpy(y)
    cv_loss = _cross_validated(columns, targets, kind, n_classes)
    l2 = min(cv_loss, key=lambda strength: cv_loss[strength])
    solution = _fit(columns, targets, kind, n_classes, l2, None)
    weight = (solution[:-1].numpy().T @ x.basis) / scale
    bias = solution[-1].numpy() - weight @ mean
    return Probe(weight.astype(np.float32), bias.astype(np.float32), l2, cv_loss)


def knn_logits(
    features: np.ndarray, labels: np.ndarray, kind: str, train: np.ndarray, rows: np.ndarray
) -> np.ndarray:
    """Log odds of each class for `rows`, from their nearest neighbours among the rows `train`.

    Neighbours vote with weight exp(cosine similarity / 0.07). The result is float32
    [rows, classes].
    """
    from sklearn.neighbors import NearestNeighbors

    search = NearestNeighbors(n_neighbors=min(NEIGHBOURS, len(train)), metric="cosine")
    distance, nearest = search.fit(features[train]).kneighbors(features[rows])
    votes = np.exp((distance[:, :1] - distance) / TEMPERATURE)
    known = np.eye(labels.max() + 1)[labels[train]] if kind == "single" else labels[train]
    votes /= votes.sum(axis=1, keepdims=True)
    parts = range(0, len(rows), IMAGES_AT_ONCE)
    blocks = [slice(start, start + IMAGES_AT_ONCE) for start in parts]  # images x 20 x classes
    shares = [np.einsum("in,inc->ic", votes[each], known[nearest[each]]) for each in blocks]
    share = np.concatenate(shares).clip(1e-6, 1 - 1e-6)
    logits: np.ndarray = np.log(share / (1 - share)).astype(np.float32)
    return logits


@dataclass(frozen=True)
class _Rotated:
    """Features in another basis: they equal `columns @ basis`.

    There are no more columns than images.
    """

    columns: np.ndarray
    basis: np.ndarray


def _rotated(x: np.ndarray) -> _Rotated:
    """Express `x` in a basis of the images' span if there are fewer images than features.

    The penalised regression has the same solution there.
    """
    if len(x) >= x.shape[1]:
        return _Rotated(np.ascontiguousarray(x), np.eye(x.shape[1], dtype=x.dtype))
    basis, triangle = np.linalg.qr(x.T)
    return _Rotated(np.ascontiguousarray(triangle.T), basis.T)


def _cross_validated(
    x: torch.Tensor, y: torch.Tensor, kind: str, n_classes: int
) -> dict[float, float]:
    """Held-out loss of each strength, until it has risen twice in a row."""
    folds = _folds(y.numpy(), kind)
    held_out = range(min(FOLDS, len(y)) if len(y) <= FEW_IMAGES else 1)
    solutions: dict[int, torch.Tensor] = {}
    losses: dict[float, float] = {}
    for strength in L2_STRENGTHS:
        total = 0.0
        for fold in held_out:
            kept, left = torch.from_numpy(folds != fold), torch.from_numpy(folds == fold)
            start = solutions.get(fold)
            solution = _fit(x[kept], y[kept], kind, n_classes, strength, start, steps=30)
            solutions[fold] = solution
            total += float(_loss(x[left], y[left], kind, solution)) * int(left.sum())
        losses[strength] = total / int(np.isin(folds, list(held_out)).sum())
        recent = list(losses.values())[-3:]
        if len(recent) == 3 and recent[0] < recent[1] < recent[2]:
            break
    return losses


def _folds(labels: np.ndarray, kind: str) -> np.ndarray:
    """A fold for each image, stratified by class, and always the same for the same labels."""
    order = np.random.default_rng(0).permutation(len(labels))
    if kind == "single":
        order = order[np.argsort(labels[order], kind="stable")]
    folds = np.empty(len(labels), dtype=np.int64)
    folds[order] = np.arange(len(labels)) % FOLDS
    return folds


def _fit(
    x: torch.Tensor,
    y: torch.Tensor,
    kind: str,
    n_classes: int,
    l2: float,
    start: torch.Tensor | None,
    steps: int = 300,
) -> torch.Tensor:
    """The weights and, in the last row, the biases: [columns + 1, classes]."""
    fresh = torch.zeros(x.shape[1] + 1, n_classes)
    solution = (fresh if start is None else start.clone()).requires_grad_()
    solver = torch.optim.LBFGS(
        [solution], max_iter=steps, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> torch.Tensor:
        solver.zero_grad()
        loss = _loss(x, y, kind, solution) + l2 / 2 * solution[:-1].square().sum()
        loss.backward()
        return loss

    solver.step(closure)
    return solution.detach()


def _loss(x: torch.Tensor, y: torch.Tensor, kind: str, solution: torch.Tensor) -> torch.Tensor:
    """Mean cross entropy per image, summed over the tags if images have several."""
    logits = x @ solution[:-1] + solution[-1]
    if kind == "single":
        return nn.functional.cross_entropy(logits, y)
    loss = nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="sum")
    return loss / len(y)
