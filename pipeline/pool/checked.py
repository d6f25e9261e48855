"""What is kept of a record that goes between people, and the folder of the pool.

`foreign_record` reads bytes of untrusted origin: strict JSON of a record's fields, plain names,
finite numbers in their range, answers that give the error they claim. `reduced` leaves only what a
comparison needs: no predictions, no telemetry, no origin of weights, no settings but the recipe's.

    data/pool/NAME/pool.json     who, where from, when, and the SHA-256 of each record
    data/pool/NAME/HASH.json     a record
"""

import hashlib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.core.errors import PipelineError
from pipeline.core.files import WrongType, build, plain, read_json, replacing_folder, write_json
from pipeline.records import MOST_IMAGES, MOST_PREDICTED, Record, record_of
from pipeline.statistics.validation_images import check_answers

MANIFEST = "pool.json"
MOST_DEPTH = 10
MOST_VALUES = 200_000  # in a record: a history of 10,000 epochs has 60,000
MOST_TEXT = 4_000  # characters, but for what is packed
MOST_NUMBER = 1e15
MOST_SIZE = 16_384  # pixels
PACKED = ("valid_wrong", "valid_predictions")
NAMES = ("dataset", "model", "recipe")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")
POOL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,39}")
_KEY = re.compile(r"\w[\w./-]{0,99}")
_SHARES = ("error_rate", "accuracy", "fbeta2")
_EPOCH = ("epoch", "train_loss", "valid_loss", "error_rate", "train_seconds", "seconds")


def foreign_record(where: str, content: bytes) -> Record:
    """The record in these bytes, reduced; `where` names it in errors. Raises `PipelineError`."""
    try:
        value = json.loads(
            content.decode("utf-8"), object_pairs_hook=_unique_keys, parse_constant=_refuse_constant
        )
        _check_values(value)
        record = reduced(record_of(value))
        check_names(record)
        _check_numbers(record)
    except (ValueError, TypeError, RecursionError, WrongType) as error:
        raise PipelineError(f"{where}: refused: {_printable(str(error))[:200]}") from None
    try:
        check_answers(Path(where), record)
    except PipelineError:
        raise PipelineError(
            f"{where}: refused: valid_wrong is not one answer per validation image that together "
            "give metrics.error_rate"
        ) from None
    return record


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key is there twice")
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is no number")


def _check_values(value: Any) -> None:
    """Raise `WrongType` where values are too deep, too many, too long or too large, anywhere."""
    todo: list[tuple[Any, str, int]] = [(value, "", 0)]
    count = 0
    while todo:
        each, where, depth = todo.pop()
        count += 1
        if depth > MOST_DEPTH or count > MOST_VALUES:
            raise WrongType("more values, or more deeply nested ones, than a record has")
        if isinstance(each, dict):
            for key in each:
                if not _KEY.fullmatch(key):
                    raise WrongType(f"{key[:40]!r} is no name of a field")
            todo += [(part, f"{where}.{key}".strip("."), depth + 1) for key, part in each.items()]
        elif isinstance(each, list):
            todo += [(part, where, depth + 1) for part in each]
        elif isinstance(each, str):
            if len(each) > (MOST_PREDICTED if where in PACKED else MOST_TEXT):
                raise WrongType(f"{where} has {len(each):,} characters")
        elif isinstance(each, int | float) and not abs(each) <= MOST_NUMBER:
            raise WrongType(f"{where} is too large a number")


def check_names(record: Record) -> None:
    """Raise `WrongType` where a name could not be that of a folder."""
    for key in NAMES:
        name = getattr(record, key)
        if not _NAME.fullmatch(name) or ".." in name:
            raise WrongType(f"{key} is {name[:60]!r}, which is no plain name")


