"""The numbers of a race, each by another way of working it out."""

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import integrate, optimize, stats
from scipy.special import expit, logit
from study_fakes import LITE, write_imagenet, write_study

from pipeline.estimates.belief import (
    Level,
    OtherDataset,
    Prior,
    assumed_prior,
    features_of,
    fitted_prior,
    learned_prior,
    log_odds,
    mean_elsewhere,
    predict,
    predicted,
    standardised,
)
from pipeline.figures.certificate import FIT, PROBE
from pipeline.race.search import (
    RUN,
    Candidates,
    Race,
    Rules,
    affordable,
    run_radius,
    run_spread,
)
from pipeline.race.standing import (
    Event,
    certificate_of,
    least_difference,
    replay,
    standing,
    worse_by,
)
from pipeline.records import Data, Metrics, Record, pack_counts
from pipeline.study.params import read_study

ABOUT = {"dataset": "d", "recipe": "r", "stopped": "", "priced": "", "prior": "", "not_raced": {}}


def race_of(n: int, n_valid: int = 400, **rules: object) -> Race:
    """Models whose features are evenly spread, at 60 s a fit and 6 s a probe."""
    names = tuple(f"model{i}" for i in range(n))
    costs = np.full((n, 1), 6.0), np.array([[60.0, 50.0]] * n)
    features = np.linspace(-1, 1, n)[:, None]
    told = Rules(n_valid=n_valid, **rules)
    return Race(Candidates(names, features, *costs), assumed_prior(1, 1, 0), told)


# Who leaves


def wealth(differences: np.ndarray, margin: float) -> float:
    """What bets on a mean above `margin` have made of 1, on average over the stakes."""
    stakes = np.geomspace(0.01, 0.95, 14) / (1 + margin)  # below -1, so a bet never loses all
    return float(np.mean([np.prod(1 + each * (differences - margin)) for each in stakes]))


def test_a_model_is_worse_where_bets_have_made_one_over_the_level() -> None:
    rng = np.random.default_rng(0)
    rows = rng.choice([-1.0, 0.0, 0.5, 1.0], p=[0.1, 0.5, 0.2, 0.2], size=(12, 80))
    margins = np.linspace(-0.3, 0.15, 12)
    made = np.array([wealth(*each) for each in zip(rows, margins, strict=True)])
    gained = rows.mean(axis=1) > margins
    assert gained.sum() >= 6
    for nearly, reached in ((1 - 1e-6, False), (1 + 1e-6, True)):
        level = np.minimum(1 / made * nearly, 1)
        assert worse_by(rows, margins, level)[gained & (made > 1.01)].tolist() == [reached] * int(
            (gained & (made > 1.01)).sum()
        )
    assert not worse_by(rows, margins, np.full(12, 0.5))[~gained].any()


def test_the_least_difference_is_the_largest_margin_that_a_model_is_worse_by() -> None:
    rng = np.random.default_rng(1)
    for level, n in itertools.product((0.001, 0.05), (30, 1000)):
        row = rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.65, 0.30], size=n)
        least = least_difference(row, level)
        below, above = (
            worse_by(row[None], np.array([least + off]), np.array([level]))[0]
            for off in (-1e-9, 2e-4)
        )
        assert (below, above) == (True, False)
    assert least_difference(np.ones(5), 1e-12) < -0.9  # five images show next to nothing


def test_bets_on_many_images_are_counted_without_overflow() -> None:
    rows = np.tile([1.0, 0.0], 20_000)[None]
    assert worse_by(rows, np.array([0.2]), np.array([0.01])).tolist() == [True]
    assert 0.48 < least_difference(rows[0], 0.01) < 0.5


def test_looks_share_the_risk_and_a_radius_is_students_on_it() -> None:
    spread = run_spread([[0.1, 0.12], [0.3, 0.3]], 400)
    errors, runs = np.array([0.1, 0.2, 0.4]), np.array([1, 2, 3])
    found = run_radius(errors, runs, 1, spread, 0.05)
    for error, n, radius in zip(errors, runs, found, strict=True):
        share = 0.05 / (n * (n + 1)) / (2 * 3)
        variance = spread.phi * (error * (1 - error) / n + 0.2 * 0.8 / 2)
        assert radius == pytest.approx(stats.t.isf(share, spread.freedom) * math.sqrt(variance))


def test_a_spread_is_pooled_with_ten_degrees_of_freedom_of_the_assumed_one() -> None:
    runs = [[0.10, 0.14], [0.3, 0.2, 0.25], [0.5]]
    squares = 2 * 0.02**2 / (0.12 * 0.88) + 2 * 0.05**2 / (0.25 * 0.75)
    found = run_spread(runs, 400)
    assert found.freedom == 13
    assert found.phi == pytest.approx((10 * 0.8**2 / 400 + squares) / 13)
    assert found.sd(np.array([0.3])) == pytest.approx(np.sqrt(found.phi * 0.3 * 0.7))
    assert (found.sd(np.array([0.0, 1.0])) > 0).all()
    skewed = 2 * np.var([0.30, 0.20, 0.22], ddof=1) / (0.24 * 0.76)  # around the mean
    assert run_spread([[0.30, 0.20, 0.22]], 400).phi == pytest.approx((0.016 + skewed) / 12)


