"""A stage is a function from paths to paths, and its signature is its command line.

`run(main)` turns positional parameters into arguments, keyword-only ones into --options, the
docstring into --help, and a `PipelineError` into one line on standard error and its exit code.
"""

import argparse
import inspect
import os
import sys
import typing
from collections.abc import Callable
from types import UnionType
from typing import Any

from pipeline.errors import PipelineError


def run(main: Callable[..., None], argv: list[str] | None = None) -> None:
    """Call `main` with the command line's arguments and leave the process with its exit code."""
    arguments = vars(parser_of(main).parse_args(argv))
    positional = [
        arguments.pop(name)
        for name, parameter in inspect.signature(main).parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    ]
    values: list[Any] = []
    for name, value in zip(inspect.signature(main).parameters, positional, strict=False):
        kind = inspect.signature(main).parameters[name].kind
        values.extend(value if kind is inspect.Parameter.VAR_POSITIONAL else [value])
    with one_line_errors():
        main(*values, **arguments)


def parser_of(main: Callable[..., None]) -> argparse.ArgumentParser:
    """The argument parser that `main`'s signature and docstring describe."""
    module = sys.modules[main.__module__]
    name = module.__spec__.name if module.__spec__ else main.__module__
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=inspect.getdoc(main))
    hints = typing.get_type_hints(main)
    for key, parameter in inspect.signature(main).parameters.items():
        value_type = _value_type(hints[key])
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            parser.add_argument(key, type=value_type, nargs="*", metavar=key.upper())
        elif parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            parser.add_argument(key, type=value_type, metavar=key.upper())
        elif value_type is bool:
            parser.add_argument(_option(key), action="store_true", default=parameter.default)
        else:
            required = parameter.default is inspect.Parameter.empty
            default = None if required else parameter.default
            parser.add_argument(_option(key), type=value_type, required=required, default=default)
    return parser


class one_line_errors:
    """Leave the process with one line and an exit code when the block raises a `PipelineError`.

    `WB_DEBUG=1` keeps the traceback.
    """

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, PipelineError) and os.environ.get("WB_DEBUG") != "1":
            print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
            sys.exit(error.exit_code)


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")


def _value_type(hint: Any) -> Any:
    """`X` of `X | None`, else the hint itself."""
    if isinstance(hint, UnionType):
        return next(kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint
