"""Command `predict`: any images in, one row each out; what cannot be used is one line."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from exports import exported, squares
from PIL import Image
from tiny_runs import SIZE

from pipeline.core.errors import PipelineError
from pipeline.core.files import STDOUT
from pipeline.dataset.images import crop, decode, squish
from pipeline.dataset.prepared import Crops, Ragged
from pipeline.export.folder import PARITY
from pipeline.predict import __main__ as predict
from pipeline.predict.exported import on_cpu, open_exported


@pytest.fixture
def model(exported_models: dict[str, Path], tmp_path: Path) -> Path:
    """A copy that a test may break."""
    copy = tmp_path / "model"
    copy.mkdir()
    for file in exported_models["single"].iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """70 pictures of several formats and sizes in two folders: more than two tasks."""
    folder = tmp_path / "images"
    (folder / "below").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for n in range(70):
        pixels = draw.integers(0, 256, (30 + n, 50, 3)).astype(np.uint8)
        kind = ("jpg", "png", "webp")[n % 3]
        place = folder / "below" if n % 2 else folder
        Image.fromarray(pixels).save(place / f"{n:02d}.{kind}")
    return folder


@pytest.mark.parametrize("kind", ["single", "multi"])
def test_every_image_gets_the_answer_of_the_model_on_its_pixels(
    exported_models: dict[str, Path], images: Path, tmp_path: Path, kind: str
) -> None:
    predict.main(exported_models[kind], images, out=tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv", keep_default_na=False)
    model = open_exported(exported_models[kind])
    assert len(table) == 70
    resize = {"single": squish, "multi": crop}[kind]
    pictures = [decode(Path(file).read_bytes()).pixels for file in table["file"]]
    pixels = np.stack([predict.centre_crop(resize(picture, SIZE), SIZE) for picture in pictures])
    wanted = model.probabilities(model.logits(pixels))
    given = table[[f"p({name})" for name in model.classes]].to_numpy()
    assert np.allclose(given, wanted, atol=3e-5)
    if kind == "single":
        assert table["class"].tolist() == [model.classes[n] for n in wanted.argmax(axis=1)]
        assert np.allclose(table["probability"], wanted.max(axis=1), atol=3e-5)
    else:
        said = ["|".join(np.array(model.classes)[row]) for row in wanted > 0.5]
        assert table["labels"].tolist() == said


def test_torch_alone_gives_the_same_answers_channel_by_channel(model: Path) -> None:
    opened = open_exported(model)
    pixels = np.random.default_rng(0).integers(0, 256, (9, 3, SIZE, SIZE)).astype(np.uint8)
    wanted = opened.logits(pixels)
    quicker = on_cpu(replace(opened, folder=model / "no onnx here"))
    (stem, *_) = [each for each in opened.net.modules() if isinstance(each, torch.nn.Conv2d)]
    assert stem.weight.is_contiguous(memory_format=torch.channels_last)
    assert np.abs(quicker(pixels) - wanted).max() < PARITY
    assert np.array_equal(quicker(pixels).argmax(1), wanted.argmax(1))


def test_labels_are_given_by_their_own_thresholds() -> None:
    rows = predict.table([Path("a")], np.array([[0.3, 0.3]]), ["x", "y"], np.array([0.2, 0.4]))
    assert rows["labels"].tolist() == ["x"]


def test_what_cannot_be_read_is_listed_and_stops_nothing(
    model: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (images / "broken.jpg").write_bytes((images / "00.jpg").read_bytes()[:200])
    (images / "no.png").write_text("not a picture")
    missing = images / "missing.jpg"
    missing.symlink_to("nowhere.jpg")
    with pytest.raises(
        PipelineError, match=r"^3 of 73 files cannot be read .*: /.*/p-unreadable\.csv"
    ):
        predict.main(model, images, out=tmp_path / "p.csv")
    listed = pd.read_csv(tmp_path / "p-unreadable.csv").set_index("file")["reason"]
    assert set(listed.index) == {str(images / "broken.jpg"), str(images / "no.png"), str(missing)}
    assert listed[str(missing)] == "cannot be read: No such file or directory"
    assert len(pd.read_csv(tmp_path / "p.csv")) == 70
    said = capsys.readouterr()
    assert "p.csv: 70 images\n" in said.out
    assert len(said.err.splitlines()) == 3
    predict.main(model, images / "00.jpg", out=tmp_path / "p.csv")
    assert not (tmp_path / "p-unreadable.csv").exists(), "of the call before"


def test_a_table_that_goes_to_no_file_leaves_nothing_beside_it(
    model: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for n in range(3):
        (images / f"no{n}.png").write_text("not a picture")
    monkeypatch.chdir(tmp_path)
    there = set(tmp_path.iterdir())
    with pytest.raises(PipelineError, match=r"^3 of 73 files cannot be read and have no row$"):
        predict.main(model, images, out=STDOUT)
    printed, said = capsys.readouterr()
    assert len(pd.read_csv(io.StringIO(printed))) == 70
    assert [f"no{n}.png" in said for n in range(3)] == [True] * 3
    assert said.endswith("\nstandard output: 70 images\n")
    os.mkfifo(tmp_path / "pipe")
    for n in range(3):
        (images / f"no{n}.png").unlink()
    out = {"out": tmp_path / "pipe"}
    writer = threading.Thread(target=predict.main, args=(model, images), kwargs=out, daemon=True)
    writer.start()
    assert (tmp_path / "pipe").read_text() == printed
    writer.join()
    assert set(tmp_path.iterdir()) == {*there, tmp_path / "pipe"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ([], "no images were named: give image files"),
        (["empty"], "no images .*empty"),
        (["text.jpg"], "none of the 1 file is an image that can be read"),
    ],
)
def test_no_images_are_one_line(model: Path, tmp_path: Path, given: list[str], line: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.jpg").write_text("text")
    with pytest.raises(PipelineError, match=line):
        predict.main(model, *(tmp_path / name for name in given), out=tmp_path / "p.csv")
    assert not (tmp_path / "p.csv").exists()


def test_odd_images_get_the_answer_of_what_a_viewer_shows_and_dim_ones_a_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    grey = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50)).astype(np.uint8))
    for name, kind in (("grey", "L"), ("rgb", "RGB"), ("alpha", "RGBA"), ("palette", "P")):
        grey.convert(kind).save(folder / f"{name}.png")
    black = Image.new("L", grey.size)
    grey.save(folder / "animated.gif", save_all=True, append_images=[black])
    Image.fromarray(np.asarray(grey).astype(np.uint16) << 8).save(folder / "sixteen.png")
    grey.convert("CMYK").save(folder / "cmyk.tif")
    (folder / "lost.png").symlink_to(tmp_path / "nowhere")
    with pytest.raises(PipelineError, match="1 of 8 files cannot be read"):
        predict.main(model, folder, out=tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv").set_index("file").filter(like="p(")
    assert len(table) == 7
    assert (table.max() - table.min()).max() < 1e-3
    assert "nearly black" not in capsys.readouterr().err
    listed = pd.read_csv(tmp_path / "p-unreadable.csv")
    assert listed.to_numpy().tolist() == [
        [str(folder / "lost.png"), "cannot be read: No such file or directory"]
    ]
    Image.fromarray(np.asarray(grey).astype(np.uint16) << 4).save(tmp_path / "dim.png")
    predict.main(model, tmp_path / "dim.png", out=tmp_path / "p.csv")
    assert (
        "1 image of 16 bits uses the lower 12 alone, so the model saw it nearly"
        in capsys.readouterr().err
    )


def test_a_model_that_is_not_there_is_one_line_before_torch_is_loaded(images: Path) -> None:
    call = (
        "import sys\nfrom pathlib import Path\nfrom pipeline.predict.__main__ import main\n"
        f"for folder in ('nowhere', {str(images)!r}):\n"
        f"    try:\n        main(Path(folder), Path({str(images)!r}))\n"
        "    except Exception as error:\n        print(error, 'torch' in sys.modules)\n"
    )
    said = subprocess.run([sys.executable, "-c", call], capture_output=True, text=True, check=True)
    assert said.stdout == (
        "nowhere: no such folder: give one that `python -m pipeline.export` wrote False\n"
        f"{images}: no exported model here: give one that `python -m pipeline.export` wrote False\n"
    )


def test_a_folder_for_the_answers_is_one_line_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="a folder: give --out a file"):
        predict.main(tmp_path / "no model", tmp_path / "a.jpg", out=tmp_path)


def changed(**changes: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))

    return change


def other_size(pixels: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        about = json.loads((folder / "config.json").read_text())["preprocessing"]
        changed(preprocessing={**about, "image_size": pixels})(folder)

    return change


def other_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda folder: (folder / "config.json").unlink(), "no exported model here"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json: not JSON"),
        (changed(format=99), "not the configuration of a model in format 1"),
        (lambda folder: (folder / "model.safetensors").unlink(), "no such file"),
        (other_weights, "model.safetensors: changed since it was exported"),
        (changed(model="resnet18.a1_in1k"), "not a whole model"),
        (changed(model="hf-hub:somebody/something"), "has no model 'hf-hub:somebody/something'"),
        (changed(model="os.system"), "has no model 'os.system'"),
        (changed(classes=["a", "b"]), "3 answers, but 2 classes"),
        (changed(features="exec"), "features 'exec'"),
        (changed(timm_options={"checkpoint_path": "a.pth"}), "timm_options {'checkpoint_path'"),
        (other_size(4), "image_size 4"),
        (other_size("48"), "image_size '48'"),
    ],
)
def test_a_folder_that_is_no_such_model_is_one_line(
    model: Path, change: Callable[[Path], None], line: str
) -> None:
    change(model)
    with pytest.raises(PipelineError, match=line) as caught:
        open_exported(model)
    assert "\n" not in str(caught.value)


def test_a_size_that_the_model_cannot_take_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.export.folder.missing_packages", lambda: ["onnx"])
    levit = "levit_128s.fb_dist_in1k"
    exported(tmp_path / "model", squares(tmp_path / "squares", 224), levit, 224)
    other_size(96)(tmp_path / "model")
    with pytest.raises(PipelineError, match="does not take images of 96 pixels"):
        open_exported(tmp_path / "model")


def test_a_pickle_in_place_of_the_weights_is_refused_and_not_run(model: Path) -> None:
    ran = model / "ran"

    class Evil:
        def __reduce__(self) -> Any:
            return Path.touch, (ran,)

    content = pickle.dumps(Evil())
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(PipelineError, match="changed since it was exported"):
        open_exported(model)
    sums = json.loads((model / "config.json").read_text())["sha256"]
    digest = hashlib.sha256(content).hexdigest()
    changed(sha256={**sums, "model.safetensors": digest})(model)
    with pytest.raises(PipelineError, match="not a whole model"):
        open_exported(model)
    assert not ran.exists()


def test_a_path_that_is_not_there_is_an_error_and_a_folder_without_images_is_told(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(PipelineError, match=r"typo.jpg: no such file or folder"):
        predict.image_files([images, tmp_path / "typo.jpg"])
    (tmp_path / "empty").mkdir()
    assert predict.image_files([images, tmp_path / "empty"]) == predict.image_files([images])
    assert capsys.readouterr().err == f"{tmp_path / 'empty'}: no images in it\n"


def test_files_in_a_folder_that_are_no_images_by_name_are_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.jpg", "notes.txt", "sub/without_suffix"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert predict.image_files([tmp_path]) == [tmp_path / "a.jpg"]
    said = capsys.readouterr().err
    assert said == f"{tmp_path}: 2 other files are left out: no image by name\n"


def test_hidden_files_and_thumbnails_of_file_managers_are_no_images(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thumbnail = "@eaDir/a.jpg/SYNOPHOTO_THUMB_M.jpg"
    for name in ("a.jpg", "._a.jpg", ".ipynb_checkpoints/a-checkpoint.jpg", thumbnail):
        (tmp_path / ".set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".set" / name).touch()
    assert predict.image_files([tmp_path / ".set"]) == [tmp_path / ".set/a.jpg"]
    assert "3 other files are left out: hidden, or no image by name" in capsys.readouterr().err
    hidden = tmp_path / ".set/._a.jpg"
    assert predict.image_files([hidden]) == [hidden]  # named by its path


def test_without_a_model_the_pixels_come_back_in_order(images: Path) -> None:
    files = predict.image_files([images])
    batches = list(predict.decoded_batches(files, "squish", 24, None))
    assert [file for batch in batches for file in batch.files] == files
    pixels = np.concatenate([batch.output for batch in batches])
    wanted = [squish(decode(file.read_bytes()).pixels, 24) for file in files]
    assert np.array_equal(pixels, np.stack(wanted))


def test_memory_that_runs_out_is_one_line_and_no_image_is_called_damaged(
    images: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_memory(data: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(predict, "decode", no_memory)
    with pytest.raises(PipelineError, match="memory ran out while images were decoded"):
        list(predict.decoded_batches(predict.image_files([images]), "squish", 24, None))


@pytest.mark.parametrize("shape", [(24, 31), (40, 24), (24, 24)])
def test_a_crop_is_cut_where_validation_images_are(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, *shape)).astype(np.uint8)
    rows = Ragged(image.reshape(-1), np.array([shape], dtype=np.int32))
    wanted = Crops(rows, 24, np.array([False]))[[0]][0]
    assert np.array_equal(predict.centre_crop(image, 24), wanted)