def test_a_fit_that_the_runs_alone_show_to_be_worse_leaves_when_it_is_shown() -> None:
    """On these very images: by Student's radius, its risk divided by the number of pairs."""
    race = race_of(3, covers_images=False)
    level = (1 - 0.95) / 2 / (3 - 1)
    for looks in (1, 2):

        def beyond(gap: float, looks: int = looks) -> float:
            errors = np.array([0.1, 0.1 + gap])
            spread = run_spread([[each] * looks for each in errors], 400)
            return float(gap - run_radius(errors, np.full(2, looks), 0, spread, level)[1])

        gap = optimize.brentq(beyond, 0.0, 0.8)
        for share, left in ((0.99, False), (1.01, True)):
            race.runs[0], race.runs[1] = [0.1] * looks, [0.1 + share * gap] * looks
            assert (not standing(race).may_be_best[1]) == left


def test_where_nothing_is_fitted_and_a_model_failed_the_others_may_be_best() -> None:
    race = race_of(3)
    race.failed[0] = True
    end = standing(race)
    assert end.may_be_best.tolist() == [False, True, True]
    assert end.p_best.sum() == pytest.approx(1)
    assert end.p_best[0] == 0


def expected_tails(race: Race, bar: float, best: int) -> np.ndarray:
    """P [models] that an unfitted model's error is below one that is normal around `bar`, by its t
    distribution: an integral over 4,000 values of the other, of which none is outside 0 to 1 where
    it is around the model's own mean.
    """
    seen = race.prediction()
    mean, sd = race.belief(seen)
    own = np.linspace(0, 1, 400_001)[1:-1]
    own = own[np.abs(own - mean[best]) < 6 * sd[best]]
    weight = stats.norm.pdf(own, mean[best], sd[best])
    other = own - mean[best] + bar
    own_weight, other = weight[other > 1e-4], other[other > 1e-4]
    tails = [
        np.sum(own_weight * stats.t.cdf(logit(other), df=f, loc=m, scale=s)) / weight.sum()
        for m, s, f in zip(seen.mean, seen.scale, seen.freedom, strict=True)
    ]
    return np.where(race.n_runs > 0, 0, tails)


def fitted_and_not(**rules: object) -> Race:
    """Two of 30 models are fitted; of the others some are likely to be better, others are not."""
    race = race_of(30, covers_images=False, **rules)
    published = Level(np.array([0.0, 1.0]), np.array([1e4, 0.1]), 0.35, 30.0)
    race.prior = Prior((published, race.prior.levels[1]), 0)
    race.runs[3], race.runs[20] = [0.06, 0.062], [0.16, 0.15]
    return race


def test_models_without_a_fit_leave_while_their_chances_together_are_within_the_risk() -> None:
    race = fitted_and_not()
    mean, _ = race.belief(race.prediction())
    assert mean[3] == mean[race.n_runs > 0].min()
    unrun = race.n_runs == 0
    for margin, stays in ((0.0, standing(race).may_be_best), (0.005, standing(race).may_gain)):
        tails = expected_tails(race, float(mean[3]) - margin, 3)
        out, spent = [], 0.0
        for model in sorted(np.flatnonzero(unrun), key=lambda each: tails[each]):
            spent += tails[model]
            if spent > (1 - 0.95) / 2:
                break
            out.append(int(model))
        assert 3 <= len(out) < unrun.sum() - 3
        assert set(np.flatnonzero(~stays & unrun)) == set(out)


def test_the_regret_is_that_at_which_unfitted_models_together_have_the_chance_allowed() -> None:
    race = fitted_and_not(exact_runs=True)
    race.failed[5] = True
    end = standing(race)
    mean, _ = race.belief(race.prediction())

    def chance(regret: float) -> float:
        tails = expected_tails(race, float(mean[3]) - regret, 3)
        return float(np.delete(tails, 5).sum())

    expected = optimize.brentq(lambda regret: chance(regret) - 0.025, 0.0, float(mean[3]) - 1e-4)
    assert end.regret_at_most == pytest.approx(expected, abs=1e-5)


def test_the_probability_to_be_best_is_that_of_the_models_distributions() -> None:
    race = race_of(3, covers_images=False)
    race.runs[0], race.runs[1] = [0.10], [0.11]
    seen = race.prediction()
    mean, sd = race.belief(seen)
    rng = np.random.default_rng(1)
    drawn = rng.standard_normal((3, 400_000))
    fitted = logit(mean[:2, None]) + drawn[:2] * (sd / mean / (1 - mean))[:2, None]
    unrun = seen.mean[2] + seen.scale[2] * stats.t.rvs(
        seen.freedom[2], size=400_000, random_state=rng
    )
    least = np.vstack([fitted, unrun]).argmin(axis=0)
    shares = np.bincount(least, minlength=3) / 400_000
    assert shares.min() > 0.1
    assert standing(race).p_best == pytest.approx(shares, abs=0.035)


def two_fitted(covers_images: bool) -> tuple[Race, np.ndarray, np.ndarray]:
    """Two models with three runs each, and their answers [models, runs, images]."""
    race = race_of(2, 2000, covers_images=covers_images)
    rng = np.random.default_rng(7)
    wrong = (rng.random((2, 3, 2000)) < np.array([0.1, 0.115])[:, None, None]).astype(float)
    for run, model in itertools.product(range(3), range(2)):
        race.saw_run(model, wrong[model, run].mean(), wrong[model, run])
    return race, wrong, wrong.mean(axis=2)


