"""Weights come from the named source, are the right ones, and a missing one is told at once."""

import errno
import http.server
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
import safetensors.torch
import timm
import torch
from omegaconf import OmegaConf
from PIL import Image

from pipeline.core.errors import PipelineError, TryAgain
from pipeline.finetune.weights import WHEELS, find, folder, hub, wheel

ROOT = Path(__file__).parent.parent

# Logits' mean and standard deviation and the first winning classes on a fixed tensor, recorded
# once with torch 2.15 on a CPU.
FIXED = json.loads((Path(__file__).parent / "wheel_logits.json").read_text(encoding="utf-8"))


def fixed_images() -> torch.Tensor:
    """Four smooth colour gradients, float32 [4, 3, 224, 224] in 0..1."""
    ramp = torch.linspace(0, 1, 224)
    grid = torch.stack([ramp.expand(224, 224), ramp.expand(224, 224).T, ramp.outer(ramp)])
    return torch.stack([grid, grid.flip(0), grid.flip(1), grid.flip(2)])


def with_wheel(model: str) -> torch.nn.Module:
    overlay = wheel(model).overlay
    return timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay).eval()


@pytest.mark.parametrize("model", sorted(WHEELS))
def test_a_wheels_weights_score_as_recorded_on_a_fixed_tensor(model: str) -> None:
    net = with_wheel(model)
    images = (fixed_images() - 0.5) / 0.5
    with torch.no_grad():
        logits = net(images)
    expected = FIXED[model]
    assert logits.argmax(1).tolist() == expected["winners"]
    assert logits.std().item() == pytest.approx(expected["std"], rel=1e-3)


def test_wrong_normalisation_is_noticed_on_the_fixed_tensor() -> None:
    model = "tf_efficientnet_lite0.in1k"
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        logits = with_wheel(model)((fixed_images() - mean[:, None, None]) / std[:, None, None])
    assert logits.std().item() != pytest.approx(FIXED[model]["std"], rel=1e-3)


def test_timm_knows_the_normalisation_that_the_wheels_were_trained_with() -> None:
    for model in WHEELS:
        config = timm.get_pretrained_cfg(model)
        assert config.mean == (0.5, 0.5, 0.5)
        assert config.std == (0.5, 0.5, 0.5)


@pytest.mark.slow
def test_the_wheels_tell_cats_from_dogs_in_real_photos(shared: Path) -> None:
    """Oxford pets' cat breeds have capital names. ImageNet: 281-285 are cats, 151-268 dogs."""
    files = sorted((shared / "datasets/oxford_pets_370/images").glob("*.jpg"))[::10]
    is_cat = torch.tensor([file.name[0].isupper() for file in files])
    for model in sorted(WHEELS):
        config = timm.data.resolve_model_data_config(timm.get_pretrained_cfg(model).to_dict())
        transform = timm.data.create_transform(**config)
        images = torch.stack([transform(Image.open(file).convert("RGB")) for file in files])
        with torch.no_grad():
            probability = with_wheel(model)(images).softmax(1)
        says_cat = probability[:, 281:286].sum(1) > probability[:, 151:269].sum(1)
        right = (says_cat == is_cat).float().mean().item()
        assert right > 0.9, f"{model}: {right:.2f} of {len(files)} photos"


def test_a_model_without_a_wheel_is_one_clear_line() -> None:
    with pytest.raises(PipelineError, match=r"convnext_tiny.fb_in1k: no installed package"):
        wheel("convnext_tiny.fb_in1k")


def test_an_unknown_source_is_refused() -> None:
    with pytest.raises(PipelineError, match="did you mean wheel"):
        find(OmegaConf.create({"_target_": "pipeline.finetune.weights.whel"}), "resnet18.a1_in1k")
    with pytest.raises(PipelineError, match=r"weights\._target_ os\.system"):
        find(OmegaConf.create({"_target_": "os.system"}), "resnet18.a1_in1k")


