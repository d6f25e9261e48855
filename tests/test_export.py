"""Stage `export`: a folder that is the trained learner, and needs nothing of ours to be used."""

import json
import re
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
from pipeline.core.errors import PipelineError
from pipeline.dataset.prepared import open_prepared
from pipeline.export import __main__ as stage
from pipeline.export import fitting
from pipeline.export.folder import PARITY, missing_packages, write_folder
from pipeline.predict.exported import open_exported
from pipeline.records import pack_predictions

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
]
needs_onnx = pytest.mark.skipif(
    bool(missing_packages()), reason=f"needs {', '.join(missing_packages())}: the extra `export`"
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return squares(tmp_path / "squares")


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


def test_the_bodys_weights_have_timms_own_names(tmp_path: Path, data: Path) -> None:
    exported(tmp_path / "out", data, MODEL)
    state = safetensors.torch.load_file(tmp_path / "out/model.safetensors")
    body = {name[5:] for name in state if name.startswith("body.")}
    assert body == set(timm.create_model(MODEL, num_classes=0).state_dict())
    assert {name for name in state if name.startswith("head.")} == {
        f"head.{place}.{kind}" for place in (0, 2) for kind in ("weight", "bias")
    }


@pytest.mark.parametrize(
    ("which", "kind"),
    [
        ("torch", "single"),
        ("torch", "multi"),
        pytest.param("onnxruntime", "single", marks=needs_onnx),
        pytest.param("onnxruntime", "multi", marks=needs_onnx),
    ],
)
def test_the_cards_lines_load_it_without_this_project(
    tmp_path: Path, which: str, kind: str
) -> None:
    data = squares(tmp_path / "squares", kind=kind)
    folder = tmp_path / "out"
    exported(folder, data, MODEL)
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3)).astype(np.uint8)
    Image.fromarray(picture).save(folder / "image.jpg", quality=95)
    blocks = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.S)
    (code,) = [each for each in blocks if ("onnxruntime" in each) == (which == "onnxruntime")]
    assert "pipeline" not in code
    assert len(code.strip().splitlines()) <= 19
    command = [sys.executable, "-W", "ignore", "-I", "-c", code]
    ran = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    printed = eval(ran.stdout, {"__builtins__": {}})  # a dictionary that the card's lines print
    model = open_exported(folder)
    with Image.open(folder / "image.jpg") as image:
        pixels = np.asarray(image.resize((SIZE, SIZE), Image.Resampling.BILINEAR))
    mine = model.probabilities(model.logits(pixels.transpose(2, 0, 1)[None]))[0]
    assert list(printed) == model.classes
    assert np.allclose(list(printed.values()), mine, atol=1e-5)


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
def test_an_onnx_file_takes_any_number_of_images(tmp_path: Path, data: Path) -> None:
    import onnxruntime

    exported(tmp_path / "out", data, MODEL)
    session = onnxruntime.InferenceSession(tmp_path / "out/model.onnx")
    images = np.random.default_rng(0).normal(size=(7, 3, SIZE, SIZE)).astype(np.float32)
    together = session.run(None, {"images": images})[0]
    alone = np.concatenate([session.run(None, {"images": images[[n]]})[0] for n in range(7)])
    assert np.allclose(together, alone, atol=1e-5)


def test_the_last_fit_learns_from_train_and_valid_and_never_from_test(data: Path) -> None:
    prepared = open_prepared(data)
    parts = prepared.parts.copy()
    parts[:2] = "test"
    whole = fitting.joined(replace(prepared, parts=parts))
    assert whole.rows("train").tolist() == list(range(2, 14))
    assert whole.rows("test").tolist() == [0, 1]
    assert set(whole.rows("valid")) < set(whole.rows("train"))


@pytest.fixture(params=["single", "multi"])
def study(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study of one tiny model on squares with two records, and the configuration of a fit."""
    kind = request.param
    folder = squares(tmp_path / "data/squares", kind=kind)
    write_study(tmp_path, datasets=["squares"], models=[MODEL], seeds=[0, 1])
    write_imagenet(tmp_path / "imagenet.csv", [MODEL])
    prepared = open_prepared(folder)
    n = len(prepared.rows("valid"))
    about = {"fingerprint": "squares", "kind": kind, "n_train": 8, "n_valid": n, "n_classes": 3}
    columns = np.tile(np.array([[200, 30, 30]], dtype=np.uint8), (n, 1))
    for seed in range(2):
        write_run(tmp_path / "runs", MODEL, seed, 0.1 + seed / 100, "squares", data=about,
                  valid_predictions=pack_predictions(columns))  # fmt: skip
    names = ("params.yaml", "runs", "imagenet.csv", "results", "metrics")
    text = (tmp_path / "params.yaml").read_text().replace("image_size: 64", f"image_size: {SIZE}")
    (tmp_path / "params.yaml").write_text(text)
    for path in (tmp_path / "runs").rglob("*.json"):
        path.write_text(path.read_text().replace('"image_size": 64', f'"image_size": {SIZE}'))
    aggregate.main(*(tmp_path / name for name in names))
    run, _ = learner_of(folder, MODEL)

    def config(*_: Any) -> Any:
        return type("Config", (), {"threads": 1, "recipe": None})

    monkeypatch.setattr(stage, "_config", config)
    monkeypatch.setattr("pipeline.finetune.__main__.run_of", lambda _: run)
    monkeypatch.setattr("pipeline.finetune.recipe.recipe_of", lambda _: run.recipe)
    return tmp_path


def export(study: Path, **options: Any) -> Path:
    paths = {name: study / name for name in ("results", "runs")}
    out = study / "out"
    stage.main(dataset="squares", out=out, params=study / "params.yaml", datasets=study / "data",
               **paths, **options)  # fmt: skip
    return out


def test_the_stage_writes_a_folder_that_can_be_opened_and_a_card(study: Path) -> None:
    out = export(study)
    config = config_of(out)
    opened = open_exported(out)
    assert opened.classes == ["blue", "green", "red"]
    assert config["data"]["n_learned"] == 14
    card = (out / "README.md").read_text()
    for part in ("10.50 %", "fingerprint squares", "apache-2.0", "14 training and validation"):
        assert part in card
    if opened.multi:
        assert config["thresholds"] == {"blue": 0.5, "green": 0.5, "red": 0.5}
        assert set(config["thresholds_f2"]) == {"blue", "green", "red"}


def test_thresholds_can_be_those_of_the_highest_f2(study: Path) -> None:
    kind = open_prepared(study / "data/squares").kind
    if kind == "single":
        with pytest.raises(PipelineError, match="needs several labels"):
            export(study, thresholds="f2")
        return
    config = config_of(export(study, thresholds="f2"))
    assert config["thresholds"] == config["thresholds_f2"]
    assert config["thresholds"]["green"] < 0.12, "all said 30/255: only below does it get any F2"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"model": "resnet18.a1_in1k"}, "model 'resnet18.a1_in1k': no finished run on squares"),
        ({"thresholds": "best"}, "--thresholds best: choose from f2, half"),
    ],
)
def test_what_cannot_be_exported_is_one_line(study: Path, options: Any, line: str) -> None:
    with pytest.raises(PipelineError, match=re.escape(line)):
        export(study, **options)


def test_a_dataset_without_a_run_is_one_line(study: Path) -> None:
    board = pd.read_csv(study / "results/leaderboard.csv")
    board.assign(n=0).to_csv(study / "results/leaderboard.csv", index=False)
    with pytest.raises(PipelineError, match="has no finished run of it"):
        export(study)
