"""The race replayed on sweeps that are finished, against other ways to spend the same seconds.

Reads a folder with sweep_2022.csv, pepr_curves.csv and transfer_11x11.csv and the folder of timm's
CSVs; writes race_replay.csv (mean regret by method, sweep and budget) and race_replay.png to OUT.
A step counts what it costs there, in seconds of the table; nothing is trained.

    python -m benchmarks.race_replay ../shared/reference ../shared/timm-results docs/img

Targets and what was measured: docs/race.md.
"""

import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib import rc_context
from rich.progress import track
from scipy import stats

from benchmarks.race_baselines import BY_EPOCHS, BY_FITS, Method, optional
from benchmarks.race_tables import (
    Sweep,
    accuracies,
    by_architecture,
    field_of,
    pepr,
    study2022,
    transfer,
)
from pipeline.core.command import run
from pipeline.core.processes import usable_cores
from pipeline.estimates.belief import Prior, assumed_prior, log_odds, predict
from pipeline.figures.look import COLOURS, INK, LOOK, MARKERS, figure, save
from pipeline.race.search import RUN, Candidates, Race, Rules
from pipeline.race.standing import standing

BUDGETS = (1 / 40, 1 / 25, 1 / 15, 1 / 10, 1 / 7, 1 / 5, 1 / 3)
REPEATS = 20  # of methods that draw; Optuna's takes a hundred times longer
REPEATS_SLOW = 4
PREDICTORS = ("imagenet_top1", "params_m")


@dataclass(frozen=True)
class Outcome:
    """What a race ended with: the model it recommends and what it had spent, in seconds."""

    model: int | None
    seconds: float
    race: Race


def play(
    sweep: Sweep,
    field: tuple[Candidates, Prior],
    seconds: float,
    rules: Rules,
    rng: np.random.Generator,
) -> Outcome:
    """A race on the sweep, its runs in random order."""
    race = Race(*field, rules)
    runs = [rng.permutation(each) for each in sweep.runs]
    spent = 0.0
    while actions := race.choose(seconds - spent):
        (action,) = actions
        spent += action.seconds
        if action.rung == RUN:
            race.saw_run(action.model, float(runs[action.model][len(race.runs[action.model])]))
        else:
            race.saw_rung(action.model, action.rung, sweep.rungs[action.model, action.rung])
        if all(len(race.runs[m]) == len(each) for m, each in enumerate(runs)):
            break
    done = race.n_runs > 0
    if not done.any():
        return Outcome(None, spent, race)
    error, _ = race.belief(race.prediction())
    return Outcome(int(np.where(done, error, np.inf).argmin()), spent, race)


def rules_of(sweep: Sweep) -> Rules:
    """On the images that the table has: it has no answers image by image."""
    most = min(len(each) for each in sweep.runs)
    return Rules(n_valid=sweep.n_valid, covers_images=False, most_runs=most, exact_runs=most == 1)


def regret(sweep: Sweep, model: int | None) -> float:
    """Points of error that a recommendation gives away; of none, those of the median model."""
    truth = sweep.truth
    return 100 * float((np.median(truth) if model is None else truth[model]) - truth.min())


def race_method(others: Callable[[Sweep], Sequence[Sweep]]) -> Method:
    def method(sweep: Sweep, seconds: float, rng: np.random.Generator) -> int | None:
        field = field_of(sweep, others(sweep))
        return play(sweep, field, seconds, rules_of(sweep), rng).model

    return method


def curves(sweeps: Sequence[Sweep], methods: dict[str, Method], what: str) -> pd.DataFrame:
    """Mean regret of each method on each sweep at each budget."""
    rows = []
    for sweep in track(sweeps, what):
        for name, method in methods.items():
            for share in BUDGETS:
                found = [
                    regret(sweep, method(sweep, share * sweep.whole_seconds, rng))
                    for rng in map(np.random.default_rng, range(_repeats(name, sweep)))
                ]
                rows.append((sweep.name, name, share, float(np.mean(found)), len(found)))
    return pd.DataFrame(rows, columns=["sweep", "method", "share", "regret", "n"])


def _repeats(name: str, sweep: Sweep) -> int:
    exact = all(len(each) == 1 for each in sweep.runs)
    if exact and (name.startswith("race") or name in ("smallest first", "best ImageNet top-1")):
        return 1
    return REPEATS_SLOW if name.startswith(("Optuna", "SMAC3")) else REPEATS


def other_images(sweeps: Sequence[Sweep]) -> Callable[[Sweep], list[Sweep]]:
    """The other sweeps of images that are not this one's."""
    return lambda sweep: [each for each in sweeps if each.source != sweep.source]


