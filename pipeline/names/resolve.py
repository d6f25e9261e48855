"""From a model's name to exact weights, `arch.tag`, and to the image sizes that they take.

Reads timm's registry (imported on first use, because that takes seconds) and `names2022.csv`, which
lists the weights that each name loaded in June 2022. 41 names of 2022 are still valid but load
other weights today, among them those of the 2022 study's two winners, and timm does not warn.
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError, near_matches

NAMES_2022 = Path(__file__).parent / "names2022.csv"
# Modules of timm whose models have a fixed input size by their configuration. Of each, models were
# built and their saved weights loaded at other sizes (timm 1.0.31, tests/test_models.py):
RUN_AT_ANY_SIZE = {
    "byobnet",
    "crossvit",
    "efficientvit_msra",
    "sequencer",
    "swiftformer",
    "twins",
    "xcit",
}
BUILT_FOR_A_SIZE = {  # with `img_size`, timm resamples the position embeddings of the weights
    "beit",
    "coat",
    "deit",
    "eva",
    "maxxvit",
    "mvitv2",
    "swin_transformer",
    "swin_transformer_v2",
    "swin_transformer_v2_cr",
    "tnt",
    "vision_transformer",
    "vision_transformer_hybrid",
    "vision_transformer_relpos",
    "vitamin",
}
COARSEST = 32  # pixels of a side of a cell of the last feature map
_PREFIXES = ("hf-hub:timm/", "hf_hub:timm/", "timm/")  # of names as the hub writes them
_SPELLING = re.compile(r"[A-Za-z0-9]\w*(\.\w+)?", re.ASCII)


@dataclass(frozen=True)
class Meaning:
    """The meaning of a name: `model` is the exact `arch.tag` it loads today, `in_2022` in 2022.

    `model` is None if today's timm does not know the name or has no weights for it. `in_2022` is
    None if the name had no weights in 2022, or if they are no longer available. A name with a tag
    has the same meaning in every year. `renamed` is timm's current name, if timm has renamed it.
    """

    name: str
    model: str | None
    in_2022: str | None
    renamed: str | None = None

    @property
    def changed(self) -> bool | None:
        """Whether the name loaded other weights in 2022; None if those are unknown."""
        return None if self.in_2022 is None else self.in_2022 != self.model


def resolve(name: str) -> str:
    """The exact `arch.tag` that a name means.

    Raises `PipelineError` if the name is unknown, has no weights, or loaded others in 2022.
    """
    meaning = meaning_of(name)
    if meaning.model is None:
        raise no_model(meaning)
    if meaning.changed:
        raise PipelineError(
            f"model {name}: this name loads other weights today than in 2022: write {meaning.model}"
            f" (today's) or {meaning.in_2022} (those of 2022)"
        )
    return meaning.model


def meaning_of(name: str) -> Meaning:
    """The meaning of `name` today and in 2022; unknown names raise `PipelineError`."""
    _check_spelling(name)
    if name in weights():
        return Meaning(name, name, name)
    architecture, _, tag = name.partition(".")
    in_2022 = None if tag else names_2022().get(name)
    if in_2022 is not None and in_2022 not in weights():
        in_2022 = None
    if not tag and architecture in defaults():
        return Meaning(name, defaults()[architecture], in_2022)
    if name in names_2022() or name in _untrained():
        return Meaning(name, None, in_2022)
    if name in _deprecated():
        renamed = _deprecated()[name] or ""
        return Meaning(name, None, None, defaults().get(renamed, renamed) or None)
    raise PipelineError(f"model {name}: {_unknown(architecture, tag)}")


@cache
def weights() -> dict[str, Any]:
    """timm's configuration of every `arch.tag` that has pretrained weights."""
    models = _timm_models()
    return {name: models.get_pretrained_cfg(name) for name in models.list_pretrained()}


def fixed_size(model: str) -> int | None:
    """The only image size, in pixels, that weights take, by the installed timm; None where they
    take others as well, or timm does not know them. `model` may be a name of 2022.
    """
    model = names_2022().get(model) or model
    config = weights().get(model)
    if config is None or not config.fixed_input_size:
        return None
    resizable = module_of(model) in RUN_AT_ANY_SIZE | BUILT_FOR_A_SIZE
    return None if resizable else int(config.input_size[-1])