def test_what_a_fitted_model_may_gain_is_the_tightest_bound_of_all_looks() -> None:
    """On these images by Student's radius; on all like these, by bets on the answers as well."""
    level = {False: 0.05 / 2, True: 0.05 / 3}
    for covers in (False, True):
        race, wrong, errors = two_fitted(covers)
        best = int(race.means().argmin())
        other = 1 - best
        bounds = []
        for looks in (1, 2, 3):
            runs = np.full(2, looks)
            radius = run_radius(race.means(), runs, best, race.spread, level[covers])[other]
            if covers:
                each = wrong[:, :looks].mean(axis=1)
                share = level[True] / (looks * (looks + 1)) ** 2
                least = least_difference(each[other] - each[best], share)
            else:
                least = errors[other, :looks].mean() - errors[best, :looks].mean()
            bounds.append(radius - least)
        found = standing(race)
        assert found.recommended == best
        assert found.regret_at_most == pytest.approx(max(min(bounds), 0))
        assert min(bounds) > 0
        for regret in (min(bounds) * 0.97, min(bounds) * 1.03):
            race.rules = Rules(n_valid=2000, covers_images=covers, regret=regret)
            assert standing(race).may_gain[other] == (regret < min(bounds))
            assert not standing(race).may_gain[best]


def test_a_fitted_model_leaves_by_what_bets_on_the_answers_show() -> None:
    race, wrong, _ = two_fitted(covers_images=True)
    level = 0.05 / 3
    shown = []
    for looks in (1, 2, 3):
        radius = run_radius(race.means(), np.full(2, looks), 0, race.spread, level)[1]
        each = wrong[:, :looks].mean(axis=1)
        share = level / (looks * (looks + 1)) ** 2
        shown.append(wealth(each[1] - each[0], radius) >= 1 / share)
    assert standing(race).may_be_best.tolist() == [True, not any(shown)]
    assert not any(shown)
    for model, run in itertools.product(range(2), range(3)):
        race.answers[model][run] = np.concatenate([np.zeros(1500), np.full(500, 1.0 * model)])
        race.runs[model][run] = 0.25 * model
    assert standing(race).may_be_best.tolist() == [True, False]


def test_a_fitted_model_is_held_against_the_three_of_the_lowest_error() -> None:
    """It errs wherever one of four others does, and on 20 more images: that shows against it."""
    rng = np.random.default_rng(14)
    level = 0.05 / 3 / 4 / 2**2  # of a way to leave, of a pair, of a first look at both
    for like in range(4):
        wrong = np.zeros((5, 1000))
        for model in range(4):
            wrong[model, rng.choice(1000, 100 + model, replace=False)] = 1
        more = rng.choice(np.flatnonzero(wrong[like] == 0), 20, replace=False)
        wrong[4] = wrong[like]
        wrong[4, more] = 1
        race = race_of(5, n_valid=1000, exact_runs=True)
        for model in range(5):
            race.saw_run(model, wrong[model].mean(), wrong[model])
        mean, _ = race.belief(race.prediction())
        assert np.argsort(mean).tolist() == [0, 1, 2, 3, 4]
        shown = [wealth(wrong[4] - each, 0.0) >= 1 / level for each in wrong[:4]]
        assert shown == [model == like for model in range(4)]
        assert standing(race).may_be_best.tolist() == [*[True] * 4, not any(shown[:3])]


def test_a_certificate_has_the_share_that_probes_explain_with_the_interval_of_an_f_ratio() -> None:
    race = race_of(12, covers_images=False)
    rng = np.random.default_rng(8)
    truth = expit(rng.normal(-2, 0.6, 12))
    events = []
    for model in range(12):
        if model < 11:
            race.saw_rung(model, 0, float(expit(logit(truth[model]) + 0.1 * rng.normal())))
            events.append(Event.of(race, f"model{model}", PROBE, 0.2, 5.0))
        if model < 9:
            race.saw_run(model, float(truth[model]))
            events.append(Event.of(race, f"model{model}", FIT, float(truth[model]), 70.0))
    told = certificate_of(race, events, grid_seconds=1.0, **ABOUT)
    seen = race.prediction()
    left, (of_published, of_probes) = seen.unexplained[1], seen.residual_fits
    low, high = stats.f.interval(0.95, of_probes, of_published)
    [rung] = told.rungs
    assert rung.explains == pytest.approx(1 - left, rel=1e-5)
    assert rung.explains_low == pytest.approx(np.clip(1 - left / low, 0, 1), rel=1e-5)
    assert rung.explains_high == pytest.approx(np.clip(1 - left / high, 0, 1), rel=1e-5)
    assert 0 < rung.explains < rung.explains_high < 1
    assert rung.n_fits == 9
    assert told.n_never_run == 3
    assert told.seconds == 11 * 5 + 9 * 70
    assert told.priced_seconds == 11 * 6 + 9 * 60
    assert told.error_rate == pytest.approx(truth[:9].min(), rel=1e-5)
    assert [each.seconds for each in told.steps[:3]] == [5.0, 75.0, 80.0]
    assert told.steps[0].recommended is None
    assert [each.n_runs for each in told.models] == [1] * 9 + [0] * 3
    assert [each.error_rate is None for each in told.models] == [False] * 9 + [True] * 3


def test_a_model_left_at_the_event_after_which_it_never_came_back() -> None:
    race = race_of(3, covers_images=False, exact_runs=True)
    events = []
    for model, error, took in ((0, 0.2, 10.0), (1, 0.1, 20.0), (2, 0.15, 40.0)):
        race.saw_run(model, error)
        events.append(Event.of(race, f"model{model}", FIT, error, took))
    told = certificate_of(race, events, grid_seconds=1.0, **ABOUT)
    assert [each.left_after_seconds for each in told.models] == [30.0, None, 70.0]
    assert [each.left_because for each in told.models] == [
        "worse by its fits",
        None,
        "worse by its fits",
    ]
    race.failed[2], race.runs[2] = True, []
    events[2] = Event.of(race, "model2", FIT, None, 3.0)
    gone = certificate_of(race, events, grid_seconds=1.0, **ABOUT)
    assert gone.models[2].left_because == "its fit failed"
    assert gone.models[2].left_after_seconds == 33.0
    assert gone.priced_seconds == 60 + 60 + 3  # a fit that failed is worth what it took