@pytest.mark.parametrize(("name", "what"), [("", "contains no weights"), ("no", "no such folder")])
def test_a_folder_without_weights_is_told_as_such(tmp_path: Path, name: str, what: str) -> None:
    path = str(tmp_path / name)
    config = OmegaConf.create({"_target_": "pipeline.finetune.weights.folder", "path": path})
    with pytest.raises(PipelineError) as caught:
        find(config, "resnet18.a1_in1k")
    assert str(caught.value).startswith(f"{path}: {what}: put resnet18.a1_in1k.safetensors there")


def test_weights_in_a_folder_load_by_their_exact_name(tmp_path: Path) -> None:
    donor = timm.create_model("test_resnet.r160_in1k")
    safetensors.torch.save_file(donor.state_dict(), tmp_path / "test_resnet.r160_in1k.safetensors")
    found = folder("test_resnet.r160_in1k", str(tmp_path))
    net = timm.create_model(
        "test_resnet.r160_in1k", pretrained=True, pretrained_cfg_overlay=found.overlay
    )
    for name, value in net.state_dict().items():
        assert torch.equal(value, donor.state_dict()[name]), name


def test_weights_absent_from_a_folder_show_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "resnet18.a2_in1k.safetensors").touch()
    with pytest.raises(PipelineError, match=r"did you mean resnet18.a2_in1k"):
        folder("resnet18.a1_in1k", str(tmp_path))


class Hub(http.server.BaseHTTPRequestHandler):
    """A stand-in for the hub: serves one safetensors file as the real one does, 404 for others."""

    content = b""
    commit = "0123456789012345678901234567890123456789"

    def do_HEAD(self) -> None:
        self._answer(send=False)

    def do_GET(self) -> None:
        self._answer(send=True)

    def _answer(self, send: bool) -> None:
        if self.path != "/timm/test_resnet.r160_in1k/resolve/main/model.safetensors" and not (
            self.path.endswith(f"/{self.commit}/model.safetensors")
        ):
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", '"abc"')
        self.send_header("X-Repo-Commit", self.commit)
        self.send_header("X-Linked-Size", str(len(self.content)))
        self.send_header("Content-Length", str(len(self.content)))
        self.end_headers()
        if send:
            self.wfile.write(self.content)

    def log_message(self, *_: object) -> None:
        return


class Refusing(http.server.BaseHTTPRequestHandler):
    """A stand-in for a hub that answers everything with `status`."""

    status: ClassVar[int] = 200
    tokens: ClassVar[list[str | None]] = []

    def do_HEAD(self) -> None:
        self.tokens.append(self.headers.get("Authorization"))
        self.send_response(self.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def refusing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Refusing]]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    Refusing.tokens.clear()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
    template = f"{address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_user")
    yield Refusing
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "code", "line", "asked"),
    [
        (404, 1, "the hub has none of model.safetensors, pytorch_model.bin in timm/", 2),
        (401, 1, r"refuses access to timm/.*\(HTTP 401.* log in with `hf auth login`, or put", 1),
        (403, 1, r"refuses access to timm/.*\(HTTP 403", 1),
        (408, 75, r"busy or down \(HTTP 408\): run again", 1),
        (429, 75, r"busy or down \(HTTP 429\): run again", 1),
        (503, 75, r"busy or down \(HTTP 503\): run again", 1),
        (418, 1, r"does not serve timm/.* \(HTTP 418\)", 1),
    ],
)
def test_only_404_means_that_the_hub_has_no_weights(
    refusing: type[Refusing], status: int, code: int, line: str, asked: int
) -> None:
    refusing.status = status
    with pytest.raises(PipelineError, match=line) as raised:
        hub("test_resnet.r160_in1k")
    assert raised.value.exit_code == code
    assert refusing.tokens == ["Bearer hf_of_the_user"] * asked


