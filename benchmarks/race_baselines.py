"""What the race is held against: other ways to spend a budget on one sweep of known outcomes.

Each takes a `Sweep`, a budget in seconds and a generator, and returns the model it would recommend,
or None where nothing could be paid. All recommend the lowest error of their full fits.
"""

import importlib.util
import logging
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.race_tables import Sweep

Method = Callable[[Sweep, float, np.random.Generator], int | None]
KEEP = 3  # successive halving keeps a third
MOST_SHARE = 0.34  # of the grid: more than the largest budget


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


def smac_halving(sweep: Sweep, seconds: float, rng: np.random.Generator) -> int | None:
    """SMAC3's successive halving, whose next models its random forest proposes by their name."""
    trace = _smac_trace(sweep, int(rng.integers(2**31)))
    paid = [best for spent, best in trace if spent <= seconds]
    return paid[-1] if paid else None


_TRACES: dict[tuple[str, int], list[tuple[float, int]]] = {}  # what a seed asks is of no budget


def _smac_trace(sweep: Sweep, seed: int) -> list[tuple[float, int]]:
    """Seconds spent after each full fit and the best model by then, to MOST_SHARE of the grid."""
    if (key := (sweep.name, seed)) in _TRACES:
        return _TRACES[key]
    from ConfigSpace import CategoricalHyperparameter, ConfigurationSpace
    from smac import MultiFidelityFacade, Scenario
    from smac.intensifier.successive_halving import SuccessiveHalving
    from smac.main.exceptions import ConfigurationSpaceExhaustedException
    from smac.runhistory.dataclasses import TrialValue

    space = ConfigurationSpace(seed=seed)
    space.add(CategoricalHyperparameter("model", list(sweep.models)))
    end = {1: 1, 3: 3, 9: None}  # epochs by SMAC's budgets, None for the whole fit
    with tempfile.TemporaryDirectory() as folder:
        scenario = Scenario(
            space,
            deterministic=True,
            n_trials=10**6,
            min_budget=1,
            max_budget=9,
            seed=seed,
            output_directory=Path(folder),
        )
        smac = MultiFidelityFacade(
            scenario,
            lambda config, seed, budget: 0.0,
            intensifier=SuccessiveHalving(scenario, eta=KEEP),
            acquisition_maximizer=MultiFidelityFacade.get_acquisition_maximizer(
                scenario, challengers=len(sweep.models), local_search_iterations=1
            ),
            config_selector=MultiFidelityFacade.get_config_selector(scenario, retries=50),
            logging_level=False,
            overwrite=True,
        )
        reached, spent, best = dict.fromkeys(range(len(sweep.models)), 0), 0.0, (np.inf, -1)
        trace: list[tuple[float, int]] = []
        while spent < MOST_SHARE * sweep.whole_seconds:
            try:
                trial = smac.ask()
            except ConfigurationSpaceExhaustedException:  # it finds no further model
                break
            model, epochs = sweep.models.index(trial.config["model"]), end[round(trial.budget)]
            if epochs is None:
                spent += sweep.fit_seconds[model, reached[model]]
                error = float(sweep.runs[model][0])
                best = min(best, (error, model))
                trace.append((spent, best[1]))
            else:
                spent += float(sweep.rung_seconds[model, reached[model] : epochs].sum())
                reached[model] = max(reached[model], epochs)
                error = float(sweep.rungs[model, epochs - 1])
            smac.tell(trial, TrialValue(cost=error), save=False)
    _TRACES[key] = trace
    return trace


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
    """Those of other packages that are installed: `pip install -e '.[bench]'` brings Optuna;
    SMAC3 is no dependency, because it brings Dask and its cluster tools along.
    """
    found = {
        "optuna": ("Optuna's halving pruner", optuna_halving),
        "smac": ("SMAC3's halving", smac_halving),
    }
    there = [each for package, each in found.items() if importlib.util.find_spec(package)]
    return dict(there)
