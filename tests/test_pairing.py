"""Models compared image by image: coverage and tie sets over synthetic sweeps, and what falls back.

An answer is wrong where a latent normal number is below the threshold of the model's error. It has
a part that the image gives every model, one of model and image, and one of the run and image.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from study_fakes import LITE, write_answers, write_imagenet, write_run, write_study

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.errors import PipelineError
from pipeline.records import Data, Record, pack_counts, pack_predictions
from pipeline.statistics.comparison import (
    IMAGES,
    SEEDS_AND_IMAGES,
    compare,
    error_intervals,
    run_noise,
)
from pipeline.statistics.validation_images import (
    INDEPENDENT,
    ImageNoise,
    after_one_more_run,
    binomial_sd,
    exact_share,
    independent,
    lifted,
    paired,
)

MODELS, IMAGES_HELD = 12, 360


def answers(
    rng: np.random.Generator,
    truth: np.ndarray,
    seeds: int,
    alike: float = 0.6,
    own: float = 0.1,
    phi: float = 0.5 / IMAGES_HELD,
    labels: int = 1,
    dependent: float = 0.0,
) -> np.ndarray:
    """Wrong answers [models, seeds, images] of models with these true errors.

    `alike` and `own` are the shares of the latent number that are the image's and the run's,
    `dependent` that which an image's labels have in common; `phi` moves whole runs.
    """
    shapes = ((1, 1, IMAGES_HELD), (len(truth), 1, IMAGES_HELD), (len(truth), seeds, IMAGES_HELD))
    shares = (alike, 1 - alike - own, own)
    moved = truth[:, None] + np.sqrt(phi * truth * (1 - truth))[:, None] * rng.standard_normal(
        (len(truth), seeds)
    )
    threshold = stats.norm.ppf(np.clip(moved, 1e-4, 0.99))[:, :, None]
    common = [math.sqrt(dependent) * rng.standard_normal(shape) for shape in shapes]
    wrong = np.zeros(shapes[2], dtype=np.uint8)
    for _ in range(labels):
        latent = sum(
            math.sqrt(share) * (base + math.sqrt(1 - dependent) * rng.standard_normal(base.shape))
            for share, base in zip(shares, common, strict=True)
        )
        wrong += latent < threshold
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "seeds"),
    [
        ({"alike": 0.9, "own": 0.02, "phi": 0.0}, 2),  # almost only images
        ({"alike": 0.5, "own": 0.3, "phi": 4 / IMAGES_HELD}, 3),  # runs matter more
        ({"labels": 6, "dependent": 0.5}, 2),
    ],
    ids=["images", "runs", "labels"],
)
def test_intervals_cover_the_true_error_in_93_to_97_of_100_sweeps(kind: dict, seeds: int):
    rng = np.random.default_rng(1)
    inside, narrower, sweeps = 0, 0.0, 1000
    for _ in range(sweeps):
        truth = np.exp(rng.uniform(math.log(0.02), math.log(0.4), MODELS))
        labels = kind.get("labels", 1)
        wrong = answers(rng, truth, seeds, **kind)
        errors = wrong.mean(axis=2) / labels
        mean, runs, noise = errors.mean(axis=1), np.full(MODELS, seeds), run_noise(errors, 360)
        low, high = error_intervals(mean, runs, paired(list(wrong), labels), noise)
        bound = error_intervals(mean, runs, independent(mean, IMAGES_HELD), noise)
        inside += int(((low <= truth) & (truth <= high)).sum())
        narrower += float((high - low).sum() / (bound[1] - bound[0]).sum()) / sweeps
    assert 0.93 <= inside / sweeps / MODELS <= 0.97
    assert narrower < (0.97 if kind.get("labels", 1) == 1 else 0.75)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [{}, {"labels": 6, "dependent": 0.5}], ids=["single", "multi"])
def test_tie_sets_are_smaller_and_hold_the_best_in_95_of_100_sweeps(kind: dict):
    rng = np.random.default_rng(2)
    kept, sizes, likely, sweeps = 0, np.zeros(2), np.zeros(2), 120
    for _ in range(sweeps):
        truth = np.clip(0.1 + rng.choice([0.003, 0.01, 0.03]) * rng.standard_normal(8), 0.01, 1)
        labels = kind.get("labels", 1)
        wrong = answers(rng, truth, 3, **kind)
        errors, best = wrong.mean(axis=2) / labels, int(truth.argmin())
        both = [compare(errors, IMAGES_HELD, each) for each in (paired(list(wrong), labels), None)]
        kept += int(both[0].tied[best])
        sizes += [found.tied.sum() for found in both]
        likely += [found.p_best[best] for found in both]
    assert kept / sweeps >= 0.95
    assert sizes[0] < 0.9 * sizes[1]
    assert likely[0] > likely[1]


@pytest.mark.slow
def test_of_equal_models_each_is_in_the_tie_set_in_95_of_100_sweeps():
    """The hardest case there is; 250 sweeps of eight models, and room for their own noise."""
    rng = np.random.default_rng(3)
    kept = 0
    for _ in range(250):
        wrong = answers(rng, np.full(8, 0.05), 2)
        kept += int(compare(wrong.mean(axis=2), IMAGES_HELD, paired(list(wrong), 1)).tied.sum())
    assert kept / 250 / 8 >= 0.935


def test_the_variance_of_a_difference_is_that_of_the_differences_image_by_image():
    rng = np.random.default_rng(4)
    wrong = answers(rng, np.array([0.1, 0.2, 0.15]), 3)
    found = paired(list(wrong), 1).covariance
    difference = wrong[0].mean(axis=0) - wrong[1].mean(axis=0)
    expected = difference.var(ddof=1) / IMAGES_HELD + 2 / IMAGES_HELD**2
    assert found[0, 0] + found[1, 1] - 2 * found[0, 1] == pytest.approx(expected, rel=1e-5)


def test_what_a_run_alone_gets_wrong_is_told_from_what_all_runs_get_wrong():
    rng = np.random.default_rng(5)
    always = paired(list(np.repeat(answers(rng, np.full(4, 0.2), 1), 3, axis=1)), 1)
    assert (always.share, always.own) == pytest.approx((1, 0), abs=0.01)
    never = paired(list(answers(rng, np.full(4, 0.2), 3, alike=0, own=1, phi=0)), 1)
    assert (never.share, never.own) == pytest.approx((0, 1), abs=0.05)


def test_models_that_answer_all_alike_cannot_be_told_apart():
    wrong = np.zeros((3, 2, 100), dtype=np.uint8)
    wrong[:, :, :10] = 1
    wrong[2, :, 10] = 1
    found = compare(wrong.mean(axis=2), 100, paired(list(wrong), 1))
    assert found.tied.all()
    assert found.p_best[:2] == pytest.approx([0.4, 0.4], abs=0.1)


def test_no_mistake_at_all_still_leaves_an_interval():
    wrong = np.zeros((2, 2, 100), dtype=np.uint8)
    found = compare(wrong.mean(axis=2), 100, paired(list(wrong), 1))
    assert found.high.tolist() == pytest.approx(
        [stats.binomtest(0, 100).proportion_ci(0.95, "wilson").high] * 2, abs=1e-3
    )


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Three models and two seeds on 400 images: lite1 errs where lite0 does, and on 14 more."""
    write_study(tmp_path)
    write_imagenet(tmp_path / "imagenet.csv")
    for model, last in zip(LITE, (40, 54, 160), strict=True):
        for seed in (0, 1):
            wrong = (np.arange(400) < last + seed).astype(np.uint8)
            write_answers(tmp_path / "runs", model, seed, wrong)
    return tmp_path


