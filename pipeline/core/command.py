"""Commands: a function whose signature is its command line, and the formatting of its output.

`run(main)` turns positional parameters into arguments and keyword-only parameters into --options,
and builds the text of --help from the docstring and its `Args:` section. A `PipelineError` or a
wrong option becomes one line on standard error and an exit code.
"""

import argparse
import inspect
import math
import os
import re
import select
import signal
import sys
import threading
import typing
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, UnionType
from typing import Any, NoReturn, TextIO

from rich.console import Console

from pipeline.core.errors import PipelineError, TryAgain, near_matches, system_error

# torch warns about torch.jit when fastai, or some versions of timm, are imported
warnings.filterwarnings("ignore", category=FutureWarning, module="torch")
GRACE_SECONDS = 5.0  # after SIGTERM, until the process exits no matter what it is doing
METAVARS = {int: "N", float: "NUMBER", Path: "PATH", str: "TEXT"}


def run(main: Callable[..., None], argv: list[str] | None = None) -> None:
    """Call `main` with the command line's arguments and leave the process with its exit code."""
    arguments = vars(parser_of(main).parse_intermixed_args(argv))
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


class _Parser(argparse.ArgumentParser):
    """A parser that reports an error in one line, without the usage text that would bury it."""

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        found, unknown = super().parse_known_args(args, namespace)
        if option := next((each for each in unknown if re.match("--?[^-]", each)), None):
            known = [each for each in self._option_string_actions if each.startswith("--")]
            self.error(f"unknown option {option}: {near_matches(option, known)}")
        return found, unknown

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; `{self.prog} --help` lists the options\n")


def parser_of(main: Callable[..., None]) -> argparse.ArgumentParser:
    """The argument parser that `main`'s signature and docstring describe."""
    module = sys.modules[main.__module__]
    name = module.__spec__.name if module.__spec__ else main.__module__
    name = name.removesuffix(".__main__")
    description, texts = documented(main)
    parser = _Parser(prog=f"python -m {name}", description=description)
    hints = typing.get_type_hints(main)
    for key, parameter in inspect.signature(main).parameters.items():
        value_type = _value_type(hints[key])
        text = texts.get(key)
        default = parameter.default
        if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
            parser.add_argument(key, type=value_type, nargs="*", metavar=key.upper(), help=text)
        elif parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            parser.add_argument(key, type=value_type, metavar=key.upper(), help=text)
        elif value_type is bool:
            parser.add_argument(_option(key), action="store_true", default=default, help=text)
        else:
            required = default is inspect.Parameter.empty
            if text and not required and default is not None:
                text += " (default: %(default)s)"
            parser.add_argument(
                _option(key),
                type=value_type,
                required=required,
                default=None if required else default,
                metavar=METAVARS[value_type],
                help=text,
            )
    return parser


def documented(main: Callable[..., None]) -> tuple[str, dict[str, str]]:
    """The docstring's description of the command, and of each parameter in its `Args:` section."""
    description, _, section = (inspect.getdoc(main) or "").partition("\nArgs:\n")
    entries = re.findall(r"^    (\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    texts = {name: " ".join(text.split()).replace("%", "%%") for name, text in entries}
    return description.strip(), texts


class _Stopped(SystemExit):
    """Raised on SIGTERM and SIGHUP, so that the process releases what it holds before it exits."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn expected errors of the block into one line on standard error and an exit code.

    0: success, 1: the user must change something, 2: wrong usage, 75: try again later (network,
    preempted), 130: Ctrl-C, 141: the reader of the output has closed it. SIGTERM and SIGHUP end the
    block like an error, so locks and temporary files are removed. `WB_DEBUG=1` keeps tracebacks.
    """
    try:
        with _ending_on_signals():
            yield
            if sys.stdout:  # None if it was closed before the process started
                sys.stdout.flush()
    except _Stopped as end:  # everything is released; unloading torch would take seconds
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(end.code or 0))
    except BrokenPipeError:
        if not (closed := [each for each in (1, 2) if _reader_is_gone(each)]):
            raise
        for each in closed:  # e.g. by `head`; the interpreter would complain again when it exits
            os.dup2(os.open(os.devnull, os.O_WRONLY), each)
        sys.exit(128 + signal.SIGPIPE)
    except (PipelineError, OSError, KeyboardInterrupt) as error:
        if os.environ.get("WB_DEBUG") == "1":
            raise
        if isinstance(error, KeyboardInterrupt):
            sys.exit(130)
        expected = system_error(error) if isinstance(error, OSError) else error
        if expected is None:
            raise
        print(f"error: {' '.join(str(expected).split())}", file=sys.stderr)
        sys.exit(expected.exit_code)


def _reader_is_gone(descriptor: int) -> bool:
    polled = select.poll()
    polled.register(descriptor, 0)  # POLLERR and POLLHUP are always reported
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in polled.poll(0))


@contextmanager
def _ending_on_signals() -> Iterator[None]:
    """Exit with 75 on SIGTERM and SIGHUP, unless they are handled elsewhere or ignored (nohup)."""
    process = os.getpid()

    def end(number: int, frame: FrameType | None) -> None:
        if os.getpid() != process:  # a forked child inherited this handler
            os._exit(128 + number)
        name = signal.Signals(number).name
        print(f"error: stopped by {name}, no half-written files remain: run again", file=sys.stderr)
        late = threading.Timer(GRACE_SECONDS, os._exit, (TryAgain.exit_code,))
        late.daemon = True  # in case a library swallows the exit or a step takes minutes
        late.start()
        raise _Stopped(TryAgain.exit_code)

    in_main_thread = threading.current_thread() is threading.main_thread()
    numbers = (signal.SIGTERM, signal.SIGHUP) if in_main_thread else ()
    ours = [each for each in numbers if signal.getsignal(each) is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _option(key: str) -> str:
    return "--" + key.replace("_", "-")


def _value_type(hint: Any) -> Any:
    """`X` for the hint `X | None`; any other hint unchanged."""
    if isinstance(hint, UnionType):
        return next(kind for kind in typing.get_args(hint) if kind is not type(None))
    return hint


WIDTH = 200  # characters, if the output is not a terminal


def duration(seconds: Any) -> str:
    """`25.6 s`, `1 min 49 s` or `1 h 05 min`, or a dash for null."""
    if is_null(seconds):
        return "–"
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )


def is_null(value: Any) -> bool:
    """Whether `value` is None, NaN or pandas.NA. Does not import pandas, which takes a second."""
    pandas = sys.modules.get("pandas")
    return bool(pandas.isna(value)) if pandas else value is None or value != value


def amount(value: float) -> str:
    """`12.50`, `0.0034`: an amount of money; small amounts keep two significant digits."""
    rounded = float(f"{value:.2g}")
    digits = 2 if rounded <= 0 else max(2, 1 - math.floor(math.log10(rounded)))
    return f"{value:.{digits}f}"


def percent(value: Any) -> str:
    """`4.77 %`, or a dash for null."""
    return "–" if is_null(value) else f"{100 * value:.2f} %"


def number_of(n: int, one: str, several: str) -> str:
    """`1 image is`, `2,000 images are`: a number with the word, or words, that follow it."""
    return f"{n:,} {one if n == 1 else several}"


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # the BrokenPipeError itself; rich would exit with code 1


def console(out: TextIO | None = None) -> Console:
    """A console for tables on `out` (default: standard output), as wide as the terminal.

    It is `WIDTH` characters wide if the output is not a terminal.
    """
    out = out or sys.stdout
    return _Console(file=out, width=None if out.isatty() else WIDTH)