def test_a_download_that_the_hub_breaks_off_is_for_another_try_and_a_full_disk_is_not(
    refusing: type[Refusing], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub.errors import HTTPError

    refusing.status = 200
    raised: list[Exception] = [
        HTTPError("peer closed"),
        ConnectionResetError(),
        OSError(errno.ENOSPC, "No space left on device"),
    ]

    def broken(*_: object) -> None:
        raise raised.pop(0)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", broken)
    with pytest.raises(
        TryAgain, match=r"the download from the hub failed \(peer closed\): run again"
    ):
        hub("test_resnet.r160_in1k")
    with pytest.raises(TryAgain, match="the download from the hub failed"):
        hub("test_resnet.r160_in1k")
    with pytest.raises(OSError, match="No space left"):
        hub("test_resnet.r160_in1k")


FROM_HUB = """
import json, sys
from pipeline.core.command import one_line_errors
from pipeline.finetune.weights import hub
with one_line_errors():
    found = hub(sys.argv[1])
    print(json.dumps([found.origin, str(found.file), found.sha256]))
"""


def ask_hub(model: str, home: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Ask for weights in a fresh process: huggingface_hub reads its settings at import."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    return subprocess.run(
        [sys.executable, "-c", FROM_HUB, model],
        env={**clean, "HF_HOME": str(home), "TORCH_HOME": str(home), **env},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.mark.slow
def test_weights_come_from_the_hub_once_and_then_from_its_cache(tmp_path: Path) -> None:
    Hub.content = safetensors.torch.save(timm.create_model("test_resnet").state_dict())
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    first = ask_hub("test_resnet.r160_in1k", tmp_path, HF_ENDPOINT=address)
    absent = ask_hub("test_vit.r160_in1k", tmp_path, HF_ENDPOINT=address)
    server.shutdown()
    server.server_close()
    assert first.returncode == 0, first.stderr
    assert Path(json.loads(first.stdout)[1]).read_bytes() == Hub.content
    assert absent.returncode == 1
    assert "the hub has none of model.safetensors" in absent.stderr
    again = ask_hub("test_resnet.r160_in1k", tmp_path, HF_ENDPOINT=address)
    assert again.stdout == first.stdout


@pytest.mark.slow
@pytest.mark.parametrize("model", ["test_resnet.r160_in1k", "gcvit_tiny.in1k"])
def test_a_hub_that_does_not_answer_is_one_line_at_once(tmp_path: Path, model: str) -> None:
    found = ask_hub(
        model, tmp_path, HF_ENDPOINT="http://127.0.0.1:9", http_proxy="", HTTPS_PROXY=""
    )
    assert found.returncode == TryAgain.exit_code
    assert found.stderr.count("\n") == 1
    assert model in found.stderr
    assert re.search("does not answer .*: check the network|cannot be downloaded", found.stderr)
    assert "retry" not in found.stderr.lower()


class Broken(http.server.BaseHTTPRequestHandler):
    """A stand-in for a hub that breaks off every answer; counts what it is asked."""

    asked: ClassVar[list[str]] = []

    def handle(self) -> None:
        self.asked.append(str(self.client_address))


@pytest.mark.slow
def test_a_hub_that_breaks_off_is_asked_once_and_not_again(tmp_path: Path) -> None:
    Broken.asked.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}"
    found = ask_hub("test_resnet.r160_in1k", tmp_path, HF_ENDPOINT=address)
    server.shutdown()
    server.server_close()
    assert found.returncode == TryAgain.exit_code
    assert found.stderr.count("\n") == 1
    assert len(Broken.asked) == 1


@pytest.mark.slow
def test_offline_weights_that_are_not_cached_are_one_line(tmp_path: Path) -> None:
    found = ask_hub("test_resnet.r160_in1k", tmp_path, HF_HUB_OFFLINE="1")
    assert found.returncode == 1
    assert "HF_HUB_OFFLINE is set" in found.stderr
    assert found.stderr.count("\n") == 1
