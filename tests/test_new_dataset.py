import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from pipeline.configuration import hydra_app
from pipeline.core.errors import PipelineError
from pipeline.dataset import new as new_dataset
from pipeline.dataset.__main__ import prepare
from pipeline.dataset.checks import Faulty, read_config
from pipeline.dataset.file_column import Hints
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
