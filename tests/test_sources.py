import os
from pathlib import Path

import pytest

from pipeline.core.errors import PipelineError
from pipeline.dataset.find_images import find_images
from pipeline.dataset.hugging_face import huggingface
from pipeline.dataset.label_tables import in_table
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
    csv(tmp_path, "jpg/2.jpg 3\n", "valid.txt")
    source = in_table(
        tmp_path,
        {"train": "train.txt", "valid": "valid.txt"},
        file="file",
        label="label",
        separator=" ",
        header=["file", "label"],
    )
    assert rows(source) == [("jpg/1.jpg", "train", "76"), ("jpg/2.jpg", "valid", "3")]


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
