"""Which further experiment would shorten the list of models that may be the best the most.

Each is played through: what its runs might show is drawn from what is known now, the models are
compared again, and the tie sets that come out are counted.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

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
    seed = max(study.seeds) + 1
    of_all = _command(study, str(first["dataset"]), str(first["recipe"]), seed, None)
    n_valid = int(first["n_valid"])
    noise = run_noise(choice.errors, n_valid)
    if noise is None or noise.residual is None:
        return Experiment("a second seed, to see how runs vary", of_all, None)
    tied = choice.rows["tied"].to_numpy(dtype=bool)
    names = choice.rows.loc[tied, "model"].tolist()
    of_tied = _command(study, str(first["dataset"]), str(first["recipe"]), seed, names)
    one_run = f"one more seed ({seed}) for "
    options: list[tuple[str, str | None, np.ndarray, int]] = [
        (one_run + f"the {len(names)} tied models", of_tied, tied, n_valid),
        (one_run + f"all {len(tied)} models", of_all, np.ones_like(tied), n_valid),
    ]
    more = f"twice as many validation images as the {n_valid} there are (the split of "
    more += f"conf/dataset/{first['dataset']}.yaml); more seeds on these images tell little"
    options.append((more, None, np.zeros_like(tied), 2 * n_valid))
    tried = [
        Experiment(what, command, _tied_after(choice.errors, n_valid, noise, again, images))
        for what, command, again, images in options
    ]
    best = min(tried, key=lambda each: each.tied_after or 0)
    if best.tied_after is not None and best.tied_after > len(names) - LEAST_GAIN:
        return Experiment(
            "none of one more seed or twice the validation images: the tie set would stay as it is",
            None,
            best.tied_after,
        )
    return best


def _tied_after(
    errors: np.ndarray, n_valid: int, noise: RunNoise, again: np.ndarray, images: int
) -> float:
    """The expected size of the tie set after one more run of the models `again`, on `images`."""
    order = np.argsort(np.nanmean(errors, axis=1), kind="stable")[:MOST_MODELS]
    errors, again = errors[order], again[order]
    sizes = [
        compare(drawn, images).tied.sum() for drawn in _drawn(errors, n_valid, noise, again, images)
    ]
    return float(np.mean(sizes))


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


def _command(study: Study, dataset: str, recipe: str, seed: int, models: list[str] | None) -> str:
    """The dvc command that adds `seed`; with `models`, to these alone (others leave the study)."""
    seeds = ",".join(str(each) for each in (*study.seeds, seed))
    parts = [f"-S 'grid.seeds=[{seeds}]'"]
    if models is not None:
        parts.append(f"-S 'grid.models=[{','.join(models)}]'")
    if len(study.datasets) > 1:
        parts.append(f"-S 'grid.datasets=[{dataset}]'")
    if len(study.recipes) > 1:
        parts.append(f"-S 'grid.recipes=[{recipe}]'")
    return "dvc exp run " + " ".join(parts)
