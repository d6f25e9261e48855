"""Readers of timm's published tables and of where they came from; each column used is checked.

Reads `results-*.csv` (accuracy, models named `arch.tag` since 2023) and `benchmark-*.csv` (speed,
models named by the bare architecture). Columns change their order, and one its name (`cropt_pct`),
from year to year; the setup of a benchmark (precision, device, ...) is only in its file's name.
`source.json` says where the tables came from and what each file must be.
"""

import csv
import hashlib
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pipeline.core.errors import PipelineError, near_matches
from pipeline.core.files import sha256

NAME = "source.json"


@dataclass(frozen=True)
class TableFile:
    """One CSV: its SHA-256, and its rows without the header."""

    sha256: str
    rows: int


@dataclass(frozen=True)
class Source:
    """Where a folder of tables came from; commit and date are None if unknown."""

    origin: str
    rev: str
    commit: str | None
    date: str | None
    files: dict[str, TableFile]


def table_file(content: bytes, where: str) -> TableFile:
    """Hash and rows of a CSV; raises `PipelineError` about `where` if it is no table."""
    return TableFile(hashlib.sha256(content).hexdigest(), len(parse_cells(content, where)[1]))


def read_source(folder: Path) -> Source:
    """Where the tables in `folder` came from; raises `PipelineError` where one has changed."""
    if not folder.is_dir():
        raise PipelineError(f"{folder}: no such folder; run `dvc repro fetch`")
    if not (folder / NAME).is_file():
        return Source(str(folder), "-", None, None, {})
    source = _read_source_json(folder / NAME)
    if name := damaged_file(folder, source):
        raise PipelineError(
            f"{folder / name}: not what {NAME} says was fetched; run `dvc repro --force fetch`"
        )
    return source


def damaged_file(folder: Path, source: Source) -> str | None:
    """The first CSV of `folder` that is changed, missing or extra; None if all are as fetched."""
    for name in sorted({path.name for path in folder.glob("*.csv")} | set(source.files)):
        path = folder / name
        if name not in source.files or not path.is_file():
            return name
        if sha256(path) != source.files[name].sha256:
            return name
    return None


def _read_source_json(path: Path) -> Source:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        files = {name: TableFile(**entry) for name, entry in value.pop("files").items()}
        return Source(**value, files=files)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise PipelineError(f"{path}: not a {NAME} of `fetch` ({error}); fetch again") from None


MAX_BYTES = 32 * 2**20  # timm's largest table has 0.2 MiB
MAX_CELL = 1_000  # characters; timm's longest name has 60
_NUMBER = re.compile(r"[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d*)?([eE][+-]?\d+)?")
IMAGENET = "results-imagenet.csv"
OTHER_SETS = {  # prefix of its columns -> file
    "real": "results-imagenet-real.csv",
    "v2": "results-imagenetv2-matched-frequency.csv",
    "sketch": "results-sketch.csv",
    "a": "results-imagenet-a.csv",
    "a_clean": "results-imagenet-a-clean.csv",
    "r": "results-imagenet-r.csv",
    "r_clean": "results-imagenet-r-clean.csv",
}
KEY = ["model", "img_size"]
SOMETIMES = [  # in some benchmark files; the last three only in this machine's own
    "gmacs",
    "macts",
    "peak_memory_reserved_gib",
    "peak_rss_gib",
    "joules_per_sample",
]
WITHOUT_ATTENTION = "2.1.0"  # timm's tables of this PyTorch count no fused attention
_FILE_NAME = re.compile(
    r"benchmark-(?P<mode>infer|train)-(?P<precision>[a-z0-9_]+)-(?P<layout>nchw|nhwc)"
    r"-pt(?P<torch>\d{3,5})-(?P<backend>[a-z]+\d*)-(?P<device>[a-z0-9_]+?)(?P<dynamo>-dynamo)?\.csv"
)


