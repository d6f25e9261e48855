"""What every chart shares: a family's colour and marker, the line on the source.

A family looks the same in every figure and in the report, whatever else is drawn: its style follows
from its place in one fixed list. Eight colours that are safe for colour blindness and thirteen
markers have no common factor, so neighbours in the list differ in both.
"""

from dataclasses import dataclass

import pandas as pd

from pipeline.statistics.correlations import ELSEWHERE
from pipeline.timm_results.families import FAMILIES

# Okabe and Ito's colours without black and yellow, plus a violet and a brown
COLOURS = (
    "#0072b2",
    "#d55e00",
    "#009e73",
    "#cc79a7",
    "#e69f00",
    "#56b4e9",
    "#a155e6",
    "#7a4020",
)
MARKERS = "osD^vPXph<>d8"  # matplotlib's names
SYMBOLS = (  # plotly's names, in the same order
    "circle",
    "square",
    "diamond",
    "triangle-up",
    "triangle-down",
    "cross",
    "x",
    "pentagon",
    "hexagon",
    "triangle-left",
    "triangle-right",
    "diamond-tall",
    "octagon",
)
GREY = "#9a9a9a"
LEAST_FOR_LOG = 4  # the largest value over the smallest
MODE_NAMES = {"infer": "inference", "train": "training"}

# The 2022 notebook's eight with a trend line come first: one colour each.
TREND_FAMILIES = (
    "convnext",
    "swin",
    "levit",
    "beit",
    "efficientnetv2",
    "regnetx",
    "resnet",
    "vgg",
)
_PROMINENT = (
    "vit",
    "regnety",
    "mobilenetv3",
    "deit3",
    "maxvit",
    "efficientnet",
    "convnextv2",
    "eva02",
    "resnext",
    "senet",
    "xcit",
    "hgnet",
    "mobilenetv4",
    "nfnet",
    "resnetv2",
    "cspnet",
    "efficientvit",
    "mambaout",
    "swinv2",
    "caformer",
)
_ORDER = list(dict.fromkeys([*TREND_FAMILIES, *_PROMINENT, *(name for name, _ in FAMILIES)]))
_PLACE = {name: place for place, name in enumerate(_ORDER)}
NAMES = {  # of the columns that are compared
    "error_rate_mean": "mean error",
    "fit_seconds_median": "median fit time",
    "imagenet_top1": "ImageNet top-1",
    "imagenet_real_top1": "ImageNet-ReaL top-1",
    "imagenet_v2_top1": "ImageNetV2 top-1",
    "imagenet_sketch_top1": "ImageNet-Sketch top-1",
    "imagenet_a_top1": "ImageNet-A top-1",
    "imagenet_a_clean_top1": "ImageNet-A clean top-1",
    "imagenet_r_top1": "ImageNet-R top-1",
    "imagenet_r_clean_top1": "ImageNet-R clean top-1",
    "params_m": "parameters",
    "infer_samples_per_second": "published inference speed",
    "train_samples_per_second": "published training speed",
    "pretraining_scale": "scale of pretraining",
}


@dataclass(frozen=True)
class Style:
    """How a family is drawn: `marker` by matplotlib, `symbol` by plotly."""

    colour: str
    marker: str
    symbol: str


OTHERS = Style(GREY, "o", "circle")  # families too small for a legend entry of their own


def style(family: str) -> Style:
    """The family's style; one that no rule knows is grey."""
    if family not in _PLACE:
        return OTHERS
    place = _PLACE[family]
    number = place % len(MARKERS)
    return Style(COLOURS[place % len(COLOURS)], MARKERS[number], SYMBOLS[number])


def legend_families(families: pd.Series, most: int) -> list[str]:
    """The `most` families with the most rows, in the fixed order; the rest is drawn grey."""
    counts = families[families.isin(_PLACE)].value_counts()
    largest = sorted(counts.index, key=lambda name: (-counts[name], _PLACE[name]))[:most]
    return sorted(largest, key=_PLACE.__getitem__)


def spans_decades(values: pd.Series) -> bool:
    """Whether an axis of these positive values should be logarithmic."""
    return bool(values.max() >= LEAST_FOR_LOG * values.min())


def speed_source(rows: pd.DataFrame) -> str:
    """The benchmark files that these rows of imagenet.csv come from, their devices and commit."""
    files = [
        f"{row.measured_by} {row.benchmark_file} ({row.device}, {row.precision}, torch {row.torch})"
        for row in rows.drop_duplicates("benchmark_file").itertuples()
    ]
    return f"{' and '.join(files)}; timm at {_commit(rows)}"


def accuracy_source(rows: pd.DataFrame) -> str:
    """Where the accuracy in these rows of imagenet.csv comes from."""
    return f"timm results-imagenet.csv at {_commit(rows)}"


def _commit(rows: pd.DataFrame) -> str:
    commits = sorted({commit[:10] for commit in rows["commit"].unique() if commit})
    return f"commit {', '.join(commits)}" if commits else "no known commit"


def name_of(column: str) -> str:
    """The column of correlations.csv's outcome or predictor in words."""
    if column.startswith(ELSEWHERE):
        return f"mean error on {column.removeprefix(ELSEWHERE)}"
    return NAMES.get(column, column)
