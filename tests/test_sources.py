import json
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.core.errors import PipelineError
from pipeline.dataset.find_images import find_images
from pipeline.dataset.hugging_face import huggingface
from pipeline.dataset.label_tables import in_table, is_grade, is_number, may_be_label, part_of
from pipeline.dataset.sources import Fault, LabelledImage, Source, by_name, in_class_folders


def touch(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).write_bytes(b"image")
    return root


def rows(source: Source) -> list[tuple[str, str | None, str]]:
    return [(image.file, image.part, "+".join(image.labels)) for image in source.images]


def test_the_label_is_the_folder(tmp_path: Path) -> None:
    source = in_class_folders(touch(tmp_path, "dog/b.jpg", "cat/a.PNG", "README.md"))
    assert rows(source) == [("cat/a.PNG", None, "cat"), ("dog/b.jpg", None, "dog")]
    assert source.read("dog/b.jpg") == b"image"
    assert source.faults == []


def test_folders_can_name_the_parts(tmp_path: Path) -> None:
    touch(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg", "unused/cat/c.jpg")
    source = in_class_folders(tmp_path, parts={"train": "train", "valid": "val"})
    assert rows(source) == [("train/cat/a.jpg", "train", "cat"), ("val/cat/b.jpg", "valid", "cat")]


def test_other_files_in_a_class_folder_are_faults_but_hidden_ones_are_not_data(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "cat/a.jpg", "cat/notes.txt", "cat/.DS_Store", "cat/Thumbs.db")
    touch(tmp_path, "cat/@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg")  # of a Synology disk
    touch(tmp_path, "__MACOSX/cat/._a.jpg", ".cache/cat/a.jpg")
    source = in_class_folders(tmp_path)
    assert rows(source) == [("cat/a.jpg", None, "cat")]
    assert source.faults == [Fault("cat/notes.txt", "not an image by its name")]


def test_what_describes_a_dataset_and_what_systems_leave_is_no_data_and_no_fault(
    tmp_path: Path,
) -> None:
    about = ("README", "readme.txt", "LICENSE", "licence.MD", "README.roboflow.txt", "Citation.bib")
    left = ("thumbs.db", "Desktop.ini", "ehthumbs.db", "Icon\r", "@eaDir/a.jpg/THUMB_M.jpg")
    touch(tmp_path, "cat/a.jpg", *(f"cat/{name}" for name in (*about, *left)))
    touch(tmp_path, "@eaDir/cat/a.jpg", "$RECYCLE.BIN/dog/b.jpg", "lost+found/c.jpg")
    for source in (
        in_class_folders(tmp_path),
        in_class_folders(tmp_path, layout="{label}/**"),
        by_name(tmp_path, files="cat/*", pattern=r"(?P<label>a)\.jpg"),
    ):
        assert [image.file for image in source.images] == ["cat/a.jpg"]
        assert (source.faults, source.unlabelled) == ([], [])


@pytest.mark.parametrize(
    "name", ["readme.csv", "labels.txt", "readme_labels.txt", "a.xml", "a.json", "b", "b.heic"]
)
def test_what_may_hold_labels_or_an_image_is_told_and_not_passed_over(
    name: str, tmp_path: Path
) -> None:
    touch(tmp_path, "cat/a.jpg", f"cat/{name}")
    assert [fault.file for fault in in_class_folders(tmp_path).faults] == [f"cat/{name}"]


def test_the_label_is_in_the_file_name(tmp_path: Path) -> None:
    touch(tmp_path, "images/great_pyrenees_36.jpg", "images/Abyssinian_1.jpg", "images/readme.jpg")
    source = by_name(tmp_path, files="images/*.jpg", pattern=r"(?P<label>.+)_\d+\.jpg")
    assert [labels for _, _, labels in rows(source)] == ["Abyssinian", "great_pyrenees"]
    assert [fault.file for fault in source.faults] == ["images/readme.jpg"]


def test_a_file_name_can_name_the_group(tmp_path: Path) -> None:
    touch(tmp_path, "p7_cat_1.jpg")
    source = by_name(tmp_path, files="*", pattern=r"(?P<group>p\d+)_(?P<label>[a-z]+)_.*")
    assert source.images == [LabelledImage("p7_cat_1.jpg", ("cat",), None, "p7")]


@pytest.mark.parametrize("pattern", ["(", "no group here"])
def test_a_wrong_pattern_is_one_clear_line(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(PipelineError, match=r"images\.pattern"):
        by_name(tmp_path, files="*", pattern=pattern)


def csv(root: Path, text: str, name: str = "labels.csv") -> Path:
    (root / name).write_text(text, encoding="utf-8")
    return root


def test_a_csv_names_files_and_tags(tmp_path: Path) -> None:
    touch(tmp_path, "train/a.jpg", "train/b.jpg")
    csv(tmp_path, "name,tags\nb,haze  primary haze\na,clear\n")
    source = in_table(
        tmp_path, "labels.csv", file="name", label="tags", path="train/{}.jpg", delimiter=" "
    )
    assert rows(source) == [
        ("train/b.jpg", None, "haze+primary"),
        ("train/a.jpg", None, "clear"),
    ], "in the order of the CSV, which the split of 2022 depends on"
    assert source.faults == []


def test_a_csv_can_name_parts_and_groups(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    csv(
        tmp_path,
        "f,y,fold,who\na.jpg,cat,train,p1\nb.jpg,cat,Val,p2\nc.jpg,dog,TEST,\nd.jpg,dog,fold9,p3\n",
    )
    source = in_table(tmp_path, "labels.csv", file="f", label="y", part="fold", group="who")
    assert [(image.part, image.group) for image in source.images] == [
        ("train", "p1"),
        ("valid", "p2"),
        ("test", None),
    ]
    assert source.faults == [
        Fault("labels.csv row 5: d.jpg", "fold is 'fold9', which names no part")
    ]


def test_a_column_like_is_valid_names_the_parts(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    csv(tmp_path, "f,y,is_valid\na.jpg,cat,False\nb.jpg,cat,True\n")
    source = in_table(tmp_path, "labels.csv", file="f", label="y", part="is_valid")
    assert [image.part for image in source.images] == ["train", "valid"]


def test_there_may_be_one_csv_per_part_without_a_header(tmp_path: Path) -> None:
    touch(tmp_path, "jpg/1.jpg", "jpg/2.jpg")
    csv(tmp_path, "jpg/1.jpg 76\n", "train.txt")
    csv(tmp_path, "jpg/2.jpg 3\njpg/3.jpg 5\n", "valid.txt")
    source = in_table(
        tmp_path,
        {"train": "train.txt", "valid": "valid.txt"},
        file="file",
        label="label",
        separator=" ",
        header=["file", "label"],
    )
    assert rows(source) == [("jpg/1.jpg", "train", "76"), ("jpg/2.jpg", "valid", "3")]
    assert source.faults == [Fault("valid.txt row 2: jpg/3.jpg", "no such file")]


def test_what_a_csv_and_its_folder_disagree_about_is_all_listed(tmp_path: Path) -> None:
    touch(tmp_path / "set", "in/a.jpg", "in/b.jpg", "in/c.jpg", "in/extra.jpg", "in/notes.txt")
    touch(tmp_path, "outside.jpg")
    csv(
        tmp_path / "set",
        "f,y\nin/a.jpg,cat\nin/gone.jpg,cat\nin/b.jpg,cat\nin/b.jpg,cat\nin/c.jpg,cat\n"
        "in/c.jpg,dog\n../outside.jpg,cat\n",
    )
    source = in_table(tmp_path / "set", "labels.csv", file="f", label="y")
    assert [image.file for image in source.images] == ["in/a.jpg", "in/b.jpg"]
    assert source.faults == [
        Fault("labels.csv row 3: in/gone.jpg", "no such file"),
        Fault("labels.csv row 8: ../outside.jpg", "lies outside the dataset's folder"),
        Fault("in/b.jpg", "2 rows"),
        Fault("in/c.jpg", "2 rows that differ"),
        Fault("in/extra.jpg", "not in labels.csv"),
    ]


def test_words_that_look_like_missing_values_are_labels(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    csv(tmp_path, "f,y\na.jpg,NA\nb.jpg,null\n")
    source = in_table(tmp_path, "labels.csv", file="f", label="y")
    assert [image.labels for image in source.images] == [("NA",), ("null",)]


def written(root: Path, table: pd.DataFrame, name: str = "labels.csv") -> pd.DataFrame:
    """The table as a CSV below the root, and an image for each of its rows."""
    touch(root, *(f"{file.strip()}.jpg" for file in table["file"]))
    table.to_csv(root / name, index=False)
    return table


def test_labels_parts_and_groups_of_many_rows_are_those_of_pandas(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    names = ["oak", "elm", "ash", "red maple", "?", "-1"]
    cells = [
        rng.choice([";", " ; ", "; "]).join(rng.choice(names, size=rng.integers(1, 5)))
        for _ in range(200)
    ]
    table = pd.DataFrame(
        {
            "file": [f"img{number}" for number in range(200)],
            "tags": [f"{cell}{' ' * rng.integers(2)}" for cell in cells],
            "fold": rng.choice(["0", "1 ", "2", "3"], size=200),
            "who": rng.choice(["p1", "p2 ", "", " "], size=200),
        }
    )
    written(tmp_path, table)
    source = in_table(
        tmp_path,
        "labels.csv",
        file="file",
        label="tags",
        path="{}.jpg",
        delimiter=";",
        no_label=["?", "-1"],
        part="fold",
        parts={"train": ["0", "1"], "valid": ["2"]},
        group="who",
    )
    words = table["tags"].str.split(";").explode().str.strip()
    words = words[~words.isin(["?", "-1"])].reset_index().drop_duplicates()
    table["labels"] = words.groupby("index")["tags"].agg(tuple)
    table["labels"] = [each if isinstance(each, tuple) else () for each in table["labels"]]
    table["part"] = table["fold"].str.strip().map({"0": "train", "1": "train", "2": "valid"})
    kept = table[table["part"].notna()]
    expected = [
        LabelledImage(f"{row.file}.jpg", row.labels, row.part, row.who.strip() or None)
        for row in kept.itertuples()
    ]
    assert source.images == expected
    assert {"train", "valid"} == {image.part for image in expected}
    assert () in table["labels"].tolist()
    assert [fault.file for fault in source.faults] == [
        f"labels.csv row {row.Index + 2}: {row.file}.jpg"
        for row in table[table["part"].isna()].itertuples()
    ]
    assert {fault.reason for fault in source.faults} == {"fold is '3', which names no part"}


def test_columns_of_yes_and_no_are_labels_however_they_are_written(tmp_path: Path) -> None:
    yes, no = ["1", "1.0", "true", "TRUE", "Yes "], ["0", "0.0", "False", "no ", "-1", "-1.0", ""]
    rng = np.random.default_rng(1)
    there = rng.integers(2, size=(150, 3)).astype(bool)
    table = pd.DataFrame({"file": [f"img{number}" for number in range(150)]})
    for place, name in enumerate(("oak", "elm", "ash")):
        table[name] = [rng.choice(yes if each else no) for each in there[:, place]]
    written(tmp_path, table)
    flags = ["oak", "elm", "ash"]
    source = in_table(tmp_path, "labels.csv", file="file", label=flags, path="{}.jpg")
    assert [image.labels for image in source.images] == [
        tuple(name for name, has in zip(flags, row, strict=True) if has) for row in there
    ]
    assert source.faults == []
    table.loc[7, "elm"] = "maybe"
    table.to_csv(tmp_path / "labels.csv", index=False)
    source = in_table(tmp_path, "labels.csv", file="file", label=flags, path="{}.jpg")
    reason = "elm is 'maybe', which is neither 1 nor 0"
    assert source.faults == [Fault("labels.csv row 9: img7.jpg", reason)]
    assert len(source.images) == 149


def test_a_label_has_no_blanks_of_its_columns_name(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg")
    cells = [{"f": "a.jpg", " oak": 1, "elm ": 0}, {"f": "b.jpg", " oak": 1, "elm ": 1}]
    (tmp_path / "labels.json").write_text(json.dumps(cells))
    source = in_table(tmp_path, "labels.json", file="f", label=[" oak", "elm "])
    assert [image.labels for image in source.images] == [("oak",), ("oak", "elm")]


def test_what_a_table_names_is_no_fault_of_the_folders_beside_it(tmp_path: Path) -> None:
    touch(tmp_path, "oak/1.jpg", "elm/2.jpg", "more/deep/a.jpg", "other/deep/b.jpg")
    csv(tmp_path, "f,y\nmore/deep/a.jpg,oak\n")
    source = in_table(tmp_path, "labels.csv", file="f", label="y", layout="{label}")
    assert rows(source) == [
        ("more/deep/a.jpg", None, "oak"),
        ("elm/2.jpg", None, "elm"),
        ("oak/1.jpg", None, "oak"),
    ]
    assert source.faults == [Fault("other/deep/b.jpg", "does not lie as {label} says")]


def test_a_test_part_without_a_label_is_not_used_and_is_no_fault(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg", "d.jpg")
    text = "f,y,split\na.jpg,oak,train\nb.jpg,elm,valid\nc.jpg,,test\nd.jpg,,test\n"
    for wanted, of_test, unlabelled in (
        (text, [], ["c.jpg", "d.jpg"]),
        (text.replace("c.jpg,", "c.jpg,oak"), [("oak",), ()], []),  # then one label is missing
    ):
        csv(tmp_path, wanted)
        source = in_table(tmp_path, "labels.csv", file="f", label="y", part="split")
        assert [image.labels for image in source.images] == [("oak",), ("elm",), *of_test]
        assert source.unlabelled == unlabelled
        assert source.faults == []


def test_an_image_that_another_table_lists_without_a_label_is_no_fault(tmp_path: Path) -> None:
    touch(tmp_path, *(f"in/{name}.jpg" for name in ("a", "b", "c", "d", "e 1", "g", "h")))
    csv(tmp_path, "f,y\na.jpg,oak\nb.jpg,elm\n")
    csv(tmp_path, "c.jpg 0.25\nA 0.5\ne 1.jpg\nG.JPG\nh.png\n", "test.txt")  # without a header
    lists = {"path": "in/{}", "unlabelled": ["test.txt"]}
    source = in_table(tmp_path, "labels.csv", file="f", label="y", **lists)
    assert rows(source) == [("in/a.jpg", None, "oak"), ("in/b.jpg", None, "elm")]
    assert source.unlabelled == [f"in/{name}.jpg" for name in ("c", "e 1", "g", "h")]
    assert source.faults == [Fault("in/d.jpg", "not in labels.csv")]


def test_rows_of_one_image_are_put_together_or_are_a_fault(tmp_path: Path) -> None:
    table = pd.DataFrame(
        [
            ("a", "oak", "train", "p1"),
            ("b", "elm", "train", "p1"),
            ("a", "elm", "train", "p1"),
            ("a", "oak", "train", "p1"),
            ("c", "ash", "train", "p2"),
            ("c", "oak", "valid", "p2"),
            ("d", "ash", "valid", "p3"),
            ("d", "elm", "valid", "p4"),
        ],
        columns=["file", "y", "split", "who"],
    )
    written(tmp_path, table)
    columns = {"file": "file", "label": "y", "path": "{}.jpg", "part": "split", "group": "who"}
    merged = in_table(tmp_path, "labels.csv", rows="merge", **columns)
    assert merged.images == [
        LabelledImage("a.jpg", ("oak", "elm"), "train", "p1"),
        LabelledImage("b.jpg", ("elm",), "train", "p1"),
    ]
    differ = "2 rows that differ in part or group"
    assert merged.faults == [Fault("c.jpg", differ), Fault("d.jpg", differ)]
    once = in_table(tmp_path, "labels.csv", **columns)
    assert once.images == [LabelledImage("b.jpg", ("elm",), "train", "p1")]
    assert [fault.reason for fault in once.faults] == [
        "3 rows that differ",
        *["2 rows that differ"] * 2,
    ]


@pytest.mark.parametrize(
    ("column", "of_yes", "of_no"),
    [
        ("is_valid", "valid", "train"),
        ("isVal", "valid", "train"),
        ("Validation", "valid", "train"),
        ("is_test", "test", "train"),
        ("is_train", "train", "valid"),
        ("training", "train", "valid"),
        ("split", None, None),
        ("is_new", None, None),
    ],
)
def test_yes_and_no_in_a_column_of_a_part_name_two_parts(
    column: str, of_yes: str | None, of_no: str | None
) -> None:
    for cell in ("1", "True", " yes ", "1.0"):
        assert part_of(cell, column) == of_yes
    for cell in ("0", "false", "No", "-1"):
        assert part_of(cell, column) == of_no
    assert part_of("", column) is part_of("maybe", column) is None
    assert part_of("Training", column) == "train"  # a part's own name, in whatever column


def test_a_column_of_a_few_repeated_words_may_be_the_label_and_measurements_are_none() -> None:
    def may(*cells: str) -> bool:
        return may_be_label(pd.Series(cells))

    assert may(*"aaabbbcccc")
    assert may(*"abcdefg", *"ggg")  # 7 different cells of 10
    assert not may(*"abcdefgh", *"gg")
    assert not may(*["one"] * 10)
    assert not may(*["one"] * 9, "")  # an empty cell is no second one
    assert may("1", "2.0", "1", "2.0", "1", "2.0", "3")
    assert not may("2.0", "1.5", "2.0", "1.5", "2.0", "1.5", "3")
    assert not may("-0.25", "1", "1", "1", "1")


def test_numbers_may_have_a_sign_and_decimals_and_empty_cells_beside_them() -> None:
    assert is_number(["1", " -2 ", "3.50", ""])
    for other in ("1.", ".5", "1e5", "a", "1 2", "--1"):
        assert not is_number(["1", other])


def test_numbers_of_three_classes_in_a_row_are_grades_and_counts_are_none() -> None:
    def grades(name: str, *cells: str, sums: Sequence[int] | None = None) -> bool:
        found = sums or [9] * len(cells)
        return is_grade(pd.Series(cells, name=name), pd.Series(found[: len(cells)]))

    assert grades("level", "0", "1", "2", "0", " 1 ", "")
    assert grades("level", "1", "2", "3")
    assert not grades("level", "2", "3", "4")  # of what, if not from 0 or 1
    assert not grades("level", "0", "1", "1", "0")  # a flag
    assert not grades("level", "0", "1", "2", "4")
    assert not grades("level", "0", "1", "2", "high")
    assert not grades("n_boxes", "0", "1", "2")
    assert not grades("level", "0", "1", "2", sums=[0, 1, 2])  # how many flags there are
    assert grades("level", "0", "1", "2", sums=[0, 1, 1])


def test_a_missing_column_or_csv_is_one_clear_line(tmp_path: Path) -> None:
    csv(tmp_path, "image_name,tags\n")
    with pytest.raises(PipelineError, match=r"no column 'tag': did you mean tags\?"):
        in_table(tmp_path, "labels.csv", file="image_name", label="tag")
    with pytest.raises(PipelineError, match=r"label.csv: no such file"):
        in_table(tmp_path, "label.csv", file="image_name", label="tags")


def test_a_source_is_chosen_by_name_and_its_keys_are_checked(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg")
    folders = "pipeline.dataset.sources.in_class_folders"
    assert rows(find_images({"_target_": folders}, tmp_path)) == [("cat/a.jpg", None, "cat")]
    for recipe, root, message in [
        ({"_target_": folders, "part": {}}, tmp_path, "images.part is no key of .*mean parts"),
        ({"_target_": "pipeline.dataset.sources.by_name"}, tmp_path, "images.files is missing"),
        ({"_target_": folders}, None, "give dataset.source or dataset.archive"),
        ({"_target_": folders}, tmp_path / "gone", "no such folder"),
        ({"_target_": "pipeline.dataset.sources.nothing"}, tmp_path, "did you mean"),
        ({"_target_": "os.system", "command": "true"}, tmp_path, "images._target_"),
        ({}, tmp_path, "images._target_"),
    ]:
        with pytest.raises(PipelineError, match=message):
            find_images(recipe, root)


def test_a_folder_without_images_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="found no images"):
        find_images({"_target_": "pipeline.dataset.sources.in_class_folders"}, tmp_path)


@pytest.mark.parametrize(
    ("files", "layout", "said"),
    [
        (["a/1.jpg", "b/1.jpg"], "{part}/{label}", "2 images, such as a/1.jpg: .* '{label}'"),
        (["train/a/1.jpg", "x.jpg", "val/a/2.jpg"], "{label}", "train/a/1.jpg: .*part}/{label}'"),
        (["x/a/1.jpg"], "{part}/{label}", r"x/a/1.jpg: .* '\*/{label}'"),
        (["1.jpg"], "{label}", "1.jpg: it lies in no folder"),
    ],
)
def test_a_layout_that_fits_no_file_is_told_with_one_that_does(
    tmp_path: Path, files: list[str], layout: str, said: str
) -> None:
    touch(tmp_path, *files)
    with pytest.raises(PipelineError, match=f"layout '{layout}' fits none of .*{said}") as error:
        in_class_folders(tmp_path, layout=layout)
    if "no folder" not in said:
        advised = str(error.value).rsplit("'", 2)[1]
        assert in_class_folders(tmp_path, layout=advised).images


def test_a_pattern_that_fits_no_name_is_told_with_a_name(tmp_path: Path) -> None:
    touch(tmp_path, "cat_1.jpg", "dog_1.jpg")
    with pytest.raises(PipelineError, match=r"fits none of 2 names, such as cat_1.jpg"):
        by_name(tmp_path, "*", "(?P<label>.+)_")


def test_a_hugging_face_dataset_on_disk_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=["cat", "dog"]),
            "tags": datasets.Sequence(datasets.Value("string")),
        }
    )
    image = touch(tmp_path, "a.jpg") / "a.jpg"
    rows_of = [
        {"image": {"bytes": b"first", "path": None}, "label": 1, "tags": ["x", "y"]},
        {"image": {"bytes": None, "path": str(image)}, "label": 0, "tags": []},
    ]
    split = datasets.Dataset.from_list(rows_of, features=features)
    datasets.DatasetDict({"train": split, "validation": split}).save_to_disk(tmp_path / "hf")
    source = huggingface(tmp_path / "hf")
    assert rows(source) == [
        ("train/0000000", "train", "dog"),
        ("train/0000001", "train", "cat"),
        ("validation/0000000", "valid", "dog"),
        ("validation/0000001", "valid", "cat"),
    ]
    assert source.read("train/0000000") == b"first"
    assert source.read("validation/0000001") == b"image"
    tags = huggingface(tmp_path / "hf", label="tags")
    assert [image.labels for image in tags.images[:2]] == [("x", "y"), ()]
    with pytest.raises(PipelineError, match="no column 'labels': did you mean label"):
        huggingface(tmp_path / "hf", label="labels")


def test_a_file_name_that_is_not_utf8_is_one_clear_line(tmp_path: Path) -> None:
    touch(tmp_path, "cat/a.jpg")
    try:
        (tmp_path / "cat" / os.fsdecode(b"\xff.jpg")).write_bytes(b"image")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    with pytest.raises(PipelineError, match="the name is not UTF-8"):
        in_class_folders(tmp_path)
