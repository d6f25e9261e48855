"""What a record packs, and that it comes back as it was or not at all."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_fakes import LITE, write_run

from pipeline.core.errors import PipelineError
from pipeline.core.files import WrongType, build, checked, plain
from pipeline.records import (
    MOST_BYTES,
    MOST_PREDICTED,
    Cost,
    Data,
    Device,
    Metrics,
    Record,
    pack_counts,
    pack_predictions,
    read_record,
    unpack_counts,
    unpack_predictions,
    write_record,
)


@pytest.mark.parametrize("counts", [[], [0, 1, 0], [17, 0, 255]])
def test_wrong_answers_come_back_as_they_were(counts: list[int]) -> None:
    packed = pack_counts(np.array(counts, dtype=np.int64))
    assert unpack_counts(packed).tolist() == counts


@pytest.mark.parametrize("text", ["", "not base64!", "AAAA", pack_counts(np.ones(99))[:12]])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the caller says which file
        unpack_counts(text)


def test_records_of_a_real_gpu_are_read_and_written_as_they_were(
    shared: Path, tmp_path: Path
) -> None:
    paths = sorted((shared / "gpu/records").glob("*.json"))
    if not paths:
        pytest.skip(f"no records in {shared / 'gpu/records'}")
    for path in paths:
        record = read_record(path)
        write_record(tmp_path / path.name, record)
        assert without_nulls(tmp_path / path.name) == without_nulls(path)
        assert record.device.is_cuda
        assert record.image_size == record.data.image_size


def without_nulls(path: Path) -> dict[str, Any]:
    """What a record says; a field that it is older than is null, or empty."""
    value = json.loads(path.read_text())
    parts = {key: each for key, each in value.items() if each not in (None, {})}
    return {
        key: {name: one for name, one in each.items() if one is not None}
        if isinstance(each, dict)
        else each
        for key, each in parts.items()
    }


def test_a_record_without_later_fields_has_their_defaults(tmp_path: Path) -> None:
    path = write_run(tmp_path, LITE[0], 0, 0.1, device={"kind": "cpu"}, cost={}, data={})
    record = read_record(path)
    assert record.device == Device(kind="cpu")
    assert (record.cost, record.data, record.test_metrics) == (Cost(), Data(), Metrics())


def test_a_part_of_which_nothing_is_known_is_empty_as_it_always_was() -> None:
    value = plain(Record("failed", "pets", "net", "quickstart", 0))
    empty = ("metrics", "test_metrics", "cost", "device", "data", "telemetry", "weights")
    assert all(value[name] == {} for name in empty)
    assert list(value) == [each.name for each in dataclasses.fields(Record)]


def test_a_field_is_added_by_one_line() -> None:
    longer = dataclasses.make_dataclass(
        "Longer", [("queued_seconds", float | None, None)], bases=(Cost,), frozen=True
    )
    cost = build(longer, {"fit_seconds": 2.0, "queued_seconds": 1.5})
    assert plain(cost)["queued_seconds"] == 1.5
    assert build(longer, {"fit_seconds": 2.0}).fit_seconds == 2.0
    assert build(Cost, plain(cost)) == Cost(fit_seconds=2.0)  # today's reader leaves it out


@pytest.mark.parametrize(
    ("device", "label"),
    [
        (Device(kind="cpu", name="AMD EPYC", threads=2), "AMD EPYC, 2 threads"),
        (Device(kind="cpu", name="AMD EPYC", threads=1), "AMD EPYC, 1 thread"),
        (Device(kind="cuda", name="H100", threads=2), "H100"),
        (Device(kind="cpu"), "cpu"),
        (Device(), None),
    ],
)
def test_times_compare_on_one_device_and_for_a_cpu_at_equal_threads(
    device: Device, label: str | None
) -> None:
    assert device.label == device.compared.label == label


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
    with pytest.raises(PipelineError, match="a record has at most 33,554,432"):
        read_record(path)


def test_a_record_made_before_predictions_were_kept_is_read(tmp_path: Path) -> None:
    path = write_run(tmp_path, LITE[0], 0, 0.1)
    value = json.loads(path.read_text())
    del value["valid_predictions"]
    path.write_text(json.dumps(value))
    assert read_record(path).valid_predictions is None


def test_a_value_may_be_of_one_of_several_types() -> None:
    assert checked(str | float | None, "hub", "x") == "hub"
    assert checked(str | float | None, 0.5, "x") == 0.5
    assert checked(str | float | None, None, "x") is None
    with pytest.raises(WrongType, match="x is \\[\\], not a finite number"):
        checked(str | float | None, [], "x")