def board(folder: Path) -> pd.DataFrame:
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    aggregate.main(*(folder / name for name in names))
    return pd.read_csv(folder / "results/leaderboard.csv").set_index("model")


def test_a_model_that_never_errs_less_is_told_apart_by_the_images(study: Path):
    table = board(study)
    assert set(table["images"]) == {"paired"}
    assert table["tied"].to_dict() == {LITE[0]: True, LITE[1]: False, LITE[2]: False}
    assert table.loc[LITE[1], "gap_low"] > 0


def test_one_record_without_answers_leaves_its_group_unpaired(study: Path):
    wrong = (np.arange(400) < 161).astype(np.uint8)
    write_answers(study / "runs", LITE[2], 1, wrong, valid_wrong=None)
    table = board(study)
    assert set(table["images"]) == {"independent"}
    assert table["tied"].to_dict() == {LITE[0]: True, LITE[1]: True, LITE[2]: False}


def test_models_that_ran_once_are_not_paired(study: Path):
    """Nothing shows how runs vary; the surplus of the bound makes up for a part of it."""
    write_study(study, seeds=[0])
    table = board(study)
    assert set(table["images"]) == {"independent"}
    assert set(table["interval_covers"]) == {IMAGES}


def test_the_answers_of_every_run_that_has_them_are_kept_beside_the_tables(study: Path):
    assert set(board(study)["interval_covers"]) == {SEEDS_AND_IMAGES}
    kept = pd.read_csv(study / "results/valid_wrong.csv")
    assert len(kept) == 6
    assert kept.loc[0, "valid_wrong"] == pack_counts(np.arange(400) < 40)
    assert set(kept["labels"]) == {1}


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"valid_wrong": pack_counts(np.zeros(399))}, "has 399 images, but data.n_valid is 400"),
        ({"valid_wrong": pack_counts(np.zeros(400))}, "gives an error rate of 0.00000, metrics"),
        ({"valid_wrong": "not packed"}, "valid_wrong: .*delete it to run again"),
        ({"valid_predictions": "not packed"}, "valid_predictions: .*delete it to run again"),
        (
            {"valid_predictions": pack_predictions(np.zeros((399, 3), dtype=np.uint8))},
            "valid_predictions: 1197 bytes, not 400 images x 3",
        ),
    ],
)
def test_answers_that_contradict_their_record_are_one_line(study: Path, changes: dict, line: str):
    wrong = (np.arange(400) < 40).astype(np.uint8)
    path = write_answers(study / "runs", LITE[0], 0, wrong, **changes)
    with pytest.raises(PipelineError, match=line) as error:
        board(study)
    assert str(path) in str(error.value)


