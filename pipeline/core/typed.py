"""Dataclasses from JSON: whatever a file holds, each value is checked against its field's type.

The dataclass alone defines the fields: a new one with a default is read, checked and written.
Unknown keys are left out.
"""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any, TypeVar

T = TypeVar("T")


class WrongType(Exception):
    """A value is not of its field's type; the text names the field: `cost.fit_seconds is ...`."""


def build(kind: Callable[..., T], value: Any, where: str = "") -> T:
    """A `kind` (a dataclass) from the JSON object `value`; nested dataclasses too.

    Raises `WrongType`, and TypeError where a field without a default is missing.
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
    """The dataclass `value` for JSON; a nested one with no known value is `{}`."""
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


def checked(hint: Any, value: Any, where: str) -> Any:
    """`value` as the type `hint` has it; `where` names it in errors."""
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
    """`value` as the first of these types that it is of."""
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
