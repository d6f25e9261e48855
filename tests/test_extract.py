import io
import os
import signal
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from fault import install

from pipeline.core.errors import PipelineError
from pipeline.core.files import sha256
from pipeline.dataset import download as module
from pipeline.dataset.download import Archive, extract, only_folder, unpacked, unpacked_file


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_a_tar_and_a_zip_give_their_files(tmp_path: Path) -> None:
    tar(tmp_path / "a.tgz", (member("set/one/a.txt"), b"A"), (member("set/b.txt"), b"B"))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr("set/one/a.txt", "A")
        zipped.writestr("set/b.txt", "B")
    for name in ("a.tgz", "a.zip"):
        extract(tmp_path / name, tmp_path / "out")
        assert (tmp_path / "out/set/one/a.txt").read_text() == "A"
        assert only_folder(tmp_path / "out") == tmp_path / "out/set"


def test_gzip_with_an_extra_field_is_an_archive_like_any_other(tmp_path: Path) -> None:
    """As bgzip writes it; Python's tarfile does not read it as a stream."""
    plain = tar(tmp_path / "plain.tgz", (member("a.txt"), b"A"))
    packed = plain.read_bytes()
    field = b"BC\x02\x00\x10\x00"
    head = packed[:3] + b"\x04" + packed[4:10] + len(field).to_bytes(2, "little") + field
    body = packed[10:].split(b"\0", 1)[1] if packed[3] & 8 else packed[10:]
    (tmp_path / "extra.tgz").write_bytes(head + body)
    extract(tmp_path / "extra.tgz", tmp_path / "out")
    assert (tmp_path / "out/a.txt").read_bytes() == b"A"


HOSTILE = {
    "traversal": (member("../escaped.txt"), b"x"),
    "traversal inside": (member("a/../../escaped.txt"), b"x"),
    "backslashes": (member("..\\escaped.txt"), b"x"),
    "absolute": (member("/tmp/wb-escaped.txt"), b"x"),
    "symbolic link": (member("link", tarfile.SYMTYPE, "../.."), b""),
    "hard link": (member("link", tarfile.LNKTYPE, "../escaped.txt"), b""),
    "device": (member("device", tarfile.CHRTYPE), b""),
    "pipe": (member("pipe", tarfile.FIFOTYPE), b""),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_tar_is_refused_and_leaves_nothing(tmp_path: Path, kind: str) -> None:
    archive = tar(tmp_path / "a.tgz", (member("good.txt"), b"good"), HOSTILE[kind])
    with pytest.raises(PipelineError, match="refused"):
        extract(archive, tmp_path / "inside" / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tgz", "inside"]
    assert not Path("/tmp/wb-escaped.txt").exists()


def test_a_hostile_zip_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = 0o120777 << 16
    for hostile in (zipfile.ZipInfo("../escaped.txt"), link, zipfile.ZipInfo("/etc/escaped.txt")):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
            zipped.writestr(hostile, "../../x")
        with pytest.raises(PipelineError, match="refused"):
            extract(tmp_path / "a.zip", tmp_path / "out")
        assert [path.name for path in tmp_path.rglob("*")] == ["a.zip"]


def test_a_bomb_is_refused_by_its_size_and_by_its_number_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ALWAYS_ALLOWED_BYTES", 1000)
    archive = tar(tmp_path / "a.tgz", (member("zeros"), bytes(1_000_000)))
    with pytest.raises(PipelineError, match=r"a bomb: 1 file and 1000000 bytes"):
        extract(archive, tmp_path / "out")
    monkeypatch.setattr(module, "MAX_FILES", 3)
    archive = tar(tmp_path / "b.tgz", *((member(str(n)), b"") for n in range(9)))
    with pytest.raises(PipelineError, match="a bomb: 4 files"):
        extract(archive, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_archive_is_one_clear_line(tmp_path: Path) -> None:
    whole = tar(tmp_path / "a.tgz", (member("noise"), os.urandom(100_000)))
    whole.write_bytes(whole.read_bytes()[:50_000])
    (tmp_path / "b.zip").write_bytes(b"no archive at all")
    (tmp_path / "c.tgz").write_bytes(b"\x1f\x8b\x08")  # ends within the header of gzip
    for name in ("a.tgz", "b.zip", "c.tgz"):
        with pytest.raises(PipelineError, match="damaged archive"):
            extract(tmp_path / name, tmp_path / "out")
        assert not (tmp_path / "out").exists()


def test_only_a_download_is_to_be_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WB_ARCHIVES", str(tmp_path / "archives"))
    said = {}
    for name in ("labels.csv", "set.zip", "archives/set.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("file,label\na.jpg,cat\n")
        with pytest.raises(PipelineError) as error:
            unpacked_file(tmp_path / name)
        said[name] = str(error.value).removeprefix(f"{tmp_path / name}: ")
    assert said["labels.csv"] == (
        "a file, neither a folder nor an archive: give the folder that holds it"
    )
    assert said["set.zip"].endswith("): replace it with a whole copy")
    assert said["archives/set.zip"].endswith("): delete it, run again")


@pytest.fixture
def extractions(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The archives that were extracted, in order."""
    made: list[Path] = []
    original: Callable[[Path, Path], None] = module.extract

    def counting(archive: Path, folder: Path) -> None:
        made.append(archive)
        original(archive, folder)

    monkeypatch.setattr(module, "extract", counting)
    return made


def test_an_archive_is_extracted_once_and_again_only_if_its_bytes_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, extractions: list[Path]
) -> None:
    monkeypatch.setenv("WB_ARCHIVES", str(tmp_path / "archives"))
    archive = tar(tmp_path / "a.tgz", (member("set/b.txt"), b"B"))
    for _ in range(2):
        folder, _ = unpacked_file(archive)
        assert (folder / "b.txt").read_text() == "B"
    assert len(extractions) == 1
    tar(archive, (member("set/b.txt"), b"other"))
    folder, _ = unpacked_file(archive)
    assert (folder / "b.txt").read_text() == "other"
    assert len(extractions) == 2


def test_killed_while_extracting_the_next_call_gets_it_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WB_ARCHIVES", str(tmp_path / "archives"))
    members = [(member(f"set/{number}.txt"), bytes([number])) for number in range(9)]
    archive = tar(tmp_path / "a.tgz", *members)
    child = os.fork()
    if child == 0:
        install("kill@in_extract:5")
        unpacked_file(archive)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert not list((tmp_path / "archives").glob("a-*"))
    folder, _ = unpacked_file(archive)
    assert sorted(path.name for path in folder.iterdir()) == [f"{n}.txt" for n in range(9)]
    assert not list((tmp_path / "archives").glob(".a-*"))


def test_once_extracted_neither_the_network_nor_the_archive_is_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WB_ARCHIVES", str(tmp_path / "archives"))
    monkeypatch.setenv("WB_DATA", str(tmp_path))
    path = tar(tmp_path / "a.tgz", (member("set/b.txt"), b"B"))
    archive = Archive("http://nowhere.invalid/a.tgz", sha256=sha256(path))
    first, _ = unpacked(archive)
    path.unlink()
    assert unpacked(archive)[0] == first
