"""No two texts of a figure overlap and none is cut off, from 3, 30 and 300 models."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from matplotlib.text import Text
from study_fakes import write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.figures.look import TREND_FAMILIES
from pipeline.plot import __main__ as plot

FAMILIES = (*TREND_FAMILIES, "vit", "regnety", "mobilenetv3", "efficientnet", "xcit", "nfnet")
SLACK_PIXELS = 1.0


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Text]:
    """The texts that matplotlib has drawn."""
    found: list[Text] = []
    draw = Text.draw
    monkeypatch.setattr(Text, "draw", lambda text, *a: (found.append(text), draw(text, *a)))
    return found


@pytest.mark.parametrize("n", [3, *(pytest.param(n, marks=pytest.mark.slow) for n in (30, 300))])
def test_no_two_texts_overlap_and_none_is_cut_off(
    n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drawn: list[Text]
):
    write_fakes(tmp_path, n)
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(tmp_path / name for name in names))
    troubles: list[str] = []

    def check(made: Figure, folder: Path, name: str) -> None:
        drawn.clear()
        made.draw_without_rendering()
        assert len(drawn) > 10, name
        troubles.extend(f"{name}: {trouble}" for trouble in troubles_of(made, drawn))

    monkeypatch.setattr(plot, "save", check)
    names = ("params.yaml", "imagenet.csv", "results", "figures")
    plot.main(*(tmp_path / name for name in names))
    assert not troubles


def test_a_text_on_another_and_one_beyond_the_edge_are_found(drawn: list[Text]):
    made = Figure()
    for x, text in ((0.1, "first"), (0.11, "second"), (0.98, "too far to the right")):
        made.text(x, 0.5, text)
    made.draw_without_rendering()
    expected = ["'too far to the right' is cut off", "'first' lies on 'second'"]
    assert troubles_of(made, drawn) == expected


def troubles_of(made: Figure, drawn: list[Text]) -> list[str]:
    """Texts that are cut off by the figure's edge or lie on another."""
    boxes = [(each.get_text(), each.get_window_extent()) for each in drawn if each.get_text()]
    edge = made.bbox.padded(SLACK_PIXELS)
    found = [
        f"{text!r} is cut off"
        for text, box in boxes
        if not (edge.contains(box.x0, box.y0) and edge.contains(box.x1, box.y1))
    ]
    for (text, box), (other, its) in combinations(boxes, 2):
        across = min(box.x1, its.x1) - max(box.x0, its.x0)
        up = min(box.y1, its.y1) - max(box.y0, its.y0)
        if min(across, up) > SLACK_PIXELS:
            found.append(f"{text!r} lies on {other!r}")
    return found


def write_fakes(folder: Path, n: int) -> None:
    """Two datasets and recipes of `n` models in many families, with long names."""
    random = np.random.default_rng(n)
    models = [f"{FAMILIES[i % len(FAMILIES)]}_base_{i}_patch16_224.a_in22k_ft" for i in range(n)]
    recipes = ["fastai2022", "avg_pool"]
    datasets = ["pets", "planet"]
    write_study(folder, models=models, datasets=datasets, recipes=recipes, seeds=[0, 1])
    table = pd.read_csv(write_imagenet(folder / "imagenet.csv", models))
    number = table["model"].map(models.index)
    table["family"] = number.map(lambda each: FAMILIES[each % len(FAMILIES)])
    table["pretraining"] = number.map(lambda each: ("in1k", "in22k")[each % 2])
    size = random.lognormal(0, 1, n)[number]
    table["params_m"], table["samples_per_second"] = 20 * size, 3000 / size
    table["top1"] = 76 + 3 * np.log(size) + random.normal(0, 1.5, n)[number]
    table.to_csv(folder / "imagenet.csv", index=False)
    for model in models:
        for dataset in datasets:
            error, seconds = random.uniform(0.04, 0.15), random.lognormal(5, 0.5)
            for recipe in recipes[: 2 if n < 300 else 1]:
                for seed in (0, 1):
                    cost = {"fit_seconds": seconds * random.uniform(0.9, 1.1)}
                    error_rate = error * random.uniform(0.9, 1.1)
                    write_run(folder / "runs", model, seed, error_rate, dataset, recipe, cost=cost)
