"""A file that lists labels, of whatever format, as one table of text.

CSV in any encoding and with any separator, JSON, JSON lines, Parquet, and the exports of Label
Studio, FiftyOne, SageMaker, COCO and CUB-200-2011. A cell is text, or a tuple of texts where the
file itself holds a list. Nested JSON becomes columns with dotted names; where it holds several
lists, column `list` has the name of each row's.
"""

import csv
import json
from collections.abc import Iterable, Sequence
from itertools import chain, count, dropwhile
from pathlib import Path
from types import NoneType
from typing import Any

import pandas as pd

from pipeline.core.errors import PipelineError
from pipeline.dataset.images import SUFFIXES as IMAGES

TEXT = frozenset((".csv", ".tsv", ".tab", ".txt", ".lst"))
JSON = frozenset((".json", ".jsonl", ".ndjson", ".manifest"))
SUFFIXES = TEXT | JSON | {".parquet"}
BY_ID = ("images.txt", "image_class_labels.txt", "train_test_split.txt")
BOX = frozenset(("bbox", "bounding_box", "box", "left", "top", "xmin", "x", "points", "polygon"))
MOST_BYTES = 1 << 30


class NotATable(PipelineError):
    """The file holds no rows of cells."""


def read_table(
    path: Path, separator: str | None = None, header: Sequence[str] | bool = True
) -> pd.DataFrame:
    """Rows as the file has them; columns are named by its first row, or by `header`.

    Without a header row (`header` False) the columns are called `column 1`, `column 2`, ... Raises
    `NotATable` where the file has another shape, `PipelineError` where it is not there.
    """
    if not path.is_file():
        raise PipelineError(f"{path}: no such file")
    if path.suffix.lower() == ".parquet":
        return _parquet(path)
    if path.suffix.lower() in JSON:
        return _json_table(path)
    if separator is None and header is True and is_by_id(path):
        return _table_by_id(path)
    n_cells = 0 if isinstance(header, bool) else len(header)
    return table_of(path, text_rows(path, separator or plain_separator(path), n_cells), header)


def is_by_id(path: Path) -> bool:
    """Whether it is `images.txt` of CUB-200-2011, NABirds or a set of their shape."""
    return path.name == BY_ID[0] and all(path.with_name(name).is_file() for name in BY_ID)


def _table_by_id(path: Path) -> pd.DataFrame:
    """Files that give each image's path, class and part by its id; 1 is train, 0 is test."""
    file_of, class_of, part_of = (_values_by_id(path.with_name(name)) for name in BY_ID)
    for name, other in zip(BY_ID[1:], (class_of, part_of), strict=True):
        if odd := file_of.keys() ^ other.keys():
            raise PipelineError(f"{path.parent}: {BY_ID[0]} or {name} lacks the id {min(odd)}")
    classes = path.with_name("classes.txt")
    names = _values_by_id(classes) if classes.is_file() else {}
    used = set(class_of.values())
    if names and used.isdisjoint(names):
        raise PipelineError(
            f"{classes}: its lines begin with {min(names)!r} and so on, and "
            f"{BY_ID[1]} has {min(used)!r} and so on: begin each line with such an id and a blank, "
            "or rename the file to call the classes by their ids"
        )
    if len({names.get(each) for each in used} - {None}) < len(used):
        names = {}  # none, or not one for each class
    meant = {"1": "train", "0": "test"}
    rows = [
        (file, names.get(class_of[key], class_of[key]), meant.get(part_of[key], part_of[key]))
        for key, file in file_of.items()
    ]
    return pd.DataFrame(rows, columns=["image", "class", "train_test_split"], dtype=object)


