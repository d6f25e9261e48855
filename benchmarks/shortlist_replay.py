"""The shortlist of `recommend` replayed on sweeps that are finished: by rule, what it gives away.

Reads a folder with sweep_2022.csv and transfer_11x11.csv and the folder of timm's CSVs; prints the
regret of the best model of each shortlist and the seconds that trying it takes. Nothing is trained.

    python -m benchmarks.shortlist_replay ../shared/reference ../shared/timm-results

A model's speed is that of its own fits in 2022, of the eleven networks its size, because what timm
publishes of speed knows neither set whole. What was measured: docs/race.md.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.race_tables import Sweep, accuracies, field_of, study2022, transfer
from pipeline.core.command import run
from pipeline.estimates.belief import predict
from pipeline.statistics.comparison import compare
from pipeline.statistics.fit_times import along_front

TOP = (3, 5)
Rule = Callable[[Sweep, Sequence[Sweep], int], list[int]]


def tied_and_front(sweep: Sweep, others: Sequence[Sweep], top: int) -> list[int]:
    """The rule until November 2026: half were tied for the best elsewhere, on most datasets and
    cheapest first, the rest spread along the front of ImageNet top-1 against speed.
    """
    speed, counts = _speed(sweep), np.zeros(len(sweep.models))
    for other in others:
        runs = np.stack(other.runs)
        tied = compare(runs, other.n_valid, None).tied
        counts += np.isin(sweep.models, np.array(other.models)[tied])
    earlier = np.lexsort((-speed, -counts))
    found = [int(m) for m in earlier if counts[m] > 0][: -(-top // 2)]
    top1 = sweep.published["imagenet_top1"].astype(float).to_numpy()
    known = np.flatnonzero(np.isfinite(top1))
    front = known[along_front(-speed[known], top1[known])]
    front = front[~np.isin(front, found)]
    return found + _spread(front[np.argsort(-top1[front], kind="stable")], top - len(found))


def by_prediction(sweep: Sweep, others: Sequence[Sweep], top: int) -> list[int]:
    """The lowest predicted errors."""
    return [int(m) for m in np.argsort(_predicted(sweep, others), kind="stable")[:top]]


def along_predictions(sweep: Sweep, others: Sequence[Sweep], top: int) -> list[int]:
    """Spread along the front of predicted error against speed."""
    error, speed = _predicted(sweep, others), _speed(sweep)
    front = along_front(-speed, -error)
    return _spread(front[np.argsort(error[front], kind="stable")], top)


def _predicted(sweep: Sweep, others: Sequence[Sweep]) -> np.ndarray:
    candidates, prior = field_of(sweep, others)
    nothing = np.full(len(sweep.models), np.nan)
    rungs = np.full(sweep.rungs.shape, np.nan)
    return predict(prior, candidates.features, rungs, nothing).mean


def _speed(sweep: Sweep) -> np.ndarray:
    seconds = sweep.fit_seconds[:, 0]
    if len(set(seconds)) == 1:
        size = sweep.published["params_m"].astype(float)
        seconds = size.fillna(size.median()).to_numpy()
    return 1 / seconds


def _spread(front: np.ndarray, count: int) -> list[int]:
    accurate = front[: max(count, -(-len(front) // 2))]
    places = np.linspace(0, len(accurate) - 1, min(count, len(accurate))).round()
    return [int(accurate[int(place)]) for place in np.unique(places)]


RULES: dict[str, tuple[Rule, bool]] = {
    "tied elsewhere, top-1 against speed": (tied_and_front, True),
    "top-1 against speed alone": (tied_and_front, False),
    "lowest predicted, learned": (by_prediction, True),
    "lowest predicted, assumed": (by_prediction, False),
    "predicted against speed, learned": (along_predictions, True),
    "predicted against speed, assumed": (along_predictions, False),
}


def main(reference: Path, timm: Path) -> None:
    """Replay shortlists on the tables in REFERENCE with TIMM's CSVs."""
    accuracy = accuracies(timm)
    rows = []
    for study, sweeps in (
        ("2022", study2022(reference / "sweep_2022.csv", accuracy)),
        ("11x11", transfer(reference / "transfer_11x11.csv", accuracy)),
    ):
        for sweep in sweeps:
            others = [each for each in sweeps if each is not sweep]
            for name, (rule, learns) in RULES.items():
                for top in TOP:
                    found = rule(sweep, others if learns else [], top)
                    regret = 100 * float(sweep.truth[found].min() - sweep.truth.min())
                    cost = float(sweep.fit_seconds[found, 0].sum())
                    where = sweep.name if study == "2022" else study
                    rows.append((where, sweep.name, name, top, regret, cost))
    columns = ["study", "sweep", "rule", "top", "regret", "seconds"]
    table = pd.DataFrame(rows, columns=columns)
    mean = table.groupby(["study", "top", "rule"], sort=False)[["regret", "seconds"]].mean()
    print(mean.round(2).to_string())
    wide = table[table["study"] == "11x11"].pivot_table(
        index="sweep", columns=["top", "rule"], values="regret", sort=False
    )
    print(wide.round(2).T.to_string())


if __name__ == "__main__":
    run(main)
