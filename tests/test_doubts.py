"""What speaks against a finished fit: each rule fires where it must, and not where it must not."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

from pipeline.records import Data, Metrics, Record, pack_counts, read_record
from pipeline.statistics.doubts import (
    EpochNoise,
    doubts,
    doubts_column,
    models_by_doubt,
    near_chance,
    noise_of,
    split_doubts,
)
from pipeline.study.params import Cell

GOOD = (0.30, 0.20, 0.17, 0.16)
DATA = Data(kind="single", image_size=64, n_classes=10, n_train=1400, n_valid=360)


def record(errors: tuple[Any, ...] = GOOD, losses: tuple[Any, ...] = (), **changes: Any) -> Record:
    """A finished run with this error after each epoch; the training loss falls unless given."""
    losses = losses or tuple(1 / (1 + epoch) for epoch in range(len(errors)))
    history = [
        {"epoch": epoch + 1, "error_rate": error, "train_loss": loss}
        for epoch, (error, loss) in enumerate(zip(errors, losses, strict=True))
    ]
    fields: dict[str, Any] = {"history": history, "data": DATA, "fit": {"steps": 200}, **changes}
    return Record("ok", "d", "net", "r", 0, metrics=Metrics(error_rate=errors[-1]), **fields)


def frozen(epochs: int) -> dict[str, Any]:
    return {"recipe": {"frozen_epochs": epochs}}


def test_an_error_hardly_below_that_of_a_constant_guess_is_near_chance() -> None:
    pets = Data(chance_error_rate=0.973, median_side=333)
    said = near_chance(0.89, pets, 96)
    assert said == (
        "its error is near chance: a constant guess has 97.30 %; larger images may help: these "
        "were shrunk from 333 to 96 pixels"
    )
    assert near_chance(0.89, pets, 224) == said.partition(";")[0]
    assert near_chance(0.7, pets, 96) is None
    assert near_chance(None, pets, 96) is None
    assert near_chance(0.89, Data(), 96) is None


def test_a_fit_that_levels_off_raises_no_doubt() -> None:
    assert doubts([record(), record()]) == []


def test_a_steep_fall_in_the_last_epoch_is_an_unfinished_fit() -> None:
    assert doubts([record((0.9, 0.6, 0.3)), record((0.9, 0.7, 0.5)), record()]) == [
        "the error was still falling in the last epoch, from 65.00 % to 40.00 % (2 of 3 runs)"
    ]


@pytest.mark.parametrize(
    ("errors", "why"),
    [
        ((0.30, 0.20, 0.16), "an annealed fit falls until its end"),
        ((0.04, 0.02, 0.014), "two images of 360 are noise"),
        ((0.20, 0.16, 0.40, 0.15), "the fall is from a single bad epoch"),
        ((0.16,), "one epoch shows no fall"),
        ((0.6, None, 0.3), "an epoch says nothing"),
    ],
)
def test_no_other_fall_is_one(errors: tuple[Any, ...], why: str) -> None:
    assert doubts([record(errors)]) == [], why


def test_the_error_of_an_unknown_number_of_images_has_no_known_noise() -> None:
    assert doubts([record((0.9, 0.6, 0.3), data=replace(DATA, n_valid=None))]) == []


def test_runs_that_err_on_the_same_images_have_less_noise() -> None:
    """A fall of 10 images of 360 is noise in a binomial, but not where the answers agree."""
    errors = (0.2, 0.0778, 0.05)
    wrong = np.zeros(360, dtype=np.int64)
    wrong[:18] = 1
    alike = record(errors, valid_wrong=pack_counts(wrong))
    other = record(errors, valid_wrong=pack_counts(np.roll(wrong, 1)))
    assert doubts([record(errors), record(errors)]) == []
    assert doubts([alike]) == []  # nothing to compare it with
    assert "2 of 2 runs" in doubts([alike, other])[0]
    assert noise_of([alike, other]).own < 0.1 < noise_of([record(), record()]).own
    assert noise_of([alike, alike]).exceeded(0.05, 0.05) is False


@pytest.mark.parametrize(("own", "lower"), [(1.0, 0.1), (0.2, 0.1), (0.2, 0.0), (0.0, 0.3)])
def test_a_difference_is_more_than_noise_from_two_standard_deviations_on(
    own: float, lower: float
) -> None:
    """Of two binomials with one mistake and one hit more, as far as they do not cancel."""

    def beyond(gap: float) -> float:
        p = (np.array([lower, lower + gap]) * 360 + 1) / 362
        return float(gap - 2 * np.sqrt(own * (p * (1 - p)).sum() / 360 + 1 / 360**2))

    gap = brentq(beyond, 0, 0.5)
    noise = EpochNoise(360, own)
    assert not noise.exceeded(lower + 0.999 * gap, lower)
    assert noise.exceeded(lower + 1.001 * gap, lower)
    assert not EpochNoise(None, own).exceeded(1.0, 0.0)


def test_a_fit_is_unfinished_if_its_last_epoch_takes_a_quarter_of_the_lowest_error() -> None:
    for last, fires in ((0.3001, False), (0.2999, True)):
        assert bool(doubts([record((0.4, 0.6, last))])) == fires


def test_an_error_that_rose_at_unfreezing_and_stayed_is_a_doubt() -> None:
    assert doubts([record((0.20, 0.40, 0.30, 0.25), config=frozen(1))]) == [
        "the error rose at unfreezing, from 20.00 % to 40.00 %, and never came back below "
        "(1 of 1 run)"
    ]


@pytest.mark.parametrize(
    ("errors", "epochs", "why"),
    [
        ((0.20, 0.40, 0.19, 0.18), 1, "it came back below"),
        ((0.20, 0.21, 0.21, 0.20), 1, "it rose by no more than its noise"),
        ((0.20, 0.40, 0.40, 0.30), 0, "nothing was frozen"),
        ((0.20, 0.40), 2, "nothing was unfrozen"),
    ],
)
def test_no_other_rise_is_one(errors: tuple[Any, ...], epochs: int, why: str) -> None:
    assert doubts([record(errors, config=frozen(epochs))]) == [], why


def test_a_training_loss_that_never_fell_is_a_doubt() -> None:
    flat = record(losses=(2.3, 2.3, 2.31, 2.3))
    assert doubts([flat, record()]) == ["the training loss never fell (1 of 2 runs)"]
    assert doubts([record(losses=(2.3, 2.4, 2.2, 2.5))]) == []
    assert doubts([record((0.2,), losses=(2.3,))]) == []


@pytest.mark.parametrize(
    ("errors", "head_start", "fires"),
    [
        ((0.04, 0.04, 0.04, 0.0), "probe", False),  # augmentation raised the loss, then it fell
        ((0.75, 0.75, 0.75, 0.74), "probe", True),  # no better than a constant guess
        ((0.6, 0.6, 0.6, 0.6), "probe", True),  # better, but by less than the noise of 24 images
        ((0.04, 0.04, 0.04, 0.0), "random", True),
        ((0.04, 0.04, 0.04, 0.0), None, True),  # an older record
    ],
)
def test_a_fit_that_starts_from_a_probe_has_learned_if_it_beats_chance(
    errors: tuple[float, ...], head_start: str | None, fires: bool
) -> None:
    run = record(
        errors,
        losses=(0.006, 0.11, 0.08, 0.02),
        data=replace(DATA, n_valid=24, chance_error_rate=0.75),
        config={"recipe": {"head_start": head_start}},
    )
    assert doubts([run]) == (["the training loss never fell (1 of 1 run)"] if fires else [])


def test_few_steps_are_a_doubt() -> None:
    assert doubts([record(fit={"steps": 54})]) == [
        "only 54 steps were taken, fewer than 100 (1 of 1 run)"
    ]
    assert doubts([record(fit={"steps": 100})]) == doubts([record(fit={})]) == []


def test_images_that_lost_most_of_their_pixels_are_a_doubt() -> None:
    assert doubts([record(data=replace(DATA, median_side=400))] * 2) == [
        "images were shrunk from 400 to 64 pixels (median shorter side) (2 of 2 runs)"
    ]
    for side in (256, 8, None):
        assert doubts([record(data=replace(DATA, median_side=side))]) == []


def test_a_class_with_hardly_any_validation_image_is_a_doubt() -> None:
    assert doubts([record(data=replace(DATA, n_valid_rarest=2))]) == [
        "fewest validation images of a class: 2 (1 of 1 run)"
    ]
    for least in (5, None):
        assert doubts([record(data=replace(DATA, n_valid_rarest=least))]) == []


def test_pictures_that_were_learned_from_are_a_doubt_about_the_error_of_a_part() -> None:
    alike = [
        ["train: a.png", "valid: b.png", "valid: c.png"],
        ["test: d.png", "valid: e.png"],
        ["test: f.png", "train: g.png", "train: h.png"],
    ]
    run = record(data=replace(DATA, fingerprint="now"))
    meta = {"fingerprint": "now", "n_valid": 360, "n_test": 52, "duplicates_across_parts": alike}
    assert doubts([run], meta) == [
        "2 of 360 validation images are also training images",
        "2 of 52 test images are also training or validation images",
    ]
    assert doubts([run], {**meta, "duplicates_across_parts": alike[1:2]}) == [
        "1 of 52 test images is also a training or validation image"
    ]
    assert doubts([run], {**meta, "duplicates_across_parts": []}) == []
    assert doubts([run], {**meta, "fingerprint": "before"}) == doubts([run]) == []
    assert doubts_column({Cell("d", "net", "r", 0): run}, {"d": meta}).iloc[0].count(";") == 1


def test_a_doubt_in_all_runs_is_one_however_many_the_runs() -> None:
    sentences = {
        "a": ["only 9 steps (2 of 2 runs)", "never fell (1 of 2 runs)"],
        "b": ["only 9 steps (3 of 3 runs)"],
        "c": ["never fell (1 of 2 runs)"],
        "d": ["never fell (2 of 3 runs)"],
        "e": ["rare class (1 of 1 run)"],
    }
    assert models_by_doubt(sentences) == {
        "only 9 steps (all runs)": ["a", "b"],
        "never fell (1 of 2 runs)": ["a", "c"],
        "never fell (2 of 3 runs)": ["d"],
        "rare class (1 of 1 run)": ["e"],
    }


def test_runs_that_did_not_finish_do_not_count() -> None:
    failed = replace(record((0.9, 0.3)), status="failed", metrics=Metrics())
    assert doubts([failed]) == []
    assert doubts([]) == []
    assert doubts([failed, record(fit={"steps": 9})])[0].endswith("(1 of 1 run)")


def test_the_column_holds_the_sentences_of_the_models_that_have_any() -> None:
    short = {"fit": {"steps": 9}}
    column = doubts_column(
        {
            Cell("d", "good", "r", 0): record(),
            Cell("d", "short", "r", 0): record((0.9, 0.3), **short),
            Cell("d", "short", "r", 1): record((0.9, 0.4), **short),
        },
        {},
    )
    assert list(column.index) == [("d", "r", "short")]
    assert [text[-13:] for text in split_doubts(column.iloc[0])] == ["(2 of 2 runs)"] * 2
    assert split_doubts(np.nan) == split_doubts(None) == []
    assert doubts_column({}, {}).empty
    assert isinstance(doubts_column({}, {}).index, pd.MultiIndex)


def test_curves_of_a_real_gpu_fire_where_the_fit_was_too_short(shared: Path) -> None:
    """The eight that more than halved their error in the last epoch, no other."""
    paths = sorted((shared / "gpu/records").glob("*.json"))
    if not paths:
        pytest.skip(f"no records in {shared / 'gpu/records'}")
    runs: dict[str, list[Record]] = {}
    for path in paths:
        runs.setdefault(read_record(path).model.partition(".")[0], []).append(read_record(path))
    assert {model: len(doubts(of_model)) for model, of_model in runs.items()} == {
        "convnext_tiny": 0,
        "resnet18": 1,
        "tf_efficientnet_lite0": 0,
        "vit_small_patch16_224": 1,
    }
