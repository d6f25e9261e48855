"""What shape a user's folder has: which function of `sources` or `label_tables` reads it, and how.

Tried in this order: a Hugging Face dataset, a CSV that names the files, part and class folders,
class folders, labels in file names.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.dataset.images import SUFFIXES
from pipeline.dataset.sources import data_files, part_named, part_of

LABEL_COLUMNS = ("label", "labels", "tag", "tags", "class", "classes", "category", "target", "y")
GROUP_COLUMNS = ("group", "group_id", "patient", "patient_id", "subject", "subject_id", "scene")
DELIMITERS = ("|", ";", ",", " ")
NAME_PATTERNS = (
    r"(?P<label>.+?)[-_. ]*\(?\d+\)?\.\w+",  # cat_12.jpg, cat-12.jpg, cat (12).jpg, cat12.jpg
    r"(?P<label>[^-_. ]+)[-_. ].*",  # cat_anything.jpg
)


@dataclass(frozen=True)
class Recognised:
    """How a folder is to be read; `rule` says it in words."""

    images: dict[str, Any]
    kind: str
    split: str
    rule: str


def recognise(root: Path) -> Recognised:
    """The first shape that fits; a folder that fits none is one clear line."""
    if not root.is_dir():
        raise PipelineError(f"{root}: no such folder")
    if (root / "dataset_info.json").is_file() or (root / "dataset_dict.json").is_file():
        return _huggingface(root)
    files = [path for path in data_files(root) if path.suffix.lower() in SUFFIXES]
    for path in sorted(path for path in root.iterdir() if path.suffix in (".csv", ".tsv")):
        if recognised := _csv(root, path, files):
            return recognised
    if recognised := _folders(root, files) or _names(root, files):
        return recognised
    raise PipelineError(
        f"{root}: {len(files)} images, but no CSV that names them, no class folders and no labels "
        "in the file names: write conf/dataset/NAME.yaml by hand, see docs/datasets.md"
    )


def _huggingface(root: Path) -> Recognised:
    import datasets

    loaded = datasets.load_from_disk(str(root))
    splits = list(loaded) if isinstance(loaded, dict) else []
    features = (loaded[splits[0]] if splits else loaded).features
    pictures = [name for name, each in features.items() if isinstance(each, datasets.Image)]
    label = _preferred([name for name in features if name not in pictures], LABEL_COLUMNS)
    if not pictures or label is None:
        raise PipelineError(f"{root}: no column of images with labels among {', '.join(features)}")
    listed = hasattr(features[label], "feature")
    return Recognised(
        {
            "_target_": "pipeline.dataset.sources.huggingface",
            "image": pictures[0],
            "label": label,
        },
        kind="multi" if listed else "single",
        split=_split(map(part_named, splits)),
        rule=f"a Hugging Face dataset, the label is column {label}",
    )


def _csv(root: Path, path: Path, files: Sequence[Path]) -> Recognised | None:
    separator = "\t" if path.suffix == ".tsv" else ","
    try:
        table = pd.read_csv(path, sep=separator, dtype=str, keep_default_na=False)
    except ValueError:  # not a table, or not text: it cannot name the files
        return None
    where = {column: _path_rule(root, table[column].tolist(), files) for column in table}
    file = next((column for column in table if where[column] is not None), None)
    rest = [column for column in table if column != file]
    parts = [column for column in rest if table[column].map(part_of).notna().all()]
    groups = [column for column in rest if str(column).lower() in GROUP_COLUMNS]
    label = _preferred([c for c in rest if c not in parts + groups], LABEL_COLUMNS)
    if file is None or label is None:
        return None
    delimiter = _delimiter(table[label].tolist())
    images = {
        "_target_": "pipeline.dataset.sources.in_csv",
        "csv": path.name,
        "file": file,
        "path": where[file],
        "label": label,
        "delimiter": delimiter,
        "part": parts[0] if parts else None,
        "group": groups[0] if groups else None,
        "separator": None if separator == "," else separator,
    }
    return Recognised(
        {key: value for key, value in images.items() if value is not None},
        kind="single" if delimiter is None else "multi",
        split=_split(table[parts[0]].map(part_of)) if parts else "stratified",
        rule=f"column {file} of {path.name} names the files, column {label} the labels",
    )


def _path_rule(root: Path, values: Sequence[str], files: Sequence[Path]) -> str | None:
    """`{}`, `train/{}` or `train/{}.jpg`: how nearly all `values` become files below the root."""
    wanted = set(values)
    rules: Counter[str] = Counter()
    for path in files:
        relative, folder = path.relative_to(root), path.relative_to(root).parent.as_posix()
        prefix = "" if folder == "." else f"{folder}/"
        rules["{}"] += relative.as_posix() in wanted
        if prefix:
            rules[f"{prefix}{{}}"] += path.name in wanted
        rules[f"{prefix}{{}}{path.suffix}"] += path.stem in wanted
    if not rules:
        return None
    rule, count = rules.most_common(1)[0]
    return rule if count >= 0.9 * len(wanted) > 0 else None


def _delimiter(values: Sequence[str]) -> str | None:
    """What separates several labels in one cell: with it there are fewer different labels."""
    for delimiter in DELIMITERS:
        words = {word for value in values for word in value.split(delimiter)}
        if len(words) < len(set(values)):
            return delimiter
    return None


def _folders(root: Path, files: Sequence[Path]) -> Recognised | None:
    tops = {path.relative_to(root).parts[0] for path in files if path.parent != root}
    parts = {part: top for top in sorted(tops) if (part := part_named(top)) is not None}
    target = "pipeline.dataset.sources.in_class_folders"
    rule = "the label is the folder that holds the file"
    if "train" in parts and any((root / parts["train"]) in path.parents[1:] for path in files):
        images = {"_target_": target, "parts": parts}
        return Recognised(images, "single", "given", f"{rule}, below {', '.join(parts.values())}")
    if len({path.parent for path in files}) > 1:
        return Recognised({"_target_": target}, "single", "stratified", rule)
    return None


def _names(root: Path, files: Sequence[Path]) -> Recognised | None:
    """All images in one folder: a rule under which labels repeat."""
    for pattern in NAME_PATTERNS:
        matches = [re.fullmatch(pattern, path.name) for path in files]
        labels = Counter(match["label"] for match in matches if match)
        if len(labels) >= 2 and labels.total() >= 0.95 * len(files) >= 2 * len(labels) * 0.95:
            folder = files[0].parent.relative_to(root).as_posix()
            glob = "*" if folder == "." else f"{folder}/*"
            return Recognised(
                {
                    "_target_": "pipeline.dataset.sources.by_name",
                    "files": glob,
                    "pattern": pattern,
                },
                kind="single",
                split="stratified",
                rule="the label is in the file name",
            )
    return None


def _preferred(columns: Sequence[Any], names: Sequence[str]) -> Any | None:
    """The column with the most telling name, else the only one there is."""
    for name in names:
        if found := [column for column in columns if str(column).lower() == name]:
            return found[0]
    return columns[0] if len(columns) == 1 else None


def _split(parts: Iterable[str | None]) -> str:
    found = set(parts)
    return "given" if "train" in found and found & {"valid", "test"} else "stratified"
