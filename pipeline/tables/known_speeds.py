"""The sources of an estimate for one device, in the order in which they are believed.

1. a benchmark of this device     2. other seeds of the cell     3. other runs of the model
4. timm's training speeds         5. timm's inference speeds, both scaled to this device by the
   models whose speed is known on both
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from pipeline.tables.estimates import (
    OtherCells,
    OtherSeeds,
    Scaled,
    Source,
    Timed,
    speed_by_model,
)
from pipeline.tables.study import MODES, Study
from pipeline.timm_results.imagenet import OWN
from pipeline.timm_results.training_speeds import rows_of_device, training_speeds

# Factors that 9 of 10 fits stay within. SCALED is measured on the 2022 study (docs/decisions.md).
BENCHMARK, SCALED, UNSCALED = 2.0, 3.0, 10.0
NAMES = {"train": "training", "infer": "inference"}


def sources(
    study: Study, imagenet: pd.DataFrame | None, device: str, cuda: bool, runs: list[Timed]
) -> list[Source]:
    """What can be asked about `device`; `runs` are those it finished."""
    records: list[Source] = [OtherSeeds(runs), OtherCells(runs)]
    if imagenet is None:
        return records
    rows = {mode: rows_of_device(imagenet, mode, device) for mode in MODES}
    here = {mode: training_speeds(study, rows[mode]) for mode in MODES}
    by_runs = speed_by_model(runs)
    own = Scaled("a benchmark of this device", here["train"], by_runs, BENCHMARK, SCALED)
    known = [by_runs, here["train"], here["infer"]]
    others = imagenet[~imagenet["benchmark_file"].isin(rows["train"]["benchmark_file"])]
    return [own, *records, *_published(study, others, cuda, known)]


def _published(
    study: Study, imagenet: pd.DataFrame, cuda: bool, known: Sequence[Mapping[str, float]]
) -> list[Source]:
    """The two files of the charts; unscaled they say something of GPUs, of CPUs nothing."""
    found: list[Source] = []
    for mode in ("train", "infer"):
        rows = imagenet[imagenet["benchmark_file"] == study.charts[mode]]
        if len(rows):
            first = rows.iloc[0]
            table = training_speeds(study, rows)
            scale: Mapping[str, float] = next(
                (speeds for speeds in known if speeds.keys() & table.keys()), {}
            )
            whose = "own" if first["measured_by"] == OWN else "timm's"
            name = f"{whose} {NAMES[mode]} speeds on {first['device']}"
            name += "" if scale else ", unscaled"
            found.append(Scaled(name, table, scale, SCALED, UNSCALED if cuda else None))
    return found
