"""The comparison of a group's models: coverage and calibration over synthetic sweeps."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from pipeline.statistics.comparison import (
    IMAGES,
    SEEDS_AND_IMAGES,
    RunNoise,
    compare,
    error_intervals,
    gaps_without_common_seeds,
    mean_of,
    run_noise,
    t_quantile,
    variance_of_a_run,
)
from pipeline.statistics.intervals import (
    draw_errors,
    draw_truths,
    likely_best,
    may_be_best,
    near_best,
    pooled_noise,
    rank_intervals,
    wilson,
)
from pipeline.statistics.validation_images import ImageNoise, independent, paired

SWEEPS, MODELS, IMAGES_HELD = 1000, 12, 360


def sweep(
    rng: np.random.Generator,
    truth: np.ndarray,
    n_valid: int,
    seeds: int,
    phi: float,
    common: float = 0.0,
    alike: float = 0.0,
) -> np.ndarray:
    """Error rates [models, seeds]: new validation images, new seeds.

    `alike` is how much models agree on which images are hard, `common` the share of a run's
    variance that all models with the same seed have in common.
    """
    hard = rng.standard_normal(n_valid)
    own = rng.standard_normal((len(truth), n_valid))
    latent = math.sqrt(alike) * hard + math.sqrt(1 - alike) * own
    on_images = (latent < stats.norm.ppf(truth)[:, None]).mean(axis=1)
    noise = math.sqrt(common) * rng.standard_normal(seeds)
    noise = noise + math.sqrt(1 - common) * rng.standard_normal((len(truth), seeds))
    return np.clip(on_images[:, None] + np.sqrt(phi * truth * (1 - truth))[:, None] * noise, 0, 1)


def coverage(seed: int, seeds: int, missing: float = 0.0, **kind: float) -> float:
    """The share of models' true errors inside their intervals, over 1,000 sweeps."""
    rng = np.random.default_rng(seed)
    inside = 0
    for _ in range(SWEEPS):
        truth = np.exp(rng.uniform(math.log(0.02), math.log(0.4), MODELS))
        errors = sweep(rng, truth, IMAGES_HELD, seeds, **kind)
        gone = rng.random(errors.shape) < missing
        gone[:, 0] = False
        errors[gone] = np.nan
        runs = np.isfinite(errors).sum(axis=1)
        noise = run_noise(errors, IMAGES_HELD)
        mean = np.nanmean(errors, axis=1)
        images = independent(mean, IMAGES_HELD)
        low, high = error_intervals(mean, runs, images, noise)
        inside += int(((low <= truth) & (truth <= high)).sum())
    return inside / SWEEPS / MODELS


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize(
    "kind",
    [
        {"phi": 0.5 / IMAGES_HELD},  # as on Pets in 2022
        {"phi": 0.02 / IMAGES_HELD, "alike": 0.5},  # as on Planet
        {"phi": 8 / IMAGES_HELD},  # runs matter more than images
        {"phi": 2 / IMAGES_HELD, "common": 0.8},  # seeds move all models together
    ],
    ids=["both", "images", "runs", "common seeds"],
)
def test_intervals_cover_the_true_error_in_93_to_97_of_100_sweeps(kind: dict, seeds: int):
    assert 0.93 <= coverage(1, seeds, **kind) <= 0.97


def test_intervals_cover_as_well_where_a_fifth_of_the_runs_is_missing():
    assert 0.93 <= coverage(2, 3, missing=0.2, phi=2 / IMAGES_HELD, common=0.3) <= 0.97


def test_intervals_are_too_wide_rather_than_too_narrow_where_seeds_err_on_other_images():
    """Then the binomial counts twice what the seeds already show."""
    rng = np.random.default_rng(3)
    inside = 0
    for _ in range(300):
        truth = np.exp(rng.uniform(math.log(0.02), math.log(0.4), MODELS))
        errors = rng.binomial(IMAGES_HELD, truth[:, None], (MODELS, 3)) / IMAGES_HELD
        found = compare(errors, IMAGES_HELD, None)
        inside += int(((found.low <= truth) & (truth <= found.high)).sum())
    assert inside / 300 / MODELS > 0.97


def test_an_interval_without_any_noise_of_runs_is_wilsons():
    mean = np.array([0.0, 0.1])
    low, high = error_intervals(mean, np.array([1, 1]), independent(mean, 200), None)
    for i, wrong in enumerate((0, 20)):
        expected = stats.binomtest(wrong, 200).proportion_ci(0.95, "wilson")
        assert [low[i], high[i]] == pytest.approx([expected.low, expected.high], abs=1e-6)


