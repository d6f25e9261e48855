"""A shortlist for a dataset that has no runs: what others measured, a prior and nothing more.

Half of it are models that were tied for the best on datasets of this study, the rest stands on the
front of ImageNet top-1 against published training speed, spread from accurate to quick. In 2022
ImageNet top-1 and fine-tune accuracy had rank correlations of 0.64 (Pets) and about 0.2 (Planet).
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.recommend.limits import Limit
from pipeline.statistics.front import along_front


@dataclass(frozen=True)
class Suggestion:
    model: str
    why: str


def shortlist(
    published: pd.DataFrame, board: pd.DataFrame, limits: list[Limit], top: int
) -> list[Suggestion]:
    """At most `top` models; `published` has one row per model: top1, img_size, speed, device.

    Of the limits only a throughput can be judged, by the published speed.
    """
    rows = published.dropna(subset=["top1", "samples_per_second"])
    for limit in limits:
        if limit.column != "samples_per_second":
            continue
        if not limit.keeps(rows).any():
            raise PipelineError(f"by published speed, {limit.told(rows)}")
        rows = rows[limit.keeps(rows)]
    earlier = _earlier(board, rows if len(rows) < len(published) else None)
    found = earlier[: -(-top // 2)]
    speed, top1 = (rows[name].to_numpy(float) for name in ("samples_per_second", "top1"))
    front = rows.iloc[along_front(-speed, top1)]
    front = front[~front["model"].isin([each.model for each in found])]
    found += _spread(front, top - len(found))
    return found


def _earlier(board: pd.DataFrame, allowed: pd.DataFrame | None) -> list[Suggestion]:
    """The models tied for the best on other datasets, on most of them and cheapest first."""
    tied = board[board["tied"].fillna(False).astype(bool)]
    if allowed is not None:
        tied = tied[tied["model"].isin(allowed["model"])]
    if tied.empty:
        return []
    models = tied.groupby("model").agg(
        datasets=("dataset", lambda names: ", ".join(sorted(set(names)))),
        count=("dataset", "nunique"),
        fit_seconds=("fit_seconds_median", "median"),
    )
    models = models.sort_values(["count", "fit_seconds"], ascending=[False, True], kind="stable")
    return [
        Suggestion(str(row.Index), f"tied for the best on {row.datasets}")
        for row in models.itertuples()
    ]


def _spread(front: pd.DataFrame, count: int) -> list[Suggestion]:
    """`count` models of the front's more accurate half, evenly from accurate to quick."""
    if front.empty or count < 1:
        return []
    front = front.sort_values("top1", ascending=False, kind="stable")
    accurate = front.head(max(count, -(-len(front) // 2)))
    places = np.unique(np.linspace(0, len(accurate) - 1, min(count, len(accurate))).round())
    return [
        Suggestion(
            row["model"],
            f"ImageNet top-1 {row['top1']:.1f} % at {row['img_size']} pixels, "
            f"{row['samples_per_second']:,.0f} samples/s in training on {row['device']}; "
            "nothing published is both quicker and more accurate",
        )
        for _, row in accurate.iloc[places.astype(int)].iterrows()
    ]