def test_a_model_without_a_fit_has_the_tails_of_student() -> None:
    race = race_of(2, covers_images=False)
    race.prior = Prior((Level(np.zeros(2), np.full(2, 1e-6), 0.4, 4.0), race.prior.levels[1]), 0)
    race.runs[0] = [0.2]
    seen = race.prediction()
    mean, sd = race.belief(seen)
    beyond = (logit(mean[0]) - seen.mean[1]) / np.hypot(seen.scale[1], sd[0] / 0.2 / 0.8)
    expected = stats.t.cdf(beyond, seen.freedom[1])
    assert expected < 0.08
    assert expected > 1.4 * stats.norm.cdf(beyond)
    assert standing(race).p_best[1] == pytest.approx(expected, abs=0.25 * expected)


def test_a_race_is_about_all_images_only_if_every_fit_has_its_answers() -> None:
    wrong = (np.arange(400) < 80).astype(np.uint8)
    fit = Record(
        "ok", "d", "model0", "r", 0, metrics=Metrics(error_rate=0.2), data=Data(n_valid=400)
    )
    known, start = replace(fit, valid_wrong=pack_counts(wrong)), race_of(2)
    failed = replace(fit, status="failed", metrics=Metrics())
    for records, covers in (([known, failed], True), ([known, fit], False)):
        race, events = replay(start.candidates, start.prior, start.rules, records)
        assert race.rules.covers_images == covers
        assert [len(each) for each in race.answers] == [sum(each is known for each in records), 0]
        assert [each.kind for each in events] == [FIT, FIT]
    assert not race.failed[0]
    probe = replace(fit, model="model1", recipe="frozen", metrics=Metrics(error_rate=0.3))
    race, [event] = replay(start.candidates, start.prior, start.rules, [probe])
    assert event.kind == PROBE
    assert race.rungs[1, 0] == pytest.approx(logit(0.3))


# What comes next


def test_a_belief_is_the_mean_of_prediction_and_runs_weighted_by_their_precisions() -> None:
    race = race_of(4, covers_images=False)
    race.runs[1] = [0.2, 0.3]
    seen = race.prediction()
    mean, sd = race.belief(seen)
    p = seen.error[1]
    of_prediction = 1 / (min(seen.sd[1], 2.0) * p * (1 - p)) ** 2
    of_runs = 2 / race.spread.sd(np.array([0.25]))[0] ** 2
    whole = of_prediction + of_runs
    assert mean[1] == pytest.approx((of_prediction * p + of_runs * 0.25) / whole)
    assert sd[1] == pytest.approx(1 / math.sqrt(whole))
    assert mean[2] == pytest.approx(seen.error[2])
    assert sd[2] == pytest.approx(min(seen.sd[2], 2.0) * mean[2] * (1 - mean[2]))


def test_images_add_the_variance_of_answers_beside_those_of_the_other_models() -> None:
    race = race_of(3)
    rng = np.random.default_rng(2)
    wrong = (rng.random((3, 400)) < 0.2).astype(float)
    for model in range(3):
        race.saw_run(model, wrong[model].mean(), wrong[model])
    beside = wrong - wrong.mean(axis=0)
    expected = [np.mean((each - each.mean()) ** 2) / 400 + 1 / 400**2 for each in beside]
    assert race.image_variance(np.arange(3)) == pytest.approx(expected)
    apart = (wrong[0] - wrong[2]) / 2  # half their difference is either's from their mean
    expected = np.mean((apart - apart.mean()) ** 2) / 400 + 1 / 400**2
    assert race.image_variance(np.array([0, 2])) == pytest.approx([expected] * 2)
    p = wrong[1].mean()
    assert race.image_variance(np.array([1])) == pytest.approx(p * (1 - p) / 400)
    race.answers[2] = []
    assert race.image_variance(np.arange(3))[1] == pytest.approx(p * (1 - p) / 400)
    assert race_of(3, covers_images=False).image_variance(np.arange(2)).tolist() == [0, 0]


def expected_gain(behind: float, sd: float) -> float:
    """By how much the lowest error falls on average where one of them moves by `sd`."""
    return float(integrate.quad(lambda z: max(-(behind + sd * z), 0) * stats.norm.pdf(z), -9, 9)[0])


def test_a_fit_is_chosen_by_its_expected_gain_over_its_price() -> None:
    race = race_of(3, covers_images=False)
    race.runs[0], race.runs[1] = [0.2], [0.21, 0.22]
    race.unprobed[:] = True
    mean, sd = race.belief(race.prediction())
    to_beat = [mean[1], mean[0], mean[0]]
    gains = []
    for model, n in enumerate((1, 2, 0)):
        run_sd = race.spread.sd(mean)[model]
        known = min(sd[model], run_sd / math.sqrt(n)) if n else sd[model]
        moves = known**2 / math.sqrt(known**2 + run_sd**2)
        # to learn that the best is worse gains as much as to learn that another is better
        gains.append(expected_gain(abs(mean[model] - to_beat[model]), moves))
    actions = race._actions(race.prediction(), mean, sd, 1e6)
    found = {action.model: (rate, action) for rate, action in actions}
    for model, gain in enumerate(gains):
        if gain > 1e-6:
            rate, action = found[model]
            assert action.gain == pytest.approx(gain, rel=1e-3)
            assert rate == pytest.approx(gain / 60, rel=1e-3)
        else:
            assert model not in found
    assert len(found) == 3
    best = max(found, key=lambda model: gains[model])
    [chosen] = race.choose(1e6)
    assert (chosen.model, chosen.rung, chosen.seconds) == (best, RUN, 60.0)


