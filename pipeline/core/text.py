"""Durations and percentages as text."""

from typing import Any

import pandas as pd


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
