"""What the race is held against: other ways to spend a budget on one sweep of known outcomes.

Each takes a `Sweep`, a budget in seconds and a generator, and returns the model it would recommend,
or None where nothing could be paid. All recommend the lowest error of their full fits.
"""

import importlib.util
import logging
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from benchmarks.race_tables import Sweep

Method = Callable[[Sweep, float, np.random.Generator], int | None]
KEEP = 3  # successive halving keeps a third


def fit_in_order(sweep: Sweep, order: Iterable[int], seconds: float) -> int | None:
    """One full fit of each, in this order, passing over what cannot be paid any more."""
    best: tuple[float, int] | None = None
    for model in order:
        if sweep.fit_seconds[model, 0] <= seconds:
            seconds -= sweep.fit_seconds[model, 0]
            best = min(best or (np.inf, -1), (float(sweep.runs[model][0]), int(model)))
    return None if best is None else best[1]


def random(sweep: Sweep, seconds: float, rng: np.random.Generator) -> int | None:
    return fit_in_order(sweep, rng.permutation(len(sweep.models)), seconds)


def smallest(sweep: Sweep, seconds: float, rng: np.random.Generator) -> int | None:
    """By parameters; where they are not published, by the time of a fit."""
    size = sweep.published["params_m"].astype(float).to_numpy()
    return fit_in_order(sweep, np.lexsort((sweep.fit_seconds[:, 0], size)), seconds)


def best_top1(sweep: Sweep, seconds: float, rng: np.random.Generator) -> int | None:
    top1 = sweep.published["imagenet_top1"].astype(float).fillna(0).to_numpy()
    return fit_in_order(sweep, np.argsort(-top1, kind="stable"), seconds)


def one_epoch_then_best(sweep: Sweep, seconds: float, rng: np.random.Generator) -> int | None:
    """One epoch of all, or of as many as half the budget pays, then full fits of the best."""
    half, seen = seconds / 2, []
    for model in rng.permutation(len(sweep.models)):
        if sweep.rung_seconds[model, 0] <= half:
            half -= sweep.rung_seconds[model, 0]
            seconds -= sweep.rung_seconds[model, 0]
            seen.append(int(model))
    seen.sort(key=lambda model: sweep.rungs[model, 0])
    return _go_on(sweep, [(model, 1) for model in seen], seconds)


def successive_halving(sweep: Sweep, seconds: float, rng: np.random.Generator) -> int | None:
    """As many random models as the budget pays; a third of them go on after 1 and 3 epochs."""
    order = rng.permutation(len(sweep.models))
    for n in range(len(order), 0, -1):
        spent, best = _halve(sweep, [int(model) for model in order[:n]])
        if spent <= seconds:
            return best
    return None


def _halve(sweep: Sweep, models: list[int]) -> tuple[float, int]:
    spent = float(sweep.rung_seconds[models, 0].sum())
    models = _best(models, sweep.rungs[:, 0])
    spent += float(sweep.rung_seconds[models, 1:3].sum())
    models = _best(models, sweep.rungs[:, 2])
    spent += float(sweep.fit_seconds[models, 3].sum())
    return spent, min(models, key=lambda model: float(sweep.runs[model][0]))


def _best(models: Sequence[int], errors: np.ndarray) -> list[int]:
    return sorted(models, key=lambda model: errors[model])[: -(-len(models) // KEEP)]


def _go_on(sweep: Sweep, models: list[tuple[int, int]], seconds: float) -> int | None:
    """Full fits of models that have reached a rung, the best of those that could be paid."""
    best: tuple[float, int] | None = None
    for model, rung in models:
        if sweep.fit_seconds[model, rung] <= seconds:
            seconds -= sweep.fit_seconds[model, rung]
            best = min(best or (np.inf, -1), (float(sweep.runs[model][0]), model))
    return None if best is None else best[1]


def optuna_halving(sweep: Sweep, seconds: float, rng: np.random.Generator) -> int | None:
    """Optuna's SuccessiveHalvingPruner on random models, one trial after another."""
    import optuna

    optuna.logging.set_verbosity(logging.ERROR)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=KEEP)
    study = optuna.create_study(pruner=pruner)
    best: tuple[float, int] | None = None
    for model in rng.permutation(len(sweep.models)):
        if sweep.fit_seconds[model, 0] > seconds:
            continue
        trial, pruned = study.ask(), False
        for rung, epoch in enumerate((1, 2, 3)):
            seconds -= sweep.rung_seconds[model, rung]
            trial.report(float(sweep.rungs[model, rung]), epoch)
            if trial.should_prune():
                pruned = True
                break
        if pruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
            continue
        seconds -= sweep.fit_seconds[model, 3]
        study.tell(trial, float(sweep.runs[model][0]))
        best = min(best or (np.inf, -1), (float(sweep.runs[model][0]), int(model)))
    return None if best is None else best[1]


BY_FITS: dict[str, Method] = {
    "random": random,
    "smallest first": smallest,
    "best ImageNet top-1": best_top1,
}
BY_EPOCHS: dict[str, Method] = {
    **BY_FITS,
    "one epoch, then the best": one_epoch_then_best,
    "successive halving": successive_halving,
}


def optional() -> dict[str, Method]:
    """Optuna's pruner, where it is installed (`pip install 'which-backbone[bench]'`)."""
    there = importlib.util.find_spec("optuna") is not None
    return {"Optuna's halving pruner": optuna_halving} if there else {}