def test_records_of_different_numbers_of_validation_images_are_one_line(study: Path):
    data = {"fingerprint": "print", "kind": "single", "n_valid": 399}
    write_run(study / "runs", LITE[0], 0, 0.1, data=data)
    with pytest.raises(PipelineError, match="digits has different numbers of validation images"):
        board(study)


def test_labels_that_are_wrong_together_count_as_one():
    """However few the mistakes: the same ones as one label, and as 17 that are always alike."""
    wrong = [np.zeros((3, 200), np.uint8) for _ in range(6)]
    for number, each in enumerate(wrong):
        each[:, number : number + 1 + number % 2] = 1
    one, many = paired(wrong, 1), paired([17 * each for each in wrong], 17)
    assert many.share == pytest.approx(one.share)


def test_one_image_tells_no_variance():
    found = paired([np.array([[0]]), np.array([[1]])], 1)
    assert found.kind == INDEPENDENT
    assert np.isfinite(found.covariance).all()


def test_a_mistake_or_two_in_all_runs_leave_no_interval_that_says_nothing():
    rng, highest = np.random.default_rng(0), []
    for _ in range(40):
        wrong = (rng.random((3, 2, 360)) < 0.001).astype(np.uint8)
        found = compare(wrong.mean(axis=2), 360, paired(list(wrong), 1))
        highest.append(found.high.max())
    assert np.median(highest) < 0.02
    assert max(highest) < 0.05


def interaction(shares: np.ndarray) -> float:
    """The mean square that is left of shares [runs, images] with both as factors."""
    runs, images = shares.shape
    of_run, of_image = (each.ravel() for each in np.indices(shares.shape))
    design = np.hstack([np.eye(runs)[of_run], np.eye(images)[of_image]])
    fitted = design @ np.linalg.lstsq(design, shares.ravel(), rcond=None)[0]
    return float(((shares.ravel() - fitted) ** 2).sum() / ((runs - 1) * (images - 1)))


