"""Who is left in a race and what its recommendation may give away: bounds that hold at any moment.

A fixed-n interval that is looked at until it excludes something excludes too much. Here models
leave in two ways, each with its share of the risk that the confidence asked for allows.

A model with a fit leaves by what it and others did, with bounds that hold for all numbers of runs
at once, so that one may stop whenever one likes, for whatever reason:

- The images are one sample that all runs share. For the runs there are, the difference of two
  models' answers is bounded and independent over images. It is tested by betting, with an e-value
  (Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86(1),
  2024); a mixture over stakes makes the order of images irrelevant.
- Each further seed is another look, and the look at t runs may use 1 / (t (t + 1)) of the risk,
  which sums to one: a confidence sequence by a union over looks (Howard, Ramdas, McAuliffe and
  Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals of Statistics
  49(2), 2021, stitch the same for long sequences; at two to six runs nothing is gained). All looks
  hold at once, so the tightest counts: what the first runs have shown, later ones do not undo. Runs
  are taken as normal around their model's mean, with a spread pooled over the models.
- The best of m models is lost only if one of its m - 1 comparisons fails, so the risk is divided by
  m - 1 and not by the number of pairs.

A model without a fit leaves by prediction: those least likely to be better, as long as their
chances together stay within the share. A posterior probability holds at any stopping time, if the
prior is right on average over datasets; benchmarks/race_replay.py measures how far it is.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from scipy import special, stats

from pipeline.estimates.belief import Prediction, Prior, log_odds
from pipeline.figures.certificate import FIT, PROBE, Certificate, Entrant, Rung, Step
from pipeline.race.search import Candidates, Race, Rules, run_radius, spent
from pipeline.records import Record, unpack_counts
from pipeline.statistics.validation_images import labels_of

RIVALS = 3  # fitted models that each other one is held against
DRAWS = 2000
QUANTILES = 32  # of the recommended model's error
SEED = 0
STAKES = np.geomspace(0.01, 0.95, 14)  # of the most that can be bet without ruin


@dataclass(frozen=True)
class Standing:
    """Where the race stands. Arrays are per candidate; `recommended` is None without any fit.

    may_be_best     not left: the best is among them with the confidence asked for
    may_gain        may be better than the recommended one by more than the regret asked for
    p_best          share of draws from what is believed in which it is the best
    regret_at_most  upper bound of what the recommended one gives away, a fraction of error
    """

    recommended: int | None
    may_be_best: np.ndarray
    may_gain: np.ndarray
    p_best: np.ndarray
    regret_at_most: float
    error: np.ndarray
    sd: np.ndarray


def standing(race: Race) -> Standing:
    """Who may be the best, and what the recommended model may give away."""
    seen = race.prediction()
    mean, sd = race.belief(seen)
    done = (race.n_runs > 0) & ~race.failed
    if not done.any():
        stay = ~race.failed
        share = _p_best(race, mean, sd, seen, stay)
        return Standing(None, stay, stay.copy(), share, float("inf"), mean, sd)
    best = int(np.where(done, mean, np.inf).argmin())
    left_best = _left_by_runs(race, 0.0, done, mean) | _left_unrun(race, 0.0, best, seen, mean, sd)
    worse = _left_by_runs(race, -race.rules.regret, done, mean, best)
    worse |= _left_unrun(race, race.rules.regret, best, seen, mean, sd)
    gains = ~worse & ~race.failed
    gains[best] = False
    stay = ~left_best & ~race.failed
    stay[best] = True
    share = _p_best(race, mean, sd, seen, stay)
    regret = max(
        _regret_of_runs(race, best, done & stay), _regret_unrun(race, best, seen, mean, sd)
    )
    return Standing(best, stay, gains, share, regret, mean, sd)


def _level_of_pairs(race: Race) -> float:
    return race.rules.level / max(len(race.candidates.names) - 1, 1)


def _left_by_runs(
    race: Race, margin: float, done: np.ndarray, mean: np.ndarray, against: int | None = None
) -> np.ndarray:
    """Bool [models]: fitted models that are worse than some fitted one by more than `margin`."""
    left = np.zeros(len(mean), dtype=bool)
    models = np.flatnonzero(done)
    rivals = models[np.argsort(mean[models], kind="stable")][:RIVALS]
    for rival in rivals if against is None else [against]:
        i = int(np.flatnonzero(models == rival)[0])
        for look in _looks(race, models, i):
            if look.answers is None:
                apart = look.errors - look.errors[i] > margin + look.radius
            else:
                beside = look.answers - look.answers[i]
                apart = worse_by(beside, margin + look.radius, look.level)
            apart[i] = False
            left[models] |= apart
    return left


def _regret_of_runs(race: Race, best: int, models: np.ndarray) -> float:
    """The most by which a fitted model may be better than the recommended one."""
    rows = np.flatnonzero(models)
    i = int(np.flatnonzero(rows == best)[0])
    bounds = []
    for look in _looks(race, rows, i):
        least = look.errors - look.errors[i]
        if look.answers is not None:
            beside = look.answers - look.answers[i]
            least = np.array(list(map(least_difference, beside, look.level)))
        bounds.append(look.radius - least)
    bound = np.min(bounds, axis=0)
    bound[i] = 0
    return float(np.clip(bound.max(), 0.0, 1.0))  # a spread has no such end on few images


@dataclass(frozen=True)
class _Look:
    """Some models beside one of them, `i`, at so many of their runs.

    `errors` [models] and `answers` [models, images] are means over the runs, the latter None where
    images do not count; `radius` [models] is how far the differences of errors to `i` may be off by
    the runs, and `level` [models] what a test by images may use.
    """

    errors: np.ndarray
    answers: np.ndarray | None
    radius: np.ndarray
    level: np.ndarray


def _looks(race: Race, models: np.ndarray, i: int) -> Iterator[_Look]:
    """At the first run of each of `models`, at the first two, and so on up to today's."""
    runs, errors, level = race.n_runs[models], race.means()[models], _level_of_pairs(race)
    for first in range(1, int(runs.max()) + 1):
        seen = np.minimum(runs, first)
        answers = race.mean_answers(models, first) if race.rules.covers_images else None
        radius = run_radius(errors, seen, i, race.spread, level)
        yield _Look(
            race.means(first)[models], answers, radius, level * spent(seen) * spent(seen[i])
        )


