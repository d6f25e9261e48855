from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.core.errors import PipelineError
from pipeline.dataset.label_tables import in_table
from pipeline.dataset.sources import LabelledImage
from pipeline.dataset.splits import Split, split_images

STRATIFIED = Split("stratified", valid_pct=0.2, test_pct=0.0, split_seed=42)
WITH_TEST = Split("stratified", valid_pct=0.2, test_pct=0.1, split_seed=42)


def images(*labels: str, group: list[str | None] | None = None) -> list[LabelledImage]:
    """One image per word; a word names its labels, `a+b`."""
    groups = group or [None] * len(labels)
    return [
        LabelledImage(f"{row}.jpg", tuple(word.split("+")), None, of)
        for row, (word, of) in enumerate(zip(labels, groups, strict=True))
    ]


def counts(found: list[LabelledImage], parts: list[str]) -> dict[str, Counter[str]]:
    of_label: dict[str, Counter[str]] = {}
    for image, part in zip(found, parts, strict=True):
        for label in image.labels:
            of_label.setdefault(label, Counter())[part] += 1
    return of_label


def test_every_class_has_its_share_in_every_part() -> None:
    found = images(*["cat"] * 50, *["dog"] * 100, *["fox"] * 10)
    of_label = counts(found, split_images(found, WITH_TEST))
    assert of_label["cat"] == {"train": 35, "valid": 10, "test": 5}
    assert of_label["dog"] == {"train": 70, "valid": 20, "test": 10}
    assert of_label["fox"] == {"train": 7, "valid": 2, "test": 1}


def test_a_rare_class_is_in_train_first_then_in_valid_then_in_test() -> None:
    found = images(*["common"] * 100, "once", "twice", "twice", "thrice", "thrice", "thrice")
    of_label = counts(found, split_images(found, WITH_TEST))
    assert of_label["once"] == {"train": 1}
    assert of_label["twice"] == {"train": 1, "valid": 1}
    assert of_label["thrice"] == {"train": 1, "valid": 1, "test": 1}


def test_a_split_depends_on_its_seed_alone() -> None:
    found = images(*["cat"] * 50, *["dog"] * 50)
    again = Split("stratified", 0.2, 0.0, 42)
    other = Split("stratified", 0.2, 0.0, 0)
    assert split_images(found, STRATIFIED) == split_images(found, again)
    assert split_images(found, STRATIFIED) != split_images(found, other)


@settings(max_examples=50, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sets(st.sampled_from("abcde"), min_size=1), st.one_of(st.none(), st.integers(0, 5))
        ),
        min_size=1,
        max_size=60,
    ),
    seed=st.integers(0, 3),
)
def test_every_image_has_a_part_and_no_group_straddles(
    rows: list[tuple[set[str], int | None]], seed: int
) -> None:
    found = [
        LabelledImage(f"{number}.jpg", tuple(sorted(labels)), None, None if of is None else str(of))
        for number, (labels, of) in enumerate(rows)
    ]
    parts = split_images(found, Split("stratified", 0.25, 0.25, seed))
    assert set(parts) <= {"train", "valid", "test"}
    parts_of: dict[str, set[str]] = {}
    for image, part in zip(found, parts, strict=True):
        if image.group is not None:
            parts_of.setdefault(image.group, set()).add(part)
    assert all(len(of) == 1 for of in parts_of.values())


def test_groups_are_split_whole_and_still_near_the_share() -> None:
    found = images(*["cat", "dog"] * 100, group=[f"patient {row // 4}" for row in range(200)])
    of_label = counts(found, split_images(found, STRATIFIED))
    assert of_label["cat"] == of_label["dog"] == {"train": 80, "valid": 20}


def test_a_random_split_that_cuts_a_group_is_refused() -> None:
    found = images(*["cat"] * 20, group=["one"] * 20)
    with pytest.raises(PipelineError, match=r"group 'one' has images in .* and in .*stratified"):
        split_images(found, Split("fastai2022", 0.2, 0.0, 42))


def test_real_tags_are_spread_as_evenly_as_whole_images_allow(shared: Path) -> None:
    found = in_table(
        shared / "datasets/planet_sample",
        table="labels.csv",
        file="image_name",
        path="train/{}.jpg",
        label="tags",
        delimiter=" ",
    ).images
    parts = split_images(found, STRATIFIED)
    assert Counter(parts) == {"train": 800, "valid": 200}
    of_label = counts(found, parts)
    assert of_label["blow_down"] == {"train": 1}
    assert of_label["conventional_mine"] == {"train": 1, "valid": 1}
    for label, of in of_label.items():
        assert abs(of["valid"] - 0.2 * of.total()) <= 1.5, label


def given_parts(*parts: str | None) -> list[LabelledImage]:
    return [LabelledImage(f"{row}.jpg", ("cat",), part) for row, part in enumerate(parts)]


def test_given_parts_are_kept() -> None:
    found = given_parts("train", "valid", "test", "train")
    assert split_images(found, Split("given", 0.2, 0.0, 42)) == ["train", "valid", "test", "train"]


def test_where_only_train_and_test_are_given_valid_comes_out_of_train() -> None:
    found = given_parts(*["train"] * 10, *["test"] * 5)
    parts = split_images(found, Split("given", 0.2, 0.0, 42))
    assert Counter(parts) == {"train": 8, "valid": 2, "test": 5}
    assert parts[10:] == ["test"] * 5


def test_given_without_parts_says_what_to_do() -> None:
    with pytest.raises(PipelineError, match=r"1 image has no part \(first: 1.jpg\)"):
        split_images(given_parts("train", None), Split("given", 0.2, 0.0, 42))


def test_the_split_of_2022_is_the_one_torch_draws_with_seed_42() -> None:
    """`torch.manual_seed(42); torch.randperm(10)` is 2 6 1 8 4 5 0 9 3 7; valid is its head."""
    found = given_parts(*[None] * 10)
    parts = split_images(found, Split("fastai2022", 0.2, 0.0, 42))
    assert [row for row, part in enumerate(parts) if part == "valid"] == [2, 6]


def test_impossible_shares_and_unknown_splits_are_one_clear_line() -> None:
    found = images(*["cat"] * 10)
    with pytest.raises(PipelineError, match="each part must be more than 0"):
        split_images(found, Split("stratified", 0.6, 0.4, 42))
    with pytest.raises(PipelineError, match=r"unknown split 'stratifed'.*did you mean stratified"):
        split_images(found, Split("stratifed", 0.2, 0.0, 42))
    with pytest.raises(PipelineError, match="set test_pct: 0"):
        split_images(found, Split("fastai2022", 0.2, 0.2, 42))