def _values_by_id(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, row in enumerate(text_rows(path, " ", 2), start=1):
        if len(row) < 2 or row[0] in found:
            raise PipelineError(
                f"{path}: row {number} ({' '.join(row)}) has no id of its own: "
                "write an id, a blank and the rest in each line"
            )
        found[row[0]] = row[1]
    return found


def plain_separator(path: Path) -> str:
    """What separates cells, by the file's suffix."""
    return "\t" if path.suffix in (".tsv", ".tab") else ","


def table_of(path: Path, rows: list[list[Any]], header: Sequence[str] | bool) -> pd.DataFrame:
    """The rows of a text file as a table; see `read_table`. `rows` is used up."""
    if header is True:
        names = _unique_names([name.strip() for name in rows.pop(0)]) if rows else []
    elif header is False:
        rows = _with_further_cells_as_list(rows)
        names = [f"column {number}" for number in range(1, 1 + max(map(len, rows), default=0))]
    else:
        names = list(header)
    for number, row in enumerate(rows, start=1):
        if any(str(cell).strip() for cell in row[len(names) :]):
            raise NotATable(f"{path}: row {number} has {len(row)} cells, the header {len(names)}")
    filled = [(list(row) + [""] * len(names))[: len(names)] for row in rows]
    return _without_empty(pd.DataFrame(filled, columns=names, dtype=object))


def _with_further_cells_as_list(rows: list[list[Any]]) -> list[list[Any]]:
    """Rows as long as the shortest; where they differ, the last cell is a list of what follows."""
    lengths = {len(row) for row in rows}
    shortest = max(2, min(lengths, default=0))
    if len(lengths) < 2 or max(lengths) <= shortest:
        return rows
    last = shortest - 1
    return [[*row[:last], tuple(cell for cell in row[last:] if cell.strip())] for row in rows]


def text_rows(path: Path, separator: str, n_cells: int = 0) -> list[list[Any]]:
    """The rows of a text file, without empty ones, comments (#) above and a first row that counts.

    Where blanks separate the cells, the last of `n_cells` holds the rest of the line.
    """
    lines = text_of(path).splitlines(keepends=True)
    lines = list(dropwhile(lambda line: not line.strip() or line.startswith("#"), lines))
    limit = csv.field_size_limit(1 << 24)  # of the whole process
    try:
        rows: Iterable[list[str]] = (line.strip().split(None, n_cells - 1) for line in lines)
        if separator != " ":
            rows = csv.reader(lines, delimiter=separator, skipinitialspace=True)
        found = [row for row in rows if "".join(row).strip()]
        counted = len(found) > 2 and found[0] == [str(len(found) - 2)] and len(found[1]) > 1
        return found[1:] if counted else found
    except csv.Error as error:
        raise NotATable(f"{path}: {error}") from None
    finally:
        csv.field_size_limit(limit)


def text_of(path: Path) -> str:
    """A text file in UTF-8, or UTF-16 by its first bytes, or else as old Windows programs write."""
    if path.stat().st_size > MOST_BYTES:
        raise NotATable(f"{path}: more than {MOST_BYTES >> 20} MiB")
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", errors="replace")
    if b"\0" in data[:4096]:
        raise NotATable(f"{path}: not text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def _parquet(path: Path) -> pd.DataFrame:
    try:
        from pyarrow import parquet
    except ImportError:
        raise PipelineError(f"{path}: reading it needs `pip install pyarrow`") from None
    try:
        return _frame(parquet.read_table(path).to_pylist())
    except (OSError, ValueError) as error:
        raise NotATable(f"{path}: {error}") from None


def _json_table(path: Path) -> pd.DataFrame:
    text = text_of(path)
    try:
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = [json.loads(line) for line in text.splitlines() if line.strip()]
    except (ValueError, RecursionError) as error:
        raise NotATable(f"{path}: not JSON ({error})") from None
    if path.suffix.lower() != ".json":
        value = [value]
    if isinstance(value, list) and [*map(type, value)] == [list]:
        value = value[0]
    try:
        rows = _rows_of_object(path, value) if isinstance(value, dict) else _rows_of_list(value)
        if rows is None:
            raise NotATable(f"{path}: JSON, but no list of records")
        return _frame(rows)
    except RecursionError:
        raise NotATable(f"{path}: JSON of too many levels") from None


def _rows_of_list(value: Any) -> list[dict[str, Any]] | None:
    """The rows in a list of objects, or of lists of one length, whose columns get numbers."""
    given = value if isinstance(value, list) else []
    if given and all(isinstance(row, dict) for row in given):
        tasks = [each for row in given if (each := _label_studio(row)) is not None]
        return list(chain(*tasks)) if len(tasks) == len(given) else list(map(_flat, given))
    if given and all(isinstance(row, list) and len(row) == len(given[0]) > 1 for row in given):
        return [{f"column {n}": cell for n, cell in enumerate(row, start=1)} for row in given]
    return None


def _rows_of_object(path: Path, value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows in COCO's, FiftyOne's and pandas' objects, and in lists or objects by a name."""
    if {"images", "annotations", "categories"} <= value.keys():
        return _coco(path, value)
    if isinstance(value.get("labels"), dict):
        return _rows_by_file(path, value["labels"], value.get("classes"))  # FiftyOne
    if rows := _rows_of_split(value.get("columns"), value.get("data")):
        return rows
    tables = {key: rows for key, each in value.items() if (rows := _rows_of_list(each))}
    if len(tables) == 1:
        return next(iter(tables.values()))
    columns = {tuple(row) for rows in tables.values() for row in rows}
    if len(tables) == len(value) and len(columns) == 1:  # of each part, or of each class
        name = "list.1" if "list" in columns.pop() else "list"
        return [{**row, name: key} for key, rows in tables.items() for row in rows]
    inner = [each for each in value.values() if isinstance(each, dict)]
    if not value or (inner and len(inner) < len(value)):
        return None
    if not inner:
        return _rows_of_lists(value) or _rows_by_file(path, value, None)
    if _are_columns(value):
        return [{key: each[row] for key, each in value.items()} for row in inner[0]]
    return [{"image": key, **_flat(each)} for key, each in value.items()]


def _coco(path: Path, value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows in COCO's lists, where annotations say what an image shows and not where."""
    key = (int, str)
    if not (
        _are_objects(value["images"], id=key, file_name=key)
        and _are_objects(value["categories"], id=key, name=key)
        and _are_objects(value["annotations"], image_id=key, category_id=key)
    ):
        return None
    name_of = {each["id"]: each["name"] for each in value["categories"]}
    labels: dict[Any, list[str]] = {each["id"]: [] for each in value["images"]}
    for each in value["annotations"]:
        if each.get("bbox") or each.get("segmentation"):
            raise _not_of_whole_images(path)
        if each["image_id"] not in labels or each["category_id"] not in name_of:
            return None
        labels[each["image_id"]].append(name_of[each["category_id"]])
    one = {key: found[0] if len(found) == 1 else (found or None) for key, found in labels.items()}
    return [{"image": each["file_name"], "label": one[each["id"]]} for each in value["images"]]


def _label_studio(task: dict[str, Any]) -> list[dict[str, Any]] | None:
    """One row per annotator of a task: the image, and the choices under their name."""
    done = task.get("annotations", task.get("completions", "none"))
    if not isinstance(task.get("data"), dict) or not _are_objects(
        done or [], result=(list, NoneType)
    ):
        return None
    data = {key: each for key, each in task["data"].items() if isinstance(each, (str, int, float))}
    rows = []
    for annotation in [each for each in done or [] if not each.get("was_cancelled")] or [{}]:
        row: dict[str, Any] = dict(data)
        for each in annotation.get("result") or []:
            value = each["value"] if _are_objects([each], value=dict) else {}
            found = value.get("choices") or value.get("taxonomy")
            if not isinstance(found, list):
                continue
            if isinstance(found[0], list):  # a taxonomy gives the way to each leaf
                found = ["/".join(map(str, way)) for way in found]
            row[str(each.get("from_name", "choice"))] = found[0] if len(found) == 1 else found
        rows.append(row)
    return rows


def _rows_of_split(names: Any, rows: Any) -> list[dict[str, Any]] | None:
    """The rows in what pandas writes as `split`: the columns' names, and the cells of each row."""
    lists = isinstance(names, list) and isinstance(rows, list)
    if not lists or not all(isinstance(name, str) for name in names):
        return None
    alike = all(isinstance(row, list) and len(row) == len(names) for row in rows)
    return [dict(zip(names, row, strict=True)) for row in rows] if alike else None


def _rows_of_lists(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The rows in an object of plain lists: a table's columns, or the files of each class or part.

    Columns are as long as each other, and one repeats values; no file is in two classes.
    """
    lists = list(value.values())
    if len(lists) < 2 or not all(isinstance(each, list) for each in lists):
        return None
    cells = [[str(cell) for cell in each] for each in lists]
    if len(set(map(len, cells))) == 1 and any(len(set(each)) < len(each) for each in cells):
        return [dict(zip(value, row, strict=True)) for row in zip(*lists, strict=True)]
    every = list(chain(*cells))
    if len(set(every)) == len(every) > len(lists):
        return [{"image": cell, "list": key} for key, each in value.items() for cell in each]
    return None


def _rows_by_file(path: Path, labels: dict[str, Any], classes: Any) -> list[dict[str, Any]]:
    """`{file: label}`; the label may be a place in `classes`, or a list of labels."""

    def name(label: Any) -> Any:
        if isinstance(label, list):
            return [name(each) for each in label]
        if isinstance(label, dict):
            if "bounding_box" in label:
                raise _not_of_whole_images(path)
            return name(label.get("label", label.get("labels")))
        if isinstance(classes, list) and isinstance(label, int) and 0 <= label < len(classes):
            return classes[label]
        return label

    return [{"image": file, "label": name(label)} for file, label in labels.items()]


def _not_of_whole_images(path: Path) -> PipelineError:
    what = "its annotations are boxes or outlines of objects, not labels of whole images"
    return PipelineError(f"{path}: {what}: give --table a CSV of labels (docs/datasets.md#boxes)")


def _are_objects(rows: Any, **types: Any) -> bool:
    """Whether it is a list of objects that have these names with values of these types."""
    return isinstance(rows, list) and all(
        isinstance(row, dict) and all(isinstance(row.get(k), types[k]) for k in types)
        for row in rows
    )


def _are_columns(value: dict[str, dict[str, Any]]) -> bool:
    """Whether they are columns by the rows' numbers, as pandas writes them; not one per file."""
    first = next(iter(value.values()))
    if not all(each.keys() == first.keys() and "0" in each for each in value.values()):
        return False
    ends = tuple(IMAGES)
    cells = ([str(cell).lower() for cell in each.values()] for each in value.values())
    if any(all(cell.endswith(ends) for cell in column) for column in cells):
        return True
    return len(first) >= len(value) and not any(key.lower().endswith(ends) for key in value)


def _flat(row: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects as columns with dotted names; SageMaker's class map as its names."""
    flat: dict[str, Any] = {}
    for key, value in row.items():
        if key.endswith("-metadata") and _are_objects([value], **{"class-map": dict}):
            flat[f"{prefix}{key}.class-name"] = list(value["class-map"].values())
        elif isinstance(value, dict) and list(value) == ["choices"]:
            flat[prefix + key] = value["choices"]  # Label Studio's short form of several choices
        elif isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = value
    return flat


def _frame(rows: Sequence[dict[Any, Any]]) -> pd.DataFrame:
    texts = [{str(key): _cell(value) for key, value in row.items()} for row in rows]
    names = list(dict.fromkeys(chain.from_iterable(texts)))
    cells = [[row.get(name, "") for name in names] for row in texts]
    return _without_empty(pd.DataFrame(cells, columns=names, dtype=object))


def _cell(value: Any) -> str | tuple[str, ...]:
    if value is None or (isinstance(value, float) and value != value):
        return ""
    if isinstance(value, (list, tuple)):
        return tuple(_item(each) for each in value if each is not None)
    return str(value)


def _item(value: Any) -> str:
    """One of a list's values; of an object with one name, that name, where it is no box."""
    if isinstance(value, dict):
        names = [each for key, each in value.items() if "name" in key.lower() or key == "label"]
        one = len(names) == 1 and BOX.isdisjoint(map(str.lower, value))
        return str(names[0]) if one else json.dumps(value, sort_keys=True)
    return str(value)


def _without_empty(table: pd.DataFrame) -> pd.DataFrame:
    """Without columns that have neither a name nor a cell: what a trailing separator leaves."""
    kept = [
        place
        for place, name in enumerate(table.columns)
        if (name and not str(name).startswith("unnamed ")) or (table.iloc[:, place] != "").any()
    ]
    return table.iloc[:, kept]


def _unique_names(names: Sequence[str]) -> list[str]:
    """Every column with a name of its own: `unnamed 1`, and `label.1` for a second `label`."""
    found: list[str] = []
    for number, name in enumerate(names, start=1):
        name = name or f"unnamed {number}"
        candidates = chain([name], (f"{name}.{copy}" for copy in count(1)))
        found.append(next(each for each in candidates if each not in found))
    return found
