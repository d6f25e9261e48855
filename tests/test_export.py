"""Stage `export`: a folder that is the trained learner, and needs nothing of ours to be used."""

import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import timm
import torch
from exports import about, exported, learner_of, squares
from PIL import Image
from study_fakes import write_imagenet, write_run, write_study
from tiny_runs import MODEL, SIZE

from pipeline.aggregate import __main__ as aggregate
from pipeline.core.command import percent
from pipeline.core.errors import PipelineError
from pipeline.dataset.images import RESIZES
from pipeline.dataset.prepared import open_prepared
from pipeline.export import __main__ as stage
from pipeline.export import fitting
from pipeline.export.folder import PARITY, missing_packages, write_folder
from pipeline.finetune import speed, training
from pipeline.predict.__main__ import centre_crop
from pipeline.predict.exported import open_exported
from pipeline.recommend.choice import recommended_row
from pipeline.records import pack_predictions
from pipeline.study.params import read_study

KINDS = [  # one of every kind that vision_learner fits, and the size it takes
    ("resnet18.a1_in1k", 64),
    ("regnetx_002.pycls_in1k", 64),
    ("tf_efficientnet_lite0.in1k", 64),
    ("convnext_atto.d2_in1k", 64),
    ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", 224),
    ("swin_tiny_patch4_window7_224.ms_in1k", 224),
    ("levit_128s.fb_dist_in1k", 224),
    ("mobilevit_xxs.cvnets_in1k", 256),
    ("vit_small_patch16_dinov3.lvd1689m", 224),
    ("test_vit.r160_in1k", 64),  # built for another size than that of its weights
]
needs_onnx = pytest.mark.skipif(
    bool(missing_packages()), reason=f"needs {', '.join(missing_packages())}: the extra `export`"
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return squares(tmp_path / "squares")


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Most of the time of an export is torch's conversion to ONNX."""
    monkeypatch.setattr("pipeline.export.folder.missing_packages", lambda: ["onnx"])


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


def check(folder: Path, learn: Any, data: Path, size: int) -> None:
    """The opened folder's logits are those of the learner's own loader and net."""
    wanted = torch.cat([learn.model(images) for images, _ in learn.dls.valid]).detach().numpy()
    prepared = open_prepared(data)
    pixels = np.asarray(prepared.array(size)[prepared.rows("valid")])
    made = open_exported(folder).logits(pixels)
    assert np.abs(made - wanted).max() < PARITY
    assert np.array_equal(made.argmax(1), wanted.argmax(1))
    assert np.abs(wanted).max() > 0.01, "logits of zero would be equal to anything"


@pytest.mark.slow
@pytest.mark.parametrize(("model", "size"), KINDS, ids=[name for name, _ in KINDS])
def test_every_kind_of_model_is_exported_with_its_learners_logits(
    tmp_path: Path, model: str, size: int
) -> None:
    data = squares(tmp_path / "squares", size)
    run, learn = learner_of(data, model, size)
    (tmp_path / "out").mkdir()
    said = write_folder(tmp_path / "out", learn, about(run))
    check(tmp_path / "out", learn, data, size)
    config = config_of(tmp_path / "out")
    if missing_packages():
        assert "not installed" in said
    else:
        assert config["no_onnx"] is None, said
        assert config["parity"]["onnx"] < PARITY


@pytest.mark.usefixtures("without_onnx")
@pytest.mark.parametrize(
    "recipe",
    [
        {},
        {"pool": "average"},
        {"head": "linear"},
        {"head": "linear", "pool": "average"},
        {"features": "timm"},
        {"features": "timm", "head": "linear"},
    ],
    ids=lambda each: "-".join(each.values()) or "fastai2022",
)
def test_every_head_and_pooling_that_a_recipe_can_ask_for(
    tmp_path: Path, data: Path, recipe: dict[str, str]
) -> None:
    run, learn = learner_of(data, MODEL, **recipe)
    (tmp_path / "out").mkdir()
    write_folder(tmp_path / "out", learn, about(run))
    check(tmp_path / "out", learn, data, SIZE)


@pytest.mark.usefixtures("without_onnx")
def test_a_model_built_for_another_size_is_opened_at_that_size_also_by_the_cards_lines(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run, learn = learner_of(data, "test_vit.r160_in1k")
    folder = tmp_path / "out"
    folder.mkdir()
    write_folder(folder, learn, about(run))
    check(folder, learn, data, SIZE)
    assert config_of(folder)["timm_options"] == {"img_size": SIZE}
    pixels = write_picture(folder / "image.jpg", "single")
    monkeypatch.chdir(folder)
    exec(card_code(folder, "torch"), {})
    check_printed(capsys.readouterr().out, folder, pixels)


@pytest.mark.usefixtures("without_onnx")
def test_a_folder_of_before_models_were_built_for_a_size_is_opened_as_it_was_built(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MViTv2 takes any size, but its position tables have another length where it is told one."""
    for module in ("pipeline.names.vision_learner", "pipeline.export.folder"):
        monkeypatch.setattr(f"{module}.size_options", lambda model, size: {})
    run, learn = learner_of(data, "mvitv2_tiny.fb_in1k")
    folder = tmp_path / "out"
    folder.mkdir()
    write_folder(folder, learn, about(run))
    config = config_of(folder)
    del config["timm_options"]
    (folder / "config.json").write_text(json.dumps(config))
    check(folder, learn, data, SIZE)


@pytest.mark.usefixtures("without_onnx")
def test_a_fit_in_bf16_is_exported_in_fp32(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(speed, "gains_from_bf16", lambda model: True)
    run, learn = learner_of(data, MODEL, speed=speed.Speed(), precision="fp16")
    assert learn.precision == "bf16"
    (tmp_path / "out").mkdir()
    write_folder(tmp_path / "out", learn, about(run))
    assert config_of(tmp_path / "out")["parity"]["safetensors"] < PARITY


def test_a_bug_of_ours_in_the_last_fit_keeps_its_traceback(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = learner_of(data, MODEL)
    monkeypatch.setattr(training, "loaders", len)  # a bug: it takes one argument
    with pytest.raises(TypeError):
        fitting.fit(run, run.recipe, lambda row: None)


def test_the_last_fit_tells_how_many_epochs_there_will_be(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, _ = learner_of(data, MODEL)
    fitting.fit(run, run.recipe, stage._epoch_printer("squares"))
    told = [line.split("  ")[:2] for line in capsys.readouterr().out.splitlines()]
    n = len(told)
    assert n > 1
    assert told == [["squares", f"epoch {number}/{n}"] for number in range(1, n + 1)]


def test_the_bodys_weights_have_timms_own_names(exported_models: dict[str, Path]) -> None:
    state = safetensors.torch.load_file(exported_models["single"] / "model.safetensors")
    body = {name[5:] for name in state if name.startswith("body.")}
    assert body == set(timm.create_model(MODEL, num_classes=0).state_dict())
    assert {name for name in state if name.startswith("head.")} == {
        f"head.{place}.{kind}" for place in (0, 2) for kind in ("weight", "bias")
    }


def card_code(folder: Path, which: str) -> str:
    """The card's lines for torch or onnxruntime."""
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    (code,) = [each for each in blocks if ("onnxruntime" in each) == (which == "onnxruntime")]
    return str(code)


def write_picture(path: Path, kind: str) -> np.ndarray:
    """A picture in JPEG, and its pixels [1, 3, size, size] as the model of `kind` takes them."""
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 256, (40, 61, 3)).astype(np.uint8)).save(path, quality=95)
    with Image.open(path) as image:
        made = RESIZES["squish" if kind == "single" else "crop"](image, SIZE)
    return centre_crop(made, SIZE)[None]


def check_printed(text: str, folder: Path, pixels: np.ndarray) -> None:
    printed = eval(text, {"__builtins__": {}})  # a dictionary that the card's lines print
    model = open_exported(folder)
    wanted = model.probabilities(model.logits(pixels))[0]
    assert list(printed) == model.classes
    assert np.allclose(list(printed.values()), wanted, atol=1e-5)


WHICH = ["torch", pytest.param("onnxruntime", marks=needs_onnx)]


@pytest.mark.parametrize("which", WHICH)
def test_fifteen_lines_of_the_card_load_it_without_this_project(
    exported_models: dict[str, Path], tmp_path: Path, which: str
) -> None:
    folder = shutil.copytree(exported_models["single"], tmp_path / "model")
    pixels = write_picture(folder / "image.jpg", "single")
    code = card_code(folder, which)
    assert len(code.strip().splitlines()) <= 15
    command = [sys.executable, "-W", "ignore", "-I", "-c", code]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    check_printed(ran.stdout, folder, pixels)


@pytest.mark.parametrize("which", WHICH)
def test_so_do_fifteen_lines_of_several_labels_and_a_crop(
    exported_models: dict[str, Path],
    tmp_path: Path,
    which: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(exported_models["multi"], tmp_path / "model")
    pixels = write_picture(folder / "image.jpg", "multi")
    code = card_code(folder, which)
    assert "pipeline" not in code
    assert len(code.strip().splitlines()) <= 15
    monkeypatch.chdir(folder)
    exec(code, {})
    check_printed(capsys.readouterr().out, folder, pixels)


def test_a_family_that_cannot_be_exported_to_onnx_gets_its_weights_and_a_reason(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: Any, **__: Any) -> None:
        raise RuntimeError("no such operation\nand much more")

    monkeypatch.setattr("pipeline.export.folder.missing_packages", list)
    monkeypatch.setattr(torch.onnx, "export", refuses)
    said = exported(tmp_path / "out", data, MODEL)
    assert re.search(r"without model.onnx: torch .* \(RuntimeError: no such operation\)", said)
    assert not (tmp_path / "out/model.onnx").exists()
    assert "There is no model.onnx: torch" in (tmp_path / "out/README.md").read_text()
    open_exported(tmp_path / "out")


@needs_onnx
def test_an_onnx_file_takes_any_number_of_images(exported_models: dict[str, Path]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(exported_models["single"] / "model.onnx")
    images = np.random.default_rng(0).normal(size=(7, 3, SIZE, SIZE)).astype(np.float32)
    together = session.run(None, {"images": images})[0]
    alone = np.concatenate([session.run(None, {"images": images[[n]]})[0] for n in range(7)])
    assert np.allclose(together, alone, atol=1e-5)


def test_the_last_fit_learns_from_train_and_valid_and_never_from_test(data: Path) -> None:
    prepared = open_prepared(data)
    parts = prepared.parts.copy()
    parts[:2] = "test"
    whole = fitting.train_and_valid(replace(prepared, parts=parts))
    assert whole.rows("train").tolist() == list(range(2, 14))
    assert whole.rows("test").tolist() == [0, 1]
    assert set(whole.rows("valid")) < set(whole.rows("train"))


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Studies of one tiny model on squares with two records, aggregated."""
    made = {}
    for kind in ("single", "multi"):
        folder = tmp_path_factory.mktemp(kind)
        prepared = open_prepared(squares(folder / "data/squares", kind=kind, test=3))
        write_study(folder, datasets=["squares"], models=[MODEL], seeds=[0, 1])
        write_imagenet(folder / "imagenet.csv", [MODEL])
        n = {f"n_{part}": len(prepared.rows(part)) for part in ("train", "valid", "test")}
        about = {"fingerprint": "squares", "kind": kind, "n_classes": 3, **n}
        columns = np.tile(np.array([[200, 30, 30]], dtype=np.uint8), (n["n_valid"], 1))
        for seed in range(2):
            write_run(folder / "runs", MODEL, seed, 0.1 + seed / 100, "squares", data=about,
                      valid_predictions=pack_predictions(columns))  # fmt: skip
        for path in (folder / "params.yaml", *(folder / "runs").rglob("*.json")):
            text = re.sub(r'(image_size"?: )64', rf"\g<1>{SIZE}", path.read_text())
            path.write_text(text)
        names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
        aggregate.main(*(folder / name for name in names))
        made[kind] = folder
    return made


@pytest.fixture
def study(studies: dict[str, Path], tmp_path: Path) -> Path:
    """A copy of the one with one label, which a test may change."""
    return shutil.copytree(studies["single"], tmp_path / "study")


def export(
    study: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    config: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """Export from `study`, as a fit of the tiny model; its configuration."""
    run, _ = learner_of(study / "data/squares", MODEL)
    recipe = {"name": "quickstart", "lr": 0.008}
    like_the_studys = {"threads": 1, "image_size": SIZE, "recipe": recipe}
    config = config or type("Config", (), like_the_studys)
    monkeypatch.setattr(stage, "_config", lambda *_: config)
    monkeypatch.setattr("pipeline.finetune.__main__.run_of", lambda _: run)
    monkeypatch.setattr("pipeline.finetune.recipe.recipe_of", lambda _: run.recipe)
    paths = {name: study / name for name in ("results", "runs")}
    stage.main(dataset="squares", out=out, params=study / "params.yaml", datasets=study / "data",
               **paths, **options)  # fmt: skip
    return config_of(out)


@pytest.mark.usefixtures("without_onnx")
@pytest.mark.parametrize("kind", ["single", "multi"])
def test_the_stage_writes_a_folder_that_can_be_opened_and_a_card(
    studies: dict[str, Path], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    config = export(studies[kind], out, monkeypatch)
    opened = open_exported(out)
    assert opened.classes == ["blue", "green", "red"]
    assert config["data"]["n_learned"] == 11
    card = (out / "README.md").read_text()
    error = percent(config["test_metrics"]["error_rate"])
    tested = f"3 images of the test part, which no fit has seen, they err on {error}"
    learned = "11 training and validation images"
    for part in ("10.50 %", "fingerprint squares", "apache-2.0", learned, tested):
        assert part in card
    if opened.multi:
        assert config["thresholds"] == {"blue": 0.5, "green": 0.5, "red": 0.5}
        assert set(config["thresholds_f2"]) == {"blue", "green", "red"}
        assert "a half for each" in card


@pytest.mark.usefixtures("without_onnx")
def test_the_card_says_which_row_an_error_at_its_own_learning_rate_is(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = recommended_row(study / "results", "squares")
    row["ranked_as"] = "lp_ft.own_rate"
    monkeypatch.setattr(stage, "recommended_row", lambda *_: row)
    recipe = export(study, tmp_path / "out", monkeypatch)["recipe"]
    card = " ".join((tmp_path / "out/README.md").read_text().split())
    assert "alone, at its own best learning rate (which for each seed" in card
    assert "(2 runs; results/leaderboard.csv, dataset squares, recipe lp_ft.own_rate)" in card
    assert f"These weights were fitted with recipe {recipe}, the best of its rates" in card


@pytest.mark.usefixtures("without_onnx")
def test_the_card_says_how_many_test_pictures_were_learned_from(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study / "data/squares/meta.json"
    alike = [["test: a.png", "valid: b.png"], ["train: c.png", "valid: d.png"]]
    meta = json.loads(path.read_text()) | {"duplicates_across_parts": alike}
    path.write_text(json.dumps(meta))
    export(study, tmp_path / "out", monkeypatch)
    card = (tmp_path / "out/README.md").read_text()
    assert "1 of which is, pixel by pixel, also among those learned from" in card
    assert "no fit has seen" not in card


@pytest.mark.usefixtures("without_onnx")
def test_thresholds_can_be_those_of_the_highest_f2_and_have_their_own_test_error(
    studies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    config = export(studies["multi"], out, monkeypatch, thresholds="f2")
    assert config["thresholds"] == config["thresholds_f2"]
    assert config["thresholds"]["green"] < 0.12, "all said 30/255: only below does it get any F2"
    model, data = open_exported(out), open_prepared(studies["multi"] / "data/squares")
    rows = data.rows("test")
    told = model.probabilities(model.logits(np.asarray(data.array(SIZE))[rows]))
    wrong = (told > [config["thresholds"][name] for name in data.classes]) != (
        data.labels[rows] > 0
    )
    assert config["test_at_thresholds"]["error_rate"] == pytest.approx(wrong.mean())
    card = (out / "README.md").read_text()
    assert f"on {percent(wrong.mean())} at the thresholds below" in card
    assert f"(blue {config['thresholds']['blue']:.2f}, green" in card


@pytest.mark.usefixtures("without_onnx")
def test_one_label_per_image_has_no_thresholds_and_that_is_said(
    studies: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = export(studies["single"], tmp_path / "out", monkeypatch, thresholds="f2")
    assert config["thresholds"] is None
    assert "squares has one label per image, so it changes nothing" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("had", "changed"),
    [
        ({"recipe": {"lr": 0.05}}, "recipe.lr 0.05, now 0.001"),
        ({"image_size": 64, "recipe": {"lr": 0.001}}, f"image_size 64, now {SIZE}"),
    ],
)
def test_an_error_of_other_fits_is_on_no_card(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, had: Any, changed: str
) -> None:
    now = type("Config", (), {"threads": 1, "image_size": SIZE, "recipe": {"lr": 0.001}})
    for path in (study / "runs").rglob("*.json"):
        record = json.loads(path.read_text())
        record["config"] = {"image_size": SIZE, **had}
        path.write_text(json.dumps(record))
    line = f"squares: the study's fits of {MODEL} had {changed}: put that back, or run `dvc repro`"
    with pytest.raises(PipelineError, match=re.escape(line)):
        export(study, tmp_path / "out", monkeypatch, config=now)
    assert not (tmp_path / "out").exists()


def test_a_key_that_the_studys_fits_did_not_know_yet_had_its_default(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = {"lr": 0.001, "augment": "flips_shifts", "head": "fastai"}
    for path in (study / "runs").rglob("*.json"):
        record = json.loads(path.read_text())
        record["config"] = {"image_size": SIZE, "recipe": {"lr": 0.001}}
        path.write_text(json.dumps(record))
    config = type("Config", (), {"threads": 1, "image_size": SIZE, "recipe": now})
    line = f"the study's fits of {MODEL} had recipe.augment none, now flips_shifts: put"
    with pytest.raises(PipelineError, match=line):
        export(study, tmp_path / "out", monkeypatch, config=config)


def test_files_that_have_changed_since_are_not_fitted_as_they_were(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = "squares: files in ../squares have changed since it was prepared"
    monkeypatch.setattr("pipeline.status.__main__.changed_source", lambda *_: said)
    with pytest.raises(PipelineError, match=f"{said}: put them back, or run `dvc repro`"):
        export(study, tmp_path / "out", monkeypatch)
    assert not (tmp_path / "out").exists()


def test_a_dataset_that_is_not_prepared_is_named_with_its_size_wherever_it_belongs(
    study: Path, tmp_path: Path
) -> None:
    size = read_study(study / "params.yaml").image_size
    prepare = f"python -m pipeline.dataset dataset=squares image_size={size} out={tmp_path}/squares"
    paths = {name: study / name for name in ("results", "runs")}
    with pytest.raises(
        PipelineError, match=re.escape(f"no prepared dataset here: run `{prepare}`")
    ):
        stage.main(dataset="squares", params=study / "params.yaml", datasets=tmp_path, **paths)


def test_an_error_on_other_images_is_not_the_exported_models(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = study / "results/runs.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    table.assign(data_fingerprint="of other labels").to_csv(path, index=False)
    with pytest.raises(PipelineError, match="runs in the tables had other images, labels or parts"):
        export(study, tmp_path / "out", monkeypatch)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"model": "resnet18.a1_in1k"}, "model 'resnet18.a1_in1k': no finished run on squares"),
        ({"thresholds": "best"}, "--thresholds best: choose from f2, half"),
    ],
)
def test_what_cannot_be_exported_is_one_line(
    studies: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: Any,
    line: str,
) -> None:
    with pytest.raises(PipelineError, match=re.escape(line)):
        export(studies["single"], tmp_path / "out", monkeypatch, **options)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_never_replaced(
    studies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/holiday.jpg").write_text("dear")
    with pytest.raises(PipelineError, match=r"holiday[.]jpg for one, which would be deleted"):
        export(studies["single"], tmp_path / "photos", monkeypatch)
    assert (tmp_path / "photos/holiday.jpg").read_text() == "dear"


def test_a_folder_with_nothing_but_a_readme_of_ones_own_is_never_replaced(
    studies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/README.md").write_text("dear")
    with pytest.raises(PipelineError, match=r"README[.]md for one, which would be deleted"):
        export(studies["single"], tmp_path / "notes", monkeypatch)
    assert (tmp_path / "notes/README.md").read_text() == "dear"


@pytest.mark.usefixtures("without_onnx")
def test_the_stage_replaces_its_own_export_whole_and_none_that_was_asked_for_by_hand(
    studies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    monkeypatch.setattr(stage, "end_with_parent", lambda *_: None)
    monkeypatch.setenv("DVC_STAGE", "export@squares")
    assert export(studies["single"], out, monkeypatch)["asked_for"] is None
    (out / "model.onnx").write_text("of the export before")
    export(studies["single"], out, monkeypatch)
    assert not (out / "model.onnx").exists()
    monkeypatch.delenv("DVC_STAGE")
    monkeypatch.setattr(stage, "_check_source", lambda *_: None)
    by_hand = export(studies["single"], out, monkeypatch, model=MODEL, seed=1)
    assert by_hand["asked_for"] == f"--model {MODEL} --seed 1"
    monkeypatch.setenv("DVC_STAGE", "export@squares")
    line = f"{out}: was exported by hand with --model {MODEL} --seed 1, and this stage would"
    with pytest.raises(PipelineError, match=re.escape(line)):
        export(studies["single"], out, monkeypatch)
    assert config_of(out) == by_hand


def test_f2_without_predictions_in_the_records_is_one_line(
    studies: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = shutil.copytree(studies["multi"], tmp_path / "study")
    for path in (study / "runs").rglob("*.json"):
        path.write_text(json.dumps({**json.loads(path.read_text()), "valid_predictions": None}))
    with pytest.raises(PipelineError, match=r"--thresholds f2: no record of .* holds predictions"):
        export(study, tmp_path / "out", monkeypatch, thresholds="f2")


def test_a_dataset_without_a_run_is_one_line(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = pd.read_csv(study / "results/leaderboard.csv")
    board.assign(n=0).to_csv(study / "results/leaderboard.csv", index=False)
    with pytest.raises(PipelineError, match="has no finished run of it"):
        export(study, tmp_path / "out", monkeypatch)


def test_an_export_that_replaces_another_models_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "config.json").write_text('{"model": "a"}')
    stage._check_replaced(tmp_path, "a")
    assert capsys.readouterr().out == ""
    stage._check_replaced(tmp_path, "b")
    assert capsys.readouterr().out == f"{tmp_path}: replaces the export of a\n"
    stage._check_replaced(tmp_path / "new", "b")
    assert capsys.readouterr().out == ""
