"""Datasets of Hugging Face's library: a folder of `save_to_disk`, or Parquet files with images."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError, near_matches
from pipeline.dataset.file_column import Hints, Unclear
from pipeline.dataset.sources import (
    LabelledImage,
    Source,
    grouped,
    listed,
    part_named,
    without_test,
)

LABELS = ("label", "labels", "tag", "tags", "class", "category", "fine_label", "target", "y")


def huggingface(
    root: Path, image: str = "image", label: str = "label", group: str | None = None
) -> Source:
    """The images of a saved dataset; the splits of a DatasetDict are the parts.

    A label of -1 or None is no label, as the library means it.
    """
    splits = load_splits(root)
    images, place = [], {}
    for split, rows in splits.items():
        for column in filter(None, (image, label, group)):
            if column not in rows.column_names:
                raise PipelineError(
                    f"{root}: no column {column!r}: {near_matches(column, rows.column_names)}"
                )
        names = getattr(_inner(rows.features[label]), "names", None)
        groups = [None] * len(rows) if group is None else rows[group]
        encoded = rows.cast_column(image, _library().Image(decode=False))
        for number, (value, of_group) in enumerate(zip(rows[label], groups, strict=True)):
            values = value if isinstance(value, list) else [value]
            labels = tuple(_text(each, names) for each in values if _is_label(each))
            file = f"{split or 'row'}/{number:07d}"
            place[file] = (encoded, number)
            images.append(
                LabelledImage(
                    file, labels, part_named(split), None if of_group is None else str(of_group)
                )
            )
    images, unlabelled = without_test(images)
    return Source(images, _RowReader(place, image), unlabelled=unlabelled)


def read_saved(root: Path, hints: Hints) -> tuple[dict[str, Any], str, str]:
    """How a saved dataset is to be read: keys of the YAML, kind, and the rule in words."""
    datasets = _library()
    splits = load_splits(root)
    features = next(iter(splits.values())).features
    pictures = [name for name, each in features.items() if isinstance(each, datasets.Image)]
    if not pictures:
        pictures = [n for n in features if n == "image" and "bytes" in str(features[n])]
    rest = [name for name in features if name not in pictures]
    classes = [n for n in rest if isinstance(_inner(features[n]), datasets.ClassLabel)]
    named = [name for name in LABELS if name in rest]
    label = hints.label or next(iter([*(n for n in named if n in classes), *named]), None)
    if label is None:
        label = classes[0] if len(classes) == 1 else rest[0] if len(rest) == 1 else None
    if len(pictures) != 1 or label not in rest:
        raise Unclear(
            f"columns {listed(features)}: of pictures {listed(pictures) or 'none'}; which is the "
            "label? Write --label COLUMN"
        )
    images = {
        "_target_": "pipeline.dataset.hugging_face.huggingface",
        "image": pictures[0],
        "label": label,
    }
    listed_labels = hasattr(features[label], "feature")
    rule = f"a Hugging Face dataset; column {label} gives the label"
    return images, "multi" if listed_labels else "single", rule


def _inner(feature: Any) -> Any:
    """Of a list, the feature of its elements."""
    return getattr(feature, "feature", feature)


def is_saved(root: Path) -> bool:
    """Whether `load_splits` reads this folder."""
    known = ("dataset_info.json", "dataset_dict.json")
    return any((root / name).is_file() for name in known) or bool(_with_images(root))


def load_splits(root: Path) -> dict[str, Any]:
    """The datasets of a folder by the name of their split; one without splits is called ''."""
    datasets = _library()
    if files := _with_images(root):
        by_split = grouped(files, lambda path: part_named(path.stem.partition("-")[0]) or "")
        return {
            split: datasets.Dataset.from_parquet(
                list(map(str, paths)), cache_dir=None, keep_in_memory=False
            )
            for split, paths in by_split.items()
        }
    try:
        loaded = datasets.load_from_disk(str(root))
    except FileNotFoundError:
        raise PipelineError(f"{root}: no Hugging Face dataset saved here") from None
    return loaded if isinstance(loaded, dict) else {"": loaded}


def _with_images(root: Path) -> list[Path]:
    """The Parquet files below `root` that hold the images' bytes (`data/train-00000-of-...`)."""
    paths = sorted(root.glob("*.parquet")) + sorted(root.glob("data/*.parquet"))
    if not paths:
        return []
    try:
        from pyarrow import parquet, types
    except ImportError:
        return []
    found = []
    for path in paths:
        try:
            schema = parquet.read_schema(path)
        except (OSError, ValueError):  # not Parquet: whoever reads tables says so
            continue
        structs = (field.type for field in schema if types.is_struct(field.type))
        if any(struct.get_field_index("bytes") >= 0 for struct in structs):
            found.append(path)
    return found


def _library() -> Any:
    try:
        import datasets
    except ImportError:
        raise PipelineError("reading Hugging Face datasets needs `pip install datasets`") from None
    return datasets


@dataclass(frozen=True)
class _RowReader:
    """Reads the encoded images of Hugging Face datasets."""

    place: dict[str, tuple[Any, int]]  # of each file: the dataset, the row
    column: str

    def __call__(self, file: str) -> bytes:
        rows, number = self.place[file]
        value = rows[number][self.column]
        data: bytes | None = value["bytes"]
        return Path(value["path"]).read_bytes() if data is None else data


def _is_label(value: object) -> bool:
    return value is not None and value != "" and value != -1


def _text(value: object, names: list[str] | None) -> str:
    return names[value] if names is not None and isinstance(value, int) else str(value)