@pytest.mark.parametrize("labels", [1, 4])
def test_the_parts_of_a_variance_over_images_are_those_of_an_analysis_of_variance(labels: int):
    rng = np.random.default_rng(8)
    wrong = [
        rng.binomial(labels, rng.choice([0.05, 0.5], p=[0.8, 0.2], size=60), size=(runs, 60))
        for runs in (3, 1, 2)
    ]
    found = paired(wrong, labels)
    shares = [each / labels for each in wrong]
    p = np.array([each.mean() for each in shares])
    one_more = (p * 60 + 1) / 62
    scale = one_more * (1 - one_more)
    weight = np.array([2, 0, 1])  # repeats
    alone = np.array([interaction(each) if len(each) > 1 else 0 for each in shares])
    own = (weight * alone / scale).sum() / (weight * p * (1 - p) / scale).sum()
    assert found.own == pytest.approx(own, rel=1e-4)
    of_runs = np.array([each.var(axis=1, ddof=1).mean() for each in shares])
    whole = (of_runs / scale).sum() / (p * (1 - p) / scale).sum()
    assert found.share == pytest.approx(max(min(whole, 1) - own, 0), rel=1e-4)
    assert found.alone == pytest.approx(own * scale / 60, rel=1e-4)
    of_images = np.array([each.mean(axis=0) for each in shares])
    expected = np.cov(of_images) / 60 + np.eye(3) / (60 * labels) ** 2
    assert found.covariance == pytest.approx(expected, rel=1e-4)
    some = found.of(np.array([2, 0]))
    assert some.covariance == pytest.approx(expected[[2, 0]][:, [2, 0]], rel=1e-4)
    assert some.alone == pytest.approx(found.alone[[2, 0]])


def test_without_answers_each_model_has_the_variance_of_a_binomial_with_one_of_each_more():
    found = independent(np.array([0.0, 0.2]), 98)
    p = np.array([1 / 100, 20.6 / 100])
    assert found.covariance == pytest.approx(np.diag(p * (1 - p) / 98))
    assert binomial_sd(np.array([0.2]), 98) == pytest.approx(stats.bernoulli(0.206).std())
    assert (found.share, found.own, found.alone.tolist()) == (1, 0, [0, 0])


def test_one_more_run_takes_away_its_share_of_the_mistakes_made_alone():
    shared, alone = np.array([[5.0, 2.0], [2.0, 4.0]]), np.array([1.0, 3.0])
    runs, again = np.array([2, 3]), np.array([True, False])
    now = ImageNoise("paired", 400, shared + np.diag(alone / runs), 0.5, 0.5, alone)
    later = after_one_more_run(now, runs, again, 400)
    assert later.covariance == pytest.approx(shared + np.diag(alone / np.array([3, 3])))
    more_images = after_one_more_run(now, runs, again, 1600)
    assert more_images.covariance == pytest.approx(later.covariance / 4)
    assert more_images.alone == pytest.approx(alone / 4)
    assert more_images.n_valid == 1600


def test_a_matrix_is_lifted_to_its_least_eigenvalue_and_else_kept():
    matrix = np.array([[2.0, 1.9], [1.9, 2.0]])  # eigenvalues 0.1 and 3.9
    assert lifted(matrix, 0.1 - 1e-9) is matrix
    higher = lifted(matrix, 1.0)
    assert np.linalg.eigvalsh(higher) == pytest.approx([1.0, 3.9])
    assert higher @ [1, 1] == pytest.approx([3.9, 3.9])


def test_an_error_of_single_precision_is_the_share_of_whole_answers_that_it_rounds() -> None:
    single = Record("ok", "d", "net", "r", 0, data=Data(kind="single", n_classes=10))
    assert exact_share(float(np.float32(1 / 3)), 360, single) == 120 / 360
    assert exact_share(0.3334, 360, single) == 0.3334  # of no whole number of mistakes
    assert exact_share(0.25, None, single) == 0.25
    assert exact_share(None, 360, single) is None
    tags = Record("ok", "d", "net", "r", 0, data=Data(kind="multi", n_classes=7))
    assert exact_share(float(np.float32(11 / 210)), 30, tags) == 11 / 210
