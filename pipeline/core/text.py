"""What people read: numbers in words, a console, nested values as flat ones."""

import sys
from typing import Any, TextIO

import pandas as pd
from rich.console import Console

WIDTH = 200  # characters, where the output is no terminal


def duration(seconds: Any) -> str:
    """`25.6 s`, `3 min 12 s` or `1 h 05 min`, or a dash for null."""
    if pd.isna(seconds):
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return (
        f"{minutes} min {rest:02d} s"
        if minutes < 60
        else f"{minutes // 60} h {minutes % 60:02d} min"
    )


def percent(value: Any) -> str:
    """`4.77 %`, or a dash for null."""
    return "–" if pd.isna(value) else f"{100 * value:.2f} %"


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values by their dotted keys."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, dict) else {name: value}
    return found


def console(out: TextIO | None = None) -> Console:
    """For tables to `out` (standard output): as wide as the terminal, wide where there is none."""
    out = out or sys.stdout
    return Console(file=out, width=None if out.isatty() else WIDTH)
