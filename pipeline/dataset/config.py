"""conf/dataset.yaml and conf/dataset/NAME.yaml, checked: what `prepare` is to do."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.array_files import Array
from pipeline.dataset.checks import Policy
from pipeline.dataset.download import Archive
from pipeline.dataset.extract import unpacked, unpacked_file
from pipeline.dataset.images import check_resize
from pipeline.dataset.splits import Split

_REQUIRED = ("name", "kind", "images")
_OPTIONAL = ("source", "archive", "classes")
_SPLIT = ("split", "valid_pct", "test_pct", "split_seed")
_FAULTS = ("bad", "rare", "min_class_images")
KEYS = (*_REQUIRED, *_OPTIONAL, *_SPLIT, *_FAULTS)


@dataclass(frozen=True)
class Preparation:
    """One dataset to prepare: where its images come from, how they are split, what is written."""

    policy: Policy
    split: Split
    images: Mapping[str, Any]
    source: Path | None
    archive: Archive | None
    arrays: list[Array]
    out: Path

    def root(self) -> tuple[Path | None, str | None]:
        """The folder that holds the images, and the SHA-256 of the archive it came out of."""
        if self.source is not None and self.source.is_file():
            return unpacked_file(self.source)
        if self.source is not None:
            return self.source, None
        return (None, None) if self.archive is None else unpacked(self.archive)


def read_config(config: DictConfig) -> Preparation:
    """Check every key; a mistake is one line that names the key."""
    values: Any = OmegaConf.to_container(config, resolve=True)
    dataset = values["dataset"]
    for key in dataset.keys() - set(KEYS):
        raise PipelineError(f"unknown key dataset.{key}: {near_matches(key, KEYS)}")
    for key in _REQUIRED:
        if key not in dataset:
            raise PipelineError(f"dataset.{key} is missing in conf/dataset/*.yaml")
    classes = dataset["classes"]
    return Preparation(
        policy=Policy(
            name=str(dataset["name"]),
            kind=str(dataset["kind"]),
            classes=None if classes is None else [str(label) for label in classes],
            **{key: dataset[key] for key in _FAULTS},
        ),
        split=Split(**{key: dataset[key] for key in _SPLIT}),
        images=dataset["images"],
        source=None if dataset["source"] is None else Path(dataset["source"]),
        archive=None if dataset["archive"] is None else _archive(dataset["archive"]),
        arrays=_arrays(values["resize"], values["image_size"]),
        out=Path(values["out"]),
    )


def _archive(values: Mapping[str, Any]) -> Archive:
    known = [each.name for each in fields(Archive)]
    for key in values.keys() - set(known):
        raise PipelineError(f"unknown key dataset.archive.{key}: {near_matches(key, known)}")
    if "url" not in values:
        raise PipelineError("dataset.archive.url is missing")
    return Archive(**values)


def _arrays(resizes: Any, sizes: Any) -> list[Array]:
    resizes = [resizes] if isinstance(resizes, str) else list(resizes)
    sizes = sizes if isinstance(sizes, list) else [sizes]
    for resize in resizes:
        check_resize(resize)
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 4096:
            raise PipelineError(f"image_size={size}: give whole pixels from 1 to 4096")
    return [(resize, size) for resize in dict.fromkeys(resizes) for size in dict.fromkeys(sizes)]
