"""Command `own`: the study it writes for a dataset of one's own."""

import json
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from study_fakes import write_imagenet

from benchmarks.project_copy import ROOT
from pipeline.change import __main__ as change
from pipeline.core.errors import PipelineError
from pipeline.core.files import read_yaml
from pipeline.finetune.weights import WHEELS
from pipeline.own import __main__ as own
from pipeline.statistics import answer
from pipeline.study.params import raced_name, read_study

GIT_AS = ["-c", "user.name=me", "-c", "user.email=me@example.org"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """params.yaml of the quickstart and a dataset of nine images, 100 to 120 pixels wide."""
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    for number in range(9):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (130, 100 + number)).save(path)
    (tmp_path / "conf/dataset").mkdir(parents=True)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().out


def configure(project: Path, name: str = "photos") -> None:
    """conf/dataset/NAME.yaml as `python -m pipeline.dataset --new` writes it."""
    from pipeline.dataset.new import dataset_yaml
    from pipeline.dataset.recognise import recognise

    root = project / "photos"
    text = dataset_yaml(name, root, recognise(root))
    (project / f"conf/dataset/{name}.yaml").write_text(text)


def test_the_study_has_the_dataset_its_size_and_models_of_the_wheels(project: Path, capsys):
    configure(project)
    own.main("photos", params=project / "params.yaml")
    study = read_study(project / "params.yaml")
    assert (study.datasets, study.image_size, study.weights) == (("photos",), 96, "wheel")
    assert study.models == tuple(WHEELS)
    said = capsys.readouterr().out
    assert "median of 104" in said
    assert said.endswith(
        "For an estimate of the time before that: dvc repro merge dataset@photos, "
        "python -m pipeline.calibrate, and python -m pipeline.sweep --dry-run\n"
    )
    assert (
        "photos: about 2 validation images are few, one mistake is 50.0 points: expect models to "
        "tie" in said
    )


def test_several_datasets_share_the_size_of_the_largest_images_or_the_one_asked_for(
    project: Path, capsys
):
    configure(project)
    configure(project, "maps")
    for path in (project / "photos").rglob("*.png"):
        copy = project / "large" / path.relative_to(project / "photos")
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((200, 180)).save(copy)
    text = (project / "conf/dataset/maps.yaml").read_text()
    (project / "conf/dataset/maps.yaml").write_text(text.replace("photos", "large"))
    own.main("photos", "maps", params=project / "params.yaml")
    study = read_study(project / "params.yaml")
    assert (study.datasets, study.image_size) == (("photos", "maps"), 192)
    text = said(capsys)
    assert "192 pixels: the shorter side of their images has a median of photos 104" in text
    assert "photos 104, maps 180, most weights" in text
    assert text.count("validation images are few") == 2
    assert "--dataset photos, and python -m pipeline.recommend --dataset maps" in text
    own.main("maps", "maps", image_size=64, params=project / "params.yaml")
    assert read_study(project / "params.yaml").image_size == 64
    assert "64 pixels, as asked: the shorter side of its images has a median of 180" in said(capsys)


def test_a_study_that_git_has_not_is_kept_beside_it(project: Path, capsys):
    configure(project)
    params = project / "params.yaml"
    first = params.read_text()
    own.main("photos", params=params)
    assert f"It replaces the study of digits, digit_mosaic, kept as {params}.old." in said(capsys)
    assert Path(f"{params}.old").read_text() == first
    own.main("photos", params=params)
    assert "It replaces" not in said(capsys)  # nothing changed
    for command in (["init", "-q"], ["add", "params.yaml"], [*GIT_AS, "commit", "-qm", "photos"]):
        subprocess.run(["git", *command], cwd=project, check=True)
    change.main("grid.seeds=[5]", params=params)
    tuned = params.read_text()
    own.main("photos", params=params)
    assert f"It replaces the study of photos, kept as {params}.old2." in said(capsys)
    assert Path(f"{params}.old2").read_text() == tuned
    own.main("photos", params=params, device="gpu")
    assert "It replaces" not in said(capsys)
    subprocess.run(["git", *GIT_AS, "commit", "-qam", "as it is"], cwd=project, check=False)
    configure(project, "others")
    own.main("others", params=params)
    assert "It replaces the study of photos, which is committed in git." in said(capsys)


def test_an_export_of_a_dataset_that_it_replaces_is_dropped(project: Path):
    configure(project)
    params = project / "params.yaml"
    text = params.read_text().replace("  datasets: [] # none; some", "  datasets: [digits] #")
    params.write_text(text)
    assert read_yaml(params)["export"]["datasets"] == ["digits"]
    own.main("photos", params=params)
    assert read_yaml(params)["export"]["datasets"] == []


