"""Frozen features and the heads on them: timm's own features, L2 chosen without the validation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from sklearn.linear_model import LogisticRegression
from tiny_runs import run_on, write_squares

from pipeline.finetune.callbacks import Diverged
from pipeline.finetune.frozen import features_of, frozen_features, knn_logits, linear_probe

RNG = np.random.default_rng(0)
CLASSES, WIDTH, TRAIN = 3, 8, np.arange(120)


@pytest.fixture(scope="module")
def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds of three classes: features float32 [180, 8], labels int64 [180]."""
    labels = RNG.integers(CLASSES, size=180)
    centres = RNG.normal(size=(CLASSES, WIDTH))
    return (centres[labels] + RNG.normal(size=(180, WIDTH))).astype(np.float32), labels


def test_features_are_what_timms_own_classifier_gets(tmp_path: Path) -> None:
    run = run_on(write_squares(tmp_path / "squares", 16, 8))
    features, seconds = frozen_features(run)
    model = timm.create_model(
        run.model, pretrained=True, pretrained_cfg_overlay=run.weights.overlay
    ).eval()
    config = model.pretrained_cfg
    mean, std = (torch.tensor(config[key]).view(3, 1, 1) for key in ("mean", "std"))
    images = torch.from_numpy(run.data.array(run.image_size).copy()) / 255
    with torch.inference_mode():
        logits = model((images - mean) / std)
        from_features = model.get_classifier()(torch.from_numpy(features))
    assert features.dtype == np.float32
    assert len(features) == len(run.data.files)
    assert torch.allclose(logits, from_features, atol=1e-4)
    assert seconds > 0
    assert np.array_equal(features, frozen_features(run)[0])


def test_features_that_are_not_finite_or_no_vectors_are_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 2))
    torch.nn.init.constant_(model[1].weight, float("nan"))
    with pytest.raises(Diverged, match="features of the frozen net are not finite"):
        features_of(model, np.zeros((4, 3, 2, 2), np.uint8), [0.5] * 3, [0.5] * 3)
    with pytest.raises(ValueError, match="expected one vector per image"):
        features_of(
            torch.nn.Conv2d(3, 2, 1), np.zeros((4, 3, 2, 2), np.uint8), [0.5] * 3, [0.5] * 3
        )


@pytest.mark.parametrize("n_train", [120, 30])
def test_a_linear_probe_is_sklearns_logistic_regression(blobs: Any, n_train: int) -> None:
    """With 30 images there are fewer of them than the 58 features, half of them constant."""
    features, labels = blobs
    noise = RNG.normal(size=(len(features), 25))
    features = np.hstack([features, noise, 0 * noise]).astype(np.float32)
    train = np.arange(n_train)
    probe = linear_probe(features, labels, "single", train, CLASSES)
    scaled = (features - features[train].mean(axis=0)) / features[train].std(axis=0).mean()
    expected = LogisticRegression(C=1 / (probe.l2 * n_train), tol=1e-8, max_iter=1000)
    expected.fit(scaled[train], labels[train])
    ours = torch.from_numpy(probe.logits(features)).softmax(dim=1)
    assert np.allclose(ours, expected.predict_proba(scaled), atol=2e-3)


def test_several_tags_are_one_probe_each_of_one_strength(blobs: Any) -> None:
    features, labels = blobs
    tags = np.stack([labels == 0, labels != 1], axis=1).astype(np.float32)
    probe = linear_probe(features, tags, "multi", TRAIN, 2)
    train = features[TRAIN]
    scaled = (features - train.mean(axis=0)) / train.std(axis=0).mean()
    for tag in range(2):
        expected = LogisticRegression(C=1 / (probe.l2 * len(TRAIN)), tol=1e-8, max_iter=1000)
        expected.fit(scaled[TRAIN], tags[TRAIN, tag])
        ours = torch.from_numpy(probe.logits(features)).sigmoid()[:, tag]
        assert np.allclose(ours, expected.predict_proba(scaled)[:, 1], atol=2e-3)


def test_the_probe_knows_nothing_of_the_validation_part(blobs: Any) -> None:
    features, labels = blobs
    changed, other = features.copy(), labels.copy()
    changed[len(TRAIN) :], other[len(TRAIN) :] = 1e3, 0
    first = linear_probe(features, labels, "single", TRAIN, CLASSES)
    second = linear_probe(changed, other, "single", TRAIN, CLASSES)
    assert first.l2 == second.l2
    assert np.array_equal(first.weight, second.weight)
    assert np.array_equal(first.bias, second.bias)


def test_features_that_say_nothing_get_a_strong_penalty_and_the_shares_of_the_classes() -> None:
    noise = RNG.normal(size=(120, 40)).astype(np.float32)
    labels = RNG.choice(2, p=[0.8, 0.2], size=120)
    probe = linear_probe(noise, labels, "single", TRAIN, 2)
    assert probe.l2 == max(probe.cv_loss)
    shares = torch.from_numpy(probe.logits(noise[TRAIN])).softmax(dim=1).mean(dim=0)
    assert shares[1] == pytest.approx(labels.mean(), abs=0.02)


def test_a_class_of_one_image_and_constant_features_are_no_error() -> None:
    features = np.ones((6, 4), np.float32)
    probe = linear_probe(features, np.array([0, 0, 0, 0, 0, 1]), "single", np.arange(6), 2)
    assert np.isfinite(probe.logits(features)).all()


def test_the_nearest_neighbour_decides_where_all_classes_vote(blobs: Any) -> None:
    features, labels = blobs
    rows = np.arange(len(TRAIN), len(labels))
    logits = knn_logits(features, labels, "single", TRAIN, rows)
    assert logits.shape == (len(rows), CLASSES)
    itself = knn_logits(features, labels, "single", TRAIN, TRAIN[:1])
    assert itself.argmax() == labels[0]
    assert (logits.argmax(axis=1) == labels[rows]).mean() > 0.6


def test_neighbours_of_many_images_vote_as_those_of_few(blobs: Any) -> None:
    features, labels = blobs
    rows = np.tile(np.arange(len(TRAIN), len(labels)), 5)
    many = knn_logits(features, labels, "single", TRAIN, rows)
    few = [knn_logits(features, labels, "single", TRAIN, rows[i : i + 7]) for i in (0, 60, 64, 120)]
    for start, block in zip((0, 60, 64, 120), few, strict=True):
        np.testing.assert_allclose(many[start : start + 7], block, rtol=1e-5)


def test_neighbours_that_carry_a_tag_make_it_likely(blobs: Any) -> None:
    features, labels = blobs
    tags = np.stack([labels == 0, labels >= 0], axis=1).astype(np.float32)
    logits = knn_logits(features, tags, "multi", TRAIN, np.arange(len(TRAIN), len(labels)))
    assert (logits[:, 1] > 0).all()
    assert ((logits[:, 0] > 0) == tags[len(TRAIN) :, 0].astype(bool)).mean() > 0.7
