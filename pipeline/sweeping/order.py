"""Which runs go first: the cheap ones, so that the tables fill early.

Reads, where they are there, the fit times of earlier records, timm's published speeds in
data/imagenet.csv and the sizes of prepared datasets. Only ratios of prices count: a cell without a
record gets what its model is published to take for one pixel, times its pixels, in the scale of the
cells that have one.
"""

import json
import math
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from statistics import median

from pipeline.core.yaml_files import read_yaml
from pipeline.sweeping.jobs import fine_tune_words
from pipeline.tables.study import read_study


class Prices:
    """What each command will cost, in seconds or in a scale of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __call__(self, command: str) -> float:
        """The price of a stage's command; what is no fine-tune costs nothing and goes first."""
        cell = fine_tune_words(command)
        if not cell:
            return 0.0
        known = self._known.get((cell["dataset"], cell["model"], cell["recipe"]))
        return known if known is not None else self._scale * self._published_price(cell)

    @cached_property
    def _known(self) -> dict[tuple[str, str, str], float]:
        """The median fit time of each (dataset, model, recipe) with records, of whatever code."""
        found = defaultdict(list)
        for path in self.root.glob("data/runs/*/*/*/*.json"):
            seconds = _fit_seconds(path)
            if seconds is not None:
                found[path.parts[-4:-1]].append(seconds)
        return {(cell[0], cell[1], cell[2]): median(each) for cell, each in found.items()}

    @cached_property
    def _scale(self) -> float:
        """Seconds for one unit of `_published_price`, by the cells whose seconds are known."""
        size = read_yaml(self.root / "params.yaml")["image_size"]
        ratios = []
        for (dataset, model, recipe), seconds in self._known.items():
            cell = {"dataset": dataset, "model": model, "recipe": recipe, "image_size": size}
            ratios.append(seconds / self._published_price(cell))
        return median(ratios) if ratios else 1.0

    def _published_price(self, cell: dict[str, str]) -> float:
        pixels = int(cell["image_size"]) ** 2 * self._images(cell["dataset"])
        per_pixel = self._per_pixel.get(cell["model"], 1.0)
        return pixels * self._epochs.get(cell["recipe"], 1) * per_pixel

    @cached_property
    def _per_pixel(self) -> dict[str, float]:
        imagenet = self.root / "data/imagenet.csv"
        return per_pixel(self.root / "params.yaml", imagenet) if imagenet.is_file() else {}

    def _images(self, dataset: str) -> int:
        """How many images one epoch learns from; 1 where the dataset is not prepared yet."""
        try:
            meta = json.loads((self.root / "data/datasets" / dataset / "meta.json").read_text())
            return int(meta["n_train"])
        except (OSError, ValueError, KeyError):
            return 1

    @cached_property
    def _epochs(self) -> dict[str, int]:
        found = {}
        for path in self.root.glob("conf/recipe/*.yaml"):
            recipe = read_yaml(path)
            found[path.stem] = int(recipe["epochs"]) + int(recipe["frozen_epochs"])
        return found


def per_pixel(params: Path, path: Path) -> dict[str, float]:
    """Published seconds per pixel of each model: by its training or inference speed or parameters.

    The second and third are brought into the scale of the first by models that have both.
    """
    from pipeline.timm_results.imagenet import read_imagenet
    from pipeline.timm_results.published import published

    study = read_study(params)
    table = published(study, read_imagenet(path), path)
    measures = [
        1 / (table[f"{mode}_samples_per_second"] * table[f"{mode}_img_size"].astype(float) ** 2)
        for mode in ("train", "infer")
    ]
    measures.append(table["params_m"])
    prices: list[float] = [math.nan] * len(table)
    for measure in measures:
        values = [float(value) for value in measure]
        ratio = _median_or_one(price / value for price, value in zip(prices, values, strict=True))
        prices = [
            ratio * value if math.isnan(price) else price
            for price, value in zip(prices, values, strict=True)
        ]
    middle = _median_or_one(prices)
    known = [middle if math.isnan(price) else price for price in prices]
    return dict(zip(table["model"], known, strict=True))


def _median_or_one(values: Iterable[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return median(known) if known else 1.0


def _fit_seconds(path: Path) -> float | None:
    try:
        return float(json.loads(path.read_text("utf-8"))["cost"]["fit_seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