def test_a_batch_goes_on_as_if_each_fit_had_erred_on_images_as_those_before_it() -> None:
    race = race_of(4)
    rng = np.random.default_rng(15)
    for model, rate in ((0, 0.20), (0, 0.22), (1, 0.21)):
        wrong = (rng.random(400) < rate).astype(float)
        race.saw_run(model, wrong.mean(), wrong)
    race.unprobed[:] = True
    so_far, expected = race.as_it_is(), []
    for _ in range(6):
        mean, _ = so_far.belief(so_far.prediction())
        [action] = so_far.choose(1e6)
        expected.append(action)
        own = so_far.answers[action.model]
        of_others = [runs[0] for runs in so_far.answers if runs]
        wrong = pd.DataFrame(own or of_others).mean().to_numpy()
        so_far.saw_run(action.model, float(mean[action.model]), wrong)
    assert {0, 2} <= {each.model for each in expected[:4]}  # one with answers and one without
    assert race.choose(1e6, 6) == expected


def test_before_any_fit_a_model_gains_by_what_it_may_be_below_the_lowest_prediction() -> None:
    race = race_of(3, covers_images=False)
    race.unprobed[:] = True
    mean, sd = race.belief(race.prediction())
    run_sd = race.spread.sd(mean)
    for _, action in race._actions(race.prediction(), mean, sd, 1e6):
        m = action.model
        moves = sd[m] ** 2 / math.sqrt(sd[m] ** 2 + run_sd[m] ** 2)
        assert action.gain == pytest.approx(expected_gain(mean[m] - mean.min(), moves), rel=1e-3)
    assert len(race._actions(race.prediction(), mean, sd, 1e6)) == 3


def test_a_probe_counts_the_fit_that_it_may_lead_to_as_far_as_that_is_likely() -> None:
    race = race_of(2, covers_images=False)
    race.runs[0] = [0.1]
    seen = race.prediction()
    mean, sd = race.belief(seen)
    told = sd[1] * math.sqrt(min(max(1 - seen.unexplained[1] / seen.unexplained[0], 0.02), 1))
    behind = mean[1] - mean[0]
    likely = stats.norm.cdf(-behind, scale=told)
    [(rate, action)] = [each for each in race._actions(seen, mean, sd, 56.0) if each[1].rung == 0]
    assert (action.model, action.seconds) == (1, 6.0)
    assert action.gain == pytest.approx(expected_gain(abs(behind), told), rel=1e-3)
    assert rate == pytest.approx(action.gain / (6 + likely * 50), rel=1e-6)
    assert not [each for each in race._actions(seen, mean, sd, 55.9) if each[1].rung == 0]
    race.saw_rung(1, 0, 0.2)
    actions = race._actions(race.prediction(), *race.belief(race.prediction()), 1e6)
    assert [each.seconds for _, each in actions if each.model == 1] == [50.0]  # after its probe


def test_no_model_is_fitted_more_often_than_asked() -> None:
    for rules, runs, again in (({"most_runs": 2}, 2, False), ({"most_runs": 3}, 2, True)):
        race = race_of(2, covers_images=False, **rules)
        race.runs[0], race.runs[1] = [0.1] * runs, [0.101] * runs
        assert bool(race.choose(1e6)) == again
    exact = race_of(2, covers_images=False, exact_runs=True)
    exact.runs[0], exact.runs[1] = [0.1], [0.101]
    assert exact.choose(1e6) == []
    assert standing(exact).may_be_best.tolist() == [True, False]


def test_a_budget_pays_in_order_what_still_fits() -> None:
    paid, unpaid = affordable({"a": 5.0, "b": 9.0, "c": 4.0, "d": 1.0}, 9.0)
    assert (paid, unpaid) == ({"a": 5.0, "c": 4.0}, {"b": 9.0, "d": 1.0})


# What is predicted


