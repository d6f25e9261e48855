"""The race without its runs: what is known of every candidate, and which runs come next.

Nothing here reads or trains. A caller says what it saw (`saw_rung`, `saw_run`) and asks for the
next runs (`choose`); `standing.standing` says who is left. Same calls, same answers.

The next run is the one with the largest knowledge gradient per second (Frazier, Powell and Dayanik,
"The knowledge-gradient policy for correlated normal beliefs", 2009): by how much the error of the
model that would be recommended is expected to fall, over what it costs until the candidate could be
recommended. A cheap rung is worth what it tells of a full fit.
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, field

import numpy as np
from scipy import stats

from pipeline.core.command import duration
from pipeline.estimates.belief import Prediction, Prior, log_odds, predict

SPREAD = 0.8  # a run's standard deviation, as a multiple of the binomial one: at most 0.79 in 2022
MOST_IMAGES = 20_000  # of more, real runs do not spread less (docs/race.md)
FREEDOM_OF_RUNS = 10.0  # what that is worth: the ratio was 0.6 to 0.8 on Pets, below 0.2 on Planet
LEAST_GAIN = 1e-6  # of error, that a run is expected to bring: less is not worth its time
RUN = -1  # the action of a full fit; others are numbers of cheap rungs from 0


@dataclass(frozen=True)
class RunSpread:
    """The variance of one run around its model's mean, as a share `phi` of p(1 - p)."""

    phi: float
    freedom: float

    def sd(self, error: np.ndarray) -> np.ndarray:
        """Standard deviations of one run at these error rates."""
        p = np.clip(error, 1e-3, 1 - 1e-3)
        found: np.ndarray = np.sqrt(self.phi * p * (1 - p))
        return found


def run_spread(runs: list[list[float]], n_valid: int) -> RunSpread:
    """Pooled over all models that were run more than once, with the assumption of SPREAD."""
    assumed = SPREAD**2 / min(n_valid, MOST_IMAGES)
    squares, freedom = FREEDOM_OF_RUNS * assumed, FREEDOM_OF_RUNS
    for of_model in runs:
        if len(of_model) > 1:
            p = float(np.clip(np.mean(of_model), 1e-3, 1 - 1e-3))
            squares += float(np.var(of_model)) * len(of_model) / (p * (1 - p))
            freedom += len(of_model) - 1
    return RunSpread(squares / freedom, freedom)


def spent(runs: np.ndarray | int) -> np.ndarray:
    """The share of a level that the look at this number of runs may use; they sum to one."""
    t = np.asarray(runs, dtype=float)
    found: np.ndarray = 1 / (t * (t + 1))
    return found


def run_radius(
    errors: np.ndarray, runs: np.ndarray, i: int, spread: RunSpread, level: float
) -> np.ndarray:
    """How far the differences [models] of mean errors to model i may be off by their runs.

    One-sided, at every number of runs at once, with probability 1 - `level` for each model.
    """
    if spread.phi == 0:
        return np.zeros(len(errors))
    sd = spread.sd(errors)
    looks = level * spent(runs) * spent(runs[i])
    reach = stats.t.ppf(1 - looks, spread.freedom)
    found: np.ndarray = reach * np.sqrt(sd**2 / runs + sd[i] ** 2 / runs[i])
    return found


@dataclass(frozen=True)
class Candidates:
    """Models, what is published of them [models, features], and what each step costs in seconds.

    `rung_seconds` [models, rungs] is of a cheap rung after the one before, `fit_seconds`
    [models, rungs + 1] of a full fit from each rung (column 0: from none).
    """

    names: tuple[str, ...]
    features: np.ndarray
    rung_seconds: np.ndarray
    fit_seconds: np.ndarray