def read_cells(path: Path) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of `path`."""
    try:
        return parse_cells(path.read_bytes(), str(path))
    except OSError as error:
        raise PipelineError(f"{path}: cannot be read: {error.strerror}") from None


def parse_cells(content: bytes, where: str) -> tuple[list[str], list[list[str]]]:
    """The header and the rows of a CSV file's content; raises `PipelineError` about `where`."""
    if len(content) > MAX_BYTES:
        raise PipelineError(f"{where}: more than {MAX_BYTES >> 20} MiB; not one of timm's tables")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise PipelineError(f"{where}: not text (byte {error.start} is not UTF-8)") from None
    if "\0" in text:
        raise PipelineError(f"{where}: not text (it holds a NUL byte)")
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        rows = [_checked_row(row, reader.line_num, where) for row in reader if row]
    except csv.Error as error:
        raise PipelineError(f"{where}: line {reader.line_num} is not CSV: {error}") from None
    if len(rows) < 2:
        raise PipelineError(f"{where}: no rows; it is empty or cut off")
    header = rows[0]
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise PipelineError(f"{where}: two columns are called {twice[0]!r}")
    for place, row in enumerate(rows[1:], start=1):
        if len(row) != len(header):
            raise PipelineError(
                f"{where}: row {place} has {len(row)} cells, the header has {len(header)};"
                " it is damaged or cut off"
            )
    return header, rows[1:]


def read_table(path: Path, columns: dict[str, Callable[["Column"], pd.Series]]) -> pd.DataFrame:
    """These columns, each through its reader; the file's other columns are ignored.

    Raises `PipelineError` where one is missing or holds a cell that its reader does not take.
    """
    header, rows = read_cells(path)
    if missing := [name for name in columns if name not in header]:
        raise PipelineError(
            f"{path}: no column {missing[0]} ({near_matches(missing[0], header)});"
            " timm changed this table, or it is another one"
        )
    places = {name: header.index(name) for name in columns}
    return pd.DataFrame(
        {
            name: read(Column(path, name, [row[places[name]] for row in rows]))
            for name, read in columns.items()
        }
    )


class Column:
    """One column's cells, with file and name for error messages."""

    def __init__(self, path: Path, name: str, cells: Sequence[str]) -> None:
        self.path, self.name, self.cells = path, name, cells

    def wrong(self, row: int, expected: str) -> PipelineError:
        found = self.cells[row]
        shown = repr(found[:40]) + ("..." if len(found) > 40 else "")
        return PipelineError(
            f"{self.path}: row {row + 1}, column {self.name}: {shown} is not {expected}"
        )


def text(pattern: str, expected: str) -> Callable[[Column], pd.Series]:
    """A reader of cells that match `pattern` as a whole."""
    whole = re.compile(pattern)

    def read(column: Column) -> pd.Series:
        for row, cell in enumerate(column.cells):
            if not whole.fullmatch(cell):
                raise column.wrong(row, expected)
        return pd.Series(list(column.cells), dtype="str")

    return read


def number(
    low: float, high: float, *, or_empty: bool = False, whole: bool = False
) -> Callable[[Column], pd.Series]:
    """A reader of numbers in a range, with or without thousands commas; an empty cell is NaN."""
    expected = f"a {'whole ' if whole else ''}number from {low:g} to {high:g}"

    def read(column: Column) -> pd.Series:
        values = []
        for row, cell in enumerate(column.cells):
            if or_empty and not cell:
                values.append(math.nan)
                continue
            value = float(cell.replace(",", "")) if _NUMBER.fullmatch(cell) else math.nan
            if not low <= value <= high or (whole and value != int(value)):
                raise column.wrong(row, expected)
            values.append(value)
        return pd.Series(values, dtype="int64" if whole and not or_empty else "float64")

    return read


def _checked_row(row: list[str], line: int, where: str) -> list[str]:
    if max(map(len, row)) > MAX_CELL:
        raise PipelineError(f"{where}: line {line} has a cell of more than {MAX_CELL} characters")
    return row


_PIXELS = number(1, 10_000, whole=True)
_PERCENT = number(0, 100)
_MILLIONS = number(0, 1e6)
_MODEL = text(r"[A-Za-z0-9_.+-]{1,120}", "a model's name")


@dataclass(frozen=True)
class Setup:
    """How a benchmark file was measured."""

    mode: str  # infer | train
    precision: str  # amp, amp_bf16, bf16, fp32
    layout: str  # nchw | nhwc
    torch: str  # 2.9.1
    backend: str  # cu130, cpu
    device: str  # rtx4090, pro6000maxq, i9_10940x
    compile: str  # eager | dynamo