def by_conditioning(
    level: Level, x: np.ndarray, y: np.ndarray, new: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Location, scale and freedom of predictions `new`, and the residual's, by the joint t.

    Fits and predictions together are multivariate Student's t: that of a part, the rest known, has
    a closed form (Gelman et al., Bayesian Data Analysis, A.2), without any coefficients.
    """
    both = np.vstack([x, new])
    shape = level.residual**2 * (np.eye(len(both)) + (both * level.variance) @ both.T)
    n, center = len(x), both @ level.mean
    solved = np.linalg.solve(shape[:n, :n], np.column_stack([y - center[:n], shape[:n, n:]]))
    off = shape[n:, :n] @ solved[:, 0]
    rest = np.diag(shape[n:, n:] - shape[n:, :n] @ solved[:, 1:])
    distance = float((y - center[:n]) @ solved[:, 0])
    freedom = level.freedom + n
    factor = (level.freedom + distance) / freedom
    return center[n:] + off, np.sqrt(factor * rest), freedom, level.residual**2 * factor


def test_a_prediction_is_that_of_the_joint_t_distribution_given_the_fits() -> None:
    rng = np.random.default_rng(3)
    features, rungs = rng.standard_normal((7, 2)), np.full((7, 1), np.nan)
    levels = (
        Level(np.array([0.3, 0.2, -0.1]), np.array([5.0, 0.4, 0.2]), 0.35, 4.0),
        Level(np.array([0.1, 0.2, 0.0, 1.1]), np.array([2.0, 0.3, 0.2, 0.5]), 0.3, 6.0),
    )
    rungs[[0, 2, 3, 5], 0] = [-1.0, -2.0, -1.5, 0.2]
    fits = np.array([-1.2, -0.7, np.nan, -1.4, np.nan, np.nan, np.nan])
    seen = predict(Prior(levels, 0), features, rungs, fits)
    ones = np.ones((7, 1))
    published = np.hstack([ones, features])
    at = by_conditioning(levels[0], published[[0, 1, 3]], fits[[0, 1, 3]], published[[4, 6]])
    assert seen.mean[[4, 6]] == pytest.approx(at[0])
    assert seen.scale[[4, 6]] == pytest.approx(at[1])
    assert seen.freedom[[4, 6]].tolist() == [at[2]] * 2 == [7.0] * 2
    centre = np.nanmean(rungs)
    probed = np.hstack([published, rungs - centre])
    mean = levels[1].mean + np.array([centre, 0, 0, 0])
    of_rung = Level(mean, levels[1].variance, 0.3, 6.0)
    then = by_conditioning(of_rung, probed[[0, 3]], fits[[0, 3]], probed[[2, 5]])
    assert seen.mean[[2, 5]] == pytest.approx(then[0])
    assert seen.scale[[2, 5]] == pytest.approx(then[1])
    assert seen.freedom[[2, 5]].tolist() == [8.0] * 2
    assert seen.unexplained == pytest.approx([1, then[3] / at[3]])
    assert seen.residual_fits.tolist() == [7.0, 8.0]


def test_before_any_fit_a_prediction_leaves_the_common_level_out() -> None:
    level = Level(np.array([0.0, 0.2]), np.array([1e4, 0.5]), 0.4, 4.0)
    nothing = np.full((3, 0), np.nan)
    x = np.array([[0.0], [1.0], [-2.0]])
    seen = predict(Prior((level,), 0), x, nothing, np.full(3, np.nan))
    assert seen.mean == pytest.approx([0, 0.2, -0.4])
    assert seen.scale == pytest.approx(0.4 * np.sqrt(1 + 0.5 * x[:, 0] ** 2))
    assert seen.sd == pytest.approx(seen.scale * stats.t.std(4))
    assert seen.error == pytest.approx(1 / (1 + np.exp(-seen.mean)))


def test_what_is_assumed_of_a_rung_is_its_share_of_the_variance_and_a_slope_of_one() -> None:
    published, first, second = assumed_prior(2, 2, top1=1).levels
    assert first.residual**2 / published.residual**2 == pytest.approx(0.8)
    assert second.residual == first.residual
    assert published.mean.tolist() == [0, 0, 0.15]
    assert first.mean.tolist() == second.mean.tolist() == [0, 0, 0, 1]
    spreads = np.sqrt(first.variance) * first.residual
    assert spreads == pytest.approx([1.0, 0.2, 0.2, 0.4])
    assert np.sqrt(published.variance[1:]) * published.residual == pytest.approx([0.2, 0.2])
    assert published.variance[0] == 1e4  # nothing is known of the common level


def test_a_prior_of_others_has_the_coefficients_of_one_regression_with_their_own_intercepts() -> (
    None
):
    rng = np.random.default_rng(4)
    start = assumed_prior(2, 1)
    others, truth = [], np.array([0.4, -0.3])
    for level, n in ((-2.0, 40), (-1.0, 60), (0.5, 50), (9.0, 3)):  # the last is too small
        x = rng.standard_normal((n, 2)) + level
        rungs = rng.standard_normal((n, 1))
        y = level + x @ truth + 0.5 * rungs[:, 0] + 0.2 * rng.standard_normal(n)
        others.append(OtherDataset(x, rungs, y))
    prior = learned_prior(others, start)
    assert prior.learned == 153
    for rung, found in enumerate(prior.levels):
        begin = start.levels[rung]
        sets = [
            (np.hstack([each.features, each.rungs])[:, : 2 + rung], each.fits)
            for each in others[:3]
        ]
        x = np.vstack([x - x.mean(axis=0) for x, _ in sets])
        y = np.concatenate([y - y.mean() for _, y in sets])
        of_prior = np.sqrt(begin.variance[1:]) * begin.residual
        rows = np.vstack([x / found.residual, np.diag(1 / of_prior)])
        values = np.concatenate([y / found.residual, begin.mean[1:] / of_prior])
        ridge, *_ = np.linalg.lstsq(rows, values, rcond=None)
        assert found.mean[1:] == pytest.approx(ridge, abs=1e-4)
        squares = float(((y - x @ ridge) ** 2).sum())
        freedom = sum(len(y) - 1 for _, y in sets) - len(ridge)
        noise = (squares + 4 * begin.residual**2) / (freedom + 4)
        assert found.residual**2 == pytest.approx(noise, rel=1e-3)
    offsets = [each.fits.mean() - each.rungs.mean() for each in others[:3]]
    _, probed = prior.levels
    assert probed.mean[0] == pytest.approx(np.mean(offsets))
    assert probed.variance[0] * probed.residual**2 == pytest.approx(np.var(offsets) + 1 / 3)


def test_four_fits_of_a_dataset_tell_something_and_three_nothing() -> None:
    start, x = assumed_prior(1, 1), np.array([[-1.0], [0.0], [1.0], [2.0]])
    for n, tells in ((4, True), (3, False)):
        fits = OtherDataset(x[:n], np.full((n, 1), np.nan), 3 * x[:n, 0])
        prior = learned_prior([fits], start)
        assert (prior.levels[0].mean[1] > 0.1) == tells
        assert prior.levels[1] is start.levels[1]
        assert prior.learned == n


def test_what_is_learned_is_as_uncertain_as_single_datasets_differ() -> None:
    """Of many and large datasets, each coefficient's variance is that between the datasets."""
    rng = np.random.default_rng(5)
    slopes = rng.normal([0.3, -0.2], [0.5, 0.1], (200, 2))
    others = []
    for slope in slopes:
        x = rng.standard_normal((400, 2))
        y = x @ slope + 0.3 * rng.standard_normal(400)
        others.append(OtherDataset(x, np.full((400, 1), np.nan), y))
    level = learned_prior(others, assumed_prior(2, 1)).levels[0]
    assert level.mean[1:] == pytest.approx(slopes.mean(axis=0), abs=0.01)
    assert level.variance[1:] * level.residual**2 == pytest.approx(slopes.var(axis=0), rel=0.07)


def test_the_freedom_of_a_residual_is_that_of_how_much_datasets_differ_in_it() -> None:
    rng = np.random.default_rng(6)
    for freedom, among in ((4.0, (4, 4)), (16.0, (10, 26)), (1000.0, (40, 40))):
        others = []
        for noise in np.sqrt(0.1 * freedom / rng.chisquare(freedom, 150)):
            x = rng.standard_normal((800, 1))
            y = 2 * x[:, 0] + noise * rng.standard_normal(800)
            others.append(OtherDataset(x, np.full((800, 1), np.nan), y))
        found = learned_prior(others, assumed_prior(1, 1)).levels[0].freedom
        assert among[0] <= found <= among[1]
        assert learned_prior(others[:2], assumed_prior(1, 1)).levels[0].freedom == 4


def test_columns_are_standardised_over_what_is_known() -> None:
    columns = np.array([[1.0, 5.0, np.nan], [3.0, 5.0, np.nan], [np.nan, 5.0, np.nan], [8, 5, 2]])
    found = standardised(columns)
    known = columns[[0, 1, 3], 0]
    assert found[[0, 1, 3], 0] == pytest.approx(stats.zscore(known))
    assert found[2, 0] == 0
    assert not found[:, 1:].any()


def test_how_a_model_does_elsewhere_is_beside_the_mean_of_each_dataset() -> None:
    one, two = np.array([-1.0, -2.0, np.nan, np.nan]), np.array([0.0, 3.0, 3.0, np.nan])
    assert mean_elsewhere([one, two]) == pytest.approx([(0.5 - 2) / 2, (-0.5 + 1) / 2, 1.0, 0.0])
    with pytest.raises(ValueError, match="no other dataset"):
        mean_elsewhere([])


def test_log_odds_are_those_of_scipy_and_clipped() -> None:
    assert log_odds(np.array([0.2, 0.5, 0.9])) == pytest.approx(logit([0.2, 0.5, 0.9]))
    assert log_odds(np.array([0.0, 1.0])) == pytest.approx([-math.log(9999), math.log(9999)])
    assert np.isnan(log_odds(np.array([np.nan]))).all()


MODELS = [
    "resnet18.a1_in1k",
    "resnet34.a1_in1k",
    "convnext_tiny.fb_in22k_ft_in1k",
    "convnext_small.in12k",
    "vgg16.other_data",
]


def published_of_models() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "model": MODELS,
            "params_m": [11.7, 21.8, 28.6, 50.2, np.nan],
            "imagenet_top1": [71.5, 76.4, 82.9, 85.3, 71.6],
            "imagenet_real_top1": [79.0, 83.0, np.nan, 89.0, 79.1],
            "imagenet_v2_top1": [59.0, 65.0, 73.0, 76.0, 60.0],
            "train_samples_per_second": [900.0, np.nan, 400.0, 250.0, 300.0],
            "infer_samples_per_second": [5000.0, 2500.0, 1800.0, 1000.0, np.nan],
        }
    )