@dataclass(frozen=True)
class Made:
    """A synthetic dataset: latent errors of models, and how runs and images vary around them."""

    latent: np.ndarray
    of_run: float
    n_images: int

    OF_IMAGE, OF_MODEL, OF_BOTH = 2.0, 0.8, 0.5  # spreads: hard images, models' own, runs' own

    @property
    def truth(self) -> np.ndarray:
        """Error rates [models] over all images and all runs."""
        spread = np.sqrt(self.OF_IMAGE**2 + self.OF_MODEL**2 + self.OF_BOTH**2 + self.of_run**2)
        found: np.ndarray = stats.norm.cdf(self.latent / spread)
        return found


def synthetic(n: int) -> pd.DataFrame:
    """`n` races on synthetic datasets, each stopped at a random moment: was the best in the set?"""
    with ProcessPoolExecutor(usable_cores()) as pool:
        made = pool.map(_synthetic, range(n), chunksize=5)
        return pd.DataFrame(track(made, "synthetic sweeps", total=n))


def _synthetic(seed: int) -> dict[str, float | bool | int]:
    rng = np.random.default_rng(seed)
    n_models, n_images = int(rng.integers(10, 61)), int(rng.choice([60, 200, 400, 1000]))
    features = rng.standard_normal((n_models, 3))
    slopes = rng.normal([0.15, 0, 0], 0.25) * rng.choice([0, 1, 3])
    residual = rng.choice([0.05, 0.3, 0.8]) * rng.standard_t(rng.choice([4, 30]), n_models)
    made = Made(
        rng.uniform(-4.5, 0) + features @ slopes + residual, rng.choice([0.02, 0.1, 0.4]), n_images
    )
    difficulty = rng.normal(0, made.OF_IMAGE, n_images)
    own = rng.normal(0, made.OF_MODEL, (n_models, n_images))
    seconds = np.exp(rng.normal(3, 0.7, n_models))
    candidates = Candidates(
        tuple(map(str, range(n_models))),
        features,
        0.1 * seconds[:, None],
        np.stack([seconds, seconds], axis=1),
    )
    race = Race(candidates, assumed_prior(3, 1, 0), Rules(n_valid=n_images, most_runs=4))
    told = rng.choice([0.2, 1.0])
    left = float(rng.uniform(0.02, 1.0) * seconds.sum())
    while actions := race.choose(left):
        (action,) = actions
        m = action.model
        left -= action.seconds
        if action.rung == RUN:
            latent = made.latent[m] + rng.normal(0, made.of_run) + difficulty + own[m]
            wrong = (latent + rng.normal(0, made.OF_BOTH, n_images) > 0).astype(float)
            race.saw_run(m, float(wrong.mean()), wrong)
        else:
            noisy = log_odds(made.truth)[m] + 0.5 + rng.normal(0, told)
            race.saw_rung(m, 0, float(1 / (1 + np.exp(-noisy))))
    end, truth = standing(race), made.truth
    best = end.recommended
    given = np.inf if best is None else float(truth[best] - truth.min())
    return {
        "models": n_models,
        "runs": int(race.n_runs.sum()),
        "kept": bool(end.may_be_best[truth.argmin()]),
        "set": int(end.may_be_best.sum()),
        "regret": given,
        "bounded": best is None or given <= end.regret_at_most,
        "stated": float(end.p_best.max()),
        "was_best": bool(truth.argmin() == end.p_best.argmax()),
        "confident": bool(end.may_be_best.sum() == 1),
    }


def prior_taus(sweeps: Sequence[Sweep]) -> pd.DataFrame:
    """Weighted Kendall tau of the accuracy with the prior, ImageNet top-1 and size."""
    rows = []
    for sweep in sweeps:
        candidates, prior = field_of(sweep, other_images(sweeps)(sweep))
        nothing = np.full(len(sweep.models), np.nan)
        seen = predict(prior, candidates.features, sweep.rungs, nothing)
        row: dict[str, float | str] = {"dataset": sweep.name}
        known = {
            name: sweep.published[name].astype(float) for name in ("imagenet_top1", "params_m")
        }
        for name, value in {"prior": pd.Series(-seen.mean), **known}.items():
            filled = value.fillna(value.min()).to_numpy()
            row[name] = float(stats.weightedtau(-sweep.truth, filled).statistic)
        rows.append(row)
    return pd.DataFrame(rows)


