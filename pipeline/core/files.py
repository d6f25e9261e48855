"""Files, written whole or not at all even if the process is killed or the disk full; and YAML."""

import ctypes
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import yaml

from pipeline.core.errors import PipelineError

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to; it takes `path`'s place only if the block succeeds."""
    beside = _name_beside(path)
    with _naming(path, beside):
        _clear_place(path)
        try:
            yield beside
            _flush_to_disk(beside)
            _put(beside, path)
        finally:
            beside.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes `path`'s place if the block succeeds."""
    beside = _name_beside(path)
    with _naming(path, beside):
        _clear_place(path)
        beside.mkdir()
        try:
            yield beside
            for file in beside.rglob("*"):
                _flush_to_disk(file)
            _flush_to_disk(beside)
            _put(beside, path)
        finally:
            shutil.rmtree(beside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON: NaN and infinity are refused, because other readers refuse them."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_table(path: Path, table: "pd.DataFrame") -> None:
    with replacing(path) as beside:
        table.to_csv(beside, index=False, lineterminator="\n")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _name_beside(path: Path) -> Path:
    return path.parent / f".{path.name}.writing-{os.getpid()}"


def _clear_place(path: Path) -> None:
    """Make `path`'s folder, and clear it of what killed writers of `path` left there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.writing-*"):
        pid = left.name.rpartition("-")[2]
        if not (pid.isdigit() and psutil.pid_exists(int(pid)) and int(pid) != os.getpid()):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _put(beside: Path, path: Path) -> None:
    """Let a finished file or folder take its place, for good."""
    if beside.is_dir() and path.exists():
        _exchange(beside, path)
    else:
        beside.replace(path)
    _flush_to_disk(path.parent)


@contextmanager
def _naming(path: Path, beside: Path) -> Iterator[None]:
    """An error while writing names `path`: a full disk names no file, others the one beside."""
    try:
        yield
    except OSError as error:
        if error.errno and str(error.filename or beside).startswith(str(beside)):
            error.filename = str(path)
        raise


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(beside: Path, path: Path) -> None:
    """Swap two folders in one step (Linux), elsewhere in two, the old one kept until the end."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        names = os.fsencode(beside), os.fsencode(path)
        done = renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
    except AttributeError:
        done = False
    if not done:
        old = beside.with_name(beside.name + "-old")
        path.rename(old)
        beside.rename(path)
        shutil.rmtree(old)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file that holds data only; anything else is one clear line."""
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # C if built
    except OSError as error:
        raise PipelineError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path}: not text (byte {error.start} is not UTF-8)") from None
    except (yaml.YAMLError, ValueError) as error:
        raise PipelineError(f"{path}: not YAML: {error}") from None