def _tails(
    race: Race, margin: float, best: int, seen: Prediction, mean: np.ndarray, sd: np.ndarray
) -> np.ndarray:
    """P [models] that a model without a fit is better than the recommended by over `margin`.

    The recommended one's error is taken as normal, within 0 and 1, and stands for itself at
    QUANTILES equally likely values; a predicted error is below such a value by Student's t.
    """
    ends = special.ndtr((np.array([0.0, 1.0]) - mean[best]) / sd[best])
    share = ends[0] + (ends[1] - ends[0]) * (np.arange(QUANTILES) + 0.5) / QUANTILES
    bars = mean[best] + sd[best] * special.ndtri(share) - margin
    below = special.stdtr(seen.freedom, (log_odds(bars)[:, None] - seen.mean) / seen.scale)
    tails = np.where(bars[:, None] > 0, below, 0.0).mean(axis=0)
    return np.where((race.n_runs > 0) | race.failed, 0.0, tails)


def _left_unrun(
    race: Race, margin: float, best: int, seen: Prediction, mean: np.ndarray, sd: np.ndarray
) -> np.ndarray:
    """Models without a fit that leave: the least likely, their chances together below level."""
    tails = _tails(race, margin, best, seen, mean, sd)
    order = np.argsort(tails, kind="stable")
    out = np.zeros(len(tails), dtype=bool)
    out[order] = np.cumsum(tails[order]) <= race.rules.level
    return out & (race.n_runs == 0)


def _regret_unrun(
    race: Race, best: int, seen: Prediction, mean: np.ndarray, sd: np.ndarray
) -> float:
    """The regret above which all models without a fit together have a chance below level."""
    low, high = 0.0, float(mean[best])
    if _tails(race, 0.0, best, seen, mean, sd).sum() <= race.rules.level:
        return 0.0
    for _ in range(20):
        middle = (low + high) / 2
        over = _tails(race, middle, best, seen, mean, sd).sum() > race.rules.level
        low, high = (middle, high) if over else (low, middle)
    return high


