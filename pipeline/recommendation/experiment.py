"""Which further experiment would shorten the list of models that may be the best the most.

Each is played through: what its runs might show is drawn from what is known now, the models are
compared again, and the tie sets that come out are counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from pipeline.recommendation.choice import Choice
from pipeline.tables.comparison import RunNoise, compare, run_noise
from pipeline.tables.study import Study

DRAWS = 40
MOST_MODELS = 40  # of the tie set and next to it, that are played through
LEAST_GAIN = 0.25  # models: a smaller expected change of the tie set is none


@dataclass(frozen=True)
class Experiment:
    """`tied_after` is the expected number of models that may be the best; None if not known."""

    what: str
    command: str | None
    tied_after: float | None


def next_experiment(study: Study, choice: Choice, missing: int) -> Experiment:
    """The best of: missing runs, one more seed for the tied or for all, more images."""
    first = choice.rows.iloc[0]
    if missing:
        return Experiment(f"finish the {missing} missing runs of the grid", "dvc repro", None)
    if len(choice.rows) == 1 or choice.n_tied == 1:
        return Experiment("no further run of these models: the best is told apart", None, 1.0)
    noise = run_noise(choice.errors, int(first["n_valid"]))
    if noise is None or noise.residual is None:
        return Experiment(
            "a second seed, to see how runs vary", _one_seed(study, first, None), None
        )
    tried = [
        Experiment(what, command, _tied_after(choice, noise, again, images))
        for what, command, again, images in _options(study, choice)
    ]
    after, best = min(((each.tied_after or 0.0, each) for each in tried), key=lambda pair: pair[0])
    if after > choice.n_tied - LEAST_GAIN:
        what = "none of one more seed or twice the validation images: the tie set would stay"
        return Experiment(what, None, after)
    return best


def _options(study: Study, choice: Choice) -> Iterator[tuple[str, str | None, np.ndarray, int]]:
    """What could be done: in words, as a command, which models run again, on how many images."""
    first = choice.rows.iloc[0]
    n_valid, seed = int(first["n_valid"]), max(study.seeds) + 1
    tied = choice.rows["tied"].to_numpy(dtype=bool)
    names = choice.rows.loc[tied, "model"].tolist()
    one_run = f"one more seed ({seed}) for"
    command = _one_seed(study, first, names)
    yield f"{one_run} the {len(names)} tied models", command, tied, n_valid
    command = _one_seed(study, first, None)
    yield f"{one_run} all {len(tied)} models", command, np.ones_like(tied), n_valid
    more = (
        f"twice as many validation images as the {n_valid:,} there are (the split of "
        f"conf/dataset/{first['dataset']}.yaml); more seeds on these images tell less"
    )
    yield more, None, np.zeros_like(tied), 2 * n_valid


def _tied_after(choice: Choice, noise: RunNoise, again: np.ndarray, images: int) -> float:
    """The expected size of the tie set after one more run of the models `again`, on `images`.

    Tied models behind the first MOST_MODELS are not played through, and counted as they are.
    """
    n_valid = int(choice.rows["n_valid"].iloc[0])
    order = np.argsort(np.nanmean(choice.errors, axis=1), kind="stable")
    beyond = int(choice.rows["tied"].to_numpy(dtype=bool)[order[MOST_MODELS:]].sum())
    errors, again = choice.errors[order[:MOST_MODELS]], again[order[:MOST_MODELS]]
    sizes = [
        compare(drawn, images).tied.sum() for drawn in _drawn(errors, n_valid, noise, again, images)
    ]
    return float(np.mean(sizes)) + beyond


def _drawn(
    errors: np.ndarray, n_valid: int, noise: RunNoise, again: np.ndarray, images: int
) -> Iterator[np.ndarray]:
    """Error rates [models, seeds + 1] as they might be after the experiment."""
    rng = np.random.default_rng(0)
    mean, runs = np.nanmean(errors, axis=1), np.isfinite(errors).sum(axis=1)
    scale = np.sqrt(np.clip(mean, 1 / n_valid, 1 - 1 / n_valid) * (1 - mean.clip(0, 0.99)))
    of_runs = np.sqrt(noise.residual or 0.0)
    for _ in range(DRAWS):
        here = mean + scale * of_runs / np.sqrt(runs) * rng.standard_normal(len(mean))
        run = here + scale * of_runs * rng.standard_normal(len(mean))
        moved = scale * np.sqrt(1 / n_valid - 1 / images) * rng.standard_normal(len(mean))
        more = np.where(again, run, np.nan)[:, None]
        yield np.clip(np.hstack([errors, more]) + moved[:, None], 0, 1)


def _one_seed(study: Study, first: pd.Series, models: list[str] | None) -> str:
    """The dvc command that adds a seed to the dataset and recipe of `first`.

    With `models` to these alone; the others leave the study's tables in that experiment.
    """
    seeds = ",".join(str(each) for each in (*study.seeds, max(study.seeds) + 1))
    parts = [f"-S 'grid.seeds=[{seeds}]'"]
    if models is not None:
        parts.append(f"-S 'grid.models=[{','.join(models)}]'")
    if len(study.datasets) > 1:
        parts.append(f"-S 'grid.datasets=[{first['dataset']}]'")
    if len(study.recipes) > 1:
        parts.append(f"-S 'grid.recipes=[{first['recipe']}]'")
    return "dvc exp run " + " ".join(parts)
