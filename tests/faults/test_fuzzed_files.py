"""Readers of damaged files return a value or raise one clear error, nothing else.

Valid files are cut, joined and changed at random places.
"""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pipeline.configuration.hydra_app import check_conf_file
from pipeline.core.errors import PipelineError
from pipeline.dataset.download import extract
from pipeline.dataset.prepared import open_prepared
from pipeline.records import Record, read_record
from pipeline.status.__main__ import state_of
from pipeline.study.__main__ import main as check_study
from pipeline.study.params import Cell
from pipeline.timm_results.published_tables import parse_cells

fuzz = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
RECORD = json.dumps(
    asdict(Record("ok", "digits", "a.b", "quickstart", 0, metrics={"error_rate": 0.1}))
)
CSV = "model,img_size,top1\nnet0.in1k,224,70.5\nnet1.in1k,288,71.5\n"
YAML = "name: digits\nkind: single\nimages: {_target_: pipeline.dataset.find_images.digits}\n"


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """`whole`, cut off, with a piece missing, doubled or replaced; or any bytes at all."""
    start = draw(st.integers(0, len(whole)))
    end = draw(st.integers(start, min(len(whole), start + 40)))
    middle = draw(
        st.sampled_from([b"", whole[start:end] * 2, b"\0", b"\xff\xfe", b"NaN", b'"', b"\n"])
    )
    kind = draw(st.sampled_from(["cut", "changed", "random"]))
    if kind == "random":
        return draw(st.binary(max_size=80))
    return whole[:start] if kind == "cut" else whole[:start] + middle + whole[end:]


def value_or_one_line(read: Callable[[], object]) -> None:
    try:
        read()
    except PipelineError as error:
        line = " ".join(str(error).split())
        assert 10 < len(line) < 1000


@fuzz
@given(content=damaged(RECORD.encode()))
@example(content=RECORD[: len(RECORD) // 2].encode())
@example(content=b"[" * 100_000)
@example(content=RECORD.replace('"metrics": {', '"metrics": [').replace("0.1}", "0.1]").encode())
@example(content=RECORD.replace('"seed": 0', '"seed": {}').encode())
@example(content=RECORD.replace('"history": []', '"history": 3').encode())
def test_a_record_of_any_bytes_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    cell = Cell("digits", "a.b", "quickstart", 0)
    path = cell.path(tmp_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    value_or_one_line(lambda: read_record(path))
    assert state_of(cell, tmp_path).state in ("done", "failed", "diverged", "damaged")


@fuzz
@given(content=damaged(CSV.encode()))
def test_a_csv_of_any_bytes_is_a_table_or_refused(content: bytes) -> None:
    def read() -> None:
        header, rows = parse_cells(content, "fuzzed.csv")
        assert all(len(row) == len(header) for row in rows)

    value_or_one_line(read)


@fuzz
@given(content=damaged(YAML.encode()))
def test_a_yaml_of_any_bytes_is_data_or_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "fuzzed.yaml"
    path.write_bytes(content)
    value_or_one_line(lambda: check_conf_file(path))
    value_or_one_line(lambda: check_study(path))


def _tar(mode: str) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:
        for name in ("set/a.txt", "set/b/c.txt"):
            info = tarfile.TarInfo(name)
            info.size = 9
            archive.addfile(info, io.BytesIO(b"123456789"))
    return file.getvalue()


def _zip() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("set/a.txt", "set/b/c.txt"):
            archive.writestr(name, "123456789" * 5)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["tar", "tgz", "txz", "zip"])
@fuzz
@given(data=st.data())
def test_an_archive_of_any_bytes_is_extracted_inside_or_refused_and_leaves_nothing(
    tmp_path: Path, kind: str, data: st.DataObject
) -> None:
    whole = {"tar": lambda: _tar("w"), "tgz": lambda: _tar("w:gz"), "txz": lambda: _tar("w:xz")}
    archive, out = tmp_path / f"a.{kind}", tmp_path / "inside" / "out"
    archive.write_bytes(data.draw(damaged(whole.get(kind, _zip)())))
    value_or_one_line(lambda: extract(archive, out))
    assert {path.name for path in tmp_path.iterdir()} <= {archive.name, "inside"}
    assert {path.name for path in (tmp_path / "inside").iterdir()} <= {"out"}


def _prepared(folder: Path) -> dict[str, bytes]:
    meta = {"format": 1, "name": "x", "kind": "single", "classes": ["a", "b"], "fingerprint": "f"}
    array = io.BytesIO()
    np.save(array, np.zeros((2, 3, 4, 4), dtype=np.uint8))
    return {
        "meta.json": json.dumps(meta).encode(),
        "index.csv": b"file,labels,part,sha256\n1.png,a,train,x\n2.png,b,valid,y\n",
        "squish-4.npy": array.getvalue(),
    }


@pytest.mark.parametrize("name", ["meta.json", "index.csv", "squish-4.npy"])
@fuzz
@given(data=st.data())
def test_a_prepared_dataset_of_any_bytes_is_opened_or_refused(
    tmp_path: Path, name: str, data: st.DataObject
) -> None:
    files = _prepared(tmp_path)
    for file, content in files.items():
        (tmp_path / file).write_bytes(content)
    (tmp_path / name).write_bytes(data.draw(damaged(files[name])))
    value_or_one_line(lambda: open_prepared(tmp_path).array(4))


def test_a_pickle_in_place_of_an_array_is_never_loaded(tmp_path: Path) -> None:
    for file, content in _prepared(tmp_path).items():
        (tmp_path / file).write_bytes(content)
    np.save(tmp_path / "squish-4.npy", np.array([_Acts()], dtype=object), allow_pickle=True)
    with pytest.raises(PipelineError, match=r"squish-4\.npy: not an array"):
        open_prepared(tmp_path).array(4)
    assert not _Acts.acted


class _Acts:
    acted = False

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return setattr, (_Acts, "acted", True)
