"""Whole batches come in fastai's order, in parts where asked, and through pinned memory on CUDA."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_runs import CPU, OFF, RECIPE, SIZE, run_on, write_squares
from torch.overrides import TorchFunctionMode

from pipeline.dataset.prepared import Prepared, open_prepared
from pipeline.finetune import loading, training
from pipeline.finetune.speed import Speed


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("data") / "squares"
    return open_prepared(write_squares(folder, n_train=59, n_valid=21))


def train_batches(data: Prepared, speed: Speed, parts: int = 1) -> list[torch.Tensor]:
    training.seed_everything(0)
    train = loading.loaders(data, RECIPE, SIZE, CPU, speed, parts).train
    batches = [images.as_subclass(torch.Tensor) for images, _labels in train]
    assert len(batches) == len(train)
    return batches


def test_whole_reads_give_the_batches_of_reads_one_by_one(squares: Prepared) -> None:
    one_by_one, whole = train_batches(squares, OFF), train_batches(squares, Speed())
    assert len(whole) == 3  # of 16: the last 11 images are dropped, as fastai does
    assert all(torch.equal(a, b) for a, b in zip(one_by_one, whole, strict=True))


def test_parts_of_a_batch_hold_its_images_in_its_order(squares: Prepared) -> None:
    """Eleven images are left, enough for two batches of four: they are dropped all the same."""
    whole, parts = train_batches(squares, Speed()), train_batches(squares, Speed(), parts=4)
    assert [len(part) for part in parts] == [4] * 12
    assert torch.equal(torch.cat(parts), torch.cat(whole))


def test_every_image_of_the_other_parts_is_seen_once_in_index_order(squares: Prepared) -> None:
    valid = loading.loaders(squares, RECIPE, SIZE, CPU, Speed(), 1).valid
    labels = torch.cat([labels.as_subclass(torch.Tensor) for _images, labels in valid])
    assert labels.tolist() == squares.labels[squares.rows("valid")].tolist()


class Copies(TorchFunctionMode):
    """Keeps what is copied where, and whether the host waits."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[tuple[torch.Tensor, torch.device, bool]] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.to:
            self.made.append((args[0], args[1], (kwargs or {}).get("non_blocking", False)))
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("wanted", [True, False])
def test_batches_for_cuda_are_read_into_pinned_memory_and_copied_without_waiting(
    squares: Prepared, monkeypatch: pytest.MonkeyPatch, wanted: bool
) -> None:
    """Ordinary memory stands in for pinned memory, and torch's meta device for CUDA."""
    blocks: list[torch.Tensor] = []

    def ordinary(shape: tuple[int, ...], dtype: torch.dtype) -> torch.Tensor:
        blocks.append(torch.empty(shape, dtype=dtype))
        return blocks[-1]

    monkeypatch.setattr(loading, "pinned", ordinary)
    meta, rows = torch.device("meta"), [3, 1, 2]
    images, labels = squares.array(SIZE), squares.labels
    loader = loading.ArrayLoader(rows, images, labels, pin=wanted, bs=3, num_workers=0, device=meta)
    with Copies() as copies:
        pixels, answers = loader.create_batch(rows)
    if not wanted:
        assert (blocks, pixels.device) == ([], CPU)
        return
    assert (pixels.device, answers.device) == (meta, meta)
    assert [(id(given), to, free) for given, to, free in copies.made] == [
        (id(block), meta, True) for block in blocks
    ]
    assert np.array_equal(blocks[0].numpy(), images[rows])
    assert np.array_equal(blocks[1].numpy(), labels[rows])


def test_only_cuda_pins(squares: Prepared) -> None:
    assert loading.loaders(squares, RECIPE, SIZE, CPU, Speed(), 1).train.pin is False


def test_images_are_normalised_on_the_runs_device_not_on_fastais_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a run on a CPU, or on a second GPU, fails wherever there is a first GPU."""
    monkeypatch.setattr("fastai.torch_core.default_device", lambda *_: torch.device("meta"))
    learn = training.seeded_learner(run_on(write_squares(tmp_path / "squares"), Speed()))
    images, _ = learn.dls.one_batch()
    assert images.device == CPU
    assert abs(float(images.mean())) < 3, "normalised"