def _p_best(
    race: Race, mean: np.ndarray, sd: np.ndarray, seen: Prediction, stay: np.ndarray
) -> np.ndarray:
    """Shares [models] of draws in which each has the lowest error; 0 of all where none stays."""
    found = np.zeros(len(mean))
    if not stay.any():
        return found
    rng = np.random.default_rng(SEED)
    rows = np.flatnonzero(stay)
    unrun = race.n_runs[rows] == 0
    z = rng.standard_normal((DRAWS, len(rows)))
    freedom = np.where(unrun, seen.freedom[rows], 1e6)
    z *= np.sqrt(freedom / rng.chisquare(freedom, size=(DRAWS, len(rows))))
    p = np.clip(mean[rows], 1e-4, 1 - 1e-4)
    scale = np.where(unrun, seen.scale[rows], sd[rows] / (p * (1 - p)))
    drawn = log_odds(p) + z * scale
    found[rows] = np.bincount(drawn.argmin(axis=1), minlength=len(rows)) / DRAWS
    return found


@dataclass(frozen=True)
class Event:
    """One probe or fit of a race, and the race as it was after it."""

    model: str
    kind: str
    error: float | None
    seconds: float
    race: Race

    @classmethod
    def of(cls, race: Race, model: str, kind: str, error: float | None, seconds: float) -> "Event":
        return cls(model, kind, error, seconds, race.as_it_is())

    @cached_property
    def standing(self) -> Standing:
        """Where the race stood, worked out when it is asked for: only a certificate asks all."""
        return standing(self.race)


def replay(
    candidates: Candidates, prior: Prior, rules: Rules, records: Sequence[Record]
) -> tuple[Race, list[Event]]:
    """The race after these records, and as it was after each."""
    complete = all(each.valid_wrong is not None for each in records if each.status == "ok")
    race = Race(candidates, prior, replace(rules, covers_images=complete))
    events: list[Event] = []
    for record in records:
        model = candidates.names.index(record.model)
        probe = record.recipe == "frozen"
        error = record.metrics.error_rate
        if error is None and probe:
            race.unprobed[model] = True
        elif error is None:
            race.saw_failure(model)
        elif probe:
            race.saw_rung(model, 0, error)
        else:
            wrong = record.valid_wrong
            share = None if wrong is None else unpack_counts(wrong) / labels_of(record)
            race.saw_run(model, error, share)
        kind = PROBE if probe else FIT
        events.append(Event.of(race, record.model, kind, error, counted_seconds(record)))
    return race, events


def counted_seconds(record: Record) -> float:
    """What a run counts for in the budget: also one that failed, until it did; 0 if unknown."""
    if record.cost.fit_seconds is not None:
        return record.cost.fit_seconds
    watched = record.telemetry.get("seconds")
    return float(watched) if isinstance(watched, (int, float)) else 0.0


def certificate_of(race: Race, events: Sequence[Event], **about: Any) -> Certificate:
    """The certificate of a race that stands where its last event left it.

    `about` are the fields of Certificate that the race does not know: dataset, recipe, stopped,
    grid_seconds, priced, prior, not_raced, not_judged.
    """
    end, names = standing(race), race.candidates.names
    best = end.recommended
    return Certificate(
        confidence=race.rules.confidence,
        regret=race.rules.regret,
        covers="seeds and images" if race.rules.covers_images else "seeds, on these images alone",
        recommended=None if best is None else names[best],
        error_rate=None if best is None else _known(race.means()[best]),
        p_best=None if best is None else _known(end.p_best[best]),
        regret_at_most=_known(end.regret_at_most),
        may_be_best=[names[m] for m in np.flatnonzero(end.may_be_best)],
        n_candidates=len(names),
        n_never_run=int((race.n_runs == 0).sum()),
        seconds=rounded(sum(each.seconds for each in events)),
        priced_seconds=rounded(sum(_price(race, each) for each in events)),
        rungs=_rungs(race),
        models=[_entrant(race, events, end, m) for m in range(len(names))],
        steps=_steps(race, events),
        **about,
    )


