"""What a record packs, and that it comes back as it was or not at all."""

import json
from pathlib import Path

import numpy as np
import pytest
from study_fakes import LITE, write_run

from pipeline.core.errors import PipelineError
from pipeline.records import (
    MOST_BYTES,
    MOST_PREDICTED,
    pack_counts,
    pack_predictions,
    read_record,
    unpack_counts,
    unpack_predictions,
)


@pytest.mark.parametrize("counts", [[], [0, 1, 0], [17, 0, 255]])
def test_wrong_answers_come_back_as_they_were(counts: list[int]) -> None:
    packed = pack_counts(np.array(counts, dtype=np.int64))
    assert unpack_counts(packed).tolist() == counts


@pytest.mark.parametrize("text", ["", "not base64!", "AAAA", pack_counts(np.ones(99))[:12]])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller says which file
        unpack_counts(text)


@pytest.mark.parametrize("columns", [3, 17])
def test_predictions_come_back_as_they_were(columns: int) -> None:
    made = np.random.default_rng(0).integers(0, 256, size=(50, columns)).astype(np.uint8)
    packed = pack_predictions(made)
    assert packed is not None
    assert np.array_equal(unpack_predictions(packed, 50, columns), made)
    for images, of in ((49, columns), (51, columns), (50, columns + 1)):
        with pytest.raises(ValueError, match="bytes"):
            unpack_predictions(packed, images, of)


def test_predictions_on_ten_thousand_images_take_a_few_hundred_kilobytes() -> None:
    draw = np.random.default_rng(0)
    noise = draw.integers(0, 256, size=(10_000, 17)).astype(np.uint8)  # nothing to compress
    classes = draw.integers(0, 200, size=10_000)
    single = np.stack([classes % 256, classes // 256, draw.integers(0, 256, 10_000)], 1)
    for predictions, most in ((noise, 230_000), (single.astype(np.uint8), 30_000)):
        packed = pack_predictions(predictions)
        assert packed is not None
        assert len(packed) < most


def test_predictions_that_are_too_big_are_left_out() -> None:
    noise = np.random.default_rng(0).integers(0, 256, size=(MOST_PREDICTED, 1))
    assert pack_predictions(noise.astype(np.uint8)) is None


def test_a_text_that_unpacks_to_more_than_it_should_is_not_unpacked() -> None:
    packed = pack_predictions(np.zeros((5_000_000, 3), dtype=np.uint8))
    assert packed is not None
    with pytest.raises(ValueError, match="more than 30 bytes"):
        unpack_predictions(packed, 10, 3)


def test_a_file_beyond_the_size_of_a_record_is_not_read(tmp_path: Path) -> None:
    path = write_run(tmp_path, LITE[0], 0, 0.1)
    with path.open("ab") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(PipelineError, match="no record has more than 33,554,432"):
        read_record(path)


def test_a_record_made_before_predictions_were_kept_is_read(tmp_path: Path) -> None:
    path = write_run(tmp_path, LITE[0], 0, 0.1)
    value = json.loads(path.read_text())
    del value["valid_predictions"]
    path.write_text(json.dumps(value))
    assert read_record(path).valid_predictions is None