def _check_numbers(record: Record) -> None:
    for where, metrics in (("metrics", record.metrics), ("test_metrics", record.test_metrics)):
        for key in _SHARES:
            _check_range(f"{where}.{key}", getattr(metrics, key), 1)
    _check_range("data.chance_error_rate", record.data.chance_error_rate, 1)
    for key, value in vars(record.cost).items():
        _check_range(f"cost.{key}", value, MOST_NUMBER)
    for key, value in vars(record.data).items():
        if isinstance(value, int):
            _check_range(f"data.{key}", value, MOST_IMAGES)
    _check_range("seed", record.seed, 2**32 - 1)
    size = record.image_size
    if size is not None and (type(size) is not int or not 0 < size <= MOST_SIZE):
        raise WrongType(f"config.image_size is {size!r}")
    if record.data.kind not in (None, "single", "multi"):
        raise WrongType(f"data.kind is {record.data.kind!r}")


def _check_range(where: str, value: Any, most: float) -> None:
    if value is not None and not 0 <= value <= most:
        raise WrongType(f"{where} is {value!r}, not within 0 and {most:g}")


def reduced(record: Record) -> Record:
    """The record with no more than a comparison needs; its texts without control characters."""
    recipe = record.config.get("recipe")
    settings = recipe if isinstance(recipe, dict) else {}
    config = {
        "recipe": {key: _printed(value) for key, value in settings.items() if _is_setting(value)}
    }
    if record.image_size is not None:
        config["image_size"] = record.image_size  # type: ignore[assignment]
    return replace(
        record,
        reason=_printed(record.reason),
        not_for_speed=_printed(record.not_for_speed),
        history=[
            {key: row.get(key) for key in _EPOCH if _is_number(row.get(key))}
            for row in record.history
        ],
        device=build(
            type(record.device),
            {key: _printed(value) for key, value in vars(record.device).items() if key != "uuid"},
        ),
        telemetry={},
        valid_predictions=None,
        versions={key: _printed(value) for key, value in record.versions.items()},
        weights={
            key: _printed(record.weights.get(key)) for key in ("source", "sha256", "left_out")
        },
        probe={},
        data=replace(record.data, fingerprint=_printed(record.data.fingerprint)),
        config=config,
        started_at=_printed(record.started_at),
    )


def _is_setting(value: Any) -> bool:
    return value is None or isinstance(value, str | int | float)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _printed(value: Any) -> Any:
    return _printable(value) if isinstance(value, str) else value


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else " " for each in text)


@dataclass(frozen=True)
class Manifest:
    """Where a pool's records are from; `records` has the SHA-256 of each by its file's name."""

    name: str
    who: str
    where: str
    revision: str | None
    added_at: str
    records: dict[str, str]
    format: int = 1


@dataclass(frozen=True)
class Pooled:
    """One source of the pool."""

    manifest: Manifest
    records: list[Record]


def write_pooled(folder: Path, manifest: Manifest, records: Iterable[Record]) -> None:
    """Write a source's folder, whole or not at all; an older one is replaced."""
    with replacing_folder(folder) as temporary:
        hashes = {}
        for record in records:
            content = bytes_of(record)
            sha256 = hashlib.sha256(content).hexdigest()
            hashes[f"{sha256[:16]}.json"] = sha256
            (temporary / f"{sha256[:16]}.json").write_bytes(content)
        write_json(temporary / MANIFEST, plain(replace(manifest, records=hashes)))


def bytes_of(record: Record) -> bytes:
    """The record's file in the pool and in a shared archive."""
    return (json.dumps(plain(record), indent=1, allow_nan=False) + "\n").encode()


def read_pool(folder: Path) -> list[Pooled]:
    """Every source of the pool, by name; raises `PipelineError` where one was changed."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [_read_pooled(each) for each in found if each.is_dir() and each.name[0] != "."]


def _read_pooled(folder: Path) -> Pooled:
    again = f"python -m pipeline.pool --remove {folder.name}, and add it again"
    manifest = read_json(folder / MANIFEST, lambda value: build(Manifest, value), "manifest", again)
    names = {path.name for path in folder.iterdir()} - {MANIFEST}
    if names != set(manifest.records) or manifest.name != folder.name:
        raise PipelineError(f"{folder}: is not what its {MANIFEST} says: {again}")
    records = []
    for name, known in sorted(manifest.records.items()):
        content = (folder / name).read_bytes()
        if hashlib.sha256(content).hexdigest() != known:
            raise PipelineError(f"{folder / name}: was changed after it was added: {again}")
        records.append(foreign_record(str(folder / name), content))
    return Pooled(manifest, records)