def test_races_that_it_replaces_are_named_and_leave_the_study(project: Path, capsys):
    configure(project)
    params = project / "params.yaml"
    values = {"dataset": "photos", "model": next(iter(WHEELS)), "recipe": "quickstart", "seed": 0}

    def race(content) -> None:
        content["grid"]["datasets"] = []
        content["race"]["datasets"].append("photos")
        content["race"]["fits"][raced_name(values)] = values

    (project / "conf/recipe").mkdir()
    for name in ("quickstart", "lp_ft"):
        shutil.copy(ROOT / f"conf/recipe/{name}.yaml", project / "conf/recipe")
    change.edit_race(params, race)
    assert len(read_study(params).raced) == 1
    own.main("photos", params=params)
    assert f"It replaces the race of photos with its 1 run, kept as {params}.old." in said(capsys)
    study = read_study(params)
    assert (study.datasets, study.raced_datasets, study.raced) == (("photos",), (), ())
    assert read_yaml(params)["race"] == {"datasets": [], "fits": {}, "probes": {}}


@pytest.mark.parametrize("line", ["  seeds: [0, 1]\n", None])
def test_a_study_file_that_lacks_a_key_is_one_line(project: Path, line: str | None):
    configure(project)
    params = project / "params.yaml"
    params.write_text(params.read_text().replace(line, "") if line else "# nothing yet\n")
    key = "grid.seeds" if line else "grid.datasets"
    with pytest.raises(PipelineError, match=rf"params\.yaml: {key} is missing: copy it from"):
        own.main("photos", params=params)


def test_a_mapping_is_replaced_as_a_whole_and_a_dash_is_a_value(project: Path):
    params = project / "params.yaml"
    shutil.rmtree(project / "conf")  # which has not the quickstart's datasets
    change.main("race.fits={}", "timm.rev=-", params=params)
    assert read_yaml(params) == read_yaml(ROOT / "params.yaml")
    assert "  rev: '-' # a commit" in params.read_text()
    with pytest.raises(PipelineError, match=r"^race\.fits holds names with values: change one of"):
        change.main("race.fits=3", params=params)


def test_enough_validation_images_are_no_warning(project: Path, monkeypatch, capsys):
    configure(project)
    monkeypatch.setattr(answer, "FEW_IMAGES", 1)
    own.main("photos", params=project / "params.yaml")
    assert "validation images" not in capsys.readouterr().out


def test_a_short_list_has_each_family_once_in_a_class_of_size(project: Path):
    configure(project)
    table = write_imagenet(project / "data/imagenet.csv")
    rows = pd.read_csv(table)
    big = rows.assign(model="big.in1k", family="vit", params_m=80.0)
    pd.concat([rows, big]).to_csv(table, index=False)
    options = {"params": project / "params.yaml", "imagenet": table, "weights": "hub"}
    own.main("photos", device="gpu", **options)
    assert read_study(project / "params.yaml").models == ("tf_efficientnet_lite2.in1k", "big.in1k")
    own.main("photos", device="cpu", **options)
    assert read_study(project / "params.yaml").models == ("tf_efficientnet_lite2.in1k",)


@pytest.mark.parametrize(
    ("side", "size"), [(28, 64), (100, 96), (128, 128), (256, 224), (4000, 224)]
)
def test_images_are_neither_enlarged_much_nor_larger_than_the_weights_know(side: int, size: int):
    assert own.size_for(side) == size


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("photo", {}, "unknown dataset 'photo': did you mean photos"),
        ("photos", {"device": "tpu"}, "--device tpu: give cpu or gpu"),
        ("photos", {"weights": "cloud"}, "--weights cloud: give wheel, hub or folder"),
        ("photos", {"image_size": 4}, "--image-size 4: give 32 pixels or more"),
    ],
)
def test_what_cannot_be_written_is_one_line_and_params_stays(
    project: Path, name: str, options: dict, line: str
):
    configure(project)
    before = (project / "params.yaml").read_bytes()
    with pytest.raises(PipelineError, match=line):
        own.main(name, params=project / "params.yaml", **options)
    assert (project / "params.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("name: photos\n", "names no images of its own: write source and images"),
        (
            "name: photos\nimages: {_target_: pipeline.dataset.find_images.digits}\n",
            r"`python -m pipeline\.change 'grid\.datasets=\[photos\]'` makes it the study's",
        ),
        ("# nothing yet\n", r"photos\.yaml: names nothing: write source and images"),
        ("source: gone\nimages: {}\n", "source gone is not there"),
    ],
)
def test_a_dataset_without_images_of_its_own_is_one_line(project: Path, text: str, line: str):
    (project / "conf/dataset/photos.yaml").write_text(text)
    with pytest.raises(PipelineError, match=line):
        own.main("photos", params=project / "params.yaml")


def test_no_dataset_is_one_line(project: Path):
    with pytest.raises(PipelineError, match="no dataset: name one or more"):
        own.main(params=project / "params.yaml")