def test_the_noise_is_that_of_a_two_way_analysis_of_variance():
    rng = np.random.default_rng(4)
    errors = 0.2 + 0.01 * rng.standard_normal((5, 3)) + 0.02 * rng.standard_normal(3)
    noise = run_noise(errors, 10**9)  # images: one more mistake is none
    assert noise is not None
    p = errors.mean(axis=1)
    z = (errors - errors.mean(axis=1, keepdims=True)) / np.sqrt(p * (1 - p))[:, None]
    left = z - z.mean(axis=0)
    assert noise.residual == pytest.approx((left**2).sum() / 8)
    assert noise.residual_freedom == pytest.approx(8)
    assert noise.total == pytest.approx((z**2).sum() / 10)
    per_seed = 5 * (z.mean(axis=0) ** 2).sum() / 2
    assert noise.seed == pytest.approx((per_seed - noise.residual) / 5)
    assert 2 < noise.freedom < 4  # three seeds say little about what seeds have in common


def unsteady_coverage(shifts: np.ndarray, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """The shares [models] of sweeps with the true error inside, and with the model set apart.

    `shifts` [models] is by how much a seed moves a model's errors, on the scale of the probit.
    """
    rng = np.random.default_rng(0)
    inside, apart, sweeps = np.zeros(len(shifts)), np.zeros(len(shifts)), 400
    for _ in range(sweeps):
        threshold = stats.norm.ppf(np.exp(rng.uniform(math.log(0.05), math.log(0.3), len(shifts))))
        moved = threshold[:, None] + shifts[:, None] * rng.standard_normal((len(shifts), seeds))
        hard = rng.standard_normal((len(shifts), 1, IMAGES_HELD))
        errors = (hard < moved[:, :, None]).mean(axis=2)
        truth = stats.norm.cdf(threshold / np.sqrt(1 + shifts**2))
        found = compare(errors, IMAGES_HELD, None)
        inside += (found.low <= truth) & (truth <= found.high)
        apart += found.less_stable
    return inside / sweeps, apart / sweeps


@pytest.mark.parametrize(("seeds", "covered"), [(2, 0.72), (3, 0.85)])
def test_a_model_far_less_stable_than_the_rest_has_an_interval_of_its_own(seeds, covered):
    """Pooled with the others its interval would cover 52 and 62 %."""
    inside, apart = unsteady_coverage(np.array([0.4] + 11 * [0.05]), seeds)
    assert inside[0] >= covered
    assert inside[1:].mean() == pytest.approx(0.957, abs=0.01)
    assert apart[0] > 0.5
    assert apart[1:].mean() < 0.03


def test_a_model_is_called_less_stable_by_the_others_alone():
    errors = 0.1 + 0.002 * np.random.default_rng(1).standard_normal((9, 3))
    errors[4] = [0.06, 0.10, 0.14]
    found = compare(errors, 1000, None)
    assert found.less_stable.tolist() == [False] * 4 + [True] + [False] * 4
    without = compare(np.delete(errors, 4, axis=0), 1000, None)
    assert np.delete(found.low, 4) == pytest.approx(without.low)
    assert found.low[4] < 0.06 < 0.14 < found.high[4]
    two_seeds = errors[3:6, [0, 2]]
    assert not compare(two_seeds, 1000, None).less_stable.any(), "two others are too few to tell"


def test_a_less_stable_model_of_three_or_four_widens_no_other_interval():
    for models, seeds, covered in ((4, 2, 0.68), (3, 3, 0.80)):
        inside, apart = unsteady_coverage(np.array([0.4] + (models - 1) * [0.05]), seeds)
        assert inside[0] >= covered
        assert apart[0] > 0.4
        assert apart[1:].mean() < 0.03
        assert 0.93 <= inside[1:].mean() <= 0.975  # pooled: 0.98 and 0.99, much wider


def test_a_single_image_makes_no_model_less_stable():
    """Also where the others' runs are equal, and their means rounded."""
    wrong = np.full((9, 2), 20)
    wrong[4] = [20, 21]
    assert not compare(wrong / 360, 360, None).less_stable.any()
    wrong[4:6] = [[20, 21], [20, 22]]
    assert not compare(wrong / 360, 360, None).less_stable.any()
    wrong[4] = [10, 40]
    assert (
        compare(wrong / 360, 360, None).less_stable.tolist() == [False] * 4 + [True] + [False] * 4
    )


def test_a_less_stable_model_is_named_where_seeds_move_all_models_too():
    rng = np.random.default_rng(5)
    errors = 0.2 + 0.02 * rng.standard_normal(4) + 0.001 * rng.standard_normal((10, 4))
    errors[7] = 0.2 + 0.2 * np.array([-1, 1, -0.7, 0.7])
    found = compare(errors, 5000, None)
    assert found.less_stable.tolist() == [number == 7 for number in range(10)]
    noise = run_noise(errors, 5000)
    assert noise is not None
    for pooled, freedom in ((noise.total, noise.freedom), (noise.residual, noise.residual_freedom)):
        reach = stats.t.ppf(0.975, freedom) * np.sqrt(noise.for_intervals(pooled, freedom)[7])
        assert reach == pytest.approx(stats.t.ppf(0.975, 4) * np.sqrt(noise.own[7]), rel=0.01)


def test_models_without_a_mistake_say_nothing_of_the_others_noise():
    two = np.array([[0.08, 0.12, 0.16], [0.17, 0.13, 0.09]])
    alone = run_noise(two, 360)
    beside = run_noise(np.vstack([two, np.zeros((9, 3))]), 360)
    assert alone is not None
    assert beside is not None
    assert beside.total == pytest.approx(alone.total)
    assert beside.freedom == pytest.approx(alone.freedom)


def test_equal_mistakes_are_equal_errors():
    errors = np.array([[30, 30], [31, 29], [29, 31], [45, 15]]) / 360
    assert len(set(errors.mean(axis=1))) > 1  # but for the last bit
    assert len(set(compare(errors, 360, None).mean)) == 1


@pytest.mark.parametrize(("models", "seeds"), [(6, 3), (12, 3), (8, 4)])
def test_models_that_lack_different_seeds_keep_the_best_in_the_tie_set(models: int, seeds: int):
    """Seeds move all models by two points, and each model lacks another one."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(100):
        truth = np.full(models, 0.2)
        truth[0] = 0.199
        errors = truth[:, None] + 0.02 * rng.standard_normal(seeds)
        errors = errors + 0.002 * rng.standard_normal((models, seeds))
        errors[np.arange(models), np.arange(models) % seeds] = np.nan
        held += bool(compare(errors, 20_000, None).tied[0])
    assert held >= 95


def test_what_a_seed_does_to_all_models_does_not_tie_them():
    errors = np.array([[0.10, 0.20], [0.15, 0.25], [0.30, 0.401]])
    found = compare(errors, 100_000, None)
    assert found.tied.tolist() == [True, False, False]
    assert found.high[0] > 0.25  # alone, a model may be anywhere


def test_two_seeds_of_two_models_leave_no_gap_wider_than_the_errors_do():
    """One degree of freedom: Student's interval alone would reach 12.7 standard errors."""
    found = compare(np.array([[0.33, 0.28], [0.33, 0.38]]), 250, None)
    gap, low, high = found.gap[1], found.gap_low[1], found.gap_high[1]
    assert low < gap < high
    assert gap - low <= np.hypot(found.mean[1] - found.low[1], found.high[0] - found.mean[0]) + 1e-9
    assert (
        high - gap <= np.hypot(found.high[1] - found.mean[1], found.mean[0] - found.low[0]) + 1e-9
    )
    student = stats.t.ppf(0.975, 1) * np.std([0.0, 0.10], ddof=1) / np.sqrt(2)
    assert max(gap - low, high - gap) < student


def test_one_run_per_model_has_intervals_of_the_images_alone_and_says_so():
    found = compare(np.array([[0.05], [0.06], [0.9]]), 360, None)
    assert found.covers == IMAGES
    assert found.tied_here is None
    assert found.tied.tolist() == [True, True, False]


def test_identical_runs_leave_the_images_as_the_only_noise():
    found = compare(np.array([[0.05, 0.05], [0.06, 0.06]]), 360, None)
    assert found.covers == SEEDS_AND_IMAGES
    assert found.tied.all()


def test_one_model_alone_is_the_best():
    found = compare(np.array([[0.05, 0.06]]), 360, None)
    assert found.p_best.tolist() == [1.0]
    assert found.tied.tolist() == [True]


@pytest.fixture(scope="module")
def close_models() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of 250 sweeps of ten models: P(best), who is in the tie set, who is the best [250, 10]."""
    rng = np.random.default_rng(5)
    likely, tied, best = [], [], []
    for _ in range(250):
        truth = np.clip(0.1 + rng.choice([0.005, 0.01, 0.03]) * rng.standard_normal(10), 0.01, 1)
        found = compare(sweep(rng, truth, 1478, 3, 0.5 / 1478), 1478, None)
        likely.append(found.p_best)
        tied.append(found.tied)
        best.append(truth == truth.min())
    return np.array(likely), np.array(tied), np.array(best)


def test_the_best_model_is_in_the_tie_set_in_95_of_100_sweeps(close_models: tuple):
    _, tied, best = close_models
    assert tied[best].mean() >= 0.93


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.01)])
def test_models_said_to_be_the_best_with_some_probability_are_so_as_often(
    close_models: tuple, low: float, high: float
):
    likely, _, best = close_models
    among = (likely >= low) & (likely < high)
    error = math.sqrt(0.25 / among.sum())
    assert best[among].mean() == pytest.approx(likely[among].mean(), abs=max(2.5 * error, 0.03))


def test_equal_models_share_the_probability_to_be_the_best():
    found = compare(np.full((4, 3), 0.1), 360, None)
    assert found.p_best == pytest.approx(np.full(4, 0.25), abs=0.03)


# Each number by another way of working it out


def test_wilsons_interval_is_that_of_scipy_for_any_level() -> None:
    for wrong, n, level in ((0, 50, 0.95), (3, 50, 0.95), (25, 40, 0.8), (40, 40, 0.99)):
        ends = stats.binomtest(wrong, n).proportion_ci(level, "wilson")
        found = wilson(wrong / n, n, stats.norm.ppf((1 + level) / 2))
        assert found == pytest.approx((ends.low, ends.high))
    assert wilson(0.06, 50) == pytest.approx(
        tuple(stats.binomtest(3, 50).proportion_ci(0.95, "wilson"))
    )
    assert np.isnan(wilson(0.1, 0)).all()


def test_pooled_noise_is_the_error_of_a_one_way_analysis_of_variance() -> None:
    groups = [[1.0, 2.0, 4.5], [7.0, 7.5], [3.0], [0.0, np.nan, 2.0]]
    names = np.repeat(list("abcd"), [len(each) for each in groups])
    noise = pooled_noise(pd.Series(np.concatenate(groups)), pd.Series(names))
    assert noise is not None
    squares = [np.nanvar(each) * np.isfinite(each).sum() for each in groups]
    assert noise.freedom == 2 + 1 + 0 + 1
    assert noise.sd == pytest.approx(math.sqrt(sum(squares) / 4))
    assert noise.width == pytest.approx(stats.t.interval(0.95, 4)[1])


def test_students_quantile_is_at_satterthwaites_degrees_of_freedom() -> None:
    """Of an estimated variance with `freedom` and a known one, so with infinitely many."""
    for estimated, freedom, known in ((1e-4, 3.0, 2e-4), (5e-5, 1.0, 1e-6), (2e-4, 8.0, 0.0)):
        of_sum = (estimated + known) ** 2 / (estimated**2 / freedom)
        found = t_quantile(np.array([estimated]), freedom, np.array([known]))
        assert found == pytest.approx([stats.t.interval(0.95, of_sum)[1]])
    assert t_quantile(np.zeros(1), 2.0, np.ones(1)) == pytest.approx([1.959964], abs=1e-5)


def test_an_interval_is_wilsons_with_the_images_that_the_whole_variance_is_worth() -> None:
    """Its quantile is Student's, with the degrees of freedom of the whole variance."""
    errors = np.array([[0.20, 0.26, 0.23], [0.30, 0.31, 0.38], [0.25, 0.25, 0.24]])
    noise = run_noise(errors, 500)
    assert noise is not None
    assert not noise.less_stable.any()
    found = compare(errors, 500, None)
    of_runs, of_images = noise.total / 3, 1 / 500
    size = 1 / (of_runs + of_images)
    freedom = noise.freedom * ((of_runs + of_images) / of_runs) ** 2
    low, high = wilson(errors.mean(axis=1), size, stats.t.ppf(0.975, freedom))
    assert found.low == pytest.approx(low)
    assert found.high == pytest.approx(high)


def test_mistakes_that_a_run_makes_alone_are_a_variance_of_runs_that_is_known() -> None:
    images = ImageNoise("paired", 400, np.eye(2) * 1e-4, 0.6, 0.4, np.full(2, 1e-4))
    mean, runs = np.array([0.1, 0.2]), np.array([2, 4])
    low, high = error_intervals(mean, runs, images, None)
    for i in range(2):
        size = 1 / (0.6 / 400 + 0.4 / 400 / runs[i])
        assert (low[i], high[i]) == pytest.approx(wilson(mean[i], size), rel=1e-5)


def two_way(finished: np.ndarray, seed: float, residual: float) -> np.ndarray:
    """The covariance of means over the `finished` runs of additive models and seeds."""
    shares = finished / finished.sum(axis=1, keepdims=True)
    return seed * shares @ shares.T + residual * np.diag((shares**2).sum(axis=1))


def test_differences_of_means_have_the_variance_of_the_two_way_model_where_runs_are_missing() -> (
    None
):
    rng = np.random.default_rng(6)
    errors = 0.3 + 0.03 * rng.standard_normal(4) + 0.01 * rng.standard_normal((6, 4))
    errors[0, 1] = errors[2, 0] = errors[2, 3] = np.nan
    n_valid = 10**9
    noise, found = run_noise(errors, n_valid), compare(errors, n_valid, None)
    assert noise is not None
    assert noise.seed > 0
    mean = np.nanmean(errors, axis=1)
    scale = np.sqrt(mean * (1 - mean))
    whole = two_way(np.isfinite(errors), noise.seed, noise.residual)
    whole *= np.outer(scale, scale)
    # models differ in p(1 - p), so what a seed does to all of them cancels but for that
    for i, j in ((0, 1), (1, 2), (3, 4), (2, 5)):
        expected = whole[i, i] + whole[j, j] - 2 * whole[i, j]
        covariance = found.covariance
        variance = covariance[i, i] + covariance[j, j] - 2 * covariance[i, j]
        assert variance == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize(("error", "n_valid"), [(0.2, 10**9), (0.02, 250)])
def test_noise_with_missing_runs_is_that_of_least_squares_with_models_and_seeds_as_factors(
    error: float, n_valid: int
) -> None:
    """Where mistakes are few, a model counts as far as they show its spread."""
    rng = np.random.default_rng(7)
    errors = rng.standard_normal((7, 4)) + rng.standard_normal(4) + np.arange(7)[:, None]
    errors = error * (1 + errors / 10)
    errors[rng.random(errors.shape) < 0.2] = np.nan
    noise = run_noise(errors, n_valid)
    assert noise is not None
    assert not noise.less_stable.any()
    rows, columns = np.nonzero(np.isfinite(errors))
    p = np.nanmean(errors, axis=1)
    one_more = (p * n_valid + 1) / (n_valid + 2)
    scale = np.sqrt(one_more * (1 - one_more))
    shown = p * (1 - p) / scale**2
    z = (errors[rows, columns] - p[rows]) / scale[rows]
    models, seeds = np.eye(7)[rows], np.sqrt(shown)[rows, None] * np.eye(4)[columns]

    def squares(design: np.ndarray) -> float:
        fitted = np.linalg.lstsq(design, z, rcond=None)[0]
        return float(((z - design @ fitted) ** 2).sum())

    left, within = squares(np.hstack([models, seeds])), squares(models)
    of_runs = (shown * (np.isfinite(errors).sum(axis=1) - 1)).sum()
    freedom = of_runs - 3
    assert noise.residual_freedom == pytest.approx(freedom)
    assert noise.residual == pytest.approx(left / freedom)
    assert noise.total == pytest.approx(within / of_runs)
    assert noise.seed_freedom == 3
    per_seed = (within - left) / 3
    assert per_seed > noise.residual
    assert noise.seed == pytest.approx((per_seed - noise.residual) / (of_runs / 3))
    parts = ((3 * per_seed / of_runs) ** 2 / 3, (left / of_runs) ** 2 / freedom)
    assert noise.freedom == pytest.approx(noise.total**2 / sum(parts))


def test_the_least_stable_model_is_tested_first_however_few_its_runs() -> None:
    """One of more runs has more squares, but less variance than is clear."""
    calm = 0.3 + 0.01 * math.sqrt(0.75) * np.array([-1, 1, -1, 1])
    errors = np.tile(calm, (11, 1))
    errors[3] = 0.3 + math.sqrt(5) * (calm - 0.3)
    errors[7] = [0.3 - 0.01 * math.sqrt(7), 0.3 + 0.01 * math.sqrt(7), np.nan, np.nan]
    noise = run_noise(errors, 10**9)
    assert noise is not None
    assert noise.less_stable.tolist() == [number == 7 for number in range(11)]


def test_who_may_be_best_is_said_at_the_quantile_of_dunnetts_test() -> None:
    """One-sided, five models beside one: by the multivariate t distribution of scipy."""
    freedom, n = 12, 5
    joint = stats.multivariate_t(shape=0.5 * (np.eye(n - 1) + 1), df=freedom, seed=0)
    reach = np.quantile(joint.rvs(400_000).max(axis=1), 0.95)
    assert reach == pytest.approx(2.41, abs=0.02)  # Dunnett 1955, table 1a: 4 treatments
    se = math.sqrt(2 * 0.01**2)
    for share, tied in ((0.96, True), (1.04, False)):
        mean = np.array([0.1, 0.1, 0.1, 0.1, 0.1 + share * reach * se])
        found = may_be_best(mean, 0.01**2 * np.eye(n), freedom)
        assert found.tolist() == [True] * 4 + [tied]
        low, high = rank_intervals(mean, 0.01**2 * np.eye(n), freedom)
        assert low.tolist() == [1, 1, 1, 1, 1 if tied else 5]
        assert high.tolist()[4] == 5
        low, high = rank_intervals(0.5 - mean, 0.01**2 * np.eye(n), freedom)
        assert high.tolist() == [5, 5, 5, 5, 5 if tied else 1]
        assert low.tolist()[4] == 1


def test_models_that_may_be_best_are_among_those_looked_at_closer() -> None:
    mean, covariance = np.array([0.1, 0.2, 0.3]), 0.01**2 * np.eye(3)
    reach = stats.t.isf(0.05 / 4 / 2, 9) * math.sqrt(2) * 0.01
    mean[1:] = 0.1 + reach * np.array([0.999, 1.001])
    assert near_best(mean, covariance, 9).tolist() == [True, True, False]
    assert may_be_best(mean, covariance, 9).tolist() == [True, False, False]


def test_drawn_errors_are_multivariate_t() -> None:
    covariance = np.array([[4.0, 1.5, 0.0], [1.5, 1.0, -0.2], [0.0, -0.2, 9.0]])
    drawn = draw_errors(covariance, 8)
    assert np.cov(drawn.T) * 6 / 8 == pytest.approx(covariance, abs=0.35)
    for column, sd in zip(drawn.T, (2, 1, 3), strict=True):
        ends = np.quantile(column / sd, [0.025, 0.25, 0.75, 0.975])
        assert ends == pytest.approx(stats.t.ppf([0.025, 0.25, 0.75, 0.975], 8), abs=0.12)
    # one scale for all models: also what does not vary together is far off together
    squares = drawn[:, [0, 2]] ** 2
    assert stats.spearmanr(*squares.T).statistic > 0.05


def hierarchical(mean: np.ndarray, covariance: np.ndarray, n: int = 40_000) -> np.ndarray:
    """Draws [n, models] of truths, normal around a centre with a flat prior, of a width whose
    prior is flat from 0 to 3 times the means' spread: by conditioning of normal distributions.
    """
    rng = np.random.default_rng(9)
    flat = 1e3 * np.ones_like(covariance)
    widths = np.linspace(0, 3, 61) * mean.std(ddof=1)
    of_truths = [width**2 * np.eye(len(mean)) + flat for width in widths]
    density = [stats.multivariate_normal(cov=each + covariance) for each in of_truths]
    weight = np.array([each.pdf(mean - mean.mean()) for each in density])
    drawn = []
    for each, count in zip(of_truths, rng.multinomial(n, weight / weight.sum()), strict=True):
        gain = each @ np.linalg.inv(each + covariance)
        left = each - gain @ each
        root = np.linalg.cholesky((left + left.T) / 2 + 1e-12 * np.eye(len(mean)))
        drawn.append(gain @ mean + rng.standard_normal((count, len(mean))) @ root.T)
    return np.concatenate(drawn)


@pytest.mark.parametrize("shared", [0.0, 0.6])
def test_the_probability_to_be_the_best_is_that_of_the_hierarchical_model(shared: float) -> None:
    mean = np.array([0.0, 0.5, 0.7, 1.0])  # all near enough to the best
    spread = np.array([0.5, 0.4, 0.8, 0.5])
    covariance = np.outer(spread, spread) * (shared + (1 - shared) * np.eye(4))
    truths = hierarchical(mean, covariance)
    shares = np.bincount(truths.argmin(axis=1), minlength=4) / len(truths)
    assert shares[0] < 0.75
    assert likely_best(mean, covariance, 1e6) == pytest.approx(shares, abs=0.03)
    drawn = draw_truths(mean, covariance, 1e6)
    assert drawn.mean(axis=0) == pytest.approx(truths.mean(axis=0), abs=0.05)
    assert drawn.std(axis=0) == pytest.approx(truths.std(axis=0), rel=0.06)


def test_a_model_far_from_the_best_is_drawn_around_its_own_mean() -> None:
    mean, covariance = np.array([0.0, 0.1, 50.0]), 0.04 * np.eye(3)
    assert likely_best(mean, covariance, 10)[2] == 0
    far = draw_truths(mean, covariance, 10)[:, 2]
    assert far.mean() == pytest.approx(50, abs=0.02)
    assert np.quantile(far - 50, 0.975) == pytest.approx(0.2 * stats.t.ppf(0.975, 10), rel=0.08)


def test_gaps_between_strangers_are_those_of_a_t_test_of_two_samples() -> None:
    """Where p(1 - p) is alike, and images so many that they say all."""
    errors = np.array([[0.500, 0.504, 0.507, 0.501], [0.502, 0.505, 0.5095, 0.5]])
    found = gaps_without_common_seeds(errors, 10**10, None, 0)
    test = stats.ttest_ind(errors[1], errors[0])
    noise = run_noise(errors, 10**10)
    assert noise is not None
    half = stats.t.ppf(0.975, noise.freedom) * abs(np.diff(errors.mean(axis=1))[0] / test.statistic)
    assert found.gap == pytest.approx([0, errors[1].mean() - errors[0].mean()])
    narrower = min(half, np.hypot(*(found_half(errors, noise))))
    assert [found.low[1], found.high[1]] == pytest.approx(
        [found.gap[1] - narrower, found.gap[1] + narrower], abs=1e-6
    )
    assert found.covers == SEEDS_AND_IMAGES
    assert gaps_without_common_seeds(errors[:, :1], 400, None, 1).covers == IMAGES


def found_half(errors: np.ndarray, noise: RunNoise) -> np.ndarray:
    """Half the Student's intervals [models] of the means."""
    p = errors.mean(axis=1)
    sd = np.sqrt(noise.total * p * (1 - p) / errors.shape[1])
    return np.asarray(stats.t.ppf(0.975, noise.freedom) * sd)


def test_a_gap_without_noise_of_runs_is_the_narrower_of_walds_and_newcombes() -> None:
    wrong, n = np.array([30, 52]), 200
    errors = (wrong / n)[:, None]
    p = wrong / n
    one_more = (wrong + 1) / (n + 2)
    wald = 1.959964 * math.sqrt((one_more * (1 - one_more)).sum() / n)
    ends = [stats.binomtest(int(each), n).proportion_ci(0.95, "wilson") for each in wrong]
    below = math.hypot(p[1] - ends[1].low, ends[0].high - p[0])
    above = math.hypot(ends[1].high - p[1], p[0] - ends[0].low)
    gap = p[1] - p[0]
    assert below != pytest.approx(above, abs=1e-3)
    expected = [gap - min(wald, below), gap + min(wald, above)]
    paired_by_seed = compare(errors, n, None)
    assert [paired_by_seed.gap_low[1], paired_by_seed.gap_high[1]] == pytest.approx(
        expected, abs=1e-5
    )
    strangers = gaps_without_common_seeds(errors, n, None, 0)
    assert [strangers.low[1], strangers.high[1]] == pytest.approx(expected, abs=1e-5)


def test_the_freedom_is_satterthwaites_of_the_least_certain_difference_to_the_best() -> None:
    rng = np.random.default_rng(11)
    errors = 0.3 + 0.01 * rng.standard_normal(4) + 0.01 * rng.standard_normal((6, 4))
    errors[0] -= 0.02
    errors[2, :2] = errors[4, 3] = np.nan
    for n_valid in (400, 10**8):
        found, noise = compare(errors, n_valid, None), run_noise(errors, n_valid)
        assert noise is not None
        assert noise.seed > 0
        mean, finished = np.nanmean(errors, axis=1), np.isfinite(errors)
        one_more = (mean * n_valid + 1) / (n_valid + 2)
        scale = np.sqrt(one_more * (1 - one_more))
        best = int(mean.argmin())
        of_seeds = two_way(finished, noise.seed, 0)
        expected = []
        for i in set(range(6)) - {best}:
            weights = np.zeros(6)
            weights[[i, best]] = scale[i], -scale[best]
            # what all seeds together do to both cancels, but for a difference in scale
            shared = of_seeds - noise.seed / 4
            seeds = weights @ shared @ weights
            residual = noise.residual * (weights**2 / finished.sum(axis=1)).sum()
            whole = seeds + residual + (weights**2).sum() / n_valid
            parts = residual**2 / noise.residual_freedom + seeds**2 / noise.seed_freedom
            expected.append(whole**2 / parts)
        assert found.freedom == pytest.approx(min(expected), rel=1e-6)


@pytest.mark.parametrize("moved", [0.0, 0.03])
def test_gaps_on_the_same_images_count_mistakes_that_a_run_makes_alone_once(moved: float) -> None:
    """Of two studies: what runs add is the larger of their spread and of such mistakes."""
    rng = np.random.default_rng(12)
    hard = rng.random(500) < 0.3
    p = np.array([0.25, 0.3, 0.35])[:, None, None] * np.where(hard, 2.6, 0.1)
    wrong = (rng.random((3, 6, 500)) < p).astype(np.uint8)
    errors = wrong.mean(axis=2)
    errors[2] += 3 * [moved, -moved]  # and runs that move as a whole
    images, noise = paired(list(wrong), 1), run_noise(errors, 500)
    assert noise is not None
    found = gaps_without_common_seeds(errors, 500, images, 1)
    mean = errors.mean(axis=1)
    one_more = (mean * 500 + 1) / 502
    of_runs = variance_of_a_run(noise, 3)[0] * one_more * (1 - one_more) / 6
    alone = images.alone / 6
    added = np.maximum(of_runs, alone)
    low, high = error_intervals(mean, np.full(3, 6), images, noise)
    for i in (0, 2):
        contrast = images.covariance[i, i] + images.covariance[1, 1] - 2 * images.covariance[i, 1]
        lasting = contrast - alone[i] - alone[1]
        estimated = added[i] + added[1]
        freedom = noise.freedom * ((lasting + estimated) / estimated) ** 2
        half = stats.t.ppf(0.975, freedom) * math.sqrt(lasting + estimated)
        below = math.hypot(mean[i] - low[i], high[1] - mean[1])
        above = math.hypot(high[i] - mean[i], mean[1] - low[1])
        gap = mean[i] - mean[1]
        assert moved or half < 0.98 * min(below, above)
        ends = [gap - min(half, below), gap + min(half, above)]
        assert [found.low[i], found.high[i]] == pytest.approx(ends, abs=1e-6)
    together = compare(errors, 500, images)
    residual = noise.of_each(noise.residual) * one_more * (1 - one_more) / 6
    more = np.diag(images.covariance) + np.maximum(residual - alone, 0)
    assert np.diag(together.covariance) == pytest.approx(more)  # all seeds ran: they cancel


def test_a_gap_is_over_the_seeds_that_both_ran_and_the_narrower_of_two_intervals() -> None:
    rng = np.random.default_rng(10)
    errors = 0.2 + 0.02 * np.arange(5)[:, None] + 0.004 * rng.standard_normal((5, 4))
    errors[1, 0] = errors[2, 3] = errors[2, 2] = np.nan
    errors[3] = [0.20, 0.32, 0.33, 0.19]  # far less stable
    found, noise = compare(errors, 3000, None), run_noise(errors, 3000)
    assert noise is not None
    assert found.less_stable.tolist() == [False, False, False, True, False]
    assert found.n_common.tolist() == [0, 3, 2, 4, 4]
    mean = np.nanmean(errors, axis=1)
    one_more = (mean * 3000 + 1) / 3002
    scale = one_more * (1 - one_more)
    residual = noise.for_intervals(noise.residual, noise.residual_freedom)
    images = independent(mean, 3000)
    for i in (1, 2, 3, 4):
        gap = np.nanmean(errors[i] - errors[0])
        n = found.n_common[i]
        of_runs = (residual[i] * scale[i] + residual[0] * scale[0]) / n
        of_images = (scale[i] + scale[0]) / 3000
        freedom = noise.residual_freedom * ((of_runs + of_images) / of_runs) ** 2
        half = stats.t.ppf(0.975, freedom) * math.sqrt(of_runs + of_images)
        low, high = error_intervals(mean, np.full(5, n), images, noise)
        # the interval of the best one, over as many runs and with its own noise
        alike = error_intervals(np.full(5, mean[0]), np.full(5, n), images, noise.of_model(0))
        below = math.hypot(mean[i] - low[i], alike[1][i] - mean[0])
        above = math.hypot(high[i] - mean[i], mean[0] - alike[0][i])
        assert found.gap[i] == pytest.approx(gap)
        assert found.gap_low[i] == pytest.approx(gap - min(half, below), abs=1e-7)
        assert found.gap_high[i] == pytest.approx(gap + min(half, above), abs=1e-7)
    assert np.isnan([found.gap[0], found.gap_low[0], found.gap_high[0]]).all()


def test_a_gap_on_the_same_images_leaves_out_what_both_err_on() -> None:
    """One run each: McNemar's variance, of the images on which one of the two alone errs."""
    both, first, second, n = 40, 6, 15, 300
    wrong = np.zeros((2, 1, n), dtype=np.uint8)
    wrong[:, :, :both] = 1
    wrong[0, :, both : both + first] = 1
    wrong[1, :, both + first : both + first + second] = 1
    found = compare(wrong.mean(axis=2), n, paired(list(wrong), 1))
    gap = (second - first) / n
    variance = ((first + second) / n - gap**2) / (n - 1) + 2 / n**2
    assert found.gap[1] == pytest.approx(gap)
    assert found.gap_high[1] - gap == pytest.approx(1.959964 * math.sqrt(variance), rel=1e-4)
    assert found.gap_low[1] - gap == pytest.approx(-1.959964 * math.sqrt(variance), rel=1e-4)


def test_a_less_stable_model_is_judged_by_its_own_runs_and_one_degree_of_the_others() -> None:
    errors = 0.3 + 0.002 * np.random.default_rng(1).standard_normal((9, 3))
    errors[4] = [0.20, 0.30, 0.40]
    noise = run_noise(errors, 10**9)
    assert noise is not None
    assert noise.less_stable.tolist() == [number == 4 for number in range(9)]
    own = (noise.total + 2 * 0.1**2 / (0.3 * 0.7)) / 3
    assert noise.own[4] == pytest.approx(own)
    assert noise.own_freedom[4] == pytest.approx(3)
    of_run, freedom = variance_of_a_run(noise, 9)
    assert math.sqrt(of_run[4]) * stats.t.ppf(0.975, freedom) == pytest.approx(
        math.sqrt(own) * stats.t.ppf(0.975, 3)
    )
    assert np.delete(of_run, 4) == pytest.approx([noise.total] * 8)
    assert noise.of_model(4).less_stable.all()
    assert noise.of_model(4).of_each(noise.total) == pytest.approx([own] * 9)
    assert variance_of_a_run(None, 3)[0].tolist() == [0, 0, 0]


def test_a_mean_is_the_same_for_the_same_mistakes_and_over_finished_runs() -> None:
    assert mean_of(np.array([[0.1, np.nan, 0.3]])) == pytest.approx([0.2])
    assert mean_of(np.array([[0.1, 0.2, 0.3]])) == mean_of(np.array([[0.3, 0.2, 0.1]]))
    assert mean_of(np.array([[0.1, 0.1 + 1e-9]])) != mean_of(np.array([[0.1, 0.1]]))