@dataclass(frozen=True)
class Rules:
    """What the race is asked for: `regret` is the fraction of error that may be given away.

    `covers_images`: the best over all images like these, else on these very images alone.
    """

    confidence: float = 0.95
    regret: float = 0.005
    n_valid: int = 1000
    covers_images: bool = True
    most_runs: int = 5
    exact_runs: bool = False  # a run has no spread of its own

    @property
    def level(self) -> float:
        """Of each way to leave wrongly: by predictions, by runs and, if they count, by images."""
        return (1 - self.confidence) / (3 if self.covers_images else 2)


@dataclass(frozen=True)
class Budget:
    """What may be spent: seconds of fits and probes, infinite without a limit; those of each job
    that runs at a time, or of all together.
    """

    seconds: float
    told: str
    of_each_job: bool = True
    price_per_hour: float | None = None  # of a limit that was given as a cost
    watts: float | None = None  # of a run, where the limit was given as an energy

    def in_all(self, jobs: int) -> float:
        """Seconds of fits and probes that may be spent where so many run at a time."""
        return self.seconds * (jobs if self.of_each_job else 1)

    def told_of(self, jobs: int) -> str:
        """The limit in words, with what counts for it."""
        if self.seconds == float("inf"):
            return self.told
        each = f" for each of {jobs} jobs" if self.of_each_job and jobs > 1 else ""
        return f"{self.told}{each}, earlier runs included"

    def too_small(self, jobs: int, done: str, spent: float, following: float) -> str:
        """Why nothing more can be run: what is done took all, or the next run more than is left."""
        left = self.in_all(jobs) - spent
        rest = f", and the {duration(left)} left do not pay the next run, {duration(following)}"
        return f"{self.told_of(jobs)}: {done} took {duration(spent)}{rest * (left > 0)}: allow more"

    def told_to_make(
        self, dataset: str, paid: Mapping[str, float], unpaid: Mapping[str, float]
    ) -> str:
        """How many runs are made before others are chosen, and which of them it pays."""
        seconds = [*paid.values(), *unpaid.values()]
        told = f"{dataset}: {len(seconds)} run{'s' * (len(seconds) != 1)} to make first"
        told += f", about {duration(sum(seconds))}" if any(seconds) else ""
        told += ": images, code or settings have changed, or a race was ended"
        return told + (f"; {self.told} pays {len(paid)}" if unpaid else "")


def affordable(
    prices: Mapping[str, float], seconds: float
) -> tuple[dict[str, float], dict[str, float]]:
    """What so many seconds pay, in this order, and what they do not."""
    paid: dict[str, float] = {}
    for name, price in prices.items():
        if price <= seconds:
            paid[name], seconds = price, seconds - price
    return paid, {name: price for name, price in prices.items() if name not in paid}


@dataclass(frozen=True)
class Action:
    """A run: the candidate's number, the cheap rung (or RUN), its price, its gain in error."""

    model: int
    rung: int
    seconds: float
    gain: float


@dataclass
class Race:
    """All that is known: `rungs` as log-odds [models, rungs], NaN where not made, `runs` as error
    rates and `answers` as shares wrong on each image [images], a list per model.
    """

    candidates: Candidates
    prior: Prior
    rules: Rules
    rungs: np.ndarray = field(init=False)
    runs: list[list[float]] = field(init=False)
    answers: list[list[np.ndarray]] = field(init=False)
    failed: np.ndarray = field(init=False)
    unprobed: np.ndarray = field(init=False)  # a cheap rung failed: only full fits tell of it

    def __post_init__(self) -> None:
        n = len(self.candidates.names)
        self.rungs = np.full(self.candidates.rung_seconds.shape, np.nan)
        self.runs = [[] for _ in range(n)]
        self.answers = [[] for _ in range(n)]
        self.failed, self.unprobed = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)

    def saw_rung(self, model: int, rung: int, error: float) -> None:
        self.rungs[model, rung] = log_odds(np.array(error))

    def saw_run(self, model: int, error: float, wrong: np.ndarray | None = None) -> None:
        """A full fit's error rate, and the share of its answers wrong on each image [images]."""
        self.runs[model].append(error)
        self.failed[model] = False
        if wrong is not None:
            self.answers[model].append(wrong)

    def saw_failure(self, model: int) -> None:
        """A run that left no error: a model without any other, before or after it, leaves."""
        self.failed[model] = not self.runs[model]

    @property
    def n_runs(self) -> np.ndarray:
        return np.array([len(each) for each in self.runs])

    @property
    def spread(self) -> RunSpread:
        if self.rules.exact_runs:
            return RunSpread(0.0, 1e6)
        return run_spread(self.runs, self.rules.n_valid)

    def means(self, first: int | None = None) -> np.ndarray:
        """Mean error rates [models] of all runs, or of the `first` ones; NaN without a run."""
        return np.array([np.mean(each[:first]) if each else np.nan for each in self.runs])

    def prediction(self) -> Prediction:
        fits = log_odds(self.means())
        return predict(self.prior, self.candidates.features, self.rungs, fits)

    def image_variance(self, models: np.ndarray) -> np.ndarray:
        """What the choice of images adds to the variance of mean errors beside each other's.

        Of answers as they differ from those of all fitted models; without answers, binomial.
        """
        means, n = self.means()[models], self.rules.n_valid
        if not self.rules.covers_images:
            return np.zeros(len(models))
        if len(models) < 2 or not all(self.answers[m] for m in models):
            found: np.ndarray = np.clip(means, 1 / n, 1) * np.clip(1 - means, 1 / n, 1) / n
            return found
        answers = self.mean_answers(models)
        beside: np.ndarray = (answers - answers.mean(axis=0)).var(axis=1) / n
        return beside + 1 / n**2

    def mean_answers(self, models: np.ndarray, first: int | None = None) -> np.ndarray:
        """The share of answers wrong over each model's runs, or its `first` [models, images]."""
        return np.stack([np.mean(self.answers[m][:first], axis=0) for m in models])

    def belief(self, seen: Prediction) -> tuple[np.ndarray, np.ndarray]:
        """Errors [models] and their standard deviations, runs and predictions together."""
        p = np.clip(seen.error, 1e-3, 1 - 1e-3)
        mean, variance = p.copy(), (np.minimum(seen.sd, 2.0) * p * (1 - p)) ** 2
        done = np.flatnonzero(self.n_runs > 0)
        ran, n = self.means()[done], self.n_runs[done]
        of_runs = np.maximum(self.spread.sd(ran) ** 2 / n + self.image_variance(done), 1e-10)
        weight = variance[done] / (variance[done] + of_runs)
        mean[done] = weight * ran + (1 - weight) * mean[done]
        variance[done] = weight * of_runs
        return mean, np.sqrt(variance)

    def choose(self, seconds: float, count: int = 1) -> list[Action]:
        """The next runs, at most `count`, that together take `seconds` at most; empty where no run
        can change the answer or none can be paid.

        Each is chosen as if those before it had shown what is expected of them (the constant liar
        of Ginsbourger, Le Riche and Carraro, "Kriging is well-suited to parallelize optimization",
        2010), so that a batch is not spent on one question.
        """
        race, chosen = self, list[Action]()
        probed: set[int] = set()
        while len(chosen) < count:
            seen = race.prediction()
            mean, sd = race.belief(seen)
            actions = race._actions(seen, mean, sd, seconds)
            if not (found := [each for each in actions if each[1].model not in probed]):
                break
            _, action = max(found, key=lambda each: each[0])
            chosen.append(action)
            seconds -= action.seconds
            if action.rung != RUN:
                probed.add(action.model)
            elif len(chosen) < count:
                race = race._as_if(action.model, float(mean[action.model]))
        return chosen

    def as_it_is(self) -> "Race":
        """A copy that what is seen from now on does not change."""
        race = copy(self)
        race.runs = [[*each] for each in self.runs]
        race.answers = [[*each] for each in self.answers]
        race.rungs = self.rungs.copy()
        race.failed, race.unprobed = self.failed.copy(), self.unprobed.copy()
        return race

    def _as_if(self, model: int, error: float) -> "Race":
        """A copy after a fit of the model that showed this error, on images as others err on."""
        race = self.as_it_is()
        alike = self.answers[model] or [each[0] for each in self.answers if each]
        race.saw_run(model, error, np.mean(alike, axis=0) if alike else None)
        return race

    def _actions(
        self, seen: Prediction, mean: np.ndarray, sd: np.ndarray, seconds: float
    ) -> list[tuple[float, Action]]:
        """Every run that can be paid, with its gain per second."""
        found = self._fits(mean, sd, seconds)
        for rung in range(self.rungs.shape[1]):
            found += self._cheap_runs(rung, seen, mean, sd, seconds)
        return found

    def _fits(self, mean: np.ndarray, sd: np.ndarray, seconds: float) -> list[tuple[float, Action]]:
        """The full fits that can be paid: of models without one, and further seeds."""
        n_runs, fit_seconds = self.n_runs, self.candidates.fit_seconds
        run_sd = self.spread.sd(mean)
        of_runs = np.where(n_runs > 0, np.minimum(sd, run_sd / np.sqrt(np.maximum(n_runs, 1))), sd)
        after_run = of_runs**2 / np.sqrt(of_runs**2 + run_sd**2 + 1e-12)
        gain = knowledge_gradient(mean - self._to_beat(mean), after_run)
        from_rung = fit_seconds[np.arange(len(mean)), self._reached]
        price = np.where(n_runs > 0, fit_seconds[:, 0], from_rung)
        may = ~self.failed & (n_runs < (1 if self.rules.exact_runs else self.rules.most_runs))
        may &= (price <= seconds) & (gain > LEAST_GAIN)
        return [
            (gain[m] / price[m], Action(int(m), RUN, float(price[m]), float(gain[m])))
            for m in np.flatnonzero(may)
        ]

    def _cheap_runs(
        self, rung: int, seen: Prediction, mean: np.ndarray, sd: np.ndarray, seconds: float
    ) -> list[tuple[float, Action]]:
        """The runs of a cheap rung that can be paid together with the fits they may lead to; these
        count in the price as far as they are likely.
        """
        told = np.sqrt(np.clip(1 - seen.unexplained[rung + 1] / seen.unexplained[rung], 0.02, 1))
        behind = mean - self._to_beat(mean)
        gain = knowledge_gradient(behind, sd * told)
        likely = stats.norm.cdf(-behind / np.maximum(sd * told, 1e-9))
        first = self.candidates.rung_seconds[:, rung]
        then = self.candidates.fit_seconds[:, rung + 1]
        may = ~self.failed & ~self.unprobed & (self.n_runs == 0) & (self._reached == rung)
        may &= (first + then <= seconds) & (gain > LEAST_GAIN)
        return [
            (
                gain[m] / (first[m] + likely[m] * then[m]),
                Action(int(m), rung, float(first[m]), float(gain[m])),
            )
            for m in np.flatnonzero(may)
        ]

    @property
    def _reached(self) -> np.ndarray:
        """How many cheap rungs of each model were made [models]."""
        reached: np.ndarray = np.isfinite(self.rungs).sum(axis=1)
        return reached

    def _to_beat(self, mean: np.ndarray) -> np.ndarray:
        """The error that each model [models] must be below to be recommended, or to stay so: that
        of the best fitted model, for that one the second; without a fit the lowest of all.
        """
        fitted = self.n_runs > 0
        if not fitted.any():
            return np.full(len(mean), mean.min())
        rank = np.where(fitted, mean, np.inf)
        best = int(rank.argmin())
        target = np.full(len(mean), rank[best])
        target[best] = np.delete(rank, best).min()
        return target


def knowledge_gradient(behind: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """Expected gain of an observation that moves a mean by `sd`, `behind` the best other one."""
    sd = np.maximum(sd, 1e-12)
    z = np.maximum(-np.abs(behind) / sd, -30.0)
    found: np.ndarray = sd * (stats.norm.pdf(z) + z * stats.norm.cdf(z))
    return found
