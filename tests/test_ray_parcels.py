"""Parcels: what a sweep sends to hosts arrives whole, once, and as it was."""

import os
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline.sweep import ray_host
from pipeline.sweep.ray_host import Parcels, forget_unused, unpack


@pytest.fixture(autouse=True)
def objects(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Ray's object store as a list; an object's reference is its place there."""
    store: list[bytes] = []

    def put(content: bytes) -> int:
        store.append(content)
        return len(store) - 1

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(put=put, get=lambda ref: store[ref]))
    return store


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "data/deep/__pycache__").mkdir(parents=True)
    (root / "data/numbers.npy").write_bytes(bytes(range(256)) * 10)
    (root / "data/deep/empty.csv").write_bytes(b"")
    (root / "data/deep/text.csv").write_text("a,b\n")
    (root / "data/deep/__pycache__/x.pyc").write_bytes(b"compiled")
    (root / "data/.x.json.lock").write_bytes(b"")
    (root / "params.yaml").write_text("a: 1\n")
    return root


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("piece_bytes", [1, 1000, 2**20])
def test_files_arrive_as_they_were_however_they_are_cut(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(ray_host, "PIECE_BYTES", piece_bytes)
    folder = unpack(Parcels().of(root, "data", "params.yaml"), tmp_path / "store")
    sent = {
        name: content
        for name, content in contents(root).items()
        if "pycache" not in name and not name.endswith(".lock")
    }
    assert contents(folder) == sent
    assert len(sent) == 4


def test_what_did_not_change_is_put_into_the_store_once(root: Path, objects: list[bytes]) -> None:
    sweep = Parcels()
    first = sweep.of(root, "data")
    n_objects = len(objects)
    assert sweep.of(root, "data") is first
    assert len(objects) == n_objects
    (root / "data/deep/text.csv").write_text("a,b,c\n")
    assert sweep.of(root, "data").digest != first.digest


def test_a_host_that_has_a_parcel_asks_for_nothing(
    root: Path, tmp_path: Path, objects: list[bytes]
) -> None:
    parcel = Parcels().of(root, "data")
    folder = unpack(parcel, tmp_path / "store")
    objects.clear()
    assert unpack(parcel, tmp_path / "store") == folder


def test_half_a_parcel_of_a_killed_host_is_written_anew(root: Path, tmp_path: Path) -> None:
    parcel, store = Parcels().of(root, "data"), tmp_path / "store"
    half = store / f"{parcel.digest}.writing/data"
    half.mkdir(parents=True)
    (half / "other").write_text("left by a killed host")
    assert "data/other" not in contents(unpack(parcel, store))


def test_a_parcel_that_came_other_than_it_was_sent_is_refused(
    root: Path, tmp_path: Path, objects: list[bytes]
) -> None:
    parcel = Parcels().of(root, "params.yaml")
    objects[0] = b"a: 2\n"
    with pytest.raises(OSError, match="came other than it was sent"):
        unpack(parcel, tmp_path / "store")
    assert not (tmp_path / "store" / parcel.digest).exists()


def test_parcels_that_nobody_used_for_long_are_removed(root: Path, tmp_path: Path) -> None:
    sweep, store = Parcels(), tmp_path / "store"
    old, used = (unpack(sweep.of(root, name), store) for name in ("data", "params.yaml"))
    long_ago = time.time() - 1000
    os.utime(old, (long_ago, long_ago))
    os.utime(used, (long_ago, long_ago))
    unpack(sweep.of(root, "params.yaml"), store)
    forget_unused(store, before=time.time() - 500)
    assert (old.exists(), used.exists()) == (False, True)


def test_a_parcel_of_nothing_is_refused(root: Path) -> None:
    (root / "nothing").mkdir()
    with pytest.raises(FileNotFoundError, match="nothing here to send"):
        Parcels().of(root, "nothing")