def test_images_that_cannot_be_opened_are_one_line(project: Path):
    configure(project)
    for path in project.glob("photos/*/*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(PipelineError, match="none of its 9 images can be opened"):
        own.main("photos", params=project / "params.yaml")


def test_no_fitting_model_is_one_line():
    rows = pd.DataFrame({"model": ["a"], "family": ["a"], "img_size": [224], "top1": [80.0]})
    with pytest.raises(PipelineError, match="no published model fits --device cpu"):
        own.short_list(rows.assign(params_m=300.0, fixed_size=float("nan")), 224, "cpu")


def test_a_model_of_another_fixed_size_is_not_on_the_list():
    rows = pd.DataFrame({"model": ["fixed", "free"], "family": ["f", "g"], "top1": [80.0, 70.0]})
    rows = rows.assign(img_size=224, params_m=5.0, fixed_size=[224.0, float("nan")])
    assert own.short_list(rows, 96, "cpu") == (["free"], {"fixed": "224 pixels only"})
    assert own.short_list(rows, 224, "cpu") == (["fixed", "free"], {})
    miniatures = rows.assign(model=["test_vit.r160_in1k", "free"])
    assert own.short_list(miniatures, 224, "cpu") == (["free"], {})


def test_weights_of_another_size_are_said_to_be_left_out(project: Path, capsys):
    configure(project)
    table = pd.read_csv(write_imagenet(project / "data/imagenet.csv"))
    table.loc[table["model"] == "tf_efficientnet_lite2.in1k", "fixed_size"] = 224
    table.to_csv(project / "data/imagenet.csv", index=False)
    options = {"imagenet": project / "data/imagenet.csv", "weights": "hub"}
    own.main("photos", params=project / "params.yaml", **options)
    assert read_study(project / "params.yaml").models == ("tf_efficientnet_lite1.in1k",)
    left_out = "tf_efficientnet_lite2.in1k (224 pixels only)"
    assert f"Left out, as they take images of another size: {left_out}.\n" in said(capsys)
    own.main("photos", image_size=224, params=project / "params.yaml", **options)
    assert "Left out" not in said(capsys)


@pytest.mark.parametrize("count", [1, 3, 5, 6, 7, 9])
def test_no_more_images_are_looked_at_than_it_says(project: Path, monkeypatch, count: int):
    configure(project)
    for number in range(count, 9):
        (project / "photos" / "ab"[number % 2] / f"{number}.png").unlink()
    opened = []
    looked_at = Image.open
    monkeypatch.setattr(own.Image, "open", lambda path: opened.append(path) or looked_at(path))
    monkeypatch.setattr(own, "LOOKED_AT", 3)
    own.look_at(project, "photos")
    assert 1 <= len(opened) <= 3


def test_a_valid_part_that_is_taken_from_train_is_counted(project: Path):
    for number in range(30):
        part = "test" if number < 10 else "train"
        path = project / "photos" / part / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (130, 100 + number)).save(path)
    for folder in "ab":
        shutil.rmtree(project / "photos" / folder)
    configure(project)
    assert own.look_at(project, "photos").n_valid == 4  # of the 20 images of train


def test_validation_images_of_few_groups_are_told(project: Path, capsys):
    for number in range(60):
        path = project / "photos" / "ab"[number % 2] / f"patient_{number // 6:02d}_{number}.png"
        Image.new("RGB", (130, 100 + number)).save(path)
    configure(project)
    path = project / "conf/dataset/photos.yaml"
    own.main("photos", params=project / "params.yaml")
    assert "validation images belong to" not in said(capsys)
    pattern = r"group_pattern: '(?P<group>patient_\d+)'"
    path.write_text(path.read_text().replace("images:\n", f"images:\n  {pattern}\n"))
    own.main("photos", params=project / "params.yaml")
    look = own.look_at(project, "photos")  # 12 images of two patients, and two of no group
    assert (look.n_valid, look.n_groups) == (14, 4)
    assert "photos: its validation images belong to 4 groups. Intervals treat" in said(capsys)


def test_images_in_parquet_files_are_looked_at(project: Path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    shown = {
        "features": {"image": {"_type": "Image"}, "label": {"dtype": "string", "_type": "Value"}}
    }
    files = sorted((project / "photos").rglob("*.png"))
    table = pyarrow.table(
        {
            "image": [{"bytes": file.read_bytes(), "path": file.name} for file in files],
            "label": [file.parent.name for file in files],
        }
    )
    meta = {"huggingface": json.dumps({"info": shown})}
    shutil.rmtree(project / "photos")
    (project / "photos").mkdir()
    place = project / "photos" / "train-00000-of-00001.parquet"
    parquet.write_table(table.replace_schema_metadata(meta), place)
    configure(project)
    look = own.look_at(project, "photos")
    assert (look.side, look.n_valid) == (104, 2)