def setup_of(file_name: str) -> Setup:
    """The setup in a benchmark file's name; device names are unified (`4090` is `rtx4090`)."""
    found = _FILE_NAME.fullmatch(file_name)
    if not found:
        raise PipelineError(
            f"{file_name}: not a benchmark file's name, which is benchmark-MODE-PRECISION-LAYOUT"
            "-ptVERSION-BACKEND-DEVICE[-dynamo].csv"
        )
    device = found["device"]
    return Setup(
        mode=found["mode"],
        precision=found["precision"],
        layout=found["layout"],
        torch=_torch_version(found["torch"]),
        backend=found["backend"],
        device=f"rtx{device}" if device.isdigit() else device,
        compile="dynamo" if found["dynamo"] else "eager",
    )


def read_accuracy(path: Path) -> pd.DataFrame:
    """model, img_size, top1, top5, params_m, crop_pct, interpolation; a row per model and size."""
    crop = "cropt_pct" if "cropt_pct" in read_cells(path)[0] else "crop_pct"
    table = read_table(
        path,
        {
            "model": _MODEL,
            "img_size": _PIXELS,
            "top1": _PERCENT,
            "top5": _PERCENT,
            "param_count": _MILLIONS,
            crop: number(0.01, 2),
            "interpolation": text(r"[a-z-]{1,40}", "an interpolation"),
        },
    ).rename(columns={"param_count": "params_m", crop: "crop_pct"})
    return _unique(path, table)


def read_benchmark(path: Path) -> pd.DataFrame:
    """model, img_size, batch_size, samples_per_second, step_ms, speed_params_m, gmacs, macts,
    peak_memory_gib (a GPU's), peak_rss_gib (the process's), joules_per_image.

    Speed is NaN where timm's own run of the model failed, the last five where the file has no such
    column, and gmacs and macts also where attention was not counted: a ViT had up to 37 % too few.
    """
    setup = setup_of(path.name)
    mode = setup.mode
    counted = [name for name in SOMETIMES if f"{mode}_{name}" in read_cells(path)[0]]
    table = read_table(
        path,
        {
            "model": _MODEL,
            f"{mode}_img_size": _PIXELS,
            f"{mode}_batch_size": number(1, 1e6, or_empty=True, whole=True),
            f"{mode}_samples_per_sec": number(1e-6, 1e9, or_empty=True),
            f"{mode}_step_time": number(1e-6, 1e9, or_empty=True),
            **{f"{mode}_{name}": number(0, 1e9, or_empty=True) for name in counted},
            "param_count": _MILLIONS,
        },
    )
    table.columns = table.columns.str.removeprefix(f"{mode}_")
    table = table.assign(**{name: math.nan for name in SOMETIMES if name not in counted})
    if setup.torch == WITHOUT_ATTENTION:
        table[["gmacs", "macts"]] = math.nan
    table = table.rename(
        columns={
            "samples_per_sec": "samples_per_second",
            "step_time": "step_ms",
            "param_count": "speed_params_m",
            "peak_memory_reserved_gib": "peak_memory_gib",
            "joules_per_sample": "joules_per_image",
        }
    )
    speed = table[["batch_size", "samples_per_second", "step_ms"]].isna()
    if len(half := table[speed.any(axis=1) & ~speed.all(axis=1)]):
        raise PipelineError(
            f"{path}: row {half.index[0] + 1}, {half.iloc[0]['model']}: of batch size, samples per"
            " second and step time, some are empty and some are not"
        )
    return _unique(path, table)


def _torch_version(digits: str) -> str:
    """`291` is 2.9.1; before 2.0 files gave no patch level, `113` is 1.13."""
    if digits[0] == "1":
        return f"1.{digits[1:3]}" + (f".{digits[3:]}" if digits[3:] else "")
    return f"{digits[0]}.{digits[1:-1]}.{digits[-1]}"


def _unique(path: Path, table: pd.DataFrame) -> pd.DataFrame:
    if len(again := table[table.duplicated(KEY)]):
        first = again.iloc[0]
        raise PipelineError(
            f"{path}: row {again.index[0] + 1}: {first['model']} at {first['img_size']} pixels"
            " is listed twice"
        )
    return table


def short_name(device: str) -> str:
    """A device as timm's file names have it, a part of its full name: rtx4090, i9_10940x."""
    name = re.sub(r"^.*\((?:r|tm)\)\s+(?!cpu)|^nvidia (?:geforce )?", "", device.lower())
    name = re.sub(r" (?:cpu|processor|\d+-core)\b.*| @.*| with .*", "", name)
    name = re.sub(r"[^a-z0-9]+", "_", name).strip("_")
    return re.sub(r"^(rtx|gtx)_(?=\d)", r"\1", name) or "unknown"