def thousand() -> tuple[float, float]:
    """CPU seconds per decision and GiB of this process at 1,000 candidates, 60 of them run."""
    rng = np.random.default_rng(0)
    features, seconds = rng.standard_normal((1000, 60)), np.exp(rng.normal(3, 0.7, (1000, 1)))
    race = Race(
        Candidates(tuple(map(str, range(1000))), features, 0.1 * seconds, np.repeat(seconds, 2, 1)),
        assumed_prior(60, 1, 0),
        Rules(n_valid=1500),
    )
    for m in range(60):
        wrong = (rng.random(1500) < 0.1 + 0.002 * m).astype(float)
        race.saw_rung(m, 0, 0.2)
        race.saw_run(m, float(wrong.mean()), wrong)
    started = time.process_time()
    for _ in range(5):
        race.choose(1e6, 8)
        standing(race)
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return (time.process_time() - started) / 5, gib


def main(
    reference: Path, timm: Path, out: Path, *, synthetic_sweeps: int = 1000, epochs: bool = False
) -> None:
    """Replay races on the tables in REFERENCE with TIMM's CSVs; write table and figure to OUT.

    With EPOCHS, a fit of PePR costs ten epochs whatever the model, instead of its seconds.
    """
    started = time.perf_counter()
    accuracy = accuracies(timm)
    decision, gib = thousand()
    print(f"1,000 candidates: {decision:.2f} CPU s per decision, {gib:.2f} GiB")
    eleven = transfer(reference / "transfer_11x11.csv", accuracy)
    taus = prior_taus(eleven)
    print(taus.round(2).to_string(index=False))
    for name in PREDICTORS:
        print(f"prior above {name} on {(taus['prior'] > taus[name]).sum()} of {len(taus)}")
    two = study2022(reference / "sweep_2022.csv", accuracy)
    settings = pepr(reference / "pepr_curves.csv", by_architecture(accuracy), seconds=not epochs)
    tables = []
    for sweeps, others, what in ((two, BY_FITS, "2022"), (settings, BY_EPOCHS, "PePR")):
        methods = {
            "race": race_method(other_images(sweeps)),
            "race, published numbers only": race_method(lambda sweep: []),
            **others,
            **(optional() if what == "PePR" else {}),
        }
        tables.append(curves(sweeps, methods, what).assign(study=what))
        print(summary(tables[-1]))
    table = pd.concat(tables)
    out.mkdir(parents=True, exist_ok=True)
    table.round(4).to_csv(out / "race_replay.csv", index=False)
    with rc_context(LOOK):
        draw(table, out)
    if synthetic_sweeps:
        made = synthetic(synthetic_sweeps)
        print(made.mean(numeric_only=False).round(4).to_string())
        print(f"kept where the set is one model: {made.loc[made['confident'], 'kept'].mean():.3f}")
    print(f"{time.perf_counter() - started:.0f} s")


def summary(table: pd.DataFrame) -> str:
    """Mean regret by method and budget, and on how many sweeps the race was lower at 1/15."""
    mean = table.pivot_table(index="method", columns="share", values="regret", sort=False)
    at = table[np.isclose(table["share"], 1 / 15)].pivot(
        index="sweep", columns="method", values="regret"
    )
    mean.columns = [f"1/{1 / float(share):.0f}" for share in mean.columns]
    lower = {name: int((at["race"] < at[name]).sum()) for name in at}
    ties = {name: int((at["race"] == at[name]).sum()) for name in at}
    mean["race lower on"] = pd.Series(lower)
    mean["equal on"] = pd.Series(ties)
    return f"{mean.round(2).to_string()}\n{at.round(2).to_string()}"


def draw(table: pd.DataFrame, folder: Path) -> None:
    """Mean regret against the share of the grid's seconds, one panel per study."""
    names = list(dict.fromkeys(table["method"]))
    made, panels = figure(
        "Regret of the recommended model against cost",
        "Points of error above the best model's, mean over the study's sweeps; cost as a share of "
        "the seconds of the whole grid. 2022: three seeds of each model on Pets (82 models) and "
        "Planet (84). PePR: 131 models in 8 settings, one run of ten epochs each.",
        4.6,
        1,
        2,
    )
    for axes, (study, part) in zip(panels, table.groupby("study", sort=False), strict=True):
        mean = part.groupby(["method", "share"])["regret"].mean()
        for name in [name for name in names if name in mean]:
            place = names.index(name)
            axes.plot(
                mean[name].index,
                mean[name],
                marker=MARKERS[place],
                ms=4,
                color=(*COLOURS, INK)[place],
                lw=2.2 if name == "race" else 1,
                label=name,
            )
        axes.set_title(str(study))
        axes.set_xscale("log")
        axes.set_xticks(BUDGETS, [f"1/{1 / share:.0f}" for share in BUDGETS])
        axes.minorticks_off()
        axes.set_ylim(0, 4.2)
        axes.set_xlabel("share of the grid's seconds")
        axes.set_ylabel("regret (points of error)")
    panels[0].legend(*panels[-1].get_legend_handles_labels(), loc="upper right")
    save(made, folder, "race_replay")


if __name__ == "__main__":
    run(main)