def zscore(values: list[float] | np.ndarray) -> np.ndarray:
    """With 0 where nothing is known."""
    return np.nan_to_num(stats.zscore(np.asarray(values, dtype=float), nan_policy="omit"))


def test_features_are_what_is_published_in_standard_deviations() -> None:
    table = published_of_models()
    top1 = zscore(logit(1 - table["imagenet_top1"].to_numpy() / 100))
    variants = [
        zscore(logit(1 - table[f"imagenet_{name}_top1"].to_numpy() / 100))
        for name in ("real", "v2")
    ]
    size = np.log(table["params_m"].to_numpy())
    train, infer = (
        np.log(table[f"{mode}_samples_per_second"].to_numpy()) for mode in ("train", "infer")
    )
    speed = np.where(np.isfinite(train), train - np.nanmean(train), infer - np.nanmean(infer))
    scale = [1, 1, 2, 2, np.nan]
    columns = [top1, zscore(sum(variants)), zscore(size), zscore(zscore(size) ** 2)]
    columns += [zscore(speed), zscore(scale)]
    found = features_of(table)
    assert found[:, :6] == pytest.approx(np.stack(columns, axis=1))
    families = 0.7 * np.array([[0, 1], [0, 1], [1, 0], [1, 0], [0, 0]])
    assert found[:, 6:] == pytest.approx(families)  # vgg is alone in its own


