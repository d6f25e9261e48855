"""The comparison of a group's models: coverage and calibration over synthetic sweeps."""

import math

import numpy as np
import pytest
from scipy import stats

from pipeline.statistics.comparison import (
    IMAGES,
    SEEDS_AND_IMAGES,
    compare,
    error_intervals,
    run_noise,
)
from pipeline.statistics.validation_images import independent

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
