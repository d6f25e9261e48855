"""Atomic file writes, YAML, dataclasses from JSON, and the meaning of Python source.

A file is written under a temporary name, flushed to disk and renamed, so it is complete or absent.
If the path is a symbolic link, its target is replaced, not the link. A fifo or a device is written
to directly.

When JSON is read into a dataclass, each value is checked against the type of its field. A new
field with a default is therefore read, checked and written without further code. Unknown keys are
ignored.
"""

import ast
import ctypes
import dataclasses
import errno
import hashlib
import json
import math
import os
import shutil
import sys
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import psutil
import yaml

from pipeline.core.errors import PipelineError

if typing.TYPE_CHECKING:
    import pandas as pd

STDOUT = Path("-")
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path to write a file to; it takes `path`'s place only if the block succeeds."""
    if is_special(path):
        try:
            yield path
        except BrokenPipeError:
            raise PipelineError(f"{path}: the reader has closed it") from None
        return
    path = _link_target(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
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
    if is_special(path):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    path = _link_target(path)
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
            _remove(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write strict JSON: NaN and infinity are refused, because other readers refuse them."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def write_table(path: Path, table: "pd.DataFrame") -> None:
    """Write a table to a file or to `STDOUT`. A table without rows still gets its header."""
    assert len(table.columns), f"{path}: a table without columns"
    if path == STDOUT:
        table.to_csv(sys.stdout, index=False, lineterminator="\n")
        return
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_special(path: Path) -> bool:
    """Whether `path`, or what it links to, is a fifo or a device rather than a file or folder."""
    return path.exists() and not path.is_file() and not path.is_dir()


def _link_target(path: Path) -> Path:
    """The target of a link; the link itself if the target is read-only, as in DVC's cache."""
    if not path.is_symlink():
        return path
    target = Path(os.path.realpath(path))
    return path if target.is_file() and not target.stat().st_mode & 0o222 else target


def _temporary_name(path: Path) -> Path:
    return path.parent / f".{path.name}.writing-{os.getpid()}"


def _clear_place(path: Path) -> None:
    """Create `path`'s folder, and remove temporary files left by killed writers of `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.writing-*"):
        pid = left.name.rpartition("-")[2]
        if not (pid.isdigit() and psutil.pid_exists(int(pid)) and int(pid) != os.getpid()):
            _remove(left)


def _remove(path: Path, ignore_errors: bool = False) -> None:
    """Remove a folder, a file or a link (not its target), if it exists."""
    if path.is_symlink():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path, ignore_errors=ignore_errors)
    elif not is_special(path):
        path.unlink(missing_ok=True)


def _put(temporary: Path, path: Path) -> None:
    """Move a finished file or folder to `path`, and flush the move to disk."""
    if temporary.is_dir() and path.exists():
        _exchange(temporary, path)
    else:
        temporary.replace(path)
    _flush_to_disk(path.parent)


@contextmanager
def _naming(path: Path, temporary: Path) -> Iterator[None]:
    """Make errors in the block name `path`, not the temporary file or no file at all."""
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
    """Swap two folders: atomically on Linux, elsewhere by two renames, then delete the old one."""
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
        _remove(old)


_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # in C, if PyYAML was built with it


class _DuplicateKey(ValueError):
    """A mapping has the same key twice; YAML readers silently take the last value."""


class _StrictLoader(_Loader):
    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                line = key.start_mark.line + 1
                first = lines.setdefault((key.tag, key.value), line)
                if first != line:
                    raise _DuplicateKey(f"{key.value} appears twice, on lines {first} and {line}")
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> Any:
    """The content of a YAML file of plain data; anything else raises `PipelineError`."""
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_StrictLoader)
    except _DuplicateKey as error:
        raise PipelineError(f"{path}: {error}: delete one") from None
    except OSError as error:
        raise PipelineError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise PipelineError(f"{path}: not text (byte {error.start} is not UTF-8)") from None
    except (yaml.YAMLError, ValueError) as error:
        mark, problem = (getattr(error, name, None) for name in ("problem_mark", "problem"))
        where = f" in line {mark.line + 1}" if mark else ""
        raise PipelineError(f"{path}: not YAML{where}: {problem or error}") from None


T = TypeVar("T")


class WrongType(Exception):
    """A value has the wrong type for its field; the text names it: `cost.fit_seconds is ...`."""


def read_json(path: Path, parse: Callable[[Any], T], what: str, again: str) -> T:
    """Parse the value of a JSON file with `parse`.

    If that fails, raise a `PipelineError` that calls the file not a complete `what` and ends with
    `again`, which tells the user what to do.
    """
    try:
        return parse(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError, TypeError, RecursionError, WrongType) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise PipelineError(f"{path}: not a complete {what} ({reason}): {again}") from None


def build(kind: Callable[..., T], value: Any, where: str = "") -> T:
    """Build the dataclass `kind`, and the dataclasses nested in it, from the JSON object `value`.

    Raises `WrongType`, or TypeError if a field without a default is missing.
    """
    if not isinstance(value, dict):
        raise WrongType(_is_of_type(where or "it", value))
    hints = _hints(kind)
    prefix = f"{where}." if where else ""
    return kind(
        **{
            name: checked(hints[name], value[name], f"{prefix}{name}")
            for name in hints
            if name in value
        }
    )


def plain(value: Any) -> Any:
    """The dataclass `value` as JSON data; a nested dataclass whose values are all None is `{}`."""
    found: dict[str, Any] = {}
    for each in dataclasses.fields(value):
        part = getattr(value, each.name)
        if dataclasses.is_dataclass(part):
            part = plain(part)
            part = part if any(known is not None for known in part.values()) else {}
        elif isinstance(part, list):
            part = [plain(one) if dataclasses.is_dataclass(one) else one for one in part]
        found[each.name] = part
    return found


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested dictionaries into one with dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def checked(hint: Any, value: Any, where: str) -> Any:
    """Check `value` against the type `hint` and convert it; `where` names it in errors."""
    if hint is Any:
        return value
    origin = typing.get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _one_of(typing.get_args(hint), value, where)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise WrongType(f"{where} is {value!r}")
        return value
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    if origin in (list, tuple):
        _check_type(list, value, where)
        kind = typing.get_args(hint)[0]
        found = [checked(kind, each, f"{where}[{number}]") for number, each in enumerate(value)]
        return found if origin is list else tuple(found)
    if origin is dict:
        _check_type(dict, value, where)
        kind = typing.get_args(hint)[1]
        return {key: checked(kind, each, f"{where}.{key}") for key, each in value.items()}
    if hint is float:
        _check_number(value, where)
    else:
        _check_type(hint, value, where)
    return value


def _one_of(hints: Sequence[Any], value: Any, where: str) -> Any:
    """`value` converted to the first of these types that it matches."""
    if value is None and types.NoneType in hints:
        return None
    *others, last = [each for each in hints if each is not types.NoneType]
    for each in others:
        with suppress(WrongType):
            return checked(each, value, where)
    return checked(last, value, where)


def _check_type(kind: type, value: Any, where: str) -> None:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise WrongType(_is_of_type(where, value))


def _check_number(value: Any, where: str) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not number or not math.isfinite(value):
        raise WrongType(f"{where} is {value!r}, not a finite number")


def _is_of_type(where: str, value: Any) -> str:
    return f"{where} is of type {type(value).__name__}"


@cache
def _hints(kind: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def meaning_of(source: str) -> str:
    """The syntax tree of Python source as text, without docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            node.body = [each for each in node.body if not _is_docstring(each)]
    return ast.dump(tree)


def _is_docstring(node: ast.stmt) -> bool:
    constant = node.value if isinstance(node, ast.Expr) else None
    return isinstance(constant, ast.Constant) and isinstance(constant.value, str)


def free_old_name(path: Path) -> Path:
    """The first unused name of PATH.old, PATH.old2, ..., so that no old file is overwritten."""
    names = (path.with_name(f"{path.name}.old{number}") for number in ("", *range(2, 1000)))
    return next(each for each in names if not each.exists())