def size_options(model: str, image_size: int | None) -> dict[str, Any]:
    """What `timm.create_model` must be told to build `model` for images of `image_size` pixels.

    Nothing for most models, and at the size that the weights were trained at.
    """
    config = _timm_models().get_pretrained_cfg(model)
    if image_size is None or config is None or not config.fixed_input_size:
        return {}
    module = module_of(model)
    if module == "mvitv2":  # takes any size, but its position tables are for whole cells alone
        image_size = -(-image_size // COARSEST) * COARSEST
    if module not in BUILT_FOR_A_SIZE or image_size == config.input_size[-1]:
        return {}
    return {"img_size": image_size}


def module_of(model: str) -> str:
    """The module of timm that builds a model: `swin_transformer`."""
    return str(_timm_models().model_entrypoint(model).__module__).rpartition(".")[2]


@cache
def defaults() -> dict[str, str]:
    """The `arch.tag` that each bare architecture name loads today."""
    models = _timm_models()
    tags = {name: models.get_pretrained_cfg(name).tag for name in _architectures()}
    return {name: f"{name}.{tag}" for name, tag in tags.items() if f"{name}.{tag}" in weights()}


def no_model(meaning: Meaning) -> PipelineError:
    """The error for a known name without weights today, with what to write instead."""
    if meaning.in_2022:
        why = f"a name of 2022: write {meaning.in_2022}, the same weights"
    elif meaning.renamed:
        why = f"timm has renamed it: write {meaning.renamed}"
    elif meaning.name in _untrained():
        why = "timm has no pretrained weights for it: choose another model"
    else:
        why = "timm has removed these weights and has no replacement: choose another model"
    return PipelineError(f"model {meaning.name}: {why}")


def _unknown(architecture: str, tag: str) -> str:
    """Why there is no such model, with near matches."""
    if tag and architecture in _architectures():
        tags = [known for known in weights() if known.partition(".")[0] == architecture]
        return f"{architecture} has no weights tagged {tag}: " + (
            near_matches(f"{architecture}.{tag}", tags) if tags else "it has none at all"
        )
    if tag and architecture in names_2022():
        return f"{architecture} is a name of 2022 and took no tag"
    if tag:
        return f"timm has no such architecture: {near_matches(architecture, _architectures())}"
    known = set(_architectures()) | set(names_2022())
    return f"timm has no such model: {near_matches(architecture, known)}"


def _check_spelling(name: str) -> None:
    """Refuse paths, hub addresses and shell code, because names are used in paths and commands."""
    prefix = next((each for each in _PREFIXES if name.startswith(each)), "")
    if prefix and _SPELLING.fullmatch(bare := name.removeprefix(prefix)) and len(bare) <= 100:
        try:
            resolve(bare)
        except PipelineError as error:
            raise PipelineError(f"model {name}: leave out {prefix}; {error}") from None
        raise PipelineError(
            f"model {name}: not a name in timm's registry: write {bare}, without {prefix}"
        )
    if not _SPELLING.fullmatch(name) or len(name) > 100:
        shown = repr(name if len(name) <= 60 else name[:60] + "...")
        raise PipelineError(
            f"model {shown}: not a name in timm's registry: write arch.tag, letters, digits and _"
        )


@cache
def names_2022() -> dict[str, str | None]:
    """The `arch.tag`, in today's spelling, that each name of 2022 loaded; None if it is gone."""
    table = pd.read_csv(NAMES_2022, comment="#", dtype=str, keep_default_na=False)
    return {name: tag or None for name, tag in zip(table["name"], table["tag"], strict=True)}


@cache
def _architectures() -> frozenset[str]:
    return frozenset(_timm_models().list_models())


@cache
def _untrained() -> frozenset[str]:
    return _architectures() - set(defaults())


@cache
def _deprecated() -> dict[str, str | None]:
    return dict(_timm_models().get_deprecated_models())


@cache
def _timm_models() -> Any:
    import timm.models

    return timm.models
