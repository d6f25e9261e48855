import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from pipeline.configuration import hydra_app
from pipeline.core.errors import PipelineError
from pipeline.dataset import new as new_dataset
from pipeline.dataset.__main__ import prepare
from pipeline.dataset.checks import Faulty, read_config
from pipeline.dataset.columns import Table, meaning, says_more, why_doubtful
from pipeline.dataset.file_column import FileColumn, Hints, Unclear
from pipeline.dataset.find_images import find_images
from pipeline.dataset.new import dataset_yaml, summary_lines
from pipeline.dataset.recognise import recognise
from pipeline.dataset.sources import in_class_folders


def pictures(root: Path, *files: str) -> Path:
    for number, file in enumerate(files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (30, 20), (40 * number % 256, 90, 30)).save(root / file)
    return root


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty conf/dataset and working folder of its own."""
    (tmp_path / "conf/dataset").mkdir(parents=True)
    for name in ("dataset.yaml", "no_outputs.yaml"):
        (tmp_path / "conf" / name).write_text((hydra_app.CONF / name).read_text())
    monkeypatch.setattr(hydra_app, "CONF", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "conf"


def labels(root: Path, images: dict[str, Any]) -> list[str]:
    return ["+".join(image.labels) for image in find_images(images, root).images]


def test_class_folders_are_recognised(tmp_path: Path) -> None:
    root = pictures(tmp_path, "cat/a.jpg", "cat/b.jpg", "dog/c.jpg")
    found = recognise(root)
    assert (found.kind, found.split) == ("single", "stratified")
    assert labels(root, found.images) == ["cat", "cat", "dog"]


def test_part_folders_are_recognised(tmp_path: Path) -> None:
    root = pictures(tmp_path, "train/cat/a.jpg", "val/cat/b.jpg", "test/dog/c.jpg")
    found = recognise(root)
    assert found.images["parts"] == {"train": "train", "valid": "val", "test": "test"}
    assert found.split == "given"


@pytest.mark.parametrize(
    "names",
    [
        ["great_dane_1.jpg", "great_dane_22.jpg", "pug_1.jpg", "pug_3.jpg"],
        ["great_dane (1).jpg", "great_dane (2).jpg", "pug (1).jpg", "pug (2).jpg"],
        ["great_dane1.jpg", "great_dane2.jpg", "pug1.jpg", "pug2.jpg"],
    ],
)
def test_labels_in_file_names_are_recognised(tmp_path: Path, names: list[str]) -> None:
    root = pictures(tmp_path, *(f"images/{name}" for name in names))
    assert labels(root, recognise(root).images) == ["great_dane", "great_dane", "pug", "pug"]


@pytest.mark.parametrize(
    ("names", "path"),
    [
        (("in/a.png", "in/b.png"), "{}"),
        (("a.png", "b.png"), "in/{}"),
        (("a", "b"), "in/{}.png"),
    ],
)
def test_a_csv_is_recognised_however_it_names_the_files(
    tmp_path: Path, names: tuple[str, str], path: str
) -> None:
    root = pictures(tmp_path, "in/a.png", "in/b.png")
    rows = "".join(f"{number},{name},cat\n" for number, name in enumerate(names))
    (root / "labels.csv").write_text(f"score,image,tags\n{rows}")
    found = recognise(root)
    assert found.images.get("path", "{}") == path
    assert found.images["label"] == "tags"


def test_tags_parts_and_groups_of_a_csv_are_recognised(tmp_path: Path) -> None:
    root = pictures(tmp_path, *(f"{name}.jpg" for name in "abcd"))
    (root / "labels.csv").write_text(
        "file,label,fold,patient\na.jpg,x;y,train,1\nb.jpg,x,train,1\nc.jpg,y,valid,2\n"
        "d.jpg,y;x,valid,3\n"
    )
    found = recognise(root)
    assert (found.kind, found.split) == ("multi", "given")
    assert found.images["delimiter"] == ";"
    assert (found.images["part"], found.images["group"]) == ("fold", "patient")
    assert labels(root, found.images) == ["x+y", "x", "y", "y+x"]


def test_names_of_two_words_are_one_label(tmp_path: Path) -> None:
    root = pictures(tmp_path, *(f"{name}.jpg" for name in "abcd"))
    rows = "a.jpg,great dane\nb.jpg,great pyrenees\nc.jpg,saint bernard\nd.jpg,great dane\n"
    (root / "breeds.csv").write_text(f"file,label\n{rows}")
    found = recognise(root)
    assert found.kind == "single"
    assert labels(root, found.images)[0] == "great dane"


def test_a_folder_without_labels_is_one_clear_line(tmp_path: Path) -> None:
    root = pictures(tmp_path, "IMG_1.jpg", "IMG_2.jpg", "IMG_3.jpg")
    with pytest.raises(PipelineError, match=r"3 images, but no table .*docs/datasets\.md"):
        recognise(root)


def test_one_class_alone_and_an_empty_folder_are_told(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    with pytest.raises(PipelineError, match="none: an empty folder"):
        recognise(tmp_path / "none")
    root = pictures(tmp_path / "photos", "a/1.jpg", "a/2.jpg")
    with pytest.raises(PipelineError, match=r"2 images, .*only one class \(a; each needs"):
        recognise(root)
    (root / "b").mkdir()
    with pytest.raises(PipelineError, match=r"only one class \(a; folder b is empty\)"):
        recognise(root)


@pytest.mark.parametrize("parts", [(), ("train", "valid")])
def test_images_outside_the_class_folders_are_told(tmp_path: Path, parts: tuple[str, ...]) -> None:
    folders = [f"{part}/{label}" for part in parts or (".",) for label in "ab"]
    images = [f"{folder}/{n}.jpg" for folder in folders for n in (1, 2)]
    found = recognise(pictures(tmp_path / "photos", *images, "cover.jpg"))
    assert len(found.source.images) == len(images)
    assert found.source.unlabelled == ["cover.jpg"]
    aside = "left aside: 1 image has no label and is not used (cover.jpg)"
    assert aside in summary_lines(found, tmp_path / "photos")
    more = recognise(pictures(tmp_path / "photos", *images, "cover.jpg", "back.jpg"))
    aside = "left aside: 2 images have no label and are not used (back.jpg, cover.jpg)"
    assert aside in summary_lines(more, tmp_path / "photos")


def test_an_image_beside_one_part_is_no_test_part(tmp_path: Path) -> None:
    images = [f"train/{label}/{n}.jpg" for label in "ab" for n in (1, 2)]
    found = recognise(pictures(tmp_path / "photos", *images, "cover.jpg"))
    assert (found.split, found.source.unlabelled) == ("stratified", ["cover.jpg"])


def test_images_beside_parts_are_counted_as_others_are(tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", "train/a/1.jpg", "cover.jpg", "._cover.jpg")
    assert in_class_folders(root, {"train": "train"}).unlabelled == ["cover.jpg"]
    assert in_class_folders(root, {"train": "."}).unlabelled == ["cover.jpg"]


def test_a_folder_that_is_no_class_is_none(tmp_path: Path) -> None:
    for folder in ("images", "train"):
        with pytest.raises(PipelineError, match="no class folders"):
            recognise(pictures(tmp_path / folder, f"{folder}/1.jpg", f"{folder}/2.jpg"))


def test_a_column_that_differs_in_each_row_is_no_label(conf: Path, tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    rows = "1.jpg,a\n2.jpg,a\n3.jpg,b\n4.jpg,b\n"
    (root / "labels.csv").write_text(f"file,label\n{rows}")
    with pytest.raises(PipelineError, match=r"4 classes of one image each .*--label"):
        new_dataset.main("mine", root, label="file")
    assert not (conf / "dataset/mine.yaml").exists()


def test_a_table_and_a_readme_beside_named_images_are_no_images(tmp_path: Path) -> None:
    root = pictures(tmp_path, *(f"{label}_{n}.jpg" for label in ("cat", "dog") for n in "12"))
    (root / "labels_1.csv").write_text("file,label\ncat_1.jpg,cat\ndog_1.jpg,dog\n")
    (root / "README.md").write_text("photos")
    found = recognise(root, Hints(table="none"))
    assert not found.source.faults
    assert labels(root, found.images) == ["cat", "cat", "dog", "dog"]


def test_a_rare_class_is_told_at_once_with_what_to_write(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [f"{label}/{n}.jpg" for label in "ab" for n in range(5)]
    new_dataset.main("mine", pictures(tmp_path / "photos", *photos))
    assert "warning" not in capsys.readouterr().out
    new_dataset.main("rare", pictures(tmp_path / "more", *photos, "yeti/1.jpg"))
    assert (
        "warning: too few images: class yeti (1 image, fewer than min_class_images=2; no image in "
        f"valid): write `rare: drop` into {conf / 'dataset/rare.yaml'} to leave out"
    ) in (said := capsys.readouterr().out)
    assert said.splitlines()[-1].startswith("First follow the warning above. Then: python -m ")


def test_empty_folders_are_told_and_where_the_valid_part_comes_from(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = [
        f"{part}/{label}/{n}.jpg" for part in ("train", "test") for label in "ab" for n in "12"
    ]
    root = pictures(tmp_path / "photos", *photos)
    for folder in ("val/a", "val/b", "test/a/.hidden", "train/c"):
        (root / folder).mkdir(parents=True)
    new_dataset.main("mine", root)
    said = capsys.readouterr().out
    assert "parts: 4 test, 4 train (some of train will be valid)\n" in said
    assert "suspicious: empty folders: train/c, val\n" in said
    pictures(root, "val/a/1.jpg", "val/b/1.jpg")
    new_dataset.main("more", root)
    assert "parts: 4 test, 4 train, 2 valid\n" in capsys.readouterr().out


def test_a_new_dataset_can_be_prepared_as_it_was_written(conf: Path, tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", *(f"{label}/{n}.jpg" for label in "ab" for n in range(5)))
    new_dataset.main("mine", root)
    config = hydra_app.compose("dataset", ["dataset=mine", "image_size=8"])
    wanted = read_config(config)
    assert wanted.policy.classes == ["a", "b"]
    assert str(wanted.source) == "photos", "relative where it lies below the working folder"
    assert len(find_images(wanted.images, wanted.root()[0]).images) == 10
    sheet = Image.open(tmp_path / "data/contact_sheets/mine.png")
    assert sheet.size[0] == 1290


def test_labels_that_yaml_would_misread_stay_what_they_are(conf: Path, tmp_path: Path) -> None:
    awkward = [
        "no",
        "1",
        "null",
        "a: b",
        "#x",
        "${oc.env:HOME}",
        "naïve",
        "- y",
        "2e-3",
        "it's",
        "y",
        "a\tb",
    ]
    root = pictures(tmp_path / "photos", *(f"{label}/{n}.png" for label in awkward for n in "12"))
    new_dataset.main("mine", root)
    wanted = read_config(hydra_app.compose("dataset", ["dataset=mine", "image_size=8"]))
    assert wanted.policy.classes == sorted(awkward)


def test_a_broken_image_is_seen_on_the_sheet(conf: Path, tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    (root / "a/1.jpg").write_bytes(b"broken")
    new_dataset.main("mine", root)
    sheet = Image.open(tmp_path / "data/contact_sheets/mine.png")
    assert (198, 40, 40) in {color for _, color in sheet.getcolors(1 << 20) or []}


def test_a_picture_of_two_labels_is_shown_with_both(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = pictures(tmp_path / "set", *(f"{label}/{n}.png" for label in "ab" for n in range(5)))
    for copy in ("a/1.png", "b/1.png"):
        shutil.copy(root / "a/0.png", root / copy)
    new_dataset.main("photos", root)
    line = "1 picture has different labels in different files (a/1.png: a and b/1.png: b)"
    assert line in capsys.readouterr().out


def test_files_that_stage_dataset_stops_at_are_faults_and_come_first(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = pictures(tmp_path / "set", "a/0.png", "b/0.png")
    for number in range(400):
        colour = (number % 256, 50 + number // 256, 90)
        Image.new("RGB", (30, 20), colour).save(root / f"{'ab'[number % 2]}/{number // 2}.png")
    new_dataset.main("whole", root)
    assert capsys.readouterr().out.splitlines()[-1].startswith("Then: python -m pipeline.own whole")
    (root / "a/101.png").write_bytes(b"")
    (root / "b/0.png").write_bytes((root / "b/0.png").read_bytes()[:-30])
    shutil.copy(root / "a/1.png", root / "b/1.png")
    new_dataset.main("photos", root)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(f", {sum(line.startswith('fault: ') for line in lines)} faults.")
    assert "fault: a/101.png: empty file" in lines
    assert "fault: a/1.png: the same file as b/1.png, whose label is b" in lines
    assert any(line.startswith("fault: b/0.png: damaged image: ") for line in lines)
    config = conf / "dataset/photos.yaml"
    assert lines[-1].startswith(
        f"First correct the faults (or write `bad: drop` into {config} to leave them out). "
        "Then: python -m pipeline.own photos"
    )
    wanted = read_config(hydra_app.compose("dataset", ["dataset=photos", "image_size=8"]))
    with pytest.raises(Faulty) as error:
        prepare(wanted)
    of_stage = {f"fault: {fault.file}: {fault.reason}" for fault in error.value.faults}
    assert {line for line in lines if line.startswith("fault: ")} <= of_stage


def test_a_taken_or_impossible_name_is_refused(conf: Path, tmp_path: Path) -> None:
    root = pictures(tmp_path / "photos", "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    new_dataset.main("mine", root)
    before = (conf / "dataset/mine.yaml").read_text()
    with pytest.raises(PipelineError, match=r"exists: .* --replace, .* as mine\.yaml\.old"):
        new_dataset.main("mine", root)
    for name in ("../mine", "a b", "", "-x", "9lives", "x" * 99, "a/b"):
        with pytest.raises(PipelineError, match="a dataset's name is letters"):
            new_dataset.main(name, root)
    assert (conf / "dataset/mine.yaml").read_text() == before
    assert [path.name for path in (conf / "dataset").iterdir()] == ["mine.yaml"]


def test_no_replaced_yaml_is_lost(
    conf: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = pictures(tmp_path / "photos", *(f"a/{x}/{n}.jpg" for x in "cd" for n in "12"))
    folder = conf / "dataset"
    (folder / "mine.yaml").write_text("by hand")
    new_dataset.main("mine", root, replace=True)
    assert "mine.yaml.old, as mine.yaml was before" in capsys.readouterr().out
    made = (folder / "mine.yaml").read_text()
    new_dataset.main("mine", root, replace=True)
    assert len(list(folder.iterdir())) == 2, "the same YAML again is not kept twice"
    new_dataset.main("mine", root, layout="a/{label}/**", replace=True)
    assert (folder / "mine.yaml.old").read_text() == "by hand"
    assert (folder / "mine.yaml.old2").read_text() == made != (folder / "mine.yaml").read_text()
    with pytest.raises(PipelineError):
        new_dataset.main("mine", root, layout="b/{label}", replace=True)
    assert len(list(folder.iterdir())) == 3, "nothing is kept for a reading that fails"


def test_real_folders_are_recognised(shared: Path) -> None:
    pets = recognise(shared / "datasets/oxford_pets_370")
    assert len(set(labels(shared / "datasets/oxford_pets_370", pets.images))) == 37
    planet = recognise(shared / "datasets/planet_sample")
    assert (planet.kind, planet.images["path"]) == ("multi", "train/{}.jpg")
    text = dataset_yaml("x", shared, planet)
    assert text.count("\n  - ") == 17


def test_an_archive_is_looked_into(
    conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WB_ARCHIVES", str(tmp_path / "archives"))
    pictures(tmp_path / "made/set", "a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg")
    archive = shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "made")
    new_dataset.main("mine", Path(archive))
    wanted = read_config(hydra_app.compose("dataset", ["dataset=mine", "image_size=8"]))
    assert len(find_images(wanted.images, wanted.root()[0]).images) == 4


# What the columns of a table mean


def table_with(rows: dict[str, list[Any]], **hints: str) -> Table:
    """A table of images 0.jpg, 1.jpg, ... in its column `file`, if that does not name others."""
    n = len(next(iter(rows.values())))
    frame = pd.DataFrame({"file": [f"{at}.jpg" for at in range(n)], **rows}, dtype=object)
    column = FileColumn("file", {}, tuple(frame["file"]), 3)
    return Table("labels.csv", frame, column, Hints(**hints))


def meant(**rows: list[Any]) -> dict[str, Any]:
    """What the columns mean, without the column of the files; and `kind`."""
    found = meaning(table_with(rows))
    assert found is not None
    keys = {name: value for name, value in found.keys.items() if name != "file"}
    return {**keys, "kind": found.kind}


ASKS = "one label each, or several"


@pytest.mark.parametrize(
    ("column", "cells", "expected"),
    [
        ("label", ["a|b", "a", "b", "b|a"], "|"),
        ("label", ["a|b", "c|d", "a|d"], ASKS),  # no word of them is a label alone
        ("label", ["a;b", "a", "b;c", "b"], ASKS),  # c is none
        ("tags", ["a;b", "c;d", "e"], ";"),
        ("label", ["red oak", "white oak", "elm"], None),
        ("label", ["oak, elm", "oak", "elm", "elm, oak"], ASKS),
        ("label", ["Oak, red", "Oak, white", "Elm"], None),
        ("tags", ["oak elm", "oak", "elm", "ash oak elm"], " "),
        ("tags", ["red oak", "white elm", "old ash"], None),  # two words each, all different
        ("tags", ["red oak", "white oak", "red elm"], ASKS),
        ("label", ["1 3", "2", "3 1", "1"], " "),
        ("label", ["1 3", "2 1", "3 1"], None),
        ("label", ["a|", "b", "|c"], None),  # nothing behind it
        ("keywords", ["sea/sky", "sky", "sea/sky/sand"], "/"),
    ],
)
def test_labels_of_one_cell_are_split_where_names_and_cells_say_so(
    column: str, cells: list[str], expected: str | None
) -> None:
    rows = {column: cells * 4}
    if expected == ASKS:
        with pytest.raises(Unclear, match=ASKS):
            meant(**rows)
        return
    found = meant(**rows)
    assert found.get("delimiter") == expected
    assert found["kind"] == ("single" if expected is None else "multi")


@pytest.mark.parametrize(
    ("twice", "kind", "rows"), [(0, "single", None), (9, "single", None), (10, "multi", "merge")]
)
def test_images_of_several_rows_have_several_labels_from_a_tenth_of_them_on(
    twice: int, kind: str, rows: str | None
) -> None:
    files = [f"{at}.jpg" for at in range(100)]
    labels = [("oak", "elm", "ash")[at % 3] for at in range(100)]
    more = [("elm", "ash", "oak")[at % 3] for at in range(twice)]
    table = {"file": files + files[:twice] + files[:5], "label": labels + more + labels[:5]}
    found = meant(**table)
    assert (found["kind"], found.get("rows")) == (kind, rows)
    if twice == 10:
        for name, cells, said in (
            ("rater", ["x", "y"], "several people's answers"),
            ("present", ["0", "1"], "column present holds zeros and ones"),
        ):
            beside = [cells[at % 2] for at in range(115)]
            with pytest.raises(Unclear, match=said):
                meant(**table, **{name: beside})


def test_rows_that_name_no_image_do_not_make_a_label_one_of_several() -> None:
    table = table_with({"label": ["oak", "elm", "oak", "elm", "oak", "ash", "yew"]})
    files = (*table.file_column.of_row[:5], None, None)
    found = meaning(replace(table, file_column=FileColumn("file", {}, files, 3)))
    again = {"file": [*"abcde", "a", "b"], "label": ["oak", "elm", "oak", "elm", "ash", "", ""]}
    assert meant(**again)["kind"] == "single"  # nor do those without a label
    assert found is not None
    assert (found.kind, found.keys.get("rows")) == ("single", None)
    assert found.evidence[0] == "column file names 5 of 7 rows' images"


def test_a_group_is_the_first_kind_of_name_whose_cells_repeat() -> None:
    labels = ["oak", "elm"] * 6
    once, few = [f"p{at}" for at in range(12)], [f"s{at % 4}" for at in range(12)]
    assert meant(label=labels, slide=few, patient_id=[f"p{at // 2}" for at in range(12)]) == {
        **{"label": "label", "group": "patient_id", "kind": "single"}
    }
    assert meant(label=labels, patient_id=once, slide=few)["group"] == "slide"
    assert "group" not in meant(label=labels, patient_id=once, slide=["s"] * 12)
    assert meant(label=labels, PatientID=[*once[:11], "p0"])["group"] == "PatientID"


def test_a_part_is_named_by_a_columns_name_or_by_its_cells() -> None:
    labels = ["oak", "elm"] * 6
    parts = ["train", "val", "train", "test"] * 3
    for name, cells in (
        ("split", parts),
        ("anything", parts),
        ("is_valid", ["0", "1"] * 6),
        ("is_test", ["True", "False"] * 6),
        ("phase", ["train", "valid"] * 6),
    ):
        assert meant(label=labels, **{name: cells})["part"] == name
    told_of = meaning(table_with({"label": labels, "split": parts, "site": ["x", "y"] * 6}))
    assert told_of is not None
    assert told_of.evidence == [
        "column file names 12 of 12 rows' images",
        "column split names the part",
        "column site keeps its 2 groups of images whole",
        "column label gives the label",
    ]
    assert meant(label=labels, split=parts, phase=parts)["part"] == "split"
    assert meant(label=labels, anything=["train", "test"] * 6)["part"] == "anything"
    vehicles = meant(vehicle=["train", "bus"] * 6)  # a train is no part where there is no other
    assert vehicles == {"label": "vehicle", "kind": "single"}
    for name, cells, said in (
        ("fold", ["0", "1", "2"] * 4, "0, 1, 2 names no part"),
        ("split", ["train", "hold-out"] * 6, "hold-out names no part"),
        ("split", ["val", "valid"] * 6, "val, valid are the same part"),
    ):
        with pytest.raises(Unclear, match=said):
            meant(label=labels, **{name: cells})
    with pytest.raises(Unclear, match="columns split, phase each name parts"):
        meant(label=labels, split=parts, phase=["test", *parts[1:]])
    unused = meaning(table_with({"label": labels, "ml_use": ["UNASSIGNED", ""] * 6}))
    assert unused is not None
    assert "part" not in unused.keys
    assert "column ml_use is not used" in unused.evidence


def test_the_label_is_the_column_that_the_others_follow_from() -> None:
    species = ["red oak", "white oak", "elm", "ash"] * 3
    ids, genus = ["1", "2", "3", "4"] * 3, ["oak", "oak", "elm", "ash"] * 3
    assert meant(category=ids, species=species)["label"] == "species"  # names before numbers
    assert meant(species=species, label=species)["label"] == "label"
    found = meaning(table_with({"label": species, "class": genus}))
    assert found is not None
    assert "column class follows from label (--label 'class' for it)" in found.evidence
    for other in (["tree"] * 12, ids):  # says nothing, says the same
        alone = meaning(table_with({"label": species, "class": other}))
        assert alone is not None
        assert not any("follows" in each for each in alone.evidence)
    with pytest.raises(Unclear, match="columns class, label could each be the label"):
        meant(**{"class": genus, "label": ["small", "tall", "tall", "small"] * 3})
    assert meant(**{"class": [""] * 12, "note": species})["label"] == "note"
    assert meant(kind=ids, kind_code=ids)["label"] == "kind"  # numbers alone that say the same
    with pytest.raises(Unclear, match="which column is the label"):
        meant(note=species, colour=["red", "red", "blue"] * 4)
    assert meant(number=ids, name=["x", "y", "z", "w"] * 3, note=[""] * 12) is not None


def test_a_minus_one_among_whole_numbers_is_no_label() -> None:
    assert meant(label=["-1", "0", "1"] * 4)["no_label"] == ["-1"]
    for cells in (["-1", "1"] * 6, ["-1", "0", "high"] * 4, ["0", "1", "2"] * 4):
        assert "no_label" not in meant(label=cells)


def test_columns_of_zeros_and_ones_are_one_label_where_no_row_has_two() -> None:
    rows = {"oak": ["1", "0", "0"] * 4, "elm": ["0", "1", "0"] * 4, "ash": ["0", "0", "1"] * 4}
    assert meant(**rows) == {"label": ["oak", "elm", "ash"], "kind": "single"}
    assert meant(oak=rows["oak"], elm=rows["elm"])["kind"] == "single"  # some rows have none
    assert meant(oak=["1 ", "0", "0"], elm=["0", " 1", "0"])["kind"] == "single"
    assert meant(oak=["1 ", "0", "0"], elm=[" 1", " 1", "0"])["kind"] == "multi"
    assert meant(**rows, yew=["1", *["0"] * 11])["kind"] == "multi"
    assert meant(oak=["0"] * 12, elm=["0"] * 12)["kind"] == "multi"  # no row has any
    # beside them a column of words, which of both are the labels?
    assert meant(**rows, note=["big", "small"] * 6)["label"] == ["oak", "elm", "ash"]
    words = {"oak": ["1", "1", "0"] * 4, "elm": ["0", "1", "0"] * 4, "note": ["big", "small"] * 6}
    with pytest.raises(Unclear, match=r"2 columns of zeros and ones \(oak, elm\) beside note"):
        meant(**words)


@pytest.mark.parametrize(
    ("name", "cells", "doubtful"),
    [
        ("grade", ["0", "1", "2", "3"], False),
        ("grade", ["0.5", "1.5", "2.5"], True),
        ("label", ["10", "200", "3000"], False),  # called label: numbers of classes
        ("grade", ["10", "200", "3000"], True),
        ("species_id", ["10", "200", "3000"], False),
        ("age", ["1", "2", "3"], True),
        ("n_cells", ["1", "2", "3"], True),
        ("grade", ["0", "9"], False),  # two of them are classes
        ("grade", ["0", "1", "5"], False),
        ("grade", ["0", "1", "6"], True),  # not in a row
        ("grade", ["low", "1", "6"], False),
    ],
)
def test_numbers_that_may_be_measured_are_doubted(
    name: str, cells: list[str], doubtful: bool
) -> None:
    found = why_doubtful(table_with({name: [*cells * 3, ""]}).frame, name)
    shown = ", ".join(sorted(cells, key=lambda each: float(each) if doubtful else 0.0))
    assert found == (f"holds numbers ({shown}), which may be measured" if doubtful else "")


def test_columns_of_a_box_are_known_by_their_names() -> None:
    labels = ["oak", "elm"] * 3
    corners = {name: ["3", "4"] * 3 for name in ("xmin", "ymin", "xmax", "ymax")}
    said = "may be of an object in the image, whose box is in xmin, ymin"
    assert why_doubtful(table_with({"label": labels, **corners}).frame, "label") == said
    assert why_doubtful(table_with({"label": labels, "bbox": ["1 2"] * 6}).frame, "label").endswith(
        "bbox"
    )
    assert why_doubtful(table_with({"label": labels, "left": ["3"] * 6}).frame, "label") == ""
    tile = {"x": ["0", "9"] * 3, "y": ["0", "9"] * 3}  # where a tile was cut out
    assert why_doubtful(table_with({"label": labels, **tile}).frame, "label") == ""
    assert why_doubtful(table_with({"label": labels, **tile, "w": ["9"] * 6}).frame, "label") != ""
    empty = dict.fromkeys(corners, [""] * 6)
    assert why_doubtful(table_with({"label": labels, **empty}).frame, "label") == ""


def test_a_table_without_labels_says_more_where_it_splits_or_groups() -> None:
    parts, groups = ["train", "valid"] * 3, ["p1", "p2", "p1"] * 2
    both = table_with({"split": parts, "patient": groups})
    assert says_more(both) == "its column split splits the images"
    assert says_more(both, of_parts=False) == "its column patient groups the images"
    assert says_more(table_with({"patient": groups}, group="none")) != ""
    assert says_more(table_with({"note": groups})) == ""
