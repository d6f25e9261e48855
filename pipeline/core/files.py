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
    temporary = _temporary_name(path)
    with _naming(path, temporary):
        _clear_place(path)
        try:
            yield temporary
            _flush_to_disk(temporary)
            _put(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def replacing_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; it takes `path`'s place if the block succeeds."""
    temporary = _temporary_name(path)
    with _naming(path, temporary):
        _clear_place(path)
        temporary.mkdir()
        try:
            yield temporary
            for file in temporary.rglob("*"):
                _flush_to_disk(file)
            _flush_to_disk(temporary)
            _put(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON: NaN and infinity are refused, because other readers refuse them."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_table(path: Path, table: "pd.DataFrame") -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _temporary_name(path: Path) -> Path:
    return path.parent / f".{path.name}.writing-{os.getpid()}"


def _clear_place(path: Path) -> None:
    """Create `path`'s folder, and remove temporary files left by killed writers of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.writing-*"):
        pid = left.name.rpartition("-")[2]
        if not (pid.isdigit() and psutil.pid_exists(int(pid)) and int(pid) != os.getpid()):
            shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)


def _put(temporary: Path, path: Path) -> None:
    """Move a finished file or folder to `path`, and flush the move to disk."""
    if temporary.is_dir() and path.exists():
        _exchange(temporary, path)
    else:
        temporary.replace(path)
    _flush_to_disk(path.parent)


@contextmanager
def _naming(path: Path, temporary: Path) -> Iterator[None]:
    """Make errors while writing name `path` instead of the temporary file or nothing."""
    try:
        yield
    except OSError as error:
        if error.errno and str(error.filename or temporary).startswith(str(temporary)):
            error.filename = str(path)
        raise


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exchange(temporary: Path, path: Path) -> None:
    """Swap two folders in one step (Linux), elsewhere in two, the old one kept until the end."""
    try:
        renameat2 = ctypes.CDLL(None, use_errno=True).renameat2
        names = os.fsencode(temporary), os.fsencode(path)
        done = renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0
    except AttributeError:
        done = False
    if not done:
        old = temporary.with_name(temporary.name + "-old")
        path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file of plain data; anything else raises `PipelineError`."""
    try:
        text = path.read_text(encoding="utf-8")
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # C if built
    except OSError as error:
        raise PipelineError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path}: not text (byte {error.start} is not UTF-8)") from None
    except (yaml.YAMLError, ValueError) as error:
        raise PipelineError(f"{path}: not YAML: {error}") from None