def test_a_dataset_is_explained_by_how_models_did_on_the_others() -> None:
    rng = np.random.default_rng(10)
    rates = expit(rng.normal(-2, 0.7, (3, 5)))
    fits = {
        name: dict(zip(MODELS, row, strict=True)) for name, row in zip("abc", rates, strict=True)
    }
    del fits["b"][MODELS[4]]
    fits["few"] = dict.fromkeys(MODELS[:3], 0.1)
    probes = {"a": dict.fromkeys(MODELS, 0.2) | {MODELS[0]: 0.4}}
    features, prior, basis = fitted_prior(published_of_models(), fits, probes)
    assert prior.learned == 14
    assert basis == "learned from 14 models of a, b, c"
    log = logit(rates)
    log[1, 4] = np.nan
    beside = log - np.nanmean(log, axis=1, keepdims=True)
    assert features[:, -1] == pytest.approx(zscore(np.nanmean(beside, axis=0)))
    assert features[:, :-1] == pytest.approx(features_of(published_of_models()))
    others = []
    for number in range(3):
        rest = np.delete(beside, number, axis=0)
        elsewhere = zscore(np.nanmean(rest, axis=0))[:, None]
        rung = np.full((5, 1), np.nan) if number else logit([[0.4], *[[0.2]] * 4])
        others.append(OtherDataset(np.hstack([features[:, :-1], elsewhere]), rung, log[number]))
    expected = learned_prior(others, assumed_prior(features.shape[1], 1, 0))
    for found, level in zip(prior.levels, expected.levels, strict=True):
        assert found.mean == pytest.approx(level.mean)
        assert found.variance == pytest.approx(level.variance)
        assert (found.residual, found.freedom) == pytest.approx((level.residual, level.freedom))


def test_without_four_models_on_another_dataset_all_is_assumed() -> None:
    few = {"few": dict.fromkeys(MODELS[:3], 0.1), "strangers": dict.fromkeys("abcdefg", 0.1)}
    features, prior, basis = fitted_prior(published_of_models(), few, {})
    assert basis == "assumed, because no other dataset has fits of at least 4 of these models"
    assert prior.learned == 0
    assert prior.levels[0].mean.tolist() == [0, 0.15, *[0] * (features.shape[1] - 1)]
    one = {"a": dict(zip(MODELS, (0.1, 0.2, 0.3, 0.4, 0.5), strict=True))}
    features, prior, basis = fitted_prior(published_of_models(), one, {})
    assert basis == "learned from 5 models of a"
    assert len(prior.levels[0].mean) == 1 + features.shape[1]
    assert prior.levels[0].mean[-1] == pytest.approx(0)  # there is no other one to explain it by


def test_predicted_odds_are_by_the_first_recipes_fits_with_students_interval(
    tmp_path: Path,
) -> None:
    names = [*MODELS[:4], *LITE]
    study = read_study(write_study(tmp_path, recipes=["quickstart", "other"]))
    imagenet = write_imagenet(tmp_path / "imagenet.csv", names)
    rates = [0.08, 0.12, 0.05, 0.11, 0.2, 0.16, 0.22]
    board = pd.DataFrame(
        {
            "dataset": ["digits"] * 14 + ["planet"] * 4,
            "recipe": ["quickstart"] * 7 + ["other"] * 7 + ["quickstart"] * 4,
            "model": [*names, *names, *names[:4]],
            "n": [2] * 17 + [0],  # of the last no run has finished
            "error_rate_mean": [*rates, *rates[::-1], 0.4, 0.3, 0.2, np.nan],
        }
    )
    rows = pd.DataFrame({"model": names, "kept": range(7)})
    found, basis = predicted(study, imagenet, rows, board, 288)
    numbers = np.arange(7)
    table = pd.DataFrame(
        {
            "model": names,
            "params_m": 4.65 + numbers,
            "imagenet_top1": 75.288 + numbers,
            "train_samples_per_second": (4000.0 - 500 * numbers) / 4,
        }
    )
    fits = {"digits": dict(zip(names, rates, strict=True))}
    features, prior, told = fitted_prior(table, fits, {})
    level = prior.levels[0]
    middle = features @ level.mean[1:]
    scale = level.residual * np.sqrt(1 + features**2 @ level.variance[1:])
    assert abs(middle.mean()) > 0.001  # as families are of different sizes
    low, high = stats.t.interval(0.95, level.freedom, middle - middle.mean(), scale)
    assert told == "learned from 7 models of digits"
    assert basis.startswith("Predicted from what is published of 7 models")
    assert basis.endswith(told)
    assert found[["model", "kept"]].equals(rows)
    assert found["error_odds"].to_numpy() == pytest.approx(np.exp(middle - middle.mean()))
    assert found["error_odds_low"].to_numpy() == pytest.approx(np.exp(low))
    assert found["error_odds_high"].to_numpy() == pytest.approx(np.exp(high))


def test_coefficients_of_one_dataset_are_shrunk_by_a_ridge_towards_those_of_all() -> None:
    """Two datasets that disagree: how far each is from the mean is in the prior's variance."""
    rng = np.random.default_rng(11)
    others, start = [], assumed_prior(1, 1)
    for slope in (0.9, -0.5):
        x = rng.standard_normal((12, 1))
        y = slope * x[:, 0] + 0.2 * rng.standard_normal(12)
        others.append(OtherDataset(x, np.full((12, 1), np.nan), y))
    level = learned_prior(others, start).levels[0]
    noise, mean = level.residual**2, level.mean[1]
    prior_variance = start.levels[0].variance[1] * noise
    precision, off = 1 / (start.levels[0].variance[1] * start.levels[0].residual ** 2), 0.0
    for each in others:
        x, y = each.features[:, 0] - each.features.mean(), each.fits - each.fits.mean()
        ridge = optimize.minimize_scalar(
            lambda b, x=x, y=y: ((y - x * b) ** 2).sum() / noise + (b - mean) ** 2 / prior_variance
        )
        off += (ridge.x - mean) ** 2
        precision += (x**2).sum() / noise
    expected = (off + 0.2**2) / 2 + 1 / precision
    assert level.variance[1] * noise == pytest.approx(expected, rel=0.02)