def _price(race: Race, event: Event) -> float:
    """What a run was estimated at, in seconds; of one that failed, what it took."""
    if event.error is None:
        return event.seconds
    costs, m = race.candidates, race.candidates.names.index(event.model)
    return float((costs.rung_seconds if event.kind == PROBE else costs.fit_seconds)[m, 0])


def _steps(race: Race, events: Sequence[Event]) -> list[Step]:
    totals = np.cumsum([each.seconds for each in events])
    return [
        Step(
            each.model,
            each.kind,
            _known(each.error),
            rounded(total),
            None if (best := each.standing.recommended) is None else race.candidates.names[best],
            int(each.standing.may_be_best.sum()),
            _known(each.standing.regret_at_most),
        )
        for each, total in zip(events, totals, strict=True)
    ]


def _entrant(race: Race, events: Sequence[Event], end: Standing, m: int) -> Entrant:
    error = race.means()[m]
    left, why = None, None
    if not end.may_be_best[m]:
        inside = [i for i, each in enumerate(events) if each.standing.may_be_best[m]]
        last = min(inside[-1] + 1 if inside else 0, len(events) - 1)
        left = rounded(sum(each.seconds for each in events[: last + 1]))
        why = "worse by its fits" if race.n_runs[m] else "unlikely to be better, by prediction"
        why = "its fit failed" if race.failed[m] else why
    return Entrant(
        race.candidates.names[m],
        int(race.n_runs[m]),
        _known(error),
        rounded(end.error[m]),
        rounded(end.p_best[m]),
        left,
        why,
    )


def _rungs(race: Race) -> list[Rung]:
    """How much of the variance each cheap rung explains; an F interval of the two residuals."""
    seen = race.prediction()
    found = []
    for rung, left in enumerate(seen.unexplained[1:], start=1):
        freedom = seen.residual_fits[0], seen.residual_fits[rung]
        low, high = stats.f.ppf([0.025, 0.975], freedom[1], freedom[0])
        both = np.isfinite(race.rungs[:, rung - 1]) & (race.n_runs > 0)
        ends = np.clip([1 - left, 1 - left / low, 1 - left / high], 0, 1)
        told, least, most = map(rounded, ends)
        found.append(Rung("frozen features", told, least, most, int(both.sum())))
    return found


def _known(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else rounded(value)


def rounded(value: float) -> float:
    """Six digits: what differs behind them differs between machines."""
    return float(f"{value:.6g}")


def worse_by(differences: np.ndarray, margin: np.ndarray, level: np.ndarray) -> np.ndarray:
    """Bool [models]: is the mean of these differences [models, images], each within -1 and 1, above
    `margin` [models], at level `level` [models]?
    """
    margin = np.clip(margin, -0.999, 0.999)
    found = differences.mean(axis=1) > margin  # else no bet has gained: log(1 + x) <= x
    most = STAKES[:, None] / (1 + margin[found])
    moved = differences[found] - margin[found, None]
    log_wealth = np.stack([np.log1p(each[:, None] * moved).sum(axis=1) for each in most])
    top = log_wealth.max(axis=0)
    wealth = top + np.log(np.exp(log_wealth - top).mean(axis=0))
    found[found] = wealth >= np.log(1 / level[found])
    return np.asarray(found)


def least_difference(differences: np.ndarray, level: float) -> float:
    """The largest margin that the mean of `differences` [images] is above, at that level."""
    values, counts = np.unique(differences, return_counts=True)
    low, high = -1.0, float(np.clip(differences.mean(), -1, 1))
    for _ in range(14):
        middle = (low + high) / 2
        bets = np.log1p(np.outer(STAKES / (1 + np.clip(middle, -0.999, 0.999)), values - middle))
        wealth = special.logsumexp(bets @ counts) - np.log(len(STAKES))
        low, high = (middle, high) if wealth >= np.log(1 / level) else (low, middle)
    return low
